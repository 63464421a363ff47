//! A whole rotation by the command, with programs that read AWS in their own ways, and a rotator that is killed.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyswap_core::FallbackPolicy;
use keyswap_real_tests::{Load, Moto, Program, installed};
use keyswap_store::{FileStore, Follow, join};
use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication, Provider};
use keyswap_tower::{ClientSecretBasic, Profile};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{CLIENT, PATIENCE, SECRET, put, secret};

const OLD: &str = "the-secret-before-0123456789";
const TOKEN: &str = "the-api-token-0123456789";
const WINDOW: Duration = Duration::from_millis(250);

fn configuration(server: &AuthorizationServer, moto: &Moto) -> String {
    format!(
        r#"
[client]
id = "{CLIENT}"

[authority]
kind = "okta"
url = "{}"
scope = "read"
api_token = {{ file = "api-token" }}

[store]
directory = "store"

[store.aws]
secret = "prod/{{client}}"
region = "{}"
endpoint = "{}"

[[application]]
name = "invoices"

# Reads AWSCURRENT, and cannot report.
[[application]]
name = "legacy"
manual = true

[policy]
propagation_window = "250ms"
quiet_period = "250ms"
"#,
        server.url(),
        moto.region(),
        moto.endpoint(),
    )
}

fn keyswap(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(installed("KEYSWAP_BIN"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(directory: &Path, arguments: &[&str], code: i32) -> String {
    let output = keyswap(directory, arguments).output().await.expect("it can be started");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(!said.contains(OLD) && !said.contains(TOKEN), "{said}");
    said
}

fn state(directory: &Path) -> String {
    let journal = std::fs::read(directory.join("store").join(CLIENT).join("rotation.json"));
    let journal = journal.map(|text| serde_json::from_slice::<serde_json::Value>(&text));
    journal.map_or_else(|_| String::new(), |text| text.expect("a journal")["state"].to_string())
}

/// A program of somebody else's, which knows nothing of keyswap: it reads `AWSCURRENT`, and signs in with that.
async fn reads_current(
    moto: Arc<Moto>,
    server: Arc<AuthorizationServer>,
    mut stop: watch::Receiver<bool>,
) -> u32 {
    let mut read = 0;
    while !*stop.borrow_and_update() {
        let current = moto.labelled(SECRET, "AWSCURRENT").await.expect("there always is one");
        if !server.accepts(CLIENT, &current) {
            // A slow machine: it was replaced, and is out of force, since it was read.
            let now = moto.labelled(SECRET, "AWSCURRENT").await;
            assert_ne!(now.as_ref(), Some(&current), "AWSCURRENT is refused by the server");
        }
        read += 1;
        sleep(Duration::from_millis(5)).await;
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_read_aws_in_their_own_ways_go_through_a_rotation_that_is_killed() {
    let moto = Arc::new(Moto::start().await);
    let client = Client::new(CLIENT, OLD).grant("default").scopes(["read"]);
    let server = AuthorizationServer::builder()
        .provider(Provider::Okta)
        .nodes(3)
        .propagation_window(WINDOW)
        .client(client.authentication(ClientAuthentication::SecretBasic))
        .api_token(TOKEN)
        .start()
        .await;
    let server = Arc::new(server.expect("the server starts"));
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path();
    for (name, text) in
        [("api-token", TOKEN), ("secret", OLD), ("keyswap.toml", &configuration(&server, &moto))]
    {
        std::fs::write(directory.join(name), text).expect("written");
    }
    let said = run(directory, &["init", "--secret-file", "secret"], 0).await;
    assert!(said.contains("with the AWS secret prod/billing in eu-west-1"), "{said}");
    assert_eq!(moto.labelled(SECRET, "AWSCURRENT").await.as_deref(), Some(OLD));

    // One follows the directory and reports, one follows AWS, one reads AWSCURRENT.
    let file = FileStore::open(directory.join("store"), CLIENT).expect("the store");
    let (reporting, member) =
        join(file, "invoices", FallbackPolicy::default()).await.expect("a place in the store");
    let member = tokio::spawn(member);
    let followed = secret(&moto).of_client(CLIENT).poll(Duration::from_millis(100));
    let (following, follow) =
        Follow::start_aws(followed, FallbackPolicy::default()).await.expect("a list");
    let follow = tokio::spawn(follow.run());
    let mut load = Load::new();
    for ring in [reporting, following] {
        let program = Program {
            endpoint: server.token_endpoint(),
            parameters: "grant_type=client_credentials&scope=read".into(),
            ring,
            credential: ClientSecretBasic::new(CLIENT),
            profile: Profile::Okta,
        };
        load.add(Duration::from_millis(20), program.with_layer());
    }
    let stop = watch::Sender::new(false);
    let reader = reads_current(Arc::clone(&moto), Arc::clone(&server), stop.subscribe());
    let reader = tokio::spawn(reader);
    load.progress(20).await;

    // Both are published: a person says that the program which cannot report is fine with that.
    let said = run(directory, &["rotate"], 3).await;
    assert!(said.contains("legacy"), "{said}");
    assert_eq!(moto.labelled(SECRET, "AWSCURRENT").await.as_deref(), Some(OLD));
    let new = moto.labelled(SECRET, "AWSPENDING").await.expect("the candidate");
    server.until_settled(CLIENT).await;
    assert!(server.accepts(CLIENT, &new) && new != OLD);
    let confirm = ["confirm", "legacy", "--by", "ada", "--reason", "it reads AWSCURRENT"];
    run(directory, &confirm, 0).await;

    // Right before it moves AWSCURRENT, in the middle of that, or where the cores are full right after it. There it stays:
    // the program which cannot report is waited for again.
    let mut killed = keyswap(directory, &["resume"]).spawn().expect("it can be started");
    let patience = Instant::now() + PATIENCE;
    while !["\"confirmed\"", "\"promoted\""].contains(&state(directory).as_str()) {
        assert!(Instant::now() < patience, "it stays {}", state(directory));
        sleep(Duration::from_millis(1)).await;
    }
    killed.kill().await.expect("killed");
    println!("killed in state {} with {:?}", state(directory), moto.labels(SECRET).await);
    run(directory, &["resume"], 3).await;
    assert_eq!(moto.labelled(SECRET, "AWSCURRENT").await.as_deref(), Some(new.as_str()));
    assert_eq!(moto.labelled(SECRET, "AWSPREVIOUS").await.as_deref(), Some(OLD));
    assert_eq!(moto.labelled(SECRET, "AWSPENDING").await, None);
    let said = run(directory, &["status"], 0).await;
    assert!(said.contains("aws       the labels are as published"), "{said}");

    run(directory, &confirm, 0).await;
    run(directory, &["resume"], 0).await;
    assert_eq!(state(directory), "\"done\"");
    let labels = moto.labels(SECRET).await;
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["AWSCURRENT"], "the retired secret has a label");
    assert_eq!(moto.labelled(SECRET, "AWSCURRENT").await.as_deref(), Some(new.as_str()));
    assert!(!server.accepts_anywhere(CLIENT, OLD));
    run(directory, &["history", "verify"], 0).await;
    load.progress(20).await;

    stop.send_replace(true);
    let read = reader.await.expect("AWSCURRENT always was accepted");
    let tally = load.stop().await;
    println!("{} sign-ins, AWSCURRENT was read {read} times", tally.requests);
    tally.assert_none_failed();
    assert!(read > 20, "it was read {read} times");
    for task in [member, follow] {
        task.abort();
    }

    // What a person changed by hand is told, and stops the next one before it begins.
    put(&moto, "by-hand-0123456789", "AWSCURRENT").await;
    let said = run(directory, &["status"], 0).await;
    assert!(said.contains("a person or another tool"), "{said}");
    let said = run(directory, &["rotate"], 1).await;
    assert!(said.contains("update-secret-version-stage") && !said.contains("by-hand"), "{said}");
    assert_eq!(server.secrets(CLIENT).len(), 1, "the server was asked for another secret");
}
