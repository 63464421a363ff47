//! The server as Microsoft Entra ID: several passwords an application, which the server chooses.

use std::time::Duration;

use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication, Provider};
use reqwest::Response;
use serde_json::{Value, json};

use crate::{body, start};

const FIRST: &str = "first-secret-of-billing";

async fn entra(window: Duration) -> AuthorizationServer {
    let builder = AuthorizationServer::builder()
        .provider(Provider::Entra)
        .nodes(3)
        .propagation_window(window)
        .client(Client::new("billing", FIRST).application("object-1").grant("api://orders"))
        .client(Client::new("personal", FIRST).takes_personal_accounts())
        .client(Client::new("managed", FIRST).authentication(ClientAuthentication::None))
        .management_client(
            Client::management("rotator", "secret").scopes(["Application.ReadWrite.OwnedBy"]),
        )
        .client(Client::management("reader", "secret").scopes(["Application.Read.All"]));
    start(builder).await
}

async fn token(server: &AuthorizationServer, client: &str, secret: &str, scope: &str) -> Response {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("client_secret", secret),
        ("scope", scope),
    ];
    let request = reqwest::Client::new().post(server.token_endpoint()).form(&form);
    request.send().await.expect("the server answers")
}

/// A call of Graph by a client.
async fn graph(
    server: &AuthorizationServer,
    by: &str,
    path: &str,
    body: Option<Value>,
) -> Response {
    let scope = format!("{}/.default", server.url());
    let granted = token(server, by, "secret", &scope).await;
    let granted: Value = granted.json().await.unwrap();
    let url = format!("{}/v1.0/{path}", server.url());
    let client = reqwest::Client::new();
    let request = match body {
        Some(body) => client.post(url).json(&body),
        None => client.get(url),
    };
    let request = request.bearer_auth(granted["access_token"].as_str().unwrap());
    request.send().await.expect("the server answers")
}

#[tokio::test]
async fn a_password_is_shown_once_and_known_by_its_name_and_the_begin_of_its_value() {
    let server = entra(Duration::ZERO).await;
    let wanted = json!({"passwordCredential": {
        "displayName": "a name", "endDateTime": "2027-06-01T00:00:00Z"}});
    let added = graph(&server, "rotator", "applications/object-1/addPassword", Some(wanted)).await;
    let added = body(added, 200).await;
    let value = added["secretText"].as_str().unwrap();
    assert_eq!((value.len(), &added["displayName"]), (40, &json!("a name")));
    let application = "applications(appId='billing')";
    let read = body(graph(&server, "reader", application, None).await, 200).await;
    assert_eq!((&read["id"], &read["appId"]), (&json!("object-1"), &json!("billing")));
    let shown = &read["passwordCredentials"][1];
    assert_eq!(shown["secretText"], Value::Null);
    assert_eq!(shown["hint"], value[..3]);
    assert_eq!(shown["endDateTime"], "2027-06-01T00:00:00.000Z");
    for secret in [FIRST, value] {
        assert_eq!(token(&server, "billing", secret, "api://orders/.default").await.status(), 200);
    }
    let remove = format!("{application}/removePassword");
    let unwanted = json!({"keyId": added["keyId"]});
    let removed = graph(&server, "rotator", &remove, Some(unwanted.clone())).await;
    assert_eq!(removed.status(), 204);
    let refused = token(&server, "billing", value, "api://orders/.default").await;
    assert_eq!(body(refused, 401).await["error_codes"], json!([7_000_215]));
    let again = body(graph(&server, "rotator", &remove, Some(unwanted)).await, 400).await;
    let message = again["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("No password credential found with keyId"), "{message}");
}

#[tokio::test]
async fn an_entity_has_the_properties_that_a_request_selects() {
    let server = entra(Duration::ZERO).await;
    for (path, selected) in [
        ("applications/object-1", "appId,passwordCredentials"),
        ("applications(appId='billing')", "id"),
        ("servicePrincipals(appId='managed')", "servicePrincipalType"),
    ] {
        let select = format!("{path}?$select={selected}");
        let read = body(graph(&server, "reader", &select, None).await, 200).await;
        let names: Vec<_> = read.as_object().unwrap().keys().map(String::as_str).collect();
        let expected: Vec<_> =
            std::iter::once("@odata.context").chain(selected.split(',')).collect();
        assert_eq!(names, expected, "{path}");
        let context = read["@odata.context"].as_str().unwrap();
        assert!(context.contains(&format!("({selected})/$entity")), "{context}");
    }
    let all = body(graph(&server, "reader", "applications/object-1", None).await, 200).await;
    assert_eq!(all.as_object().unwrap().len(), 7, "{all}");
}

#[tokio::test]
async fn a_change_is_listed_and_taken_by_each_node_in_its_own_time() {
    let server = entra(Duration::from_secs(30)).await;
    let add = "applications/object-1/addPassword";
    let added = body(graph(&server, "rotator", add, Some(json!({}))).await, 200).await;
    let value = added["secretText"].as_str().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        let read = graph(&server, "reader", "applications/object-1", None).await;
        seen.insert(body(read, 200).await["passwordCredentials"].as_array().unwrap().len());
    }
    assert!(server.accepts_anywhere("billing", value) && !server.accepts("billing", value));
}

#[tokio::test]
async fn what_the_vendor_refuses_is_refused_in_its_words() {
    let server = entra(Duration::ZERO).await;
    let code = async |by: &str, path: &str, wanted: Option<Value>, status: u16| {
        let answer = body(graph(&server, by, path, wanted).await, status).await;
        answer["error"]["code"].as_str().unwrap().to_owned()
    };
    let add = "applications/object-1/addPassword";
    assert_eq!(code("reader", add, Some(json!({})), 403).await, "Authorization_RequestDenied");
    let missing = "Request_ResourceNotFound";
    assert_eq!(code("reader", "applications/object-2", None, 404).await, missing);
    assert_eq!(code("reader", "applications(appId='managed')", None, 404).await, missing);
    let long = json!({"passwordCredential": {"endDateTime": "2099-01-01T00:00:00Z"}});
    let policy = "CredentialInvalidLifetimeAsPerAppPolicy";
    assert_eq!(code("rotator", add, Some(long), 400).await, policy);
    let malformed = json!({"passwordCredential": {"secretText": "my-own"}});
    assert_eq!(code("rotator", add, Some(malformed), 400).await, "BadRequest");
    let personal = "applications(appId='personal')/addPassword";
    assert_eq!(graph(&server, "rotator", personal, Some(json!({}))).await.status(), 200);
    assert_eq!(code("rotator", personal, Some(json!({})), 400).await, "Request_BadRequest");
    let principal = graph(&server, "reader", "servicePrincipals(appId='managed')", None).await;
    assert_eq!(body(principal, 200).await["servicePrincipalType"], "ManagedIdentity");

    let refused = async |client: &str, secret: &str, scope: &str, status: u16| {
        let answer = token(&server, client, secret, scope).await;
        body(answer, status).await["error_codes"][0].as_u64().unwrap()
    };
    assert_eq!(refused("billing", "wrong", "api://orders/.default", 401).await, 7_000_215);
    assert_eq!(refused("nobody", FIRST, "api://orders/.default", 400).await, 700_016);
    assert_eq!(refused("billing", FIRST, "api://others/.default", 400).await, 500_011);
    assert_eq!(refused("billing", FIRST, "orders", 400).await, 1_002_012);
    let other = server.token_endpoint().replace("contoso", "fabrikam");
    let form = [("grant_type", "client_credentials"), ("client_id", "billing")];
    let answer = reqwest::Client::new().post(other).form(&form).send().await.unwrap();
    assert_eq!(body(answer, 400).await["error_codes"], json!([90002]));
    assert_eq!(server.counts().changes, 1);
}
