//! What callers and servers see of the fallback.

mod common;

use std::marker::PhantomPinned;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use keyswap_core::SecretRing;
use keyswap_tower::{Authenticated, ClientSecretPost, Deadline, FallbackLayer};
use tower::{Layer, ServiceExt};

#[tokio::test]
async fn an_accepted_first_secret_is_the_only_attempt_and_its_answer_streams_through() {
    let ring = settled_ring(&["a", "b"]);
    let server = Server::accepting("a");
    let answer = layer(&ring).layer(server.clone()).oneshot(request()).await.unwrap();
    let with = answer.body().authenticated().unwrap().clone();
    assert_eq!((with.id.as_str(), with.attempts, with.promoted), ("a", 1, false));
    assert!(answer.into_body().into_untouched().is_ok());
    assert_eq!(server.ids(), ["a"]);
    assert_eq!(ring.usage().secrets[0].accepted, 1);
}

#[tokio::test]
async fn each_attempt_is_the_same_request_with_another_secret() {
    #[derive(Clone, Debug, PartialEq)]
    struct Mark(u32);
    let ring = settled_ring(&["a", "b", "c"]);
    let server = Server::accepting("c");
    let mut request = request();
    request.extensions_mut().insert(Mark(5));
    let answer = layer(&ring).layer(server.clone()).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.body().authenticated().unwrap().attempts, 3);
    assert_eq!(server.ids(), ["a", "b", "c"]);
    for seen in server.seen() {
        assert_eq!(seen.body, GRANT);
        assert_eq!(seen.head.method, "POST");
        assert_eq!(seen.head.uri, "https://auth.example/token?x=1");
        assert_eq!(seen.head.headers.len(), 3);
        assert_eq!(seen.head.headers["x-trace"], "7");
        assert_eq!(seen.head.extensions.get::<Mark>(), Some(&Mark(5)));
    }
}

#[tokio::test]
async fn each_attempt_with_post_has_the_callers_form_and_the_right_length() {
    let ring = settled_ring(&["a", "longer"]);
    let server = Server::new(|seen| accept(seen.body.ends_with(b"of%2Flonger%3D%3D")));
    let layer = FallbackLayer::new(ring, ClientSecretPost::new("billing"));
    let mut request = request();
    request.headers_mut().insert("content-length", GRANT.len().into());
    let answer = layer.layer(server.clone()).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    for (seen, id) in seen.iter().zip(["a", "longer"]) {
        let form = format!("{GRANT}&client_id=billing&client_secret=value%2Bof%2F{id}%3D%3D");
        assert_eq!(seen.body, form);
        assert_eq!(seen.head.headers["content-length"], form.len().to_string());
    }
}

#[tokio::test]
async fn when_all_are_refused_each_was_tried_once_and_the_last_answer_comes_back_unchanged() {
    let ring = settled_ring(&["a", "b", "c"]);
    let server = Server::accepting("none");
    let answer = layer(&ring).layer(server.clone()).oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.body().authenticated().is_none());
    assert_eq!(text(answer).await, REFUSED);
    assert_eq!(server.ids(), ["a", "b", "c"]);
}

#[tokio::test]
async fn an_answer_that_refuses_no_secret_comes_back_at_once() {
    for (status, body) in [
        (429, r#"{"error":"too_many_requests"}"#),
        (500, "<html>"),
        (403, r#"{"error":"access_denied"}"#),
        (307, ""),
        (400, r#"{"error":"invalid_grant"}"#),
        (401, r#"{"error":"invalid_token"}"#),
    ] {
        let ring = settled_ring(&["a", "b"]);
        let server = Server::new(move |_| Reply::Answer(answer(status, body)));
        let answer = layer(&ring).layer(server.clone()).oneshot(request()).await.unwrap();
        assert_eq!(answer.status(), status);
        assert!(answer.body().authenticated().is_none());
        assert_eq!(text(answer).await, body);
        assert_eq!(server.ids(), ["a"], "{status}");
        used_without_a_verdict(&ring);
    }
}

#[tokio::test]
async fn an_error_of_the_inner_service_goes_through_and_says_nothing_of_the_secret() {
    let ring = settled_ring(&["a", "b"]);
    let server = Server::new(|_| Reply::Error("connection reset"));
    let error = layer(&ring).layer(server.clone()).oneshot(request()).await.unwrap_err();
    assert_eq!(error.to_string(), "connection reset");
    assert_eq!(server.ids(), ["a"]);
    used_without_a_verdict(&ring);
}

/// The first secret was sent once, and nothing is known of it since.
fn used_without_a_verdict(ring: &keyswap_core::SecretRing) {
    let usage = &ring.usage().secrets[0];
    assert_eq!((usage.accepted, usage.refused, usage.inconclusive), (0, 0, 1));
}

fn long(length: usize) -> Vec<Result<Bytes, BoxError>> {
    (0..length).map(|piece| Ok(Bytes::from(format!("{piece:010}")))).collect()
}

fn joined(length: usize) -> String {
    (0..length).map(|piece| format!("{piece:010}")).collect()
}

#[tokio::test]
async fn a_refused_answer_over_the_limit_is_not_judged_and_comes_back_whole() {
    for known_length in [false, true] {
        let ring = settled_ring(&["a", "b"]);
        let server = Server::new(move |_| {
            let body = match known_length {
                false => pieces(long(50), false).boxed(),
                true => Full::from(joined(50)).map_err(|never| match never {}).boxed(),
            };
            Reply::Answer(answer_with(401, body))
        });
        let service = layer(&ring).max_answer(95).layer(server.clone());
        let answer = service.oneshot(request()).await.unwrap();
        assert_eq!(answer.into_body().into_untouched().is_ok(), known_length);
        let answer = layer(&ring).max_answer(95).layer(server.clone()).oneshot(request()).await;
        assert_eq!(text(answer.unwrap()).await, joined(50));
        assert_eq!(server.ids(), ["a", "a"]);
    }
}

#[tokio::test]
async fn a_refusal_in_several_pieces_up_to_the_limit_is_judged() {
    let ring = settled_ring(&["a", "b"]);
    let server = Server::new(|seen| {
        let (one, other) = REFUSED.split_at(9);
        let body = pieces(vec![Ok(one.into()), Ok(Bytes::new()), Ok(other.into())], false);
        Reply::Answer(match seen.id().unwrap().as_str() {
            "b" => answer(200, TOKEN),
            _ => answer_with(401, body.boxed()),
        })
    });
    let service = layer(&ring).max_answer(REFUSED.len()).layer(server.clone());
    assert_eq!(service.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(server.ids(), ["a", "b"]);
}

#[tokio::test]
async fn an_answer_that_breaks_off_comes_back_with_what_was_there_and_its_error() {
    let ring = settled_ring(&["a", "b"]);
    let server = Server::new(|_| {
        let body = pieces(vec![Ok("{\"err".into()), Err("reset".into())], false);
        Reply::Answer(answer_with(401, body.boxed()))
    });
    let answer = layer(&ring).layer(server.clone()).oneshot(request()).await.unwrap();
    let mut body = answer.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "{\"err");
    assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "reset");
    assert!(body.frame().await.is_none());
    assert_eq!(server.ids(), ["a"]);
}

#[tokio::test]
async fn a_request_over_the_limit_goes_out_once_with_the_preferred_secret_and_whole() {
    for known_length in [false, true] {
        let ring = settled_ring(&["a", "b"]);
        let server = Server::accepting("b");
        let body = || match known_length {
            false => pieces(long(50), false).boxed(),
            true => Full::from(joined(50)).map_err(|never| match never {}).boxed(),
        };
        let service = layer(&ring).max_body(95).layer(server.clone());
        let answer = service.clone().oneshot(request_with(body())).await.unwrap();
        assert_eq!((answer.status().as_u16(), text(answer).await.as_str()), (401, REFUSED));
        assert_eq!(server.ids(), ["a"]);
        ring.replace(list(&["b"]));
        let answer = service.oneshot(request_with(body())).await.unwrap();
        assert_eq!(answer.body().authenticated().unwrap().id.as_str(), "b");
        assert!(server.seen().iter().all(|seen| seen.body == joined(50)));
        assert_eq!(ring.usage().secrets[0].accepted, 1);
    }
}

#[tokio::test]
async fn a_streamed_request_under_the_limit_falls_back() {
    let ring = settled_ring(&["a", "b"]);
    let server = Server::accepting("b");
    // A body that must not be moved once it was polled.
    let stream = NotUnpin { pieces: pieces(long(50), false), pinned: PhantomPinned };
    let answer = layer(&ring).layer(server.clone()).oneshot(request_with(stream)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(server.ids(), ["a", "b"]);
    assert!(server.seen().iter().all(|seen| seen.body == joined(50)));
}

pin_project_lite::pin_project! {
    struct NotUnpin {
        #[pin]
        pieces: Pieces,
        #[pin]
        pinned: PhantomPinned,
    }
}

impl Body for NotUnpin {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().pieces.poll_frame(cx)
    }
}

#[tokio::test]
async fn a_request_whose_body_fails_reaches_the_inner_service_with_that_error() {
    let ring = settled_ring(&["a", "b"]);
    let server = Server::accepting("a");
    let body = pieces(vec![Ok("grant".into()), Err("disk gone".into())], false);
    let answer = layer(&ring).layer(server.clone()).oneshot(request_with(body)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = &server.seen()[0];
    assert_eq!((&seen.body[..], seen.failure.as_deref()), (&b"grant"[..], Some("disk gone")));
}

#[tokio::test]
async fn a_request_that_cannot_hold_the_secret_goes_out_once_as_it_is() {
    let server = Server::accepting("none");
    let layer = FallbackLayer::new(settled_ring(&["a", "b"]), ClientSecretPost::new("billing"));
    let mut request = request_with(Full::<Bytes>::from("plain"));
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    let answer = layer.layer(server.clone()).oneshot(request).await.unwrap();
    assert_eq!(text(answer).await, REFUSED);
    let seen = server.seen();
    assert_eq!((seen.len(), &seen[0].body[..]), (1, &b"plain"[..]));
    assert!(!seen[0].head.headers.contains_key("authorization"));
}

#[tokio::test]
async fn trailers_go_with_each_attempt() {
    let ring = settled_ring(&["a", "b"]);
    let trailers = http::HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    let service =
        tower::service_fn(|request: http::Request<keyswap_tower::RequestBody<_>>| async {
            let refused = request.headers()["authorization"] == basic_of("a");
            let body: http_body_util::Collected<Bytes> =
                request.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["x-sum"], "1");
            assert_eq!(body.to_bytes(), GRANT);
            Ok::<_, BoxError>(if refused { answer(401, REFUSED) } else { answer(200, TOKEN) })
        });
    let body = Full::<Bytes>::from(GRANT).with_trailers(async move { Some(Ok(trailers)) });
    let answer = layer(&ring).layer(service).oneshot(request_with(body)).await.unwrap();
    assert_eq!(answer.body().authenticated().unwrap().attempts, 2);
}

#[tokio::test]
async fn two_layers_on_one_request_do_not_multiply_the_attempts() {
    let (outer, inner) = (settled_ring(&["a", "b"]), settled_ring(&["c", "d"]));
    let server = Server::accepting("none");
    let service = layer(&outer).layer(layer(&inner).layer(server.clone()));
    let answer = service.oneshot(request()).await.unwrap();
    assert_eq!(text(answer).await, REFUSED);
    assert_eq!(server.ids(), ["c", "d"], "the one below knows, and keeps its secrets");
    let unused = outer.usage().secrets.iter().all(|usage| usage.used() == 0);
    assert!(unused, "no secret of the outer layer reached the server: {:?}", outer.usage());
}

#[tokio::test]
async fn of_two_layers_with_secrets_in_the_body_the_one_below_falls_back() {
    let post =
        |ring: &SecretRing| FallbackLayer::new(ring.clone(), ClientSecretPost::new("billing"));
    let (outer, inner) = (settled_ring(&["a", "b"]), settled_ring(&["c", "d"]));
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let server = tower::service_fn(move |request: http::Request<keyswap_tower::RequestBody<_>>| {
        let attempt = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let body: http_body_util::Collected<Bytes> =
                request.into_body().collect().await.unwrap();
            let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
            assert_eq!(body.matches("client_secret=").count(), 1, "{body}");
            Ok::<_, BoxError>(if attempt == 1 { answer(200, TOKEN) } else { answer(401, REFUSED) })
        }
    });
    let service = post(&outer).layer(post(&inner).layer(server));
    let answer = service.oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let with = answer.body().authenticated().unwrap();
    assert_eq!((with.id.as_str(), with.attempts), ("d", 2), "what the layer below found out");
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
    assert!(outer.usage().secrets.iter().all(|usage| usage.used() == 0));
}

#[tokio::test]
async fn a_secret_that_the_caller_put_there_is_replaced_and_the_list_is_used() {
    let ring = settled_ring(&["a", "b"]);
    let server = Server::accepting("b");
    let mut request = request();
    request.headers_mut().insert("authorization", basic_of("z").clone());
    let answer = layer(&ring).layer(server.clone()).oneshot(request).await.unwrap();
    assert_eq!(answer.body().authenticated().unwrap().id.as_str(), "b");
    assert_eq!(server.ids(), ["a", "b"]);
}

#[tokio::test]
async fn an_accepted_answer_is_marked_where_that_is_asked_for() {
    let ring = settled_ring(&["a", "b"]);
    for marked in [false, true] {
        let service = layer(&ring).mark_answers(marked).layer(Server::accepting("a"));
        let answer = service.oneshot(request()).await.unwrap();
        let expected = answer.body().authenticated().filter(|_| marked);
        assert_eq!(answer.extensions().get::<Authenticated>(), expected);
        assert!(answer.body().authenticated().is_some());
    }
}

#[tokio::test]
async fn a_list_replaced_in_mid_request_is_taken_up_at_the_refusal() {
    let ring = settled_ring(&["a", "b"]);
    let changing = ring.clone();
    let server = Server::new(move |seen| {
        if seen.id().as_deref() == Some("a") {
            changing.replace(list(&["c", "b", "a"]));
        }
        accept(seen.id().as_deref() == Some("c"))
    });
    let answer = layer(&ring).layer(server.clone()).oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(server.ids(), ["a", "c"]);
}

#[tokio::test]
async fn a_secret_removed_in_mid_request_is_not_tried() {
    let ring = settled_ring(&["a", "b", "c"]);
    let changing = ring.clone();
    let server = Server::new(move |_| {
        changing.replace(list(&["a", "c"]));
        accept(false)
    });
    let answer = layer(&ring).layer(server.clone()).oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), 401);
    // The new revision may be on its way to other nodes as well, so a pass may repeat; "b" never is.
    assert!(!server.ids().contains(&"b".to_owned()), "{:?}", server.ids());
    assert_eq!(server.ids()[..2], ["a", "c"]);
}

fn basic_of(id: &str) -> http::HeaderValue {
    use keyswap_tower::Credential;
    let mut head = request().into_parts().0;
    let secret = keyswap_core::Secret::new(id.parse().unwrap(), value_of(id)).unwrap();
    keyswap_tower::ClientSecretBasic::new("billing").apply(&secret, &mut head, None).unwrap();
    head.headers["authorization"].clone()
}

#[tokio::test(start_paused = true)]
async fn nodes_that_disagree_fail_no_request() {
    let ring = keyswap_core::SecretRing::new(list(&["old", "new"]));
    let attempts = std::sync::atomic::AtomicU32::new(0);
    // The worst order: each attempt reaches the node that does not know its secret, nine times in a row.
    let server = Server::new(move |_| {
        accept(attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 10 == 9)
    });
    let service = layer(&ring).layer(server.clone());
    let start = tokio::time::Instant::now();
    for _ in 0..20 {
        let answer = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.body().authenticated().unwrap().attempts, 10);
    }
    let each = start.elapsed() / 20;
    assert!(each > Duration::from_millis(15) && each < Duration::from_millis(60), "{each:?}");
}

#[tokio::test(start_paused = true)]
async fn no_pause_reaches_past_the_deadline_of_the_caller() {
    let ring = keyswap_core::SecretRing::new(list(&["old", "new"]));
    let server = Server::accepting("none");
    let start = tokio::time::Instant::now();
    let mut request = request();
    let most = Duration::from_millis(50);
    request.extensions_mut().insert(Deadline((start + most).into_std()));
    let answer = layer(&ring).layer(server.clone()).oneshot(request).await.unwrap();
    assert_eq!(text(answer).await, REFUSED);
    assert!(start.elapsed() <= most, "{:?}", start.elapsed());
    assert!(server.ids().len() > 6, "{:?}", server.ids());
}

#[tokio::test(start_paused = true)]
async fn a_newer_list_that_comes_in_time_saves_the_request() {
    let ring = settled_ring(&["a"]);
    tokio::time::advance(Duration::from_secs(60)).await;
    let server = Server::accepting("b");
    let mut wanted = ring.refresh_wanted();
    let follow = ring.clone();
    let following = tokio::spawn(async move {
        wanted.changed().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        follow.replace(list(&["b", "a"]));
        wanted
    });
    let answer = layer(&ring).layer(server.clone()).oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(server.ids(), ["a", "b"]);
    drop(following.await);
}

#[tokio::test(start_paused = true)]
async fn when_no_newer_list_comes_the_refusal_comes_back_after_the_wait() {
    let ring = settled_ring(&["a"]);
    tokio::time::advance(Duration::from_secs(60)).await;
    let server = Server::accepting("b");
    let _following = ring.refresh_wanted();
    let start = tokio::time::Instant::now();
    let answer = layer(&ring).layer(server.clone()).oneshot(request()).await.unwrap();
    assert_eq!(text(answer).await, REFUSED);
    assert_eq!(start.elapsed().as_millis().div_ceil(2), 500);
    assert_eq!(server.ids(), ["a"]);
}
