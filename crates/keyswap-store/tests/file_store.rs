//! What a file store promises to a rotator, and what it says about a place that it cannot trust.

mod common;

use std::time::Duration;

use common::{CANARY, ids, list, mode, set_mode, store, write_private};
use keyswap_core::Revision;
use keyswap_store::{FileStore, InstanceReport, SecretStore, StoreError, StoreErrorKind};

#[tokio::test]
async fn a_list_is_imported_once_and_then_published_revision_by_revision() {
    let (_directory, store) = store();
    assert_eq!(store.published().await.unwrap(), None);
    assert_eq!(store.import(&list("old")).await.unwrap(), Revision::new(1));

    let error = store.import(&list("other")).await.unwrap_err();
    assert!(error.is_already_exists(), "{error}");

    let lease = store.acquire("test").await.unwrap();
    let attest = Some(Duration::from_millis(2500));
    let two = store.publish(&lease, Revision::new(1), &list("old new"), attest).await.unwrap();
    assert_eq!(two, Revision::new(2));
    let document = store.published().await.unwrap().unwrap();
    assert_eq!((document.revision, document.attest_every), (two, attest));
    assert_eq!(ids(&document.list), "old new");
}

#[tokio::test]
async fn a_publication_over_another_revision_is_a_conflict_and_writes_nothing() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let lease = store.acquire("test").await.unwrap();
    let (one, two) = (Revision::new(1), Revision::new(2));
    store.publish(&lease, one, &list("old new"), None).await.unwrap();

    let error = store.publish(&lease, one, &list("third"), None).await.unwrap_err();
    assert!(error.is_conflict());
    assert_eq!(*error.kind(), StoreErrorKind::Conflict { expected: one, found: two });
    let document = store.published().await.unwrap().unwrap();
    assert_eq!((document.revision, ids(&document.list).as_str()), (two, "old new"));
}

#[tokio::test]
async fn of_many_publications_over_one_revision_exactly_one_wins() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let lease = std::sync::Arc::new(store.acquire("test").await.unwrap());
    let publications: Vec<_> = (0..8)
        .map(|n| {
            let (store, lease) = (store.clone(), lease.clone());
            tokio::spawn(async move {
                let list = list(&format!("old new{n}"));
                store.publish(&lease, Revision::new(1), &list, None).await
            })
        })
        .collect();
    let mut won = 0;
    for publication in publications {
        match publication.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(error.is_conflict(), "{error}"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn publishing_into_a_store_without_a_list_says_to_import_one() {
    let (_directory, store) = store();
    let lease = store.acquire("test").await.unwrap();
    let error = store.publish(&lease, Revision::INITIAL, &list("a"), None).await.unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("keyswap init"), "{error}");
}

#[tokio::test]
async fn a_journal_is_replaced_as_a_whole_and_survives_its_lease() {
    let (_directory, store) = store();
    assert_eq!(store.journal().await.unwrap(), None);
    let lease = store.acquire("test").await.unwrap();
    store.save_journal(&lease, b"a long first document").await.unwrap();
    store.save_journal(&lease, b"short").await.unwrap();
    store.release(lease).await.unwrap();
    assert_eq!(store.journal().await.unwrap().unwrap().as_slice(), b"short");
}

#[tokio::test]
async fn a_lease_is_held_by_one_and_its_epoch_grows() {
    let (_directory, store) = store();
    let first = store.acquire("the first rotation").await.unwrap();
    assert!(store.renew(&first).await.unwrap() > Duration::from_secs(15));

    let error = store.acquire("the second").await.unwrap_err();
    assert!(error.is_held(), "{error}");
    let text = error.to_string();
    assert!(text.contains("the first rotation"), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(store.import(&list("a")).await.unwrap_err().is_held());

    let epoch = first.epoch();
    store.release(first).await.unwrap();
    let second = store.acquire("the second").await.unwrap();
    assert!(second.epoch() > epoch);
    drop(second);
    assert!(store.acquire("a third").await.unwrap().epoch() > epoch + 1);
}

#[tokio::test]
async fn a_lease_whose_lock_file_was_replaced_can_write_nothing() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let lost = store.acquire("the first").await.unwrap();
    store.save_journal(&lost, b"journal").await.unwrap();
    store.append_history(&lost, &serde_json::json!({"state": "one"})).await.unwrap();

    std::fs::remove_file(store.client_directory().join("lock")).unwrap();
    assert!(store.renew(&lost).await.unwrap_err().is_lease_lost());
    let second = store.acquire("the second").await.unwrap();

    assert!(store.renew(&lost).await.unwrap_err().is_lease_lost());
    let error = store.publish(&lost, Revision::new(1), &list("new"), None).await.unwrap_err();
    assert!(error.is_lease_lost(), "{error}");
    assert!(store.save_journal(&lost, b"other").await.unwrap_err().is_lease_lost());
    let record = serde_json::json!({"state": "two"});
    assert!(store.append_history(&lost, &record).await.unwrap_err().is_lease_lost());

    assert_eq!(ids(&store.published().await.unwrap().unwrap().list), "old");
    assert_eq!(store.journal().await.unwrap().unwrap().as_slice(), b"journal");
    assert_eq!(store.history().await.unwrap().len(), 1);
    // Whoever holds it now is not in the way of its own writes.
    store.publish(&second, Revision::new(1), &list("new"), None).await.unwrap();
    assert!(leftovers(&store).is_empty(), "{:?}", leftovers(&store));
}

#[tokio::test]
async fn a_lease_whose_lock_file_names_another_epoch_can_write_nothing() {
    let (_directory, store) = store();
    let lease = store.acquire("the first").await.unwrap();
    let line = r#"{"epoch":77,"holder":"somebody","process":1,"since_ms":0}"#;
    std::fs::write(store.client_directory().join("lock"), format!("{line}\n")).unwrap();
    let error = store.save_journal(&lease, b"x").await.unwrap_err();
    assert!(error.is_lease_lost() && error.to_string().contains("somebody"), "{error}");
    assert_eq!(store.journal().await.unwrap(), None);
}

#[tokio::test]
async fn a_lease_of_another_client_is_none_here() {
    let (_directory, store) = store();
    let other = FileStore::open(store.client_directory().parent().unwrap(), "other").unwrap();
    let lease = other.acquire("test").await.unwrap();
    assert!(store.save_journal(&lease, b"x").await.unwrap_err().is_lease_lost());
}

#[tokio::test]
async fn a_lock_file_that_cannot_be_read_does_not_lower_the_epoch() {
    let (_directory, store) = store();
    let epoch = store.acquire("test").await.unwrap().epoch();
    write_private(&store.client_directory().join("lock"), "{\"epoch\": 12, \"hol");
    assert!(store.acquire("test").await.unwrap().epoch() > epoch.max(12));
}

#[tokio::test]
async fn what_killed_processes_left_goes_when_the_lease_is_taken() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    write_private(&store.client_directory().join(".ring.json.0123456789abcdef.tmp"), "{\"key");
    drop(store.acquire("test").await.unwrap());
    assert!(leftovers(&store).is_empty(), "{:?}", leftovers(&store));
    assert!(store.published().await.unwrap().is_some());
}

#[tokio::test]
async fn files_have_mode_600_and_directories_700_whatever_is_in_them() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let lease = store.acquire("test").await.unwrap();
    store.save_journal(&lease, b"journal").await.unwrap();
    store.append_history(&lease, &serde_json::json!({})).await.unwrap();
    let _instance = store.register(&InstanceReport::new("app", "i-1")).await.unwrap();
    let mut seen = 0;
    let mut directories = vec![store.client_directory().parent().unwrap().to_owned()];
    while let Some(directory) = directories.pop() {
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 7, "ring, journal, lock, history and its head, report, alive");
}

#[tokio::test]
async fn a_file_that_others_can_read_is_refused_with_the_command_that_helps() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let lease = store.acquire("test").await.unwrap();
    store.save_journal(&lease, b"journal").await.unwrap();
    store.append_history(&lease, &serde_json::json!({})).await.unwrap();
    drop(lease);
    let refused = |error: StoreError, advice: String| {
        assert!(error.is_permissions(), "{error}");
        assert!(error.to_string().ends_with(&advice), "{error}");
    };
    for (file, bits) in [("ring.json", 0o640), ("rotation.json", 0o604), ("history.jsonl", 0o660)] {
        let path = store.client_directory().join(file);
        set_mode(&path, bits);
        let error = match file {
            "ring.json" => store.published().await.unwrap_err(),
            "rotation.json" => store.journal().await.unwrap_err(),
            _ => store.history().await.unwrap_err(),
        };
        refused(error, format!("chmod 600 {}", path.display()));
        set_mode(&path, 0o600);
    }
    let lock = store.client_directory().join("lock");
    set_mode(&lock, 0o644);
    let error = store.acquire("test").await.unwrap_err();
    refused(error, format!("chmod 600 {}", lock.display()));

    let client = store.client_directory();
    set_mode(client, 0o750);
    refused(store.published().await.unwrap_err(), format!("chmod 700 {}", client.display()));
    let root = client.parent().unwrap();
    set_mode(root, 0o755);
    let error = FileStore::open(root, "billing").unwrap_err();
    refused(error, format!("chmod 700 {}", root.display()));
    refused(store.published().await.unwrap_err(), format!("chmod 700 {}", root.display()));
}

#[test]
fn a_directory_that_is_missing_or_none_is_refused_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let error = FileStore::open(&missing, "billing").unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(error.to_string().contains(&format!("mkdir -m 700 {}", missing.display())), "{error}");
    assert!(!missing.exists());
    // Only the last directory is made: a path with a mistake in it is not.
    assert!(FileStore::create(missing.join("deep"), "billing").unwrap_err().is_not_found());

    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = FileStore::create(&file, "billing").unwrap_err();
    assert!(error.to_string().contains("it is not a directory"), "{error}");
    assert_eq!(*FileStore::open(directory.path(), "").unwrap_err().kind(), StoreErrorKind::Invalid);
}

#[tokio::test]
async fn each_fault_of_the_list_has_its_own_error_with_the_path_and_no_secret() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let path = store.client_directory().join("ring.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let cases = [
        (String::new(), "is empty"),
        (good[..good.len() - 10].to_owned(), "ends in the middle"),
        (good.replace("\"keyswap\": 1", "\"keyswap\": 9"), "of version 9"),
        (good.replace("\"revision\": 1", "\"revision\": 0"), "has no revision"),
        (good.replace("\"secrets\"", "\"secret\""), "unknown"),
        (CANARY.to_owned(), "not JSON"),
    ];
    for (text, reason) in cases {
        write_private(&path, text);
        let error = store.published().await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::Invalid);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(reason) && shown.contains("ring.json"), "{shown}");
        assert!(!shown.contains(CANARY), "{shown}");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = store.published().await.unwrap_err();
    assert!(error.to_string().contains("it is a directory; a file is expected"), "{error}");
    std::fs::remove_dir(&path).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = store.published().await.unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn a_directory_of_another_user_is_refused_with_both_users_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    drop(FileStore::create(&path, "billing").unwrap());
    // Only root can give it away; anybody else finds a directory of another user in the root.
    let place = match std::os::unix::fs::chown(&path, Some(12345), None) {
        Ok(()) => path,
        Err(_) => "/".into(),
    };
    let error = FileStore::open(&place, "billing").unwrap_err();
    assert!(error.is_permissions(), "{error}");
    let text = error.to_string();
    assert!(text.contains("it belongs to user") && text.contains("runs as user"), "{text}");
}

#[tokio::test]
async fn a_publication_that_was_given_up_never_lands_after_the_next_lease() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    for round in 0..100u64 {
        let lease = store.acquire("given up").await.unwrap();
        let revision = store.published().await.unwrap().unwrap().revision;
        let given_up = list("old given-up");
        tokio::select! {
            biased;
            _ = store.publish(&lease, revision, &given_up, None) => {}
            () = async { for _ in 0..round % 5 { tokio::task::yield_now().await } } => {}
        }
        drop(lease);
        let lease =
            common::eventually("the lease is free", async || store.acquire("the next").await.ok())
                .await;
        // Whatever the first did is done by now: what is read stays until we replace it.
        let revision = store.published().await.unwrap().unwrap().revision;
        store.save_journal(&lease, b"some time passes").await.unwrap();
        store.publish(&lease, revision, &list("old next"), None).await.unwrap();
        assert_eq!(ids(&store.published().await.unwrap().unwrap().list), "old next");
    }
}

#[tokio::test]
async fn a_publication_onto_a_broken_list_replaces_nothing() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let lease = store.acquire("test").await.unwrap();
    let path = store.client_directory().join("ring.json");
    write_private(&path, "{\"keyswap\"");
    assert!(store.publish(&lease, Revision::new(1), &list("new"), None).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"keyswap\"");
}

#[tokio::test]
async fn clients_of_one_directory_do_not_see_each_other() {
    let (_directory, store) = store();
    let root = store.client_directory().parent().unwrap();
    store.import(&list("mine")).await.unwrap();
    for client in ["../billing", "billing/", "Billing.", "."] {
        let other = FileStore::open(root, client).unwrap();
        assert_eq!(other.published().await.unwrap(), None, "{client}");
        other.import(&list("theirs")).await.unwrap();
        assert_eq!(other.client_directory().parent().unwrap(), root);
    }
    assert_eq!(ids(&store.published().await.unwrap().unwrap().list), "mine");
}

#[tokio::test]
async fn looking_at_a_client_that_is_not_there_makes_no_directory() {
    let (_directory, store) = store();
    assert_eq!(store.published().await.unwrap(), None);
    assert_eq!(store.journal().await.unwrap(), None);
    assert!(store.instances().await.unwrap().is_empty());
    assert!(store.history().await.unwrap().is_empty());
    assert!(!store.client_directory().exists());
}

#[tokio::test]
async fn no_debug_of_what_can_reach_a_secret_shows_one() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let lease = store.acquire("test").await.unwrap();
    let registration = store.register(&InstanceReport::new("app", "i-1")).await.unwrap();
    let (ring, follow) =
        keyswap_store::Follow::start(store.clone(), Default::default()).await.unwrap();
    let presence = keyswap_store::Presence::register(&store, "app").await.unwrap();
    let watch = store.watch().await.unwrap();
    let document = store.published().await.unwrap();
    let error = store.publish(&lease, Revision::new(7), &list("old"), None).await.unwrap_err();
    let shown = format!(
        "{store:#?} {lease:#?} {registration:#?} {ring:#?} {follow:#?} {presence:#?} {watch:#?} \
         {document:#?} {error:#?} {:#?} {:#?}",
        follow.status(),
        store.instances().await.unwrap(),
    );
    assert!(shown.contains("old") && !shown.contains(CANARY), "{shown}");
}

fn leftovers(store: &FileStore) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(store.client_directory()).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "tmp"))
        .collect()
}
