//! The server as its callers see it: over real sockets, with a client that shares nothing with it.

mod assertion;
mod cognito;
mod entra;
mod faults;
mod fusionauth;
mod hydra;
mod keycloak;
mod lifecycle;
mod management;
mod okta;
mod propagation;
mod registration;
mod token;
mod zitadel;

use keyswap_testkit::{AuthorizationServer, Builder, Client};
use reqwest::{Response, StatusCode};
use serde_json::Value;

const AUDIENCE: &str = "https://api.example/";

/// A server that has a client `billing` (`first-secret`) and a management client `rotator` (`mgmt-secret`).
fn builder() -> Builder {
    AuthorizationServer::builder()
        .client(Client::new("billing", "first-secret").grant(AUDIENCE))
        .management_client(Client::management("rotator", "mgmt-secret"))
}

async fn start(builder: Builder) -> AuthorizationServer {
    builder.start().await.expect("the server starts on a free port")
}

/// Signs in as `billing`, with the secret in the body.
async fn sign_in(server: &AuthorizationServer, secret: &str) -> Response {
    token_request(
        server,
        &[("client_id", "billing"), ("client_secret", secret), ("audience", AUDIENCE)],
    )
    .await
}

/// A client credentials request with further parameters.
async fn token_request(server: &AuthorizationServer, parameters: &[(&str, &str)]) -> Response {
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend_from_slice(parameters);
    reqwest::Client::new()
        .post(server.token_endpoint())
        .form(&form)
        .send()
        .await
        .expect("the server answers")
}

/// A management token of a client.
async fn token_of(server: &AuthorizationServer, id: &str, secret: &str) -> String {
    let audience = server.management_audience();
    let parameters = [("client_id", id), ("client_secret", secret), ("audience", &audience)];
    let answer = body(token_request(server, &parameters).await, 200).await;
    answer["access_token"].as_str().expect("a token is a string").to_owned()
}

async fn rotator(server: &AuthorizationServer) -> String {
    token_of(server, "rotator", "mgmt-secret").await
}

fn client_url(server: &AuthorizationServer, id: &str) -> String {
    format!("{}/api/v2/clients/{id}", server.url())
}

async fn read(server: &AuthorizationServer, token: &str, id_and_query: &str) -> Response {
    let url = client_url(server, id_and_query);
    reqwest::Client::new().get(url).bearer_auth(token).send().await.expect("the server answers")
}

async fn update(
    server: &AuthorizationServer,
    token: &str,
    id: &str,
    update: Value,
) -> reqwest::Result<Response> {
    let url = client_url(server, id);
    reqwest::Client::new().patch(url).bearer_auth(token).json(&update).send().await
}

async fn rotate_secret(
    server: &AuthorizationServer,
    token: &str,
    id: &str,
) -> reqwest::Result<Response> {
    let url = format!("{}/rotate-secret", client_url(server, id));
    reqwest::Client::new().post(url).bearer_auth(token).send().await
}

/// The JSON of an answer that must have this status.
#[track_caller]
fn body(answer: Response, status: u16) -> impl Future<Output = Value> {
    let caller = std::panic::Location::caller();
    async move {
        let found = answer.status();
        let text = answer.text().await.expect("the answer is whole");
        assert_eq!(found, StatusCode::from_u16(status).unwrap(), "{text} at {caller}");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("`{text}` is no JSON, at {caller}"))
    }
}
