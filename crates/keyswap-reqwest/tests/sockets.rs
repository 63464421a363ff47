//! Both adapters against a server on loopback.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use keyswap_core::{FallbackPolicy, Revision, Secret, SecretList, SecretRing};
use keyswap_reqwest::{FallbackMiddleware, ReqwestService, ServiceError, client_builder};
use keyswap_tower::{
    Authenticated, ClientSecretBasic, ClientSecretPost, Credential, FallbackLayer, Profile,
};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use tower::{Layer, ServiceExt};

const REFUSED: &str = r#"{"error":"access_denied","error_description":"Unauthorized"}"#;
const TOKEN: &str = r#"{"access_token":"t"}"#;
const FORM: &str = "application/x-www-form-urlencoded";

fn ring(values: &[&str]) -> SecretRing {
    let secret =
        |value: &&str| Secret::new(format!("id-{value}").parse().unwrap(), *value).unwrap();
    let list = SecretList::new(values.iter().map(secret)).unwrap();
    let policy =
        FallbackPolicy::default().propagation_window(Duration::ZERO).cool_down(Duration::ZERO);
    SecretRing::with_policy(list, Revision::INITIAL, policy)
}

#[derive(Clone, Debug)]
struct Seen {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn holds(&self, secret: &str) -> bool {
        let authorization = self.headers.get(header::AUTHORIZATION);
        // base64 of "billing:good" and "billing:bad1"
        let basic = match secret {
            "good" => "Basic YmlsbGluZzpnb29k",
            _ => "Basic YmlsbGluZzpiYWQx",
        };
        authorization.is_some_and(|value| value == basic)
            || String::from_utf8_lossy(&self.body).contains(secret)
    }
}

struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(handler: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let connections = Arc::new(AtomicUsize::new(0));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let counted = connections.clone();
        let listener = listener.tap_io(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let noted = seen.clone();
        let app = Router::new().fallback(async move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let request = Seen { uri, headers, body };
            noted.lock().unwrap().push(request.clone());
            handler(&request)
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, seen, connections }
    }

    async fn accepting_good() -> Self {
        Self::start(|seen| if seen.holds("good") { json(200, TOKEN) } else { json(401, REFUSED) })
            .await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn json(status: u16, body: impl Into<String>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    (StatusCode::from_u16(status).unwrap(), headers, body.into()).into_response()
}

fn client<C>(ring: SecretRing, credential: C) -> ClientWithMiddleware
where
    C: Credential + Clone + Send + Sync + 'static,
{
    let fallback = FallbackMiddleware::new(ring, credential).profile(Profile::Auth0);
    ClientBuilder::new(client_builder().build().unwrap()).with(fallback).build()
}

#[tokio::test]
async fn the_middleware_falls_back_with_basic_and_tells_with_what() {
    let server = Server::accepting_good().await;
    let ring = ring(&["bad1", "good"]);
    let client = client(ring.clone(), ClientSecretBasic::new("billing"));
    let url = format!("{}/oauth/token?a=b", server.url);
    let body = "grant_type=client_credentials";
    let answer = client.post(&url).header("content-type", FORM).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.url().as_str(), url);
    let with = answer.extensions().get::<Authenticated>().unwrap().clone();
    assert_eq!((with.id.as_str(), with.attempts), ("id-good", 2));
    assert_eq!(answer.text().await.unwrap(), TOKEN);
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].holds("bad1") && seen[1].holds("good"));
    assert!(seen.iter().all(|seen| seen.body == body && seen.uri == "/oauth/token?a=b"));
    assert_eq!(ring.usage().secrets.iter().map(|usage| usage.refused).sum::<u64>(), 1);
}

#[tokio::test]
async fn the_middleware_falls_back_with_a_form_and_with_json() {
    let server = Server::accepting_good().await;
    let client = client(ring(&["bad1", "good"]), ClientSecretPost::new("billing"));
    let form = [("grant_type", "client_credentials")];
    let answer = client.post(&server.url).form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let grant = serde_json::json!({"grant_type": "client_credentials"});
    let body = serde_json::to_vec(&grant).unwrap();
    let json = client.post(&server.url).header("content-type", "application/json").body(body);
    assert_eq!(json.send().await.unwrap().status(), 200);
    let bodies: Vec<_> = server.seen().iter().map(|seen| seen.body.clone()).collect();
    let form = "grant_type=client_credentials&client_id=billing&client_secret=";
    assert_eq!(bodies[..2], [format!("{form}bad1"), format!("{form}good")]);
    let json: serde_json::Value = serde_json::from_slice(&bodies[3]).unwrap();
    assert_eq!((&json["client_secret"], &json["client_id"]), (&"good".into(), &"billing".into()));
    for seen in server.seen() {
        assert_eq!(seen.headers["content-length"], seen.body.len().to_string());
    }
}

#[tokio::test]
async fn the_layer_falls_back_around_a_plain_client() {
    let server = Server::accepting_good().await;
    let layer = FallbackLayer::new(ring(&["bad1", "good"]), ClientSecretBasic::new("billing"))
        .profile(Profile::Auth0);
    let service = layer.layer(ReqwestService::new(client_builder().build().unwrap()));
    let request = http::Request::post(&server.url).header("content-type", FORM);
    let request = request.body(reqwest::Body::from("grant_type=x")).unwrap();
    let answer = service.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.body().authenticated().unwrap().attempts, 2);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn twenty_refused_answers_of_any_usual_size_use_one_connection() {
    for size in [0, 60_000] {
        let server = Server::start(move |_| {
            let padding = "x".repeat(size);
            json(401, format!(r#"{{"error":"invalid_client","padding":"{padding}"}}"#))
        })
        .await;
        let values: Vec<_> = (0..10).map(|number| format!("secret{number}")).collect();
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let client = client(ring(&values), ClientSecretBasic::new("billing"));
        for _ in 0..2 {
            let answer = client.post(&server.url).body("").send().await.unwrap();
            assert_eq!(answer.status(), 401);
            assert!(answer.text().await.unwrap().len() > size);
        }
        assert_eq!(server.seen().len(), 20);
        assert_eq!(server.connections.load(Ordering::SeqCst), 1, "{size}");
    }
}

#[tokio::test]
async fn an_answer_of_300_kb_comes_back_whole_without_another_attempt() {
    let text = format!(r#"{{"error":"invalid_client","padding":"{}"}}"#, "x".repeat(300_000));
    let sent = text.clone();
    let server = Server::start(move |_| json(401, sent.clone())).await;
    let client = client(ring(&["bad1", "good"]), ClientSecretBasic::new("billing"));
    let answer = client.post(&server.url).body("").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), text);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_redirect_never_carries_the_secret_elsewhere() {
    for status in [301, 302, 303, 307, 308] {
        let other = Server::accepting_good().await;
        let location = other.url.clone();
        let server = Server::start(move |_| {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [(header::LOCATION, location.clone())]).into_response()
        })
        .await;
        let client = client(ring(&["good"]), ClientSecretPost::new("billing"));
        let answer = client.post(&server.url).form(&[("a", "b")]).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert!(other.seen().is_empty(), "{status}");
    }
}

#[tokio::test]
async fn a_client_that_followed_a_redirect_elsewhere_gets_an_error_that_says_so() {
    let other = Server::accepting_good().await;
    let location = other.url.clone();
    let server = Server::start(move |_| {
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location.clone())]).into_response()
    })
    .await;
    let fallback = FallbackMiddleware::new(ring(&["good"]), ClientSecretPost::new("billing"));
    let careless = ClientBuilder::new(reqwest::Client::new()).with(fallback).build();
    let error = careless.post(&server.url).form(&[("a", "b")]).send().await.unwrap_err();
    assert!(error.is_middleware());
    let text = format!("{error} {error:?}");
    assert!(text.contains("redirect") && text.contains(&other.url), "{text}");
    assert!(!text.contains("good"), "{text}");

    let layer = FallbackLayer::new(ring(&["good"]), ClientSecretPost::new("billing"));
    let service = layer.layer(ReqwestService::new(reqwest::Client::new()));
    let request = http::Request::post(&server.url).header("content-type", FORM);
    let error =
        service.oneshot(request.body(reqwest::Body::from("a=b")).unwrap()).await.unwrap_err();
    assert!(matches!(error, ServiceError::Origin(error) if error.is_redirect()));
}

#[tokio::test]
async fn clear_text_to_another_host_is_refused_before_anything_is_sent() {
    // An address that never answers: an attempt to connect would end in the timeout instead.
    let url = "http://192.0.2.1/token";
    let client = client(ring(&["good"]), ClientSecretBasic::new("billing"));
    let error = client.post(url).body("").send().await.unwrap_err();
    assert!(error.to_string().contains("http://192.0.2.1 in clear text: use https"), "{error}");

    let layer = FallbackLayer::new(ring(&["good"]), ClientSecretBasic::new("billing"));
    let service = layer.layer(ReqwestService::new(client_builder().build().unwrap()));
    let request = http::Request::post(url).body(reqwest::Body::from("")).unwrap();
    let error = service.oneshot(request).await.unwrap_err();
    assert!(error.to_string().contains("in clear text"), "{error}");
}

#[tokio::test]
async fn a_pinned_ring_lets_all_other_requests_through_without_a_secret() {
    let server = Server::accepting_good().await;
    let other = Server::start(|_| json(200, TOKEN)).await;
    let location = other.url.clone();
    let moved = Server::start(move |_| {
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location.clone())]).into_response()
    })
    .await;
    // A name that is not loopback, for the address of the other server.
    let address = other.url.strip_prefix("http://").unwrap().parse().unwrap();
    let named = other.url.replace("127.0.0.1", "api.example");
    let careless = || reqwest::Client::builder().resolve("api.example", address).build().unwrap();
    for credential in [0, 1] {
        let fallback: Arc<dyn Credential + Send + Sync> = match credential {
            0 => Arc::new(ClientSecretBasic::new("billing")),
            _ => Arc::new(ClientSecretPost::new("billing")),
        };
        let fallback = FallbackMiddleware::new(ring(&["good"]), fallback);
        let unpinned = ClientBuilder::new(careless()).with(fallback.clone()).build();
        let fallback = fallback.origin(server.url.parse().unwrap());
        let client = ClientBuilder::new(careless()).with(fallback).build();
        let form = [("a", "b")];
        let answer = client.post(&server.url).form(&form).send().await.unwrap();
        assert_eq!(answer.extensions().get::<Authenticated>().unwrap().id.as_str(), "id-good");
        for url in [&other.url, &named, &moved.url] {
            let answer = client.post(url).form(&form).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{url}");
            assert!(answer.extensions().get::<Authenticated>().is_none());
        }
        let heard = other.seen();
        assert_eq!(heard.len(), 3 * (credential + 1));
        assert!(heard.iter().all(|seen| seen.body == "a=b" && !seen.holds("good")), "{heard:?}");
        // Without the pin, each of the last two would have had the secret.
        for url in [&named, &moved.url] {
            assert!(unpinned.post(url).form(&form).send().await.unwrap_err().is_middleware());
        }
        other.seen.lock().unwrap().truncate(heard.len());
    }
}

#[tokio::test]
async fn a_pinned_layer_around_a_plain_client_signs_for_its_origin_alone() {
    let server = Server::accepting_good().await;
    let other = Server::start(|_| json(200, TOKEN)).await;
    let layer = FallbackLayer::new(ring(&["good"]), ClientSecretBasic::new("billing"))
        .origin(server.url.parse().unwrap());
    let service = layer.layer(ReqwestService::new(client_builder().build().unwrap()));
    for url in [&server.url, &other.url] {
        let request = http::Request::post(url).body(reqwest::Body::from("a=b")).unwrap();
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200);
    }
    assert!(server.seen()[0].holds("good"));
    assert!(!other.seen()[0].holds("good") && other.seen()[0].body == "a=b");
}

#[tokio::test]
async fn a_request_that_signs_in_already_goes_out_as_it_is() {
    let server = Server::accepting_good().await;
    let client = client(ring(&["bad1"]), ClientSecretPost::new("billing"));
    let own = client.post(&server.url).header("authorization", "Basic YmlsbGluZzpnb29k");
    let answer = own.form(&[("a", "b")]).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.extensions().get::<Authenticated>().is_none());
    assert_eq!(server.seen()[0].body, "a=b");
}

#[tokio::test]
async fn an_error_of_the_client_comes_back_unchanged() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ring = ring(&["bad1", "good"]);
    let client = client(ring.clone(), ClientSecretBasic::new("billing"));
    let error = client.post(&url).body("").send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    let usage = ring.usage().secrets;
    // It says nothing of the secret, and no other one is tried.
    assert_eq!((usage[0].accepted, usage[0].refused, usage[0].inconclusive), (0, 0, 1));
    assert_eq!(usage[1].used(), 0);
}

#[tokio::test]
async fn the_timeout_of_a_request_holds_for_its_attempts() {
    let server = Server::accepting_good().await;
    let client = client(ring(&["good"]), ClientSecretBasic::new("billing"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let short = Duration::from_millis(50);
    let error = client.post(&silent).timeout(short).body("").send().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    let long = Duration::from_secs(60);
    let answer = client.post(&server.url).timeout(long).body("").send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_body_over_the_limit_goes_out_once_and_whole() {
    let server = Server::accepting_good().await;
    let client = client(ring(&["bad1", "good"]), ClientSecretBasic::new("billing"));
    let body = "x".repeat(100_000);
    let answer = client.post(&server.url).body(body.clone()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (401, REFUSED));
    assert_eq!(server.seen().len(), 1);
    assert!(server.seen()[0].body == body.as_bytes());
}

#[tokio::test]
async fn the_extensions_of_the_chain_reach_each_attempt_and_come_back() {
    #[derive(Clone, Default)]
    struct Count(Vec<u32>);
    struct Counter;
    #[async_trait::async_trait]
    impl Middleware for Counter {
        async fn handle(
            &self,
            request: reqwest::Request,
            extensions: &mut http::Extensions,
            next: Next<'_>,
        ) -> reqwest_middleware::Result<reqwest::Response> {
            let count = extensions.get_or_insert_default::<Count>();
            let next_number = count.0.len() as u32;
            count.0.push(next_number);
            next.run(request, extensions).await
        }
    }
    let server = Server::accepting_good().await;
    let fallback =
        FallbackMiddleware::new(ring(&["bad1", "good"]), ClientSecretBasic::new("billing"))
            .profile(Profile::Auth0);
    let client = ClientBuilder::new(client_builder().build().unwrap())
        .with(fallback.clone())
        // A second one on the same request passes it through.
        .with(fallback)
        .with(Counter)
        .build();
    let mut extensions = http::Extensions::new();
    let request = client.post(&server.url).body("").build().unwrap();
    let answer = client.execute_with_extensions(request, &mut extensions).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(extensions.get::<Count>().unwrap().0, [0, 1]);
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn debug_shows_no_secret() {
    let fallback = FallbackMiddleware::new(ring(&["hunter2secret"]), ClientSecretBasic::new("b"));
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", "hunter2secret".parse().unwrap());
    let client = client_builder().default_headers(headers).build().unwrap();
    let shown = format!("{fallback:?} {:?}", ReqwestService::new(client));
    assert!(!shown.replace("id-hunter2secret", "").contains("hunter2"), "{shown}");
}
