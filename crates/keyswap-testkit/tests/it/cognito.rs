//! The server as Amazon Cognito: its token endpoint, and what it says to a call that is not signed. Calls that are signed are
//! made by the tests of `keyswap-admin`, with the signer of the AWS SDK.

use std::time::Duration;

use keyswap_testkit::{AuthorizationServer, Client, Provider};
use serde_json::json;

use crate::{body, start};

const FIRST: &str = "firstsecretofbilling0123";

async fn cognito() -> AuthorizationServer {
    let builder = AuthorizationServer::builder()
        .provider(Provider::Cognito)
        .propagation_window(Duration::ZERO)
        .client(Client::new("billing", FIRST).grant("orders").scopes(["orders/read"]))
        .api_token("AKIDEXAMPLE:key");
    start(builder).await
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_client_are_400_in_the_same_words() {
    let server = cognito().await;
    let ask = async |client: &str, secret: &str, scope: &str, status: u16| {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", secret),
            ("scope", scope),
        ];
        let request = reqwest::Client::new().post(server.token_endpoint()).form(&form);
        body(request.send().await.expect("the server answers"), status).await
    };
    assert_eq!(ask("billing", FIRST, "orders/read", 200).await["token_type"], "Bearer");
    let refused = json!({"error": "invalid_client"});
    assert_eq!(ask("billing", "wrong", "orders/read", 400).await, refused);
    assert_eq!(ask("nobody", FIRST, "orders/read", 400).await, refused);
    assert_eq!(ask("billing", FIRST, "orders/write", 400).await["error"], "invalid_scope");
    let second = server.add_secret("billing", "secondsecretofbilling012");
    let secrets = server.secrets("billing");
    assert!(secrets.len() == 2 && secrets[1].0 == second && second.contains("--"), "{secrets:?}");
    assert_eq!(
        ask("billing", "secondsecretofbilling012", "orders/read", 200).await["expires_in"],
        86_400
    );
}

#[tokio::test]
async fn a_client_to_which_users_sign_in_refreshes_and_gets_nothing_in_its_own_name() {
    let client = Client::new("shop", FIRST).grant_types(["authorization_code", "refresh_token"]);
    let server = AuthorizationServer::builder().provider(Provider::Cognito).client(client);
    let server = start(server).await;
    let ask = async |secret: &str, more: (&str, &str), status: u16| {
        let form = [("client_id", "shop"), ("client_secret", secret), more];
        let grant = match more.0 {
            "refresh_token" => ("grant_type", "refresh_token"),
            _ => ("grant_type", "client_credentials"),
        };
        let request = reqwest::Client::new().post(server.token_endpoint());
        let request = request.form(&[&form[..], &[grant]].concat());
        body(request.send().await.expect("the server answers"), status).await
    };
    let token = ("refresh_token", "refresh-token-of-shop");
    assert_eq!(ask(FIRST, token, 200).await["token_type"], "Bearer");
    assert_eq!(ask("wrong", token, 400).await["error"], "invalid_client");
    assert_eq!(ask(FIRST, ("refresh_token", "none"), 400).await["error"], "invalid_grant");
    assert_eq!(ask("wrong", ("refresh_token", "none"), 400).await["error"], "invalid_client");
    assert_eq!(ask(FIRST, ("scope", "openid"), 400).await["error"], "unauthorized_client");
}

#[tokio::test]
async fn a_call_that_is_not_signed_or_not_known_is_refused() {
    let server = cognito().await;
    let call = async |action: &str, authorization: &str| {
        let target = format!("AWSCognitoIdentityProviderService.{action}");
        let request = reqwest::Client::new().post(server.url()).header("x-amz-target", target);
        let request = request.header("authorization", authorization).body("{}");
        let answer = request.send().await.expect("the server answers");
        body(answer, 400).await["__type"].as_str().unwrap().to_owned()
    };
    let signed = |key: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential={key}/20261127/eu-west-1/cognito-idp/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=00"
        )
    };
    let list = "ListUserPoolClientSecrets";
    assert_eq!(call(list, "none").await, "MissingAuthenticationTokenException");
    assert_eq!(call(list, &signed("AKIDOTHER")).await, "UnrecognizedClientException");
    assert_eq!(call(list, &signed("AKIDEXAMPLE")).await, "InvalidSignatureException");
    assert_eq!(call("ListUsers", &signed("AKIDEXAMPLE")).await, "UnknownOperationException");
    assert_eq!(server.counts().management_requests, 3);
}
