//! The server as Ory Hydra: one secret a client, or rotated ones beside it.

use std::time::Duration;

use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication, Provider};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{body, start};

const FIRST: &str = "first-secret-of-billing";

async fn hydra(provider: Provider) -> AuthorizationServer {
    let client = Client::new("billing", FIRST)
        .authentication(ClientAuthentication::SecretBasic)
        .grant("any")
        .scopes(["read"]);
    let keyed = Client::new("keyed", FIRST).authentication(ClientAuthentication::PrivateKeyJwt);
    let builder = AuthorizationServer::builder()
        .provider(provider)
        .nodes(2)
        .propagation_window(Duration::ZERO)
        .client(client)
        .client(keyed);
    start(builder).await
}

async fn call(
    server: &AuthorizationServer,
    method: Method,
    path: &str,
    message: Option<Value>,
) -> Response {
    let url = format!("{}/admin/clients/{path}", server.url());
    let request = reqwest::Client::new().request(method, url);
    let request = match message {
        Some(message) => request.json(&message),
        None => request,
    };
    request.send().await.expect("the server answers")
}

async fn rotate(server: &AuthorizationServer) -> String {
    let rotated = body(call(server, Method::POST, "billing/secrets/rotate", None).await, 200).await;
    rotated["client_secret"].as_str().unwrap().to_owned()
}

fn secret(value: &str) -> Option<Value> {
    Some(json!([{"op": "replace", "path": "/client_secret", "value": value}]))
}

#[tokio::test]
async fn the_last_six_secrets_are_taken_until_the_rotated_ones_are_cleared_or_another_one_is_set() {
    let server = hydra(Provider::HydraWithRotatedSecrets).await;
    let mut chosen = Vec::new();
    for _ in 0..6 {
        let value = rotate(&server).await;
        assert_eq!(value.len(), 26);
        chosen.push(value);
    }
    assert!(!server.accepts_anywhere("billing", FIRST));
    assert!(chosen.iter().all(|value| server.accepts("billing", value)));
    let cleared = call(&server, Method::DELETE, "billing/secrets/rotate", None).await;
    assert_eq!(body(cleared, 200).await.get("client_secret"), None);
    assert!(server.accepts("billing", &chosen[5]) && server.accepted_secrets("billing") == 1);

    rotate(&server).await;
    let patched = call(&server, Method::PATCH, "billing", secret("patched-in")).await;
    assert_eq!(body(patched, 200).await["client_secret"], "patched-in");
    assert!(server.accepts("billing", "patched-in") && server.accepted_secrets("billing") == 1);
    let shown = body(call(&server, Method::GET, "billing", None).await, 200).await;
    assert_eq!(shown.get("client_secret"), None);
    assert_eq!(shown["token_endpoint_auth_method"], "client_secret_basic");
}

#[tokio::test]
async fn an_earlier_version_has_one_secret_and_no_such_call() {
    let server = hydra(Provider::Hydra).await;
    let missing =
        body(call(&server, Method::POST, "billing/secrets/rotate", None).await, 404).await;
    assert_ne!(missing["error"], "Unable to locate the resource");
    let short = body(call(&server, Method::PATCH, "billing", secret("five5")).await, 400).await;
    assert_eq!(short["error"], "invalid_client_metadata");
    body(call(&server, Method::PATCH, "billing", secret("patched-in")).await, 200).await;
    assert!(server.accepts("billing", "patched-in") && !server.accepts("billing", FIRST));
    assert_eq!(server.counts().changes, 1);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_as_hydra_does() {
    let server = hydra(Provider::HydraWithRotatedSecrets).await;
    for method in [Method::POST, Method::DELETE] {
        let unknown = call(&server, method.clone(), "nobody/secrets/rotate", None).await;
        assert_eq!(body(unknown, 404).await["error"], "Unable to locate the resource");
        let keyed = body(call(&server, method, "keyed/secrets/rotate", None).await, 400).await;
        let description = keyed["error_description"].as_str().unwrap();
        assert!(description.contains("does not support client secret rotation"), "{keyed}");
    }
    let garbage = call(&server, Method::PATCH, "billing", Some(json!({"a": 1}))).await;
    assert_eq!(body(garbage, 500).await["error"], "error");

    let ask = async |basic: bool, secret: &str, scope: &str| {
        let mut form = vec![("grant_type", "client_credentials"), ("scope", scope)];
        let request = reqwest::Client::new().post(server.token_endpoint());
        let request = match basic {
            true => request.basic_auth("billing", Some(secret)),
            false => {
                form.extend([("client_id", "billing"), ("client_secret", secret)]);
                request
            }
        };
        request.form(&form).send().await.expect("the server answers")
    };
    assert_eq!(body(ask(true, FIRST, "read").await, 200).await["token_type"], "bearer");
    assert_eq!(body(ask(true, "wrong", "read").await, 401).await["error"], "invalid_client");
    let other = body(ask(false, FIRST, "read").await, 401).await;
    let description = other["error_description"].as_str().unwrap();
    assert!(description.contains("method 'client_secret_post' was requested"), "{other}");
    assert_eq!(body(ask(true, FIRST, "write").await, 400).await["error"], "invalid_scope");
}
