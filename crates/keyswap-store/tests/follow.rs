//! Hot reload: a changed list reaches the ring; a broken one changes nothing and says so once.

mod common;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{
    CANARY, Following, Log, eventually, in_use, list, next_problem, rename_over, store, takes,
};
use keyswap_core::{Attempts, FallbackPolicy, Next, Revision, SecretDocument, SecretRing, Verdict};
use keyswap_store::{FileStore, Follow, SecretSource, SecretStore};
use tempfile::TempDir;

/// A document without a revision, as a person writes it.
fn document(of: &str) -> Vec<u8> {
    let document =
        SecretDocument { revision: Revision::INITIAL, attest_every: None, list: list(of) };
    document.to_json().to_vec()
}

/// Waits until the store is followed, and gives the revision that is in use then.
async fn begun(store: &FileStore, ring: &SecretRing) -> Revision {
    let lease = store.acquire("test").await.unwrap();
    let revision = ring.snapshot().revision();
    let revision = store.publish(&lease, revision, &list("begun"), None).await.unwrap();
    takes(ring, "begun").await;
    revision
}

/// Puts a list where no watch of the directory that was there sees it.
fn put_in_another_directory(store: &FileStore, revision: Revision, of: &str) {
    let client = store.client_directory();
    std::fs::rename(client, client.with_file_name("aside")).unwrap();
    std::fs::create_dir(client).unwrap();
    common::set_mode(client, 0o700);
    let document = SecretDocument { revision, attest_every: None, list: list(of) };
    common::write_private(&client.join("ring.json"), &*document.to_json());
}

async fn following_a_file() -> (TempDir, PathBuf, SecretRing, keyswap_store::FollowStatus, Following)
{
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secrets.json");
    std::fs::write(&path, document("a")).unwrap();
    let (ring, follow) = Follow::start_file(&path, FallbackPolicy::default()).await.unwrap();
    let status = follow.status();
    (directory, path, ring, status, Following(tokio::spawn(follow.run())))
}

#[tokio::test]
async fn a_published_list_reaches_the_ring_well_before_the_slow_poll() {
    let (_directory, store) = store();
    // So slow that only an event can be what brings the change.
    let store = store.poll(Duration::from_secs(600));
    store.import(&list("old")).await.unwrap();
    let (ring, follow) = Follow::start(store.clone(), FallbackPolicy::default()).await.unwrap();
    let _following = Following(tokio::spawn(follow.run()));
    let lease = store.acquire("test").await.unwrap();
    let mut revision = Revision::new(1);
    for expected in ["old new", "new old", "new"] {
        revision = store.publish(&lease, revision, &list(expected), None).await.unwrap();
        takes(&ring, expected).await;
        assert_eq!(ring.snapshot().revision(), revision);
    }
}

#[tokio::test]
async fn a_list_that_was_published_between_the_first_read_and_run_is_taken() {
    let (_directory, store) = store();
    let store = store.poll(Duration::from_secs(600));
    store.import(&list("old")).await.unwrap();
    let (ring, follow) = Follow::start(store.clone(), FallbackPolicy::default()).await.unwrap();
    let lease = store.acquire("test").await.unwrap();
    store.publish(&lease, Revision::new(1), &list("new"), None).await.unwrap();
    let _following = Following(tokio::spawn(follow.run()));
    takes(&ring, "new").await;
}

#[tokio::test]
async fn without_events_the_slow_poll_finds_the_change() {
    let (_directory, store) = store();
    let store = store.poll(Duration::from_millis(30));
    store.import(&list("old")).await.unwrap();
    let (ring, follow) = Follow::start(store.clone(), FallbackPolicy::default()).await.unwrap();
    let _following = Following(tokio::spawn(follow.run()));
    let revision = begun(&store, &ring).await;
    // The watched directory is moved away and another takes its place: its events are of no use.
    put_in_another_directory(&store, revision.next(), "other");
    takes(&ring, "other").await;
}

#[tokio::test]
async fn a_store_without_a_list_is_an_error_at_the_start_that_says_what_to_do() {
    let (_directory, store) = store();
    let error = Follow::start(store, FallbackPolicy::default()).await.unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("keyswap init"), "{error}");
}

#[tokio::test]
async fn a_request_that_was_refused_with_every_secret_gets_the_newer_list() {
    let (_directory, store) = store();
    let store = store.poll(Duration::from_secs(600));
    store.import(&list("old")).await.unwrap();
    let (ring, follow) = Follow::start(store.clone(), FallbackPolicy::default()).await.unwrap();
    let _following = Following(tokio::spawn(follow.run()));
    let revision = begun(&store, &ring).await;
    // No event tells of the list that comes.
    put_in_another_directory(&store, revision.next(), "new");

    let (mut attempts, first) = Attempts::begin(&ring);
    assert_eq!(first.id().as_str(), "begun");
    match attempts.conclude(Verdict::Refused, Instant::now()) {
        Next::WaitForRevision(_, wait) => assert!(wait > Duration::ZERO),
        other => panic!("expected to wait for the follower, got {other:?}"),
    }
    takes(&ring, "new").await;
}

#[tokio::test]
async fn a_file_that_is_written_in_place_or_renamed_over_is_taken_each_time() {
    let (_directory, path, ring, _, _following) = following_a_file().await;
    for round in 0..3 {
        std::fs::write(&path, document(&format!("written{round} a"))).unwrap();
        takes(&ring, &format!("written{round} a")).await;
        rename_over(&path, document(&format!("renamed{round} a")));
        takes(&ring, &format!("renamed{round} a")).await;
    }
    assert_eq!(ring.snapshot().revision(), Revision::new(6));
}

#[tokio::test]
async fn a_broken_file_keeps_the_last_good_list_warns_once_and_is_taken_when_it_is_good_again() {
    let (log, _guard) = Log::collect();
    let (_directory, path, ring, mut status, _following) = following_a_file().await;
    let good = document("a");
    let reasons = [
        (&b""[..], "is empty"),
        (&good[..good.len() - 9], "ends in the middle"),
        (b"{\"keyswap\": 2}", "of version 2"),
        (b"hunter2", "not JSON"),
    ];
    for (text, reason) in reasons {
        rename_over(&path, text);
        let problem = next_problem(&mut status).await;
        assert!(problem.contains(reason) && problem.contains("secrets.json"), "{problem}");
        assert_eq!(in_use(&ring), "a");
    }
    std::fs::remove_file(&path).unwrap();
    let problem = next_problem(&mut status).await;
    assert!(problem.contains("secrets.json"), "{problem}");
    let warnings = reasons.len() + 1;
    assert_eq!(log.count("WARN"), warnings, "{}", log.text());

    // The same fault again, in other words: nothing new to say.
    std::fs::create_dir(&path).unwrap();
    let problem = next_problem(&mut status).await;
    assert!(problem.contains("it is a directory"), "{problem}");
    std::fs::write(path.with_extension("unrelated"), "").unwrap();
    std::fs::remove_dir(&path).unwrap();
    rename_over(&path, document("b a"));
    takes(&ring, "b a").await;
    eventually("the problem is gone", async || status.problem().is_none().then_some(())).await;
    assert!(log.count("the list can be read again") == 1, "{}", log.text());
    assert!(log.count("WARN") <= warnings + 2, "{}", log.text());
    assert!(!log.text().contains(CANARY), "{}", log.text());
}

#[tokio::test]
async fn a_fault_that_lasts_is_warned_of_once_however_often_it_is_read() {
    let (log, _guard) = Log::collect();
    let (_directory, path, ring, mut status, _following) = following_a_file().await;
    rename_over(&path, "hunter2");
    next_problem(&mut status).await;
    for _ in 0..5 {
        let before = log.count("reading the list");
        // Each request that is refused with every secret makes it read again.
        let (mut attempts, _) = Attempts::begin(&ring);
        let next = attempts.conclude(Verdict::Refused, Instant::now());
        assert!(matches!(next, Next::WaitForRevision(..)), "{next:?}");
        let _ = attempts.conclude(Verdict::Accepted, Instant::now());
        eventually("it reads again", async || {
            (log.count("reading the list") > before).then_some(())
        })
        .await;
    }
    rename_over(&path, document("b"));
    takes(&ring, "b").await;
    assert_eq!(log.count("WARN"), 1, "{}", log.text());
}

#[tokio::test]
async fn a_list_under_a_revision_that_did_not_grow_is_not_taken_and_said_so() {
    let (_directory, path, ring, mut status, _following) = following_a_file().await;
    let numbered = |revision: u64, of: &str| {
        let revision = Revision::new(revision);
        SecretDocument { revision, attest_every: None, list: list(of) }.to_json().to_vec()
    };
    rename_over(&path, numbered(7, "b a"));
    takes(&ring, "b a").await;
    assert_eq!(ring.snapshot().revision(), Revision::new(7));
    rename_over(&path, numbered(7, "c a"));
    let problem = next_problem(&mut status).await;
    assert!(problem.contains("raise the revision"), "{problem}");
    rename_over(&path, numbered(6, "b a"));
    let problem = next_problem(&mut status).await;
    assert!(problem.contains("older than revision 7"), "{problem}");
    assert_eq!(in_use(&ring), "b a");
    rename_over(&path, numbered(8, "c a"));
    takes(&ring, "c a").await;
}

#[tokio::test]
async fn its_logs_hold_ids_and_revisions_and_no_secret() {
    let (log, _guard) = Log::collect();
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let (ring, follow) = Follow::start(store.clone(), FallbackPolicy::default()).await.unwrap();
    let _following = Following(tokio::spawn(follow.run()));
    let lease = store.acquire("test").await.unwrap();
    store.publish(&lease, Revision::new(1), &list("old new"), None).await.unwrap();
    takes(&ring, "old new").await;
    let text = log.text();
    assert!(text.contains("revision=2") && text.contains("[old, new]"), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}

#[tokio::test]
async fn a_watch_is_quiet_while_nothing_changes_and_reading_does_not_wake_it() {
    use keyswap_store::Watch;
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let mut watch = store.watch().await.unwrap();
    for _ in 0..20 {
        store.published().await.unwrap();
        store.instances().await.unwrap();
    }
    let lease = store.acquire("test").await.unwrap();
    store.save_journal(&lease, b"not the list").await.unwrap();
    store.append_history(&lease, &serde_json::json!({})).await.unwrap();
    // That nothing happens can only be seen by waiting for a while: ten times what an event takes.
    let woken = tokio::time::timeout(Duration::from_millis(200), watch.changed()).await;
    assert!(woken.is_err(), "it woke up, and nothing was published");
    store.publish(&lease, Revision::new(1), &list("new"), None).await.unwrap();
    tokio::time::timeout(Duration::from_secs(4), watch.changed()).await.unwrap();
}

/// How often the list is looked at in `hours` of paused time, by what begins with this.
async fn looks(log: &Log, follow: Follow, hours: u64) -> usize {
    let _following = Following(tokio::spawn(follow.run()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = log.count("reading the list");
    tokio::time::sleep(Duration::from_secs(hours * 3600)).await;
    log.count("reading the list") - before
}

#[tokio::test(start_paused = true)]
async fn at_rest_the_content_is_compared_every_5_seconds_and_no_more_often() {
    let (log, _guard) = Log::collect();
    let (directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let policy = FallbackPolicy::default;
    let (_ring, follow) = Follow::start(store, policy()).await.unwrap();
    let of_store = looks(&log, follow, 1).await;

    let path = directory.path().join("client-secret");
    std::fs::write(&path, "hunter2-1").unwrap();
    let lines = SecretSource::lines(&path);
    let (_ring, follow) = Follow::start_from(lines.clone(), policy()).await.unwrap();
    let of_lines = looks(&log, follow, 1).await;
    let (_ring, follow) = Follow::start_from(lines, policy()).await.unwrap();
    // A fault that lasts costs no more, and neither does a directory that is gone.
    std::fs::remove_file(&path).unwrap();
    let of_missing = looks(&log, follow, 1).await;
    for (looked, what) in [(of_store, "store"), (of_lines, "lines"), (of_missing, "missing")] {
        assert!((700..=721).contains(&looked), "{looked} looks in an hour: {what}");
    }
    assert_eq!(log.count("the list in use is kept"), 1, "{}", log.text());
}

#[tokio::test]
async fn a_busy_directory_is_looked_at_no_more_often_than_ten_times_a_second() {
    let (log, _guard) = Log::collect();
    let (directory, path, ring, _, _following) = following_a_file().await;
    eventually("it reads", async || (log.count("reading the list") > 0).then_some(())).await;
    let (before, began) = (log.count("reading the list"), Instant::now());
    for round in 0..400 {
        std::fs::write(directory.path().join("a.log"), format!("{round}")).unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (looked, took) = (log.count("reading the list") - before, began.elapsed());
    assert!(looked > 0, "no event of another file is a hint any more");
    let most = took.as_millis() / 100 + 2;
    assert!(looked as u128 <= most, "{looked} looks in {took:?}, while others wrote");
    rename_over(&path, document("b a"));
    takes(&ring, "b a").await;
}
