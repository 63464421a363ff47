//! What a person confirms for an application that cannot report.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::back::Direction;
use super::policy::Timestamp;
use super::record::Record;
use super::state::State;

/// A gate at which a person may have to speak for an application that cannot report.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Gate {
    /// The application holds both secrets.
    Adopted,
    /// The application does not use the secret any more that goes.
    Drained,
    /// The application holds the secret alone that stays. Only instances are waited for there.
    Retired,
}

impl Gate {
    /// The gate that a rotation stands before in this state.
    fn before(state: State) -> Option<Self> {
        match state {
            State::Staged => Some(Self::Adopted),
            State::Promoted => Some(Self::Drained),
            _ => None,
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adopted => "it holds both secrets",
            Self::Drained => "it uses the outgoing secret no more",
            Self::Retired => "it holds the secret alone that stays",
        })
    }
}

/// A person's word at one gate of one rotation: for an application that cannot report, or that one
/// instance is not waited for.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Confirmation {
    /// The application.
    pub application: String,
    /// The instance of it that is not waited for; `None` if the word is for an application that cannot
    /// report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What is confirmed.
    pub gate: Gate,
    /// On which way: what is unused on the way forward is in use on the way back.
    #[serde(default)]
    pub direction: Direction,
    /// Who says so.
    pub by: String,
    /// How that person knows.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Why there is nothing to confirm.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NothingToConfirm {
    /// The rotation does not stand before a gate.
    NoGate(State),
    /// The application is not one that was declared.
    Undeclared(String),
    /// The application reports, so nobody's word is needed.
    Reports(String),
    /// That was confirmed already.
    Already(Gate),
    /// The gate does not wait for this instance any more.
    LeftOut(String),
    /// The instance holds what it has to.
    IsReady(String),
    /// The instance is one of another application.
    OfAnother(String),
    /// There is no such instance that lives.
    NotThere(String),
}

impl fmt::Display for NothingToConfirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGate(state) => write!(
                f,
                "the rotation is in state {state}, which waits for nobody's word; nothing was written"
            ),
            Self::Undeclared(application) => write!(
                f,
                "the application {application} is not declared: correct the name, or add it to the \
                 configuration"
            ),
            Self::Reports(application) => write!(
                f,
                "the application {application} reports by itself, and its reports count: declare it \
                 `manual = true` if it cannot"
            ),
            Self::Already(gate) => write!(f, "it is confirmed already that {gate}"),
            Self::LeftOut(instance) => {
                write!(f, "the instance {instance} is not waited for already; nothing was written")
            }
            Self::IsReady(instance) => write!(
                f,
                "the instance {instance} holds the list, so it is not waited for; nothing was written"
            ),
            Self::OfAnother(application) => write!(
                f,
                "the instance is one of the application {application}: correct the name; nothing was written"
            ),
            Self::NotThere(instance) => write!(
                f,
                "no instance {instance} lives, and one that is gone is not waited for: `keyswap status` names \
                 those that are there; nothing was written"
            ),
        }
    }
}

impl std::error::Error for NothingToConfirm {}

impl Record {
    /// Writes down a person's word that the gate which the rotation stands before may open as far as
    /// this application goes.
    ///
    /// # Errors
    ///
    /// [`NothingToConfirm`] if no gate waits for that.
    pub fn confirm(
        &mut self,
        application: &str,
        by: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Gate, NothingToConfirm> {
        let declared = self.policy.applications.iter().find(|one| one.name == application);
        match declared {
            None => return Err(NothingToConfirm::Undeclared(application.to_owned())),
            Some(one) if !one.manual => {
                return Err(NothingToConfirm::Reports(application.to_owned()));
            }
            Some(_) => {}
        }
        let Some(gate) = self.gate() else {
            return Err(NothingToConfirm::NoGate(self.state));
        };
        if self.is_confirmed(application, gate) {
            return Err(NothingToConfirm::Already(gate));
        }
        self.confirmations.push(Confirmation {
            application: application.to_owned(),
            instance: None,
            gate,
            direction: self.direction(),
            by: by.to_owned(),
            reason: reason.to_owned(),
            at: now,
        });
        Ok(gate)
    }

    fn is_confirmed(&self, application: &str, gate: Gate) -> bool {
        self.confirmations.iter().any(|one| {
            one.instance.is_none()
                && one.application == application
                && one.gate == gate
                && one.direction == self.direction()
        })
    }

    /// The gate that the rotation stands before, if it is one at which persons may have to speak.
    #[must_use]
    pub fn gate(&self) -> Option<Gate> {
        Gate::before(self.state)
    }

    /// The applications that cannot report and for which nobody has spoken at this gate yet.
    #[must_use]
    pub fn unconfirmed(&self, gate: Gate) -> Vec<String> {
        let manual = self.policy.applications.iter().filter(|one| one.manual);
        manual
            .filter(|one| !self.is_confirmed(&one.name, gate))
            .map(|one| one.name.clone())
            .collect()
    }
}
