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

const JOURNAL: &[u8] = b"old hunter2-old, new hunter2-new";

/// The names of files.
fn names(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect()
}

#[tokio::test]
async fn an_open_store_is_sealed_at_once_and_the_way_back_is_open() {
    let sealed = Sealed::new();
    let (plain, store) = (&sealed.plain, &sealed.store);
    plain.import(&list("old")).await.unwrap();
    let lease = plain.acquire("test").await.unwrap();
    plain.save_journal(&lease, JOURNAL).await.unwrap();
    // As a rotator that was killed in the middle of a write leaves it.
    drop(lease);
    write_private(&store.client_directory().join(".rotation.json.0000.tmp"), JOURNAL);
    let (ring, follow) = Follow::start(store.clone(), FallbackPolicy::default()).await.unwrap();
    let status = follow.status();
    let _following = Following(tokio::spawn(follow.run()));
    assert_eq!(names(&plain.in_the_open().await.unwrap()), ["rotation.json", "ring.json"]);

    let lease = store.acquire("test").await.unwrap();
    assert_eq!(names(&store.reseal(&lease).await.unwrap()), ["rotation.json", "ring.json"]);
    assert_eq!(shows_a_secret(store), Vec::<PathBuf>::new());
    assert!(plain.in_the_open().await.unwrap().is_empty());
    assert!(plain.published().await.unwrap_err().is_sealed());
    let document = store.published().await.unwrap().unwrap();
    assert_eq!((document.revision, document.list), (Revision::new(1), list("old")));
    assert_eq!(*store.journal().await.unwrap().unwrap(), *JOURNAL);

    store.unseal(&lease).await.unwrap();
    assert_eq!(plain.published().await.unwrap().unwrap().list, list("old"));
    assert_eq!(*plain.journal().await.unwrap().unwrap(), *JOURNAL);
    // A program that has the key saw none of that.
    store.publish(&lease, Revision::new(1), &list("old new"), None).await.unwrap();
    takes(&ring, "old new").await;
    assert_eq!(status.problem(), None);
}

#[tokio::test]
async fn a_store_is_sealed_anew_to_another_identity_and_the_former_one_opens_nothing_more() {
    let sealed = Sealed::new();
    let path = |name: &str| sealed.path(name);
    let with = |name: &str| sealed.plain.clone().sealed(Seal::identity_file(path(name)).unwrap());
    Seal::create_identity(path("next")).unwrap();
    let both = [path("next"), path("identity")].map(|path| fs::read_to_string(path).unwrap());
    write_private(&path("both"), both.concat());
    sealed.store.import(&list("old")).await.unwrap();
    for (name, opened, shut) in [("both", "identity", None), ("next", "next", Some("identity"))] {
        let store = with(name);
        let lease = store.acquire("test").await.unwrap();
        if name == "next" {
            store.save_journal(&lease, JOURNAL).await.unwrap();
        }
        store.reseal(&lease).await.unwrap();
        assert_eq!(with(opened).published().await.unwrap().unwrap().list, list("old"));
        if let Some(shut) = shut {
            refused(with(shut).published().await, "sealed with another key", "`identity`");
            refused(with(shut).reseal(&lease).await, "sealed with another key", "`identity`");
            refused(with(shut).unseal(&lease).await, "sealed with another key", "`identity`");
        }
    }
    assert_eq!(with("next").published().await.unwrap().unwrap().list, list("old"));
}

#[tokio::test]
async fn nothing_is_sealed_without_the_lease_or_over_a_damaged_list() {
    let sealed = Sealed::new();
    let store = sealed.store.clone().lease(std::time::Duration::from_millis(100));
    sealed.plain.import(&list("old")).await.unwrap();
    let lost = store.acquire("the first").await.unwrap();
    sealed.plain.save_journal(&lost, JOURNAL).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    let lease = store.acquire("the second").await.unwrap();
    let error = store.reseal(&lost).await.unwrap_err();
    assert!(error.is_lease_lost(), "{error}");
    assert_eq!(sealed.plain.in_the_open().await.unwrap().len(), 2);

    let ring = store.client_directory().join("ring.json");
    let whole = fs::read(&ring).unwrap();
    fs::write(&ring, &whole[..whole.len() / 2]).unwrap();
    refused(store.reseal(&lease).await, "ends in the middle", "restore it from a backup");
    assert_eq!(sealed.plain.in_the_open().await.unwrap().len(), 2);
}

/// Not a test by itself: seals and opens without end.
#[tokio::test]
async fn child_that_seals_and_opens() {
    let Some(plain) = common::child_store() else { return };
    let identity = plain.client_directory().ancestors().nth(2).unwrap().join("identity");
    let store = plain.clone().sealed(Seal::identity_file(identity).unwrap());
    let lease = store.acquire("the child").await.unwrap();
    fs::write(store.client_directory().join("ready"), "").unwrap();
    loop {
        store.reseal(&lease).await.unwrap();
        store.unseal(&lease).await.unwrap();
    }
}

#[tokio::test]
async fn a_kill_at_any_moment_of_sealing_leaves_what_is_read_with_the_key() {
    let sealed = Sealed::new();
    let (plain, store) = (&sealed.plain, &sealed.store);
    plain.import(&list("old")).await.unwrap();
    let lease = plain.acquire("test").await.unwrap();
    let journal = JOURNAL.repeat(4000);
    plain.save_journal(&lease, &journal).await.unwrap();
    drop(lease);
    let root = plain.client_directory().parent().unwrap();
    let ready = plain.client_directory().join("ready");
    let (mut half, mut kills) = (0, 0);
    while kills < 12 || half == 0 {
        assert!(kills < 200, "no kill of {kills} fell between two files");
        let mut child = common::spawn_child("child_that_seals_and_opens", root);
        common::eventually("the child seals", async || ready.exists().then_some(())).await;
        // Some of its turns later, wherever that is; each second time where one file is sealed and one is open.
        let mut looks = 0;
        while plain.in_the_open().await.unwrap().len() != 1 && (kills % 2 == 1 || looks < kills) {
            looks += 1;
        }
        child.kill();
        fs::remove_file(&ready).unwrap();
        kills += 1;
        half += usize::from(plain.in_the_open().await.unwrap().len() == 1);
        let document = store.published().await.unwrap().unwrap();
        assert_eq!((document.revision, document.list), (Revision::new(1), list("old")));
        assert_eq!(*store.journal().await.unwrap().unwrap(), *journal);
    }
    let lease = store.acquire("test").await.unwrap();
    store.reseal(&lease).await.unwrap();
    assert_eq!(shows_a_secret(store), Vec::<PathBuf>::new());
}
