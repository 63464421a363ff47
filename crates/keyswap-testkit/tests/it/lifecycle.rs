//! Start, stop, and what is said when it does not start.

use std::time::Duration;

use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, StartError, Times};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::{body, builder, rotator, sign_in, start};

async fn refusal(builder: keyswap_testkit::Builder) -> StartError {
    builder.start().await.expect_err("the server must not start")
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_way_out() {
    let first = start(builder()).await;
    let error = refusal(builder().bind(first.address())).await;
    assert!(error.is_address_in_use());
    let shown = error.to_string();
    assert!(shown.contains(&first.address().to_string()) && shown.contains("port 0"), "{shown}");
}

#[tokio::test]
async fn only_loopback_addresses_are_listened_on() {
    for address in ["0.0.0.0:0", "192.0.2.1:8080", "[::]:0"] {
        let error = refusal(builder().bind(address)).await;
        assert!(error.is_not_loopback(), "{error}");
    }
    for address in ["example.com:80", "8080", "localhost", "localhost:99999"] {
        let error = refusal(builder().bind(address)).await;
        assert!(error.to_string().contains(&format!("`{address}`")), "{error}");
    }
    let server = start(builder().bind("localhost:0")).await;
    assert!(server.url().starts_with("http://127.0.0.1:"), "{}", server.url());
}

#[tokio::test]
async fn clients_that_make_no_sense_are_named_and_their_secrets_are_not() {
    let secret = "a-very-secret-value";
    let twice = refusal(builder().client(Client::new("billing", secret))).await;
    assert!(twice.to_string().contains("`billing` was registered twice"), "{twice}");
    let empty = refusal(builder().client(Client::new("x", ""))).await;
    assert!(empty.to_string().contains("`x` was registered with an empty secret"), "{empty}");
    let nameless = refusal(builder().client(Client::new("", secret))).await;
    assert!(nameless.to_string().contains("client id"), "{nameless}");
    let no_node = refusal(builder().nodes(0)).await;
    assert!(no_node.to_string().contains("at least one node"), "{no_node}");
    for error in [twice, empty, nameless, no_node] {
        assert!(!format!("{error} {error:?}").contains(secret));
    }
}

/// A token request that the server has taken and will answer after `delay`; it ends with the status, if there is one.
async fn waiting_request(server: &AuthorizationServer, delay: Duration) -> JoinHandle<Option<u16>> {
    server.inject(Fault::Latency { endpoint: Endpoint::Token, delay }, Times::ONCE);
    let request = reqwest::Client::new().post(server.token_endpoint()).body("").send();
    let waiting =
        tokio::spawn(async move { request.await.ok().map(|answer| answer.status().as_u16()) });
    while server.counts().faults == 0 {
        tokio::task::yield_now().await;
    }
    waiting
}

#[tokio::test]
async fn shutdown_takes_no_new_connection_finishes_the_answer_on_its_way_and_frees_the_port() {
    let server = start(builder()).await;
    let address = server.address();
    let waiting = waiting_request(&server, Duration::from_secs(3)).await;
    let clone = server.clone();
    let shutdown = tokio::spawn(async move { clone.shutdown().await });
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished(), "new connections are refused while an old one is served");
    shutdown.await.unwrap();
    assert_eq!(waiting.await.unwrap(), Some(400));
    // Again: it has stopped, nothing to wait for.
    server.shutdown().await;
    // A connection of another test may have this port for a moment.
    let free = async {
        loop {
            match builder().bind(address).start().await {
                Err(error) if error.is_address_in_use() => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                started => break started.unwrap(),
            }
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(10), free).await.unwrap();
    assert_eq!(sign_in(&again, "first-secret").await.status(), 200);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_idle_connections() {
    let server = start(builder()).await;
    let client = reqwest::Client::new();
    let answer = client.post(server.token_endpoint()).send().await.unwrap();
    answer.bytes().await.unwrap();
    let silent = TcpStream::connect(server.address()).await.unwrap();
    let stopped = tokio::time::timeout(Duration::from_secs(4), server.shutdown()).await;
    assert!(stopped.is_ok());
    drop((client, silent));
}

#[tokio::test]
async fn the_server_ends_with_its_last_handle() {
    let server = start(builder()).await;
    let address = server.address();
    let clone = server.clone();
    drop(server);
    assert_eq!(sign_in(&clone, "first-secret").await.status(), 200);
    drop(clone);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn dropping_the_last_handle_waits_for_no_answer() {
    let server = start(builder()).await;
    let waiting = waiting_request(&server, Duration::from_secs(600)).await;
    drop(server);
    let ended = tokio::time::timeout(Duration::from_secs(4), waiting).await;
    assert_eq!(ended.expect("cut off at once").unwrap(), None);
}

#[tokio::test]
async fn nothing_that_can_be_formatted_shows_a_secret() {
    let secret = "a-very-secret-value";
    let builder = builder().client(Client::new("x", secret).grant("https://api.example/"));
    let shown = format!("{builder:?}");
    let server = start(builder).await;
    server.set_secret("billing", "another-very-secret-value");
    server.inject(Fault::AnswerLostAfterChange, Times::ONCE);
    let token = rotator(&server).await;
    let shown = format!("{shown} {server:?} {:#?} {:?}", server, server.counts());
    assert!(shown.contains("billing"), "{shown}");
    for hidden in [secret, "another-very-secret-value", "first-secret", "mgmt-secret", &token] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

#[tokio::test]
#[should_panic(expected = "there is no client `nobody` at this server")]
async fn setting_the_secret_of_nobody_is_a_mistake_that_is_named() {
    start(builder()).await.set_secret("nobody", "x");
}

#[tokio::test]
async fn counts_tell_what_happened() {
    let server = start(builder()).await;
    assert_eq!(server.counts(), keyswap_testkit::Counts::default());
    sign_in(&server, "first-secret").await;
    sign_in(&server, "wrong").await;
    let token = rotator(&server).await;
    body(crate::read(&server, &token, "billing").await, 200).await;
    body(crate::read(&server, &token, "nope").await, 404).await;
    let counts = server.counts();
    assert_eq!((counts.token_accepted, counts.token_refused), (2, 1));
    assert_eq!((counts.management_requests, counts.changes), (2, 0));
}

#[tokio::test]
async fn a_server_needs_no_more_than_a_client_to_be_useful() {
    let builder = AuthorizationServer::builder().client(Client::new("billing", "first-secret"));
    let server = start(builder).await;
    assert_eq!(server.accepted_secrets("billing"), 1);
    assert_eq!(server.token_endpoint(), format!("http://{}/oauth/token", server.address()));
}
