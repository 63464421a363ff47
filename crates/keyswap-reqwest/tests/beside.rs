//! Beside reqwest-retry and reqwest-tracing: what each order does.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use keyswap_core::{FallbackPolicy, Revision, Secret, SecretList, SecretRing};
use keyswap_reqwest::{FallbackMiddleware, client_builder};
use keyswap_tower::{
    Authenticated, ClientSecretBasic, ClientSecretJwt, ClientSecretPost, Credential,
};
use reqwest::ResponseBuilderExt;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use reqwest_tracing::{SpanBackendWithUrl, TracingMiddleware};
use tracing_subscriber::fmt::format::FmtSpan;

const NOWHERE: &str = "http://127.0.0.1:9/token";

fn list(ids: &[&str]) -> SecretList {
    let secret = |id: &&str| Secret::new(id.parse().unwrap(), format!("{id}-value")).unwrap();
    SecretList::new(ids.iter().map(secret)).unwrap()
}

fn ring(ids: &[&str]) -> SecretRing {
    let policy =
        FallbackPolicy::default().propagation_window(Duration::ZERO).revision_wait(Duration::ZERO);
    SecretRing::with_policy(list(ids), Revision::INITIAL, policy)
}

fn retry() -> RetryTransientMiddleware<ExponentialBackoff> {
    let soon = Duration::from_millis(1);
    let policy = ExponentialBackoff::builder().retry_bounds(soon, soon).build_with_max_retries(3);
    RetryTransientMiddleware::new_with_policy(policy)
}

fn post(ring: &SecretRing) -> FallbackMiddleware<ClientSecretPost> {
    FallbackMiddleware::new(ring.clone(), ClientSecretPost::new("billing"))
}

async fn sign_in(client: &ClientWithMiddleware, url: &str) -> reqwest_middleware::Result<u16> {
    let form = [("grant_type", "client_credentials")];
    Ok(client.post(url).form(&form).send().await?.status().as_u16())
}

/// From the number of an attempt, from 0, and its body to the status of the answer.
type Script = dyn Fn(usize, &str) -> u16 + Send + Sync;

/// In place of a server: notes the bodies that are sent there, and gives the next answer of its script.
#[derive(Clone)]
struct Wire {
    bodies: Arc<Mutex<Vec<String>>>,
    script: Arc<Script>,
}

impl Wire {
    fn new(script: impl Fn(usize, &str) -> u16 + Send + Sync + 'static) -> Self {
        Self { bodies: Arc::default(), script: Arc::new(script) }
    }

    fn values(&self, of: &str) -> Vec<String> {
        let bodies = self.bodies.lock().unwrap();
        let value = |body: &String| {
            let mut pairs = body.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == of).unwrap().1.to_owned()
        };
        bodies.iter().map(value).collect()
    }

    fn secrets(&self) -> Vec<String> {
        self.values("client_secret")
    }
}

#[async_trait::async_trait]
impl Middleware for Wire {
    async fn handle(
        &self,
        request: reqwest::Request,
        _extensions: &mut http::Extensions,
        _next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let body = request.body().unwrap().as_bytes().unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let number = self.bodies.lock().unwrap().len();
        let status = (self.script)(number, &body);
        self.bodies.lock().unwrap().push(body);
        let answer = http::Response::builder()
            .status(status)
            .url(request.url().clone())
            .header("content-type", "application/json")
            .body(if status == 401 { r#"{"error":"invalid_client"}"# } else { "{}" });
        Ok(answer.unwrap().into())
    }
}

/// The first attempt meets a server that is out of order, and during the pause that follows an operator
/// takes the old secret off the list.
fn replaced_in_the_pause(ring: &SecretRing) -> Wire {
    let ring = ring.clone();
    Wire::new(move |attempt, body| match attempt {
        0 => {
            ring.replace(list(&["new"]));
            503
        }
        _ if body.contains("client_secret=new-value") => 200,
        _ => 401,
    })
}

#[tokio::test]
async fn a_retry_around_the_fallback_begins_again_with_the_list_of_that_moment() {
    let ring = ring(&["old"]);
    let wire = replaced_in_the_pause(&ring);
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(retry())
        .with(post(&ring))
        .with(wire.clone())
        .build();
    assert_eq!(sign_in(&client, NOWHERE).await.unwrap(), 200);
    assert_eq!(wire.secrets(), ["old-value", "new-value"]);
}

/// Why the other order is wrong.
#[tokio::test]
async fn a_retry_under_the_fallback_sends_a_secret_that_is_off_the_list_by_then() {
    let ring = ring(&["old"]);
    let wire = replaced_in_the_pause(&ring);
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(post(&ring))
        .with(retry())
        .with(wire.clone())
        .build();
    assert_eq!(sign_in(&client, NOWHERE).await.unwrap(), 200);
    assert_eq!(wire.secrets(), ["old-value", "old-value", "new-value"]);
}

#[tokio::test]
async fn each_retry_around_the_fallback_has_its_own_assertion_and_under_it_the_same_is_sent_again()
{
    for (outside, all_differ) in [(true, true), (false, false)] {
        let wire = Wire::new(|attempt, _| if attempt < 2 { 503 } else { 200 });
        let fallback = FallbackMiddleware::new(ring(&["new"]), ClientSecretJwt::new("billing"));
        let client = ClientBuilder::new(reqwest::Client::new());
        let client = match outside {
            true => client.with(retry()).with(fallback),
            false => client.with(fallback).with(retry()),
        };
        let client = client.with(wire.clone()).build();
        assert_eq!(sign_in(&client, NOWHERE).await.unwrap(), 200);
        let mut assertions = wire.values("client_assertion");
        assert_eq!(assertions.len(), 3);
        assertions.sort();
        assertions.dedup();
        assert_eq!(assertions.len() == 3, all_differ, "{assertions:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_no_reason_for_a_retry() {
    let ring = ring(&["old", "older"]);
    let wire = Wire::new(|_, _| 401);
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(retry())
        .with(post(&ring))
        .with(wire.clone())
        .build();
    assert_eq!(sign_in(&client, NOWHERE).await.unwrap(), 401);
    assert_eq!(wire.secrets(), ["old-value", "older-value"]);
}

#[tokio::test]
async fn a_server_out_of_order_after_a_refusal_is_asked_from_the_start() {
    let ring = ring(&["old", "new"]);
    let wire = Wire::new(|attempt, body| match attempt {
        1 => 503,
        _ if body.contains("client_secret=new-value") => 200,
        _ => 401,
    });
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(retry())
        .with(post(&ring))
        .with(wire.clone())
        .build();
    assert_eq!(sign_in(&client, NOWHERE).await.unwrap(), 200);
    // Nobody accepted the new one, so that it is not the preferred one yet.
    assert_eq!(wire.secrets(), ["old-value", "new-value", "old-value", "new-value"]);
}

#[tokio::test]
async fn an_error_of_the_connection_comes_through_the_fallback_as_one_that_can_be_retried() {
    // Bound and closed again: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    drop(listener);
    let client = ClientBuilder::new(client_builder().build().unwrap())
        .with(retry())
        .with(post(&ring(&["a"])))
        .build();
    let error = sign_in(&client, &url).await.unwrap_err();
    assert_eq!(error.to_string(), "Request failed after 3 retries");
}

/// What a subscriber that leaves nothing out writes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn record(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The statuses of the requests whose spans ended, in that order.
    fn statuses(&self) -> Vec<String> {
        let text = self.text();
        let ended = text.lines().filter(|line| line.contains(": close"));
        let status = |line: &str| {
            let (_, rest) = line.rsplit_once("http.response.status_code=")?;
            Some(rest[..3].to_owned())
        };
        ended.filter_map(status).collect()
    }
}

/// A server that takes this secret alone, and is out of order at first.
async fn server(accepted: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let calls = Arc::new(Mutex::new(0));
    let app = Router::new().fallback(async move |headers: HeaderMap, body: Bytes| {
        let answer =
            |status: StatusCode, body| (status, [(header::CONTENT_TYPE, "application/json")], body);
        let call = {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            *calls
        };
        if call == 1 {
            return answer(StatusCode::SERVICE_UNAVAILABLE, "{}");
        }
        let basic = headers.get("authorization").is_some_and(|value| value == BASIC_NEW);
        if basic || String::from_utf8_lossy(&body).contains(accepted) {
            answer(StatusCode::OK, r#"{"access_token":"the-token"}"#)
        } else {
            answer(StatusCode::UNAUTHORIZED, r#"{"error":"invalid_client"}"#)
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// In base64, `billing:new-value`.
const BASIC_NEW: &str = "Basic YmlsbGluZzpuZXctdmFsdWU=";

#[tokio::test]
async fn tracing_around_the_fallback_shows_each_retry_and_under_it_each_attempt_and_never_a_secret()
{
    let credentials: [Arc<dyn Credential + Send + Sync>; 2] =
        [Arc::new(ClientSecretBasic::new("billing")), Arc::new(ClientSecretPost::new("billing"))];
    for credential in credentials {
        for (under, statuses) in [(false, &["503", "200"][..]), (true, &["503", "401", "200"])] {
            let url = server("new-value").await;
            let fallback = FallbackMiddleware::new(ring(&["old", "new"]), credential.clone());
            let tracing = TracingMiddleware::<SpanBackendWithUrl>::new();
            let client = ClientBuilder::new(client_builder().build().unwrap()).with(retry());
            let client = match under {
                true => client.with(fallback).with(tracing),
                false => client.with(tracing).with(fallback),
            };
            let client = client.build();
            let log = Log::default();
            let recording = log.record();
            let form = [("grant_type", "client_credentials")];
            let answer = client.post(&url).form(&form).send().await.unwrap();
            assert_eq!(answer.extensions().get::<Authenticated>().unwrap().attempts, 2);
            drop(recording);
            assert_eq!(log.statuses(), statuses, "{}", log.text());
            let text = log.text();
            for hidden in ["-value", "Basic ", "YmlsbGluZzp", "the-token", "client_secret"] {
                // As text, and as the numbers that the Debug of a slice shows.
                let numbers = format!("{:?}", hidden.as_bytes());
                for hidden in [hidden, numbers.trim_matches(['[', ']'])] {
                    assert!(!text.contains(hidden), "{hidden}: {text}");
                }
            }
        }
    }
}
