//! etcd as `docs/stores/etcd.md` advises it: TLS with client certificates, users and roles; and what a person is told who
//! gets one of them wrong.

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use keyswap_core::{FallbackPolicy, Secret, SecretList};
use keyswap_real_tests::{SecureEtcd, installed};
use keyswap_store::{EtcdStore, SecretStore, join};
use keyswap_testkit::{AuthorizationServer, Client};
use tokio::process::Command;
use tokio::time::timeout;

const CLIENT: &str = "billing";
const AUDIENCE: &str = "https://api.example/";
const MANAGEMENT: &str = "the-secret-of-the-management-client";
const FIRST: &str = "the-first-secret-of-billing";
const PASSWORDS: [(&str, &str); 3] = [
    ("billing-password", "password-of-a-program"),
    ("keyswap-password", "password-of-the-rotator"),
    ("root-password", "password-of-root"),
];
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with the users and roles of the document, by the very commands that it shows.
async fn start() -> SecureEtcd {
    let etcd = SecureEtcd::start().await;
    for (name, password) in PASSWORDS {
        std::fs::write(etcd.path(name), format!("{password}\n")).expect("a file");
    }
    let document = include_str!("../../../../../docs/stores/etcd.md");
    let section = document.split("## Who may do what").nth(1).expect("the section");
    let block = section.split("```").nth(1).expect("the commands");
    let commands: Vec<_> = block.lines().filter(|line| line.starts_with("etcdctl ")).collect();
    assert!(commands.len() > 10, "{commands:?}");
    for line in commands {
        let output = etcd.shell(line).await;
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    etcd
}

const WITH_ALL: &str = "certificate_authority = \"ca.pem\"\ncertificate = \"client.pem\"\n\
                        key = \"client-key.pem\"\n";
const ROTATOR: &str = "user = \"keyswap\"\npassword = { file = \"keyswap-password\" }\n";
const PROGRAM: &str = "user = \"billing\"\npassword = { file = \"billing-password\" }\n";

/// Runs the command with these lines in `[store.etcd]`, and gives its exit code and what it said.
async fn keyswap(
    etcd: &SecureEtcd,
    endpoint: &str,
    store: &str,
    server: &str,
    arguments: &[&str],
) -> (Option<i32>, String) {
    let configuration = format!(
        "[client]\nid = \"{CLIENT}\"\n[authority]\nkind = \"auth0\"\nurl = \"{server}\"\n\
         audience = \"{AUDIENCE}\"\nmanagement_client_id = \"rotator\"\n\
         management_secret = {{ store = true }}\n[store.etcd]\nendpoints = [\"{endpoint}\"]\n{store}\
         [[application]]\nname = \"invoices\"\n[policy]\npropagation_window = \"300ms\"\n\
         quiet_period = \"300ms\"\n"
    );
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("keyswap-{}.toml", NUMBER.fetch_add(1, Ordering::Relaxed));
    std::fs::write(etcd.path(&name), configuration).expect("a configuration");
    std::fs::write(etcd.path("first"), FIRST).expect("a secret");
    let output = Command::new(installed("KEYSWAP_BIN"))
        .args(arguments)
        .args(["--config", &name])
        .current_dir(etcd.directory())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, output).await.expect("no hang").expect("it can be started");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    for secret in PASSWORDS.map(|(_, password)| password).iter().chain(&[FIRST, MANAGEMENT]) {
        assert!(!said.contains(secret), "{said}");
    }
    (output.status.code(), said)
}

fn store(etcd: &SecureEtcd, client: &str, user: &str, password: &str) -> EtcdStore {
    let read = |name: &str| std::fs::read(etcd.path(name)).expect("a certificate");
    EtcdStore::builder([etcd.endpoint()], client)
        .user(user, password.to_owned())
        .certificate_authority(read("ca.pem"))
        .client_certificate(read("client.pem"), read("client-key.pem"))
        .build()
        .expect("an endpoint and certificates")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_goes_over_tls_with_no_more_rights_than_the_document_gives() {
    let etcd = start().await;
    let server = AuthorizationServer::builder()
        .nodes(3)
        .propagation_window(Duration::from_millis(300))
        .client(Client::new(CLIENT, FIRST).grant(AUDIENCE))
        .management_client(Client::management("rotator", MANAGEMENT))
        .start()
        .await
        .expect("the server starts");
    let (url, endpoint) = (server.url(), etcd.endpoint());
    let run = async |user: &str, arguments: &[&str]| {
        keyswap(&etcd, &endpoint, &format!("{user}{WITH_ALL}"), &url, arguments).await
    };
    // What the rotator makes its management requests with is in the same store.
    let secret = Secret::new("management".parse().expect("an id"), MANAGEMENT).expect("a value");
    let list = SecretList::new([secret]).expect("a list");
    let of_rotator = store(&etcd, "rotator", "keyswap", PASSWORDS[1].1);
    of_rotator.import(&list).await.expect("the rotator may write");
    let (code, said) = run(ROTATOR, &["init", "--secret-file", "first"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(ROTATOR, &["rotate", "--patience", "1ms"]).await;
    assert_eq!(code, Some(3), "{said}");
    let (code, said) = run(ROTATOR, &["status"]).await;
    for part in ["list      revision 2: [s-", "rotation  staged for", "`keyswap resume`, if nobody"]
    {
        assert!(code == Some(0) && said.contains(part), "{part:?} is not in: {said}");
    }
    let program = store(&etcd, CLIENT, "billing", PASSWORDS[0].1);
    let joined = join(program, "invoices", FallbackPolicy::default()).await;
    let (ring, member) = joined.expect("a program may register, read, watch and report");
    let member = tokio::spawn(member);
    let (code, said) = run(ROTATOR, &["resume"]).await;
    assert_eq!(code, Some(0), "{said}");
    let taken = ring.snapshot().list().preferred().expose().to_owned();
    assert!(taken != FIRST && server.accepts(CLIENT, &taken) && !server.accepts(CLIENT, FIRST));
    let (code, said) = run(ROTATOR, &["status"]).await;
    assert_eq!(code, Some(0), "{said}");
    let place = format!("client billing, the etcd store at {endpoint} (keys /keyswap/v1/)");
    for part in [place.as_str(), "rotation  done for", "invoices/i-", "list      revision 4: [s-"] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }

    // A program may not do what a rotator does, and says what it may not.
    let denied = ["etcdserver: permission denied", "that user a role", &endpoint];
    for (arguments, doing) in [
        (&["rotate"][..], "of client rotator"),
        (&["status"], "read the journal of client billing"),
        (&["hold", "--by", "a program", "--reason", "a test"], "hold on the rotations"),
        (&["history"], "history of client billing"),
    ] {
        let (code, said) = run(PROGRAM, arguments).await;
        assert_ne!(code, Some(0), "{arguments:?}: {said}");
        for part in denied.iter().copied().chain([doing]) {
            assert!(said.contains(part), "{part:?} is not in: {said}");
        }
    }
    member.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_certificates_and_users_is_told_by_name() {
    let etcd = start().await;
    let endpoint = etcd.endpoint();
    let nowhere = "http://127.0.0.1:1";
    let with = |authority: &str, certificate: &str, key: &str| {
        let line = |name: &str, path: &str| match path {
            "" => String::new(),
            path => format!("{name} = \"{path}\"\n"),
        };
        let (authority, certificate) =
            (line("certificate_authority", authority), line("certificate", certificate));
        format!("{ROTATOR}{authority}{certificate}{}", line("key", key))
    };
    let wrong_password =
        format!("user = \"keyswap\"\npassword = {{ file = \"root-password\" }}\n{WITH_ALL}");
    let plain = endpoint.replace("https", "http");
    let cases = [
        (
            "an authority that did not sign",
            &endpoint,
            with("other.pem", "client.pem", "client-key.pem"),
            ["invalid peer certificate: UnknownIssuer", "`certificate_authority` with who signed"],
        ),
        (
            "no authority",
            &endpoint,
            with("", "client.pem", "client-key.pem"),
            ["invalid peer certificate: UnknownIssuer", "`certificate_authority` with who signed"],
        ),
        (
            "no client certificate",
            &endpoint,
            with("ca.pem", "", ""),
            ["it closed the connection", "want a client certificate that it trusts"],
        ),
        (
            "a client certificate of somebody else's",
            &endpoint,
            with("ca.pem", "stranger.pem", "stranger-key.pem"),
            ["it closed the connection", "want a client certificate that it trusts"],
        ),
        (
            "a key of another certificate",
            &endpoint,
            with("ca.pem", "client.pem", "stranger-key.pem"),
            ["KeyMismatch", "`certificate` and `key` with what they trust"],
        ),
        (
            "a file that is no key",
            &endpoint,
            with("ca.pem", "client.pem", "ca.pem"),
            ["the client's key holds no private key in PEM", "-----BEGIN PRIVATE KEY-----"],
        ),
        (
            "a file that is not there",
            &endpoint,
            with("missing.pem", "client.pem", "client-key.pem"),
            [
                "`certificate_authority` of [store.etcd], missing.pem, cannot be read",
                "correct the path",
            ],
        ),
        (
            "no TLS",
            &plain,
            ROTATOR.to_owned(),
            ["it closed the connection", "it may want TLS: https://"],
        ),
        (
            "a wrong password",
            &endpoint,
            wrong_password,
            ["authentication failed", "give the right user and password"],
        ),
        (
            "no user",
            &endpoint,
            WITH_ALL.to_owned(),
            ["etcdserver: ", "give the right user and password"],
        ),
    ];
    // At once, since some are told after the time that a node may take.
    join_all(cases.into_iter().map(async |(what, endpoint, store, parts)| {
        let (code, said) = keyswap(&etcd, endpoint, &store, nowhere, &["status"]).await;
        assert_ne!(code, Some(0), "{what}: {said}");
        for part in parts {
            assert!(said.contains(part), "{what}: {part:?} is not in: {said}");
        }
        println!("{what}: {said}");
    }))
    .await;
}
