//! What the journal says of a rotation: enough for another process to go on from any instant.

use std::fmt;
use std::hash::{Hash, Hasher};

use keyswap_core::{Revision, Secret};
use keyswap_store::HistoryHead;
use serde::{Deserialize, Serialize};

use super::policy::{RotationPolicy, Timestamp};

/// Where a rotation at a server that holds one secret stands.
///
/// The journal names a state durably before the act that the state announces.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// The new secret is in the journal and known to nobody else.
    Generated,
    /// The list with the new secret behind the old one is published.
    Staged,
    /// Every expected instance holds both.
    Adopted,
    /// The change may have been made.
    CuttingOver,
    /// The new secret was seen to be accepted.
    CutOver,
    /// The new secret was accepted throughout the propagation window.
    Confirmed,
    /// The list with the new secret in front is published.
    Promoted,
    /// The old secret is unused, on evidence.
    Drained,
    /// The list with the new secret alone is published.
    Retired,
    /// Everybody holds the new secret alone.
    Done,
    /// A person has to look; both values are kept.
    Stuck,
}

impl State {
    /// The states of a rotation that comes to its end, in order.
    pub const PATH: [Self; 10] = [
        Self::Generated,
        Self::Staged,
        Self::Adopted,
        Self::CuttingOver,
        Self::CutOver,
        Self::Confirmed,
        Self::Promoted,
        Self::Drained,
        Self::Retired,
        Self::Done,
    ];

    /// The name in the journal, in reports and on the screen, for instance `cutting_over`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Staged => "staged",
            Self::Adopted => "adopted",
            Self::CuttingOver => "cutting_over",
            Self::CutOver => "cut_over",
            Self::Confirmed => "confirmed",
            Self::Promoted => "promoted",
            Self::Drained => "drained",
            Self::Retired => "retired",
            Self::Done => "done",
            Self::Stuck => "stuck",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a rotation stopped for a person.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StuckReason {
    /// The server holds neither the old secret nor the new one: somebody else changed it.
    ForeignSecret,
    /// The server holds the old secret again after it had the new one.
    OldSecretReturned,
    /// The server still accepts the old secret, although it should hold one only.
    OldSecretStillAccepted,
    /// The server holds a secret that an earlier rotation retired.
    RetiredSecretReturned,
    /// Somebody else published another list.
    ForeignList,
}

impl fmt::Display for StuckReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForeignSecret => {
                "the server accepts neither the old secret nor the new one: somebody else changed it. \
                 Set the client's secret at the server to the one that the programs hold, or find out \
                 who changed it; then resume"
            }
            Self::OldSecretReturned => {
                "the server accepts the old secret again after it had taken the new one: somebody put \
                 it back, or a delayed request did. The programs hold both; find out who, then resume"
            }
            Self::OldSecretStillAccepted => {
                "the server still accepts the old secret, although it should hold one only. The \
                 programs keep both; check the client at the server, then resume"
            }
            Self::RetiredSecretReturned => {
                "the server holds a secret that an earlier rotation retired: somebody put it back, or a \
                 delayed request did. Set the client's secret at the server to the one that the \
                 programs hold; then resume"
            }
            Self::ForeignList => {
                "the published list is not the one that this rotation published: somebody else wrote \
                 it. Put the list of the journal back, then resume"
            }
        })
    }
}

/// What is known of the change at the server.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Change {
    /// How often it was sent, or was about to be.
    pub sends: u32,
    /// When it was sent last.
    pub last_sent: Timestamp,
    /// Whether a send has no known outcome: it may be applied yet.
    pub unresolved: bool,
}

/// When a state was entered.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Entered {
    /// The state.
    pub state: State,
    /// When.
    pub at: Timestamp,
}

/// The journal of one rotation.
///
/// It holds the old and the new value until the rotation is done, and the old one for the late-write
/// bound after that. `Debug` shows ids alone.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The client whose secret changes.
    pub client: String,
    /// How the rotation behaves.
    pub policy: RotationPolicy,
    /// Where it stands.
    pub state: State,
    /// When it entered each state; the first entry is its beginning.
    pub entered: Vec<Entered>,
    /// The secret that the server held when it began.
    pub old: Secret,
    /// The secret that it brings.
    pub new: Secret,
    /// The revision of the list that this rotation found, or published last.
    pub revision: Revision,
    /// What is known of the change.
    pub change: Change,
    /// The state that it was stuck in, and why.
    pub stuck: Option<(State, StuckReason)>,
    /// Secrets of this and earlier rotations that no list holds any more. A request that sets one of
    /// them may still be on its way, so they are kept for the late-write bound.
    pub retired: Vec<RetiredSecret>,
    /// The end of the history when this was written, so that a history that was cut off shows.
    pub history: Option<HistoryHead>,
}

/// A secret that no list holds any more, kept to be recognised if the server holds it again.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RetiredSecret {
    /// The secret.
    pub secret: Secret,
    /// Until when it is kept.
    pub until: Timestamp,
}

impl Record {
    /// The journal of a rotation that begins: `new` is known to nobody else yet.
    #[must_use]
    pub fn begin(
        client: impl Into<String>,
        policy: RotationPolicy,
        old: Secret,
        new: Secret,
        revision: Revision,
        now: Timestamp,
    ) -> Self {
        Self {
            client: client.into(),
            policy,
            state: State::Generated,
            entered: vec![Entered { state: State::Generated, at: now }],
            old,
            new,
            revision,
            change: Change::default(),
            stuck: None,
            retired: Vec::new(),
            history: None,
        }
    }

    /// Takes over what an earlier rotation of the same client still has to keep.
    #[must_use]
    pub fn after(mut self, earlier: &Self, now: Timestamp) -> Self {
        self.retired = earlier.retired.iter().filter(|kept| kept.until > now).cloned().collect();
        self
    }

    /// Every secret that the server may be found to hold.
    #[must_use]
    pub fn known(&self) -> Vec<Secret> {
        let retired = self.retired.iter().map(|kept| kept.secret.clone());
        [self.new.clone(), self.old.clone()].into_iter().chain(retired).collect()
    }

    pub(super) fn retire_old(&mut self, now: Timestamp) {
        let until = now.after(self.policy.late_write_bound);
        self.retired.push(RetiredSecret { secret: self.old.clone(), until });
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Done
    }

    /// When the present state was entered.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.entered.last().map_or(Timestamp::default(), |entered| entered.at)
    }

    /// Until when a change of unknown outcome may still be applied; `None` if each one has an outcome.
    #[must_use]
    pub fn in_flight_until(&self) -> Option<Timestamp> {
        let bound = self.policy.in_flight_bound;
        self.change.unresolved.then(|| self.change.last_sent.after(bound))
    }
}

/// By the ids of the secrets, which name their values: a hash may end up where a secret must not.
impl Hash for Record {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { client, policy, state: stands, entered, old, new, revision, .. } = self;
        (client, policy, stands, entered, old.id(), new.id(), revision).hash(state);
        (&self.change, &self.stuck, &self.retired, &self.history).hash(state);
    }
}

impl Hash for RetiredSecret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.secret.id(), self.until).hash(state);
    }
}
