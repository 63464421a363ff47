//! The protocol at a simulated server that holds one secret and chooses its value itself: nodes that take up
//! a change late, answers that are lost and the value with them, requests that are applied after they were
//! given up and take the known value out of force, a person at its console, and a rotator that is killed at
//! any step.

#[path = "common/programs.rs"]
mod programs;

use std::time::Duration;

use keyswap_admin::authority::{AddAnswer, NewSecret, Probe, ReadBack};
use keyswap_admin::rotation::{
    Asker, Effect, Ending, Event, Fleet, Gap, Record, Rotation, State, StuckReason, Timestamp,
    WayBack, Which, Wish,
};
use keyswap_admin::{Application, AuthorityError, AuthorityErrorKind, RotationPolicy};
use keyswap_core::{Revision, Secret, SecretId, SecretList};
use keyswap_store::Hold;
use programs::{Dice, Programs};
use proptest::prelude::*;

const WINDOW: u64 = 1_000;
const IN_FLIGHT: u64 = 8_000;
const NODES: usize = 3;
/// Whatever an instance does, it looks for a newer list within this time, with the wait for the node.
const TAKE_UP: u64 = 4_000;

fn secret(id: &str) -> Secret {
    Secret::new(id.parse().unwrap(), format!("value-of-{id}")).unwrap()
}

fn policy() -> RotationPolicy {
    let window = Duration::from_millis(WINDOW);
    let mut policy = RotationPolicy::new([Application::new("app").instances(2)])
        .propagation_window(window)
        .quiet_period(window)
        .poll_every(Duration::from_millis(100));
    policy.probes = 4;
    policy.in_flight_bound = Duration::from_millis(IN_FLIGHT);
    policy
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    crashes: u32,
    /// How many requests the server turns away, or gives no answer to.
    faults: u32,
    /// The state in which somebody at the console asks for another value.
    at_the_console: Option<State>,
    /// The step at which a person wants to go back.
    rollback_after: Option<u32>,
    /// The step at which a person puts a hold on the rotations.
    hold_after: Option<u32>,
    /// The old secret is compromised, and one instance never takes up another list.
    compromised_and_deaf: bool,
}

/// A value that the server chose, and since when each node takes it.
struct Chosen {
    secret: Secret,
    applied: u64,
    arrives: [u64; NODES],
}

struct World {
    now: u64,
    dice: Dice,
    server: Vec<Chosen>,
    published: (Revision, SecretList),
    programs: Programs,
    trouble: Trouble,
    /// When requests failed of an instance that is not deaf.
    failed: Vec<u64>,
    asked: u32,
    lost: u32,
    held: bool,
}

/// Whether a node takes the secret now: it holds what was applied last of all that it has heard of.
fn accepts(server: &[Chosen], node: usize, secret: &Secret, now: u64) -> bool {
    let heard = server.iter().filter(|chosen| chosen.arrives[node] <= now);
    heard.max_by_key(|chosen| chosen.applied).is_some_and(|held| held.secret == *secret)
}

/// What came of a rotation, and how often a person had to look.
struct Ended {
    ending: Ending,
    record: Record,
    stuck: Vec<StuckReason>,
}

impl World {
    fn new(seed: u64, trouble: Trouble) -> Self {
        let (now, list) = (1_000_000, SecretList::new([secret("old")]).unwrap());
        let published = (Revision::new(1), list);
        let first = Chosen { secret: secret("old"), applied: 0, arrives: [0; NODES] };
        Self {
            now,
            dice: Dice(seed),
            server: vec![first],
            programs: Programs::new(published.clone(), WINDOW, now),
            published,
            trouble,
            failed: Vec::new(),
            asked: 0,
            lost: 0,
            held: false,
        }
    }

    fn pass(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds.max(1);
        while self.now < end {
            self.now = (self.now + 50).min(end);
            for index in 0..self.programs.instances.len() {
                let deaf = self.trouble.compromised_and_deaf && index == 1;
                if self.dice.roll(6) == 0 && !deaf {
                    self.programs.take_up(index, &self.published, self.now);
                }
                let (server, dice, now) = (&self.server, &mut self.dice, self.now);
                let accepted = self.programs.sign_in(index, now, |secret| {
                    accepts(server, dice.roll(NODES as u64) as usize, secret, now)
                });
                if !accepted && !deaf {
                    self.failed.push(now);
                }
            }
        }
    }

    fn choose(&mut self, id: &SecretId, applied: u64) -> Secret {
        let value = format!("chosen-{}", self.server.len());
        let secret = Secret::new(id.clone(), value).unwrap();
        let late = [(); NODES].map(|()| self.dice.roll(WINDOW * 9 / 10));
        let arrives = late.map(|late| applied + late);
        self.server.push(Chosen { secret: secret.clone(), applied, arrives });
        secret
    }

    fn regenerate(&mut self, id: &SecretId) -> AddAnswer {
        self.asked += 1;
        if self.trouble.faults > 0 && self.dice.roll(2) == 0 {
            self.trouble.faults -= 1;
            let lost = AddAnswer::Unknown("the answer was lost".into());
            let applied = match self.dice.roll(5) {
                0 => self.now,
                1 | 2 => self.now + self.dice.roll(IN_FLIGHT),
                3 => {
                    self.lost += 1;
                    return lost;
                }
                _ => return AddAnswer::RetryAfter(Duration::from_millis(300)),
            };
            self.lost += 1;
            self.choose(id, applied);
            return lost;
        }
        AddAnswer::Replaced(self.choose(id, self.now))
    }

    fn perform(&mut self, effect: Effect, record: &Record) -> Result<Event, Ending> {
        let latency = 1 + self.dice.roll(40);
        self.pass(latency);
        Ok(match effect {
            Effect::Write => Event::Written,
            Effect::Publish { list, replaces, instead_of, .. } => {
                let (revision, published) = &self.published;
                let later = *revision > replaces;
                if later && *published == list {
                    Event::Published(*revision)
                } else if *revision == replaces || later && instead_of.contains(published) {
                    self.published = (revision.next(), list);
                    Event::Published(self.published.0)
                } else {
                    Event::ForeignList
                }
            }
            Effect::Observe => {
                Event::Fleet(Fleet { live: self.programs.reports(), unreadable: Vec::new() })
            }
            Effect::Add => Event::Added(self.regenerate(record.new.id())),
            Effect::ReadBack => Event::ReadBack(ReadBack::Unavailable("it cannot".into())),
            Effect::Probe(which) => {
                let node = self.dice.roll(NODES as u64) as usize;
                let secret = record.secret(which).unwrap();
                let accepted = accepts(&self.server, node, secret, self.now);
                Event::Probed(which, if accepted { Probe::Accepted } else { Probe::Refused })
            }
            Effect::Wait(time, _) | Effect::BackOff(time) => {
                self.pass(time.as_millis() as u64);
                Event::Waited
            }
            Effect::Stop(ending) => return Err(ending),
            other => panic!("unknown effect {other:?}"),
        })
    }

    fn begin(&self) -> Record {
        let new = NewSecret::Awaited("new".parse().unwrap());
        let now = Timestamp::from_milliseconds(self.now);
        let asker = Asker {
            by: Some("ada".into()),
            holder: "test".into(),
            reason: Some("a quiet night".into()),
            ..Asker::default()
        };
        let revision = self.published.0;
        let record = Record::begin("client", policy(), secret("old"), new, revision, now)
            .regenerating(asker);
        match self.trouble.compromised_and_deaf {
            true => record.compromised_within(Duration::from_secs(10)),
            false => record,
        }
    }

    /// Runs a rotation until it stops, killing and resuming it on the way. A person looks when it is stuck, and
    /// resumes it, three times at most.
    fn rotate(&mut self) -> Ended {
        let record = self.begin();
        let mut journal = record.to_json();
        let mut rotation = Rotation::new(record);
        let mut event = Event::TakenUp;
        let (mut stuck, mut state) = (Vec::new(), State::Generated);
        for step in 0..40_000 {
            if self.trouble.rollback_after == Some(step) {
                rotation = Rotation::new(Record::parse(&journal).unwrap());
                event = Event::RollbackWanted;
            }
            self.held |= self.trouble.hold_after == Some(step);
            rotation.note_hold(self.held.then(|| Hold::new("bob", "not now", 0, None)));
            let effect = rotation.step(event, Timestamp::from_milliseconds(self.now));
            if self.crash() {
                rotation = Rotation::new(Record::parse(&journal).unwrap());
                event = Event::TakenUp;
                continue;
            }
            let entered = state != rotation.record().state;
            state = rotation.record().state;
            if entered && self.trouble.at_the_console == Some(rotation.record().state) {
                self.trouble.at_the_console = None;
                self.choose(&"foreign".parse().unwrap(), self.now);
            }
            journal = rotation.record().to_json();
            event = match self.perform(effect, rotation.record()) {
                Ok(happened) => happened,
                Err(Ending::Unknown(_) | Ending::Throttled) => Event::TakenUp,
                Err(Ending::NoWayBack(way)) => {
                    assert!(matches!(way, WayBack::OldIsGone | WayBack::TooLate), "{way:?}");
                    Event::TakenUp
                }
                Err(Ending::Stuck(reason)) if stuck.len() < 3 => {
                    stuck.push(reason);
                    Event::TakenUp
                }
                Err(ending) => {
                    return Ended { ending, record: rotation.record().clone(), stuck };
                }
            };
            if self.crash() {
                rotation = Rotation::new(Record::parse(&journal).unwrap());
                event = Event::TakenUp;
            }
        }
        panic!("the rotation does not end: {:?}", rotation.record());
    }

    fn crash(&mut self) -> bool {
        let crash = self.trouble.crashes > 0 && self.dice.roll(15) == 0;
        self.trouble.crashes -= u32::from(crash);
        crash
    }

    /// Once everything has arrived, the list and the server hold this one alone, and it lets every program in.
    fn holds_alone(&mut self, expected: &Secret) -> Result<(), TestCaseError> {
        let before = self.failed.len();
        self.pass(IN_FLIGHT + 2 * WINDOW);
        prop_assert_eq!(self.failed.len(), before, "requests fail after the end");
        prop_assert_eq!(&self.published.1, &SecretList::new([expected.clone()]).unwrap());
        let now = self.now;
        prop_assert!((0..NODES).all(|node| accepts(&self.server, node, expected, now)));
        Ok(())
    }
}

/// Whether a request that failed then is told of: one of these gaps holds the moment. What an instance has
/// reported it has taken up, so nothing fails after the end, but for nodes that hold a value that nobody knows.
fn is_told(gaps: &[Gap], failed: u64, nodes: u64) -> bool {
    gaps.iter().any(|gap| {
        let until = gap.until.map_or(u64::MAX, |until| until.milliseconds() + nodes);
        (gap.from.milliseconds()..=until).contains(&failed)
    })
}

fn troubles() -> impl Strategy<Value = Trouble> {
    (0u32..8, 0u32..6).prop_map(|(crashes, faults)| Trouble {
        crashes,
        faults,
        ..Trouble::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_rotation_ends_with_a_value_that_everybody_holds_whatever_is_lost_on_the_way(
        seed in any::<u64>(),
        trouble in troubles(),
    ) {
        let mut world = World::new(seed, trouble);
        let Ended { ending, record, stuck } = world.rotate();
        prop_assert!(matches!(ending, Ending::Done), "{ending:?} {record:?}");
        prop_assert!(stuck.is_empty(), "a person was called: {stuck:?}");
        let new = record.new.secret().unwrap().clone();
        world.holds_alone(&new)?;
        // Who accepted the gap, and why, and how long it was.
        let accepted = record.evidence.words.iter().find(|word| word.wish == Wish::AcceptAGap);
        let asker = &accepted.unwrap().asker;
        prop_assert_eq!(
            (asker.by.as_deref(), asker.reason.as_deref()),
            (Some("ada"), Some("a quiet night"))
        );
        prop_assert!(record.gaps().iter().all(|gap| gap.until.is_some_and(|until| until >= gap.from)));
        // Each value has an id of its own, and the last one was proved throughout the window.
        for (one, other) in record.known().iter().zip(record.known().iter().skip(1)) {
            prop_assert_eq!(one.id() == other.id(), one == other, "{:?}", record);
        }
        let entered = |state| record.entered.iter().rfind(|entered| entered.state == state);
        let (adopted, confirmed) = (entered(State::Adopted), entered(State::Confirmed));
        let proved = confirmed.unwrap().at.since(adopted.unwrap().at);
        prop_assert!(proved >= Duration::from_millis(WINDOW), "{proved:?}");
        // Nothing was asked for that was not needed.
        if trouble.crashes == 0 && world.lost == 0 {
            prop_assert_eq!(record.gaps().len(), 1);
            let untold = world.failed.iter().find(|failed| !is_told(record.gaps(), **failed, 0));
            prop_assert_eq!(untold, None, "of {:?}", record.gaps());
            prop_assert_eq!(world.server.len(), 2);
        }
        prop_assert!(world.asked <= 1 + trouble.crashes + 2 * trouble.faults, "{}", world.asked);
    }

    #[test]
    fn what_comes_late_opens_a_gap_that_is_told_of_and_closed_again(
        seed in any::<u64>(),
        trouble in troubles(),
    ) {
        let mut world = World::new(seed, Trouble { crashes: 0, ..trouble });
        let Ended { record, .. } = world.rotate();
        // What programs met before the rotator looked: it looks once a window at least, believes what it sees
        // after another one, and the nodes take one to agree.
        let unseen = 3 * WINDOW;
        let seen = |failed: &&u64| {
            let later = (**failed..=**failed + unseen).step_by(50);
            !later.into_iter().any(|moment| is_told(record.gaps(), moment, WINDOW))
        };
        prop_assert_eq!(world.failed.iter().find(seen), None, "of {:?}", record.gaps());
        for gap in record.gaps() {
            let lasted = gap.until.unwrap().since(gap.from).as_millis() as u64;
            let each = (1 + u64::from(world.lost)) * (TAKE_UP + 2 * WINDOW);
            prop_assert!(lasted <= each, "{lasted} ms, {} lost", world.lost);
        }
    }

    #[test]
    fn a_rotation_goes_back_only_as_long_as_nothing_was_asked_for(
        seed in any::<u64>(),
        trouble in troubles(),
        rollback_after in 0u32..40,
    ) {
        let rollback_after = Some(rollback_after);
        let mut world = World::new(seed, Trouble { rollback_after, ..trouble });
        let Ended { ending, record, .. } = world.rotate();
        match ending {
            Ending::RolledBack => {
                // Each request that there was had been turned away.
                prop_assert_eq!((world.server.len(), world.failed.len()), (1, 0));
                world.holds_alone(&secret("old"))?;
            }
            Ending::Done => world.holds_alone(&record.new.secret().unwrap().clone())?,
            other => prop_assert!(false, "{other:?}: {record:?}"),
        }
    }

    /// Whoever asked for a value at the console may need it, so a person has to look; then another one is asked
    /// for.
    #[test]
    fn a_value_that_somebody_asks_for_at_the_console_stops_the_rotation_until_a_person_has_looked(
        seed in any::<u64>(),
        state in prop::sample::select(&State::PATH_WITH_A_GAP[2..7]),
        crashes in 0u32..5,
    ) {
        let trouble = Trouble { crashes, at_the_console: Some(state), ..Trouble::default() };
        let mut world = World::new(seed, trouble);
        let Ended { ending, record, stuck } = world.rotate();
        prop_assert!(matches!(ending, Ending::Done), "{ending:?} {record:?}");
        if crashes == 0 {
            prop_assert_eq!(stuck, [StuckReason::ValueUnknown]);
        }
        world.holds_alone(&record.new.secret().unwrap().clone())?;
    }

    #[test]
    fn a_hold_stops_a_rotation_only_while_programs_can_sign_in(
        seed in any::<u64>(),
        trouble in troubles(),
        hold_after in 0u32..60,
    ) {
        let mut world = World::new(seed, Trouble { hold_after: Some(hold_after), ..trouble });
        let Ended { ending, record, .. } = world.rotate();
        match ending {
            Ending::Held(_) => {
                prop_assert!(!record.is_in_a_gap(), "{record:?}");
                // It was put before anything was asked for, or every program holds what is in force.
                let asked = world.asked;
                let before = world.failed.len();
                world.pass(4 * WINDOW);
                prop_assert!(asked > 0 || before == 0);
                if world.lost == 0 {
                    prop_assert_eq!(world.failed.len(), before, "{:?}", record);
                }
            }
            Ending::Done => {}
            other => prop_assert!(false, "{other:?}: {record:?}"),
        }
    }

    #[test]
    fn a_compromised_secret_is_dead_with_the_gap_and_the_deaf_are_named(
        seed in any::<u64>(),
        trouble in troubles(),
    ) {
        let mut world = World::new(seed, Trouble { compromised_and_deaf: true, ..trouble });
        let Ended { ending, record, .. } = world.rotate();
        prop_assert!(matches!(ending, Ending::Done), "{ending:?} {record:?}");
        let named: Vec<_> = record.broken().iter().map(|one| one.missing.to_string()).collect();
        prop_assert!(!named.is_empty() && named.iter().all(|one| one.starts_with("app/i2 ")), "{named:?}");
        world.holds_alone(&record.new.secret().unwrap().clone())?;
    }
}

/// A rotation whose first request was just decided.
fn asked() -> Rotation {
    let mut rotation = Rotation::new(World::new(1, Trouble::default()).begin());
    let now = Timestamp::from_milliseconds(2_000_000);
    assert!(matches!(rotation.step(Event::TakenUp, now), Effect::Probe(_)));
    let accepted = Event::Probed(Which::Old, Probe::Accepted);
    assert!(matches!(rotation.step(accepted, now), Effect::Add));
    assert_eq!(rotation.record().state, State::Adding);
    rotation
}

#[test]
fn a_definite_refusal_of_the_first_request_changes_nothing_and_there_is_a_way_back() {
    let mut rotation = asked();
    let now = Timestamp::from_milliseconds(2_000_100);
    let error = AuthorityError::new(AuthorityErrorKind::Permissions, "it may not");
    let refused = || Event::Added(AddAnswer::Refused(error.clone()));
    let effect = rotation.step(refused(), now);
    assert!(matches!(effect, Effect::Stop(Ending::Refused(_))), "{effect:?}");
    let record = rotation.record();
    assert_eq!((record.state, record.gaps()), (State::Generated, &[][..]));
    assert_eq!(record.way_back(), WayBack::Withdraw);

    // After one that had no answer, it says nothing about what the server holds.
    let mut rotation = asked();
    let _ = rotation.step(Event::Added(AddAnswer::Unknown("lost".into())), now);
    let refuses = Event::Probed(Which::Old, Probe::Refused);
    assert!(matches!(rotation.step(refuses, now), Effect::Add));
    let effect = rotation.step(refused(), now);
    assert!(matches!(effect, Effect::Stop(Ending::Refused(_))), "{effect:?}");
    let record = rotation.record();
    assert_eq!((record.state, record.gaps().len()), (State::Adding, 1));
    assert_eq!(record.way_back(), WayBack::OldIsGone);
}

#[test]
fn the_value_is_in_the_journal_before_anything_else_is_done_and_is_published_in_front_at_once() {
    let mut rotation = asked();
    assert!(!rotation.record().to_json().windows(6).any(|part| part == b"chosen"));
    let now = Timestamp::from_milliseconds(2_000_100);
    let new = Secret::new("new".parse().unwrap(), "chosen").unwrap();
    let effect = rotation.step(Event::Added(AddAnswer::Replaced(new.clone())), now);
    assert!(matches!(effect, Effect::Write), "{effect:?}");
    let read = Record::parse(&rotation.record().to_json()).unwrap();
    assert_eq!(read.new.secret(), Some(&new));
    assert_eq!(&read, rotation.record());
    let Effect::Publish { list, .. } = rotation.step(Event::Written, now) else { panic!() };
    assert_eq!(list, SecretList::new([new, secret("old")]).unwrap());
}

#[test]
fn the_account_says_who_accepted_the_gap_and_how_long_it_was() {
    let mut world = World::new(7, Trouble::default());
    let account = world.rotate().record.account();
    let gap = &account["gaps"][0];
    assert!(gap["until"].as_u64() > gap["from"].as_u64(), "{account}");
    assert_eq!(account["asked"].as_array().unwrap().len(), 1);
    let word = &account["asked"][0];
    assert_eq!(word["wish"], "accept_a_gap");
    assert_eq!(word["asker"]["by"], "ada");
    assert!(!account.to_string().contains("chosen-"), "{account}");
}

#[test]
fn a_process_takes_a_request_of_which_it_knows_no_answer_for_one_that_may_come_yet() {
    let sent = asked().record().change.last_sent;
    let mut rotation = Rotation::new(Record::parse(&asked().record().to_json()).unwrap());
    let now = Timestamp::from_milliseconds(2_060_000);
    // Which secret is in force matters less than that the server answers again.
    assert!(matches!(rotation.step(Event::TakenUp, now), Effect::Probe(Which::Old)));
    let record = rotation.record();
    assert!(record.change.unresolved && record.in_flight_until() > Some(now), "{record:?}");
    assert_eq!(record.gaps(), [Gap { from: sent, until: None }]);
    let silent = Event::Probed(Which::Old, Probe::Inconclusive("502".into()));
    assert!(matches!(rotation.step(silent, now), Effect::Wait(..)));
    assert!(matches!(rotation.step(Event::Waited, now), Effect::Probe(Which::Old)));
    let refuses = Event::Probed(Which::Old, Probe::Refused);
    assert!(matches!(rotation.step(refuses, now), Effect::Add));
}

/// Instances may be missing for long, and a late request may end the value meanwhile.
#[test]
fn the_server_is_looked_at_while_instances_are_waited_for() {
    let mut rotation = asked();
    let at = |milliseconds| Timestamp::from_milliseconds(2_000_000 + milliseconds);
    let _ = rotation.step(Event::Added(AddAnswer::Unknown("lost".into())), at(100));
    let _ = rotation.step(Event::Probed(Which::Old, Probe::Refused), at(200));
    let new = Secret::new("new".parse().unwrap(), "chosen").unwrap();
    let _ = rotation.step(Event::Added(AddAnswer::Replaced(new)), at(300));
    let _ = rotation.step(Event::Published(Revision::new(2)), at(300));
    assert_eq!(rotation.record().state, State::Staged);
    let nobody = || Event::Fleet(Fleet::default());
    assert!(matches!(rotation.step(nobody(), at(400)), Effect::Wait(..)));
    let mut now = 400 + WINDOW;
    assert!(matches!(rotation.step(nobody(), at(now)), Effect::Probe(Which::New)));
    // It refuses both, for longer than its nodes may disagree: another value is asked for.
    let mut event = Event::Probed(Which::New, Probe::Refused);
    for _ in 0..100 {
        now += 50;
        event = match rotation.step(event, at(now)) {
            Effect::Probe(which) => Event::Probed(which, Probe::Refused),
            Effect::Observe => nobody(),
            Effect::ReadBack => Event::ReadBack(ReadBack::Unavailable("it cannot".into())),
            Effect::Wait(..) => Event::Waited,
            Effect::Add => {
                assert!(now <= 400 + 3 * WINDOW, "{now}");
                assert_eq!(rotation.record().new.id().as_str(), "new-2");
                return;
            }
            other => panic!("{other:?}"),
        };
    }
    panic!("{:?}", rotation.record());
}
