//! The server as Keycloak, which answers as the real one does.

#[path = "keycloak/answers.rs"]
mod answers;

use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication, Provider};
use serde_json::json;

use self::answers::{Asked, SECRET, cases, clients};
use crate::start;

/// A server with the clients of the questions, and one that may ask them.
async fn keycloak() -> (AuthorizationServer, Asked) {
    let role = |id: &str, roles: &[&str]| {
        Client::management(id, "management").scopes(roles.iter().copied())
    };
    let mut builder = AuthorizationServer::builder()
        .provider(Provider::Keycloak)
        .management_client(role("manager", &["manage-clients"]))
        .management_client(role("viewer", &["view-clients"]))
        .client(role("nobody", &[]));
    for (id, client) in clients() {
        let method = match client["clientAuthenticatorType"].as_str() {
            Some("client-jwt") => ClientAuthentication::PrivateKeyJwt,
            Some(_) => ClientAuthentication::SecretJwt,
            None if client["publicClient"] == true => ClientAuthentication::None,
            None => ClientAuthentication::SecretBasic,
        };
        let mut registered =
            Client::new(id, SECRET).application(format!("id-of-{id}")).authentication(method);
        if client["serviceAccountsEnabled"] != true {
            registered = registered.grant_types(["authorization_code"]);
        }
        builder = builder.client(registered);
    }
    let server = start(builder).await;
    let asked = Asked {
        base: server.url(),
        realm: "shop".to_owned(),
        http: reqwest::Client::new(),
        manager: ("manager", "management"),
        viewer: ("viewer", "management"),
        nobody: ("nobody", "management"),
    };
    let token = asked.token(asked.manager).await;
    for (id, client) in clients() {
        let rest = json!({"enabled": client["enabled"], "attributes": client["attributes"]});
        let updated = asked.put(&token, &format!("id-of-{id}"), &rest).await;
        assert_eq!(updated.status(), 204, "{id}");
    }
    (server, asked)
}

#[tokio::test]
async fn the_token_endpoint_answers_as_the_real_one_does() {
    let (_server, asked) = keycloak().await;
    for case in cases() {
        let answer = case.request(&asked).send().await.expect("the server answers");
        let status = answer.status().as_u16();
        case.assert_answered(status, &answer.text().await.expect("a body"));
    }
}

#[tokio::test]
async fn the_admin_api_answers_as_the_real_one_does() {
    let (server, asked) = keycloak().await;
    answers::the_admin_api_answers_as_it_does(&asked).await;
    answers::an_update_does_what_it_does(&asked).await;
    assert_eq!(server.counts().changes, 4);
}
