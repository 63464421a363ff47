//! A token source at an embedded authorization server, over real sockets.

use std::time::Duration;

use keyswap_core::{Secret, SecretList, SecretRing};
use keyswap_oauth::{TokenErrorKind, TokenSource};
use keyswap_reqwest::{FallbackMiddleware, client_builder};
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Times};
use keyswap_tower::{ClientSecretPost, Profile};

const AUDIENCE: &str = "https://api.example/";

async fn server(lifetime: Duration) -> AuthorizationServer {
    AuthorizationServer::builder()
        .token_lifetime(lifetime)
        .client(Client::new("billing", "the-present-secret").grant(AUDIENCE))
        .start()
        .await
        .unwrap()
}

fn tokens(server: &AuthorizationServer, secrets: &[&str]) -> TokenSource {
    let secret = |(number, value): (usize, &&str)| {
        Secret::new(format!("s{number}").parse().unwrap(), *value).unwrap()
    };
    let ring = SecretRing::new(SecretList::new(secrets.iter().enumerate().map(secret)).unwrap());
    let fallback =
        FallbackMiddleware::new(ring, ClientSecretPost::new("billing")).profile(Profile::Auth0);
    let client = reqwest_middleware::ClientBuilder::new(client_builder().build().unwrap())
        .with(fallback)
        .build();
    TokenSource::new(client, server.token_endpoint().parse().unwrap())
        .parameter("audience", AUDIENCE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_callers_at_once_make_one_request_and_later_ones_none() {
    let server = server(Duration::from_secs(3600)).await;
    let tokens = tokens(&server, &["the-present-secret"]);
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { tokens.token().await.unwrap().expose().to_owned() })
        })
        .collect();
    let mut seen = std::collections::HashSet::new();
    for caller in callers {
        seen.insert(caller.await.unwrap());
    }
    assert_eq!(seen.len(), 1);
    let token = seen.into_iter().next().unwrap();
    assert!(server.accepts_token(&token, AUDIENCE));
    assert_eq!(server.counts().token_accepted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_is_renewed_once_however_many_callers_found_it_refused() {
    let server = server(Duration::from_secs(3600)).await;
    let tokens = tokens(&server, &["the-present-secret"]);
    let refused = tokens.token().await.unwrap();
    server.revoke_tokens();
    let renewals: Vec<_> = (0..20)
        .map(|_| {
            let (tokens, refused) = (tokens.clone(), refused.clone());
            tokio::spawn(async move { tokens.renew(&refused).await.unwrap() })
        })
        .collect();
    for renewal in renewals {
        assert!(server.accepts_token(renewal.await.unwrap().expose(), AUDIENCE));
    }
    assert_eq!(server.counts().token_accepted, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_over_is_fetched_anew() {
    let server = server(Duration::ZERO).await;
    let tokens = tokens(&server, &["the-present-secret"]);
    tokens.token().await.unwrap();
    tokens.token().await.unwrap();
    assert_eq!(server.counts().token_accepted, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_cannot_be_renewed_serves_until_it_is_over() {
    // Its last tenth and more begins at 1.7 s at the latest, and it is over after 2 s.
    let server = server(Duration::from_secs(2)).await;
    let tokens = tokens(&server, &["the-present-secret"]);
    let first = tokens.token().await.unwrap();
    let down = Fault::ServerError { endpoint: Endpoint::Token, status: 503 };
    server.inject(down, Times::EVERY);
    // Until somebody has tried in vain to renew it, everybody gets the first one.
    while server.counts().faults == 0 {
        match tokens.token().await {
            Ok(token) => assert_eq!(token.expose(), first.expose()),
            // A machine that stood still for that long.
            Err(error) => assert!(first.is_expired(std::time::Instant::now()), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while !first.is_expired(std::time::Instant::now()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(tokens.token().await.unwrap_err().is_transient());
    server.clear_faults();
    assert_ne!(tokens.token().await.unwrap().expose(), first.expose());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_secret_falls_back_and_a_wrong_one_is_an_error_that_holds_none() {
    let server = server(Duration::from_secs(3600)).await;
    tokens(&server, &["wrong-secret", "the-present-secret"]).token().await.unwrap();

    let error = tokens(&server, &["wrong-secret"]).token().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Refused { status: 401 });
    assert!(!error.is_transient());
    assert!(!format!("{error} {error:?}").contains("wrong-secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_not_kept_and_the_next_caller_asks_again() {
    let server = server(Duration::from_secs(3600)).await;
    let tokens = tokens(&server, &["the-present-secret"]);
    server.inject(Fault::ServerError { endpoint: Endpoint::Token, status: 503 }, Times::ONCE);
    let error = tokens.token().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Refused { status: 503 });
    assert!(error.is_transient());
    server.inject(Fault::Html { endpoint: Endpoint::Token, status: 200 }, Times::ONCE);
    let error = tokens.token().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Unexpected { status: 200 });
    tokens.token().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_while_it_fetches_leaves_the_work_to_the_next() {
    let server = server(Duration::from_secs(3600)).await;
    let tokens = tokens(&server, &["the-present-secret"]);
    let slow = Fault::Latency { endpoint: Endpoint::Token, delay: Duration::from_secs(60) };
    server.inject(slow, Times::ONCE);
    let fetching = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.token().await }
    });
    while server.counts().faults == 0 {
        tokio::task::yield_now().await;
    }
    fetching.abort();
    tokens.token().await.unwrap();
}
