//! A person's word that one gate of a rotation may open without one instance.
//!
//! There is no word for all gates or all instances: each is one that a person has looked at. Whoever is left
//! out is named before the act that may break it, and in the account.

use std::collections::BTreeSet;

use super::compromised::{Broken, whom};
use super::confirmation::{Confirmation, Gate, NothingToConfirm};
use super::event::Effect;
use super::gate::{Fleet, Missing};
use super::policy::Timestamp;
use super::record::Record;
use super::state::State;
use super::step::Rotation;

impl Gate {
    /// The gate at which instances are waited for in this state.
    pub(super) fn of_instances(state: State) -> Option<Self> {
        match state {
            State::Staged => Some(Self::Adopted),
            State::Promoted | State::Deactivated => Some(Self::Drained),
            State::Retired => Some(Self::Retired),
            _ => None,
        }
    }

    /// What may happen to an instance that this gate does not wait for, in words for a person.
    #[must_use]
    pub fn what_breaks(self) -> &'static str {
        match self {
            Self::Adopted => {
                "the secret that it may not hold is set at the server, so it may lose access until it \
                 reads the list"
            }
            Self::Drained => {
                "the secret that it may still use is taken away, so it may lose access until it reads \
                 the list"
            }
            Self::Retired => {
                "the rotation ends, and it may go on with a list that holds a secret that is gone"
            }
        }
    }
}

impl Record {
    /// The gate at which instances are waited for now.
    #[must_use]
    pub fn gate_of_instances(&self) -> Option<Gate> {
        Gate::of_instances(self.state)
    }

    /// Writes down a person's word that the gate which the rotation stands before may open without this
    /// instance, whatever it reports. It counts for this gate, in this direction, and for no other instance.
    ///
    /// # Errors
    ///
    /// [`NothingToConfirm`] if the rotation stands before no gate, or waits for no such instance there.
    pub fn leave_out(
        &mut self,
        (application, instance): (&str, &str),
        fleet: &Fleet,
        (by, reason): (&str, &str),
        now: Timestamp,
    ) -> Result<Gate, NothingToConfirm> {
        let Some(gate) = self.gate_of_instances() else {
            return Err(NothingToConfirm::NoGate(self.state));
        };
        if self.word_to_leave_out(gate, application, instance).is_some() {
            return Err(NothingToConfirm::LeftOut(instance.to_owned()));
        }
        let live = fleet.live.iter().find(|report| report.instance == instance);
        match live {
            Some(report) if report.application != application => {
                return Err(NothingToConfirm::OfAnother(report.application.clone()));
            }
            Some(_) => {}
            None if fleet.unreadable.iter().any(|one| one.instance == instance) => {}
            None => return Err(NothingToConfirm::NotThere(instance.to_owned())),
        }
        let declared = self.policy.applications.iter().any(|one| one.name == application);
        let ready = live.is_some_and(|report| report.revision >= Some(self.revision));
        if declared && ready && gate != Gate::Drained {
            return Err(NothingToConfirm::IsReady(instance.to_owned()));
        }
        self.confirmations.push(Confirmation {
            application: application.to_owned(),
            instance: Some(instance.to_owned()),
            gate,
            direction: self.direction(),
            by: by.to_owned(),
            reason: reason.to_owned(),
            at: now,
        });
        Ok(gate)
    }

    /// The words that leave instances out at the gate which the rotation stands before.
    pub fn left_out(&self) -> impl Iterator<Item = &Confirmation> {
        let gate = self.gate_of_instances().filter(|_| !self.hurries());
        self.confirmations.iter().filter(move |one| {
            one.instance.is_some() && Some(one.gate) == gate && one.direction == self.direction()
        })
    }

    /// Of one whose report cannot be read it is not known of which application it is.
    fn word_to_leave_out(
        &self,
        gate: Gate,
        application: &str,
        instance: &str,
    ) -> Option<&Confirmation> {
        self.confirmations.iter().find(|one| {
            (one.gate, one.direction) == (gate, self.direction())
                && one.instance.as_deref() == Some(instance)
                && (application.is_empty() || one.application == application)
        })
    }
}

/// Those that a gate waits for, and those that it does not wait for at a person's word.
#[derive(Clone)]
pub(super) struct Awaited {
    pub(super) missing: Vec<Missing>,
    left_out: Vec<Missing>,
    named: Vec<Missing>,
}

impl Rotation {
    /// Takes out for whom a person has spoken. Where nobody is waited for in any case, each is named.
    pub(super) fn despite_words(&self, missing: Vec<Missing>) -> Awaited {
        let gate = self.record.gate_of_instances().filter(|_| !self.record.hurries());
        let mut awaited = Awaited { missing: Vec::new(), left_out: Vec::new(), named: Vec::new() };
        for one in missing {
            let word = gate.filter(|_| one.is_of_an_instance()).and_then(|gate| {
                let (application, instance) = whom(&one);
                self.record.word_to_leave_out(gate, &application, &instance)
            });
            let Some(word) = word else {
                awaited.missing.push(one);
                continue;
            };
            awaited.left_out.push(one);
            awaited.named.push(Missing::LeftOut {
                application: word.application.clone(),
                instance: word.instance.clone().unwrap_or_default(),
                by: word.by.clone(),
            });
        }
        awaited
    }

    /// Opens the gate when nobody is missing, and names before that who is left out.
    pub(super) fn gate_despite_words(
        &mut self,
        awaited: Awaited,
        then: State,
        now: Timestamp,
    ) -> Effect {
        if awaited.missing.is_empty() {
            let effect = self.gate(Vec::new(), then, now);
            self.note_left_out(awaited, now);
            return effect;
        }
        self.gate(awaited.all(), then, now)
    }

    pub(super) fn note_left_out(&mut self, awaited: Awaited, now: Timestamp) {
        // In one state it is looked at more than once.
        let since = self.record.since();
        let noted = &mut self.record.left_out_at_gates;
        for missing in awaited.left_out {
            let again = |one: &Broken| one.at >= since && whom(&one.missing) == whom(&missing);
            if !noted.iter().any(again) {
                noted.push(Broken { at: now, missing });
            }
        }
    }
}

impl Awaited {
    /// For whoever looks: those that are waited for, and behind them those that are not.
    pub(super) fn all(self) -> Vec<Missing> {
        self.missing.into_iter().chain(self.named).collect()
    }

    /// Who is left out: instances by application and name.
    pub(super) fn instances_left_out(&self) -> BTreeSet<(String, String)> {
        self.left_out.iter().map(whom).collect()
    }
}
