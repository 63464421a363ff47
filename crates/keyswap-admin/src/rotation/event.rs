//! What a step takes in and gives out.

use std::time::Duration;

use keyswap_core::{Revision, SecretId, SecretList};
use keyswap_store::Hold;

use super::back::WayBack;
use super::gate::{Fleet, Missing};
use super::state::StuckReason;
use crate::authority::{AddAnswer, AuthorityError, ChangeAnswer, Listed, Probe, ReadBack, SlotId};

/// One of the two secrets of a rotation.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Which {
    /// The one that the server held when the rotation began.
    Old,
    /// The one that it brings.
    New,
}

/// What is done with one of the secrets that a client has at a server.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SlotChange {
    /// It is put back into force.
    Activate,
    /// It is taken out of force.
    Deactivate,
    /// It is removed for good.
    Remove,
}

/// What happened since the last step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A process took the journal up: for the first time, or after another one ended anywhere.
    TakenUp,
    /// A process took the journal up because a person wants the rotation to go back.
    RollbackWanted,
    /// A process took the journal up because a person wants the old secret retired, where the rotation
    /// [holds](super::RotationPolicy::hold_at_drained) for that.
    RetireWanted,
    /// A process took the journal up because a person says that the old secret is compromised: nobody is
    /// waited for longer than this.
    CompromisedWanted(Duration),
    /// There was nothing to do but to write the journal.
    Written,
    /// The list is published, now or by an earlier process, under this revision.
    Published(Revision),
    /// Another list is published, which this rotation did not write.
    ForeignList,
    /// The instances report.
    Fleet(Fleet),
    /// The server answered the change, or did not.
    Answered(ChangeAnswer),
    /// Which of the known secrets the server says it holds.
    ReadBack(ReadBack),
    /// The server answered the request to add a secret, or did not.
    Added(AddAnswer),
    /// The server answered a change of one of the client's secrets, or did not.
    SlotChanged(ChangeAnswer),
    /// Which secrets the server says it has for the client.
    Listed(Listed),
    /// What a token request with one of the secrets said.
    Probed(Which, Probe),
    /// What a token request with a retired secret said.
    ProbedRetired(SecretId, Probe),
    /// The time is over.
    Waited,
}

/// What to do next, once the record is in the journal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Nothing but to write the journal.
    Write,
    /// Publish this list in place of the given revision.
    Publish {
        /// The list.
        list: SecretList,
        /// The revision that it replaces.
        replaces: Revision,
        /// Lists that this rotation may have published under a later revision, in a process that did
        /// not live to write that down: they are replaced as well. Any other list is a foreign one.
        instead_of: Vec<SecretList>,
        /// How often instances should attest their counts from now on.
        attest_every: Option<Duration>,
    },
    /// Look at the instances.
    Observe,
    /// Send the change to the server, once, with the [target](super::Record::target): the new secret,
    /// and on the way back the old one.
    Send,
    /// Ask the server which secret it holds.
    ReadBack,
    /// Ask the server to add the new secret, once; where it holds one and chooses its value, to put
    /// another one in its place.
    Add,
    /// Change one of the client's secrets at the server, once.
    ChangeSlot(SlotId, SlotChange),
    /// Ask the server which secrets it has for the client.
    List,
    /// Make a token request with one of the secrets, without a fallback.
    Probe(Which),
    /// Make a token request with a [retired](super::Record::retired) secret, without a fallback.
    ProbeRetired(SecretId),
    /// Wait that long, and a little more so that many do not come back together: the server asked for
    /// it.
    BackOff(Duration),
    /// Wait that long; the gate that is shut, if it is one, says for whom.
    Wait(Duration, Vec<Missing>),
    /// Stop here.
    Stop(Ending),
}

impl Effect {
    /// What happened if it is a request that changes something at the server, and was not sent: as good as one that
    /// the server did not look at. `None` for anything else.
    pub(crate) fn unsent(&self) -> Option<Event> {
        match self {
            Self::Send => Some(Event::Answered(ChangeAnswer::RetryAfter(Duration::ZERO))),
            Self::Add => Some(Event::Added(AddAnswer::RetryAfter(Duration::ZERO))),
            Self::ChangeSlot(..) => {
                Some(Event::SlotChanged(ChangeAnswer::RetryAfter(Duration::ZERO)))
            }
            _ => None,
        }
    }
}

/// Why a rotation stops.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ending {
    /// Everybody holds the new secret alone.
    Done,
    /// Everybody holds the old secret alone, as before the rotation, or is about to: the new one never
    /// was at the server then.
    RolledBack,
    /// There is no way back from here; nothing was changed.
    NoWayBack(WayBack),
    /// The rotation brings the old secret back into force, so it cannot be hurried on as one that is
    /// compromised; nothing was changed.
    GoesBack,
    /// The old secret is unused, and is retired when a person says so.
    AwaitsRetirement,
    /// The old secret cannot be retired now: nothing says yet that it is unused.
    NotDrained,
    /// Applications cannot report, and a person has to confirm for them; others may be missing as
    /// well.
    AwaitsConfirmation(Vec<Missing>),
    /// The server refused the change, definitely: it still holds the other secret, and programs hold
    /// both.
    Refused(AuthorityError),
    /// A person put a hold on the rotations; nothing was done since.
    Held(Hold),
    /// The server asked to wait, again and again.
    Throttled,
    /// Whether the server took the change could not be found out.
    Unknown(String),
    /// A person has to look.
    Stuck(StuckReason),
}
