//! The server as Zitadel: one secret an application, which the server chooses.

use std::time::Duration;

use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication, Provider};
use reqwest::Response;
use serde_json::{Value, json};

use crate::{body, start};

const FIRST: &str = "first-secret-of-billing";

async fn zitadel(window: Duration) -> AuthorizationServer {
    let client = Client::new("billing@shop", FIRST)
        .application("app-1")
        .authentication(ClientAuthentication::SecretBasic)
        .grant("project-1")
        .grant_types(["authorization_code", "refresh_token"]);
    let spa =
        Client::new("spa", FIRST).authentication(ClientAuthentication::None).grant("project-1");
    let builder = AuthorizationServer::builder()
        .provider(Provider::Zitadel)
        .nodes(3)
        .propagation_window(window)
        .client(client)
        .client(spa)
        .api_token("token")
        .read_only_api_token("reader");
    start(builder).await
}

async fn call(server: &AuthorizationServer, token: &str, method: &str, message: Value) -> Response {
    let url = format!("{}/zitadel.application.v2.ApplicationService/{method}", server.url());
    let request = reqwest::Client::new().post(url).bearer_auth(token);
    let request = request.header("connect-protocol-version", "1").json(&message);
    request.send().await.expect("the server answers")
}

async fn generate(server: &AuthorizationServer) -> Response {
    let message = json!({"applicationId": "app-1", "projectId": "project-1"});
    call(server, "token", "GenerateClientSecret", message).await
}

async fn ask(server: &AuthorizationServer, secret: &str, form: &[(&str, &str)]) -> Response {
    let request = reqwest::Client::new().post(server.token_endpoint());
    let request = request.basic_auth("billing%40shop", Some(secret)).form(form);
    request.send().await.expect("the server answers")
}

const REFRESH: [(&str, &str); 2] =
    [("grant_type", "refresh_token"), ("refresh_token", "refresh-token-of-billing@shop")];

#[tokio::test]
async fn each_secret_that_is_generated_ends_the_one_before() {
    let server = zitadel(Duration::ZERO).await;
    let mut held = FIRST.to_owned();
    for _ in 0..2 {
        assert_eq!(ask(&server, &held, &REFRESH).await.status(), 200);
        let generated = body(generate(&server).await, 200).await;
        let next = generated["clientSecret"].as_str().unwrap().to_owned();
        let refused = body(ask(&server, &held, &REFRESH).await, 401).await;
        let expected = json!({"error": "invalid_client", "error_description": "invalid secret"});
        assert_eq!(refused, expected);
        held = next;
    }
    assert!(server.accepts("billing@shop", &held));
    assert_eq!(server.counts().changes, 2);
}

#[tokio::test]
async fn the_client_is_authenticated_before_the_grant_is_looked_at() {
    let server = zitadel(Duration::ZERO).await;
    let code = [("grant_type", "authorization_code")];
    assert_eq!(body(ask(&server, "wrong", &code).await, 401).await["error"], "invalid_client");
    let missing = body(ask(&server, FIRST, &code).await, 400).await;
    assert_eq!(missing["error_description"], "code missing");
    let unknown = [("grant_type", "refresh_token"), ("refresh_token", "another")];
    assert_eq!(body(ask(&server, FIRST, &unknown).await, 400).await["error"], "invalid_request");
    let credentials = [("grant_type", "client_credentials")];
    let not_found = body(ask(&server, FIRST, &credentials).await, 401).await;
    assert_eq!(not_found["error_description"], "client not found");
}

#[tokio::test]
async fn what_the_application_service_refuses_is_refused_in_its_shape() {
    let server = zitadel(Duration::ZERO).await;
    let app = |id: &str, project: &str| json!({"applicationId": id, "projectId": project});
    for (token, message, status, code) in [
        ("wrong", app("app-1", "project-1"), 401, "unauthenticated"),
        ("reader", app("app-1", "project-1"), 403, "permission_denied"),
        ("token", app("app-2", "project-1"), 404, "not_found"),
        ("token", app("app-1", "project-2"), 404, "not_found"),
        ("token", app("spa", "project-1"), 400, "failed_precondition"),
        ("token", json!({"projectId": "project-1"}), 400, "invalid_argument"),
    ] {
        let answer = call(&server, token, "GenerateClientSecret", message).await;
        assert_eq!(body(answer, status).await["code"], code);
    }
    assert_eq!(server.counts().changes, 0);
    let shown = call(&server, "reader", "GetApplication", json!({"applicationId": "app-1"})).await;
    let shown = body(shown, 200).await;
    let configuration = &shown["application"]["oidcConfiguration"];
    assert_eq!(configuration["clientId"], "billing@shop");
    assert!(configuration.get("authMethodType").is_none(), "{shown}");
    assert!(!shown.to_string().contains(FIRST), "{shown}");
    let spa = call(&server, "reader", "GetApplication", json!({"applicationId": "spa"})).await;
    let spa = body(spa, 200).await;
    assert_eq!(
        spa["application"]["oidcConfiguration"]["authMethodType"],
        "OIDC_AUTH_METHOD_TYPE_NONE"
    );
}

#[tokio::test]
async fn nodes_take_a_generated_secret_up_one_after_the_other() {
    let server = zitadel(Duration::from_secs(1)).await;
    let generated = body(generate(&server).await, 200).await;
    let new = generated["clientSecret"].as_str().unwrap();
    assert!(server.accepts_anywhere("billing@shop", FIRST));
    server.until_settled("billing@shop").await;
    assert!(server.accepts("billing@shop", new));
    assert!(!server.accepts_anywhere("billing@shop", FIRST));
}
