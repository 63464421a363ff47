//! The contract of tower services: readiness, cancellation, concurrency, and nothing that leaks.

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use keyswap_core::SecretRing;
use keyswap_tower::{ClientSecretBasic, FallbackLayer, RequestBody};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

#[tokio::test]
async fn fifty_callers_share_one_permit_of_the_inner_service() {
    let ring = settled_ring(&["a", "b"]);
    let server = Server::accepting("b");
    let limited = ConcurrencyLimit::new(server.clone(), 1);
    let service = layer(&ring).layer(limited);
    let calls: Vec<_> = (0..50).map(|_| tokio::spawn(service.clone().oneshot(request()))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert!(server.ids().len() >= 51);
}

#[tokio::test]
async fn fifty_callers_share_a_buffer_of_one() {
    let ring = settled_ring(&["a", "b"]);
    let server = Server::accepting("b");
    let buffered = ServiceBuilder::new().buffer(1).service(server.clone());
    let service = layer(&ring).layer(buffered);
    let calls: Vec<_> = (0..50).map(|_| tokio::spawn(service.clone().oneshot(request()))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn it_stands_between_retry_timeout_and_limits() {
    #[derive(Clone)]
    struct Never;
    impl<E> tower::retry::Policy<Request<Full<Bytes>>, Response<Unread>, E> for Never {
        type Future = std::future::Ready<()>;
        fn retry(
            &mut self,
            _: &mut Request<Full<Bytes>>,
            _: &mut Result<Response<Unread>, E>,
        ) -> Option<Self::Future> {
            None
        }
        fn clone_request(
            &mut self,
            request: &Request<Full<Bytes>>,
        ) -> Option<Request<Full<Bytes>>> {
            Some(request.clone())
        }
    }
    type Unread = keyswap_tower::AnswerBody<ServerBody>;

    let ring = settled_ring(&["a", "b"]);
    let service = ServiceBuilder::new()
        .retry(Never)
        .timeout(Duration::from_secs(60))
        .layer(layer(&ring))
        .timeout(Duration::from_secs(60))
        .concurrency_limit(1)
        .service(Server::accepting("b"));
    assert_eq!(service.oneshot(request()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn readiness_is_asked_for_before_each_attempt_and_its_error_ends_the_request() {
    #[derive(Clone)]
    struct Closing {
        server: Server,
        polls: Arc<AtomicU32>,
    }
    impl Service<Request<RequestBody<Full<Bytes>>>> for Closing {
        type Response = Response<ServerBody>;
        type Error = BoxError;
        type Future = <Server as Service<Request<RequestBody<Full<Bytes>>>>>::Future;
        fn poll_ready(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
            if self.polls.fetch_add(1, Ordering::Relaxed) == 1 {
                return std::task::Poll::Ready(Err("closed".into()));
            }
            Service::<Request<RequestBody<Full<Bytes>>>>::poll_ready(&mut self.server, cx)
        }
        fn call(&mut self, request: Request<RequestBody<Full<Bytes>>>) -> Self::Future {
            self.server.call(request)
        }
    }
    let server = Server::accepting("b");
    let closing = Closing { server: server.clone(), polls: Arc::default() };
    let ring = settled_ring(&["a", "b"]);
    let error = layer(&ring).layer(closing).oneshot(request()).await.unwrap_err();
    assert_eq!(error.to_string(), "closed");
    assert_eq!(server.ids(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_in_any_state_frees_the_inner_service_and_counts_what_may_have_been_sent()
{
    let refusing = || Server::accepting("none");
    let transition = || SecretRing::new(list(&["a", "b"]));
    let hanging = || Server::new(|_| Reply::Hang);
    let unread = || {
        Server::new(|_| {
            let body = pieces(vec![Ok("{".into())], true);
            Reply::Answer(answer_with(401, body.boxed()))
        })
    };
    let form = || pieces(vec![Ok(GRANT.into())], false);
    let large = || pieces(vec![Ok(vec![b'x'; 70_000].into())], false);
    let stuck = || pieces(vec![Ok(GRANT.into())], true);
    let cases = [
        ("collecting", refusing(), stuck(), transition(), 0, 0),
        ("once", hanging(), large(), transition(), 0, 1),
        ("called", hanging(), form(), transition(), 0, 1),
        ("reading", unread(), form(), transition(), 0, 1),
        // The next one is decided on, and may as well be under way.
        ("pausing", refusing(), form(), transition(), 4, 1),
        ("waiting", refusing(), form(), settled_ring(&["a"]), 1, 0),
    ];
    tokio::time::advance(Duration::from_secs(1)).await;
    for (state, server, body, ring, refused, open) in cases {
        let _following = ring.refresh_wanted();
        let mut service = layer(&ring).layer(ConcurrencyLimit::new(server, 1));
        {
            let ready = ServiceExt::<Request<Pieces>>::ready(&mut service).await.unwrap();
            let mut future = pin!(ready.call(request_with(body)));
            reach(future.as_mut(), state).await;
            assert_eq!(ring.usage().secrets.iter().map(|usage| usage.used()).sum::<u64>(), refused);
        }
        // The permit is back.
        let ready = ServiceExt::<Request<Pieces>>::ready(&mut service);
        tokio::time::timeout(Duration::from_secs(1), ready).await.expect(state).unwrap();
        let usage = ring.usage().secrets;
        assert_eq!(usage.iter().map(|usage| usage.used()).sum::<u64>(), refused + open, "{state}");
        assert_eq!(usage.iter().map(|usage| usage.inconclusive).sum::<u64>(), open, "{state}");
    }
}

#[tokio::test]
async fn a_request_that_waits_for_readiness_can_be_dropped() {
    let ring = settled_ring(&["a", "b"]);
    let limited = ConcurrencyLimit::new(Server::accepting("b"), 1);
    let mut service = layer(&ring).layer(limited.clone());
    let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
    let mut future = Box::pin(ready.call(request()));
    // Queued behind it for the permit, so that the second attempt finds it taken.
    let mut next = limited.clone();
    let mut queued = Box::pin(ServiceExt::<Request<RequestBody<Full<Bytes>>>>::ready(&mut next));
    assert!(poll_once(queued.as_mut()).is_pending());
    reach(future.as_mut(), "readying").await;
    drop(future);
    queued.await.unwrap();
    drop(next);
    let mut other = limited;
    ServiceExt::<Request<RequestBody<Full<Bytes>>>>::ready(&mut other).await.unwrap();
    assert_eq!(ring.usage().secrets[0].refused, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_callers_see_no_failure_while_secret_and_list_change() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let changed = Arc::new(AtomicBool::new(false));
    let at_server = changed.clone();
    let server = Server::new(move |seen| {
        let right = if at_server.load(Ordering::SeqCst) { "new" } else { "old" };
        accept(seen.id().as_deref() == Some(right))
    });
    let service = layer(&ring).layer(server.clone());
    let started = Arc::new(AtomicU32::new(0));
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (service, started) = (service.clone(), started.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    started.fetch_add(1, Ordering::SeqCst);
                    let answer = service.clone().oneshot(request()).await.unwrap();
                    assert_eq!(answer.status(), 200);
                    assert!(answer.body().authenticated().is_some());
                }
            })
        })
        .collect();
    let after = async |count| {
        while started.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    };
    after(500).await;
    changed.store(true, Ordering::SeqCst);
    after(1000).await;
    ring.replace(list(&["new", "old"]));
    after(1500).await;
    ring.replace(list(&["new"]));
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(server.seen().iter().filter(|seen| seen.body != GRANT).count(), 0);
}

#[tokio::test]
async fn after_a_clear_change_the_new_secret_leads_within_a_few_requests() {
    let ring = settled_ring(&["old", "new"]);
    let server = Server::accepting("new");
    let service = layer(&ring).layer(server.clone());
    let mut promoted = 0;
    for _ in 0..20 {
        let answer = service.clone().oneshot(request()).await.unwrap();
        promoted += u32::from(answer.body().authenticated().unwrap().promoted);
    }
    assert_eq!(promoted, 1);
    assert_eq!(server.ids().last().unwrap(), "new");
    let olds = server.ids().iter().filter(|id| *id == "old").count();
    assert!(olds < 10, "{olds}");
}

#[test]
fn the_future_is_send_and_static_when_its_parts_are() {
    fn check<T: Send + 'static>(_: &T) {}
    fn sync<T: Send + Sync>() {}
    let mut service = layer(&settled_ring(&["a"])).layer(Server::accepting("a"));
    let waker = std::task::Waker::noop();
    let mut cx = std::task::Context::from_waker(waker);
    let _ = Service::<Request<Full<Bytes>>>::poll_ready(&mut service, &mut cx);
    check(&service.call(request()));
    sync::<RequestBody<Full<Bytes>>>();
    sync::<FallbackLayer<ClientSecretBasic>>();
}

#[tokio::test]
async fn services_and_bodies_that_are_not_send_will_do() {
    use std::rc::Rc;
    let count = Rc::new(std::cell::Cell::new(0));
    let counted = count.clone();
    let service = tower::service_fn(move |request: Request<RequestBody<_>>| {
        let count = counted.clone();
        async move {
            let body: Bytes = BodyExt::collect(request.into_body()).await?.to_bytes();
            assert_eq!(body, GRANT);
            count.set(count.get() + 1);
            Ok::<_, BoxError>(answer(if count.get() == 2 { 200 } else { 401 }, REFUSED))
        }
    });
    let not_send = Rc::new(());
    let body = pieces(vec![Ok(GRANT.into())], false).map_err(move |error| {
        let _ = &not_send;
        error
    });
    let service = layer(&settled_ring(&["a", "b"])).layer(service);
    assert_eq!(service.oneshot(request_with(body)).await.unwrap().status(), 200);
    assert_eq!(count.get(), 2);
}

#[tokio::test]
async fn the_second_attempt_waits_until_the_inner_service_is_ready_again() {
    type Sent = Request<RequestBody<Full<Bytes>>>;
    let ring = settled_ring(&["a", "b"]);
    let (mock, mut handle) = tower_test::mock::pair::<Sent, Response<ServerBody>>();
    handle.allow(1);
    let mut service = layer(&ring).layer(mock);
    let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
    let mut future = pin!(ready.call(request()));
    assert!(poll_once(future.as_mut()).is_pending());
    let (first, respond) = handle.next_request().await.unwrap();
    respond.send_response(answer(401, REFUSED));
    reach(future.as_mut(), "readying").await;
    handle.allow(1);
    assert!(poll_once(future.as_mut()).is_pending());
    let (second, respond) = handle.next_request().await.unwrap();
    respond.send_response(answer(200, TOKEN));
    assert_eq!(text(future.await.unwrap()).await, TOKEN);
    assert_ne!(first.headers()["authorization"], second.headers()["authorization"]);
}
