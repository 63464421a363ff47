//! A store that is sealed at rest: its directory shows no secret, and whoever lacks the key is told so.

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use common::{CANARY, Following, list, set_mode, store, takes, write_private};
use keyswap_core::{FallbackPolicy, Revision};
use keyswap_store::{
    FileStore, Follow, InstanceReport, Seal, SecretStore, StoreError, StoreErrorKind,
};
use tempfile::TempDir;

/// A store with a key of its own, and where both are.
struct Sealed {
    directory: TempDir,
    plain: FileStore,
    store: FileStore,
}

impl Sealed {
    fn new() -> Self {
        let (directory, plain) = store();
        let path = directory.path().join("identity");
        Seal::create_identity(&path).unwrap();
        let store = plain.clone().sealed(Seal::identity_file(path).unwrap());
        Self { directory, plain, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same store, with a key that it was not sealed with.
    fn with_another_key(&self) -> FileStore {
        self.plain.clone().sealed(Seal::create_identity(self.path("another")).unwrap())
    }
}

/// Every file below a directory, with what it holds.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), fs::read(path).unwrap())),
        }
    }
    found
}

fn shows_a_secret(store: &FileStore) -> Vec<PathBuf> {
    let shows = |text: &[u8]| text.windows(CANARY.len()).any(|part| part == CANARY.as_bytes());
    let found = files(store.client_directory()).into_iter();
    found.filter(|(_, text)| shows(text)).map(|(path, _)| path).collect()
}

fn refused<T>(result: Result<T, StoreError>, reason: &str, way_out: &str) {
    let Err(error) = result else { panic!("it was not refused: {reason}") };
    let text = error.to_string();
    assert!(text.contains(reason) && text.contains(way_out), "{text}");
    assert!(!format!("{error:?}").contains("AGE-SECRET-KEY"), "{error:?}");
}

#[tokio::test]
async fn no_file_shows_a_secret_at_any_step_of_a_rotation() {
    let sealed = Sealed::new();
    let (store, log) = (&sealed.store, common::Log::collect());
    store.import(&list("old")).await.unwrap();
    let (ring, follow) = Follow::start(store.clone(), FallbackPolicy::default()).await.unwrap();
    let _following = Following(tokio::spawn(follow.run()));
    let report = InstanceReport::new("invoices", "instance-1");
    let registration = store.register(&report).await.unwrap();
    let lease = store.acquire("test").await.unwrap();
    let mut revision = Revision::new(1);
    // What a rotator writes: the journal with the values before each act, then the act.
    for (journal, published) in [
        ("old hunter2-old, new hunter2-new", Some("old new")),
        ("the change may have been made: hunter2-new", None),
        ("confirmed hunter2-new", Some("new old")),
        ("done: hunter2-new, retired hunter2-old", Some("new")),
    ] {
        store.save_journal(&lease, journal.as_bytes()).await.unwrap();
        assert_eq!(shows_a_secret(store), Vec::<PathBuf>::new(), "after the journal: {journal}");
        assert_eq!(*store.journal().await.unwrap().unwrap(), journal.as_bytes());
        if let Some(ids) = published {
            revision = store.publish(&lease, revision, &list(ids), None).await.unwrap();
            takes(&ring, ids).await;
        }
        store.append_history(&lease, &serde_json::json!({"state": "x"})).await.unwrap();
        store.report(&registration, &report.next(ring.usage())).await.unwrap();
        assert_eq!(shows_a_secret(store), Vec::<PathBuf>::new(), "after the list: {published:?}");
    }
    assert_eq!(files(store.client_directory()).len(), 7, "{:?}", files(store.client_directory()));
    assert!(!log.0.text().contains(CANARY), "{}", log.0.text());

    // The search finds what is there to be found.
    let (_directory, plain) = common::store();
    plain.import(&list("old")).await.unwrap();
    assert_eq!(shows_a_secret(&plain), [plain.client_directory().join("ring.json")]);
}

#[tokio::test]
async fn without_the_key_or_with_another_one_nothing_is_read_or_written_over() {
    let sealed = Sealed::new();
    sealed.store.import(&list("old")).await.unwrap();
    let lease = sealed.store.acquire("test").await.unwrap();
    sealed.store.save_journal(&lease, b"hunter2 in the journal").await.unwrap();
    drop(lease);
    let another = sealed.with_another_key();
    let before = files(sealed.store.client_directory());
    for (store, reason, way_out) in [
        (&sealed.plain, "it is sealed, and no key was given", "FileStore::sealed"),
        (&another, "it is sealed with another key", "that it was sealed with"),
    ] {
        refused(store.published().await, reason, way_out);
        refused(store.journal().await, reason, way_out);
        refused(store.import(&list("other")).await, reason, way_out);
        refused(Follow::start(store.clone(), FallbackPolicy::default()).await, reason, way_out);
        let lease = store.acquire("test").await.unwrap();
        let published = store.publish(&lease, Revision::new(1), &list("new"), None).await;
        assert!(published.as_ref().unwrap_err().is_sealed());
        refused(published, reason, way_out);
        refused(store.save_journal(&lease, b"another journal").await, reason, way_out);
    }
    let of_secrets = |files: Vec<(PathBuf, Vec<u8>)>| {
        files.into_iter().filter(|(path, _)| path.extension().is_some()).collect::<Vec<_>>()
    };
    assert_eq!(of_secrets(files(sealed.store.client_directory())), of_secrets(before));
    assert_eq!(sealed.store.published().await.unwrap().unwrap().list, list("old"));
}

#[tokio::test]
async fn a_store_in_the_open_is_read_with_a_key_and_sealed_when_it_is_written_next() {
    let sealed = Sealed::new();
    sealed.plain.import(&list("old")).await.unwrap();
    // A program that has the key already goes on over the change.
    let store = &sealed.store;
    let (ring, follow) = Follow::start(store.clone(), FallbackPolicy::default()).await.unwrap();
    let _following = Following(tokio::spawn(follow.run()));
    let lease = store.acquire("test").await.unwrap();
    store.publish(&lease, Revision::new(1), &list("old new"), None).await.unwrap();
    takes(&ring, "old new").await;
    assert_eq!(shows_a_secret(store), Vec::<PathBuf>::new());
    assert!(sealed.plain.published().await.unwrap_err().is_sealed());
}

#[tokio::test]
async fn each_identity_of_a_file_opens_and_what_is_written_is_for_all_of_them() {
    let sealed = Sealed::new();
    let path = |name: &str| sealed.path(name);
    Seal::create_identity(path("next")).unwrap();
    let both = [path("next"), path("identity")].map(|path| fs::read_to_string(path).unwrap());
    write_private(&path("both"), both.concat());
    let with = |name: &str| sealed.plain.clone().sealed(Seal::identity_file(path(name)).unwrap());
    sealed.store.import(&list("old")).await.unwrap();
    let lease = with("both").acquire("test").await.unwrap();
    with("both").publish(&lease, Revision::new(1), &list("new"), None).await.unwrap();
    for name in ["identity", "next", "both"] {
        assert_eq!(with(name).published().await.unwrap().unwrap().list, list("new"), "{name}");
    }
}

/// As `age -p` does, with less work.
fn protect(path: &Path, passphrase: &str) {
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
    recipient.set_work_factor(2);
    let protected = age::encrypt(&recipient, &fs::read(path).unwrap()).unwrap();
    write_private(path, protected);
}

#[tokio::test]
async fn an_identity_under_a_passphrase_opens_with_that_and_with_no_other() {
    let sealed = Sealed::new();
    sealed.store.import(&list("old")).await.unwrap();
    let path = sealed.path("identity");
    refused(
        Seal::protected_identity_file(&path, "hunter2"),
        "it is not under one",
        "give no passphrase",
    );
    protect(&path, "hunter2 horse");
    refused(Seal::identity_file(&path), "it is under a passphrase", "protected_identity_file");
    let wrong = Seal::protected_identity_file(&path, "hunter2 house");
    assert!(wrong.as_ref().unwrap_err().is_sealed());
    refused(wrong, "the passphrase is not the one", "give the right one");
    let seal = Seal::protected_identity_file(&path, "hunter2 horse").unwrap();
    let store = sealed.plain.clone().sealed(seal);
    assert_eq!(store.published().await.unwrap().unwrap().list, list("old"));
}

#[test]
fn what_is_no_identity_file_is_refused_by_its_line_and_shows_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity");
    refused(Seal::identity_file(&path), "it is not there", "age-keygen -o FILE");
    let seal = Seal::create_identity(&path).unwrap();
    assert_eq!(common::mode(&path), 0o600);
    let key = fs::read_to_string(&path).unwrap().lines().last().unwrap().to_owned();
    assert!(key.starts_with("AGE-SECRET-KEY-1"));
    let shown = format!("{seal:?}");
    assert!(shown.contains("age1") && !shown.contains("AGE-SECRET-KEY"), "{shown}");

    let again = Seal::create_identity(&path);
    assert_eq!(*again.as_ref().unwrap_err().kind(), StoreErrorKind::AlreadyExists);
    refused(again, "there is a file already", "another name");
    let cases = [
        (String::new(), "it holds no identity"),
        ("# only words\n".to_owned(), "it holds no identity"),
        (format!("{key}\n{}x\n", &key[..40]), "line 2 is no age identity"),
        ("age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw".to_owned(), "line 1"),
        (format!("{key}\n").repeat(65), "65 identities"),
    ];
    for (text, reason) in cases {
        fs::write(&path, text).unwrap();
        refused(Seal::identity_file(&path), reason, "age-keygen");
    }
    fs::write(&path, key).unwrap();
    set_mode(&path, 0o640);
    assert!(Seal::identity_file(&path).unwrap_err().is_permissions());
}

#[tokio::test]
async fn a_sealed_list_that_was_changed_or_cut_anywhere_is_refused() {
    let sealed = Sealed::new();
    sealed.store.import(&list("old")).await.unwrap();
    let ring = sealed.store.client_directory().join("ring.json");
    let whole = fs::read(&ring).unwrap();
    let refuse = async |text: &[u8], what: String| {
        fs::File::create(&ring).unwrap().write_all(text).unwrap();
        let Err(error) = sealed.store.published().await else { panic!("{what} was not seen") };
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
    };
    for position in 0..whole.len() {
        let mut changed = whole.clone();
        changed[position] ^= 1;
        refuse(&changed, format!("a change of byte {position}")).await;
        refuse(&whole[..position], format!("a cut at byte {position}")).await;
    }
    fs::write(&ring, &whole).unwrap();
    assert!(sealed.store.published().await.is_ok());
}
