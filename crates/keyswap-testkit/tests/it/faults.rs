//! Each fault, as the caller meets it, and what is true at the server afterwards.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyswap_testkit::{AuthorizationServer, Endpoint, Fault, Times};
use serde_json::json;

use crate::{body, builder, read, rotate_secret, rotator, sign_in, start, update};

/// Changes the secret to `second`.
async fn change(server: &AuthorizationServer, token: &str) -> reqwest::Result<reqwest::Response> {
    update(server, token, "billing", json!({"client_secret": "second"})).await
}

/// The connection was closed without an answer: no status, no timeout, no refused connection.
#[track_caller]
fn assert_lost(answer: reqwest::Result<reqwest::Response>) {
    let error = answer.expect_err("the answer must be lost");
    assert!(error.is_request() && !error.is_timeout() && !error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn an_answer_lost_after_the_change_leaves_it_applied() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    server.inject(Fault::AnswerLostAfterChange, Times::ONCE);
    assert_lost(change(&server, &token).await);
    assert!(server.accepts("billing", "second"));
    assert_eq!((server.counts().changes, server.counts().faults), (1, 1));
    // Used up: the same request is answered now.
    body(change(&server, &token).await.unwrap(), 200).await;
}

#[tokio::test]
async fn an_answer_lost_before_the_change_leaves_it_undone() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    server.inject(Fault::AnswerLostBeforeChange, Times(2));
    assert_lost(change(&server, &token).await);
    assert_lost(rotate_secret(&server, &token, "billing").await);
    assert!(server.settled("billing") && server.accepts("billing", "first-secret"));
    assert_eq!(server.counts().changes, 0);
}

#[tokio::test]
async fn a_lost_rotation_can_be_read_back() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    server.inject(Fault::AnswerLostAfterChange, Times::ONCE);
    assert_lost(rotate_secret(&server, &token, "billing").await);
    let shown = body(read(&server, &token, "billing").await, 200).await;
    let secret = shown["client_secret"].as_str().unwrap();
    assert_ne!(secret, "first-secret");
    assert!(server.accepts("billing", secret));
}

#[tokio::test]
async fn a_late_change_comes_after_its_answer_was_lost_and_over_a_newer_one() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let after = Duration::from_secs(1);
    server.inject(Fault::LateChange { after }, Times::ONCE);
    let sent = Instant::now();
    assert_lost(change(&server, &token).await);
    assert!(!server.settled("billing"), "a change is on its way");
    assert_eq!(server.counts().changes, 0);
    server.set_secret("billing", "newer");
    assert!(server.accepts("billing", "newer"));
    server.clear_faults();
    server.until_settled("billing").await;
    assert!(sent.elapsed() >= after);
    assert!(server.accepts("billing", "second"), "the late one was applied last");
    assert_eq!(server.counts().changes, 1);
}

#[tokio::test]
async fn an_answer_that_waits_after_the_change_leaves_it_applied_when_the_caller_gives_up() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let delay = Duration::from_millis(100);
    server.inject(Fault::LatencyAfterChange { delay }, Times::ONCE);
    let sent = Instant::now();
    body(change(&server, &token).await.unwrap(), 200).await;
    assert!(sent.elapsed() >= delay);

    server.inject(Fault::LatencyAfterChange { delay: Duration::from_secs(600) }, Times::ONCE);
    let third = update(&server, &token, "billing", json!({"client_secret": "third"}));
    let gave_up = tokio::select! {
        _ = third => false,
        () = async { while server.counts().changes < 2 { tokio::task::yield_now().await } } => true,
    };
    assert!(gave_up && server.accepts("billing", "third"));
}

#[tokio::test]
async fn an_error_after_the_change_makes_a_client_that_repeats_it_change_twice() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    server.inject(Fault::ServerErrorAfterChange { status: 500 }, Times::ONCE);
    let error = body(rotate_secret(&server, &token, "billing").await.unwrap(), 500).await;
    assert_eq!(error["statusCode"], 500);
    assert!(!server.accepts_anywhere("billing", "first-secret"));
    body(rotate_secret(&server, &token, "billing").await.unwrap(), 200).await;
    assert_eq!(server.counts().changes, 2);
}

#[tokio::test]
async fn faults_of_a_change_spare_requests_that_change_no_secret() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    server.inject(Fault::AnswerLostBeforeChange, Times::ONCE);
    body(read(&server, &token, "billing").await, 200).await;
    let named = update(&server, &token, "billing", json!({"name": "Billing"})).await.unwrap();
    body(named, 200).await;
    let missing = update(&server, &token, "nope", json!({"client_secret": "x"})).await.unwrap();
    body(missing, 404).await;
    body(update(&server, "bad", "billing", json!({"client_secret": "x"})).await.unwrap(), 401)
        .await;
    assert_lost(change(&server, &token).await);
}

#[tokio::test]
async fn an_answer_can_be_lost_at_the_token_endpoint_too() {
    let server = start(builder()).await;
    server.inject(Fault::AnswerLost { endpoint: Endpoint::Token }, Times::ONCE);
    let request = reqwest::Client::new().post(server.token_endpoint());
    assert_lost(request.form(&[("client_id", "billing")]).send().await);
    assert_eq!(sign_in(&server, "first-secret").await.status(), 200);
}

#[tokio::test]
async fn a_rate_limit_says_how_long_to_wait_in_each_of_the_vendors_ways() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let retry_after = Some(Duration::from_millis(1500));
    let reset_after = Some(Duration::from_secs(60));
    let endpoint = Endpoint::Token;
    server.inject(Fault::RateLimited { endpoint, retry_after, reset_after }, Times::ONCE);
    let answer = sign_in(&server, "first-secret").await;
    let headers = answer.headers().clone();
    assert_eq!(headers["retry-after"], "2");
    assert_eq!(headers["x-ratelimit-limit"], "10");
    assert_eq!(headers["x-ratelimit-remaining"], "0");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let reset: u64 = headers["x-ratelimit-reset"].to_str().unwrap().parse().unwrap();
    assert!((now + 50..=now + 61).contains(&reset), "{reset} at {now}");
    let expected =
        json!({"error": "too_many_requests", "error_description": "Rate limit exceeded."});
    assert_eq!(body(answer, 429).await, expected);

    let endpoint = Endpoint::Management;
    let bare = Fault::RateLimited { endpoint, retry_after: None, reset_after: None };
    server.inject(bare, Times::ONCE);
    let answer = change(&server, &token).await.unwrap();
    assert!(!answer.headers().contains_key("retry-after"));
    assert!(!answer.headers().contains_key("x-ratelimit-reset"));
    let answer = body(answer, 429).await;
    assert_eq!(
        (&answer["statusCode"], &answer["error"]),
        (&json!(429), &json!("Too Many Requests"))
    );
    assert!(server.accepts("billing", "first-secret"));
}

#[tokio::test]
async fn server_errors_and_pages_of_html_change_nothing() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let endpoint = Endpoint::UpdateClient;
    server.inject(Fault::ServerError { endpoint, status: 503 }, Times::ONCE);
    server.inject(Fault::Html { endpoint, status: 502 }, Times::ONCE);
    server.inject(Fault::Html { endpoint, status: 200 }, Times::ONCE);
    let error = body(change(&server, &token).await.unwrap(), 503).await;
    assert_eq!(error["error"], "Service Unavailable");
    for status in [502, 200] {
        let page = change(&server, &token).await.unwrap();
        assert_eq!(page.status(), status);
        assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(page.text().await.unwrap().starts_with("<html>"));
    }
    assert!(server.accepts("billing", "first-secret"));
    assert_eq!(server.counts().changes, 0);
    body(change(&server, &token).await.unwrap(), 200).await;
}

#[tokio::test]
async fn latency_makes_the_caller_wait_or_give_up() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let endpoint = Endpoint::ReadClient;
    let delay = Duration::from_millis(150);
    server.inject(Fault::Latency { endpoint, delay }, Times::ONCE);
    let sent = Instant::now();
    body(read(&server, &token, "billing").await, 200).await;
    assert!(sent.elapsed() >= delay);

    let delay = Duration::from_secs(600);
    server.inject(Fault::Latency { endpoint: Endpoint::Token, delay }, Times::EVERY);
    let request = reqwest::Client::new().post(server.token_endpoint());
    let gave_up = request.timeout(Duration::from_millis(50)).send().await.unwrap_err();
    assert!(gave_up.is_timeout(), "{gave_up:?}");
    server.clear_faults();
    assert_eq!(sign_in(&server, "first-secret").await.status(), 200);
}

#[tokio::test]
async fn a_caller_that_gives_up_while_its_request_waits_is_not_served() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let endpoint = Endpoint::UpdateClient;
    let delay = Duration::from_secs(600);
    server.inject(Fault::Latency { endpoint, delay }, Times::ONCE);
    let waiting = change(&server, &token);
    tokio::select! {
        answer = waiting => panic!("answered before its time: {answer:?}"),
        () = async { while server.counts().faults == 0 { tokio::task::yield_now().await } } => {}
    }
    // The request is forgotten as soon as its connection is gone: there is nothing that the end would wait for.
    let stopped = tokio::time::timeout(Duration::from_secs(4), server.shutdown()).await;
    assert!(stopped.is_ok());
    assert!(server.settled("billing") && server.accepts("billing", "first-secret"));
}

#[tokio::test]
#[should_panic(expected = "a server error has a status from 500 to 599, not 404")]
async fn a_fault_that_cannot_be_is_refused_when_it_is_injected() {
    let server = start(builder()).await;
    let fault = Fault::ServerError { endpoint: Endpoint::Token, status: 404 };
    server.inject(fault, Times::ONCE);
}
