//! A store that is sealed at rest: no file in it shows a secret, whatever the rotation is about to do.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{CLIENT, Embedded, Output, Site, contents, set_mode};
use keyswap_core::FallbackPolicy;
use keyswap_store::{FileStore, Seal, SecretStore, join};
use tokio::runtime::Runtime;

const DIRECTORY: &str = "directory = \"keyswap-store\"";

/// A site whose store is sealed with an identity beside it.
fn sealed() -> Embedded {
    let embedded = Embedded::start();
    let site = &embedded.site;
    Seal::create_identity(site.path("identity")).unwrap();
    site.configure(DIRECTORY, &format!("{DIRECTORY}\nidentity = \"identity\""));
    site.import();
    embedded
}

fn store(site: &Site) -> FileStore {
    let seal = Seal::identity_file(site.path("identity")).unwrap();
    FileStore::open(site.store(), CLIENT).unwrap().sealed(seal)
}

fn status(site: &Site) -> Output {
    site.command(&["status"]).run()
}

#[test]
fn no_file_of_the_store_shows_a_secret_at_any_moment_of_a_rotation_and_of_a_rollback() {
    let embedded = sealed();
    let site = &embedded.site;
    let runtime = Runtime::new().unwrap();
    let policy = FallbackPolicy::default();
    let (ring, member) = runtime.block_on(join(store(site), CLIENT, policy)).unwrap();
    let _member = runtime.spawn(member);

    let over = AtomicBool::new(false);
    let mut values = BTreeSet::from([site.first_secret()]);
    let (seen, published) = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                seen.extend(contents(&site.store()).into_values());
                thread::sleep(std::time::Duration::from_millis(1));
            }
            seen
        });
        let mut published = BTreeSet::new();
        let mut note = || {
            let document = runtime.block_on(store(site).published()).unwrap().unwrap();
            published.extend(document.list.iter().map(|secret| secret.expose().to_owned()));
        };
        for (command, code) in [
            (&["rotate", "--hold-at", "drained"][..], 3),
            (&["rollback", "--yes"], 0),
            (&["rotate"], 0),
        ] {
            let output = site.command(command).run();
            note();
            // Whatever it is, the watch has to end.
            if output.status.code() != Some(code) {
                over.store(true, Ordering::Relaxed);
            }
            output.ends_with(code);
        }
        over.store(true, Ordering::Relaxed);
        (watch.join().unwrap(), published)
    });
    values.extend(published);
    assert!(values.len() >= 3, "the first one, the one rolled back, the last one");
    assert!(seen.len() > 30, "it looked {} times", seen.len());
    for text in &seen {
        let text = String::from_utf8_lossy(text);
        assert!(!values.iter().any(|value| text.contains(value.as_str())), "a file shows a secret");
    }
    assert!(site.accepts(ring.snapshot().list().preferred().expose(), 12));
    let ring = std::fs::read(site.client_directory().join("ring.json")).unwrap();
    assert!(ring.starts_with(b"age-encryption.org/v1"));
    status(site).ends_with(0);
}

#[test]
fn without_the_key_a_command_says_how_to_give_it() {
    let embedded = sealed();
    let site = &embedded.site;
    site.configure("identity = \"identity\"", "");
    status(site)
        .says(1, &["ring.json: it is sealed, and no key was given", "`identity` in [store]"]);
    site.configure(DIRECTORY, &format!("{DIRECTORY}\nidentity = \"missing\""));
    status(site).says(1, &["missing: it is not there", "age-keygen"]);
    Seal::create_identity(site.path("missing")).unwrap();
    status(site).says(1, &["it is sealed with another key"]);
    site.command(&["rotate"]).run().says(1, &["it is sealed with another key"]);
}

/// As `age-keygen | age -p` makes one; the passphrase is "correct horse".
const PROTECTED: &[u8] = include_bytes!("sealed/identity.age");

#[test]
fn an_identity_under_a_passphrase_is_opened_with_that_of_the_environment() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    std::fs::write(site.path("identity"), PROTECTED).unwrap();
    set_mode(&site.path("identity"), 0o600);
    let identity = "identity = \"identity\"";
    site.configure(DIRECTORY, &format!("{DIRECTORY}\n{identity}"));
    let init = |passphrase: &str| {
        let command = site.command(&["init", "--secret-file"]).argument(site.path("client-secret"));
        command.environment("IDENTITY_PASSPHRASE", passphrase).run()
    };
    init("").says(1, &["it is under a passphrase", "`identity_passphrase` in [store]"]);
    let passphrase = "identity_passphrase = { env = \"IDENTITY_PASSPHRASE\" }";
    site.configure(identity, &format!("{identity}\n{passphrase}"));
    init("wrong horse").says(1, &["the passphrase is not the one"]);
    init("correct horse").ends_with(0);
    let ring = std::fs::read(site.client_directory().join("ring.json")).unwrap();
    assert!(ring.starts_with(b"age-encryption.org/v1"));
    let status = site.command(&["status"]).environment("IDENTITY_PASSPHRASE", "correct horse");
    status.run().ends_with(0);
    site.configure(&format!("{identity}\n"), "");
    init("correct horse").says(2, &["`identity_passphrase` is that of an `identity`"]);
}
