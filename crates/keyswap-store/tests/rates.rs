//! How often an instance writes into its store: seldom at rest, soon in a rotation. Time stands still while
//! anything is at work, and jumps otherwise.

mod common;
#[path = "common/recording.rs"]
mod recording;

use std::time::{Duration, Instant as Time};

use common::{list, store};
use keyswap_core::{Attempts, FallbackPolicy, Revision, SecretRing, Verdict};
use keyswap_store::{InstanceReport, Presence, SecretStore};
use recording::Recording;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

struct Reporting {
    _directory: tempfile::TempDir,
    store: Recording,
    ring: SecretRing,
    running: JoinHandle<()>,
}

impl Drop for Reporting {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Reporting {
    /// An instance whose ring holds these secrets, with its first report made.
    async fn on(ids: &str, attest_every: Option<Duration>) -> Self {
        let (directory, store) = store();
        store.import(&list("first")).await.unwrap();
        let lease = store.acquire("test").await.unwrap();
        store.publish(&lease, Revision::new(1), &list(ids), attest_every).await.unwrap();
        let store = Recording::of(store);
        let document = store.published().await.unwrap().unwrap();
        let policy = FallbackPolicy::default();
        let ring = SecretRing::with_policy(document.list, document.revision, policy);
        let presence = Presence::register(&store, "invoices").await.unwrap();
        let running = tokio::spawn(presence.run(ring.clone()));
        let reporting = Self { _directory: directory, store, ring, running };
        sleep(SECOND).await;
        assert_eq!(reporting.store.take_reports().len(), 1, "the first report");
        reporting
    }

    /// A request whose secret the server accepts.
    fn request(&self) {
        let _ = Attempts::begin(&self.ring).0.conclude(Verdict::Accepted, Time::now());
    }

    /// A request whose first secret is refused, and whose second is accepted.
    fn fall_back(&self) {
        let (mut attempts, _) = Attempts::begin(&self.ring);
        let _ = attempts.conclude(Verdict::Refused, Time::now());
        let _ = attempts.conclude(Verdict::Accepted, Time::now());
    }

    /// So many calls a second for so long; then what was reported meanwhile, and how long after the begin.
    async fn every_second(
        &self,
        seconds: u32,
        mut request: impl FnMut(&Self),
    ) -> Vec<(f64, InstanceReport)> {
        let begin = Instant::now();
        for _ in 0..seconds {
            request(self);
            sleep(SECOND).await;
        }
        let reports = self.store.take_reports().into_iter();
        reports.map(|(at, report)| ((at - begin).as_secs_f64(), report)).collect()
    }
}

fn used(report: &InstanceReport, id: &str) -> u64 {
    let usage = report.usage.as_ref().unwrap();
    usage.of(&id.parse().unwrap()).map_or(0, |usage| usage.used())
}

#[tokio::test(start_paused = true)]
async fn at_rest_a_busy_instance_writes_less_than_once_a_minute() {
    let reporting = Reporting::on("only", None).await;
    // Its first use is told at once.
    let first = reporting.every_second(3, Reporting::request).await;
    assert_eq!(first.len(), 1, "{first:?}");
    let half_an_hour = reporting.every_second(1800, Reporting::request).await;
    assert!((3..=6).contains(&half_an_hour.len()), "{} reports", half_an_hour.len());
    for pair in half_an_hour.windows(2) {
        let apart = pair[1].0 - pair[0].0;
        assert!((299.0..=602.0).contains(&apart), "{apart} s");
    }
    // What it tells then is true.
    let (at, last) = half_an_hour.last().unwrap();
    assert!((used(last, "only") as f64 - at).abs() < 5.0, "{at} {last:?}");
    // Its period may have ended after the last use of all, which was told then: now there is one that was not.
    reporting.request();
    sleep(1800 * SECOND).await;
    assert_eq!(reporting.store.take_reports().len(), 1, "the last uses, and no more");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_does_nothing_writes_nothing() {
    let reporting = Reporting::on("new old", None).await;
    sleep(1800 * SECOND).await;
    assert_eq!(reporting.store.take_reports(), []);
}

#[tokio::test(start_paused = true)]
async fn in_a_rotation_a_use_of_the_old_secret_is_told_within_a_second() {
    let reporting = Reporting::on("new old", None).await;
    let first = reporting.every_second(10, Reporting::request).await;
    assert!((1..=2).contains(&first.len()), "{first:?}");
    // One use now and then: a quiet period counts from each.
    for number in 1..4 {
        let begin = Instant::now();
        reporting.fall_back();
        sleep(20 * SECOND).await;
        let reports = reporting.store.take_reports();
        let told = reports.iter().find(|(_, report)| used(report, "old") == number);
        let lateness = told.unwrap().0 - begin;
        assert!(lateness <= SECOND, "{lateness:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_old_secret_stays_in_use_it_is_told_every_five_seconds_and_not_with_each_use() {
    let reporting = Reporting::on("new old", None).await;
    let begin = Instant::now();
    // Ten requests a second, each refused with the secret that leads then: the order changes all the time.
    for _ in 0..600 {
        reporting.fall_back();
        sleep(SECOND / 10).await;
    }
    let last = reporting.ring.usage();
    let in_use = reporting.store.take_reports();
    assert!((11..=14).contains(&in_use.len()), "{} reports in a minute", in_use.len());
    let mut before = begin;
    for (at, _) in &in_use {
        assert!(*at - before <= 6 * SECOND, "{:?}", *at - before);
        before = *at;
    }
    // The last of them is told as soon as it is the last.
    let ended = Instant::now();
    sleep(SECOND).await;
    let (at, report) = reporting.store.take_reports().pop().unwrap();
    assert!(at - ended <= SECOND && report.usage == Some(last), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn in_a_rotation_uses_of_the_preferred_secret_are_told_soon_and_then_once_a_minute() {
    let reporting = Reporting::on("new old", None).await;
    let ten_minutes = reporting.every_second(600, Reporting::request).await;
    let times: Vec<f64> = ten_minutes.iter().map(|(at, _)| *at).collect();
    assert!(times[0] <= 1.0 + 5.0 && times[1] - times[0] <= 5.6, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 61.0), "{times:?}");
    assert!((10..=16).contains(&times.len()), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_list_is_told_at_once_whatever_was_told_before() {
    let reporting = Reporting::on("old", None).await;
    for revision in [3, 4] {
        reporting.request();
        let begin = Instant::now();
        assert!(reporting.ring.replace_at(list("old new"), Revision::new(revision)));
        sleep(SECOND / 10).await;
        let (at, report) = reporting.store.take_reports().remove(0);
        assert_eq!(report.revision, Some(Revision::new(revision)));
        assert!(at - begin <= SECOND / 20, "{:?}", at - begin);
    }
}

#[tokio::test(start_paused = true)]
async fn attestations_are_never_late() {
    let reporting = Reporting::on("new old", Some(8 * SECOND)).await;
    let reports = reporting.every_second(600, |_| {}).await;
    let mut before = 0.0;
    for (at, _) in &reports {
        assert!(at - before <= 8.01, "{before} {at}");
        before = *at;
    }
    assert!((74..=101).contains(&reports.len()), "{}", reports.len());
}
