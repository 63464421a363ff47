//! The real rotations, each distinct one once, and what the real step makes of them.
//!
//! A state of the model names a rotation by its number here. `Rotation::step` is a pure function, so it is
//! called once for each distinct rotation and event, and the checker is not slowed down by copies of a
//! journal.

use std::collections::HashMap;
use std::sync::RwLock;
use std::time::Duration;

use keyswap_admin::authority::{
    AddAnswer, ChangeAnswer, Listed, NewSecret, Probe, ReadBack, Slot, SlotId,
};
use keyswap_admin::rotation::{
    Direction, Effect, Ending, Event, Fleet, Missing, Plan, Record, Rotation, SlotChange, Slots,
    State, StuckReason, Timestamp, Which,
};
use keyswap_admin::{Application, AuthorityError, AuthorityErrorKind, RotationPolicy};
use keyswap_core::{Revision, Secret, SecretId, SecretList};
use keyswap_store::{Hold, InstanceReport};

use crate::bounds::{Bounds, Several, Shows};
use crate::mutation::Mutation;
use crate::slots::{CHOSEN, Entry, SLOTS, Status};

/// A secret, by number: rotation `n` brings number `n` in place of number `n - 1`.
pub(crate) type Value = u8;
/// The one that a person sets, whom nobody asked.
pub(crate) const FOREIGN: Value = 14;
/// A value that somebody made instead of repeating the one in the journal.
pub(crate) const FRESH: Value = 7;
/// No secret.
pub(crate) const NONE: Value = 15;

/// A list of at most three secrets, the preferred one first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct List(pub [Value; 3]);

impl List {
    pub(crate) fn of<const N: usize>(values: [Value; N]) -> Self {
        let mut list = [NONE; 3];
        list[..N].copy_from_slice(&values);
        Self(list)
    }

    pub(crate) fn holds(self, value: Value) -> bool {
        value != NONE && self.0.contains(&value)
    }

    pub(crate) fn begins_with(self, values: [Value; 2]) -> bool {
        self.0[..2] == values
    }

    pub(crate) fn is_single(self) -> bool {
        self.0[1] == NONE
    }
}

/// What a rotation is told of one instance. The numbers are relative to what it heard of it last.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Report {
    pub(crate) slot: u8,
    pub(crate) generation: u8,
    /// 0 before it has read a list.
    pub(crate) revision: u8,
    /// Whether it is another report than the last one that this process has seen.
    pub(crate) newer: bool,
    /// Whether its count for the old secret is another one.
    pub(crate) used: bool,
    /// Whether it holds the new secret.
    pub(crate) holds_new: bool,
}

/// [`Event`], small enough to be part of a state.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Happened {
    TakenUp,
    RollbackWanted,
    Written,
    Published(u8),
    ForeignList,
    Fleet([Option<Report>; 2]),
    Answered(Request, Outcome),
    Listed([Entry; SLOTS]),
    /// The value that the server says it holds; `None` if it does not say.
    ReadBack(Option<Value>),
    /// Whether the secret was accepted; `None` if that said nothing.
    Probed(WhichOne, Option<bool>),
    /// The same, of a retired secret.
    ProbedRetired(Value, Option<bool>),
    Waited,
}

/// A request to the server that changes something.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Request {
    None,
    Set(Value),
    /// [`NONE`] where the server chooses.
    Add(Value),
    Change(u8, Status),
}

impl Request {
    pub(crate) fn value(self) -> Value {
        match self {
            Self::Set(value) | Self::Add(value) => value,
            Self::None | Self::Change(..) => NONE,
        }
    }
}

/// What a process hears of such a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Outcome {
    Applied,
    /// Under this name, with this value.
    AddedAs(u8, Value),
    Refused,
    RetryAfter,
    Unknown,
}

/// [`Which`], to be hashed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum WhichOne {
    Old,
    New,
}

/// [`Effect`], small enough to be part of a state.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Act {
    Write,
    Publish { list: List, replaces: u8, instead_of: [List; 3] },
    Observe,
    Send,
    Add,
    Change(u8, Status),
    List,
    ReadBack,
    Probe(WhichOne),
    ProbeRetired(Value),
    Wait,
    Stop(End),
}

impl Act {
    /// The request that it is, if it changes something at the server.
    pub(crate) fn request(self, target: Value) -> Option<Request> {
        match self {
            Self::Send => Some(Request::Set(target)),
            Self::Add => Some(Request::Add(target)),
            Self::Change(name, status) => Some(Request::Change(name, status)),
            _ => None,
        }
    }
}

/// [`Ending`], small enough to be part of a state.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum End {
    Done,
    RolledBack,
    NoWayBack,
    Refused,
    Throttled,
    Unknown,
    Stuck,
    Held,
}

/// What the world looks up of a journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) state: State,
    pub(crate) old: Value,
    pub(crate) new: Value,
    /// The one that is brought into force, and the one that goes.
    pub(crate) target: Value,
    pub(crate) source: Value,
    /// Where the first is, at a server that holds several.
    pub(crate) target_slot: Option<u8>,
    pub(crate) back: bool,
    /// Who is named as left behind: a bit for each instance, by its slot and how many were before it there.
    pub(crate) broken: u32,
    /// And whether all those are that did not report.
    pub(crate) others_broken: bool,
    pub(crate) revision: u8,
    pub(crate) unresolved: bool,
    /// The values in it, one bit each.
    pub(crate) known: u16,
    /// Whether a change of unknown outcome may still be applied, as the next rotation asks.
    pub(crate) in_flight: bool,
    pub(crate) stuck: Option<StuckReason>,
    pub(crate) stuck_in: Option<State>,
}

/// The number of a rotation. That of a journal is the one of the rotation that takes it up.
pub(crate) type Number = u32;

pub(crate) struct Rotations {
    policy: RotationPolicy,
    several: Option<Several>,
    compromised: Option<u8>,
    horizon: Timestamp,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    rotations: Vec<Rotation>,
    written: Vec<Written>,
    journals: Vec<Option<Number>>,
    aged: Vec<Option<Number>>,
    numbers: HashMap<String, Number>,
    steps: HashMap<(Number, Happened, bool), (Number, Act, bool)>,
}

const TICK: u64 = 1_000;

fn ticks(number: u8) -> Duration {
    Duration::from_millis(u64::from(number) * TICK)
}

fn secret(value: Value) -> Secret {
    Secret::new(name(value), format!("value-{value}")).unwrap()
}

/// What a server chose is the new secret of the only rotation.
fn name(value: Value) -> SecretId {
    let number = if (CHOSEN..FOREIGN).contains(&value) { 1 } else { value };
    format!("s{number}").parse().unwrap()
}

/// The value of a retired secret, which no server chose.
fn number(name: &SecretId) -> Value {
    name.as_str()[1..].parse().unwrap()
}

fn value(secret: &Secret) -> Value {
    secret.expose()["value-".len()..].parse().unwrap()
}

/// The value of one of the two secrets.
fn value_of(record: &Record, which: Which) -> Value {
    record.secret(which).map_or(NONE, value)
}

fn slot(name: &SlotId) -> u8 {
    name.as_str().parse().unwrap()
}

fn slot_id(slot: u8) -> SlotId {
    SlotId::new(slot.to_string())
}

fn small(revision: Revision) -> u8 {
    u8::try_from(revision.number()).unwrap()
}

impl Rotations {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let application = Application::new("app").instances(bounds.expected);
        let mut policy = RotationPolicy::new([application])
            .propagation_window(ticks(bounds.window_of_policy))
            .quiet_period(ticks(bounds.quiet));
        policy.probes = bounds.probes;
        policy.sends = bounds.sends;
        policy.in_flight_bound = ticks(bounds.in_flight);
        policy.late_write_bound = ticks(bounds.late_write);
        policy.observation_period = bounds.several.map(|several| ticks(several.observation));
        if bounds.mutation == Some(Mutation::ObservationNotAwaited) {
            policy.observation_period = Some(Duration::ZERO);
        }
        let forgotten = bounds.mutation == Some(Mutation::DeadlineForgotten);
        let compromised = bounds.compromised.filter(|_| !forgotten);
        let horizon = Timestamp::from_milliseconds(100 * TICK);
        let mut several = bounds.several;
        if bounds.mutation == Some(Mutation::NewestForgotten) {
            several = several.map(|several| Several { newest_stays: false, ..several });
        }
        Self { policy, several, compromised, horizon, table: RwLock::default() }
    }

    /// The journal with which a rotation begins.
    pub(crate) fn begin(
        &self,
        (old, new): (Value, Value),
        revision: u8,
        earlier: Option<Number>,
    ) -> Number {
        let chosen = self.several.is_some_and(|several| several.chooses);
        let mut record = Record::begin(
            "client",
            self.policy.clone(),
            secret(old),
            if chosen { NewSecret::Awaited(name(new)) } else { NewSecret::Known(secret(new)) },
            Revision::new(revision.into()),
            self.horizon,
        );
        if let Some(patience) = self.compromised {
            record = record.compromised_within(ticks(patience));
        }
        if let Some(several) = self.several {
            let listed = [Slot::new(slot_id(0))];
            let slots = Slots::new(slot_id(0), &listed, several.deactivation);
            record = record.adding(slots.where_the_newest_stays(several.newest_stays));
        }
        let record = match earlier {
            Some(earlier) => record.after(self.rotation(earlier).record(), self.horizon),
            None => record,
        };
        self.number(Rotation::new(record))
    }

    /// What the real step makes of this: the rotation after it, what it does next, and whether there
    /// is something to write before that.
    pub(crate) fn step(
        &self,
        before: Number,
        happened: Happened,
        held: bool,
    ) -> (Number, Act, bool) {
        if let Some(known) = self.table.read().unwrap().steps.get(&(before, happened, held)) {
            return *known;
        }
        let mut rotation = self.rotation(before);
        let record = rotation.record().clone();
        rotation.note_hold(held.then(|| Hold::new("ada", "not now", 0, None)));
        let effect = rotation.step(self.event(happened, &record), self.horizon);
        rotation.note_hold(None);
        let changed = *rotation.record() != record;
        let after = (self.number(rotation), act(effect), changed);
        self.table.write().unwrap().steps.insert((before, happened, held), after);
        after
    }

    /// The rotation when one tick has passed.
    pub(crate) fn aged(&self, number: Number) -> Number {
        if let Some(known) = self.table.read().unwrap().aged[number as usize] {
            return known;
        }
        let later = self.horizon.after(Duration::from_millis(TICK));
        let rotation = self.rotation(number).canonical(later, self.horizon);
        let after = self.number(rotation);
        self.table.write().unwrap().aged[number as usize] = Some(after);
        after
    }

    /// What the next process reads of the journal that this rotation writes.
    pub(crate) fn journal(&self, number: Number) -> Number {
        if let Some(known) = self.table.read().unwrap().journals[number as usize] {
            return known;
        }
        let text = self.rotation(number).record().to_json();
        let after = self.number(Rotation::new(Record::parse(&text).unwrap()));
        self.table.write().unwrap().journals[number as usize] = Some(after);
        after
    }

    /// The journal, if the rotation before retired this secret.
    pub(crate) fn having_retired(&self, number: Number, value: Value) -> Number {
        let text = self.rotation(number).record().to_json();
        let mut journal: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let until = self.horizon.after(self.policy.late_write_bound);
        let secret = serde_json::json!({ "id": name(value), "value": secret(value).expose() });
        journal["retired"] = serde_json::json!([{ "secret": secret, "until": until }]);
        self.number(Rotation::new(Record::parse(journal.to_string().as_bytes()).unwrap()))
    }

    /// A journal that `change` was made to, for the mutations.
    pub(crate) fn falsified(&self, number: Number, change: impl FnOnce(&mut Record)) -> Number {
        let mut record = self.rotation(number).record().clone();
        change(&mut record);
        self.number(Rotation::new(record))
    }

    pub(crate) fn written(&self, number: Number) -> Written {
        self.table.read().unwrap().written[number as usize]
    }

    /// How many distinct rotations there were, and how many steps from them.
    pub(crate) fn count(&self) -> (usize, usize) {
        let table = self.table.read().unwrap();
        (table.rotations.len(), table.steps.len())
    }

    pub(crate) fn rotation(&self, number: Number) -> Rotation {
        self.table.read().unwrap().rotations[number as usize].clone()
    }

    fn number(&self, rotation: Rotation) -> Number {
        let rotation = rotation.canonical(self.horizon, self.horizon);
        // Shows every field, and secrets by their ids; what a server chose has always the same.
        let text = format!("{rotation:?} {}", value_of(rotation.record(), Which::New));
        let mut table = self.table.write().unwrap();
        if let Some(number) = table.numbers.get(&text) {
            return *number;
        }
        let number = Number::try_from(table.rotations.len()).unwrap();
        let written = written(rotation.record(), self.horizon);
        table.rotations.push(rotation);
        table.written.push(written);
        table.journals.push(None);
        table.aged.push(None);
        table.numbers.insert(text, number);
        number
    }
}

fn written(record: &Record, now: Timestamp) -> Written {
    let at = |which| match (&record.plan, which) {
        (Plan::Add(slots), Which::Old) => Some(slot(&slots.old)),
        (Plan::Add(slots), Which::New) => slots.new.as_ref().map(slot),
        _ => None,
    };
    let broken = || record.broken().iter().map(|one| &one.missing);
    Written {
        broken: broken().fold(0, |bits, one| bits | name_bit(one)),
        others_broken: broken().any(|one| matches!(one, Missing::Instances { .. })),
        state: record.state,
        old: value_of(record, Which::Old),
        new: value_of(record, Which::New),
        target: value_of(record, record.target()),
        source: value_of(record, record.source()),
        target_slot: at(record.target()),
        back: record.direction() == Direction::Back,
        revision: small(record.revision),
        unresolved: record.change.unresolved,
        known: record.known().iter().fold(0, |bits, secret| bits | 1 << value(secret)),
        in_flight: record.in_flight_until().is_some_and(|until| until > now),
        stuck: record.stuck.map(|(_, reason)| reason),
        stuck_in: record.stuck.map(|(state, _)| state),
    }
}

impl Rotations {
    fn event(&self, happened: Happened, record: &Record) -> Event {
        match happened {
            Happened::TakenUp => Event::TakenUp,
            Happened::RollbackWanted => Event::RollbackWanted,
            Happened::Written => Event::Written,
            Happened::Published(revision) => Event::Published(Revision::new(revision.into())),
            Happened::ForeignList => Event::ForeignList,
            Happened::Fleet(reports) => Event::Fleet(Fleet {
                live: reports.iter().flatten().map(|report| full_report(*report, record)).collect(),
                unreadable: Vec::new(),
            }),
            Happened::Answered(Request::Add(_), outcome) => Event::Added(added(outcome, record)),
            Happened::Answered(Request::Change(..), outcome) => {
                Event::SlotChanged(change_answer(outcome))
            }
            Happened::Answered(_, outcome) => Event::Answered(change_answer(outcome)),
            Happened::Listed(entries) => Event::Listed(Listed::Slots(
                (0..)
                    .zip(entries)
                    .filter_map(|(name, entry)| self.slot(name, entry, record))
                    .collect(),
            )),
            Happened::ReadBack(None) => Event::ReadBack(ReadBack::Unavailable("it cannot".into())),
            // As an authority does it: it is shown every secret that the journal knows.
            Happened::ReadBack(Some(held)) => {
                Event::ReadBack(match record.known().iter().find(|known| value(known) == held) {
                    Some(known) => ReadBack::Holds(known.id().clone()),
                    None => ReadBack::Other,
                })
            }
            Happened::Probed(which, said) => {
                let which = match which {
                    WhichOne::Old => Which::Old,
                    WhichOne::New => Which::New,
                };
                Event::Probed(which, probed(said))
            }
            Happened::ProbedRetired(value, said) => Event::ProbedRetired(name(value), probed(said)),
            Happened::Waited => Event::Waited,
        }
    }

    /// What the server shows of one of the secrets.
    fn slot(&self, at: u8, entry: Entry, record: &Record) -> Option<Slot> {
        let shows = self.several?.shows;
        let id = name(entry.value);
        let known = record.known().iter().any(|known| value(known) == entry.value);
        // Somebody else has no text of keyswap's, and the first secret is older than any.
        let own = id == *record.new.id();
        (entry.value != NONE).then(|| {
            Slot::new(slot_id(at))
                .active(entry.active)
                .holding((shows == Shows::Value && known).then(|| id.clone()))
                .made_for((shows == Shows::Text && own).then(|| id.clone()))
        })
    }
}

fn refusal() -> AuthorityError {
    AuthorityError::new(AuthorityErrorKind::Refused, "no")
}

fn change_answer(outcome: Outcome) -> ChangeAnswer {
    match outcome {
        Outcome::Applied | Outcome::AddedAs(..) => ChangeAnswer::Applied,
        Outcome::Refused => ChangeAnswer::Refused(refusal()),
        Outcome::RetryAfter => ChangeAnswer::RetryAfter(Duration::ZERO),
        Outcome::Unknown => ChangeAnswer::Unknown("lost".into()),
    }
}

fn added(outcome: Outcome, record: &Record) -> AddAnswer {
    match outcome {
        Outcome::AddedAs(name, value) => {
            let secret = Secret::new(record.new.id().clone(), format!("value-{value}")).unwrap();
            AddAnswer::Added(slot_id(name), secret)
        }
        Outcome::Refused => AddAnswer::Refused(refusal()),
        Outcome::RetryAfter => AddAnswer::RetryAfter(Duration::ZERO),
        Outcome::Applied | Outcome::Unknown => AddAnswer::Unknown("lost".into()),
    }
}

fn probed(said: Option<bool>) -> Probe {
    match said {
        Some(true) => Probe::Accepted,
        Some(false) => Probe::Refused,
        None => Probe::Inconclusive("a server error".into()),
    }
}

fn full_report(short: Report, record: &Record) -> InstanceReport {
    let mut report = InstanceReport::new("app", format!("i{}-{}", short.slot, short.generation));
    report.sequence = short.newer.into();
    if short.revision > 0 {
        let one = |id, used: bool| serde_json::json!({ "id": id, "accepted": u64::from(used), "refused": 0 });
        let mut secrets = vec![one(record.id(record.source()), short.used)];
        // Whoever has it says so.
        if short.holds_new && record.source() != Which::New {
            secrets.push(one(record.id(Which::New), false));
        }
        let usage = serde_json::json!({
            "revision": short.revision,
            "secrets": secrets,
            "promotions": 0,
        });
        report.revision = Some(Revision::new(short.revision.into()));
        report.usage = Some(serde_json::from_value(usage).unwrap());
    }
    report
}

/// The bit of an instance.
pub(crate) fn bit(slot: u8, generation: u8) -> u32 {
    1 << (slot * 16 + generation)
}

fn name_bit(missing: &Missing) -> u32 {
    let Missing::Revision { instance, .. } = missing else { return 0 };
    let (slot, generation) = instance[1..].split_once('-').unwrap();
    bit(slot.parse().unwrap(), generation.parse().unwrap())
}

fn short_list(list: &SecretList) -> List {
    let mut values = [NONE; 3];
    list.iter().zip(&mut values).for_each(|(secret, place)| *place = value(secret));
    List(values)
}

fn act(effect: Effect) -> Act {
    match effect {
        Effect::Write => Act::Write,
        Effect::Publish { list, replaces, instead_of, .. } => {
            let mut also = [List([NONE; 3]); 3];
            instead_of.iter().zip(&mut also).for_each(|(list, place)| *place = short_list(list));
            Act::Publish { list: short_list(&list), replaces: small(replaces), instead_of: also }
        }
        Effect::Observe => Act::Observe,
        Effect::Send => Act::Send,
        Effect::Add => Act::Add,
        Effect::ChangeSlot(name, change) => Act::Change(
            slot(&name),
            match change {
                SlotChange::Activate => Status::Active,
                SlotChange::Deactivate => Status::Inactive,
                SlotChange::Remove => Status::Gone,
            },
        ),
        Effect::List => Act::List,
        Effect::ReadBack => Act::ReadBack,
        Effect::Probe(Which::Old) => Act::Probe(WhichOne::Old),
        Effect::Probe(Which::New) => Act::Probe(WhichOne::New),
        Effect::ProbeRetired(id) => Act::ProbeRetired(number(&id)),
        // However long: time passes in the model whenever it likes.
        Effect::BackOff(_) | Effect::Wait(..) => Act::Wait,
        Effect::Stop(ending) => Act::Stop(match ending {
            Ending::Done => End::Done,
            Ending::RolledBack => End::RolledBack,
            Ending::NoWayBack(_) => End::NoWayBack,
            Ending::Refused(_) => End::Refused,
            Ending::Throttled => End::Throttled,
            Ending::Unknown(_) => End::Unknown,
            Ending::Stuck(_) => End::Stuck,
            Ending::Held(_) => End::Held,
            other => panic!("an ending that the model does not know: {other:?}"),
        }),
        other => panic!("an effect that the model does not know: {other:?}"),
    }
}
