//! Following what people have already: a plain file, a directory of files, the environment. A changed list
//! reaches the ring; a broken one changes nothing and says so once.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{
    CANARY, Following, Log, child_directory, eventually, in_use, next_problem, rename_over, takes,
};
use keyswap_core::{Attempts, FallbackPolicy, Next, SecretRing, Verdict};
use keyswap_store::{Follow, FollowStatus, SecretSource, StoreError};
use tempfile::TempDir;

/// So slow that only an event can be what brings a change.
const NEVER: Duration = Duration::from_secs(600);

/// Each name as a secret of its own, one a line.
fn lines(of: &str) -> String {
    of.split(' ').map(|name| format!("{CANARY}-{name}\n")).collect()
}

/// The values in use, without what they have in common.
fn values(ring: &SecretRing) -> String {
    let snapshot = ring.snapshot();
    let values = snapshot.published().iter().map(|secret| {
        secret.expose().strip_prefix(CANARY).unwrap().trim_start_matches('-').to_owned()
    });
    values.collect::<Vec<_>>().join(" ")
}

async fn start(source: SecretSource) -> (SecretRing, FollowStatus, Following) {
    let (ring, follow) = Follow::start_from(source, FallbackPolicy::default()).await.unwrap();
    let status = follow.status();
    (ring, status, Following(tokio::spawn(follow.run())))
}

async fn refused(source: SecretSource) -> StoreError {
    let error = Follow::start_from(source, FallbackPolicy::default()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
    error
}

fn file(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client-secret");
    fs::write(&path, text).unwrap();
    (directory, path)
}

/// Waits until a read that began after this call is over: the poll has to be a short one.
async fn reads_again(log: &Log) {
    let before = log.count("reading the list");
    eventually("it reads twice", async || {
        (log.count("reading the list") >= before + 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_plain_file_is_taken_whether_it_is_written_in_place_or_renamed_over() {
    let (_directory, path) = file(lines("a"));
    let (ring, _, _following) = start(SecretSource::lines(&path).poll(NEVER)).await;
    assert_eq!(in_use(&ring), "client-secret.1");
    fs::write(&path, lines("b a")).unwrap();
    takes(&ring, "client-secret.2 client-secret.1").await;
    rename_over(&path, lines("c b").trim_end());
    takes(&ring, "client-secret.3 client-secret.2").await;
    assert_eq!(values(&ring), "c b");
    // The same secrets in another order are the same secrets.
    rename_over(&path, lines("b c").replace('\n', "\r\n"));
    takes(&ring, "client-secret.2 client-secret.3").await;
    assert_eq!(values(&ring), "b c");
}

#[tokio::test]
async fn what_a_secret_was_used_for_stays_with_it_when_it_moves_to_another_line() {
    let (_directory, path) = file(lines("a"));
    let (ring, _, _following) = start(SecretSource::lines(&path)).await;
    let (mut attempts, _) = Attempts::begin(&ring);
    let _ = attempts.conclude(Verdict::Accepted, Instant::now());
    rename_over(&path, lines("b a"));
    takes(&ring, "client-secret.2 client-secret.1").await;
    let usage = ring.usage();
    assert_eq!(usage.of(&"client-secret.1".parse().unwrap()).unwrap().accepted, 1);
    assert_eq!(usage.of(&"client-secret.2".parse().unwrap()).unwrap().accepted, 0);
}

#[tokio::test]
async fn a_file_that_changes_where_no_event_tells_is_found_by_the_poll() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("secret"), lines("a")).unwrap();
    let watched = directory.path().join("watched");
    fs::create_dir(&watched).unwrap();
    let link = watched.join("client-secret");
    std::os::unix::fs::symlink(elsewhere.join("secret"), &link).unwrap();
    let source = SecretSource::lines(&link).poll(Duration::from_millis(100));
    let (ring, _, _following) = start(source).await;
    // The first of these may be seen as it begins.
    for (value, expected) in [("b", "client-secret.2"), ("c", "client-secret.3")] {
        rename_over(&elsewhere.join("secret"), lines(value));
        takes(&ring, expected).await;
    }
}

#[tokio::test]
async fn a_broken_plain_file_keeps_the_last_good_list_and_each_fault_is_warned_of_once() {
    let (log, _guard) = Log::collect();
    let (_directory, path) = file(lines("a"));
    let source = SecretSource::lines(&path).poll(Duration::from_millis(100));
    let (ring, mut status, _following) = start(source).await;
    let many: String = (0..17).map(|n| format!("{CANARY}-{n}\n")).collect();
    let large = vec![b'x'; 200_000];
    let faults: [(&[u8], &str); 7] = [
        (b"", "it is empty"),
        (b"hunter2\n \n", "line 2 holds only white space"),
        (b"hunter2\nhunter2\x01\n", "line 2: the client secret holds a control character"),
        (b"hunter2\xff", "not UTF-8"),
        (many.as_bytes(), "17 secrets; the most that are taken is 16"),
        (&large, "200000 bytes"),
        (b"{\"keyswap\": 1, \"secrets\": [{\"id\": \"a\", \"value\": \"hunter2\"}]}", "document"),
    ];
    for (text, reason) in faults {
        rename_over(&path, text);
        let problem = next_problem(&mut status).await;
        assert!(problem.contains(reason) && problem.contains("client-secret"), "{problem}");
        reads_again(&log).await;
        assert_eq!(values(&ring), "a");
    }
    fs::remove_file(&path).unwrap();
    let problem = next_problem(&mut status).await;
    assert!(problem.contains("No such file") && problem.contains("put it there"), "{problem}");
    reads_again(&log).await;
    assert_eq!(log.count("WARN"), faults.len() + 1, "{}", log.text());
    assert_eq!(log.count("can be read again"), 0, "{}", log.text());

    rename_over(&path, lines("b a"));
    takes(&ring, "client-secret.2 client-secret.1").await;
    eventually("it is good again", async || status.problem().is_none().then_some(())).await;
    reads_again(&log).await;
    assert_eq!(log.count("can be read again"), 1, "{}", log.text());
    assert_eq!(log.count("WARN"), faults.len() + 1, "{}", log.text());
    assert!(!log.text().contains(CANARY), "{}", log.text());
}

#[tokio::test]
async fn a_file_that_it_may_not_read_keeps_the_list_and_says_who_may_help() {
    const THIS: &str = "a_file_that_it_may_not_read_keeps_the_list_and_says_who_may_help";
    let Some(directory) = child_directory() else {
        // In a user namespace of its own even root may not read what its mode forbids.
        let (directory, _) = file(lines("a"));
        match common::run_child_behind(&["unshare", "-U"], THIS, directory.path()) {
            Some(status) => assert!(status.success()),
            None => eprintln!("left out: this machine has no user namespaces"),
        }
        return;
    };
    let path = directory.join("client-secret");
    let (ring, mut status, _following) = start(SecretSource::lines(&path)).await;
    common::set_mode(&path, 0o000);
    let problem = next_problem(&mut status).await;
    assert!(
        problem.contains("Permission denied") && problem.contains("right to read"),
        "{problem}"
    );
    assert_eq!(values(&ring), "a");
    assert!(refused(SecretSource::lines(&path)).await.is_permissions());
    common::set_mode(&path, 0o400);
    eventually("it is good again", async || status.problem().is_none().then_some(())).await;
}

#[tokio::test]
async fn the_files_of_a_directory_are_a_list_in_the_order_of_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    put("1-old", &lines("a"));
    for passed_over in [".hidden", "0-backup~"] {
        put(passed_over, "hunter2-not-this");
    }
    fs::create_dir(directory.path().join("0-directory")).unwrap();
    let (ring, mut status, _following) =
        start(SecretSource::directory(directory.path()).poll(NEVER)).await;
    assert_eq!(in_use(&ring), "1-old.1");
    put("0-new", "hunter2-b");
    takes(&ring, "0-new.1 1-old.1").await;
    // The new one moves to where the old one was.
    put("1-old", "hunter2-b");
    takes(&ring, "0-new.1").await;
    put("0-new", "hunter2-c");
    takes(&ring, "0-new.2 0-new.1").await;
    assert_eq!(values(&ring), "c b");
    put("1-old", "hunter2-b\nhunter2-d");
    let problem = next_problem(&mut status).await;
    assert!(problem.contains("1-old: it holds several lines"), "{problem}");
    fs::remove_file(directory.path().join("1-old")).unwrap();
    takes(&ring, "0-new.2").await;
}

#[tokio::test]
async fn named_files_are_a_list_in_the_order_given_and_one_that_is_missing_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    put("client-id", "billing");
    put("secret", "hunter2-a");
    let source = SecretSource::files(directory.path(), ["secret", "before", "after"]);
    let (ring, status, _following) = start(source.poll(NEVER)).await;
    assert_eq!(values(&ring), "a");
    put("after", "hunter2-z");
    takes(&ring, "secret.1 after.1").await;
    put("before", "hunter2-b");
    takes(&ring, "secret.1 before.1 after.1").await;
    for name in ["secret", "before", "after"] {
        fs::remove_file(directory.path().join(name)).unwrap();
    }
    let problem = eventually("it says so", async || {
        status.problem().filter(|problem| problem.contains("none of the files"))
    })
    .await;
    assert!(problem.contains("the files secret, before, after"), "{problem}");
}

#[tokio::test]
async fn what_is_no_list_at_the_start_is_an_error_that_says_what_to_do() {
    let (directory, path) = file(lines("a"));
    let directory = directory.path();
    let missing = refused(SecretSource::lines(directory.join("missing"))).await;
    assert!(missing.is_not_found(), "{missing}");
    let empty = directory.join("empty");
    fs::create_dir(&empty).unwrap();
    let many = directory.join("many");
    fs::create_dir(&many).unwrap();
    for n in 0..17 {
        fs::write(many.join(n.to_string()), format!("{CANARY}-{n}")).unwrap();
    }
    let pipe = directory.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let cases = [
        (SecretSource::lines(&empty), "SecretSource::directory"),
        (SecretSource::directory(&path), "SecretSource::lines"),
        (SecretSource::directory(&empty), "it holds no file"),
        (SecretSource::directory(&many), "17 files"),
        (SecretSource::files(directory, ["x"]), "none of the files x"),
        (SecretSource::lines(&pipe), "not a regular file"),
        (SecretSource::document(&path), "not JSON"),
    ];
    for (source, reason) in cases {
        let error = refused(source).await.to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn an_environment_variable_is_read_once_and_said_to_be_that() {
    const THIS: &str = "an_environment_variable_is_read_once_and_said_to_be_that";
    let Some(_) = child_directory() else {
        let behind = ["env", "BILLING_CLIENT_SECRET=hunter2-b\nhunter2-a\n"];
        let status = common::run_child_behind(&behind, THIS, Path::new("."));
        assert!(status.expect("env is there").success());
        return;
    };
    let (log, _guard) = Log::collect();
    let source = SecretSource::environment("BILLING_CLIENT_SECRET");
    // No window in which nodes disagree, so that a request makes one pass.
    let policy = FallbackPolicy::default().propagation_window(Duration::ZERO);
    let (ring, follow) = Follow::start_from(source, policy).await.unwrap();
    assert_eq!(values(&ring), "b a");
    assert_eq!(in_use(&ring), "BILLING_CLIENT_SECRET.1 BILLING_CLIENT_SECRET.2");
    let never = follow.never_updates().unwrap();
    assert!(never.contains("never sees another value"), "{never}");
    assert!(!format!("{follow:?}").contains(CANARY), "{follow:?}");
    let _following = Following(tokio::spawn(follow.run()));
    eventually("it says so", async || (log.count("WARN") == 1).then_some(())).await;

    // Nobody waits for a list that never comes: both are refused, and that is that.
    let (mut attempts, _) = Attempts::begin(&ring);
    assert!(matches!(attempts.conclude(Verdict::Refused, Instant::now()), Next::Send(_)));
    match attempts.conclude(Verdict::Refused, Instant::now()) {
        Next::Done => {}
        other => panic!("it waits for another environment: {other:?}"),
    }
    assert!(std::env::var_os("BILLING_CLIENT_SECRET").is_some(), "it is left where it was");
    assert!(!log.text().contains(CANARY), "{}", log.text());
}

#[tokio::test]
async fn a_directory_at_rest_is_read_no_more_often_than_the_poll_says() {
    let (log, _guard) = Log::collect();
    let (directory, _) = file(lines("a"));
    let source = SecretSource::directory(directory.path()).poll(NEVER);
    let (_, _, _following) = start(source).await;
    eventually("it reads", async || (log.count("reading the list") > 0).then_some(())).await;
    // That nothing happens can only be seen by waiting for a while: several times what a read that woke
    // itself would take.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(log.count("reading the list"), 1, "{}", log.text());
}
