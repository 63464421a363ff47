//! The real `auth0` SDK for Node gets from our emulator of Auth0 what it gets from Auth0.

use std::time::Duration;

use keyswap_real_tests::{Process, Sdk, installed};
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Times};
use serde_json::{Value, json};
use tokio::process::Command;

const AUDIENCE: &str = "https://api.example/";
const FIRST: &str = "first-secret";
const CHOSEN: &str = "chosen-by-the-caller-0123456789-0123456789-0123456789-0123456789";
const MANAGEMENT: (&str, &str) = ("rotator", "management-secret");

async fn emulator(management: Client) -> AuthorizationServer {
    AuthorizationServer::builder()
        .client(Client::new("billing", FIRST).name("Billing").grant(AUDIENCE))
        .client(management)
        .start()
        .await
        .expect("the emulator starts")
}

fn management() -> Client {
    Client::management(MANAGEMENT.0, MANAGEMENT.1)
}

async fn walk(server: &AuthorizationServer, more: &[&str]) -> Sdk {
    Sdk::auth0(&server.url(), MANAGEMENT, "billing", more).await
}

#[tokio::test]
async fn the_sdk_reads_updates_and_rotates_a_client_at_the_dev_server() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(installed("KEYSWAP_BIN"));
    // One node, so that each step sees what the one before it changed.
    command
        .args(["dev-server", "--listen", "127.0.0.1:0", "--nodes", "1", "--window", "1ms"])
        .arg("--directory")
        .arg(directory.path());
    let mut server = Process::start("keyswap dev-server", &mut command);
    let url = |line: &str| Some(line.rsplit_once(" at ")?.1.to_owned());
    let base = server.line(|line| url(line).filter(|url| url.starts_with("http://"))).await;
    let secret = |name: &str| {
        std::fs::read_to_string(directory.path().join(name)).expect("the server wrote its secrets")
    };
    let first = secret("client-secret");
    let management = ("keyswap-rotator", &*secret("management-secret"));
    let more = ["--current", &*first, "--new-secret", CHOSEN];
    let sdk = Sdk::auth0(&base, management, "billing", &more).await;
    assert_whole_walk(&sdk, &first);
}

#[tokio::test]
async fn the_sdk_reads_updates_and_rotates_a_client_at_the_embedded_server() {
    let server = emulator(management()).await;
    let sdk = walk(&server, &["--current", FIRST, "--new-secret", CHOSEN]).await;
    assert_whole_walk(&sdk, FIRST);
}

/// What Auth0 gives the SDK from the first step to the last, whatever serves.
#[track_caller]
fn assert_whole_walk(sdk: &Sdk, first: &str) {
    assert_eq!(sdk.steps().len(), 17, "{:?}", sdk.steps());

    let reads = sdk.returned("get");
    let secrets: Vec<&str> = reads.iter().map(|client| text(client, "client_secret")).collect();
    assert_eq!(secrets[..2], [first, CHOSEN]);
    assert_eq!(text(reads[0], "client_id"), "billing");
    let fields = sdk.returned("get, some fields")[0];
    let names: Vec<&String> = fields.as_object().expect("a client is an object").keys().collect();
    assert_eq!(names, ["client_id", "name"]);

    let updated = sdk.returned("update with client_secret")[0];
    assert_eq!(text(updated, "client_secret"), CHOSEN, "an update answers with the whole client");
    let rotated = text(sdk.returned("rotateSecret")[0], "client_secret");
    assert_eq!(rotated.len(), 64, "Auth0 chooses 64 characters");
    assert_eq!(secrets[2], rotated);

    for accepted in [
        "sign in with the current secret",
        "sign in with the secret that update set",
        "sign in with the secret that rotateSecret gave",
    ] {
        let token = sdk.returned(accepted)[0];
        assert_eq!(token["token_type"], "Bearer");
        assert_eq!(token["access_token"], "string");
    }
    for refused in sdk.failed("sign in with the secret before that") {
        assert_eq!(refused["error"], "AuthApiError");
        assert_eq!(refused["status"], 401);
        let body: Value = serde_json::from_str(text(refused, "body")).expect("a JSON error");
        assert_eq!(body, json!({"error": "access_denied", "error_description": "Unauthorized"}));
    }

    for absent in [
        "get of a client that is not there",
        "update of a client that is not there",
        "rotateSecret of a client that is not there",
    ] {
        let failed = sdk.failed(absent)[0];
        assert_eq!(failed["error"], "NotFoundError", "{failed}");
        let body = json!({
            "statusCode": 404,
            "error": "Not Found",
            "message": "The client does not exist",
            "errorCode": "inexistent_client",
        });
        assert_eq!(failed["body"], body);
    }

    let stranger = sdk.failed("management client with a wrong secret")[0];
    assert_eq!(stranger["status"], 401);
    let body = json!({"error": "access_denied", "error_description": "Unauthorized"});
    assert_eq!(stranger["body"], body);

    let forged = sdk.failed("bearer token that was never issued")[0];
    assert_eq!(forged["error"], "UnauthorizedError");
    assert_eq!(forged["body"]["statusCode"], 401);
    assert_eq!(forged["body"]["error"], "Unauthorized");
    assert_eq!(forged["body"]["message"], "Invalid token");

    // One token serves every call of one management client; the stranger's own request is refused.
    let requests = sdk.requests();
    assert_eq!(requests[0], ("POST /oauth/token", 200));
    let first_read = requests.iter().filter(|(path, _)| *path == "GET /api/v2/clients/billing");
    assert!(first_read.count() >= 3, "{requests:?}");
}

#[tokio::test]
async fn the_sdk_is_told_which_scope_it_lacks() {
    let server = emulator(management().scopes(["read:clients"])).await;
    let sdk = walk(&server, &["--new-secret", CHOSEN]).await;

    let client = sdk.returned("get")[0];
    assert_eq!(text(client, "client_id"), "billing");
    assert!(client.get("client_secret").is_none(), "read:clients alone shows no secret: {client}");
    for step in ["update with client_secret", "rotateSecret"] {
        let failed = sdk.failed(step)[0];
        assert_eq!(failed["error"], "ForbiddenError", "{failed}");
        assert_eq!(failed["status"], 403);
        assert_eq!(failed["body"]["errorCode"], "insufficient_scope");
        let message = text(&failed["body"], "message");
        assert!(message.starts_with("Insufficient scope, expected any of: "), "{message}");
        assert!(message.contains("update:client_keys"), "{message}");
    }
    assert!(server.accepts("billing", FIRST), "nothing was changed");
}

#[tokio::test]
async fn the_sdk_waits_as_a_429_tells_it_and_then_changes_the_secret_once() {
    let server = emulator(management()).await;
    let wait = Duration::from_secs(1);
    let fault = Fault::RateLimited {
        endpoint: Endpoint::UpdateClient,
        retry_after: Some(wait),
        reset_after: None,
    };
    server.inject(fault, Times::ONCE);
    let sdk = walk(&server, &["--new-secret", CHOSEN]).await;

    assert_eq!(text(sdk.returned("update with client_secret")[0], "client_secret"), CHOSEN);
    assert_eq!(updates(&sdk)[..2], [429, 200]);
    let sent = sdk.times("PATCH /api/v2/clients/billing");
    assert!(sent[1] - sent[0] >= wait, "it came back after {:?}", sent[1] - sent[0]);
    // The update, the rotation, and the short secret near the walk's end.
    assert_eq!(server.counts().changes, 3);
}

#[tokio::test]
async fn the_sdk_sends_a_rotation_again_that_had_been_carried_out_before_the_error() {
    let server = emulator(management()).await;
    // The update of the walk comes first and gives up after three; the fourth error meets the rotation.
    server.inject(Fault::ServerErrorAfterChange { status: 500 }, Times(4));
    let sdk = walk(&server, &["--new-secret", CHOSEN]).await;

    assert_eq!(sdk.failed("update with client_secret")[0]["status"], 500);
    assert_eq!(updates(&sdk)[..3], [500, 500, 500]);
    let read = text(sdk.returned("get")[1], "client_secret");
    assert_eq!(read, CHOSEN, "the update had happened, whatever its answer said");

    assert_eq!(text(sdk.returned("rotateSecret")[0], "client_secret").len(), 64);
    assert_eq!(statuses(&sdk, "POST /api/v2/clients/billing/rotate-secret"), [500, 200]);
    // Three times the update, twice the rotation, and once the short secret near the walk's end.
    assert_eq!(server.counts().changes, 6);
}

fn updates(sdk: &Sdk) -> Vec<u64> {
    statuses(sdk, "PATCH /api/v2/clients/billing")
}

fn statuses(sdk: &Sdk, request: &str) -> Vec<u64> {
    sdk.requests()
        .into_iter()
        .filter(|(sent, _)| *sent == request)
        .map(|(_, status)| status)
        .collect()
}

#[track_caller]
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text `{name}` in {value}"))
}
