//! The real AWS SDK for JavaScript gets from our emulator of Amazon Cognito what it gets from Cognito, and sends what our
//! requests are compared with. The emulator computes the signatures of both anew.

use std::collections::BTreeMap;

use keyswap_admin::Cognito;
use keyswap_admin::authority::{AddAnswer, Authority, ChangeAnswer, Listed, NewSecret, Probe};
use keyswap_core::Secret;
use keyswap_real_tests::Sdk;
use keyswap_testkit::{AuthorizationServer, Client, Exchange, Provider};
use serde_json::{Value, json};

const FIRST: &str = "firstsecretofbilling0123456789";
const CHOSEN: &str = "chosen_by_the_caller0123456789";
const KEY: &str = "key/of+the/rotator";
const POOL: &str = "eu-west-1_keyswap";

async fn server() -> AuthorizationServer {
    let client = Client::new("billing", FIRST).grant("orders").scopes(["orders/read"]);
    AuthorizationServer::builder()
        .provider(Provider::Cognito)
        .client(client.attribute("ExplicitAuthFlows", json!(["ALLOW_USER_SRP_AUTH"])))
        .api_token(format!("AKIDROTATOR:{KEY}"))
        .read_only_api_token(format!("AKIDREADER:{KEY}"))
        .api_token(format!("ASIATEMPORARY:{KEY}"))
        .record_exchanges()
        .start()
        .await
        .expect("the emulator starts")
}

#[tokio::test]
async fn the_aws_sdk_changes_the_secrets_of_an_app_client_and_asks_for_that_as_keyswap_does() {
    let of_sdk = server().await;
    let keys = ["AKIDROTATOR", "AKIDREADER", "ASIATEMPORARY"].map(|id| format!("{id}:{KEY}"));
    let sdk = Sdk::cognito(&of_sdk.url(), &keys, (POOL, "billing"), CHOSEN).await;

    let described = &sdk.returned("describe")[0]["UserPoolClient"];
    assert_eq!(described["ClientSecret"], FIRST);
    assert_eq!(described["AllowedOAuthFlows"], json!(["client_credentials"]));
    assert_eq!(described["AllowedOAuthScopes"], json!(["orders/read"]));
    assert_eq!(described["ExplicitAuthFlows"], json!(["ALLOW_USER_SRP_AUTH"]));
    let after = &sdk.returned("describe it without the first one")[0]["UserPoolClient"];
    assert!(after["ClientSecret"].is_null(), "{after}");

    let [first] = list(&sdk, "list") else { panic!("one secret at first") };
    assert!(first["ClientSecretCreateDate"].as_str().is_some_and(|date| date.starts_with("20")));
    let added = &sdk.returned("add a chosen one")[0]["ClientSecretDescriptor"];
    assert!(added["ClientSecretValue"].is_null(), "the caller knows it: {added}");
    assert_eq!(list(&sdk, "list both"), [first.clone(), added.clone()], "and no value is listed");
    let _ = sdk.returned("delete");
    let chosen = &sdk.returned("add one that Cognito chooses")[0]["ClientSecretDescriptor"];
    assert_eq!(chosen["ClientSecretValue"].as_str().map(str::len), Some(52));
    assert_eq!(list(&sdk, "list with a key that reads").len(), 2);
    assert_eq!(list(&sdk, "list with a session").len(), 2);

    // The last ones are of AWS, and not of the service: its own model has no class for them.
    for (step, kind, known) in [
        ("add one too many", "LimitExceededException", true),
        ("delete it again", "ResourceNotFoundException", true),
        ("delete the last one", "InvalidParameterException", true),
        ("add one that is too short", "InvalidParameterException", true),
        ("list of an app client that is not there", "ResourceNotFoundException", true),
        ("list of a user pool that is not there", "ResourceNotFoundException", true),
        ("add with a key that reads", "AccessDeniedException", true),
        ("list with a wrong key", "InvalidSignatureException", false),
        ("list with a key that is none", "UnrecognizedClientException", false),
        ("list with a session that is over", "ExpiredTokenException", false),
    ] {
        let failed = sdk.failed(step)[0];
        let found = (&failed["kind"], &failed["known"], &failed["status"]);
        assert_eq!(found, (&json!(kind), &json!(known), &json!(400)), "{failed}");
    }

    let of_keyswap = server().await;
    walk(&of_keyswap).await;
    assert_eq!(requests(&of_keyswap.exchanges()), requests(&accepted(&of_sdk.exchanges())));
}

/// What keyswap asks of Cognito in a rotation, with a value of its own and with one that Cognito chooses.
async fn walk(server: &AuthorizationServer) {
    let url: reqwest::Url = server.url().parse().expect("an address");
    let secret = |value: &str| Secret::new("a".parse().expect("an id"), value).expect("a secret");
    let cognito = Cognito::builder(POOL, "billing", url.clone())
        .endpoint(url)
        .access_key("AKIDROTATOR", secret(KEY))
        .build()
        .expect("it holds together");
    cognito.check().await.expect("it can be rotated");
    let Listed::Slots(slots) = cognito.slots(&[]).await else { panic!("they are listed") };
    let added = cognito.add_secret(&secret(CHOSEN).into()).await;
    assert!(matches!(added, AddAnswer::Added(..)), "{added:?}");
    assert_eq!(cognito.probe(&secret(CHOSEN)).await, Probe::Accepted);
    let removed = cognito.remove_secret(&slots[0].id).await;
    assert!(matches!(removed, ChangeAnswer::Applied), "{removed:?}");
    let added = cognito.add_secret(&NewSecret::Awaited("b".parse().expect("an id"))).await;
    assert!(matches!(added, AddAnswer::Added(..)), "{added:?}");
}

/// Those that the API was right to take.
fn accepted(exchanges: &[Exchange]) -> Vec<Exchange> {
    let accepted =
        |one: &&Exchange| one.answer.as_ref().is_some_and(|answer| answer.status() == 200);
    exchanges.iter().filter(accepted).cloned().collect()
}

/// The requests to the API: of each action, whatever it was asked with, and which headers are signed.
fn requests(exchanges: &[Exchange]) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for Exchange { request, .. } in exchanges.iter().filter(|one| one.request.uri().path() == "/") {
        let header = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_else(|| panic!("no {name} in {request:?}"))
        };
        let mut body: Value = serde_json::from_slice(request.body()).expect("JSON");
        if let Some(id) = body.get_mut("ClientSecretId") {
            *id = "an id".into();
        }
        let (algorithm, _) = header("authorization").split_once(' ').expect("a scheme");
        let sent = format!("{} {algorithm} {} {body}", request.method(), header("content-type"));
        let of_action = found.entry(header("x-amz-target").to_owned()).or_default();
        of_action.push(sent);
        of_action.sort();
        of_action.dedup();
    }
    found
}

#[track_caller]
fn list<'a>(sdk: &'a Sdk, step: &str) -> &'a [Value] {
    sdk.returned(step)[0]["ClientSecrets"].as_array().expect("a list")
}
