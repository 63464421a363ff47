//! The protocol against a simulated world: nodes that take up a change late, answers that are lost,
//! requests that are applied after they were given up, and a rotator that is killed at any step.
//!
//! The instances are real rings with the real fallback decision; only time, the network and the server
//! are simulated, so that a run comes out the same from its seed each time.

use std::time::{Duration, Instant};

use keyswap_admin::authority::{ChangeAnswer, Probe, ReadBack};
use keyswap_admin::rotation::{
    Broken, Effect, Ending, Event, Fleet, Gate, Missing, NothingToConfirm, Record, Rollback,
    Rotation, State, StuckReason, Timestamp, WayBack, Which,
};
use keyswap_admin::{Application, AuthorityError, AuthorityErrorKind, RotationPolicy};
use keyswap_core::{
    Attempts, FallbackPolicy, Next, Revision, Secret, SecretId, SecretList, SecretRing, Verdict,
};
use keyswap_store::{Hold, InstanceReport};
use proptest::prelude::*;

const WINDOW: u64 = 1_000;
/// How long a change that was given up may be on its way.
const IN_FLIGHT: u64 = 5_000;

/// How long instances have to take up both secrets if the old one is compromised.
const PATIENCE: Duration = Duration::from_secs(10);

fn named(one: &Broken) -> String {
    match &one.missing {
        Missing::Revision { instance, .. } => instance.clone(),
        other => other.to_string(),
    }
}

fn secret(id: &str) -> Secret {
    Secret::new(id.parse().unwrap(), format!("value-of-{id}")).unwrap()
}

fn policy() -> RotationPolicy {
    let mut policy = RotationPolicy::new([Application::new("app").instances(2)])
        .propagation_window(Duration::from_millis(WINDOW))
        .quiet_period(Duration::from_millis(WINDOW))
        .poll_every(Duration::from_millis(100));
    policy.probes = 4;
    policy.in_flight_bound = Duration::from_millis(IN_FLIGHT);
    policy
}

/// What may go wrong in a run.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    crashes: u32,
    lost_answers: u32,
    read_back: bool,
    /// The state in which somebody else changes the secret.
    foreign_change: Option<State>,
    instance_restarts: u32,
    /// After how many steps a person wants the rotation to go back.
    rollback_after: Option<u32>,
    /// A person whom a stuck rotation calls takes it back.
    rollback_when_stuck: bool,
    /// After how many steps a person says that the old secret is compromised.
    compromised_after: Option<u32>,
    /// One of the instances never takes up another list.
    deaf: bool,
    /// The server holds the secret `new`, which an earlier rotation retired, and the programs hold `old`.
    returned: bool,
    /// The state in which the server holds the secret `gone` again, which an earlier rotation retired.
    returns_in: Option<State>,
}

impl Trouble {
    const NONE: Self = Self {
        crashes: 0,
        lost_answers: 0,
        read_back: true,
        foreign_change: None,
        instance_restarts: 0,
        rollback_after: None,
        rollback_when_stuck: false,
        compromised_after: None,
        deaf: false,
        returned: false,
        returns_in: None,
    };
}

struct Instance {
    deaf: bool,
    ring: SecretRing,
    report: InstanceReport,
    slow: u64,
    /// How often it used the old, the new and the gone secret, and when last.
    used: [(u64, u64); 3],
}

/// A change on its way to one node, which holds the one that was applied last of those that arrived.
#[derive(Clone)]
struct Arrival {
    applied: u64,
    arrives: u64,
    id: SecretId,
}

struct World {
    now: u64,
    base: Instant,
    dice: u64,
    /// For each node: the changes that reach it.
    nodes: Vec<Vec<Arrival>>,
    published: (Revision, SecretList),
    instances: Vec<Instance>,
    trouble: Trouble,
    started: u64,
    requests: u64,
    /// Who is left behind, as the journal says.
    broken: Vec<String>,
    /// What the server holds so that programs cannot sign in, since some of them do not hold it.
    locked_out: Option<&'static str>,
}

impl World {
    fn new(seed: u64, trouble: Trouble) -> Self {
        let list = SecretList::new([secret("old")]).unwrap();
        let mut world = Self {
            now: 1_000_000,
            base: Instant::now(),
            dice: seed,
            nodes: vec![vec![Arrival { applied: 0, arrives: 0, id: "old".parse().unwrap() }]; 3],
            published: (Revision::new(1), list),
            instances: Vec::new(),
            trouble,
            started: 0,
            requests: 0,
            broken: Vec::new(),
            locked_out: trouble.returned.then_some("new"),
        };
        if trouble.returned {
            // It reaches the nodes before the rotation begins, or while it does.
            let applied = world.now - world.roll(2 * WINDOW);
            world.change("new", applied);
        }
        for _ in 0..2 {
            world.start_instance();
        }
        world.instances[1].deaf = trouble.deaf;
        world
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.dice >> 33) % sides
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.now)
    }

    fn start_instance(&mut self) {
        self.started += 1;
        let policy = FallbackPolicy::default().propagation_window(Duration::from_millis(WINDOW));
        let (revision, list) = self.published.clone();
        let ring = SecretRing::starting(list, revision, policy, self.instant());
        let report = InstanceReport::new("app", format!("i{}", self.started)).next(ring.usage());
        let slow = 50 + self.roll(400);
        let now = self.now;
        self.instances.push(Instance { deaf: false, ring, report, slow, used: [(0, now); 3] });
    }

    fn holds(&self, node: usize) -> &SecretId {
        let arrived = self.nodes[node].iter().filter(|change| change.arrives <= self.now);
        arrived.max_by_key(|change| change.applied).map(|change| &change.id).unwrap()
    }

    /// What the management plane knows, which is before the nodes do.
    fn target(&self) -> &SecretId {
        let applied = self.nodes[0].iter().filter(|change| change.applied <= self.now);
        applied.max_by_key(|change| change.applied).map(|change| &change.id).unwrap()
    }

    fn change(&mut self, id: &str, applied: u64) {
        for node in 0..self.nodes.len() {
            let arrives = applied + self.roll(WINDOW * 9 / 10);
            self.nodes[node].push(Arrival { applied, arrives, id: id.parse().unwrap() });
        }
    }

    fn accepts(&mut self, id: &SecretId) -> bool {
        let node = self.roll(3) as usize;
        self.holds(node) == id
    }

    /// Time passes, and the instances do what they do.
    fn pass(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds.max(1);
        while self.now < end {
            self.now = (self.now + 50).min(end);
            for index in 0..self.instances.len() {
                self.live(index);
            }
            self.locked_out = self.locked_out.filter(|id| self.locks_out(&id.parse().unwrap()));
            if self.trouble.instance_restarts > 0 && self.roll(200) == 0 {
                self.trouble.instance_restarts -= 1;
                self.instances.remove(0);
                self.start_instance();
            }
            self.check();
        }
    }

    /// Whether some instance does not hold this. Where the rotation sets its own secret in its place, those
    /// that were refused everything try their first secret alone for a while.
    fn locks_out(&self, id: &SecretId) -> bool {
        let mut lists = self.instances.iter().map(|instance| instance.ring.snapshot().list());
        lists.any(|list| list.find(id).is_none())
    }

    fn is_held(&self, id: &str) -> bool {
        (0..self.nodes.len()).any(|node| self.holds(node).as_str() == id)
    }

    fn live(&mut self, index: usize) {
        let slow = self.instances[index].slow;
        if self.roll(slow) < 50 && !self.instances[index].deaf {
            let (revision, list) = self.published.clone();
            let now = self.instant();
            self.instances[index].ring.replace_at_time(list, revision, now);
        }
        let ring = self.instances[index].ring.clone();
        let broken = self.broken.contains(&self.instances[index].report.instance);
        self.sign_in(&ring, broken);
        for (number, id) in ["old", "new", "gone"].into_iter().enumerate() {
            let used = ring.usage().of(&id.parse().unwrap()).map_or(0, |usage| usage.used());
            if used != self.instances[index].used[number].0 {
                self.instances[index].used[number] = (used, self.now);
            }
        }
        if self.roll(4) == 0 {
            let instance = &mut self.instances[index];
            instance.report = instance.report.next(instance.ring.usage());
        }
    }

    fn sign_in(&mut self, ring: &SecretRing, broken: bool) {
        self.requests += 1;
        let mut now = self.instant();
        let (mut attempts, mut secret) = Attempts::begin_seeded(ring, self.requests);
        loop {
            let accepted = self.accepts(secret.id());
            let verdict = if accepted { Verdict::Accepted } else { Verdict::Refused };
            secret = match attempts.conclude(verdict, now) {
                Next::Send(secret) => secret,
                Next::WaitThenSend(delay, secret) => {
                    now += delay;
                    secret
                }
                _ => {
                    assert!(
                        accepted || broken || self.foreign() || self.locked_out.is_some(),
                        "a request failed at {}: {ring:?}",
                        self.now
                    );
                    return;
                }
            };
        }
    }

    fn foreign(&self) -> bool {
        self.nodes.iter().flatten().any(|change| change.id.as_str() == "foreign")
    }

    /// I1: each instance holds what each node accepts, now. Who is left behind was named before.
    fn check(&self) {
        if self.locked_out.is_some() {
            return;
        }
        let named = |instance: &&Instance| self.broken.contains(&instance.report.instance);
        for instance in self.instances.iter().filter(|one| !named(one)) {
            let list = instance.ring.snapshot().list();
            for node in 0..self.nodes.len() {
                let holds = self.holds(node);
                assert!(
                    holds.as_str() == "foreign" || list.find(holds).is_some(),
                    "I1 at {}: node {node} accepts {holds}, an instance holds {list:?}",
                    self.now
                );
            }
        }
    }

    /// What must hold when the journal says so.
    fn check_entered(&mut self, record: &Record) {
        let state = record.state;
        if self.trouble.foreign_change == Some(state) {
            self.trouble.foreign_change = None;
            // Some time later, so that the state's own act comes before it or after it.
            let later = self.now + self.roll(100);
            self.change("foreign", later);
        }
        if self.trouble.returns_in == Some(state) {
            self.trouble.returns_in = None;
            let returns = self.now + self.roll(2 * WINDOW);
            self.change("gone", returns);
            self.locked_out = Some("gone");
            if self.roll(2) == 0 {
                // What brought it there does so once more.
                let again = returns + self.roll(IN_FLIGHT);
                self.change("gone", again);
            }
        }
        let gone_returns = self.nodes[0].iter().any(|change| change.id.as_str() == "gone");
        // On the way back, the change of the way forward may come in between at any moment, until the
        // rotation is past the state in which it waits for that.
        let may_be_crossed = record.rollback.is_some_and(|back| back.forward.unresolved);
        match state {
            State::Confirmed | State::Drained if may_be_crossed => {}
            State::Confirmed if gone_returns => {}
            State::Confirmed => {
                for node in 0..self.nodes.len() {
                    assert_eq!(
                        self.holds(node),
                        record.id(record.target()),
                        "confirmed, and node {node} is late"
                    );
                }
            }
            // I3: the secret that goes was used by nobody for the quiet period.
            State::Drained | State::Retiring if record.hurries() => {}
            // It came just now, and everybody tries everything.
            State::Drained | State::Retiring if self.is_held("gone") => {}
            State::Drained | State::Retiring => {
                let source = usize::from(record.id(record.source()).as_str() == "new");
                let used = self.instances.iter().map(|instance| instance.used);
                let used = used.flat_map(|used| [used[source], used[2]]);
                for (_, last) in used.filter(|(count, _)| *count > 0) {
                    let quiet = self.now - last;
                    assert!(quiet >= WINDOW, "drained, and an instance used it {quiet} ms ago");
                }
            }
            _ => {}
        }
    }

    fn send(&mut self, target: &SecretId) -> ChangeAnswer {
        let (now, target) = (self.now, target.as_str());
        let lost = || ChangeAnswer::Unknown("the answer was lost".into());
        if self.trouble.lost_answers > 0 {
            match self.roll(7) {
                0 => {
                    self.trouble.lost_answers -= 1;
                    self.change(target, now);
                    return lost();
                }
                1 => {
                    self.trouble.lost_answers -= 1;
                    return lost();
                }
                2 => {
                    self.trouble.lost_answers -= 1;
                    let late = now + self.roll(3 * WINDOW);
                    self.change(target, late);
                    return lost();
                }
                3 => {
                    self.trouble.lost_answers -= 1;
                    return ChangeAnswer::RetryAfter(Duration::from_millis(300));
                }
                _ => {}
            }
        }
        self.change(target, now);
        ChangeAnswer::Applied
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
            Effect::Observe => Event::Fleet(Fleet {
                live: self.instances.iter().map(|instance| instance.report.clone()).collect(),
                unreadable: Vec::new(),
            }),
            Effect::Send => Event::Answered(self.send(record.id(record.target()))),
            Effect::ReadBack if !self.trouble.read_back => {
                Event::ReadBack(ReadBack::Unavailable("it cannot".into()))
            }
            Effect::ReadBack => {
                let id = self.target().clone();
                let known = record.known().iter().any(|secret| *secret.id() == id);
                Event::ReadBack(if known { ReadBack::Holds(id) } else { ReadBack::Other })
            }
            Effect::Probe(which) => {
                let id = match which {
                    Which::Old => record.old.id(),
                    Which::New => record.new.id(),
                };
                let accepted = self.accepts(id);
                Event::Probed(which, if accepted { Probe::Accepted } else { Probe::Refused })
            }
            Effect::ProbeRetired(id) => {
                let accepted = self.accepts(&id);
                Event::ProbedRetired(id, if accepted { Probe::Accepted } else { Probe::Refused })
            }
            Effect::Wait(time, _) | Effect::BackOff(time) => {
                self.pass(time.as_millis() as u64);
                Event::Waited
            }
            Effect::Stop(ending) => return Err(ending),
            other => panic!("unknown effect {other:?}"),
        })
    }

    /// Runs a rotation until it stops, killing and resuming it on the way.
    fn rotate(&mut self) -> (Ending, Record) {
        let mut record = Record::begin(
            "client",
            policy(),
            secret("old"),
            secret("new"),
            self.published.0,
            Timestamp::from_milliseconds(self.now),
        );
        if self.trouble.returns_in.is_some() {
            record = having_retired(&record, "gone");
        }
        if self.trouble.returned {
            record = record.returned(Timestamp::from_milliseconds(self.now));
            if self.roll(2) == 0 {
                // What brought it there does so once more.
                let late = self.now + self.roll(IN_FLIGHT);
                self.change("new", late);
            }
        }
        let mut journal = record.to_json();
        let mut rotation = Rotation::new(record);
        let mut event = Event::TakenUp;
        for step in 0..40_000 {
            if self.trouble.rollback_after == Some(step) {
                // A person interrupts the process, and wants to go back.
                rotation = Rotation::new(Record::parse(&journal).unwrap());
                event = Event::RollbackWanted;
            }
            let due = self.trouble.compromised_after.is_some_and(|after| after <= step);
            if due && rotation.record().compromised.is_none() && !rotation.record().is_over() {
                // Again, if the process did not live to write it down.
                rotation = Rotation::new(Record::parse(&journal).unwrap());
                event = Event::CompromisedWanted(PATIENCE);
            }
            let effect = rotation.step(event, Timestamp::from_milliseconds(self.now));
            if self.crash() {
                // Killed before the journal was written.
                rotation = Rotation::new(Record::parse(&journal).unwrap());
                event = Event::TakenUp;
                continue;
            }
            if Record::parse(&journal).unwrap().state != rotation.record().state {
                self.check_entered(rotation.record());
            }
            journal = rotation.record().to_json();
            self.broken = rotation.record().broken().iter().map(named).collect();
            let happened = match self.perform(effect, rotation.record()) {
                Ok(happened) => happened,
                Err(Ending::Unknown(_) | Ending::Throttled | Ending::NoWayBack(_)) => {
                    Event::TakenUp
                }
                Err(Ending::Stuck(
                    reason @ (StuckReason::RetiredSecretPublished
                    | StuckReason::RetiredSecretPublishedMidway),
                )) => {
                    let midway = reason == StuckReason::RetiredSecretPublishedMidway;
                    let returned = if midway { "gone" } else { "new" };
                    let first = self.published.1.preferred();
                    assert_eq!(first.id().as_str(), returned);
                    let (looks, by_hand) = (self.roll(3 * WINDOW), self.roll(4) == 0);
                    self.pass(looks);
                    if by_hand {
                        let target = rotation.record().id(rotation.record().target()).to_string();
                        self.change(&target, self.now);
                    }
                    rotation = Rotation::new(Record::parse(&journal).unwrap());
                    match self.trouble.rollback_when_stuck {
                        true => Event::RollbackWanted,
                        false => Event::TakenUp,
                    }
                }
                Err(Ending::Stuck(_)) if self.trouble.rollback_when_stuck => Event::RollbackWanted,
                Err(ending) => return (ending, rotation.record().clone()),
            };
            event = happened;
            if self.crash() {
                // Killed after the act, before anything about it was written.
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
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_rotation_ends_with_the_new_secret_everywhere_and_no_failed_request(
        seed in any::<u64>(),
        crashes in 0u32..8,
        lost_answers in 0u32..5,
        instance_restarts in 0u32..3,
        read_back in any::<bool>(),
    ) {
        let trouble =
            Trouble { crashes, lost_answers, read_back, instance_restarts, ..Trouble::NONE };
        let mut world = World::new(seed, trouble);
        let (ending, record) = world.rotate();
        prop_assert!(matches!(ending, Ending::Done), "{ending:?}");
        prop_assert_eq!(record.state, State::Done);
        for node in 0..3 {
            prop_assert_eq!(world.holds(node).as_str(), "new");
        }
        let alone = SecretList::new([secret("new")]).unwrap();
        prop_assert_eq!(&world.published.1, &alone);
        for instance in &world.instances {
            prop_assert_eq!(instance.ring.snapshot().list(), alone.clone());
        }
    }

    #[test]
    fn a_rotation_that_goes_back_at_any_moment_ends_as_it_began_and_no_request_fails(
        seed in any::<u64>(),
        crashes in 0u32..8,
        lost_answers in 0u32..6,
        instance_restarts in 0u32..3,
        read_back in any::<bool>(),
        rollback_after in 0u32..90,
    ) {
        let trouble = Trouble {
            crashes,
            lost_answers,
            read_back,
            instance_restarts,
            rollback_after: Some(rollback_after),
            ..Trouble::NONE
        };
        let mut world = World::new(seed, trouble);
        let (ending, record) = world.rotate();
        // Whatever is on its way arrives, and still nobody notices.
        world.pass(IN_FLIGHT + 2 * WINDOW);
        let (gone, stays) = match ending {
            Ending::RolledBack => ("new", "old"),
            Ending::Done => ("old", "new"),
            other => panic!("{other:?}: {record:?}"),
        };
        prop_assert!(record.is_over());
        for node in 0..3 {
            prop_assert_eq!(world.holds(node).as_str(), stays);
        }
        let alone = SecretList::new([secret(stays)]).unwrap();
        prop_assert_eq!(&world.published.1, &alone);
        if record.rollback.is_none() {
            prop_assert_eq!(gone, "old");
        } else if record.rollback.unwrap().forward.sends > 0 {
            // It was sent, so it is recognised if it turns up.
            prop_assert!(record.retired.iter().any(|kept| kept.secret.id().as_str() == gone));
        }
    }

    #[test]
    fn a_foreign_change_stops_the_rotation_with_both_secrets_kept(
        seed in any::<u64>(),
        crashes in 0u32..4,
        read_back in any::<bool>(),
        state in prop::sample::select(vec![State::CuttingOver, State::CutOver, State::Promoted]),
    ) {
        let trouble =
            Trouble { crashes, read_back, foreign_change: Some(state), ..Trouble::NONE };
        let mut world = World::new(seed, trouble);
        let (ending, record) = world.rotate();
        if world.target().as_str() == "foreign" {
            prop_assert!(matches!(ending, Ending::Stuck(StuckReason::ForeignSecret)), "{ending:?}");
            prop_assert!(record.known().len() == 2);
            prop_assert!(world.published.1.len() == 2);
        } else {
            // The change of the rotation came behind it, and took its place.
            prop_assert_eq!(state, State::CuttingOver);
            prop_assert!(matches!(ending, Ending::Done), "{ending:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_foreign_change_is_replaced_by_the_old_secret_when_a_person_takes_the_rotation_back(
        seed in any::<u64>(),
        crashes in 0u32..6,
        lost_answers in 0u32..4,
        read_back in any::<bool>(),
        rollback_after in 0u32..90,
        state in prop::sample::select(vec![State::CuttingOver, State::CutOver, State::Promoted]),
    ) {
        let trouble = Trouble {
            crashes,
            lost_answers,
            read_back,
            foreign_change: Some(state),
            rollback_after: Some(rollback_after),
            rollback_when_stuck: true,
            ..Trouble::NONE
        };
        let mut world = World::new(seed, trouble);
        let (ending, record) = world.rotate();
        let stays = match ending {
            Ending::RolledBack => "old",
            // The change of the rotation came behind the foreign one, and took its place.
            Ending::Done => "new",
            other => panic!("{other:?}: {record:?}"),
        };
        world.pass(IN_FLIGHT + 2 * WINDOW);
        let alone = SecretList::new([secret(stays)]).unwrap();
        prop_assert_eq!(&world.published.1, &alone);
        // One that goes back before it sent anything is over, whatever somebody does later.
        if record.entered.iter().any(|entered| entered.state == State::CutOver) {
            for node in 0..3 {
                prop_assert_eq!(world.holds(node).as_str(), stays);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// The simulation fails on a refused request of anybody who is not named by then.
    #[test]
    fn a_compromised_rotation_ends_although_one_instance_never_adopts_and_breaks_nobody_else(
        seed in any::<u64>(),
        crashes in 0u32..8,
        lost_answers in 0u32..5,
        instance_restarts in 0u32..2,
        read_back in any::<bool>(),
        compromised_after in 0u32..200,
        deaf in any::<bool>(),
    ) {
        let compromised_after = Some(compromised_after);
        let trouble = Trouble {
            crashes, lost_answers, read_back, instance_restarts, compromised_after, deaf,
            ..Trouble::NONE
        };
        let mut world = World::new(seed, trouble);
        let (ending, record) = world.rotate();
        prop_assert!(matches!(ending, Ending::Done), "{ending:?}");
        let alone = SecretList::new([secret("new")]).unwrap();
        prop_assert_eq!(&world.published.1, &alone);
        let expected: &[&str] = if deaf { &["i2"] } else { &[] };
        prop_assert_eq!(&world.broken, expected);
        prop_assert_eq!(deaf, world.instances.iter().any(|one| one.deaf));
        if record.compromised.is_some() && deaf {
            prop_assert!(record.evidence.unused.is_none(), "nobody attested that");
        }
        let proof = record.evidence.proof.as_ref().expect("the old one is seen to be dead");
        prop_assert_eq!(proof.refused.as_str(), "old");
        world.pass(5_000);
        for instance in world.instances.iter().filter(|one| !one.deaf) {
            prop_assert_eq!(instance.ring.snapshot().list(), alone.clone());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_retired_secret_that_returned_is_published_again_and_led_out_with_no_failed_request(
        seed in any::<u64>(),
        crashes in 0u32..8,
        lost_answers in 0u32..5,
        instance_restarts in 0u32..3,
        read_back in any::<bool>(),
        rollback_when_stuck in any::<bool>(),
    ) {
        let trouble = Trouble {
            crashes,
            lost_answers,
            instance_restarts,
            read_back,
            rollback_when_stuck,
            returned: true,
            ..Trouble::NONE
        };
        let mut world = World::new(seed, trouble);
        let (ending, record) = world.rotate();
        prop_assert!(matches!(ending, Ending::RolledBack), "{ending:?}: {record:?}");
        // A request fails until the programs hold it, and never after that.
        prop_assert!(world.locked_out.is_none());
        world.pass(IN_FLIGHT + 2 * WINDOW);
        for node in 0..3 {
            prop_assert_eq!(world.holds(node).as_str(), "old");
        }
        prop_assert_eq!(&world.published.1, &SecretList::new([secret("old")]).unwrap());
        let kept: Vec<_> = record.retired.iter().map(|kept| kept.secret.id().as_str()).collect();
        prop_assert_eq!(kept, ["new"], "it is recognised if it returns once more");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// The simulation fails on a request that is refused to anybody who holds the secret that returned.
    #[test]
    fn a_retired_secret_that_returns_in_mid_rotation_is_published_at_once_and_led_out(
        seed in any::<u64>(),
        crashes in 0u32..8,
        lost_answers in 0u32..5,
        instance_restarts in 0u32..3,
        read_back in any::<bool>(),
        rollback_after in prop::option::of(0u32..90),
        rollback_when_stuck in any::<bool>(),
        state in prop::sample::select(vec![
            State::Adopted, State::CuttingOver, State::CutOver, State::Confirmed, State::Promoted,
            State::Drained,
        ]),
    ) {
        let trouble = Trouble {
            crashes,
            lost_answers,
            instance_restarts,
            read_back,
            rollback_after,
            rollback_when_stuck,
            returns_in: Some(state),
            ..Trouble::NONE
        };
        let mut world = World::new(seed, trouble);
        let (ending, record) = world.rotate();
        let stays = match ending {
            Ending::RolledBack => "old",
            Ending::Done => "new",
            other => panic!("{other:?}: {record:?}"),
        };
        prop_assert_eq!(&world.published.1, &SecretList::new([secret(stays)]).unwrap());
        if record.readmitted.is_empty() {
            // The change of the rotation took its place, or it came when all was over.
            return Ok(());
        }
        prop_assert!(record.readmitted.iter().all(|one| one.published));
        // A request fails until the programs hold it, and never after that.
        prop_assert!(world.locked_out.is_none());
        world.pass(IN_FLIGHT + 2 * WINDOW);
        for node in 0..3 {
            prop_assert_eq!(world.holds(node).as_str(), stays);
        }
        let until = record.latest().after(Duration::from_secs(86_000));
        let kept = record.retired.iter().any(|kept| {
            kept.secret.id().as_str() == "gone" && kept.until > until
        });
        prop_assert!(kept, "it is recognised if it returns once more");
    }
}

/// This journal, with a secret in it that an earlier rotation retired.
fn having_retired(record: &Record, id: &str) -> Record {
    let mut journal: serde_json::Value = serde_json::from_slice(&record.to_json()).unwrap();
    let until = record.latest().after(Duration::from_secs(3_600));
    journal["retired"] = serde_json::json!([{
        "secret": { "id": id, "value": format!("value-of-{id}") },
        "until": until,
    }]);
    Record::parse(journal.to_string().as_bytes()).unwrap()
}

/// A retired secret is at the server, and nothing was done about it yet.
fn returned() -> Rotation {
    let record = begun().record().clone().returned(Timestamp::from_milliseconds(0));
    Rotation::new(Record::parse(&record.to_json()).unwrap())
}

#[test]
fn a_retired_secret_that_returned_is_published_by_whoever_comes_first_and_replaced_at_a_word() {
    for event in [Event::TakenUp, Event::RollbackWanted] {
        let mut rotation = returned();
        let Effect::Publish { list, replaces, .. } = step_to(&mut rotation, [event.clone()]) else {
            panic!("something comes before the programs can sign in");
        };
        assert_eq!(list, SecretList::new([secret("new"), secret("old")]).unwrap());
        assert_eq!(replaces, Revision::new(1));
        let stopped = [Event::Published(Revision::new(2)), Event::Written];
        let effect = step_to(&mut rotation, stopped);
        let reason = StuckReason::RetiredSecretPublished;
        assert!(matches!(effect, Effect::Stop(Ending::Stuck(found)) if found == reason));
        // Nothing is sent before a person has said so.
        assert_eq!(
            (rotation.record().change.sends, rotation.record().way_back()),
            (0, WayBack::UnderWay)
        );
        let holds_it = Event::ReadBack(ReadBack::Holds("new".parse().unwrap()));
        let effect = step_to(&mut rotation, [event, Event::Written, holds_it]);
        assert!(matches!(effect, Effect::Send), "{effect:?}");
        assert_eq!(rotation.record().id(rotation.record().target()).as_str(), "old");
        assert!(rotation.record().in_flight_until().is_some(), "it may return once more");
    }
}

#[test]
fn what_returned_is_replaced_and_another_foreign_secret_is_not() {
    let mut rotation = returned();
    let events = [
        Event::TakenUp,
        Event::Published(Revision::new(2)),
        Event::Written,
        Event::TakenUp,
        Event::Written,
        Event::ReadBack(ReadBack::Other),
        Event::Written,
    ];
    let effect = step_to(&mut rotation, events);
    assert!(
        matches!(effect, Effect::Stop(Ending::Stuck(StuckReason::ForeignSecret))),
        "{effect:?}"
    );
    assert_eq!(rotation.record().change.sends, 0);
    let mut rotation = returned();
    let effect = step_to(&mut rotation, [Event::TakenUp, Event::ForeignList, Event::Written]);
    assert!(matches!(effect, Effect::Stop(Ending::Stuck(StuckReason::ForeignList))), "{effect:?}");
}

fn step_to(rotation: &mut Rotation, events: impl IntoIterator<Item = Event>) -> Effect {
    let mut effect = Effect::Write;
    for (second, event) in (100u64..).zip(events) {
        effect = rotation.step(event, Timestamp::from_milliseconds(second * 1_000));
    }
    effect
}

fn begun() -> Rotation {
    let now = Timestamp::from_milliseconds(0);
    Rotation::new(Record::begin(
        "client",
        policy(),
        secret("old"),
        secret("new"),
        Revision::new(1),
        now,
    ))
}

fn ready_fleet(revision: u64) -> Event {
    let report = |name: &str| {
        let list = SecretList::new([secret("old"), secret("new")]).unwrap();
        let ring =
            SecretRing::with_policy(list, Revision::new(revision), FallbackPolicy::default());
        InstanceReport::new("app", name).next(ring.usage())
    };
    Event::Fleet(Fleet { live: vec![report("one"), report("two")], unreadable: Vec::new() })
}

/// A rotation whose change is about to be sent.
fn sending() -> Rotation {
    let mut rotation = begun();
    let to_send = [
        Event::TakenUp,
        Event::Published(Revision::new(2)),
        Event::Written,
        ready_fleet(2),
        Event::Written,
    ];
    assert!(matches!(step_to(&mut rotation, to_send), Effect::Send));
    rotation
}

#[test]
fn the_intent_is_in_the_journal_before_the_change_is_sent() {
    let mut rotation = begun();
    let events =
        [Event::TakenUp, Event::Published(Revision::new(2)), Event::Written, ready_fleet(2)];
    assert!(matches!(step_to(&mut rotation, events), Effect::Write));
    assert_eq!(rotation.record().state, State::Adopted);
    let effect = step_to(&mut rotation, [Event::Written]);
    assert!(matches!(effect, Effect::Send));
    assert_eq!(rotation.record().state, State::CuttingOver);
    assert_eq!(rotation.record().change.sends, 1);
}

#[test]
fn a_process_that_takes_up_a_change_asks_before_it_sends_anything() {
    let rotation = sending();
    let mut resumed = Rotation::new(Record::parse(&rotation.record().to_json()).unwrap());
    assert!(matches!(step_to(&mut resumed, [Event::TakenUp]), Effect::ReadBack));
    assert!(resumed.record().change.unresolved);
    // A refusal of a later send says nothing of the one that has no answer.
    let refused = AuthorityError::new(AuthorityErrorKind::Refused, "no");
    let effect = step_to(&mut resumed, [Event::Answered(ChangeAnswer::Refused(refused))]);
    assert!(matches!(effect, Effect::ReadBack), "{effect:?}");
}

#[test]
fn a_definite_refusal_leaves_the_old_secret_in_force_and_can_be_resumed() {
    let mut rotation = sending();
    let refused = AuthorityError::new(AuthorityErrorKind::Permissions, "a scope is missing");
    let events = [Event::Answered(ChangeAnswer::Refused(refused))];
    assert!(matches!(step_to(&mut rotation, events), Effect::Stop(Ending::Refused(_))));
    assert_eq!(rotation.record().state, State::Adopted);
    assert!(!rotation.record().change.unresolved);
    assert!(matches!(step_to(&mut rotation, [Event::TakenUp]), Effect::Send));
}

fn refusal() -> Event {
    let refused = AuthorityError::new(AuthorityErrorKind::Permissions, "a scope is missing");
    Event::Answered(ChangeAnswer::Refused(refused))
}

#[test]
fn a_value_that_was_refused_is_withdrawn_and_kept_to_be_recognised_and_one_never_sent_is_not() {
    for (sent, mut rotation) in [(true, sending()), (false, begun())] {
        if sent {
            assert!(matches!(step_to(&mut rotation, [refusal()]), Effect::Stop(_)));
        }
        let effect = step_to(&mut rotation, [Event::RollbackWanted]);
        assert!(matches!(effect, Effect::Write), "the intent is written first: {effect:?}");
        assert_eq!(rotation.record().state, State::Withdrawing);
        let Effect::Publish { list, instead_of, .. } = step_to(&mut rotation, [Event::Written])
        else {
            panic!("nothing is published");
        };
        assert_eq!(list, SecretList::new([secret("old")]).unwrap());
        assert_eq!(instead_of, [SecretList::new([secret("old"), secret("new")]).unwrap()]);
        let ended = step_to(&mut rotation, [Event::Published(Revision::new(3)), Event::Written]);
        assert!(matches!(ended, Effect::Stop(Ending::RolledBack)), "{ended:?}");
        assert_eq!(rotation.record().retired.len(), usize::from(sent));
    }
}

#[test]
fn a_withdrawn_secret_leaves_the_list_of_somebody_else_alone() {
    let mut rotation = begun();
    let events = [Event::TakenUp, Event::ForeignList, Event::RollbackWanted, Event::Written];
    assert!(matches!(step_to(&mut rotation, events), Effect::Publish { .. }));
    let ended = step_to(&mut rotation, [Event::ForeignList, Event::Written]);
    assert!(matches!(ended, Effect::Stop(Ending::RolledBack)), "{ended:?}");
    assert_eq!(rotation.record().revision, Revision::new(1));
}

/// A rotation that is stuck since the server holds a foreign secret.
fn stuck_on_a_foreign_secret() -> Rotation {
    let mut rotation = sending();
    let events = [
        Event::Answered(ChangeAnswer::Unknown("lost".into())),
        Event::ReadBack(ReadBack::Other),
        Event::Written,
    ];
    let effect = step_to(&mut rotation, events);
    assert!(matches!(effect, Effect::Stop(Ending::Stuck(StuckReason::ForeignSecret))));
    rotation
}

#[test]
fn going_back_from_a_foreign_secret_sets_the_old_one_since_a_person_saw_it() {
    let mut rotation = stuck_on_a_foreign_secret();
    let events = [Event::RollbackWanted, Event::Written, Event::ReadBack(ReadBack::Other)];
    assert!(matches!(step_to(&mut rotation, events), Effect::Send));
    let record = rotation.record();
    assert_eq!((record.state, record.id(record.target()).as_str()), (State::CuttingOver, "old"));
    assert!(record.rollback.unwrap().forward.unresolved, "the new one may arrive yet");
}

#[test]
fn going_back_meets_a_foreign_secret_that_nobody_saw_and_stops_until_a_person_says_it_again() {
    let mut rotation = sending();
    let cut_over = [Event::Answered(ChangeAnswer::Applied), Event::RollbackWanted, Event::Written];
    assert!(matches!(step_to(&mut rotation, cut_over), Effect::ReadBack));
    let foreign = [Event::ReadBack(ReadBack::Other), Event::Written];
    let effect = step_to(&mut rotation, foreign);
    assert!(matches!(effect, Effect::Stop(Ending::Stuck(StuckReason::ForeignSecret))));
    // To resume is no word to replace it.
    let resumed =
        [Event::TakenUp, Event::Written, Event::ReadBack(ReadBack::Other), Event::Written];
    assert!(matches!(step_to(&mut rotation, resumed), Effect::Stop(Ending::Stuck(_))));
    let again = [Event::RollbackWanted, Event::Written, Event::ReadBack(ReadBack::Other)];
    assert!(matches!(step_to(&mut rotation, again), Effect::Send));
}

#[test]
fn a_change_of_the_way_back_that_was_turned_away_is_not_taken_for_made_by_another_process() {
    let mut rotation = sending();
    let unavailable = || Event::ReadBack(ReadBack::Unavailable("it cannot".into()));
    let events = [
        Event::Answered(ChangeAnswer::Applied),
        Event::RollbackWanted,
        Event::Written,
        unavailable(),
        Event::Answered(ChangeAnswer::RetryAfter(Duration::from_secs(1))),
    ];
    let effect = step_to(&mut rotation, events);
    assert!(matches!(effect, Effect::BackOff(_)), "{effect:?}");
    let mut rotation = Rotation::new(Record::parse(&rotation.record().to_json()).unwrap());
    // A node that has not taken the change of the way forward yet takes the old secret, and proves nothing.
    let effect = step_to(&mut rotation, [Event::TakenUp, Event::Written, unavailable()]);
    assert!(matches!(effect, Effect::Send), "{effect:?}");
    assert_eq!(rotation.record().change.sends, 1);
}

#[test]
fn there_is_no_way_back_while_it_is_not_known_which_secrets_programs_hold() {
    let mut rotation = sending();
    let probed = || Event::Probed(Which::New, Probe::Accepted);
    let events = [
        Event::Answered(ChangeAnswer::Applied),
        Event::Written,
        probed(),
        probed(),
        probed(),
        probed(),
        Event::ForeignList,
    ];
    let _ = step_to(&mut rotation, events);
    assert_eq!(rotation.record().stuck, Some((State::Confirmed, StuckReason::ForeignList)));
    let before = rotation.record().clone();
    let effect = step_to(&mut rotation, [Event::RollbackWanted]);
    assert!(matches!(effect, Effect::Stop(Ending::NoWayBack(WayBack::ForeignList))), "{effect:?}");
    assert_eq!(*rotation.record(), before);
}

#[test]
fn the_way_back_of_a_change_that_never_arrived_sends_nothing() {
    let mut rotation = sending();
    let events = [
        Event::RollbackWanted,
        Event::Written,
        Event::ReadBack(ReadBack::Holds("old".parse().unwrap())),
    ];
    assert!(matches!(step_to(&mut rotation, events), Effect::Write));
    assert_eq!((rotation.record().state, rotation.record().change.sends), (State::CutOver, 0));
}

/// A policy in which one application cannot report.
fn with_printer(rotation: Rotation) -> Rotation {
    let mut applications = rotation.record().policy.applications.clone();
    applications.push(Application::new("printer").manual());
    rotation.with_applications(applications)
}

fn confirmed(rotation: &Rotation, application: &str) -> Result<Rotation, NothingToConfirm> {
    let mut record = rotation.record().clone();
    record.confirm(application, "ada", "looked", Timestamp::from_milliseconds(1))?;
    Ok(Rotation::new(Record::parse(&record.to_json()).unwrap()))
}

#[test]
fn an_application_that_cannot_report_keeps_each_gate_shut_until_a_person_speaks_for_it() {
    let mut rotation = with_printer(begun());
    let not_yet = confirmed(&rotation, "printer").unwrap_err();
    assert_eq!(not_yet, NothingToConfirm::NoGate(State::Generated));
    let staged = [Event::TakenUp, Event::Published(Revision::new(2)), Event::Written];
    assert!(matches!(step_to(&mut rotation, staged), Effect::Observe));
    let Effect::Stop(Ending::AwaitsConfirmation(missing)) =
        step_to(&mut rotation, [ready_fleet(2)])
    else {
        panic!("the gate opens without a word");
    };
    let application = "printer".to_owned();
    assert_eq!(missing, [Missing::Confirmation { application, gate: Gate::Adopted }]);

    let unknown = confirmed(&rotation, "plotter").unwrap_err();
    assert_eq!(unknown, NothingToConfirm::Undeclared("plotter".to_owned()));
    let reports = confirmed(&rotation, "app").unwrap_err();
    assert_eq!(reports, NothingToConfirm::Reports("app".to_owned()));
    let mut rotation = confirmed(&rotation, "printer").unwrap();
    let again = confirmed(&rotation, "printer").unwrap_err();
    assert_eq!(again, NothingToConfirm::Already(Gate::Adopted));
    let events = [Event::TakenUp, ready_fleet(2), Event::Written];
    assert!(matches!(step_to(&mut rotation, events), Effect::Send));

    // What was said at one gate says nothing at the next.
    let mut record = rotation.record().clone();
    record.state = State::Promoted;
    let mut rotation = Rotation::new(record);
    let effect = step_to(&mut rotation, [Event::TakenUp, ready_fleet(2)]);
    assert!(matches!(effect, Effect::Stop(Ending::AwaitsConfirmation(_))), "{effect:?}");
    let mut rotation = confirmed(&rotation, "printer").unwrap();
    let effect = step_to(&mut rotation, [Event::TakenUp, ready_fleet(2)]);
    assert!(matches!(&effect, Effect::Wait(_, missing) if missing.len() == 2), "{effect:?}");

    // Nor on the way back, where it is the other secret that has to be unused.
    let events = [
        Event::RollbackWanted,
        Event::Written,
        Event::ReadBack(ReadBack::Unavailable("it cannot".into())),
        Event::Answered(ChangeAnswer::Applied),
    ];
    let _ = step_to(&mut rotation, events);
    let mut record = rotation.record().clone();
    record.state = State::Promoted;
    let mut rotation = Rotation::new(record);
    let effect = step_to(&mut rotation, [Event::TakenUp, ready_fleet(2)]);
    assert!(matches!(effect, Effect::Stop(Ending::AwaitsConfirmation(_))), "{effect:?}");
}

/// A rotation whose old secret is unused, with this policy.
fn drained(hold: bool) -> Rotation {
    let mut record = sending().record().clone();
    record.policy.hold_at_drained = hold;
    record.state = State::Drained;
    record.change.unresolved = false;
    Rotation::new(record)
}

#[test]
fn a_rotation_that_holds_goes_on_when_a_person_retires_the_old_secret_and_not_before() {
    let mut rotation = drained(true);
    for _ in 0..2 {
        let effect = step_to(&mut rotation, [Event::TakenUp]);
        assert!(matches!(effect, Effect::Stop(Ending::AwaitsRetirement)), "{effect:?}");
    }
    // It proves again what may have changed while it held.
    assert!(matches!(step_to(&mut rotation, [Event::RetireWanted]), Effect::Probe(Which::New)));
    assert!(!rotation.record().policy.hold_at_drained, "the word is in the journal");
    let proved =
        [Event::Probed(Which::New, Probe::Accepted), Event::Probed(Which::Old, Probe::Refused)];
    assert!(matches!(step_to(&mut rotation, proved), Effect::ReadBack));
    let holds_new = Event::ReadBack(ReadBack::Holds("new".parse().unwrap()));
    assert!(matches!(step_to(&mut rotation, [holds_new]), Effect::Write));
    assert_eq!(rotation.record().state, State::Retiring);
    assert!(matches!(step_to(&mut rotation, [Event::Written]), Effect::Publish { .. }));

    // The next process does not know whether the server is as it was.
    let mut rotation = Rotation::new(rotation.record().clone());
    assert!(matches!(step_to(&mut rotation, [Event::TakenUp]), Effect::Probe(Which::New)));
}

#[test]
fn an_old_secret_that_may_be_in_use_is_not_retired() {
    for mut rotation in [begun(), sending()] {
        let before = rotation.record().clone();
        let effect = step_to(&mut rotation, [Event::RetireWanted]);
        assert!(matches!(effect, Effect::Stop(Ending::NotDrained)), "{effect:?}");
        assert_eq!(*rotation.record(), before);
    }
}

#[test]
fn a_server_that_goes_on_to_accept_the_source_keeps_both_secrets_in_the_list() {
    let mut back = drained(false).record().clone();
    let (from, at, forward) = (State::Drained, Timestamp::from_milliseconds(1), back.change);
    back.rollback = Some(Rollback { from, at, forward, stuck: None });
    let ways =
        [(drained(false), Which::New, Which::Old), (Rotation::new(back), Which::Old, Which::New)];
    for (mut rotation, target, source) in ways {
        let mut effect = step_to(&mut rotation, [Event::TakenUp]);
        for second in 200..203 {
            assert!(!matches!(effect, Effect::Publish { .. } | Effect::Write), "{effect:?}");
            let now = Timestamp::from_milliseconds(second * 1_000);
            let _ = rotation.step(Event::Waited, now);
            effect = rotation.step(Event::Probed(target, Probe::Accepted), now);
            assert!(matches!(effect, Effect::Probe(which) if which == source), "{effect:?}");
            effect = rotation.step(Event::Probed(source, Probe::Accepted), now);
        }
        assert!(matches!(effect, Effect::Write), "{effect:?}");
        let stuck = (State::Drained, StuckReason::OldSecretStillAccepted);
        assert_eq!(rotation.record().stuck, Some(stuck));
    }
}

#[test]
fn a_server_that_asks_to_wait_is_asked_again_with_the_same_secret_and_not_for_ever() {
    let mut rotation = sending();
    let new = rotation.record().new.clone();
    let throttled = || Event::Answered(ChangeAnswer::RetryAfter(Duration::from_secs(3)));
    for _ in 0..9 {
        let effect = step_to(&mut rotation, [throttled()]);
        assert!(matches!(effect, Effect::BackOff(time) if time == Duration::from_secs(3)));
        assert!(matches!(step_to(&mut rotation, [Event::Waited]), Effect::Send));
        assert_eq!(rotation.record().new.id(), new.id());
    }
    assert!(matches!(step_to(&mut rotation, [throttled()]), Effect::Stop(Ending::Throttled)));
}

fn at(rotation: &mut Rotation, second: u64, event: Event) -> Effect {
    rotation.step(event, Timestamp::from_milliseconds(second * 1_000))
}

fn read_back_is_not_possible() -> Event {
    Event::ReadBack(ReadBack::Unavailable("it cannot".into()))
}

/// Nodes that disagree within the window, and an answer that comes after it.
#[test]
fn a_refusal_that_arrives_after_the_window_is_no_proof_of_a_foreign_change() {
    let refused = |which| Event::Probed(which, Probe::Refused);
    let mut rotation = sending();
    at(&mut rotation, 200, Event::Answered(ChangeAnswer::Applied));
    at(&mut rotation, 200, Event::Written);
    at(&mut rotation, 200, refused(Which::New));
    at(&mut rotation, 200, Event::Waited);
    // Asked at 200 s, of a node that was late; the answer took until 210 s.
    let effect = at(&mut rotation, 210, refused(Which::New));
    assert!(matches!(effect, Effect::Wait(..)), "{effect:?}");

    let mut rotation = sending();
    at(&mut rotation, 200, Event::Answered(ChangeAnswer::Unknown("lost".into())));
    for second in [200, 200] {
        at(&mut rotation, second, read_back_is_not_possible());
        at(&mut rotation, second, refused(Which::New));
        let effect = at(&mut rotation, 210, refused(Which::Old));
        assert!(matches!(effect, Effect::Wait(..)), "{effect:?}");
        at(&mut rotation, 210, Event::Waited);
    }
}

#[test]
fn a_rotation_whose_sends_are_used_up_can_be_resumed() {
    let mut rotation = sending();
    let mut record = rotation.record().clone();
    record.change.sends = record.policy.sends;
    rotation = Rotation::new(record);
    let holds_old = || Event::ReadBack(ReadBack::Holds("old".parse().unwrap()));
    at(&mut rotation, 200, Event::TakenUp);
    // Whoever sent it last may have done so just now.
    let effect = at(&mut rotation, 200, holds_old());
    assert!(matches!(effect, Effect::Wait(..)), "{effect:?}");
    let effect = at(&mut rotation, 202, holds_old());
    assert!(matches!(effect, Effect::Send), "{effect:?}");
    assert!(rotation.record().change.unresolved);
}

#[test]
fn a_change_without_an_answer_is_in_flight_from_when_the_answer_was_missed() {
    let mut rotation = sending();
    at(&mut rotation, 900, Event::Answered(ChangeAnswer::Unknown("lost".into())));
    let record = rotation.record();
    let missed = Timestamp::from_milliseconds(900_000);
    assert_eq!(record.in_flight_until(), Some(missed.after(record.policy.in_flight_bound)));
}

/// One node has what the person set, another one has not yet, and a third one has the late change that came
/// behind it.
#[test]
fn a_rotation_that_was_mended_is_proved_for_two_windows_before_anything_is_retired() {
    let mut record = sending().record().clone();
    record.state = State::Stuck;
    record.stuck = Some((State::Drained, StuckReason::OldSecretReturned));
    let mut rotation = Rotation::new(record);
    at(&mut rotation, 200, Event::TakenUp);
    assert_eq!(rotation.record().state, State::Drained);
    at(&mut rotation, 200, Event::Written);
    assert!(takes_the_target_and_retires_nothing(&mut rotation, 200));
    assert!(takes_the_target_and_retires_nothing(&mut rotation, 201));
    // The next process cannot know for how long nothing was seen.
    rotation = Rotation::new(Record::parse(&rotation.record().to_json()).unwrap());
    at(&mut rotation, 202, Event::TakenUp);
    assert!(takes_the_target_and_retires_nothing(&mut rotation, 202));
    assert!(takes_the_target_and_retires_nothing(&mut rotation, 203));
    assert!(!takes_the_target_and_retires_nothing(&mut rotation, 204));
}

/// Somebody put the old secret back for a moment, and no rotation was ever stuck.
#[test]
fn a_target_that_was_refused_after_it_was_proved_is_proved_for_two_windows() {
    let mut rotation = drained(false);
    at(&mut rotation, 200, Event::TakenUp);
    let effect = at(&mut rotation, 200, Event::Probed(Which::New, Probe::Refused));
    assert!(matches!(effect, Effect::Wait(..)), "{effect:?}");
    assert!(rotation.record().doubted, "the next process has to know");
    assert!(takes_the_target_and_retires_nothing(&mut rotation, 200));
    assert!(takes_the_target_and_retires_nothing(&mut rotation, 201));
    // Once more, and it begins anew.
    at(&mut rotation, 201, Event::Waited);
    at(&mut rotation, 201, Event::Probed(Which::New, Probe::Refused));
    assert!(takes_the_target_and_retires_nothing(&mut rotation, 202));
    assert!(!takes_the_target_and_retires_nothing(&mut rotation, 203));
}

/// Whether the source is left alone after the server took the target.
fn takes_the_target_and_retires_nothing(rotation: &mut Rotation, second: u64) -> bool {
    let effect = at(rotation, second, Event::Waited);
    assert!(matches!(effect, Effect::Probe(Which::New)), "{effect:?}");
    match at(rotation, second, Event::Probed(Which::New, Probe::Accepted)) {
        Effect::Wait(..) => true,
        Effect::Probe(Which::Old) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rotation_without_a_doubt_is_proved_by_one_look_and_by_what_the_server_says_it_holds() {
    let proved = || {
        let mut rotation = drained(false);
        at(&mut rotation, 200, Event::TakenUp);
        assert!(!takes_the_target_and_retires_nothing(&mut rotation, 200));
        let effect = at(&mut rotation, 200, Event::Probed(Which::Old, Probe::Refused));
        assert!(matches!(effect, Effect::ReadBack), "{effect:?}");
        rotation
    };
    let mut rotation = proved();
    at(&mut rotation, 200, read_back_is_not_possible());
    assert_eq!(rotation.record().state, State::Retiring);
    // Somebody put the old one back since the nodes were asked, and they will go over to it.
    let mut rotation = proved();
    at(&mut rotation, 200, Event::ReadBack(ReadBack::Holds("old".parse().unwrap())));
    assert_eq!(rotation.record().stuck, Some((State::Drained, StuckReason::OldSecretReturned)));
    assert_eq!(rotation.record().way_back(), WayBack::SetBack, "programs hold both");
}

/// What the next process finds in the journal is a day old, and nobody can say whether a day has passed:
/// none of it counts for a window or for a quiet period.
#[test]
fn a_clock_that_was_set_forward_a_day_between_two_processes_opens_no_gate_and_proves_nothing() {
    const DAY: u64 = 24 * 3600;
    let taken_up = |state| {
        let mut record = sending().record().clone();
        record.state = state;
        record.doubted = true;
        let mut rotation = Rotation::new(record);
        at(&mut rotation, DAY, Event::TakenUp);
        rotation
    };
    let mut rotation = taken_up(State::CutOver);
    for _ in 0..10 {
        let effect = at(&mut rotation, DAY, Event::Probed(Which::New, Probe::Accepted));
        assert!(matches!(effect, Effect::Wait(..)), "confirmed without a window: {effect:?}");
    }
    let mut rotation = taken_up(State::Promoted);
    for _ in 0..10 {
        let effect = at(&mut rotation, DAY, ready_fleet(2));
        assert!(matches!(effect, Effect::Wait(..)), "drained without a quiet period: {effect:?}");
    }
    let mut rotation = taken_up(State::Drained);
    for _ in 0..10 {
        assert!(takes_the_target_and_retires_nothing(&mut rotation, DAY));
    }
    // It may be sent again, with the same secret, only after the source was in force for a window.
    let mut rotation = taken_up(State::CuttingOver);
    for _ in 0..10 {
        let holds_old = Event::ReadBack(ReadBack::Holds("old".parse().unwrap()));
        assert!(matches!(at(&mut rotation, DAY, holds_old), Effect::Wait(..)));
    }
}

/// A report that was written while an earlier look took its time says nothing of the time after it.
#[test]
fn a_slow_look_at_the_reports_does_not_pass_for_quiet_time() {
    use keyswap_admin::rotation::Quiet;
    let ring = |revision| {
        let list = SecretList::new([secret("new"), secret("old")]).unwrap();
        SecretRing::with_policy(list, Revision::new(revision), FallbackPolicy::default())
    };
    let applications = [Application::new("app")];
    let (old, mut quiet) = ("old".parse::<SecretId>().unwrap(), Quiet::default());
    let report = InstanceReport::new("app", "one").next(ring(3).usage());
    let mut look = |report: &InstanceReport, (begun, over): (u64, u64)| {
        let fleet = Fleet { live: vec![report.clone()], unreadable: Vec::new() };
        let outgoing = [&old];
        let wanted = (Revision::new(3), outgoing.as_slice(), Duration::from_secs(10));
        let times = (Timestamp::from_milliseconds(begun), Timestamp::from_milliseconds(over));
        quiet.not_drained(&applications, &fleet, wanted, times)
    };
    assert_eq!(look(&report, (0, 0)).len(), 1);
    // Read at once, and told 10 s later; the next report was written in between.
    assert_eq!(look(&report, (1, 10_001)).len(), 1);
    let next = report.next(ring(3).usage());
    assert_eq!(look(&next, (10_002, 10_003)).len(), 1, "attested for 1 ms, and not for 10 s");
    let last = next.next(ring(3).usage());
    assert!(look(&last, (10_004, 10_005)).is_empty());
}

fn fleet_of(reports: impl IntoIterator<Item = InstanceReport>) -> Event {
    Event::Fleet(Fleet { live: reports.into_iter().collect(), unreadable: Vec::new() })
}

fn report(name: &str, revision: u64, ids: &[&str]) -> InstanceReport {
    let list = SecretList::new(ids.iter().map(|id| secret(id))).unwrap();
    let ring = SecretRing::with_policy(list, Revision::new(revision), FallbackPolicy::default());
    InstanceReport::new("app", name).next(ring.usage())
}

/// One of two instances holds both secrets, and the application that cannot report is not confirmed.
fn one_is_ready() -> Event {
    fleet_of([report("one", 2, &["old", "new"]), report("two", 1, &["old"])])
}

/// A rotation that waits for instances since 100 s, and that was said to be compromised at 5 s already.
fn staged_and_compromised() -> Rotation {
    let mut rotation = with_printer(begun());
    at(&mut rotation, 5, Event::CompromisedWanted(PATIENCE));
    at(&mut rotation, 100, Event::Published(Revision::new(2)));
    assert_eq!(rotation.record().state, State::Staged);
    at(&mut rotation, 100, Event::Written);
    rotation
}

#[test]
fn a_compromised_rotation_waits_from_when_both_are_published_and_names_whom_it_leaves_behind() {
    let mut rotation = staged_and_compromised();
    let effect = at(&mut rotation, 109, one_is_ready());
    let Effect::Wait(_, missing) = effect else { panic!("{effect:?}") };
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(rotation.record().broken().is_empty());
    // The next process has no more time than what is left.
    rotation = Rotation::new(Record::parse(&rotation.record().to_json()).unwrap());
    at(&mut rotation, 110, Event::TakenUp);
    assert!(matches!(at(&mut rotation, 110, one_is_ready()), Effect::Write));
    assert_eq!(rotation.record().state, State::Adopted);
    let broken = |rotation: &Rotation| {
        rotation.record().broken().iter().map(|one| one.missing.clone()).collect::<Vec<_>>()
    };
    let (application, gate) = ("printer".to_owned(), Gate::Adopted);
    let (holds, wanted) = (Some(Revision::new(1)), Revision::new(2));
    let (app, instance) = ("app".to_owned(), "two".to_owned());
    let left = [
        Missing::Confirmation { application, gate },
        Missing::Revision { application: app, instance, holds, wanted },
    ];
    assert_eq!(broken(&rotation), left);
    assert!(matches!(at(&mut rotation, 110, Event::Written), Effect::Send));
    // After that nobody is named who holds the new one, however old the list is.
    let mut record = rotation.record().clone();
    (record.state, record.revision) = (State::Promoted, Revision::new(3));
    let mut rotation = Rotation::new(record);
    at(&mut rotation, 111, Event::TakenUp);
    assert!(matches!(at(&mut rotation, 111, one_is_ready()), Effect::Write));
    assert_eq!(rotation.record().state, State::Drained, "no quiet period");
    assert_eq!(broken(&rotation), left);
    assert_eq!(rotation.record().account()["compromised"]["broken"].as_array().unwrap().len(), 2);
    assert!(rotation.record().account()["unused"].is_null(), "nobody attested it");
}

/// Who comes with a list of before the rotation after the deadline is named as well.
#[test]
fn an_instance_that_shows_up_late_without_the_new_secret_is_named_before_the_old_one_goes() {
    let mut record = staged_and_compromised().record().clone();
    (record.state, record.revision) = (State::Promoted, Revision::new(3));
    let mut rotation = Rotation::new(record);
    at(&mut rotation, 200, Event::TakenUp);
    let late = fleet_of([report("one", 3, &["new", "old"]), report("three", 1, &["old"])]);
    at(&mut rotation, 200, late);
    let named: Vec<String> = rotation.record().broken().iter().map(named).collect();
    assert_eq!(named, ["three"]);
}

#[test]
fn a_hold_keeps_a_compromised_rotation_from_beginning_and_from_leaving_anybody_behind() {
    let hold = Hold::new("ada", "a freeze", 0, None);
    let mut rotation = staged_and_compromised();
    rotation.note_hold(Some(hold.clone()));
    let before = rotation.record().clone();
    let effect = at(&mut rotation, 200, one_is_ready());
    assert!(matches!(effect, Effect::Stop(Ending::Held(_))), "{effect:?}");
    let effect = at(&mut rotation, 200, Event::CompromisedWanted(PATIENCE));
    assert!(matches!(effect, Effect::Stop(Ending::Held(_))), "{effect:?}");
    assert_eq!(*rotation.record(), before);
}

#[test]
fn a_rotation_that_holds_for_a_person_goes_on_when_its_old_secret_is_compromised() {
    let mut rotation = drained(true);
    let effect = at(&mut rotation, 200, Event::TakenUp);
    assert!(matches!(effect, Effect::Stop(Ending::AwaitsRetirement)), "{effect:?}");
    let effect = at(&mut rotation, 200, Event::CompromisedWanted(PATIENCE));
    assert!(matches!(effect, Effect::Probe(Which::New)), "{effect:?}");
}

#[test]
fn the_way_back_leads_to_the_compromised_secret_so_it_is_not_hurried() {
    let mut rotation = staged_and_compromised();
    at(&mut rotation, 200, one_is_ready());
    at(&mut rotation, 200, Event::Written);
    at(&mut rotation, 200, Event::Answered(ChangeAnswer::Applied));
    at(&mut rotation, 201, Event::RollbackWanted);
    let before = rotation.record().clone();
    let effect = at(&mut rotation, 202, Event::CompromisedWanted(PATIENCE));
    assert!(matches!(effect, Effect::Stop(Ending::GoesBack)), "{effect:?}");
    assert_eq!(*rotation.record(), before);
    let mut record = before;
    record.state = State::Promoted;
    let mut rotation = Rotation::new(record);
    at(&mut rotation, 900, Event::TakenUp);
    let effect = at(&mut rotation, 900, one_is_ready());
    assert!(matches!(effect, Effect::Stop(Ending::AwaitsConfirmation(_))), "{effect:?}");
}
