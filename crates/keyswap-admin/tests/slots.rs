//! The protocol at a simulated server that holds several secrets: nodes that take up a change late, answers
//! that are lost, requests that are applied after they were given up, values that only the server knows, a
//! person at its console, and a rotator that is killed at any step.

#[path = "common/programs.rs"]
mod programs;

use std::time::Duration;

use keyswap_admin::authority::{
    AddAnswer, ChangeAnswer, Listed, NewSecret, Probe, ReadBack, Slot, SlotId,
};
use keyswap_admin::rotation::{
    Direction, Effect, Ending, Event, Fleet, Record, Removal, Rotation, SlotChange, Slots, State,
    StuckReason, Timestamp, WayBack, Which,
};
use keyswap_admin::{Application, RotationPolicy};
use keyswap_core::{Revision, Secret, SecretId, SecretList};
use programs::{Dice, Programs};
use proptest::prelude::*;

const WINDOW: u64 = 1_000;
const IN_FLIGHT: u64 = 5_000;
const NODES: usize = 3;
/// How many secrets the server takes.
const MOST: usize = 3;

fn secret(id: &str) -> Secret {
    Secret::new(id.parse().unwrap(), format!("value-of-{id}")).unwrap()
}

fn policy() -> RotationPolicy {
    let window = Duration::from_millis(WINDOW);
    let mut policy = RotationPolicy::new([Application::new("app").instances(2)])
        .propagation_window(window)
        .quiet_period(window)
        .observation_period(3 * window)
        .poll_every(Duration::from_millis(100));
    policy.probes = 4;
    policy.in_flight_bound = Duration::from_millis(IN_FLIGHT);
    policy
}

/// What the server shows of a secret in its list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shows {
    Value,
    Text,
    Nothing,
}

/// What a server is like, and what may go wrong at it.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    chosen_by_caller: bool,
    shows: Shows,
    deactivation: bool,
    /// The server takes two, chooses their values, never removes the one that came last, and says which one it has
    /// added when it is asked again.
    newest_stays: bool,
    crashes: u32,
    lost_answers: u32,
    rollback_after: Option<u32>,
    /// The old secret is compromised, and one instance never takes up another list.
    compromised_and_deaf: bool,
    /// The server has as many secrets as it can, and a person named the second, which is in force or not.
    full: Option<bool>,
    /// The state in which somebody at the console does this.
    at_the_console: Option<(State, Console)>,
}

const NO_TROUBLE: Trouble = Trouble {
    chosen_by_caller: true,
    shows: Shows::Value,
    deactivation: false,
    newest_stays: false,
    crashes: 0,
    lost_answers: 0,
    rollback_after: None,
    compromised_and_deaf: false,
    full: None,
    at_the_console: None,
};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Console {
    AddsASecret,
    RemovesTheNewOne,
    RemovesTheOldOne,
}

/// One of the client's secrets, and since when each node takes it or does not.
struct Held {
    id: SlotId,
    secret: Secret,
    changes: Vec<Change>,
    foreign: bool,
}

struct Change {
    to: Option<bool>,
    applied: u64,
    arrives: [u64; NODES],
}

impl Held {
    /// Whether it is in force for whoever has heard of what reached it by `when`; `None`: it is gone.
    fn state(&self, when: impl Fn(&Change) -> bool) -> Option<bool> {
        let mut heard: Vec<&Change> = self.changes.iter().filter(|change| when(change)).collect();
        heard.sort_by_key(|change| change.applied);
        // What is removed stays so.
        let removed = heard.iter().any(|change| change.to.is_none());
        heard.last().filter(|_| !removed).and_then(|change| change.to)
    }
}

/// Whether a node takes the secret now.
fn accepts(server: &[Held], node: usize, secret: &Secret, now: u64) -> bool {
    let heard = |change: &Change| change.arrives[node] <= now;
    server.iter().any(|held| held.secret == *secret && held.state(heard) == Some(true))
}

struct World {
    now: u64,
    dice: Dice,
    server: Vec<Held>,
    published: (Revision, SecretList),
    programs: Programs,
    trouble: Trouble,
    failed: u64,
    /// The journal names the instance that never takes up another list.
    broken: bool,
    stopped: u32,
}

impl World {
    fn new(seed: u64, trouble: Trouble) -> Self {
        let (now, list) = (1_000_000, SecretList::new([secret("old")]).unwrap());
        let published = (Revision::new(1), list);
        let mut world = Self {
            now,
            dice: Dice(seed),
            server: Vec::new(),
            programs: Programs::new(published.clone(), WINDOW, now),
            published,
            trouble,
            failed: 0,
            broken: false,
            stopped: 0,
        };
        world.hold(secret("old"), 0, false);
        if let Some(active) = trouble.full {
            world.hold(secret("named"), 0, false);
            let changes = vec![world.change_of(Some(active), 0)];
            world.server[1].changes = changes;
            world.hold(secret("foreign"), 0, true);
        }
        world
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice.roll(sides)
    }

    fn change_of(&mut self, to: Option<bool>, applied: u64) -> Change {
        let late = [(); NODES].map(|()| self.roll(WINDOW * 9 / 10));
        // What was there at the beginning has arrived.
        let arrives = late.map(|late| if applied == 0 { 0 } else { applied + late });
        Change { to, applied, arrives }
    }

    fn hold(&mut self, secret: Secret, applied: u64, foreign: bool) -> SlotId {
        let id = SlotId::new(format!("slot-{}", self.server.len()));
        let changes = vec![self.change_of(Some(true), applied)];
        self.server.push(Held { id: id.clone(), secret, changes, foreign });
        id
    }

    fn listed(&self) -> impl Iterator<Item = (&Held, bool)> {
        let now = self.now;
        self.server
            .iter()
            .filter_map(move |held| Some((held, held.state(|change| change.applied <= now)?)))
    }

    fn accepts(&self, node: usize, secret: &Secret) -> bool {
        accepts(&self.server, node, secret, self.now)
    }

    fn pass(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds.max(1);
        while self.now < end {
            self.now = (self.now + 50).min(end);
            for index in 0..self.programs.instances.len() {
                if self.roll(6) == 0 && !(self.trouble.compromised_and_deaf && index == 1) {
                    self.programs.take_up(index, &self.published, self.now);
                }
                let (server, dice, now) = (&self.server, &mut self.dice, self.now);
                let accepted = self.programs.sign_in(index, now, |secret| {
                    accepts(server, dice.roll(NODES as u64) as usize, secret, now)
                });
                let broken = index == 1 && self.broken;
                self.failed += u64::from(!accepted && !broken);
            }
        }
    }

    /// The answer to a request, which may be applied now, later or never.
    fn answer(&mut self) -> (Option<u64>, Result<(), ChangeAnswer>) {
        let lost = || Err(ChangeAnswer::Unknown("the answer was lost".into()));
        if self.trouble.lost_answers > 0 && self.roll(2) == 0 {
            self.trouble.lost_answers -= 1;
            return match self.roll(4) {
                0 => (Some(self.now), lost()),
                1 => (None, lost()),
                // Where there is room for two, one that comes later finds none.
                2 if self.trouble.newest_stays => (Some(self.now + self.roll(WINDOW / 2)), lost()),
                2 => (Some(self.now + self.roll(3 * WINDOW)), lost()),
                _ => (None, Err(ChangeAnswer::RetryAfter(Duration::from_millis(300)))),
            };
        }
        (Some(self.now), Ok(()))
    }

    fn add(&mut self, new: &NewSecret, again: bool) -> AddAnswer {
        let own = |held: &Held| held.secret.id() == new.id() && !held.foreign;
        if self.trouble.newest_stays
            && again
            && let Some((held, _)) = self.listed().find(|(held, _)| own(held))
        {
            return AddAnswer::Added(held.id.clone(), held.secret.clone());
        }
        let most = if self.trouble.newest_stays { 2 } else { MOST };
        if self.listed().count() >= most {
            let error = keyswap_admin::AuthorityError::new(
                keyswap_admin::AuthorityErrorKind::Refused,
                "there is no room",
            );
            return AddAnswer::Refused(error);
        }
        let secret = match new {
            NewSecret::Known(secret) => secret.clone(),
            NewSecret::Awaited(id) => {
                let value = format!("chosen-{}", self.server.len());
                Secret::new(id.clone(), value).unwrap()
            }
        };
        let (applied, answer) = self.answer();
        let slot = applied.map(|applied| self.hold(secret.clone(), applied, false));
        match (answer, slot) {
            (Ok(()), Some(slot)) => AddAnswer::Added(slot, secret),
            (Err(ChangeAnswer::RetryAfter(time)), _) => AddAnswer::RetryAfter(time),
            _ => AddAnswer::Unknown("the answer was lost".into()),
        }
    }

    fn change(&mut self, slot: &SlotId, to: Option<bool>) -> ChangeAnswer {
        let (applied, answer) = self.answer();
        let change = applied.map(|applied| self.change_of(to, applied));
        let is_last = self.listed().last().is_some_and(|(held, _)| held.id == *slot);
        let held = self.server.iter_mut().find(|held| held.id == *slot).unwrap();
        assert!(!held.foreign, "the rotation touched {slot}, which is somebody else's");
        assert!(!self.trouble.newest_stays || !is_last, "{slot} is the newest, and stays");
        held.changes.extend(change);
        answer.err().unwrap_or(ChangeAnswer::Applied)
    }

    fn person(&mut self, record: &Record) {
        let Some((state, act)) = self.trouble.at_the_console else { return };
        if state != record.state {
            return;
        }
        self.trouble.at_the_console = None;
        let value = match act {
            Console::AddsASecret => {
                self.hold(secret("foreign"), self.now, true);
                return;
            }
            Console::RemovesTheNewOne => record.new.secret().unwrap().clone(),
            Console::RemovesTheOldOne => record.old.clone(),
        };
        let change = self.change_of(None, self.now);
        let held = self.server.iter_mut().find(|held| held.secret == value).unwrap();
        held.changes.push(change);
    }

    fn perform(&mut self, effect: Effect, record: &Record) -> Result<Event, Ending> {
        let latency = 1 + self.roll(40);
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
            Effect::Add => Event::Added(self.add(&record.new, record.change.unresolved)),
            Effect::ChangeSlot(slot, change) => Event::SlotChanged(match change {
                SlotChange::Activate => self.change(&slot, Some(true)),
                SlotChange::Deactivate => self.change(&slot, Some(false)),
                SlotChange::Remove => self.change(&slot, None),
            }),
            Effect::List => Event::Listed(Listed::Slots(self.slots(&record.known()))),
            Effect::ReadBack => Event::ReadBack(ReadBack::Unavailable("it cannot".into())),
            Effect::Probe(which) => {
                let node = self.roll(NODES as u64) as usize;
                let accepted = self.accepts(node, record.secret(which).unwrap());
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

    fn slots(&self, known: &[Secret]) -> Vec<Slot> {
        let shows = self.trouble.shows;
        let slot = |(held, active): (&Held, bool)| {
            let id = |shown| (shows == shown).then(|| held.secret.id().clone());
            let text =
                id(Shows::Text).filter(|_| !held.foreign && held.secret.id().as_str() != "old");
            let value = id(Shows::Value).filter(|_| known.contains(&held.secret));
            Slot::new(held.id.clone()).active(active).holding(value).made_for(text)
        };
        self.listed().map(slot).collect()
    }

    fn begin(&self) -> Record {
        let new = match self.trouble.chosen_by_caller {
            true => NewSecret::Known(secret("new")),
            false => NewSecret::Awaited("new".parse::<SecretId>().unwrap()),
        };
        let listed = self.slots(&[secret("old")]);
        let present = SlotId::new("slot-0");
        let mut slots = Slots::new(present.clone(), &listed, self.trouble.deactivation)
            .where_the_newest_stays(self.trouble.newest_stays);
        if self.trouble.full.is_some() {
            let named = SlotId::new("slot-1");
            slots = slots.without(Removal::of(&named, &present, (&listed, 3), &[]).unwrap());
        }
        let now = Timestamp::from_milliseconds(self.now);
        let revision = self.published.0;
        let record =
            Record::begin("client", policy(), secret("old"), new, revision, now).adding(slots);
        match self.trouble.compromised_and_deaf {
            true => record.compromised_within(Duration::from_secs(10)),
            false => record,
        }
    }

    /// Runs a rotation until it stops, killing and resuming it on the way. Whom it calls looks, and does
    /// what `answer` says.
    fn rotate(&mut self, answer: Event) -> (Ending, Record) {
        let record = self.begin();
        let mut journal = record.to_json();
        let mut rotation = Rotation::new(record);
        let mut event = Event::TakenUp;
        for step in 0..40_000 {
            if self.trouble.rollback_after == Some(step) {
                rotation = Rotation::new(Record::parse(&journal).unwrap());
                event = Event::RollbackWanted;
            }
            let effect = rotation.step(event, Timestamp::from_milliseconds(self.now));
            if self.crash() {
                rotation = Rotation::new(Record::parse(&journal).unwrap());
                event = Event::TakenUp;
                continue;
            }
            if Record::parse(&journal).unwrap().state != rotation.record().state {
                self.person(rotation.record());
            }
            journal = rotation.record().to_json();
            self.broken = !rotation.record().broken().is_empty();
            event = match self.perform(effect, rotation.record()) {
                Ok(happened) => happened,
                Err(Ending::Unknown(_) | Ending::Throttled | Ending::NoWayBack(_)) => {
                    Event::TakenUp
                }
                Err(Ending::Stuck(_)) if self.stopped < 3 => {
                    self.stopped += 1;
                    answer.clone()
                }
                Err(ending) => return (ending, rotation.record().clone()),
            };
            if self.crash() {
                rotation = Rotation::new(Record::parse(&journal).unwrap());
                event = Event::TakenUp;
            }
        }
        panic!("the rotation does not end: {:?}", rotation.record());
    }

    fn crash(&mut self) -> bool {
        let crash = self.trouble.crashes > 0 && self.roll(25) == 0;
        self.trouble.crashes -= u32::from(crash);
        crash
    }

    /// Which secrets the client has in the end, once everything has arrived.
    fn left(&mut self) -> Vec<String> {
        self.pass(IN_FLIGHT + 2 * WINDOW);
        self.listed().map(|(held, _)| held.secret.id().to_string()).collect()
    }
}

/// Two were added, and nothing tells that they are not somebody's, also when there is no room for another one:
/// a person has to look.
fn is_for_a_person(trouble: &Trouble, ending: &Ending) -> bool {
    let left_over = matches!(
        ending,
        Ending::Refused(_)
            | Ending::Stuck(StuckReason::OldSecretStillAccepted | StuckReason::SecretAppeared)
    );
    left_over && trouble.shows == Shows::Nothing && trouble.lost_answers > 0
}

fn servers() -> impl Strategy<Value = Trouble> {
    let shows = prop_oneof![Just(Shows::Value), Just(Shows::Text), Just(Shows::Nothing)];
    (any::<bool>(), shows, any::<bool>(), 0u32..8, 0u32..5).prop_map(
        |(chosen_by_caller, shows, deactivation, crashes, lost_answers)| Trouble {
            chosen_by_caller,
            // A value that nobody knows can be recognised by the text that goes with it alone.
            shows: if chosen_by_caller { shows } else { Shows::Text },
            deactivation,
            newest_stays: false,
            crashes,
            lost_answers,
            rollback_after: None,
            compromised_and_deaf: false,
            full: None,
            at_the_console: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn a_rotation_ends_with_the_new_secret_alone_and_not_one_failed_request(
        seed in any::<u64>(),
        trouble in servers(),
    ) {
        let mut world = World::new(seed, trouble);
        let (ending, record) = world.rotate(Event::TakenUp);
        prop_assert_eq!(world.failed, 0);
        if is_for_a_person(&trouble, &ending) {
            return Ok(());
        }
        prop_assert!(matches!(ending, Ending::Done), "{ending:?} {record:?}");
        let new = record.new.secret().unwrap().clone();
        prop_assert_eq!(&world.published.1, &SecretList::new([new.clone()]).unwrap());
        for (ring, _) in &world.programs.instances {
            let held = ring.snapshot().list();
            prop_assert_eq!(held.preferred(), &new);
        }
        let left = world.left();
        prop_assert!((0..NODES).all(|node| world.accepts(node, &new)));
        prop_assert!((0..NODES).all(|node| !world.accepts(node, &record.old)));
        prop_assert!(left.iter().all(|id| id == "new"), "{left:?}");
        // Where no answer was lost, nothing is left over and not even a fallback was needed.
        if trouble.lost_answers == 0 {
            prop_assert_eq!(left.len(), 1);
            prop_assert_eq!(world.programs.refusals, 0);
        }
    }

    #[test]
    fn a_rotation_that_goes_back_at_any_moment_ends_as_it_began(
        seed in any::<u64>(),
        trouble in servers(),
        rollback_after in 0u32..120,
    ) {
        let rollback_after = Some(rollback_after);
        let mut world = World::new(seed, Trouble { rollback_after, ..trouble });
        let (ending, record) = world.rotate(Event::TakenUp);
        prop_assert_eq!(world.failed, 0);
        let stays = match ending {
            Ending::RolledBack => "old",
            Ending::Done => "new",
            ending if is_for_a_person(&trouble, &ending) => return Ok(()),
            other => panic!("{other:?}: {record:?}"),
        };
        let left = world.left();
        prop_assert_eq!(world.failed, 0);
        prop_assert!(left.iter().all(|id| id == stays), "{left:?} {record:?}");
        let ids: Vec<String> = world.published.1.ids().map(ToString::to_string).collect();
        prop_assert_eq!(ids, [stays]);
    }

    /// Whatever somebody does at the console, what they added is never touched, and the way that the
    /// message names leads to an end in which every program signs in.
    #[test]
    fn what_somebody_does_at_the_console_in_the_middle_costs_no_request_and_is_left_as_it_is(
        seed in any::<u64>(),
        trouble in servers(),
        state in prop::sample::select(&State::PATH_WITH_SLOTS[2..7]),
        act in prop::sample::select(
            &[Console::AddsASecret, Console::RemovesTheNewOne, Console::RemovesTheOldOne][..]
        ),
        back in any::<bool>(),
    ) {
        let at_the_console = Some((state, act));
        // Before each node takes the new one for each program, nobody can do without the old one.
        let alone = act == Console::RemovesTheOldOne && state < State::Confirmed;
        prop_assume!(!alone);
        let mut world = World::new(seed, Trouble { at_the_console, lost_answers: 0, ..trouble });
        let answer = if back { Event::RollbackWanted } else { Event::TakenUp };
        let (ending, record) = world.rotate(answer);
        match (act, &ending) {
            (_, Ending::Done | Ending::RolledBack) => {}
            // The new one is gone for good, and the person did not choose the way back.
            (Console::RemovesTheNewOne, Ending::Stuck(StuckReason::SecretGone)) if !back => {
                prop_assert_eq!(record.way_back(), WayBack::Remove);
            }
            // Nobody can lead the programs back to the old one.
            (Console::RemovesTheOldOne, Ending::Stuck(StuckReason::SecretGone)) if back => {
                prop_assert_eq!(record.direction(), Direction::Back);
            }
            _ => prop_assert!(false, "{ending:?} {record:?}"),
        }
        prop_assert_eq!(world.failed, 0);
        let left = world.left();
        prop_assert_eq!(world.failed, 0);
        prop_assert_eq!(left.contains(&"foreign".to_owned()), act == Console::AddsASecret);
    }
}

#[test]
fn where_there_is_room_nothing_is_removed() {
    let slots = ["present", "other"].map(|name| Slot::new(SlotId::new(name)));
    let (present, other) = (&slots[0].id, &slots[1].id);
    let of = |most| Removal::of(other, present, (&slots, most), &[]);
    assert!(of(3).unwrap_err().contains("there is room"));
    assert!(of(2).is_ok_and(|removal| removal.slot == *other && removal.was_active));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// The one that a person named goes first, after everybody could notice that it was out of force; the
    /// others stay as they are.
    #[test]
    fn the_secret_that_a_person_named_makes_room_and_no_other_one_is_touched(
        seed in any::<u64>(),
        trouble in servers(),
        active in any::<bool>(),
    ) {
        let mut world = World::new(seed, Trouble { full: Some(active), ..trouble });
        let (ending, record) = world.rotate(Event::TakenUp);
        prop_assert!(matches!(ending, Ending::Done), "{ending:?} {record:?}");
        prop_assert_eq!(world.failed, 0);
        let changes = &world.server[1].changes;
        // A request that had no answer may have been applied after one that was sent later.
        let at = |to| {
            let such = changes.iter().filter(|change| change.to == to);
            such.map(|change| change.applied).min()
        };
        let removed = at(None).unwrap();
        let begun = record.entered[0].at.milliseconds();
        match (trouble.deactivation, active) {
            (true, true) => {
                let out_of_force = at(Some(false)).unwrap();
                prop_assert!(removed >= out_of_force + 3 * WINDOW, "{out_of_force} {removed}");
            }
            (false, true) => prop_assert_eq!(at(Some(false)), None),
            (_, false) => prop_assert!(removed < begun + 3 * WINDOW || trouble.lost_answers > 0),
        }
        let mut left = world.left();
        prop_assert_eq!(world.failed, 0);
        // Of a request to add that had no answer, one more may be left where nothing tells whose it is.
        left.dedup();
        prop_assert_eq!(left, ["foreign", "new"]);
    }

    #[test]
    fn a_rotation_that_goes_back_while_it_makes_room_leaves_what_was_there_as_it_was(
        seed in any::<u64>(),
        trouble in servers(),
        active in any::<bool>(),
        rollback_after in 0u32..60,
    ) {
        let (full, rollback_after) = (Some(active), Some(rollback_after));
        let mut world = World::new(seed, Trouble { full, rollback_after, ..trouble });
        let (ending, record) = world.rotate(Event::TakenUp);
        let turned = record.rollback.map(|rollback| rollback.from);
        prop_assume!(matches!(turned, Some(State::Generated | State::MakingRoom)));
        prop_assert!(matches!(ending, Ending::RolledBack), "{ending:?} {record:?}");
        prop_assert_eq!(world.failed, 0);
        world.pass(IN_FLIGHT + 2 * WINDOW);
        let now: Vec<_> = world
            .listed()
            .map(|(held, active)| (held.secret.id().to_string(), active))
            .collect();
        let named = now.iter().find(|(id, _)| id == "named");
        // It may be gone already, and is never left as something else than it was.
        prop_assert!(named.is_none_or(|(_, now)| *now == active), "{now:?} {record:?}");
        let others = now.iter().filter(|(id, _)| id != "named");
        let others: Vec<_> = others.map(|(id, active)| (id.as_str(), *active)).collect();
        prop_assert_eq!(others, [("old", true), ("foreign", true)]);
    }
}

/// As WSO2 is.
fn where_the_newest_stays() -> impl Strategy<Value = Trouble> {
    servers().prop_map(|trouble| Trouble {
        chosen_by_caller: false,
        shows: Shows::Value,
        deactivation: false,
        newest_stays: true,
        ..trouble
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// Nothing is added twice, so nothing is left over either.
    #[test]
    fn where_the_newest_stays_a_rotation_ends_with_the_new_secret_alone(
        seed in any::<u64>(),
        trouble in where_the_newest_stays(),
    ) {
        let mut world = World::new(seed, trouble);
        let (ending, record) = world.rotate(Event::TakenUp);
        prop_assert!(matches!(ending, Ending::Done), "{ending:?} {record:?}");
        let left = world.left();
        prop_assert_eq!(world.failed, 0);
        prop_assert_eq!(left, ["new"]);
        prop_assert!((0..NODES).all(|node| !world.accepts(node, &record.old)));
    }

    /// From where programs may hold what was added it goes forward, and before that what was added is left.
    #[test]
    fn where_the_newest_stays_a_rotation_is_left_before_anything_is_handed_out_or_goes_on(
        seed in any::<u64>(),
        trouble in where_the_newest_stays(),
        rollback_after in 0u32..60,
    ) {
        let rollback_after = Some(rollback_after);
        let mut world = World::new(seed, Trouble { rollback_after, ..trouble });
        let (ending, record) = world.rotate(Event::TakenUp);
        let (stays, may_be_left) = match ending {
            Ending::RolledBack => ("old", &["old", "new"][..]),
            Ending::Done => ("new", &["new"][..]),
            other => panic!("{other:?}: {record:?}"),
        };
        let left = world.left();
        prop_assert_eq!(world.failed, 0);
        prop_assert!(left.iter().all(|id| may_be_left.contains(&id.as_str())), "{left:?}");
        prop_assert!(left.iter().any(|id| id == stays), "{left:?}");
        let ids: Vec<String> = world.published.1.ids().map(ToString::to_string).collect();
        prop_assert_eq!(ids, [stays]);
        if stays == "old" {
            let from = record.rollback.unwrap().from;
            prop_assert!(matches!(from, State::Generated | State::Adding), "{from}");
        }
    }
}

#[test]
fn what_a_server_refuses_to_add_again_is_said_and_asked_for_when_it_is_resumed() {
    let trouble = Trouble { chosen_by_caller: false, newest_stays: true, ..NO_TROUBLE };
    let mut world = World::new(1, trouble);
    let mut rotation = Rotation::new(world.begin());
    let at = |world: &World| Timestamp::from_milliseconds(world.now);
    assert!(matches!(rotation.step(Event::TakenUp, at(&world)), Effect::List));
    let listed = |world: &World| Event::Listed(Listed::Slots(world.slots(&[secret("old")])));
    assert!(matches!(rotation.step(listed(&world), at(&world)), Effect::Add));
    let lost = Event::Added(AddAnswer::Unknown("the answer was lost".into()));
    assert!(matches!(rotation.step(lost, at(&world)), Effect::List));
    // Nothing is there yet, and may be on its way.
    assert!(matches!(rotation.step(listed(&world), at(&world)), Effect::Wait(..)));
    world.hold(secret("foreign"), 0, true);
    assert!(
        matches!(rotation.step(listed(&world), at(&world)), Effect::Add),
        "the server can tell"
    );
    let error = keyswap_admin::AuthorityError::new(
        keyswap_admin::AuthorityErrorKind::Refused,
        "there is no room",
    );
    let refused = Event::Added(AddAnswer::Refused(error.clone()));
    assert!(matches!(rotation.step(refused, at(&world)), Effect::List));
    let effect = rotation.step(listed(&world), at(&world));
    assert!(matches!(&effect, Effect::Stop(Ending::Refused(said)) if *said == error), "{effect:?}");
    assert_eq!(rotation.record().state, State::Adding);
    assert_eq!(rotation.record().way_back(), WayBack::Leave);
    assert!(matches!(rotation.step(Event::TakenUp, at(&world)), Effect::List));
    assert!(matches!(rotation.step(listed(&world), at(&world)), Effect::Add));
}

#[test]
fn a_list_that_was_asked_for_within_the_window_and_came_late_is_no_word_that_the_new_secret_is_gone()
 {
    let mut world = World::new(1, NO_TROUBLE);
    let mut rotation = Rotation::new(world.begin());
    let without = world.slots(&[secret("old")]);
    let listed = || Event::Listed(Listed::Slots(without.clone()));
    let mut event = Event::TakenUp;
    loop {
        let effect = rotation.step(event, Timestamp::from_milliseconds(world.now));
        if rotation.record().state == State::Adopted && matches!(effect, Effect::List) {
            break;
        }
        event = world.perform(effect, rotation.record()).unwrap();
    }
    let added = rotation.record().change.last_sent;
    let at = |since: u64| added.after(Duration::from_millis(since));
    assert!(world.now < at(WINDOW).milliseconds(), "it was asked for within the window");
    let effect = rotation.step(listed(), at(WINDOW + 500));
    assert!(matches!(effect, Effect::Wait(..)), "{effect:?}");
    // It asks once more, and by then each node knows.
    let (mut effect, mut since) = (effect, WINDOW + 500);
    while !matches!(effect, Effect::Write) {
        since += 100;
        let event = match effect {
            Effect::Wait(..) => Event::Waited,
            Effect::Probe(which) => Event::Probed(which, Probe::Refused),
            Effect::List => listed(),
            other => panic!("{other:?}"),
        };
        effect = rotation.step(event, at(since));
    }
    assert_eq!(rotation.record().state, State::Stuck);
}

/// Goes on until the world is asked for what is wanted in this state, and gives that.
fn until(
    (world, rotation): (&mut World, &mut Rotation),
    mut event: Event,
    state: State,
    is_wanted: impl Fn(&Effect) -> bool,
) -> Effect {
    loop {
        let effect = rotation.step(event, Timestamp::from_milliseconds(world.now));
        if rotation.record().state == state && is_wanted(&effect) {
            return effect;
        }
        event = world.perform(effect, rotation.record()).unwrap();
    }
}

/// Answers each token request so, the second one long after it was sent. The rotation asks once more, and only then stops.
fn asks_once_more_where_an_answer_came_late(
    (world, rotation): (&mut World, &mut Rotation),
    event: Event,
    answer: impl Fn(Which) -> Event,
) {
    let state = rotation.record().state;
    let is_probe = |effect: &Effect| matches!(effect, Effect::Probe(_));
    let probe = |world: &mut World, rotation: &mut Rotation, event, took: u64| {
        let effect = until((world, rotation), event, state, is_probe);
        let Effect::Probe(which) = effect else { unreachable!("it is one") };
        world.now += took;
        answer(which)
    };
    let event = probe(world, rotation, event, 1);
    let event = probe(world, rotation, event, WINDOW + 500);
    let effect = rotation.step(event, Timestamp::from_milliseconds(world.now));
    assert!(matches!(effect, Effect::Wait(..)), "{effect:?}");
    let event = probe(world, rotation, Event::Waited, 1);
    let effect = rotation.step(event, Timestamp::from_milliseconds(world.now));
    assert!(matches!(effect, Effect::Write), "{effect:?}");
    assert_eq!(rotation.record().state, State::Stuck);
}

#[test]
fn an_old_secret_that_was_accepted_within_the_window_of_its_removal_may_be_told_so_later() {
    let mut world = World::new(1, NO_TROUBLE);
    let mut rotation = Rotation::new(world.begin());
    let removed = |effect: &Effect| matches!(effect, Effect::Probe(Which::Old));
    until((&mut world, &mut rotation), Event::TakenUp, State::Removing, removed);
    let accepted = |which| Event::Probed(which, Probe::Accepted);
    let first = accepted(Which::Old);
    asks_once_more_where_an_answer_came_late((&mut world, &mut rotation), first, accepted);
}

#[test]
fn a_new_secret_that_was_refused_within_the_window_of_its_addition_may_be_told_so_later() {
    let mut world = World::new(1, Trouble { shows: Shows::Nothing, ..NO_TROUBLE });
    let mut rotation = Rotation::new(world.begin());
    let add = |effect: &Effect| matches!(effect, Effect::Add);
    let effect = until((&mut world, &mut rotation), Event::TakenUp, State::Adding, add);
    world.perform(effect, rotation.record()).unwrap();
    let lost = Event::Added(AddAnswer::Unknown("its answer is lost".to_owned()));
    let refused = |which| Event::Probed(which, Probe::Refused);
    asks_once_more_where_an_answer_came_late((&mut world, &mut rotation), lost, refused);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Also the time in which an old secret that is out of force could be put back is left out.
    #[test]
    fn a_compromised_rotation_ends_and_fails_no_request_of_anybody_whom_it_does_not_name(
        seed in any::<u64>(),
        trouble in servers(),
    ) {
        let mut world = World::new(seed, Trouble { compromised_and_deaf: true, ..trouble });
        let (ending, record) = world.rotate(Event::TakenUp);
        prop_assert_eq!(world.failed, 0);
        if is_for_a_person(&trouble, &ending) {
            return Ok(());
        }
        prop_assert!(matches!(ending, Ending::Done), "{ending:?} {record:?}");
        let named: Vec<_> = record.broken().iter().map(|one| one.missing.to_string()).collect();
        prop_assert_eq!(named.len(), 1);
        prop_assert!(named[0].starts_with("app/i2 "), "{named:?}");
        let lasted = |state| {
            let at = record.entered.iter().position(|entered| entered.state == state)?;
            Some(record.entered.get(at + 1)?.at.since(record.entered[at].at))
        };
        if trouble.deactivation && trouble.crashes == 0 && trouble.lost_answers == 0 {
            let observed = lasted(State::Deactivated).unwrap();
            prop_assert!(observed < Duration::from_millis(3 * WINDOW), "{observed:?}");
        }
        let left = world.left();
        prop_assert_eq!(world.failed, 0);
        prop_assert!(left.iter().all(|id| id == "new"), "{left:?}");
    }
}
