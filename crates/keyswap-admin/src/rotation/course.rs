//! The course that a rotation will take if nothing goes wrong, found out by letting it take that course: the same
//! step that decides a live rotation is given the answers of a server and of programs at which all is well, and its
//! waits pass at once. So what a plan shows is what the engine does, state by state.

use std::time::Duration;

use keyswap_core::{Revision, Secret, SecretId};
use keyswap_store::InstanceReport;
use serde::Serialize;
use serde_json::json;

use super::back::WayBack;
use super::confirmation::Gate;
use super::event::{Effect, Ending, Event, SlotChange, Which};
use super::gate::{Fleet, Missing};
use super::plan::Plan;
use super::policy::Timestamp;
use super::record::Record;
use super::state::State;
use super::step::Rotation;
use crate::authority::{AddAnswer, ChangeAnswer, Listed, Probe, ReadBack, Slot, SlotId};

/// More events than any course has: what does not end by then is cut off.
const MOST_EVENTS: u32 = 200_000;
/// How many looks at the instances make up a quiet period here. A real rotation looks more often.
const LOOKS: u32 = 500;

/// What a rotation does in one state: before it goes on to the next one.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Act {
    /// It publishes a list of these secrets, in this order.
    Publish(Vec<SecretId>),
    /// It looks at the instances until the gate is open.
    Observe,
    /// It proves a secret by a token request.
    Probe(Which),
    /// It asks the server which secret it holds.
    ReadBack,
    /// It asks the server which secrets it has for the client.
    List,
    /// It sets a secret in place of the one that the server has.
    Set(Which),
    /// It has the new secret added.
    Add,
    /// It has the server choose the new secret in place of the one that it has.
    Regenerate,
    /// It puts one of the client's secrets into force, or takes it out of force.
    SetActive(SlotId, bool),
    /// It removes one of the client's secrets, where this one stays.
    Remove(SlotId, Which),
    /// It stops until a person has spoken for this application.
    Confirmation(String),
    /// It stops until a person has the old secret retired.
    Retirement,
}

/// A state that a rotation will go through, and what it does there.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The state.
    pub state: State,
    /// What each instance is waited for to report there.
    pub gate: Option<Gate>,
    /// What is done there, in the order in which it is done first, and how often.
    pub acts: Vec<(Act, u32)>,
    /// How long it lasts at least: if each program is ready at once, and each answer takes no time.
    pub lasts: Duration,
    /// What going back from there would do.
    pub way_back: WayBack,
}

impl Step {
    /// Whether programs are waited for there.
    #[must_use]
    pub fn waits_for_programs(&self) -> bool {
        self.acts.iter().any(|(act, _)| *act == Act::Observe)
    }

    /// Whether a person's word is waited for there.
    #[must_use]
    pub fn waits_for_a_person(&self) -> bool {
        let is_word = |act: &Act| matches!(act, Act::Confirmation(_) | Act::Retirement);
        self.acts.iter().any(|(act, _)| is_word(act))
    }
}

/// The states that a rotation will go through.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Course {
    /// The states, in order.
    pub steps: Vec<Step>,
    /// Why it stops before its end all the same, in words; `None` if it comes to its end.
    pub stops: Option<String>,
    /// Which number of the policy each of the states lasts longer with, in the same order.
    pub waits: Vec<Vec<Wait>>,
    /// How long it lasts at least.
    pub at_least: Duration,
    /// How long it lasts if no program ever takes up the new secret; `None` if it waits for them for ever.
    pub deadline: Option<Duration>,
}

/// A number that a rotation waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Wait {
    /// [`propagation_window`](super::RotationPolicy::propagation_window).
    PropagationWindow,
    /// [`quiet_period`](super::RotationPolicy::quiet_period).
    QuietPeriod,
    /// [`observation_period`](super::RotationPolicy::observation_period), if it is given.
    ObservationPeriod,
}

impl Course {
    /// The course of a rotation that begins with this record. Its secrets may have any value: the decision looks
    /// at their ids. `reads_back` says whether the server tells which secret it holds.
    #[must_use]
    pub fn of(record: &Record, reads_back: bool) -> Self {
        let (steps, stops) = foresee(record.clone(), reads_back, Programs::TakeUp);
        let waits = waits(record, reads_back, &steps);
        let at_least = steps.iter().map(|step| step.lasts).sum();
        let deadline = record.hurries().then(|| {
            let (steps, _) = foresee(record.clone(), reads_back, Programs::Sleep);
            steps.iter().map(|step| step.lasts).sum()
        });
        Self { steps, stops, waits, at_least, deadline }
    }
}

/// Which states last longer if one number is larger: that is what they wait for.
fn waits(record: &Record, reads_back: bool, steps: &[Step]) -> Vec<Vec<Wait>> {
    let mut waits = vec![Vec::new(); steps.len()];
    let policy = &record.policy;
    let numbers = [
        (Wait::PropagationWindow, true),
        (Wait::QuietPeriod, true),
        (Wait::ObservationPeriod, policy.observation_period.is_some()),
    ];
    for (wait, _) in numbers.into_iter().filter(|(_, given)| *given) {
        let mut record = record.clone();
        let policy = &mut record.policy;
        match wait {
            Wait::PropagationWindow => policy.propagation_window = Some(policy.window() * 2),
            Wait::QuietPeriod => policy.quiet_period *= 2,
            Wait::ObservationPeriod => policy.observation_period = Some(policy.observation() * 2),
        }
        let (longer, _) = foresee(record, reads_back, Programs::TakeUp);
        for ((waits, before), after) in waits.iter_mut().zip(steps).zip(&longer) {
            // The looks at the instances come at most one in LOOKS late.
            if after.state == before.state && after.lasts > before.lasts + before.lasts / 8 {
                waits.push(wait);
            }
        }
    }
    waits
}

/// What the programs do.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Programs {
    /// As many as are declared take up each list at once.
    TakeUp,
    /// None is there.
    Sleep,
}

fn foresee(record: Record, reads_back: bool, programs: Programs) -> (Vec<Step>, Option<String>) {
    let mut world = World::around(&record, reads_back, programs);
    let mut rotation = Rotation::new(record);
    // One of each stands for all: each of them has to be ready.
    rotation.record.policy.applications.iter_mut().for_each(|one| one.instances = 1);
    let mut steps = Vec::new();
    world.note_entered(&mut steps, &rotation.record);
    let mut event = Event::TakenUp;
    for _ in 0..MOST_EVENTS {
        let effect = rotation.step(event, world.now);
        world.note_entered(&mut steps, &rotation.record);
        let (acts, next) = world.perform(effect, &mut rotation);
        if let Some(step) = steps.last_mut() {
            acts.into_iter().for_each(|act| note(&mut step.acts, act));
        }
        event = match next {
            Ok(event) => event,
            Err(stops) => return (steps, stops),
        };
    }
    (steps, Some("it does not come to its end".to_owned()))
}

fn note(acts: &mut Vec<(Act, u32)>, act: Act) {
    match acts.iter_mut().find(|(noted, _)| *noted == act) {
        Some((_, times)) => *times += 1,
        None => acts.push((act, 1)),
    }
}

/// A server and programs at which all is well.
pub(super) struct World {
    pub(super) now: Timestamp,
    entered: usize,
    since: Timestamp,
    reads_back: bool,
    programs: Programs,
    published: Revision,
    /// How often the instances were looked at.
    looks: u64,
    /// Of a server that holds one secret.
    holds: Which,
    /// Of one that holds several.
    slots: Vec<Slot>,
}

impl World {
    pub(super) fn around(record: &Record, reads_back: bool, programs: Programs) -> Self {
        let slots = record.plan.slots().map_or_else(Vec::new, |slots| {
            let slot = |id: &SlotId| {
                let held = (*id == slots.old).then(|| record.old.id().clone());
                let removal = slots.removal.as_ref().filter(|removal| removal.slot == *id);
                Slot::new(id.clone())
                    .holding(held)
                    .active(removal.is_none_or(|removal| removal.was_active))
            };
            slots.before.iter().map(slot).collect()
        });
        // What goes back from the beginning was found to hold the secret that it brings.
        let holds = record.rollback.map_or(Which::Old, |_| Which::New);
        let (now, published) = (record.latest(), record.revision);
        let (entered, since, looks) = (0, now, 0);
        Self { now, entered, since, reads_back, programs, published, looks, holds, slots }
    }

    fn note_entered(&mut self, steps: &mut Vec<Step>, record: &Record) {
        for entered in &record.entered[self.entered..] {
            if let Some(last) = steps.last_mut() {
                last.lasts = entered.at.since(self.since);
            }
            self.since = entered.at;
            steps.push(Step {
                state: entered.state,
                gate: Gate::of_instances(entered.state),
                acts: Vec::new(),
                lasts: Duration::ZERO,
                way_back: record.way_back(),
            });
        }
        self.entered = record.entered.len();
    }

    /// What is done, and what comes of it; the end, and why it is none.
    pub(super) fn perform(
        &mut self,
        effect: Effect,
        rotation: &mut Rotation,
    ) -> (Vec<Act>, Result<Event, Option<String>>) {
        let record = &rotation.record;
        let one = |act| vec![act];
        let applied = || Event::SlotChanged(ChangeAnswer::Applied);
        let (acts, event) = match effect {
            Effect::Write => (Vec::new(), Event::Written),
            Effect::Publish { list, .. } => {
                self.published = self.published.max(record.revision).next();
                let ids = list.iter().map(|secret| secret.id().clone()).collect();
                (one(Act::Publish(ids)), Event::Published(self.published))
            }
            Effect::Observe => (one(Act::Observe), Event::Fleet(self.fleet(record))),
            Effect::Send => {
                self.holds = record.target();
                (one(Act::Set(self.holds)), Event::Answered(ChangeAnswer::Applied))
            }
            Effect::ReadBack => {
                let said = match self.reads_back {
                    true => ReadBack::Holds(record.id(self.holds).clone()),
                    false => ReadBack::Unavailable("it does not say".to_owned()),
                };
                let act = self.reads_back.then_some(Act::ReadBack);
                (act.into_iter().collect(), Event::ReadBack(said))
            }
            Effect::Add => {
                let Some(secret) = brought(record) else { return (Vec::new(), Err(None)) };
                if matches!(record.plan, Plan::Regenerate(_)) {
                    self.holds = Which::New;
                    (one(Act::Regenerate), Event::Added(AddAnswer::Replaced(secret)))
                } else {
                    let slot = SlotId::new(NEW_SLOT);
                    let held = Some(secret.id().clone());
                    self.slots.push(Slot::new(slot.clone()).holding(held));
                    (one(Act::Add), Event::Added(AddAnswer::Added(slot, secret)))
                }
            }
            Effect::ChangeSlot(slot, change) => {
                let act = match change {
                    SlotChange::Activate => Act::SetActive(slot.clone(), true),
                    SlotChange::Deactivate => Act::SetActive(slot.clone(), false),
                    SlotChange::Remove => {
                        let stays = match record.state {
                            State::MakingRoom | State::Adding => Which::Old,
                            _ => record.target(),
                        };
                        Act::Remove(slot.clone(), stays)
                    }
                };
                match change {
                    SlotChange::Remove => self.slots.retain(|one| one.id != slot),
                    change => {
                        let mut slots = self.slots.iter_mut();
                        if let Some(found) = slots.find(|one| one.id == slot) {
                            found.active = change == SlotChange::Activate;
                        }
                    }
                }
                (one(act), applied())
            }
            Effect::List => (one(Act::List), Event::Listed(Listed::Slots(self.slots.clone()))),
            Effect::Probe(which) => {
                let answer = match self.accepts(record, which) {
                    true => Probe::Accepted,
                    false => Probe::Refused,
                };
                (one(Act::Probe(which)), Event::Probed(which, answer))
            }
            Effect::ProbeRetired(id) => (Vec::new(), Event::ProbedRetired(id, Probe::Refused)),
            Effect::BackOff(time) | Effect::Wait(time, _) => {
                // A look at the instances each second would be many in a quiet period of a day.
                let policy = &record.policy;
                let long = policy.quiet().max(policy.observation()) / LOOKS;
                let waits_for_somebody =
                    matches!(effect, Effect::Wait(_, ref who) if !who.is_empty());
                let time = if waits_for_somebody { time.max(long) } else { time };
                let opens = match &effect {
                    Effect::Wait(_, who) => who.iter().find_map(|one| match one {
                        Missing::Window { opens, .. } => *opens,
                        _ => None,
                    }),
                    _ => None,
                };
                let later = self.now.after(time.max(Duration::from_millis(1)));
                self.now = opens.unwrap_or(later);
                (Vec::new(), Event::Waited)
            }
            Effect::Stop(Ending::AwaitsConfirmation(missing)) => {
                let (mut acts, now) = (Vec::new(), self.now);
                for one in missing {
                    if let Missing::Confirmation { application, .. } = one
                        && rotation.record.confirm(&application, "", "", now).is_ok()
                    {
                        acts.push(Act::Confirmation(application));
                    }
                }
                match acts.is_empty() {
                    true => return (acts, Err(Some("it waits for a person".to_owned()))),
                    false => (acts, Event::TakenUp),
                }
            }
            Effect::Stop(Ending::AwaitsRetirement) => (one(Act::Retirement), Event::RetireWanted),
            Effect::Stop(Ending::Done | Ending::RolledBack) => return (Vec::new(), Err(None)),
            Effect::Stop(Ending::Stuck(reason)) => {
                return (Vec::new(), Err(Some(reason.to_string())));
            }
            Effect::Stop(_) => return (Vec::new(), Err(Some("it stops here".to_owned()))),
        };
        (acts, Ok(event))
    }

    fn accepts(&self, record: &Record, which: Which) -> bool {
        if record.plan.slots().is_none() {
            return self.holds == which;
        }
        let id = record.id(which);
        self.slots.iter().any(|slot| slot.active && slot.holds.as_ref() == Some(id))
    }

    fn fleet(&mut self, record: &Record) -> Fleet {
        self.looks += 1;
        let mut live = Vec::new();
        if self.programs == Programs::TakeUp {
            let reporting = record.policy.applications.iter().filter(|one| !one.manual);
            live.extend(reporting.map(|one| self.report(&one.name, record)));
        }
        Fleet { live, ..Fleet::default() }
    }

    /// A report of an instance that holds both secrets in the published revision, and uses none.
    fn report(&self, application: &str, record: &Record) -> InstanceReport {
        let mut report = InstanceReport::new(application, "1");
        let unused = |id: &SecretId| json!({ "id": id, "accepted": 0, "refused": 0 });
        let secrets = [unused(record.new.id()), unused(record.old.id())];
        let usage = json!({ "revision": self.published, "secrets": secrets, "promotions": 0 });
        report.usage = serde_json::from_value(usage).ok();
        report.revision = Some(self.published);
        report.sequence = self.looks;
        report
    }
}

/// The name that a server is taken to give the new secret.
const NEW_SLOT: &str = "NEW";

/// The new secret, with a value of its own where the server chooses that.
fn brought(record: &Record) -> Option<Secret> {
    let known = record.new.secret().cloned();
    known.or_else(|| Secret::new(record.new.id().clone(), "chosen-by-the-server").ok())
}
