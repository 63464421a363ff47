//! What was written in version 1 is read for ever, and what is of a newer version is refused and left alone. The files in
//! `documents` are never changed.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Following, ids, in_use, list, next_problem, set_mode, store, takes, write_private};
use keyswap_core::{FallbackPolicy, Revision};
use keyswap_store::{FileStore, Follow, Hold, InstanceReport, SecretStore, StoreErrorKind};

fn fixture(name: &str) -> Vec<u8> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/documents");
    fs::read(directory.join(name)).unwrap()
}

fn newer(name: &str) -> Vec<u8> {
    let text = String::from_utf8(fixture(name)).unwrap();
    let newer = text.replacen("\"keyswap\": 1", "\"keyswap\": 2", 1);
    newer.replacen("\"keyswap\":1", "\"keyswap\":2", 1).into_bytes()
}

/// Puts files of the client into its directory.
fn put(store: &FileStore, files: [(&str, Vec<u8>); 3]) {
    let directory = store.client_directory();
    fs::create_dir_all(directory.join("instances")).unwrap();
    for path in [directory.to_owned(), directory.join("instances")] {
        set_mode(&path, 0o700);
    }
    for (name, text) in files {
        write_private(&directory.join(name), text);
    }
}

#[tokio::test]
async fn what_a_store_of_version_1_holds_is_read() {
    let (_directory, store) = store();
    put(
        &store,
        [
            ("ring.json", fixture("1-ring.json")),
            ("hold.json", fixture("1-hold.json")),
            ("instances/i-1.json", fixture("1-report.json")),
        ],
    );
    let document = store.published().await.unwrap().unwrap();
    assert_eq!((document.revision, ids(&document.list)), (Revision::new(3), "new old".to_owned()));
    assert_eq!(document.attest_every, Some(std::time::Duration::from_millis(2500)));
    let hold = Hold::new("ada", "release freeze", 1_795_802_292_021, Some(4_102_444_800_000));
    assert_eq!(store.hold().await.unwrap(), Some(hold));
    let instances = store.instances().await.unwrap();
    let report = instances[0].report.as_ref().unwrap();
    let usage = report.usage.as_ref().unwrap();
    assert_eq!((&*report.application, report.sequence), ("invoices", 4));
    assert_eq!(report.revision, Some(Revision::new(3)));
    let of_old = usage.of(&"old".parse().unwrap()).unwrap();
    assert_eq!((of_old.accepted, of_old.refused, of_old.inconclusive), (7, 2, 0));
}

#[tokio::test]
async fn what_is_of_a_newer_version_is_named_and_never_written_over() {
    let (_directory, store) = store();
    put(
        &store,
        [
            ("ring.json", newer("1-ring.json")),
            ("hold.json", newer("1-hold.json")),
            ("instances/i-1.json", newer("1-report.json")),
        ],
    );
    let ring = store.client_directory().join("ring.json");
    let lease = store.acquire("test").await.unwrap();
    for error in [
        store.published().await.unwrap_err(),
        store.import(&list("other")).await.unwrap_err(),
        store.publish(&lease, Revision::new(3), &list("other"), None).await.unwrap_err(),
        Follow::start(store.clone(), FallbackPolicy::default()).await.unwrap_err(),
    ] {
        let error = error.to_string();
        // The import does not get the lease while this test holds it.
        if error.contains("cannot import") {
            continue;
        }
        for part in
            [&*ring.display().to_string(), "of version 2", "knows version 1", "newer keyswap"]
        {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
        // What is whole needs none.
        assert!(!error.contains("backup") && !error.contains("hunter2"), "{error}");
    }
    drop(lease);
    let error = store.import(&list("other")).await.unwrap_err();
    assert_eq!(*error.kind(), StoreErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("of version 2"), "{error}");
    assert_eq!(fs::read(&ring).unwrap(), newer("1-ring.json"));

    let instances = store.instances().await.unwrap();
    let reason = instances[0].report.as_ref().unwrap_err();
    assert!(reason.contains("i-1.json") && reason.contains("newer keyswap"), "{reason}");
    let error = store.hold().await.unwrap_err().to_string();
    assert!(error.contains("hold.json") && error.contains("newer keyswap"), "{error}");
}

#[tokio::test]
async fn a_program_keeps_its_list_when_the_store_is_of_a_newer_version_and_goes_on_after_it() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let (ring, follow) = Follow::start(store.clone(), FallbackPolicy::default()).await.unwrap();
    let mut status = follow.status();
    let _following = Following(tokio::spawn(follow.run()));
    let ring_file = store.client_directory().join("ring.json");
    write_private(&ring_file, newer("1-ring.json"));
    let problem = next_problem(&mut status).await;
    assert!(problem.contains("of version 2") && problem.contains("newer keyswap"), "{problem}");
    assert_eq!(in_use(&ring), "old");
    write_private(&ring_file, fixture("1-ring.json"));
    takes(&ring, "new old").await;
    // What it writes itself is of the version that it knows.
    let report = InstanceReport::new("invoices", "i-2");
    let _registration = store.register(&report).await.unwrap();
    let written = fs::read(store.client_directory().join("instances/i-2.json")).unwrap();
    assert!(String::from_utf8(written).unwrap().contains("\"keyswap\":1"));
}
