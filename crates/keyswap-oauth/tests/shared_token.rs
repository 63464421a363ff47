//! One token for all callers: fetched once, ahead of its end, and by somebody else if a caller goes away.
//! With an endpoint in memory, so that time is the test's.

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use keyswap_oauth::{Token, TokenError, TokenErrorKind, TokenSource};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};

const MANY: usize = 10_000;

type Caller = JoinHandle<Result<Token, TokenError>>;

fn callers(source: &TokenSource, count: usize) -> Vec<Caller> {
    let call = |_| {
        let source = source.clone();
        tokio::spawn(async move { source.token().await })
    };
    (0..count).map(call).collect()
}

async fn all(callers: Vec<Caller>) -> Vec<Result<Token, TokenError>> {
    let mut results = Vec::with_capacity(callers.len());
    for caller in callers {
        results.push(in_time(caller).await.unwrap());
    }
    results
}

/// Instead of a test that never ends. Under paused time, a test that would not end fails at once.
async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("nobody gave an answer")
}

fn all_are(results: &[Result<Token, TokenError>], expected: &str) {
    assert!(results.iter().all(|result| result.as_ref().unwrap().expose() == expected));
}

/// Lets everybody come to where they wait.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_on_an_empty_source_make_one_request() {
    let endpoint = Endpoint::new(|_| Grant::Late(Duration::from_millis(100), Some(3600)));
    let source = endpoint.source();
    all_are(&all(callers(&source, MANY)).await, "token-1");
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_of_a_token_that_has_run_out_make_one_request() {
    let endpoint = Endpoint::new(|_| Grant::Late(Duration::from_millis(100), Some(3600)));
    let source = endpoint.source();
    assert_eq!(source.token().await.unwrap().expose(), "token-1");
    advance(Duration::from_secs(3601)).await;
    all_are(&all(callers(&source, MANY)).await, "token-2");
    assert_eq!(endpoint.requests(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_that_found_a_token_refused_make_one_request() {
    let endpoint = tokens();
    let source = endpoint.source();
    let refused = source.token().await.unwrap();
    let renew = |_| {
        let (source, refused) = (source.clone(), refused.clone());
        tokio::spawn(async move { source.renew(&refused).await })
    };
    all_are(&all((0..MANY).map(renew).collect()).await, "token-2");
    assert_eq!(endpoint.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_share_one_failure_and_the_next_asks_again() {
    let endpoint = Endpoint::new(|number| match number {
        1 => Grant::Status(503),
        _ => Grant::Token(Some(3600)),
    });
    let source = endpoint.source();
    for result in all(callers(&source, MANY)).await {
        assert_eq!(result.unwrap_err().kind(), TokenErrorKind::Refused { status: 503 });
    }
    assert_eq!(endpoint.requests(), 1);
    assert_eq!(source.token().await.unwrap().expose(), "token-2");
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_share_a_token_that_the_server_lets_end_at_once() {
    let endpoint = Endpoint::new(|_| Grant::Late(Duration::from_millis(100), Some(0)));
    let source = endpoint.source();
    all_are(&all(callers(&source, 100)).await, "token-1");
    assert_eq!(endpoint.requests(), 1);
    assert_eq!(source.token().await.unwrap().expose(), "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_dropped_while_it_fetches_leaves_the_work_to_another_at_once() {
    let endpoint = Endpoint::new(|number| match number {
        1..=3 => Grant::Hang,
        _ => Grant::Token(Some(3600)),
    });
    let source = endpoint.source();
    let started = Instant::now();
    let mut callers = callers(&source, 100);
    settle().await;
    assert_eq!(endpoint.requests(), 1);
    // Whoever fetches is dropped, three times over.
    for dropped in 1..=3 {
        // They get their turn in the order in which they came.
        callers.remove(0).abort();
        settle().await;
        assert_eq!(endpoint.requests(), dropped + 1);
    }
    all_are(&all(callers).await, "token-4");
    assert_eq!((endpoint.requests(), endpoint.most_at_once()), (4, 1));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_given_to_a_caller_that_goes_away_as_well_is_not_lost() {
    let endpoint = Endpoint::new(|number| match number {
        1 => Grant::Hang,
        _ => Grant::Token(Some(3600)),
    });
    let source = endpoint.source();
    let mut first = Box::pin(source.token());
    assert!(poll_once(first.as_mut()).is_pending());
    let mut second = Box::pin(source.token());
    assert!(poll_once(second.as_mut()).is_pending());
    let third = tokio::spawn({
        let source = source.clone();
        async move { source.token().await }
    });
    settle().await;
    // The second is told that it is its turn, and is gone before it hears of it.
    drop(first);
    drop(second);
    assert_eq!(in_time(third).await.unwrap().unwrap().expose(), "token-2");
}

#[tokio::test(start_paused = true)]
async fn while_a_token_nears_its_end_one_caller_renews_it_and_the_others_use_it() {
    let endpoint = Endpoint::new(|_| Grant::Late(Duration::from_secs(1), Some(1000)));
    let source = endpoint.source();
    source.token().await.unwrap();
    // From 850 s at the earliest, and from 940 s for certain: a minute before the end.
    advance(Duration::from_secs(800)).await;
    assert_eq!(source.token().await.unwrap().expose(), "token-1");
    assert_eq!(endpoint.requests(), 1);
    advance(Duration::from_secs(140)).await;
    let renewing = callers(&source, 1);
    settle().await;
    assert_eq!(endpoint.requests(), 2);
    let now = Instant::now();
    all_are(&all(callers(&source, 100)).await, "token-1");
    assert_eq!(now.elapsed(), Duration::ZERO);
    all_are(&all(renewing).await, "token-2");
    assert_eq!(source.token().await.unwrap().expose(), "token-2");
    assert_eq!(endpoint.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_renewed_serves_to_its_end_with_a_try_every_ten_seconds() {
    let endpoint = Endpoint::new(|number| match number {
        1 => Grant::Token(Some(1000)),
        _ => Grant::Status(503),
    });
    let source = endpoint.source();
    source.token().await.unwrap();
    advance(Duration::from_secs(945)).await;
    for second in 945..1000 {
        assert_eq!(source.token().await.unwrap().expose(), "token-1", "{second}");
        // The first try is the second request.
        assert_eq!(endpoint.requests(), 2 + (second - 945) / 10, "{second}");
        advance(Duration::from_secs(1)).await;
    }
    let error = source.token().await.unwrap_err();
    assert!(error.is_transient());
    assert_eq!(endpoint.requests(), 8);
    // Now there is nothing to spare.
    source.token().await.unwrap_err();
    assert_eq!(endpoint.requests(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_renews_ahead_waits_five_seconds_and_goes_on_with_the_token_there_is() {
    let endpoint = Endpoint::new(|number| match number {
        1 => Grant::Token(Some(1000)),
        2 => Grant::Hang,
        _ => Grant::Token(Some(1000)),
    });
    let source = endpoint.source();
    source.token().await.unwrap();
    advance(Duration::from_secs(945)).await;
    let asked = Instant::now();
    assert_eq!(in_time(source.token()).await.unwrap().expose(), "token-1");
    let waited = asked.elapsed();
    assert!((5.0..5.1).contains(&waited.as_secs_f64()), "{waited:?}");
    // Nobody waits for the next ten seconds.
    let now = Instant::now();
    assert_eq!(source.token().await.unwrap().expose(), "token-1");
    assert_eq!((now.elapsed(), endpoint.requests()), (Duration::ZERO, 2));
    advance(Duration::from_secs(11)).await;
    assert_eq!(source.token().await.unwrap().expose(), "token-3");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_ahead_that_outlives_the_token_is_waited_for() {
    let endpoint = Endpoint::new(|number| match number {
        1 => Grant::Token(Some(1000)),
        _ => Grant::Late(Duration::from_secs(20), Some(1000)),
    });
    let source = endpoint.source();
    source.token().await.unwrap();
    advance(Duration::from_secs(997)).await;
    assert_eq!(source.token().await.unwrap().expose(), "token-2");
    assert_eq!(endpoint.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_renewal_ahead_is_taken_over_by_the_next_caller() {
    let endpoint = Endpoint::new(|number| match number {
        2 => Grant::Hang,
        _ => Grant::Token(Some(1000)),
    });
    let source = endpoint.source();
    source.token().await.unwrap();
    advance(Duration::from_secs(945)).await;
    {
        let mut renewing = pin!(source.token());
        assert!(poll_once(renewing.as_mut()).is_pending());
    }
    assert_eq!(source.token().await.unwrap().expose(), "token-3");
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_token_counts_from_before_it_was_asked_for() {
    let endpoint = Endpoint::new(|_| Grant::Late(Duration::from_secs(50), Some(100)));
    let source = endpoint.source();
    let token = source.token().await.unwrap();
    let now = Instant::now().into_std();
    assert!(!token.is_expired(now + Duration::from_secs(49)));
    assert!(token.is_expired(now + Duration::from_secs(50)));
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_stated_life_is_kept_until_it_is_refused() {
    let endpoint = Endpoint::new(|_| Grant::Token(None));
    let source = endpoint.source();
    let token = source.token().await.unwrap();
    advance(Duration::from_secs(400 * 24 * 3600)).await;
    assert_eq!(source.token().await.unwrap().expose(), "token-1");
    assert_eq!(source.renew(&token).await.unwrap().expose(), "token-2");
}

#[tokio::test]
async fn a_token_that_another_caller_has_renewed_already_is_taken_and_nothing_is_fetched() {
    let endpoint = tokens();
    let source = endpoint.source();
    let refused = source.token().await.unwrap();
    source.renew(&refused).await.unwrap();
    assert_eq!(source.renew(&refused).await.unwrap().expose(), "token-2");
    assert_eq!(endpoint.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_every_token_makes_for_one_renewal_every_ten_seconds() {
    let endpoint = tokens();
    let source = endpoint.source();
    for second in 0..30 {
        let refused = source.token().await.unwrap();
        let renewed = source.renew(&refused).await.unwrap();
        // The token of the first second took the place of one that had lived.
        let expected = format!("token-{}", 2 + second / 10);
        assert_eq!(renewed.expose(), expected, "{second}");
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(endpoint.requests(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_leaves_the_token_to_those_whom_it_serves() {
    let down = Arc::new(AtomicBool::new(false));
    let is_down = down.clone();
    let endpoint = Endpoint::new(move |_| match is_down.load(Ordering::SeqCst) {
        true => Grant::Status(503),
        false => Grant::Token(Some(3600)),
    });
    let source = endpoint.source();
    let refused = source.token().await.unwrap();
    down.store(true, Ordering::SeqCst);
    assert!(source.renew(&refused).await.unwrap_err().is_transient());
    assert_eq!(source.token().await.unwrap().expose(), "token-1");
    down.store(false, Ordering::SeqCst);
    assert_eq!(source.renew(&refused).await.unwrap().expose(), "token-3");
}

#[tokio::test]
async fn a_clone_shares_the_token_and_another_parameter_means_another_token() {
    let endpoint = tokens();
    let source = endpoint.source();
    source.token().await.unwrap();
    assert_eq!(source.clone().token().await.unwrap().expose(), "token-1");
    let scoped = source.clone().parameter("scope", "orders");
    assert_eq!(scoped.token().await.unwrap().expose(), "token-2");
    assert_eq!(source.token().await.unwrap().expose(), "token-1");
}

#[tokio::test]
async fn debug_of_what_holds_a_token_shows_none() {
    let endpoint = tokens();
    let source = endpoint.source();
    let token = source.token().await.unwrap();
    let shown = format!("{source:?} {:?} {token:?} {:?}", source.token(), token.header());
    assert!(!shown.contains("token-1") && !shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("auth.example"), "{shown}");
}

#[test]
fn the_futures_can_be_sent_to_another_thread() {
    fn check<T: Send>(_: T) {}
    let source = tokens().source();
    check(source.token());
}
