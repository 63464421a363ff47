//! Programs in Python and Node, which hold no secret and have nothing but the token endpoint changed, through whole rotations
//! by way of `keyswap proxy`.

use std::path::Path;
use std::process::Stdio;

use keyswap_admin::rotation::Uses;
use keyswap_real_tests::{Foreign, Hydra, Library, Process, Seen, installed};
use keyswap_store::{FileStore, SecretStore};
use serde_json::Value;
use tokio::process::Command;

const CLIENT: &str = "billing";
/// What each program does and how it names the client.
const PROGRAMS: [(Library, &str); 4] = [
    (Library::Authlib, "client_secret_basic"),
    (Library::Authlib, "client_secret_post"),
    (Library::OpenidClient, "client_secret_basic"),
    (Library::OpenidClient, "client_secret_post"),
];

#[tokio::test(flavor = "multi_thread")]
async fn python_and_node_get_tokens_through_a_rotation_at_nodes_that_disagree() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(installed("KEYSWAP_BIN"));
    command.args(["dev-server", "--listen", "127.0.0.1:0", "--window", "500ms", "--directory"]);
    let mut server = Process::start("keyswap dev-server", command.arg(directory.path()));
    let url = server.line(|line| Some(line.rsplit_once(" nodes at ")?.1.to_owned())).await;
    server.line(|line| line.starts_with("ready").then_some(())).await;
    let secret = std::fs::read_to_string(directory.path().join("client-secret")).expect("a secret");
    let endpoint = format!("{url}/oauth/token");
    let audience = "audience=https://api.example/";
    // The programs are the ones that a user has who knows the secret.
    direct(&endpoint, &secret, audience, &PROGRAMS).await;
    rotate("dev-server", "0.1.0", directory.path(), audience).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_and_node_get_tokens_through_a_rotation_at_hydra() {
    let server = Hydra::start(1).await;
    let secret = "the-first-secret-of-billing-0123456789";
    server.register(CLIENT, secret, "client_secret_basic").await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let text = format!(
        r#"
            [client]
            id = "{CLIENT}"
            [authority]
            kind = "hydra"
            url = "{}"
            admin_url = "{}"
            scope = "read"
            [store]
            directory = "keyswap-store"
            [[application]]
            name = "{CLIENT}"
            uses_every = "1s"
            [policy]
            propagation_window = "500ms"
        "#,
        server.public(),
        server.admin(),
    );
    std::fs::write(directory.path().join("keyswap.toml"), text).expect("a configuration");
    std::fs::write(directory.path().join("client-secret"), secret).expect("a secret");
    let basic: Vec<_> = PROGRAMS.into_iter().filter(|(_, how)| how.ends_with("basic")).collect();
    direct(&server.token_endpoint(), secret, "scope=read", &basic).await;
    rotate("Ory Hydra", &Hydra::version(), directory.path(), "scope=read").await;
}

/// Each program signs in at the server itself, with the secret.
async fn direct(endpoint: &str, secret: &str, parameter: &str, programs: &[(Library, &str)]) {
    for (library, method) in programs {
        let mut program = library.sign_in(endpoint, (CLIENT, secret), method, parameter);
        program.progress(1).await;
        program.stop().await.assert_none_failed();
    }
}

/// Imports the secret in this directory, and rotates it while all programs sign in through a proxy.
async fn rotate(server: &str, version: &str, directory: &Path, parameter: &str) {
    let configuration = directory.join("keyswap.toml");
    let keyswap = |arguments: &[&str]| {
        let mut command = Command::new(installed("KEYSWAP_BIN"));
        command.args(arguments).arg("--config").arg(&configuration);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    };
    let secret = directory.join("client-secret");
    let mut init = keyswap(&["init"]);
    assert!(init.arg("--secret-file").arg(&secret).status().await.expect("it starts").success());
    let mut command = keyswap(&["proxy", "--listen", "127.0.0.1:0", "--json"]);
    let mut proxy = Process::start("keyswap proxy", &mut command);
    let ready = proxy.line(|line| serde_json::from_str::<Value>(line).ok()).await;
    let endpoint = ready["endpoints"]["token_endpoint"].as_str().expect("an address");

    let mut programs: Vec<(Library, &str, Foreign)> = PROGRAMS
        .into_iter()
        .map(|(library, method)| {
            (library, method, library.sign_in(endpoint, (CLIENT, "dummy"), method, parameter))
        })
        .collect();
    for (_, _, program) in &mut programs {
        program.progress(25).await;
    }
    let output = keyswap(&["rotate", "--json"]).output().await.expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (_, _, program) in &mut programs {
        program.progress(25).await;
    }
    let store = FileStore::open(directory.join("keyswap-store"), CLIENT).expect("the store");
    let (refused, saved) = refused_and_saved(&store).await;
    assert!(refused > 0, "no program met the change with the old secret in front");
    for (position, (library, method, program)) in programs.into_iter().enumerate() {
        let mut tally = program.stop().await;
        // What the proxy saved, it saved for all of them.
        tally.saved_by_fallback = if position == 0 { saved } else { 0 };
        let (name, library) = library.version();
        let how = format!("{name} {library}, {method}, by the proxy");
        Seen { server, version, how: &how }.rotated(u64::from(position == 0), &tally);
        tally.assert_none_failed();
    }
    proxy.terminate();
    proxy.end().await;
}

/// How many refusals of the old secret there were when nobody used it any more, and how many requests were saved by then.
///
/// The rotation wrote both into its history before it published the new secret alone. Reports of the proxy tell of the old
/// one only until then.
async fn refused_and_saved(store: &FileStore) -> (u64, u64) {
    let history = store.history().await.expect("readable");
    let drained = history.iter().find(|entry| entry.record["state"] == "drained");
    let uses = drained.expect("the rotation came by it").record["uses"].clone();
    let uses: Uses = serde_json::from_value(uses).expect("what the instances had done");
    let refused = uses.applications.iter().filter_map(|application| application.old);
    let saved = uses.applications.iter().filter_map(|application| application.saved);
    (refused.map(|old| old.refused).sum(), saved.sum())
}
