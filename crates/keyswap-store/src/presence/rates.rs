//! When an instance reports: a decision of what it reported last, what its counters say now, and the time.

use std::time::Duration;

use keyswap_core::{SecretUsage, UsageReport};
use tokio::time::Instant;

/// Between two reports of an instance, whatever happens.
pub(super) const BETWEEN_REPORTS: Duration = Duration::from_millis(50);
/// What rested for so long may have moved for the last time.
pub(super) const RESTED: Duration = Duration::from_millis(500);
/// While what the rotator waits for goes on moving.
const WHILE_IT_MOVES: Duration = Duration::from_secs(5);
/// While the preferred secret is used, and nothing else happens.
const AT_LEAST_IN_A_ROTATION: Duration = Duration::from_secs(60);
/// The same at rest: nobody waits for it.
const AT_LEAST_AT_REST: Duration = Duration::from_secs(10 * 60);

/// How one report of a ring differs from another: the weightiest of what there is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Change {
    Nothing,
    /// The preferred secret was used again: no gate of a rotation waits for that.
    Preferred,
    /// A secret was used for the first time, or one that is not preferred was used, or the order changed.
    Awaited,
    /// Another list, or the first one.
    Revision,
}

impl Change {
    pub(super) fn between(before: Option<&UsageReport>, now: &UsageReport) -> Self {
        let Some(before) = before.filter(|before| before.revision == now.revision) else {
            return Self::Revision;
        };
        let ids = |report: &UsageReport| report.secrets.len();
        let same_order = ids(before) == ids(now)
            && before.secrets.iter().zip(&now.secrets).all(|(one, other)| one.id == other.id);
        if !same_order {
            return Self::Awaited;
        }
        let moved = |(position, now): (usize, &SecretUsage)| {
            let before = before.of(&now.id).map_or(0, SecretUsage::used);
            match now.used() {
                used if used == before => Self::Nothing,
                _ if before == 0 || position > 0 => Self::Awaited,
                _ => Self::Preferred,
            }
        };
        now.secrets.iter().enumerate().map(moved).max().unwrap_or(Self::Nothing)
    }
}

/// What was reported last, and what is known besides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported<'a> {
    pub(super) usage: Option<&'a UsageReport>,
    pub(super) at: Instant,
    /// When it was seen last that more moved than the counter of the preferred secret.
    pub(super) moved: Instant,
    /// When a report went out last that told of more than the preferred secret.
    pub(super) news: Instant,
    /// How often the published document asks for a report although nothing moved.
    pub(super) attest_every: Option<Duration>,
    /// 0 to 1, this instance's own: what is not urgent comes up to so much earlier, so that instances that
    /// were started by one deployment do not go on reporting all at once.
    pub(super) chance: f64,
}

impl Reported<'_> {
    /// When the next report is due if nothing moves any more from `present` on; `None`: not until
    /// something does.
    pub(super) fn due(&self, present: &UsageReport) -> Option<Instant> {
        if self.usage.is_none() {
            return Some(self.at);
        }
        let chance = self.chance.clamp(0.0, 1.0);
        let wait = match Change::between(self.usage, present) {
            Change::Nothing => None,
            Change::Revision => Some(BETWEEN_REPORTS),
            // The last use is what a quiet period counts from, so it is told as soon as it may be one.
            Change::Awaited => {
                let rested = (self.moved + RESTED).saturating_duration_since(self.at);
                Some(rested.min(WHILE_IT_MOVES))
            }
            // As old as the news is: a rotation may last for days, and a fleet is large.
            Change::Preferred if self.rotating(present) => {
                let age = self.at.saturating_duration_since(self.news);
                Some(age.clamp(WHILE_IT_MOVES, AT_LEAST_IN_A_ROTATION))
            }
            Change::Preferred => Some(AT_LEAST_AT_REST.mul_f64(1.0 - chance / 2.0)),
        };
        let attest = self.attest_every.map(|every| every.mul_f64(1.0 - chance / 4.0));
        let wait = wait.into_iter().chain(attest).min()?;
        Some(self.at + wait.max(BETWEEN_REPORTS))
    }

    /// Whether a rotation is under way, as far as a program can see.
    fn rotating(&self, present: &UsageReport) -> bool {
        present.secrets.len() > 1 || self.attest_every.is_some()
    }
}

#[cfg(test)]
mod tests {
    use keyswap_core::{Revision, Secret, SecretList, SecretRing};
    use proptest::prelude::*;

    use super::*;

    /// A report of that revision: `new:5 old:2`, the preferred secret first.
    fn report(revision: u64, usage: &str) -> UsageReport {
        let pairs: Vec<(&str, u64)> = usage
            .split(' ')
            .map(|pair| pair.split_once(':').unwrap())
            .map(|(id, used)| (id, used.parse().unwrap()))
            .collect();
        let secret = |id: &str| Secret::new(id.parse().unwrap(), format!("hunter2-{id}")).unwrap();
        let list = SecretList::new(pairs.iter().map(|(id, _)| secret(id))).unwrap();
        let ring = SecretRing::with_policy(list, Revision::new(revision), Default::default());
        let mut report = ring.usage();
        for (usage, (_, used)) in report.secrets.iter_mut().zip(pairs) {
            usage.accepted = used;
        }
        report
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// How long after the last report the next one is due.
    struct Case<'a> {
        last: Option<&'a str>,
        present: &'a str,
        /// How long after the last report something was seen to move.
        moved: f64,
        /// How long before the last report the last news went out.
        news: f64,
        attest_every: Option<f64>,
        chance: f64,
    }

    fn case<'a>(last: &'a str, present: &'a str) -> Case<'a> {
        Case { last: Some(last), present, moved: 0.0, news: 0.0, attest_every: None, chance: 0.0 }
    }

    impl Case<'_> {
        fn wait(self) -> Option<f64> {
            let at = Instant::now() + Duration::from_secs(1 << 20);
            let last = self.last.map(|last| report(1, last));
            let reported = Reported {
                usage: last.as_ref(),
                at,
                moved: at + seconds(self.moved),
                news: at - seconds(self.news),
                attest_every: self.attest_every.map(seconds),
                chance: self.chance,
            };
            Some((reported.due(&report(1, self.present))? - at).as_secs_f64())
        }

        fn attest(self, every: f64, chance: f64) -> Self {
            Self { attest_every: Some(every), chance, ..self }
        }
    }

    #[test]
    fn what_a_gate_waits_for_is_told_soon_and_the_rest_lazily() {
        let wait = |last, present, moved| Case { moved, ..case(last, present) }.wait();
        // At rest, with one secret.
        let first = Case { last: None, ..case("", "a:0") };
        assert_eq!(first.wait(), Some(0.0), "it holds a list now");
        assert_eq!(wait("a:7", "a:7", 0.0), None, "nothing moved");
        assert_eq!(wait("a:0", "a:1", 0.25), Some(0.75), "a first use");
        assert_eq!(wait("a:7", "a:9", 0.25), Some(600.0), "what goes on all day");
        // In a rotation.
        assert_eq!(wait("new:7 old:3", "new:7 old:3", 0.0), None, "nothing moved");
        assert_eq!(wait("new:7 old:3", "new:9 old:4", 2.0), Some(2.5), "the last use of old");
        assert_eq!(wait("new:7 old:3", "new:9 old:5", 4.75), Some(5.0), "old is in use");
        assert_eq!(wait("new:7 old:3", "new:7 old:4", 9.0), Some(5.0), "after a while: overdue");
        assert_eq!(wait("new:7 old:0", "new:7 old:1", 1.0), Some(1.5), "a first use");
        assert_eq!(wait("new:7 old:3", "old:3 new:7", 1.0), Some(1.5), "another order");
        assert_eq!(wait("new:7 old:3", "new:9 old:3", 0.0), Some(5.0), "new is in use");
    }

    #[test]
    fn another_revision_is_reported_at_once_whatever_moves() {
        let at = Instant::now();
        let last = report(1, "old:3");
        let (usage, moved, news, attest_every, chance) = (Some(&last), at, at, None, 0.0);
        let reported = Reported { usage, at, moved, news, attest_every, chance };
        for revision in [2, 9] {
            let present = report(revision, "old:4 new:1");
            assert_eq!(reported.due(&present), Some(at + BETWEEN_REPORTS));
        }
    }

    #[test]
    fn uses_of_the_preferred_secret_become_rarer_news_as_a_rotation_goes_on() {
        let moving = |news| Case { news, ..case("new:7 old:3", "new:9 old:3") }.wait();
        // Reports at 5, 10, 20, 40, 80, 140, 200 s after the news.
        for (news, expected) in [(0.0, 5.0), (5.0, 5.0), (10.0, 10.0), (20.0, 20.0), (40.0, 40.0)] {
            assert_eq!(moving(news), Some(expected), "{news}");
        }
        assert_eq!(moving(80.0), Some(60.0));
        assert_eq!(moving(100_000.0), Some(60.0));
    }

    #[test]
    fn it_attests_as_often_as_it_is_asked_to_and_reports_in_between_all_the_same() {
        let still = || case("new:7 old:3", "new:7 old:3");
        assert_eq!(still().attest(8.0, 0.0).wait(), Some(8.0));
        assert_eq!(still().attest(8.0, 1.0).wait(), Some(6.0), "early, never late");
        assert_eq!(still().attest(0.0, 0.0).wait(), Some(0.05), "never in a loop");
        let used = || Case { moved: 4.0, ..case("new:7 old:3", "new:7 old:4") };
        assert_eq!(used().attest(8.0, 0.0).wait(), Some(4.5));
        assert_eq!(used().attest(2.0, 0.0).wait(), Some(2.0));
        // One secret that it is asked to attest is a rotation too.
        assert_eq!(case("a:7", "a:9").attest(8.0, 0.0).wait(), Some(5.0));
    }

    #[test]
    fn at_rest_a_report_comes_within_five_to_ten_minutes_spread_by_chance() {
        let at_rest = |chance| Case { chance, ..case("a:7", "a:9") }.wait();
        assert_eq!(at_rest(0.5), Some(450.0));
        assert_eq!(at_rest(1.0), Some(300.0));
        assert_eq!(at_rest(7.0), Some(300.0));
    }

    proptest! {
        /// A look every half second, and any traffic: one look a number of requests of each kind.
        #[test]
        fn a_rotation_hears_of_what_it_waits_for_in_five_seconds_and_no_store_is_flooded(
            traffic in proptest::collection::vec((0..3_u64, 0..3_u64), 1..200),
            secrets in 1..3_usize,
            chance in 0.0..=1.0,
        ) {
            let unused = report(1, ["new:0", "new:0 old:0"][secrets - 1]);
            let usage = |used: &[u64]| {
                let mut report = unused.clone();
                for (usage, used) in report.secrets.iter_mut().zip(used) {
                    usage.accepted = *used;
                }
                report
            };
            let begin = Instant::now();
            let (mut last, mut looked) = (usage(&[0, 0]), usage(&[0, 0]));
            let (mut at, mut news, mut moved, mut now) = (begin, begin, begin, begin);
            let (mut reports, mut waits_since, mut used) = (0_usize, None, [0, 0]);
            for (new, old) in &traffic {
                used = [used[0] + new, used[1] + old];
                now += RESTED;
                let present = usage(&used);
                let change = Change::between(Some(&last), &present);
                if Change::between(Some(&looked), &present) >= Change::Awaited {
                    moved = now;
                }
                if change >= Change::Awaited {
                    waits_since.get_or_insert(now);
                }
                let (usage, attest_every) = (Some(&last), None);
                let reported = Reported { usage, at, moved, news, attest_every, chance };
                if reported.due(&present).is_some_and(|due| due <= now) {
                    if let Some(since) = waits_since.take() {
                        prop_assert!(now - since <= WHILE_IT_MOVES, "{:?}", now - since);
                    }
                    if change >= Change::Awaited {
                        news = now;
                    }
                    (last, at) = (present.clone(), now);
                    reports += 1;
                }
                looked = present;
            }
            // What moved must be seen to rest, or five seconds be over.
            let most = if secrets == 1 { 1 } else { traffic.len() / 2 + 1 };
            prop_assert!(reports <= most, "{reports} reports in {:?}", now - begin);
        }
    }
}
