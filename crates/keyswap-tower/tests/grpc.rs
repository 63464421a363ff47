//! tonic's client over the layer, at tonic's own health service.

mod common;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{settled_ring, value_of};
use http::{HeaderName, Request, Response, Uri};
use http_body_util::BodyExt;
use keyswap_core::SecretRing;
use keyswap_tower::{Authenticated, FallbackLayer, Grpc, HeaderSecret, RequestBody, SendOnce};
use tonic::body::Body;
use tonic::codegen::tokio_stream::{self, StreamExt};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt, service_fn};

const KEY: HeaderName = HeaderName::from_static("x-api-key");

type Channel = BoxCloneService<Request<RequestBody<Body>>, Response<Body>, Infallible>;
type Seen = Arc<Mutex<Vec<(Option<String>, Bytes)>>>;

fn layer(ring: &SecretRing) -> FallbackLayer<HeaderSecret, Grpc> {
    FallbackLayer::new(ring.clone(), HeaderSecret::new(KEY))
        .profile(Grpc)
        .mark_answers(true)
        .origin("https://ledger.example".parse().unwrap())
}

fn origin() -> Uri {
    Uri::from_static("https://ledger.example")
}

/// The health service, which notes each call and takes those with the secret `accepted`; the others get
/// the status `otherwise`.
fn health(accepted: &str, otherwise: Code) -> (Channel, Seen) {
    let accepted = value_of(accepted);
    let service = HealthServer::with_interceptor(
        HealthService::from_health_reporter(HealthReporter::new()),
        move |call: tonic::Request<()>| match call.metadata().get(KEY.as_str()) {
            Some(key) if *key == accepted.as_str() => Ok(call),
            _ => Err(Status::new(otherwise, "who are you?")),
        },
    );
    let seen = Seen::default();
    let noted = seen.clone();
    let service = service_fn(move |request: Request<RequestBody<Body>>| {
        let (service, noted) = (service.clone(), noted.clone());
        async move {
            let (head, body) = request.into_parts();
            let key = head.headers.get(KEY).map(|key| key.to_str().unwrap().to_owned());
            let body = body.collect().await.unwrap().to_bytes();
            noted.lock().unwrap().push((key, body.clone()));
            let body = Body::new(http_body_util::Full::new(body));
            let answer = service.oneshot(Request::from_parts(head, body)).await?;
            Ok(answer.map(Body::new))
        }
    });
    (BoxCloneService::new(service), seen)
}

fn keys(seen: &Seen) -> Vec<Option<String>> {
    seen.lock().unwrap().iter().map(|(key, _)| key.clone()).collect()
}

fn check(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

#[tokio::test]
async fn a_call_refused_as_unauthenticated_is_made_again_with_the_next_secret_and_the_same_message()
{
    let (channel, seen) = health("b", Code::Unauthenticated);
    let ring = settled_ring(&["a", "b"]);
    let mut client = HealthClient::with_origin(layer(&ring).layer(channel), origin());
    let answer = client.check(check("")).await.unwrap();
    let authenticated = answer.extensions().get::<Authenticated>().unwrap();
    assert_eq!((authenticated.id.as_str(), authenticated.attempts), ("b", 2));
    assert_eq!(keys(&seen), [Some(value_of("a")), Some(value_of("b"))]);
    let seen = seen.lock().unwrap();
    // The frame of one message without fields: not compressed, of length 0.
    assert_eq!((&seen[0].1[..], &seen[1].1), (&[0; 5][..], &seen[0].1));
}

#[tokio::test]
async fn a_stream_of_answers_comes_through_after_a_refusal() {
    let (channel, seen) = health("b", Code::Unauthenticated);
    let ring = settled_ring(&["a", "b"]);
    let mut client = HealthClient::with_origin(layer(&ring).layer(channel), origin());
    let mut answers = client.watch(check("")).await.unwrap().into_inner();
    // The service tells of the next change when there is one, so that this stream has no end.
    assert!(answers.next().await.unwrap().is_ok());
    assert_eq!(keys(&seen).len(), 2);
}

#[tokio::test]
async fn another_status_is_the_callers_and_no_other_secret_is_tried() {
    for code in [Code::PermissionDenied, Code::Unavailable, Code::ResourceExhausted] {
        let (channel, seen) = health("b", code);
        let ring = settled_ring(&["a", "b"]);
        let mut client = HealthClient::with_origin(layer(&ring).layer(channel), origin());
        let status = client.check(check("")).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, "who are you?"));
        assert_eq!(keys(&seen), [Some(value_of("a"))]);
    }
}

#[tokio::test]
async fn where_every_secret_is_refused_the_caller_sees_the_servers_status() {
    let (channel, seen) = health("c", Code::Unauthenticated);
    let ring = settled_ring(&["a", "b"]);
    let mut client = HealthClient::with_origin(layer(&ring).layer(channel), origin());
    let status = client.check(check("")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "who are you?"));
    assert_eq!(keys(&seen).len(), 2);
    for shown in [format!("{status:?}"), format!("{client:?}")] {
        assert!(!shown.contains("value+of"), "{shown}");
    }
}

#[tokio::test]
async fn a_message_over_the_limit_goes_out_once_and_whole() {
    let (channel, seen) = health("b", Code::Unauthenticated);
    let ring = settled_ring(&["a", "b"]);
    let layer = layer(&ring).max_body(100);
    let mut client = HealthClient::with_origin(layer.layer(channel), origin());
    let status = client.check(check(&"x".repeat(1000))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(keys(&seen), [Some(value_of("a"))]);
    assert!(seen.lock().unwrap()[0].1.ends_with(&[b'x'; 1000]));
}

#[tokio::test]
async fn a_client_that_was_not_told_its_origin_gives_a_pinned_layer_no_reason_to_sign() {
    let (channel, seen) = health("a", Code::Unauthenticated);
    let ring = settled_ring(&["a"]);
    let mut client = HealthClient::new(layer(&ring).layer(channel));
    assert_eq!(client.check(check("")).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(keys(&seen), [None]);
}

/// A service that answers with `UNAUTHENTICATED` without a look at the messages.
fn hasty() -> (Channel, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let service = service_fn(move |request: Request<RequestBody<Body>>| {
        let key = request.headers().get(KEY).map(|key| key.to_str().unwrap().to_owned());
        noted.lock().unwrap().push((key, Bytes::new()));
        async { Ok(Status::unauthenticated("who are you?").into_http()) }
    });
    (BoxCloneService::new(service), seen)
}

/// The caller waits for the service to speak first.
#[tokio::test(start_paused = true)]
async fn a_conversation_is_held_back_unless_it_is_to_be_sent_once() {
    for once in [false, true] {
        let (channel, seen) = hasty();
        let ring = settled_ring(&["a", "b"]);
        let mut client = tonic::client::Grpc::with_origin(layer(&ring).layer(channel), origin());
        client.ready().await.unwrap();
        let mut request = tonic::Request::new(tokio_stream::pending());
        if once {
            request.extensions_mut().insert(SendOnce);
        }
        let call = client.streaming(
            request,
            "/ledger.Ledger/Talk".parse().unwrap(),
            tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default(),
        );
        let answer = tokio::time::timeout(Duration::from_secs(3600), call).await;
        assert_eq!(answer.is_ok(), once);
        if let Ok(answer) = answer {
            assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated);
            assert_eq!(keys(&seen), [Some(value_of("a"))]);
        }
    }
}

#[tokio::test]
async fn a_stream_that_ends_within_the_limit_falls_back() {
    let (channel, seen) = hasty();
    let ring = settled_ring(&["a", "b"]);
    let mut client = tonic::client::Grpc::with_origin(layer(&ring).layer(channel), origin());
    client.ready().await.unwrap();
    let call = client.client_streaming(
        tonic::Request::new(tokio_stream::iter([check("x"), check("y")])),
        "/ledger.Ledger/Add".parse().unwrap(),
        tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default(),
    );
    assert_eq!(call.await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(keys(&seen), [Some(value_of("a")), Some(value_of("b"))]);
}
