//! The real SDK of Microsoft Graph for Node gets from our emulator of Microsoft Entra ID what it gets from Graph.

use std::time::Duration;

use keyswap_openapi_tests::Vendor;
use keyswap_real_tests::Sdk;
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Provider, Times};
use serde_json::{Value, json};

const FIRST: &str = "first-secret-of-billing-0123456789";
const MANAGEMENT: &str = "secret-of-the-management-clients";
const BILLING: (&str, &str) =
    ("11112222-bbbb-3333-cccc-4444dddd5555", "0a1b2c3d-1111-4222-8333-444455556666");
const ROTATOR: &str = "55556666-bbbb-3333-cccc-4444dddd5555";
const READER: &str = "66667777-bbbb-3333-cccc-4444dddd5555";

async fn emulator() -> AuthorizationServer {
    let (client, object) = BILLING;
    let management = |id: &str, role: &str| Client::management(id, MANAGEMENT).scopes([role]);
    AuthorizationServer::builder()
        .provider(Provider::Entra)
        .client(Client::new(client, FIRST).application(object).name("Billing"))
        .client(management(ROTATOR, "Application.ReadWrite.OwnedBy"))
        .client(management(READER, "Application.Read.All"))
        .record_exchanges()
        .start()
        .await
        .expect("the emulator starts")
}

async fn walk(server: &AuthorizationServer) -> Sdk {
    Sdk::graph(&server.url(), (ROTATOR, READER, MANAGEMENT), BILLING).await
}

#[tokio::test]
async fn the_graph_sdk_reads_adds_and_removes_the_secrets_of_an_application() {
    let server = emulator().await;
    let sdk = walk(&server).await;

    let application = sdk.returned("list")[0];
    assert_eq!((&application["appId"], &application["id"]), (&json!(BILLING.0), &json!(BILLING.1)));
    assert_eq!(application.as_object().map(|members| members.len()), Some(4), "as selected");
    let [first] = passwords(&sdk, "list") else { panic!("one secret at first") };
    assert_eq!((&first["hint"], &first["secretText"]), (&json!("fir"), &Value::Null));
    let whole = sdk.returned("whole application")[0];
    assert_eq!(whole["displayName"], "Billing");

    let added = sdk.returned("add")[0];
    let value = added["secretText"].as_str().expect("the value is shown once");
    assert_eq!((value.len(), &added["displayName"]), (40, &json!("made by the SDK")));
    let mut shown = added.clone();
    shown["secretText"] = Value::Null;
    assert_eq!(passwords(&sdk, "list both"), [first.clone(), shown.clone()]);
    assert_eq!(sdk.returned("remove"), [&json!("nothing")]);
    assert_eq!(passwords(&sdk, "list the one that is left"), [shown]);
    assert_eq!(sdk.returned("service principal")[0]["servicePrincipalType"], "Application");

    for (step, status, code, message) in [
        ("remove again", 400, "Request_BadRequest", "No password credential found"),
        ("add for too long", 400, "CredentialInvalidLifetimeAsPerAppPolicy", "max value allowed"),
        (
            "list of an application that is not there",
            404,
            "Request_ResourceNotFound",
            "does not exist",
        ),
        ("add as one that reads", 403, "Authorization_RequestDenied", "Insufficient privileges"),
        ("remove as one that reads", 403, "Authorization_RequestDenied", "Insufficient privileges"),
        ("list with a token that is none", 401, "InvalidAuthenticationToken", "Access token"),
    ] {
        let failed = sdk.failed(step)[0];
        assert_eq!(failed["error"], "GraphError", "the SDK knows what it is: {failed}");
        assert_eq!((&failed["status"], &failed["code"]), (&json!(status), &json!(code)), "{step}");
        let said = failed["message"].as_str().unwrap_or_default();
        assert!(said.contains(message), "{step}: {said}");
    }
    assert!(server.accepts(BILLING.0, value) && !server.accepts(BILLING.0, FIRST));

    // What the vendor's own client sends agrees with the description that ours is checked against.
    let seen = Vendor::entra().assert_described(&server.exchanges());
    assert_eq!(seen.values().sum::<usize>(), sdk.requests().len(), "{seen:?}");
    let (add, remove) = (seen["addPasswordByAppId"], seen["removePasswordByAppId"]);
    assert_eq!(
        (add, seen["addPassword"], remove, seen["removePassword"]),
        (3, 1, 3, 1),
        "{seen:?}"
    );
}

#[tokio::test]
async fn the_graph_sdk_waits_as_a_429_tells_it_and_then_adds_one_secret() {
    let server = emulator().await;
    let wait = Duration::from_secs(1);
    let limited = Fault::RateLimited {
        endpoint: Endpoint::AddSecret,
        retry_after: Some(wait),
        reset_after: None,
    };
    server.inject(limited, Times::ONCE);
    let sdk = walk(&server).await;
    assert!(sdk.returned("add")[0]["secretText"].is_string());
    let add = format!("POST /v1.0/applications(appId='{}')/addPassword", BILLING.0);
    let sent: Vec<_> = sdk.requests().into_iter().filter(|(sent, _)| *sent == add).collect();
    assert_eq!(sent[..2], [(add.as_str(), 429), (add.as_str(), 200)]);
    let times = sdk.times(&add);
    assert!(times[1] - times[0] >= wait, "it came back after {:?}", times[1] - times[0]);
    assert_eq!(passwords(&sdk, "list both").len(), 2);
}

#[track_caller]
fn passwords<'a>(sdk: &'a Sdk, step: &str) -> &'a [Value] {
    sdk.returned(step)[0]["passwordCredentials"].as_array().expect("a list")
}
