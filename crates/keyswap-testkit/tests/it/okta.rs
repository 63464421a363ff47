//! The server as Okta: two secrets a client, an API token, custom authorization servers.

use std::time::Duration;

use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Provider, Times};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{body, start};

const FIRST: &str = "first-secret-of-billing";
const TOKEN: &str = "api-token";

async fn okta(window: Duration) -> AuthorizationServer {
    let client = Client::new("billing", FIRST).application("0oabilling");
    let builder = AuthorizationServer::builder()
        .provider(Provider::Okta)
        .nodes(3)
        .propagation_window(window)
        .client(client.grant("default").scopes(["read"]))
        .api_token(TOKEN)
        .read_only_api_token("reader");
    start(builder).await
}

async fn call_as(
    server: &AuthorizationServer,
    token: &str,
    (method, path): (Method, &str),
    json: Option<Value>,
) -> reqwest::Result<Response> {
    let url = format!("{}/api/v1/apps/0oabilling/credentials/secrets{path}", server.url());
    let request = reqwest::Client::new().request(method, url);
    let request = request.header("authorization", format!("SSWS {token}"));
    match json {
        Some(json) => request.json(&json),
        None => request,
    }
    .send()
    .await
}

async fn call(server: &AuthorizationServer, method: Method, path: &str) -> Response {
    call_as(server, TOKEN, (method, path), None).await.expect("the server answers")
}

async fn add(server: &AuthorizationServer, json: Value) -> Response {
    call_as(server, TOKEN, (Method::POST, ""), Some(json)).await.expect("the server answers")
}

async fn sign_in(server: &AuthorizationServer, parameters: &[(&str, &str)]) -> Response {
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend_from_slice(parameters);
    let request = reqwest::Client::new().post(server.token_endpoint()).form(&form);
    request.send().await.expect("the server answers")
}

async fn status_of(server: &AuthorizationServer, secret: &str) -> u16 {
    let form = [("client_id", "billing"), ("client_secret", secret), ("scope", "read")];
    sign_in(server, &form).await.status().as_u16()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[tokio::test]
async fn a_secret_is_added_deactivated_activated_and_removed_and_both_are_taken_meanwhile() {
    let server = okta(Duration::ZERO).await;
    let second = json!({"client_secret": "second-secret-of-billing", "status": "ACTIVE"});
    let added = body(add(&server, second).await, 201).await;
    let listed = body(call(&server, Method::GET, "").await, 200).await;
    let [first, new] = listed.as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!(new, &added);
    assert_eq!((text(first, "client_secret"), text(first, "status")), (FIRST, "ACTIVE"));
    for secret in [FIRST, "second-secret-of-billing"] {
        assert_eq!(status_of(&server, secret).await, 200);
    }
    let id = text(first, "id");
    let off = call(&server, Method::POST, &format!("/{id}/lifecycle/deactivate")).await;
    let off = body(off, 200).await;
    assert_eq!(text(&off, "status"), "INACTIVE");
    assert!(off["_links"]["delete"]["href"].as_str().unwrap().ends_with(id));
    assert_eq!(status_of(&server, FIRST).await, 401);
    body(call(&server, Method::POST, &format!("/{id}/lifecycle/activate")).await, 200).await;
    assert_eq!(status_of(&server, FIRST).await, 200);

    let active = body(call(&server, Method::DELETE, &format!("/{id}")).await, 400).await;
    assert!(text(&active["errorCauses"][0], "errorSummary").contains("Deactivate the secret"));
    call(&server, Method::POST, &format!("/{id}/lifecycle/deactivate")).await;
    assert_eq!(call(&server, Method::DELETE, &format!("/{id}")).await.status(), 204);
    for method in [Method::DELETE, Method::GET] {
        let gone = body(call(&server, method, &format!("/{id}")).await, 404).await;
        assert_eq!(text(&gone, "errorCode"), "E0000007");
    }
    let id = text(new, "id");
    let only = call(&server, Method::POST, &format!("/{id}/lifecycle/deactivate")).await;
    let only = body(only, 400).await;
    assert!(text(&only["errorCauses"][0], "errorSummary").contains("only active"));
    assert_eq!(server.secrets("billing"), [(id.to_owned(), true)]);
    assert_eq!(server.counts().changes, 5);
}

#[tokio::test]
async fn a_third_secret_and_an_unsuitable_one_are_refused_in_the_vendors_shape() {
    let server = okta(Duration::ZERO).await;
    for (secret, cause) in [
        (json!("short"), "at least '14'"),
        (json!("x".repeat(101)), "more than '100'"),
        (json!("non-ascii-secret-ü"), "printable ASCII"),
    ] {
        let error = body(add(&server, json!({"client_secret": secret})).await, 400).await;
        assert_eq!(text(&error, "errorSummary"), "Api validation failed: client_secret");
        assert!(text(&error["errorCauses"][0], "errorSummary").contains(cause), "{error}");
    }
    // None at all: the server chooses one.
    let chosen = body(add(&server, json!({})).await, 201).await;
    assert_eq!(status_of(&server, text(&chosen, "client_secret")).await, 200);
    let error = body(add(&server, json!({})).await, 400).await;
    assert_eq!(text(&error, "errorCode"), "E0000001");
    assert!(text(&error["errorCauses"][0], "errorSummary").contains("maximum number"), "{error}");
}

#[tokio::test]
async fn a_wrong_token_a_reader_and_an_unknown_application_are_told_apart() {
    let server = okta(Duration::ZERO).await;
    let as_ = async |token, method| {
        call_as(&server, token, (method, ""), None).await.expect("the server answers")
    };
    let wrong = body(as_("other", Method::GET).await, 401).await;
    assert_eq!(text(&wrong, "errorCode"), "E0000011");
    body(as_("reader", Method::GET).await, 200).await;
    let denied = body(as_("reader", Method::POST).await, 403).await;
    assert_eq!(text(&denied, "errorCode"), "E0000006");
    // The application has an id of its own.
    let url = format!("{}/api/v1/apps/billing/credentials/secrets", server.url());
    let request = reqwest::Client::new().get(url).header("authorization", "SSWS api-token");
    body(request.send().await.unwrap(), 404).await;
}

#[tokio::test]
async fn the_token_endpoint_says_what_okta_says() {
    let server = okta(Duration::ZERO).await;
    let refused = |id: &'static str, secret: &'static str| {
        let server = server.clone();
        async move {
            let form = [("client_id", id), ("client_secret", secret), ("scope", "read")];
            body(sign_in(&server, &form).await, 401).await
        }
    };
    let wrong = refused("billing", "wrong").await;
    assert_eq!(text(&wrong, "error"), "invalid_client");
    assert!(text(&wrong, "error_description").starts_with("The client secret supplied"));
    let unknown = refused("nobody", FIRST).await;
    assert!(text(&unknown, "error_description").contains("`client_id` parameter"));
    let none = body(sign_in(&server, &[("client_id", "billing")]).await, 401).await;
    assert_eq!(text(&none, "error_description"), "No client credentials found.");
    let secret = [("client_id", "billing"), ("client_secret", FIRST)];
    for scope in [None, Some(("scope", "write"))] {
        let form: Vec<_> = secret.into_iter().chain(scope).collect();
        let error = body(sign_in(&server, &form).await, 400).await;
        assert_eq!(text(&error, "error"), "invalid_scope");
    }
    let reset_after = Some(Duration::from_secs(30));
    let limited = |endpoint| Fault::RateLimited { endpoint, retry_after: None, reset_after };
    server.inject(limited(Endpoint::Token), Times::ONCE);
    server.inject(limited(Endpoint::ListSecrets), Times::ONCE);
    for answer in [sign_in(&server, &[]).await, call(&server, Method::GET, "").await] {
        assert!(answer.headers().contains_key("x-rate-limit-reset"), "{answer:?}");
        assert_eq!(text(&body(answer, 429).await, "errorCode"), "E0000047");
    }
}

#[tokio::test]
async fn a_secret_spreads_over_the_nodes_while_the_others_stay_in_force() {
    let window = Duration::from_millis(400);
    let server = okta(window).await;
    body(add(&server, json!({"client_secret": "second-secret-of-billing"})).await, 201).await;
    assert!(server.accepts("billing", FIRST));
    assert!(!server.accepts("billing", "second-secret-of-billing"), "one node is late");
    server.until_settled("billing").await;
    assert!(server.accepts("billing", FIRST));
    assert!(server.accepts("billing", "second-secret-of-billing"));
    assert_eq!(server.accepted_secrets("billing"), 2);
}

#[tokio::test]
async fn the_answer_to_a_change_is_lost_before_or_after_it_or_the_change_comes_late() {
    let server = okta(Duration::ZERO).await;
    let lost = async |fault| {
        server.inject(fault, Times::ONCE);
        call_as(&server, TOKEN, (Method::POST, ""), Some(json!({}))).await.unwrap_err();
        server.secrets("billing").len()
    };
    assert_eq!(lost(Fault::AnswerLostBeforeChange).await, 1);
    let late = Fault::LateChange { after: Duration::from_millis(500) };
    assert_eq!(lost(late).await, 1);
    server.until_settled("billing").await;
    assert_eq!(server.secrets("billing").len(), 2);
    let (id, _) = server.secrets("billing").remove(1);
    server.deactivate_secret("billing", &id);
    server.remove_secret("billing", &id);
    assert_eq!(lost(Fault::AnswerLostAfterChange).await, 2);
    assert_eq!((server.counts().changes, server.counts().foreign_changes), (2, 2));
}
