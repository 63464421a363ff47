//! What instances say of themselves, and when.

mod common;

use std::time::{Duration, Instant};

use common::{Log, eventually, list, set_mode, store, write_private};
use keyswap_core::{Attempts, FallbackPolicy, Revision, SecretList, SecretRing, Verdict};
use keyswap_store::{FileStore, InstanceReport, Presence, SecretStore, join};

const TICK: Duration = Duration::from_millis(20);

/// The report of the only instance.
async fn report(store: &FileStore) -> Option<InstanceReport> {
    let mut instances = store.instances().await.unwrap();
    assert!(instances.len() <= 1, "{instances:?}");
    instances.pop()?.report.ok()
}

async fn reports(
    store: &FileStore,
    what: &str,
    mut accept: impl FnMut(&InstanceReport) -> bool,
) -> InstanceReport {
    eventually(what, async || report(store).await.filter(|report| accept(report))).await
}

fn used(report: &InstanceReport, id: &str) -> u64 {
    let usage = report.usage.as_ref().unwrap();
    usage.of(&id.parse().unwrap()).map_or(0, |usage| usage.used())
}

/// A request whose secret the server accepts.
fn request(ring: &SecretRing) {
    let (mut attempts, _) = Attempts::begin(ring);
    let _ = attempts.conclude(Verdict::Accepted, Instant::now());
}

/// A request whose first secret is refused, and whose second is accepted.
fn fall_back(ring: &SecretRing) {
    let (mut attempts, _) = Attempts::begin(ring);
    let _ = attempts.conclude(Verdict::Refused, Instant::now());
    let _ = attempts.conclude(Verdict::Accepted, Instant::now());
}

async fn present(
    ids: &str,
) -> (tempfile::TempDir, FileStore, SecretRing, tokio::task::JoinHandle<()>) {
    let (directory, store) = store();
    store.import(&list(ids)).await.unwrap();
    let presence = Presence::register(&store, "invoices").await.unwrap().tick(TICK);
    let document = store.published().await.unwrap().unwrap();
    let ring = SecretRing::with_policy(document.list, document.revision, FallbackPolicy::default());
    let running = tokio::spawn(presence.run(ring.clone()));
    (directory, store, ring, running)
}

#[tokio::test]
async fn an_instance_registers_before_it_reads_and_holds_no_revision_then() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let presence = Presence::register(&store, "invoices").await.unwrap();
    let instances = store.instances().await.unwrap();
    assert_eq!(instances.len(), 1);
    assert!(instances[0].live);
    assert_eq!(instances[0].instance, presence.instance());
    let report = instances[0].report.as_ref().unwrap();
    assert_eq!((report.application.as_str(), report.revision), ("invoices", None));
    assert_eq!(report.usage, None);
    drop(presence);
    assert!(store.instances().await.unwrap().is_empty());
}

#[tokio::test]
async fn joining_a_store_without_a_list_registers_nobody_for_good() {
    let (_directory, store) = store();
    let Err(error) = join(store.clone(), "invoices", FallbackPolicy::default()).await else {
        panic!("there is no list to read");
    };
    assert!(error.is_not_found(), "{error}");
    assert!(store.instances().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_member_follows_the_store_and_reports_each_revision_that_its_ring_took() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let (ring, member) = join(store.clone(), "invoices", FallbackPolicy::default()).await.unwrap();
    let member = tokio::spawn(member);
    reports(&store, "revision 1", |report| report.revision == Some(Revision::new(1))).await;
    let lease = store.acquire("test").await.unwrap();
    store.publish(&lease, Revision::new(1), &list("old new"), None).await.unwrap();
    let report =
        reports(&store, "revision 2", |report| report.revision == Some(Revision::new(2))).await;
    assert_eq!(ring.snapshot().revision(), Revision::new(2));
    let ids: Vec<_> =
        report.usage.unwrap().secrets.iter().map(|usage| usage.id.to_string()).collect();
    assert_eq!(ids, ["old", "new"]);

    member.abort();
    eventually("the instance is removed", async || {
        store.instances().await.unwrap().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_reported_is_the_ring_and_not_the_store() {
    let (_directory, store, ring, running) = present("old").await;
    reports(&store, "revision 1", |report| report.revision == Some(Revision::new(1))).await;
    let lease = store.acquire("test").await.unwrap();
    store.publish(&lease, Revision::new(1), &list("old new"), None).await.unwrap();
    // Nothing follows here: a use makes it report, and what it reports is what it holds.
    request(&ring);
    let report =
        reports(&store, "a use", |report| report.usage.is_some() && used(report, "old") > 0).await;
    assert_eq!(report.revision, Some(Revision::new(1)));
    running.abort();
}

#[tokio::test]
async fn an_order_that_was_learnt_is_reported() {
    let (_directory, store, ring, running) = present("old new").await;
    let first = reports(&store, "the first report", |report| report.revision.is_some()).await;
    assert!(ring.promote(&"new".parse().unwrap(), &"old".parse().unwrap()));
    let report = reports(&store, "the new order", |report| {
        report.usage.as_ref().is_some_and(|usage| usage.secrets[0].id.as_str() == "new")
    })
    .await;
    assert_eq!(report.revision, first.revision);
    assert!(report.sequence > first.sequence);
    running.abort();
}

#[tokio::test]
async fn a_first_use_and_a_use_of_an_old_secret_are_reported_and_other_uses_are_not() {
    let (_directory, store, ring, running) = present("new old").await;
    reports(&store, "the first report", |report| report.revision.is_some()).await;
    let began = Instant::now();
    request(&ring);
    let first = reports(&store, "a first use", |report| used(report, "new") == 1).await;

    // More uses of the preferred secret are no news, however often it looks at them.
    for _ in 0..100 {
        request(&ring);
        tokio::time::sleep(TICK / 10).await;
    }
    fall_back(&ring);
    let second = reports(&store, "a use of old", |report| used(report, "old") == 1).await;
    assert_eq!(used(&second, "new"), 102);
    // Beside an old secret they are told of every 5 s at most, should it take that long.
    let most = 1 + began.elapsed().as_secs() / 5;
    let reported = second.sequence - first.sequence;
    assert!((1..=most).contains(&reported), "the hundred uses in between were reported");
    fall_back(&ring);
    reports(&store, "another use of old", |report| used(report, "old") == 2).await;
    running.abort();
}

#[tokio::test]
async fn while_the_document_asks_for_it_reports_come_although_nothing_moves() {
    let (_directory, store, ring, running) = present("old new").await;
    let lease = store.acquire("test").await.unwrap();
    let attest = Some(Duration::from_millis(60));
    let two = store.publish(&lease, Revision::new(1), &list("new old"), attest).await.unwrap();
    assert!(ring.replace_at(list("new old"), two));
    let first = reports(&store, "revision 2", |report| report.revision == Some(two)).await;
    let later =
        reports(&store, "attestations", |report| report.sequence >= first.sequence + 3).await;
    assert_eq!(later.usage, first.usage);
    assert!(later.reported_at_ms >= first.reported_at_ms + 120, "{first:?} {later:?}");

    // And no longer when it does not.
    let three = store.publish(&lease, two, &list("new"), None).await.unwrap();
    assert!(ring.replace_at(list("new"), three));
    let last = reports(&store, "revision 3", |report| report.revision == Some(three)).await;
    request(&ring);
    let used = reports(&store, "a use", |report| used(report, "new") == 1).await;
    assert!(used.sequence <= last.sequence + 2, "{last:?} {used:?}");
    running.abort();
}

#[tokio::test]
async fn a_report_that_fails_is_warned_of_once_and_sent_again() {
    let (log, _guard) = Log::collect();
    let (_directory, store, ring, running) = present("old").await;
    reports(&store, "the first report", |report| report.revision.is_some()).await;
    // A directory in the way of the report.
    let instances = store.client_directory().join("instances");
    let id = store.instances().await.unwrap()[0].instance.clone();
    let path = instances.join(format!("{id}.json"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    request(&ring);
    eventually("the warning", async || (log.count("the report failed") > 0).then_some(())).await;
    // It is live and cannot be read: named, and not taken for ready.
    let instance = store.instances().await.unwrap().pop().unwrap();
    assert!(instance.live);
    assert!(instance.report.unwrap_err().contains("it is a directory"));

    std::fs::remove_dir(&path).unwrap();
    reports(&store, "the report after all", |report| used(report, "old") == 1).await;
    eventually("the all-clear", async || (log.count("arrive again") == 1).then_some(())).await;
    assert_eq!(log.count("WARN"), 1, "{}", log.text());
    assert!(!log.text().contains(common::CANARY));
    running.abort();
}

#[tokio::test]
async fn a_report_that_cannot_be_read_is_an_instance_with_a_reason() {
    let (_directory, store) = store();
    let _registration = store.register(&InstanceReport::new("app", "i-1")).await.unwrap();
    let path = store.client_directory().join("instances/i-1.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let cases = [
        (String::new(), "ends in the middle"),
        (good[..good.len() / 2].to_owned(), "ends in the middle"),
        (good.replace("\"keyswap\":1", "\"keyswap\":3"), "of version 3"),
        (good.replace("\"keyswap\":1,", ""), "no version"),
        (good.replace("\"i-1\"", "\"i-2\""), "the report of instance i-2"),
        ("[]".to_owned(), "no report"),
    ];
    for (text, reason) in cases {
        write_private(&path, text);
        let instance = store.instances().await.unwrap().pop().unwrap();
        assert!(instance.live && instance.instance == "i-1");
        let why = instance.report.unwrap_err();
        assert!(why.contains(reason) && why.contains("i-1.json"), "{why}");
    }
    write_private(&path, good.replace("\"keyswap\":1", "\"keyswap\":1,\"later\":true"));
    assert!(store.instances().await.unwrap()[0].report.is_ok(), "a newer minor version is read");
    set_mode(&path, 0o644);
    let why = store.instances().await.unwrap().pop().unwrap().report.unwrap_err();
    assert!(why.contains("chmod 600"), "{why}");
    std::fs::remove_file(&path).unwrap();
    let why = store.instances().await.unwrap().pop().unwrap().report.unwrap_err();
    assert!(why.contains("has not written a report"), "{why}");
}

#[tokio::test]
async fn a_fleet_of_hundreds_is_listed_whole_and_in_the_order_of_the_ids() {
    let (_directory, store) = store();
    let instances = store.client_directory().join("instances");
    let usage = SecretRing::new(list("old new")).usage();
    let mut registrations = Vec::new();
    for number in 0..300 {
        let report = InstanceReport::new("app", format!("i-{number:03}"));
        let registration = store.register(&report).await.unwrap();
        store.report(&registration, &report.next(usage.clone())).await.unwrap();
        registrations.push(registration);
    }
    write_private(&instances.join("i-127.json"), "{");
    std::fs::remove_file(instances.join("i-128.json")).unwrap();
    std::fs::remove_file(instances.join("i-256.alive")).unwrap();
    let found = store.instances().await.unwrap();
    assert_eq!(found.len(), 300);
    for (number, instance) in found.into_iter().enumerate() {
        assert_eq!(instance.instance, format!("i-{number:03}"));
        assert_eq!(instance.live, number != 256);
        match (number, instance.report) {
            (127, Err(reason)) => {
                assert!(reason.contains("i-127.json: the report ends"), "{reason}")
            }
            (128, Err(reason)) => assert!(reason.contains("has not written a report"), "{reason}"),
            (_, report) => assert_eq!(report.unwrap().usage.unwrap(), usage),
        }
    }
}

#[tokio::test]
async fn an_instance_id_that_is_no_file_name_is_refused() {
    let (_directory, store) = store();
    for id in ["", "../ring", ".hidden", "a/b", &"x".repeat(65)] {
        let error = store.register(&InstanceReport::new("app", id)).await.unwrap_err();
        assert!(error.to_string().contains("1 to 64 characters"), "{error}");
    }
    assert!(store.instances().await.unwrap().is_empty());
}

#[tokio::test]
async fn many_instances_report_at_once_and_each_is_seen_whole() {
    let (_directory, store) = store();
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let id = format!("i-{n}");
                let mut report = InstanceReport::new("app", &id);
                let registration = store.register(&report).await.unwrap();
                let ring = SecretRing::new(list("old new"));
                for _ in 0..25 {
                    report = report.next(ring.usage());
                    store.report(&registration, &report).await.unwrap();
                    for instance in store.instances().await.unwrap() {
                        // One may have registered and not reported yet.
                        if let Err(why) = &instance.report {
                            assert!(why.contains("has not written a report"), "{why}");
                        }
                    }
                    assert!(
                        store.instances().await.unwrap().iter().any(|instance| {
                            instance.live && instance.report.as_ref().ok() == Some(&report)
                        }),
                        "{id} is live, with its last report"
                    );
                }
                registration
            })
        })
        .collect();
    let mut registrations = Vec::new();
    for task in tasks {
        registrations.push(task.await.unwrap());
    }
    let instances = store.instances().await.unwrap();
    assert_eq!(instances.len(), 12);
    assert!(instances.iter().all(|instance| instance.live));
    drop(registrations);
    assert!(store.instances().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_report_after_the_instance_was_removed_does_not_bring_it_back() {
    let (_directory, store) = store();
    let report = InstanceReport::new("app", "i-1");
    let registration = store.register(&report).await.unwrap();
    let other = store.register(&InstanceReport::new("app", "i-2")).await.unwrap();
    assert!(store.report(&other, &report).await.is_err(), "a report under another's registration");
    store.unregister(registration).await.unwrap();
    let left = store.instances().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].instance, "i-2");
}

#[test]
fn a_report_holds_no_secret_and_reads_back_the_same() {
    let ring = SecretRing::new(SecretList::new([common::secret("a", "hunter2-a")]).unwrap());
    request(&ring);
    let report = InstanceReport::new("app", "i-1").next(ring.usage());
    let text = serde_json::to_string(&report).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(serde_json::from_str::<InstanceReport>(&text).unwrap(), report);
    assert_eq!((report.sequence, report.revision), (1, Some(Revision::INITIAL)));
}
