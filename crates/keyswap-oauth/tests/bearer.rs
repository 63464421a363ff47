//! The layer, over an API in memory that panics when it is called unready.

mod common;

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use keyswap_oauth::{BearerBody, BearerError, BearerLayer, TokenErrorKind};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

fn get() -> Request<Full<Bytes>> {
    Request::get("https://api.example/orders?page=2").body(Full::default()).unwrap()
}

fn post<B>(body: B) -> Request<B> {
    let request = Request::post("https://api.example/orders").header("x-trace", "7");
    request.extension(41u8).body(body).unwrap()
}

#[tokio::test]
async fn a_request_carries_the_token_as_a_sensitive_header_without_a_copy() {
    let source = tokens().source();
    let api = Api::accepting("token-1");
    let answer = BearerLayer::new(source.clone()).layer(api.clone()).oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = api.seen();
    let header = &seen[0].head.headers["authorization"];
    assert_eq!(header, "Bearer token-1");
    assert!(header.is_sensitive());
    let token = source.token().await.unwrap();
    assert_eq!(header.as_bytes().as_ptr(), token.header().as_bytes().as_ptr());
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_request_sent_once_more_as_it_was() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "9".parse().unwrap());
    let body = pieces(&["one ", "two"]).then(Ok(Frame::trailers(trailers.clone())));
    let endpoint = tokens();
    let api = Api::accepting("token-2");
    let layer = BearerLayer::new(endpoint.source());
    let answer = layer.layer(api.clone()).oneshot(post(body)).await.unwrap();
    assert_eq!(text(answer).await, "answer 200");
    assert_eq!((api.tokens(), endpoint.requests()), (vec!["token-1".into(), "token-2".into()], 2));
    for seen in api.seen() {
        assert_eq!((seen.body.as_ref(), seen.trailers), (&b"one two"[..], Some(trailers.clone())));
        assert_eq!((seen.head.method.as_str(), seen.head.uri.path()), ("POST", "/orders"));
        assert_eq!(seen.head.headers["x-trace"], "7");
        assert_eq!(seen.head.headers.len(), 2);
        assert_eq!(seen.head.extensions.get(), Some(&41u8));
    }
}

#[tokio::test]
async fn a_second_refusal_is_the_callers_unchanged() {
    let endpoint = tokens();
    let api = Api::accepting("none");
    let layer = BearerLayer::new(endpoint.source());
    let answer = layer.layer(api.clone()).oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["www-authenticate"], INVALID);
    assert_eq!(text(answer).await, "answer 401");
    assert_eq!((api.tokens(), endpoint.requests()), (vec!["token-1".into(), "token-2".into()], 2));
}

#[tokio::test(start_paused = true)]
async fn an_api_that_refuses_every_token_gets_each_request_once_until_ten_seconds_have_passed() {
    let endpoint = tokens();
    let api = Api::accepting("none");
    let service = BearerLayer::new(endpoint.source()).layer(api.clone());
    for _ in 0..5 {
        let answer = service.clone().oneshot(get()).await.unwrap();
        assert_eq!(text(answer).await, "answer 401");
    }
    assert_eq!((api.seen().len(), endpoint.requests()), (6, 2));
    tokio::time::advance(Duration::from_secs(10)).await;
    service.oneshot(get()).await.unwrap();
    assert_eq!((api.seen().len(), endpoint.requests()), (8, 3));
}

#[tokio::test]
async fn every_other_answer_is_the_callers_and_renews_nothing() {
    for (status, challenge) in [
        (200, None),
        (401, None),
        (401, Some("Bearer")),
        (401, Some(r#"Bearer error="insufficient_scope""#)),
        (401, Some(r#"DPoP error="invalid_token""#)),
        (403, Some(INVALID)),
        (400, Some(INVALID)),
        (500, None),
    ] {
        let endpoint = tokens();
        let api = Api::new(move |_| Reply::Answer(answer(status, challenge)));
        let layer = BearerLayer::new(endpoint.source());
        let answer = layer.layer(api.clone()).oneshot(get()).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(text(answer).await, format!("answer {status}"));
        assert_eq!((api.seen().len(), endpoint.requests()), (1, 1), "{status} {challenge:?}");
    }
}

#[tokio::test]
async fn a_token_that_another_caller_has_renewed_meanwhile_is_taken_and_nothing_is_fetched() {
    let endpoint = tokens();
    let source = endpoint.source();
    let refused = source.token().await.unwrap();
    let (mock, mut handle) =
        tower_test::mock::pair::<Request<BearerBody<Full<Bytes>>>, Response<ApiBody>>();
    let call = tokio::spawn(BearerLayer::new(source.clone()).layer(mock).oneshot(get()));
    let (first, respond) = handle.next_request().await.unwrap();
    assert_eq!(first.headers()["authorization"], "Bearer token-1");
    source.renew(&refused).await.unwrap();
    respond.send_response(answer(401, Some(INVALID)));
    let (second, respond) = handle.next_request().await.unwrap();
    assert_eq!(second.headers()["authorization"], "Bearer token-2");
    respond.send_response(answer(200, None));
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    assert_eq!(endpoint.requests(), 2);
}

#[tokio::test]
async fn two_hundred_calls_with_a_refused_token_renew_it_once() {
    let endpoint = tokens();
    let service = BearerLayer::new(endpoint.source()).layer(Api::accepting("token-2"));
    let calls: Vec<_> = (0..200).map(|_| tokio::spawn(service.clone().oneshot(get()))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(endpoint.requests(), 2);
}

#[tokio::test]
async fn a_body_over_the_limit_goes_out_once_and_whole_and_the_next_request_has_a_new_token() {
    let long = "x".repeat(2000);
    let declared = Full::from(long.clone()).map_err(|never| match never {}).boxed_unsync();
    let streamed = pieces(&["0123456789"; 200]).boxed_unsync();
    for body in [declared, streamed] {
        let endpoint = tokens();
        let api = Api::accepting("token-2");
        let service = BearerLayer::new(endpoint.source()).max_body(1999).layer(api.clone());
        let answer = service.clone().oneshot(post(body)).await.unwrap();
        assert_eq!(text(answer).await, "answer 401");
        assert_eq!(api.seen()[0].body.len(), 2000);
        assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
        assert_eq!((api.seen().len(), endpoint.requests()), (2, 2));
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_sent_once_more() {
    let streamed = pieces(&["0123456789"; 200]);
    let api = Api::accepting("token-2");
    let service = BearerLayer::new(tokens().source()).max_body(2000).layer(api.clone());
    assert_eq!(service.oneshot(post(streamed)).await.unwrap().status(), 200);
    assert_eq!(api.seen()[1].body, "0123456789".repeat(200));
}

#[tokio::test]
async fn a_body_that_has_not_ended_when_the_answer_comes_is_not_sent_once_more() {
    let endpoint = tokens();
    let api = Api::new(|_| Reply::Early(answer(401, Some(INVALID))));
    let layer = BearerLayer::new(endpoint.source());
    let body = pieces(&["begun"]).then_hang();
    let answer = layer.layer(api.clone()).oneshot(post(body)).await.unwrap();
    assert_eq!(text(answer).await, "answer 401");
    assert_eq!((api.seen().len(), endpoint.requests()), (1, 2));
}

#[tokio::test]
async fn a_body_that_fails_fails_as_it_would_without_the_layer() {
    let body = pieces(&["begun"]).then(Err("disk on fire".into()));
    let api = Api::accepting("token-2");
    let layer = BearerLayer::new(tokens().source());
    let error = layer.layer(api.clone()).oneshot(post(body)).await.unwrap_err();
    assert!(matches!(&error, BearerError::Inner(error) if error.to_string() == "disk on fire"));
    assert_eq!(error.to_string(), "disk on fire");
    assert_eq!(api.seen().len(), 0);
}

/// As hyper does with HTTP/1 and a known length: it does not ask a body that has given all of it whether
/// there is more.
#[tokio::test]
async fn a_body_of_known_length_whose_end_is_not_read_is_sent_once_more() {
    struct Sized(Option<Bytes>);
    impl Body for Sized {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            std::task::Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
        }
        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
        }
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let api = tower::service_fn(move |request: Request<BearerBody<Sized>>| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut body = request.into_body();
            assert_eq!(http_body::Body::size_hint(&body).exact(), Some(5));
            assert_eq!(body.frame().await.unwrap()?.into_data().unwrap(), "whole");
            Ok::<_, BoxError>(if call == 0 {
                answer(401, Some(INVALID))
            } else {
                answer(200, None)
            })
        }
    });
    let service = BearerLayer::new(tokens().source()).layer(api);
    let answer = service.oneshot(post(Sized(Some("whole".into())))).await.unwrap();
    assert_eq!((answer.status().as_u16(), calls.load(Ordering::SeqCst)), (200, 2));
}

#[tokio::test]
async fn a_call_whose_body_waits_for_the_answer_works() {
    // As a gRPC stream: what the client sends depends on what it hears. The layer waits for nothing.
    let api = tower::service_fn(|request: Request<BearerBody<Pieces>>| async move {
        let mut body = request.into_body();
        assert_eq!(body.frame().await.unwrap()?.into_data().unwrap(), "hello");
        Ok::<_, BoxError>(answer(200, None))
    });
    let body = pieces(&["hello"]).then_hang();
    let service = BearerLayer::new(tokens().source()).layer(api);
    assert_eq!(service.oneshot(post(body)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn no_token_is_an_error_of_its_own_and_nothing_is_sent() {
    let endpoint = Endpoint::new(|_| Grant::Status(503));
    let api = Api::accepting("token-1");
    let layer = BearerLayer::new(endpoint.source());
    let error = layer.layer(api.clone()).oneshot(get()).await.unwrap_err();
    let BearerError::Token(cause) = &error else { panic!("{error:?}") };
    assert_eq!(cause.kind(), TokenErrorKind::Refused { status: 503 });
    assert_eq!(
        error.to_string(),
        "there is no access token for this request: the token endpoint at auth.example answers 503 \
         with `temporarily_unavailable`"
    );
    assert_eq!(api.seen().len(), 0);
}

#[tokio::test]
async fn a_renewal_that_fails_is_the_callers_error() {
    let endpoint = Endpoint::new(|number| match number {
        1 => Grant::Token(Some(3600)),
        _ => Grant::Status(503),
    });
    let api = Api::accepting("token-2");
    let layer = BearerLayer::new(endpoint.source());
    let error = layer.layer(api.clone()).oneshot(get()).await.unwrap_err();
    assert!(matches!(error, BearerError::Token(_)), "{error:?}");
    assert_eq!(api.tokens(), ["token-1"]);
}

#[tokio::test]
async fn an_error_of_the_inner_service_goes_through_and_renews_nothing() {
    let endpoint = tokens();
    let api = Api::new(|_| Reply::Error("connection reset"));
    let layer = BearerLayer::new(endpoint.source());
    let error = layer.layer(api).oneshot(get()).await.unwrap_err();
    assert!(matches!(&error, BearerError::Inner(error) if error.to_string() == "connection reset"));
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test]
async fn a_request_with_an_authorization_of_its_own_is_left_alone() {
    let endpoint = tokens();
    let api = Api::accepting("token-1");
    let mut request = get();
    request.headers_mut().insert("authorization", "Basic b3duOm93bg==".parse().unwrap());
    let layer = BearerLayer::new(endpoint.source());
    let answer = layer.layer(api.clone()).oneshot(request).await.unwrap();
    assert_eq!(text(answer).await, "answer 401");
    assert_eq!(api.seen()[0].head.headers["authorization"], "Basic b3duOm93bg==");
    assert_eq!((api.seen().len(), endpoint.requests()), (1, 0));
}

#[tokio::test]
async fn a_request_to_another_origin_than_the_pinned_one_gets_no_token() {
    for uri in ["https://api.example.evil.example/", "http://api.example/", "/orders"] {
        let endpoint = tokens();
        let api = Api::accepting("token-1");
        let layer =
            BearerLayer::new(endpoint.source()).origin("https://api.example".parse().unwrap());
        let request = Request::get(uri).body(Full::<Bytes>::default()).unwrap();
        let answer = layer.layer(api.clone()).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!((api.tokens(), endpoint.requests()), (vec!["none".into()], 0), "{uri}");
    }
}

#[tokio::test]
async fn a_redirect_that_is_followed_above_or_below_a_pinned_layer_takes_no_token_elsewhere() {
    let api = Api::new(|seen| {
        let mut answer = answer(200, None);
        if seen.head.uri.host() == Some("api.example") {
            *answer.status_mut() = http::StatusCode::TEMPORARY_REDIRECT;
            answer.headers_mut().insert("location", "https://evil.example/".parse().unwrap());
        }
        Reply::Answer(answer)
    });
    let layer =
        || BearerLayer::new(tokens().source()).origin("https://api.example".parse().unwrap());
    let follow = tower_http::follow_redirect::FollowRedirectLayer::new;
    let request = || Request::get("https://api.example/").body(Empty::<Bytes>::new()).unwrap();

    let above = ServiceBuilder::new().layer(follow()).layer(layer()).service(api.clone());
    assert_eq!(above.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(api.tokens(), ["token-1", "none"]);

    let below = ServiceBuilder::new().layer(layer()).layer(follow()).service(api.clone());
    assert_eq!(below.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(api.tokens()[2..], ["token-1", "none"]);
}

#[tokio::test]
async fn no_token_goes_out_in_clear_text_except_to_loopback_or_where_it_is_allowed() {
    let send = async |uri: &str, allow: bool| {
        let api = Api::accepting("token-1");
        let layer = BearerLayer::new(tokens().source());
        let layer = if allow { layer.allow_clear_text() } else { layer };
        let request = Request::get(uri).body(Full::<Bytes>::default()).unwrap();
        let result = layer.layer(api.clone()).oneshot(request).await;
        (result.map(|answer| answer.status().as_u16()), api.seen().len())
    };
    let (result, seen) = send("http://user:hunter2@api.example/?hunter2", false).await;
    let error = result.unwrap_err();
    assert!(matches!(error, BearerError::ClearText(_)));
    assert!(error.to_string().contains("http://api.example in clear text: use https"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
    assert_eq!(seen, 0);
    for (uri, allow) in [
        ("http://api.example/", true),
        ("http://127.0.0.1:8080/", false),
        ("http://localhost/", false),
        ("https://api.example/", false),
        // To wherever the inner service is connected.
        ("/orders", false),
    ] {
        assert_eq!(send(uri, allow).await.0.unwrap(), 200, "{uri}");
    }
}

#[tokio::test]
async fn fifty_callers_share_one_permit_of_the_inner_service() {
    let api = Api::accepting("token-2");
    let service = BearerLayer::new(tokens().source()).layer(ConcurrencyLimit::new(api, 1));
    let calls: Vec<_> =
        (0..50).map(|_| tokio::spawn(service.clone().oneshot(post(pieces(&["a"]))))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn the_second_attempt_waits_until_the_inner_service_is_ready_again() {
    type Sent = Request<BearerBody<Full<Bytes>>>;
    let (mock, mut handle) = tower_test::mock::pair::<Sent, Response<ApiBody>>();
    handle.allow(1);
    let mut service = BearerLayer::new(tokens().source()).layer(mock);
    let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
    let mut future = pin!(ready.call(get()));
    reach(future.as_mut(), "called").await;
    let (_, respond) = handle.next_request().await.unwrap();
    respond.send_response(answer(401, Some(INVALID)));
    reach(future.as_mut(), "readying").await;
    assert!(poll_once(pin!(handle.next_request())).is_pending());
    handle.allow(1);
    assert!(poll_once(future.as_mut()).is_pending());
    let (_, respond) = handle.next_request().await.unwrap();
    respond.send_response(answer(200, None));
    assert_eq!(future.await.unwrap().status(), 200);
}

/// Polls until the future says that it is in this state.
async fn reach<F: Future + std::fmt::Debug>(mut future: Pin<&mut F>, state: &str) {
    for _ in 0..100 {
        assert!(poll_once(future.as_mut()).is_pending(), "ended before it was {state}");
        if format!("{future:?}").contains(&format!("state: {state},")) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never {state}: {future:?}");
}

#[tokio::test]
async fn a_request_dropped_in_any_state_frees_the_inner_service_and_the_turn_to_fetch() {
    let hanging_first = || {
        Endpoint::new(|number| match number {
            1 => Grant::Hang,
            _ => Grant::Token(Some(3600)),
        })
    };
    let hanging_second = || {
        Endpoint::new(|number| match number {
            2 => Grant::Hang,
            _ => Grant::Token(Some(3600)),
        })
    };
    let unread = || {
        Api::new(|_| {
            let mut answer = answer(401, Some(INVALID));
            *answer.body_mut() = pieces(&["no"]).then_hang().boxed();
            Reply::Answer(answer)
        })
    };
    let cases = [
        ("fetching", hanging_first(), Api::accepting("token-1")),
        ("called", tokens(), Api::new(|_| Reply::Hang)),
        ("draining", tokens(), unread()),
        ("renewing", hanging_second(), Api::accepting("none")),
    ];
    for (state, endpoint, api) in cases {
        let source = endpoint.source();
        let limited = ConcurrencyLimit::new(api, 1);
        let mut service = BearerLayer::new(source.clone()).layer(limited);
        let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
        {
            let mut future = pin!(ready.call(get()));
            reach(future.as_mut(), state).await;
            assert!(!format!("{future:?}").contains("token-"));
        }
        let within = Duration::from_secs(5);
        let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service);
        tokio::time::timeout(within, ready).await.expect(state).unwrap();
        let token = tokio::time::timeout(within, source.token()).await.expect(state).unwrap();
        let renewed = tokio::time::timeout(within, source.renew(&token)).await.expect(state);
        renewed.unwrap();
    }
}

#[tokio::test]
async fn services_and_bodies_that_are_not_send_will_do() {
    let count = Rc::new(Cell::new(0));
    let counted = count.clone();
    let api = tower::service_fn(move |request: Request<BearerBody<_>>| {
        let count = counted.clone();
        async move {
            let body: Bytes = BodyExt::collect(request.into_body()).await?.to_bytes();
            assert_eq!(body, "body");
            count.set(count.get() + 1);
            let refused = count.get() == 1;
            Ok::<_, BoxError>(answer(if refused { 401 } else { 200 }, refused.then_some(INVALID)))
        }
    });
    let not_send = Rc::new(());
    let body = pieces(&["body"]).map_err(move |error| {
        let _ = &not_send;
        error
    });
    let service = BearerLayer::new(tokens().source()).layer(api);
    assert_eq!(service.oneshot(post(body)).await.unwrap().status(), 200);
    assert_eq!(count.get(), 2);
}

#[test]
fn the_future_is_send_and_static_when_its_parts_are() {
    fn check<T: Send + 'static>(_: &T) {}
    fn shared<T: Send + Sync + Clone>() {}
    let mut service = BearerLayer::new(tokens().source()).layer(Api::accepting("token-1"));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = Service::<Request<Full<Bytes>>>::poll_ready(&mut service, &mut context);
    check(&service.call(get()));
    shared::<BearerLayer>();
    shared::<keyswap_oauth::BearerMiddleware>();
}

#[tokio::test]
async fn the_answer_to_a_refused_token_is_read_before_the_request_is_sent_once_more() {
    // One that ends, one that does not end before the limit, and one that says so from the start.
    let read = Arc::new(AtomicUsize::new(0));
    for (length, most_read) in [(1000, 1000), (200_000, 66_000)] {
        read.store(0, Ordering::SeqCst);
        let counted = read.clone();
        let api = Api::new(move |seen| {
            if seen.token() != Some("token-1") {
                return Reply::Answer(answer(200, None));
            }
            let mut refusal = answer(401, Some(INVALID));
            let counted = counted.clone();
            let pieces = pieces(&vec!["0123456789"; length / 10]).map_frame(move |frame| {
                counted.fetch_add(frame.data_ref().map_or(0, Bytes::len), Ordering::SeqCst);
                frame
            });
            *refusal.body_mut() = pieces.boxed();
            Reply::Answer(refusal)
        });
        let service = BearerLayer::new(tokens().source()).layer(api);
        assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
        let read = read.load(Ordering::SeqCst);
        assert!((length.min(65_536)..=most_read).contains(&read), "{read}");
    }
}

#[tokio::test]
async fn debug_of_layer_service_and_body_shows_no_token() {
    let source = tokens().source();
    source.token().await.unwrap();
    let layer = BearerLayer::new(source);
    let middleware = keyswap_oauth::BearerMiddleware::from(layer.clone());
    let service = layer.layer(tower::service_fn(|request: Request<BearerBody<Full<Bytes>>>| {
        let shown = format!("{request:?}");
        assert!(shown.contains("Sensitive") && !shown.contains("token-1"), "{shown}");
        assert!(shown.contains("BearerBody") && !shown.contains("hunter2"), "{shown}");
        std::future::ready(Ok::<_, BoxError>(answer(200, None)))
    }));
    let shown = format!("{layer:?} {service:?} {middleware:?}");
    assert!(!shown.contains("token-1"), "{shown}");
    service.oneshot(post(Full::from("hunter2"))).await.unwrap();
}
