//! The ring itself under every order in which its threads may interleave, as far as shuttle reaches.
//!
//! The locks and atomics of the ring are shuttle's here (see `sync.rs`), so a thread can be stopped at
//! each of them. What is checked is that the ring behaves as if each call had happened at one moment
//! between its beginning and its end: that a promotion never undoes a replacement that it did not see,
//! nor the other way round.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, future, thread};

use super::*;
use crate::Secret;

/// Returns how many orders were run.
fn explore(scheduler: impl Scheduler + 'static, test: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    Runner::new(scheduler, config).run(test)
}

fn explore_every_order(test: impl Fn() + Send + Sync + 'static) {
    let most = 200_000;
    let orders = explore(DfsScheduler::new(Some(most), false), test);
    assert!(orders < most, "there are more orders than were run");
}

fn list(ids: &str) -> SecretList {
    let secret =
        |id: char| Secret::new(id.to_string().parse().unwrap(), format!("value-of-{id}")).unwrap();
    SecretList::new(ids.chars().map(secret)).unwrap()
}

fn id(id: char) -> SecretId {
    id.to_string().parse().unwrap()
}

#[derive(Clone, Debug)]
enum Call {
    Replace(&'static str),
    ReplaceAt(&'static str, u64),
    Promote(char, char),
    Snapshot,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Answer {
    Revision(u64),
    Changed(bool),
    Seen(u64, String),
}

/// One call, with the numbers that a common clock gave to its beginning and its end.
#[derive(Clone, Debug)]
struct Record {
    begin: usize,
    end: usize,
    call: Call,
    answer: Answer,
}

fn perform(ring: &SecretRing, call: &Call) -> Answer {
    match *call {
        Call::Replace(ids) => Answer::Revision(ring.replace(list(ids)).number()),
        Call::ReplaceAt(ids, revision) => {
            Answer::Changed(ring.replace_at(list(ids), Revision::new(revision)))
        }
        Call::Promote(winner, refused) => Answer::Changed(ring.promote(&id(winner), &id(refused))),
        Call::Snapshot => {
            let snapshot = ring.snapshot();
            let order = snapshot.list().ids().map(SecretId::as_str).collect();
            Answer::Seen(snapshot.revision().number(), order)
        }
    }
}

/// What a ring is to do, one call after the other.
#[derive(Clone, Debug)]
struct Specification {
    revision: u64,
    published: String,
    order: String,
}

impl Specification {
    fn publish(&mut self, ids: &str, revision: u64) {
        *self = Self { revision, published: ids.to_owned(), order: ids.to_owned() };
    }

    fn perform(&mut self, call: &Call) -> Answer {
        match *call {
            Call::Replace(ids) => {
                if self.published != ids {
                    self.publish(ids, self.revision + 1);
                }
                Answer::Revision(self.revision)
            }
            Call::ReplaceAt(ids, revision) => {
                let newer = revision > self.revision;
                if newer {
                    self.publish(ids, revision);
                }
                Answer::Changed(newer)
            }
            Call::Promote(winner, refused) => {
                let holds = winner != refused
                    && self.order.starts_with(refused)
                    && self.order.contains(winner);
                if holds {
                    let rest: String = self.order.chars().filter(|id| *id != winner).collect();
                    self.order = format!("{winner}{rest}");
                }
                Answer::Changed(holds)
            }
            Call::Snapshot => Answer::Seen(self.revision, self.order.clone()),
        }
    }

    /// Whether some order of these calls, each within its own time, gives the answers that came.
    fn explains(&self, records: &[Record]) -> bool {
        records.iter().enumerate().any(|(position, record)| {
            // It may come first if no other call had ended when it began.
            let first = records.iter().all(|other| record.begin < other.end);
            let mut after = self.clone();
            first && after.perform(&record.call) == record.answer && {
                let mut rest = records.to_vec();
                rest.remove(position);
                after.explains(&rest)
            }
        }) || records.is_empty()
    }
}

/// Runs the calls of each thread against a ring with `[a, b]` at revision 1, and checks the answers.
fn calls_take_effect_at_one_moment(threads: &[Vec<Call>]) {
    let ring = SecretRing::with_policy(list("ab"), Revision::new(1), FallbackPolicy::default());
    let clock = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = threads
        .iter()
        .cloned()
        .map(|calls| {
            let (ring, clock) = (ring.clone(), Arc::clone(&clock));
            thread::spawn(move || {
                let tick = || clock.fetch_add(1, Ordering::Relaxed);
                let record = |call: Call| {
                    let begin = tick();
                    let answer = perform(&ring, &call);
                    Record { begin, end: tick(), call, answer }
                };
                calls.into_iter().map(record).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut records: Vec<_> =
        handles.into_iter().flat_map(|handle| handle.join().unwrap()).collect();
    let begin = clock.fetch_add(1, Ordering::Relaxed);
    let answer = perform(&ring, &Call::Snapshot);
    records.push(Record { begin, end: begin + 1, call: Call::Snapshot, answer });
    let specification =
        Specification { revision: 1, published: "ab".to_owned(), order: "ab".to_owned() };
    assert!(specification.explains(&records), "no order of the calls explains {records:#?}");
    let promotions = records.iter().filter(|record| {
        matches!(record.call, Call::Promote(..)) && record.answer == Answer::Changed(true)
    });
    assert_eq!(ring.usage().promotions, promotions.count() as u64);
}

fn threads() -> [Vec<Call>; 4] {
    use Call::{Promote, Replace, ReplaceAt, Snapshot};
    [
        vec![Promote('b', 'a'), Promote('a', 'b'), Promote('c', 'a')],
        vec![ReplaceAt("abc", 3), ReplaceAt("bc", 2), ReplaceAt("ca", 5)],
        vec![Replace("ba"), Replace("abc")],
        vec![Snapshot, Promote('b', 'a'), Snapshot],
    ]
}

#[test]
fn replacing_promoting_and_reading_take_effect_at_one_moment_in_random_orders() {
    explore(RandomScheduler::new_from_seed(1, 400), || {
        calls_take_effect_at_one_moment(&threads());
    });
}

#[test]
fn replacing_promoting_and_reading_take_effect_at_one_moment_with_few_preemptions() {
    explore(PctScheduler::new_from_seed(1, 3, 400), || {
        calls_take_effect_at_one_moment(&threads());
    });
}

#[test]
fn a_promotion_and_a_replacement_take_effect_at_one_moment_in_every_order() {
    explore_every_order(|| {
        calls_take_effect_at_one_moment(&[
            vec![Call::Promote('b', 'a')],
            vec![Call::ReplaceAt("abc", 2)],
        ]);
    });
}

/// A ring in which one more acceptance of `b` makes it lead.
fn about_to_promote(now: Instant) -> (SecretRing, Arc<Entry>) {
    let policy = FallbackPolicy::default();
    let ring = SecretRing::starting(list("ab"), Revision::new(1), policy, now);
    let b = ring.first_besides(&[id('a')]).0.unwrap();
    for _ in 0..6 {
        assert!(!ring.learn(&b));
    }
    (ring, b)
}

#[test]
fn what_was_learnt_under_one_revision_does_not_reorder_a_newer_one() {
    explore(RandomScheduler::new_from_seed(5, 400), || {
        let now = Instant::now();
        let (ring, b) = about_to_promote(now);
        let other = ring.clone();
        let learner = thread::spawn(move || other.learn(&b));
        ring.replace_at(list("ab"), Revision::new(2));
        learner.join().unwrap();
        let snapshot = ring.snapshot();
        assert_eq!(snapshot.revision(), Revision::new(2));
        assert_eq!(snapshot.list().preferred().id().as_str(), "a");
    });
}

#[test]
fn of_two_requests_that_learn_the_same_at_once_one_promotes() {
    explore(RandomScheduler::new_from_seed(2, 3_000), || {
        let now = Instant::now();
        let (ring, b) = about_to_promote(now);
        let learners: Vec<_> = (0..3)
            .map(|_| {
                let (ring, b) = (ring.clone(), Arc::clone(&b));
                thread::spawn(move || ring.learn(&b))
            })
            .collect();
        let promoted = learners.into_iter().filter_map(|one| one.join().unwrap().then_some(()));
        assert_eq!(promoted.count(), 1);
        assert_eq!(ring.snapshot().list().preferred().id().as_str(), "b");
    });
}

#[test]
fn an_acceptance_after_it_ends_every_cool_down() {
    explore(RandomScheduler::new_from_seed(3, 3_000), || {
        let now = Instant::now();
        let (ring, b) = about_to_promote(now);
        let (_, began) = ring.leader();
        let refused = {
            let ring = ring.clone();
            thread::spawn(move || {
                ring.count_refused_pass();
                ring.start_cool_down(began, now + Duration::from_millis(2));
            })
        };
        let other = {
            let (ring, b) = (ring.clone(), Arc::clone(&b));
            thread::spawn(move || ring.learn(&b))
        };
        refused.join().unwrap();
        other.join().unwrap();
        ring.learn(&b);
        assert!(!ring.cooling_down(now + Duration::from_millis(3)));
    });
}

#[test]
fn no_event_and_no_end_of_a_ring_is_missed_by_who_waits_for_it() {
    explore(RandomScheduler::new_from_seed(4, 3_000), || {
        let ring = SecretRing::with_policy(list("ab"), Revision::new(1), FallbackPolicy::default());
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let mut changes = ring.subscribe();
                thread::spawn(move || {
                    let mut last = None;
                    // Shuttle reports a deadlock if this is never woken again.
                    while let Some(revision) = future::block_on(changes.changed()) {
                        last = Some(revision);
                    }
                    last
                })
            })
            .collect();
        let writer = ring.clone();
        let writer = thread::spawn(move || {
            writer.replace_at(list("b"), Revision::new(2));
            writer.replace_at(list("ba"), Revision::new(3));
        });
        drop(ring);
        writer.join().unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Some(Revision::new(3)));
        }
    });
}
