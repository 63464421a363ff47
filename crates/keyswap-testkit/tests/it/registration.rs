//! The server as one where a client manages its own registration (RFC 7592).

use keyswap_testkit::{AtUpdate, AuthorizationServer, Client, Fault, Provider, Times};
use reqwest::Response;
use serde_json::{Value, json};

use crate::{body, start};

const FIRST: &str = "first-secret-of-billing";

async fn server(at_update: AtUpdate, rotates_token: bool) -> AuthorizationServer {
    let builder = AuthorizationServer::builder()
        .provider(Provider::Registration { at_update, rotates_token })
        .client(Client::new("billing", FIRST))
        .api_token("token");
    start(builder).await
}

async fn read(server: &AuthorizationServer, token: &str) -> Response {
    let url = format!("{}/register/billing", server.url());
    reqwest::Client::new().get(url).bearer_auth(token).send().await.expect("the server answers")
}

async fn update(
    server: &AuthorizationServer,
    token: &str,
    sent: &Value,
) -> reqwest::Result<Response> {
    let url = format!("{}/register/billing", server.url());
    reqwest::Client::new().put(url).bearer_auth(token).json(sent).send().await
}

/// What may be sent back of what was read.
async fn sendable(server: &AuthorizationServer, token: &str) -> Value {
    let mut read = body(read(server, token).await, 200).await;
    let members = read.as_object_mut().unwrap();
    members.retain(|name, _| {
        !(name.starts_with("registration_")
            || name.ends_with("_expires_at")
            || name.ends_with("_issued_at"))
    });
    read
}

#[tokio::test]
async fn an_update_does_to_the_secret_what_the_server_is_told_to_and_replaces_the_metadata() {
    for (at_update, changes) in [(AtUpdate::IssuesSecret, 1), (AtUpdate::KeepsSecret, 0)] {
        let server = server(at_update, false).await;
        let mut sent = sendable(&server, "token").await;
        assert_eq!(sent["redirect_uris"], json!(["https://billing.example/callback"]));
        sent.as_object_mut().unwrap().remove("redirect_uris");
        let answer = body(update(&server, "token", &sent).await.unwrap(), 200).await;
        assert_eq!(answer["client_secret"] != FIRST, changes == 1);
        assert!(server.accepts("billing", answer["client_secret"].as_str().unwrap()));
        assert_eq!(server.counts().changes, changes);
        assert_eq!(server.metadata("billing").get("redirect_uris"), None);
        sent["client_secret"] = json!("a-choice");
        let refused = body(update(&server, "token", &sent).await.unwrap(), 400).await;
        assert_eq!(refused["error"], "invalid_request");
    }
    let server = server(AtUpdate::TakesSecret, false).await;
    let mut sent = sendable(&server, "token").await;
    sent["client_secret"] = json!("a-choice");
    body(update(&server, "token", &sent).await.unwrap(), 200).await;
    assert!(server.accepts("billing", "a-choice"));
}

#[tokio::test]
async fn a_token_is_replaced_by_each_update_and_lost_with_its_answer() {
    let server = server(AtUpdate::KeepsSecret, true).await;
    let sent = sendable(&server, "token").await;
    let answer = body(update(&server, "token", &sent).await.unwrap(), 200).await;
    let next = answer["registration_access_token"].as_str().unwrap();
    assert_eq!(body(read(&server, "token").await, 401).await["error"], "invalid_token");
    server.inject(Fault::AnswerLostBeforeChange, Times::ONCE);
    update(&server, next, &sent).await.unwrap_err();
    body(read(&server, next).await, 200).await;
    server.inject(Fault::AnswerLostAfterChange, Times::ONCE);
    update(&server, next, &sent).await.unwrap_err();
    body(read(&server, next).await, 401).await;
    body(read(&server, &server.issue_registration_token()).await, 200).await;
}

#[tokio::test]
async fn what_the_server_alone_writes_is_refused() {
    let server = server(AtUpdate::IssuesSecret, true).await;
    let read = body(read(&server, "token").await, 200).await;
    let refused = body(update(&server, "token", &read).await.unwrap(), 400).await;
    let description = refused["error_description"].as_str().unwrap();
    assert!(description.contains("MUST NOT include the registration_access_token"), "{refused}");
    let mut sent = sendable(&server, "token").await;
    sent["client_id"] = json!("another");
    body(update(&server, "token", &sent).await.unwrap(), 400).await;
    assert_eq!(server.counts().changes, 0);
}
