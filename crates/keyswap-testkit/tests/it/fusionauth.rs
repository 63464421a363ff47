//! The server as FusionAuth: one secret an application, which the caller chooses.

use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication, Provider};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::json;

use crate::{body, start};

const FIRST: &str = "first-secret-of-billing";
const TENANT: &str = "30663132-6464-6665-3032-326466613934";

async fn fusionauth() -> AuthorizationServer {
    let client = Client::new("billing", FIRST)
        .application("app-1")
        .grant(TENANT)
        .grant_types(["refresh_token"]);
    let spa = Client::new("spa", FIRST).authentication(ClientAuthentication::None);
    let builder = AuthorizationServer::builder()
        .provider(Provider::FusionAuth)
        .client(client)
        .client(spa)
        .api_token("key")
        .read_only_api_token("reader");
    start(builder).await
}

fn request(server: &AuthorizationServer, method: Method, id: &str, key: &str) -> RequestBuilder {
    let url = format!("{}/api/application/{id}", server.url());
    reqwest::Client::new().request(method, url).header("authorization", key)
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("the server answers")
}

async fn change(server: &AuthorizationServer, key: &str, secret: &str) -> Response {
    let message = json!({"application": {"oauthConfiguration": {"clientSecret": secret}}});
    send(request(server, Method::PATCH, "app-1", key).json(&message)).await
}

async fn form(server: &AuthorizationServer, path: &str, form: &[(&str, &str)]) -> Response {
    send(reqwest::Client::new().post(format!("{}{path}", server.url())).form(form)).await
}

#[tokio::test]
async fn the_secret_that_is_set_is_shown_and_takes_the_place_of_the_one_before() {
    let server = fusionauth().await;
    let refresh = async |secret| {
        let token = ("refresh_token", "refresh-token-of-billing");
        let grant = [("grant_type", "refresh_token"), token];
        let client = [("client_id", "billing"), ("client_secret", secret)];
        form(&server, "/oauth2/token", &[grant, client].concat()).await
    };
    assert!(body(refresh(FIRST).await, 200).await["access_token"].is_string());
    let changed = body(change(&server, "key", "second-secret-of-billing").await, 200).await;
    let read = body(send(request(&server, Method::GET, "app-1", "reader")).await, 200).await;
    assert_eq!(read, changed);
    let configuration = &read["application"]["oauthConfiguration"];
    assert_eq!(configuration["clientSecret"], "second-secret-of-billing");
    assert_eq!(configuration["clientId"], "billing");
    assert_eq!(read["application"]["tenantId"], TENANT);
    let refused = body(refresh(FIRST).await, 401).await;
    assert_eq!(refused["error"], "invalid_client");
    assert_eq!(refused["error_reason"], "invalid_client_authentication");
    assert!(body(refresh("second-secret-of-billing").await, 200).await["access_token"].is_string());
}

#[tokio::test]
async fn an_introspection_looks_at_the_client_and_then_at_the_token() {
    let server = fusionauth().await;
    let introspect = async |client: &[(&str, &str)]| {
        form(&server, "/oauth2/introspect", &[client, &[("token", "none")]].concat()).await
    };
    let right = [("client_id", "billing"), ("client_secret", FIRST)];
    assert_eq!(body(introspect(&right).await, 200).await, json!({"active": false}));
    for (client, reason) in [
        ([("client_id", "billing"), ("client_secret", "wrong")], "invalid_client_authentication"),
        ([("client_id", "nobody"), ("client_secret", FIRST)], "invalid_client_id"),
    ] {
        assert_eq!(body(introspect(&client).await, 401).await["error_reason"], reason);
    }
    let silent = body(introspect(&right[..1]).await, 401).await;
    assert_eq!(silent["error_reason"], "missing_client_secret");
    assert_eq!(introspect(&[("client_id", "spa")]).await.status(), 200);
}

#[tokio::test]
async fn a_key_that_may_not_and_an_application_of_another_tenant_are_answered_with_nothing() {
    let server = fusionauth().await;
    let of_tenant = |tenant: &str| {
        request(&server, Method::GET, "app-1", "key").header("x-fusionauth-tenantid", tenant)
    };
    assert_eq!(send(of_tenant(TENANT)).await.status(), 200);
    for (answer, status) in [
        (change(&server, "reader", "another-secret").await, 401),
        (change(&server, "Bearer key", "another-secret").await, 401),
        (send(request(&server, Method::GET, "app-2", "key")).await, 404),
        (send(of_tenant("00000000-6464-6665-3032-326466613934")).await, 404),
    ] {
        assert_eq!(answer.status(), status);
        assert_eq!(answer.text().await.expect("a body"), "");
    }
    let wrong = body(send(of_tenant("billing")).await, 400).await;
    assert!(wrong["generalErrors"][0]["message"].is_string(), "{wrong}");
    let empty = body(change(&server, "key", "").await, 400).await;
    assert!(empty["generalErrors"][0]["code"].is_string(), "{empty}");
    assert!(server.accepts("billing", FIRST));
}
