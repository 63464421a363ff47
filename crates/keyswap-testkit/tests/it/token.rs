//! `POST /oauth/token`.

use std::time::Duration;

use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication};
use serde_json::{Value, json};

use crate::{AUDIENCE, body, builder, sign_in, start, token_request};

async fn post(server: &AuthorizationServer, content_type: &str, sent: &str) -> reqwest::Response {
    reqwest::Client::new()
        .post(server.token_endpoint())
        .header("content-type", content_type)
        .body(sent.to_owned())
        .send()
        .await
        .unwrap()
}

fn unauthorized() -> Value {
    json!({"error": "access_denied", "error_description": "Unauthorized"})
}

#[tokio::test]
async fn the_right_secret_gets_a_bearer_token_that_must_not_be_cached() {
    let server = start(builder().token_lifetime(Duration::from_secs(300))).await;
    let answer = sign_in(&server, "first-secret").await;
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let answer = body(answer, 200).await;
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 300);
    assert_eq!(answer.get("scope"), None);
    let token = answer["access_token"].as_str().unwrap();
    assert!(server.accepts_token(token, AUDIENCE));
    assert!(!server.accepts_token(token, "https://other.example/"));
    assert_eq!(server.counts().token_accepted, 1);
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_client_get_the_same_answer() {
    let server = start(builder()).await;
    let wrong = body(sign_in(&server, "wrong").await, 401).await;
    let parameters =
        [("client_id", "nobody"), ("client_secret", "first-secret"), ("audience", AUDIENCE)];
    let unknown = body(token_request(&server, &parameters).await, 401).await;
    let without = body(token_request(&server, &[("client_id", "billing")]).await, 401).await;
    assert_eq!([&wrong, &unknown, &without], [&unauthorized(); 3]);
    assert_eq!(server.counts().token_refused, 3);
    assert_eq!(server.counts().token_accepted, 0);
}

#[tokio::test]
async fn the_secret_is_taken_from_a_json_body() {
    let server = start(builder()).await;
    let mut request = json!({
        "grant_type": "client_credentials",
        "client_id": "billing",
        "client_secret": "first-secret",
        "audience": AUDIENCE,
    });
    body(post(&server, "application/json", &request.to_string()).await, 200).await;
    request["client_secret"] = "wrong".into();
    let with_charset = "application/json; charset=utf-8";
    body(post(&server, with_charset, &request.to_string()).await, 401).await;
}

#[tokio::test]
async fn basic_credentials_are_form_decoded() {
    let secret = "aa+bb/cc=:%";
    let client = Client::new("odd:client", secret).grant(AUDIENCE);
    let server = start(builder().client(client)).await;
    let form = [("grant_type", "client_credentials"), ("audience", AUDIENCE)];
    let send = |id: &'static str, secret: &'static str| {
        let request =
            reqwest::Client::new().post(server.token_endpoint()).basic_auth(id, Some(secret));
        request.form(&form).send()
    };
    let encoded = send("odd%3Aclient", "aa%2Bbb%2Fcc%3D%3A%25").await.unwrap();
    body(encoded, 200).await;
    // Sent as it is, `+` means a space: refused as a wrong secret, and a bare percent sign is malformed.
    body(send("odd%3Aclient", "aa+bb/cc=:%25").await.unwrap(), 401).await;
    body(send("odd%3Aclient", secret).await.unwrap(), 400).await;
}

#[tokio::test]
async fn two_methods_in_one_request_are_refused_even_if_both_are_right() {
    let server = start(builder()).await;
    let form = [
        ("grant_type", "client_credentials"),
        ("audience", AUDIENCE),
        ("client_id", "billing"),
        ("client_secret", "first-secret"),
    ];
    let request = reqwest::Client::new().post(server.token_endpoint()).form(&form);
    let answer = request.basic_auth("billing", Some("first-secret")).send().await.unwrap();
    assert_eq!(body(answer, 400).await["error"], "invalid_request");
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_an_invalid_request() {
    let server = start(builder()).await;
    let form = "application/x-www-form-urlencoded";
    for (content_type, sent) in [
        ("application/json", "{\"client_id\": "),
        ("application/json", "[]"),
        ("application/json", "{\"client_id\": 7}"),
        (form, "client_id=%zz"),
        (form, "client_id=a&client_id=b"),
        (form, ""),
        ("text/plain", "client_id=billing"),
    ] {
        let answer = body(post(&server, content_type, sent).await, 400).await;
        assert_eq!(answer["error"], "invalid_request", "{content_type} {sent}");
    }
    assert_eq!(server.counts().token_failed, 7);
}

#[tokio::test]
async fn an_audience_without_a_grant_is_denied_and_says_nothing_of_the_secret() {
    let server = start(builder()).await;
    let audience = "https://other.example/";
    let parameters =
        [("client_id", "billing"), ("client_secret", "first-secret"), ("audience", audience)];
    let answer = body(token_request(&server, &parameters).await, 403).await;
    assert_eq!(answer["error"], "access_denied");
    let description = answer["error_description"].as_str().unwrap();
    let expected = "Client is not authorized to access \"https://other.example/\". You need to create a \
                    \"client-grant\" associated to this API.";
    assert!(description.starts_with(expected), "{description}");
    let none = token_request(&server, &parameters[..2]).await;
    assert_eq!(body(none, 403).await["error"], "access_denied");
    assert_eq!(server.counts().token_refused, 0);
}

#[tokio::test]
async fn other_grants_fail_in_the_vendors_words_but_only_once_the_client_is_known() {
    let client = Client::new("web", "web-secret").grant_types(["authorization_code"]);
    let server = start(builder().client(client)).await;
    let send = async |secret: &str, grant_type: &str| {
        let sent = format!("grant_type={grant_type}&client_id=web&client_secret={secret}&code=x");
        post(&server, "application/x-www-form-urlencoded", &sent).await
    };
    let bad_code = body(send("web-secret", "authorization_code").await, 403).await;
    assert_eq!(bad_code["error"], "invalid_grant");
    let not_allowed = body(send("web-secret", "client_credentials").await, 403).await;
    assert_eq!(not_allowed["error"], "unauthorized_client");
    let expected = "Grant type 'client_credentials' not allowed for the client.";
    assert_eq!(not_allowed["error_description"], expected);
    let unknown = body(send("web-secret", "telepathy").await, 400).await;
    assert_eq!(unknown["error"], "unsupported_grant_type");
    for grant_type in ["authorization_code", "client_credentials", "telepathy"] {
        assert_eq!(body(send("wrong", grant_type).await, 401).await, unauthorized());
    }
}

#[tokio::test]
async fn scopes_are_those_of_the_grant_or_the_ones_asked_for_among_them() {
    let client = Client::new("reader", "s").grant(AUDIENCE).scopes(["read:a", "read:b"]);
    let server = start(builder().client(client)).await;
    let parameters = [("client_id", "reader"), ("client_secret", "s"), ("audience", AUDIENCE)];
    let all = body(token_request(&server, &parameters).await, 200).await;
    assert_eq!(all["scope"], "read:a read:b");
    let mut asked = parameters.to_vec();
    asked.push(("scope", "read:b write:b"));
    let some = body(token_request(&server, &asked).await, 200).await;
    assert_eq!(some["scope"], "read:b");
}

#[tokio::test]
async fn a_client_that_authenticates_otherwise_gets_nothing_for_its_secret() {
    let jwt =
        Client::new("jwt", "s").grant(AUDIENCE).authentication(ClientAuthentication::PrivateKeyJwt);
    let public =
        Client::new("public", "s").grant(AUDIENCE).authentication(ClientAuthentication::None);
    let server = start(builder().client(jwt).client(public)).await;
    let send = async |id: &str| {
        let parameters = [("client_id", id), ("client_secret", "s"), ("audience", AUDIENCE)];
        token_request(&server, &parameters).await
    };
    assert_eq!(body(send("jwt").await, 401).await, unauthorized());
    assert_eq!(body(send("public").await, 403).await["error"], "unauthorized_client");
}

#[tokio::test]
async fn the_management_audience_is_known_by_https_and_localhost_too_and_its_slash_counts() {
    let server = start(builder()).await;
    let port = server.address().port();
    let send = async |audience: &str| {
        let parameters =
            [("client_id", "rotator"), ("client_secret", "mgmt-secret"), ("audience", audience)];
        token_request(&server, &parameters).await.status().as_u16()
    };
    assert_eq!(send(&server.management_audience()).await, 200);
    assert_eq!(send(&format!("https://127.0.0.1:{port}/api/v2/")).await, 200);
    assert_eq!(send(&format!("http://localhost:{port}/api/v2/")).await, 200);
    assert_eq!(send(&format!("http://127.0.0.1:{port}/api/v2")).await, 403);
    assert_eq!(send("https://tenant.example/api/v2/").await, 403);
}
