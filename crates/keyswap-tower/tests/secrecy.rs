//! Nothing that is shown holds a secret. In a file of its own, since a log that is read by one test must
//! be the only one of its process.

mod common;

use std::pin::pin;

use bytes::Bytes;
use common::log::{Log, holds};
use common::*;
use http::Request;
use http_body_util::Full;
use keyswap_tower::{ClientSecretBasic, ClientSecretPost, FallbackLayer, RequestBody};
use tower::{Layer, Service, ServiceExt};

#[tokio::test]
async fn neither_the_log_nor_any_debug_holds_a_secret() {
    let (log, _guard) = Log::listen(tracing::Level::TRACE);

    let ring = settled_ring(&["first", "second"]);
    let layer = layer(&ring);
    let post = FallbackLayer::new(ring.clone(), ClientSecretPost::new("billing"));
    let mut shown = format!("{layer:?} {layer:#?} {post:?} {:?}", ClientSecretBasic::new("x"));
    let server = Server::new(|seen| {
        let shown = format!("{:?}", seen.head);
        assert!(!shown.contains("Basic"), "{shown}");
        accept(seen.id().as_deref() == Some("second"))
    });
    let mut service = layer.layer(server);
    shown += &format!("{service:?}");
    for _ in 0..9 {
        let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
        let mut future = pin!(ready.call(request()));
        let _ = poll_once(future.as_mut());
        shown += &format!("{future:?}");
        let answer = future.await.unwrap();
        shown += &format!("{answer:?}");
    }
    let echo = tower::service_fn(|request: Request<RequestBody<Full<Bytes>>>| async move {
        let shown = format!("{request:?}");
        assert!(shown.contains("bytes"), "{shown}");
        Ok::<_, BoxError>(answer(401, &format!("{{\"error\":\"invalid_client\",\"x\":{shown:?}}}")))
    });
    let answer = post.layer(echo).oneshot(request()).await.unwrap();
    shown += &format!("{answer:?}");

    // What is not signed is said, with the reason and without what the URL holds.
    let own = request_with(Full::<Bytes>::from("client_secret=hunter2"));
    layer.layer(Server::accepting("first")).oneshot(own).await.unwrap();
    let pinned = layer.clone().origin("https://auth.example".parse().unwrap());
    shown += &format!("{pinned:?}");
    let mut elsewhere = request();
    *elsewhere.uri_mut() = "https://u:hunter2@other.example/hunter2?hunter2".parse().unwrap();
    pinned.layer(Server::accepting("first")).oneshot(elsewhere).await.unwrap();

    let log = log.take();
    // All three events are there, with ids.
    assert!(log.contains("refused a client secret") && log.contains("secret=first"), "{log}");
    assert!(log.contains("preferred client secret now") && log.contains("secret=second"), "{log}");
    assert!(log.contains("refused every client secret"), "{log}");
    assert!(log.contains("WARN") && log.contains("has a client_secret in its body"), "{log}");
    assert!(log.contains("host=\"other.example\" origin=https://auth.example"), "{log}");
    assert!(!holds(&log, "hunter2"), "{log}");
    for id in ["first", "second"] {
        let value = value_of(id);
        let encoded: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        for secret in [value, encoded, basic_pair(id)] {
            assert!(!holds(&log, &secret), "{log}");
            assert!(!holds(&shown, &secret), "{shown}");
        }
    }
}

fn basic_pair(id: &str) -> String {
    use base64::Engine as _;
    let value: String = form_urlencoded::byte_serialize(value_of(id).as_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(format!("billing:{value}"))
}
