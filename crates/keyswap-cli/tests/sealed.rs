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

const IDENTITY: &str = "directory = \"keyswap-store\"\nidentity = \"identity\"";

/// Every file of the store that shows one of these values.
fn shown(site: &Site, values: &[String]) -> Vec<String> {
    let shows = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        values.iter().any(|value| text.contains(value.as_str()))
    };
    let files = contents(&site.store()).into_iter().filter(|(_, text)| shows(text));
    files.map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_store_that_is_in_use_is_sealed_at_once_and_opened_again() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    site.command(&["rotate", "--patience", "1ms"]).run().ends_with(3);
    let values = site.published();
    assert_eq!(values.len(), 2, "the journal holds a candidate");
    Seal::create_identity(site.path("identity")).unwrap();
    site.command(&["seal"]).run().says(2, &["no `identity` in [store]", "age-keygen -o FILE"]);
    site.configure(DIRECTORY, IDENTITY);
    let waiting = status(site);
    assert!(
        waiting.stdout.contains("sealed    not yet: rotation.json, ring.json; ")
            && waiting.stdout.contains("`keyswap seal`"),
        "{waiting:#?}"
    );
    // What a person keeps there is not keyswap's to remove.
    let kept = site.client_directory().join("ring.json.bak");
    std::fs::copy(site.client_directory().join("ring.json"), &kept).unwrap();
    let refused = site.command(&["seal"]).run();
    refused.says(6, &["rotation.json and ring.json are sealed", "ring.json.bak", "remove it"]);
    std::fs::remove_file(kept).unwrap();
    let sealed = site.command(&["seal"]).run();
    let place = site.store().display().to_string();
    assert!(
        sealed
            .ends_with(0)
            .stdout
            .starts_with(&format!("client billing, the file store at {place}: "))
            && sealed.stdout.contains("sealed with "),
        "{sealed:#?}"
    );
    assert_eq!(shown(site, &values), Vec::<String>::new());
    assert!(!status(site).ends_with(0).stdout.contains("not yet"));

    // The rotation goes on, and what it writes is sealed as well.
    embedded.runtime().block_on(async {
        let (_, member) = join(store(site), CLIENT, FallbackPolicy::default()).await.unwrap();
        tokio::spawn(member);
    });
    site.command(&["resume"]).run().ends_with(0);
    let values = embedded.runtime().block_on(store(site).published()).unwrap().unwrap();
    let values: Vec<_> = values.list.iter().map(|secret| secret.expose().to_owned()).collect();
    assert_eq!(shown(site, &values), Vec::<String>::new());

    let opened = site.command(&["seal", "--open"]).run();
    assert!(opened.ends_with(0).stdout.contains("Take `identity` out of [store]"), "{opened:#?}");
    site.configure("identity = \"identity\"", "");
    status(site).ends_with(0);
    assert_eq!(site.published(), values);
}

#[test]
fn nothing_is_sealed_while_a_rotation_is_at_work() {
    let embedded = sealed();
    let site = &embedded.site;
    let before = contents(&site.store());
    let lease = embedded.runtime().block_on(store(site).acquire("keyswap rotate")).unwrap();
    let held = site.command(&["seal", "--open"]).run();
    held.says(3, &["cannot take the lease of client billing", "keyswap rotate (process "]);
    drop(lease);
    let ring = site.client_directory().join("ring.json");
    assert_eq!(std::fs::read(&ring).unwrap(), before[&ring]);
}

#[test]
fn an_identity_is_changed_without_a_gap_and_the_former_one_opens_nothing_more() {
    let embedded = sealed();
    let site = &embedded.site;
    let old = std::fs::read(site.path("identity")).unwrap();
    Seal::create_identity(site.path("next")).unwrap();
    let new = std::fs::read(site.path("next")).unwrap();
    // Both everywhere, then sealed to both; then the new one alone.
    std::fs::write(site.path("identity"), [old.clone(), new.clone()].concat()).unwrap();
    site.command(&["seal"]).run().ends_with(0);
    std::fs::write(site.path("identity"), &new).unwrap();
    site.command(&["seal"]).run().ends_with(0);
    status(site).ends_with(0);
    std::fs::write(site.path("identity"), &old).unwrap();
    status(site).says(1, &["ring.json: it is sealed with another key", "`identity` in [store]"]);
    site.command(&["seal"]).run().says(1, &["it is sealed with another key"]);
}
