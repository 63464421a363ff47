//! Calls to an API on loopback, by the middleware over reqwest and the layer over hyper-util's client.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use common::{Endpoint, Grant, INVALID, pieces, tokens};
use http::{HeaderMap, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use keyswap_core::{Secret, SecretList, SecretRing};
use keyswap_oauth::{
    BearerLayer, BearerMiddleware, ClearTextError, TokenError, TokenErrorKind, TokenSource,
};
use keyswap_reqwest::{FallbackMiddleware, client_builder};
use keyswap_testkit::{AuthorizationServer, Client as Registration};
use keyswap_tower::{ClientSecretPost, Profile};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error};
use tower::{Layer, ServiceExt};

#[derive(Clone, Debug)]
struct Seen {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn token(&self) -> Option<&str> {
        self.headers.get("authorization")?.to_str().unwrap().strip_prefix("Bearer ")
    }
}

struct Api {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Api {
    async fn start(
        handler: impl Fn(&Seen) -> Response<String> + Clone + Send + Sync + 'static,
    ) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let connections = Arc::new(AtomicUsize::new(0));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let counted = connections.clone();
        let listener = listener.tap_io(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let noted = seen.clone();
        let app = Router::new().fallback(async move |request: Request| {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let request = Seen { uri: head.uri, headers: head.headers, body };
            noted.lock().unwrap().push(request.clone());
            handler(&request)
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, seen, connections }
    }

    /// Its refusals are long enough to matter to a connection.
    async fn accepting(token: &'static str) -> Self {
        Self::start(move |seen| {
            if seen.token() == Some(token) { reply(200) } else { refusal("x".repeat(50_000)) }
        })
        .await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn tokens(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.token().unwrap_or("none").to_owned()).collect()
    }
}

fn reply(status: u16) -> Response<String> {
    Response::builder().status(status).body(format!("answer {status}")).unwrap()
}

fn refusal(body: String) -> Response<String> {
    Response::builder().status(401).header("www-authenticate", INVALID).body(body).unwrap()
}

fn redirect(status: u16, to: &str) -> Response<String> {
    Response::builder().status(status).header("location", to).body(String::new()).unwrap()
}

fn client(source: TokenSource) -> ClientWithMiddleware {
    with(BearerMiddleware::new(source))
}

fn with(bearer: BearerMiddleware) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new()).with(bearer).build()
}

#[tokio::test]
async fn the_middleware_renews_a_refused_token_and_sends_the_same_bytes_once_more() {
    let streamed = || reqwest::Body::wrap(pieces(&["one ", "two ", "three"]));
    let whole = || reqwest::Body::from("one two three");
    for body in [streamed(), whole()] {
        let api = Api::accepting("token-2").await;
        let endpoint = tokens();
        let client = client(endpoint.source());
        let request = client.post(format!("{}/orders?page=2", api.url)).header("x-trace", "7");
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "answer 200");
        assert_eq!(api.tokens(), ["token-1", "token-2"]);
        for seen in api.seen() {
            assert_eq!(
                (seen.uri.to_string().as_str(), &seen.body[..]),
                ("/orders?page=2", &b"one two three"[..])
            );
            assert_eq!(seen.headers["x-trace"], "7");
        }
        assert_eq!(endpoint.requests(), 2);
        // The refused answer was read, so that its connection could be used again.
        assert_eq!(api.connections.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_stream_over_the_limit_goes_out_once_and_a_body_in_memory_has_no_limit() {
    let endpoint = tokens();
    let api = Api::accepting("token-2").await;
    let client = with(BearerMiddleware::new(endpoint.source()).max_body(9));
    let streamed = client.post(&api.url).body(reqwest::Body::wrap(pieces(&["01234", "56789"])));
    assert_eq!(streamed.send().await.unwrap().status(), 401);
    assert_eq!((api.tokens(), endpoint.requests()), (vec!["token-1".into()], 2));

    let api = Api::accepting("token-2").await;
    let client = with(BearerMiddleware::new(tokens().source()).max_body(9));
    let answer = client.post(&api.url).body("0123456789").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), api.seen()[1].body.len()), (200, 10));
}

#[tokio::test]
async fn a_second_refusal_and_any_other_answer_are_the_callers() {
    let api = Api::accepting("none").await;
    let endpoint = tokens();
    let client = client(endpoint.source());
    let answer = client.get(&api.url).send().await.unwrap();
    assert_eq!(answer.headers()["www-authenticate"], INVALID);
    assert_eq!(answer.text().await.unwrap().len(), 50_000);
    assert_eq!((api.seen().len(), endpoint.requests()), (2, 2));

    let forbidden = Api::start(|_| reply(401)).await;
    let answer = client.get(&forbidden.url).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "answer 401");
    assert_eq!((forbidden.seen().len(), endpoint.requests()), (1, 2));
}

#[tokio::test]
async fn a_redirect_that_reqwest_follows_takes_no_token_elsewhere_and_its_answer_renews_nothing() {
    for status in [302, 307, 308] {
        let other = Api::accepting("none").await;
        let to = other.url.clone();
        let api = Api::start(move |_| redirect(status, &to)).await;
        let endpoint = tokens();
        let bearer = BearerMiddleware::new(endpoint.source()).origin(api.url.parse().unwrap());
        let answer = with(bearer).post(&api.url).body("order").send().await.unwrap();
        // The other place says `invalid_token`, but saw none.
        assert_eq!(answer.status(), 401);
        assert_eq!((api.tokens(), other.tokens()), (vec!["token-1".into()], vec!["none".into()]));
        assert_eq!(endpoint.requests(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_redirect_within_the_origin_keeps_the_token_and_its_refusal_counts() {
    let api = Api::start(|seen| match (seen.uri.path(), seen.token()) {
        ("/old", _) => redirect(307, "/new"),
        (_, Some("token-2")) => reply(200),
        _ => refusal(String::new()),
    })
    .await;
    let client = client(tokens().source());
    let answer = client.get(format!("{}/old", api.url)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(api.tokens(), ["token-1", "token-1", "token-2", "token-2"]);
}

#[tokio::test]
async fn a_request_to_another_origin_or_with_an_authorization_of_its_own_is_left_alone() {
    let (api, other) = (Api::accepting("token-1").await, Api::accepting("token-1").await);
    let endpoint = tokens();
    let bearer = BearerMiddleware::new(endpoint.source()).origin(api.url.parse().unwrap());
    let client = with(bearer);
    assert_eq!(client.get(&other.url).send().await.unwrap().status(), 401);
    let own = client.get(&api.url).bearer_auth("own").send().await.unwrap();
    assert_eq!(own.status(), 401);
    assert_eq!((other.tokens(), api.tokens()), (vec!["none".into()], vec!["own".into()]));
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test]
async fn errors_of_the_middleware_can_be_told_apart() {
    let api = Api::accepting("token-2").await;
    let cause = |error: Error| match error {
        Error::Middleware(error) => error,
        error @ Error::Reqwest(_) => panic!("{error:?}"),
    };
    let before = Endpoint::new(|_| Grant::Status(503));
    let after = Endpoint::new(|number| match number {
        1 => Grant::Token(Some(3600)),
        _ => Grant::Status(503),
    });
    for endpoint in [before, after] {
        let error = cause(client(endpoint.source()).get(&api.url).send().await.unwrap_err());
        let error: &TokenError = error.downcast_ref().unwrap();
        assert_eq!(error.kind(), TokenErrorKind::Refused { status: 503 });
    }
    assert_eq!(api.tokens(), ["token-1"]);

    let endpoint = tokens();
    let clear = client(endpoint.source()).get("http://api.example/?hunter2").send().await;
    let error = cause(clear.unwrap_err());
    assert!(error.is::<ClearTextError>() && !format!("{error} {error:?}").contains("hunter2"));
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test]
async fn the_layer_over_hyper_renews_a_refused_token_over_the_same_connection() {
    let api = Api::accepting("token-2").await;
    let endpoint = tokens();
    let layer = BearerLayer::new(endpoint.source()).origin(api.url.parse().unwrap());
    let service = layer.layer(Client::builder(TokioExecutor::new()).build_http());
    for _ in 0..20 {
        let request = http::Request::post(&api.url).body(Full::<Bytes>::from("order")).unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "answer 200");
    }
    let seen = api.seen();
    assert_eq!((seen.len(), endpoint.requests()), (21, 2));
    assert!(seen.iter().all(|seen| seen.body == "order" && seen.headers["content-length"] == "5"));
    assert_eq!(api.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_the_authorization_server_revokes_every_token() {
    const AUDIENCE: &str = "https://api.example/";
    let server = AuthorizationServer::builder()
        .token_lifetime(Duration::from_secs(3600))
        .client(Registration::new("billing", "the-present-secret").grant(AUDIENCE))
        .start()
        .await
        .unwrap();
    let secret = |value: &str| Secret::new(value.parse().unwrap(), value).unwrap();
    let ring = SecretRing::new(
        SecretList::new([secret("the-former-secret"), secret("the-present-secret")]).unwrap(),
    );
    let fallback =
        FallbackMiddleware::new(ring, ClientSecretPost::new("billing")).profile(Profile::Auth0);
    let signed = ClientBuilder::new(client_builder().build().unwrap()).with(fallback).build();
    let source = TokenSource::new(signed, server.token_endpoint().parse().unwrap())
        .parameter("audience", AUDIENCE);

    let server = Arc::new(server);
    let checking = server.clone();
    let api = Api::start(move |seen| {
        let accepted = seen.token().is_some_and(|token| checking.accepts_token(token, AUDIENCE));
        if accepted { reply(200) } else { refusal("no".to_owned()) }
    })
    .await;
    let client = client(source);
    let call = async |client: ClientWithMiddleware, url: String| {
        for _ in 0..10 {
            assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
        }
    };
    call(client.clone(), api.url.clone()).await;
    server.revoke_tokens();
    let calls: Vec<_> =
        (0..20).map(|_| tokio::spawn(call(client.clone(), api.url.clone()))).collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(server.counts().token_accepted, 2);
}
