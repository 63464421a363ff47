//! The real Okta SDK for Node gets from our emulator of Okta what it gets from Okta.

use keyswap_openapi_tests::Vendor;
use keyswap_real_tests::Sdk;
use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication, Provider};
use serde_json::{Value, json};

const FIRST: &str = "first-secret-of-billing-0123456789";
const CHOSEN: &str = "chosen-by-the-caller-0123456789-0123456789";
const TOKENS: (&str, &str) = ("api-token-of-the-rotator", "api-token-of-a-reader");

#[tokio::test]
async fn the_okta_sdk_reads_and_changes_the_secrets_of_an_application() {
    let client = Client::new("billing", FIRST).name("Billing").application("0oabilling");
    let server = AuthorizationServer::builder()
        .provider(Provider::Okta)
        .client(client.authentication(ClientAuthentication::SecretBasic))
        .api_token(TOKENS.0)
        .read_only_api_token(TOKENS.1)
        .record_exchanges()
        .start()
        .await
        .expect("the emulator starts");
    let sdk = Sdk::okta(&server.url(), TOKENS, "0oabilling", CHOSEN).await;

    let application = sdk.returned("application")[0];
    assert_eq!(application["client_id"], "billing");
    assert_eq!(application["label"], "Billing");
    assert_eq!(application["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(application["kind"], "OpenIdConnectApplication", "the SDK knows what it is");

    let [first] = list(&sdk, "list") else { panic!("one secret at first") };
    assert_eq!((&first["client_secret"], &first["status"]), (&json!(FIRST), &json!("ACTIVE")));
    let added = sdk.returned("add a chosen one")[0];
    assert_eq!((&added["client_secret"], &added["status"]), (&json!(CHOSEN), &json!("ACTIVE")));
    assert_eq!(list(&sdk, "list both"), [first.clone(), added.clone()]);
    assert_eq!(sdk.returned("read one"), [added]);
    assert_eq!(sdk.returned("deactivate")[0]["status"], "INACTIVE");
    assert_eq!(sdk.returned("activate")[0]["status"], "ACTIVE");
    let chosen = sdk.returned("add one that Okta chooses")[0];
    assert_eq!(chosen["client_secret"].as_str().map(str::len), Some(64));
    assert_eq!(list(&sdk, "list with a token that reads"), [added.clone(), chosen.clone()]);

    for (step, status, code, cause) in [
        ("add one too many", 400, "E0000001", "maximum number of client secrets"),
        ("remove an active one", 400, "E0000001", "can't delete an active client secret"),
        ("deactivate the only active one", 400, "E0000001", "the only active client secret"),
        ("read one that is not there", 404, "E0000007", ""),
        ("list of an application that is not there", 404, "E0000007", ""),
        ("remove with a token that reads", 403, "E0000006", ""),
        ("list with a token that is none", 401, "E0000011", ""),
    ] {
        let failed = sdk.failed(step)[0];
        assert_eq!(
            (&failed["status"], &failed["code"]),
            (&json!(status), &json!(code)),
            "{failed}"
        );
        let causes = failed["causes"].to_string();
        assert!(causes.contains(cause), "{step}: {causes}");
    }
    assert!(server.accepts("billing", CHOSEN) && !server.accepts("billing", FIRST));
    assert_eq!(server.secrets("billing").len(), 2);

    // What the vendor's own client sends agrees with the description that ours is checked against.
    let seen = Vendor::okta().assert_described(&server.exchanges());
    assert_eq!(seen.values().sum::<usize>(), sdk.steps().len(), "{seen:?}");
    assert_eq!(seen["createOAuth2ClientSecret"], 3, "{seen:?}");
}

#[track_caller]
fn list<'a>(sdk: &'a Sdk, step: &str) -> &'a [Value] {
    sdk.returned(step)[0].as_array().expect("a list")
}
