//! A rotation whose old secret is compromised: it has to be dead soon, so nobody is waited for longer than
//! a deadline, and who is not ready by then is named.
//!
//! Whoever holds both secrets by then notices nothing, whatever follows: the new one is accepted from the
//! change on, and the old one is not needed. So there is one deadline for all gates, it runs from the
//! moment on at which both are published, and no quiet period.

use std::collections::BTreeSet;
use std::time::Duration;

use keyswap_core::SecretId;
use serde::{Deserialize, Serialize};

use super::back::Direction;
use super::confirmation::Gate;
use super::event::{Effect, Ending};
use super::evidence::Wish;
use super::gate::{Fleet, Missing, not_adopted};
use super::policy::Timestamp;
use super::record::Record;
use super::state::State;
use super::step::Rotation;

/// That the old secret is compromised, by a person's word, and who pays for it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Compromised {
    /// How long instances have to take up both secrets, from when they are published.
    #[serde(with = "super::policy::milliseconds")]
    pub patience: Duration,
    /// When nobody is waited for any more.
    pub deadline: Timestamp,
    /// Who was not ready then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<Broken>,
}

/// One who may have lost access since nobody waited any longer.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Broken {
    /// When that was decided.
    pub at: Timestamp,
    /// Who, and what was missing.
    pub missing: Missing,
}

impl Record {
    /// Says of a rotation that begins that its old secret is compromised: instances have this long to take
    /// up both secrets, from when they are published.
    #[must_use]
    pub fn compromised_within(mut self, patience: Duration) -> Self {
        self.say_compromised(patience, self.since());
        self
    }

    fn say_compromised(&mut self, patience: Duration, now: Timestamp) {
        let broken = self.compromised.take().map_or_else(Vec::new, |before| before.broken);
        self.compromised = Some(Compromised { patience, deadline: now.after(patience), broken });
    }

    /// Whether the old secret is compromised and on its way out of use. On the way back it is the one that
    /// stays, so there is no hurry any more.
    #[must_use]
    pub fn hurries(&self) -> bool {
        self.compromised.is_some() && self.direction() == Direction::Forward
    }

    /// Who may have lost access since nobody waited any longer.
    #[must_use]
    pub fn broken(&self) -> &[Broken] {
        self.compromised.as_ref().map_or(&[], |compromised| &compromised.broken)
    }

    /// Those of them for whom that was decided when the present state was entered.
    pub(crate) fn broken_here(&self) -> impl Iterator<Item = &Missing> {
        let here = self.broken().iter().filter(|one| one.at == self.since());
        here.map(|one| &one.missing)
    }

    /// The time for the instances begins when both secrets are published.
    pub(super) fn published_both(&mut self, now: Timestamp) {
        if let Some(compromised) = &mut self.compromised {
            compromised.deadline = now.after(compromised.patience);
        }
    }
}

impl Compromised {
    fn note(&mut self, missing: Vec<Missing>, now: Timestamp) {
        let mut noted: BTreeSet<_> = self.broken.iter().map(|one| whom(&one.missing)).collect();
        let new = missing.into_iter().filter(|one| noted.insert(whom(one)));
        let new: Vec<_> = new.map(|missing| Broken { at: now, missing }).collect();
        self.broken.extend(new);
    }
}

/// Whom it is about: an instance, an application, or a report that cannot be read.
pub(super) fn whom(missing: &Missing) -> (String, String) {
    let (application, what) = match missing {
        Missing::Revision { application, instance, .. }
        | Missing::InUse { application, instance, .. }
        | Missing::Undeclared { application, instance }
        | Missing::LeftOut { application, instance, .. } => {
            (application.as_str(), instance.as_str())
        }
        Missing::Instances { application, .. } | Missing::Confirmation { application, .. } => {
            (application.as_str(), "")
        }
        Missing::Unreadable { instance, .. } => ("", instance.as_str()),
        Missing::InFlight { .. } | Missing::Observation { .. } | Missing::Window { .. } => ("", ""),
    };
    (application.to_owned(), what.to_owned())
}

/// Those that do not hold this secret, as far as anybody knows.
fn without(secret: &SecretId, missing: Vec<Missing>, fleet: &Fleet) -> Vec<Missing> {
    let holds = fleet
        .live
        .iter()
        .filter(|report| report.usage.as_ref().is_some_and(|usage| usage.of(secret).is_some()));
    let holds: BTreeSet<(&str, &str)> =
        holds.map(|report| (report.application.as_str(), report.instance.as_str())).collect();
    let lacks = |one: &Missing| match one {
        Missing::Revision { application, instance, .. }
        | Missing::Undeclared { application, instance } => {
            !holds.contains(&(application.as_str(), instance.as_str()))
        }
        _ => true,
    };
    missing.into_iter().filter(lacks).collect()
}

impl Rotation {
    /// A person says that the old secret is compromised, in mid-rotation.
    pub(super) fn compromised_wanted(&mut self, patience: Duration, now: Timestamp) -> Effect {
        if self.record.direction() == Direction::Back {
            return Effect::Stop(Ending::GoesBack);
        }
        if !self.record.is_over() {
            self.record.say_compromised(patience, now);
            self.note_word(Wish::Hurry, now);
        }
        self.step(super::Event::TakenUp, now)
    }

    /// The gate before the change. Also an application that cannot report is waited for no longer than
    /// any other, since nobody's word may come.
    pub(super) fn staged_in_a_hurry(&mut self, fleet: &Fleet, now: Timestamp) -> Effect {
        let gate = Gate::Adopted;
        let unconfirmed = self.record.unconfirmed(gate).into_iter();
        let unconfirmed =
            unconfirmed.map(|application| Missing::Confirmation { application, gate });
        let missing = unconfirmed.chain(self.not_adopted(fleet)).collect();
        let missing = self.waited_for(missing, fleet, now);
        self.gate(missing, State::Adopted, now)
    }

    pub(super) fn not_adopted(&self, fleet: &Fleet) -> Vec<Missing> {
        not_adopted(&self.record.policy.applications, fleet, self.record.revision)
    }

    /// Who of these is waited for. In a hurry that is nobody once the deadline has passed; who does not
    /// hold the new secret then is written down.
    pub(super) fn waited_for(
        &mut self,
        missing: Vec<Missing>,
        fleet: &Fleet,
        now: Timestamp,
    ) -> Vec<Missing> {
        let hurries = self.record.hurries();
        let new = self.record.new.id();
        match &mut self.record.compromised {
            Some(compromised) if hurries && now >= compromised.deadline => {
                compromised.note(without(new, missing, fleet), now);
                Vec::new()
            }
            _ => missing,
        }
    }
}
