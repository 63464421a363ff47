//! What the journal says of a rotation: enough for another process to go on from any instant.

use std::hash::{Hash, Hasher};

use keyswap_core::{Revision, Secret, SecretId};
use keyswap_store::HistoryHead;
use serde::{Deserialize, Serialize};

use super::back::{Direction, Rollback};
use super::compromised::{Broken, Compromised};
use super::confirmation::Confirmation;
use super::event::Which;
use super::evidence::Evidence;
use super::plan::{Plan, Slots};
use super::policy::{RotationPolicy, Timestamp};
use super::readmitted::Readmitted;
use super::room::Removal;
use super::state::{State, StuckReason};
use crate::authority::{NewSecret, SlotId};

/// What is known of the change at the server, in the direction in which the rotation goes.
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
    pub new: NewSecret,
    /// How it brings it into force.
    pub plan: Plan,
    /// The revision of the list that this rotation found, or published last.
    pub revision: Revision,
    /// What is known of the change.
    pub change: Change,
    /// The state that it was stuck in, and why.
    pub stuck: Option<(State, StuckReason)>,
    /// Whether it was stuck, or the server refused the target after it had been proved. Somebody may have
    /// changed the secret then, so that the nodes of the server disagree once more, and what one of them
    /// says is taken for all of them only when a propagation window has passed over it.
    pub doubted: bool,
    /// Since when it goes back, and what is left of the way forward; `None` on the way forward.
    pub rollback: Option<Rollback>,
    /// What persons confirmed for applications that cannot report.
    pub confirmations: Vec<Confirmation>,
    /// Who was left out when a gate opened, at a person's word, and what was missing.
    pub left_out_at_gates: Vec<Broken>,
    /// That the old secret is compromised, if a person said so, and who was left behind for it.
    pub compromised: Option<Compromised>,
    /// Who asked for what, and on what it rests that a secret was taken away.
    pub evidence: Evidence,
    /// Secrets of this and earlier rotations that no list holds any more. A request that sets one of
    /// them may still be on its way, so they are kept for the late-write bound.
    pub retired: Vec<RetiredSecret>,
    /// Those of them that the server was found to hold in mid-rotation, the latest first: the list holds
    /// them until this rotation is at its end.
    pub readmitted: Vec<Readmitted>,
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
        new: impl Into<NewSecret>,
        revision: Revision,
        now: Timestamp,
    ) -> Self {
        Self {
            client: client.into(),
            policy,
            state: State::Generated,
            entered: vec![Entered { state: State::Generated, at: now }],
            old,
            new: new.into(),
            plan: Plan::Replace,
            revision,
            change: Change::default(),
            stuck: None,
            doubted: false,
            rollback: None,
            confirmations: Vec::new(),
            left_out_at_gates: Vec::new(),
            compromised: None,
            evidence: Evidence::default(),
            retired: Vec::new(),
            readmitted: Vec::new(),
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
        let retired = self.retired.iter().map(|kept| &kept.secret);
        self.new.secret().into_iter().chain([&self.old]).chain(retired).cloned().collect()
    }

    /// For a server that holds several secrets: where the present one is among them.
    #[must_use]
    pub fn adding(mut self, slots: Slots) -> Self {
        self.plan = Plan::Add(slots);
        self
    }

    /// What is removed at the server before the new secret is added, by a person's word.
    #[must_use]
    pub fn removal(&self) -> Option<&Removal> {
        self.plan.slots()?.removal.as_ref()
    }

    /// Where it left this secret, at a server that holds several.
    pub(crate) fn slot_of(&self, secret: &Secret) -> Option<&SlotId> {
        let slots = self.plan.slots()?;
        if self.new.secret() == Some(secret) {
            return slots.new.as_ref();
        }
        (self.old == *secret).then_some(&slots.old)
    }

    /// Until when a node of the server may still list this secret, which this rotation took out of it at its end.
    pub(crate) fn may_be_listed_until(&self, slot: &SlotId) -> Option<Timestamp> {
        let slots = self.plan.slots()?;
        let removed = match self.state {
            State::Done => Some(&slots.old),
            State::RolledBack => slots.new.as_ref(),
            _ => None,
        };
        let is_removed = removed == Some(slot);
        is_removed.then(|| self.change.last_sent.after(self.policy.window()))
    }

    /// When this secret ends by itself, as the server said at the time, if it does and is one of the two.
    #[must_use]
    pub fn expires(&self, secret: &SecretId) -> Option<Timestamp> {
        let slots = self.plan.slots()?;
        if secret == self.new.id() {
            return slots.new_expires;
        }
        slots.old_expires.filter(|_| secret == self.old.id())
    }

    /// One of the two secrets, if its value is known.
    #[must_use]
    pub fn secret(&self, which: Which) -> Option<&Secret> {
        match which {
            Which::Old => Some(&self.old),
            Which::New => self.new.secret(),
        }
    }

    /// The id of one of the two secrets.
    #[must_use]
    pub fn id(&self, which: Which) -> &SecretId {
        match which {
            Which::Old => self.old.id(),
            Which::New => self.new.id(),
        }
    }

    pub(super) fn enter(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.entered.push(Entered { state, at: now });
    }

    /// Keeps the secret that the list has lost, or is about to lose, for the late-write bound.
    pub(super) fn retire_source(&mut self, now: Timestamp) {
        let until = now.after(self.policy.late_write_bound);
        // One whose value nobody knows cannot be recognised either.
        let secret = self.secret(self.source()).cloned();
        self.retired.extend(secret.map(|secret| RetiredSecret { secret, until }));
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Done | State::RolledBack)
    }

    /// The state in which it ends, on the way that it goes.
    pub(super) fn end(&self) -> State {
        match self.direction() {
            Direction::Forward => State::Done,
            Direction::Back => State::RolledBack,
        }
    }

    /// Whether it waits here for a person to have the old secret retired.
    #[must_use]
    pub fn holds_at_drained(&self) -> bool {
        let holds = self.policy.hold_at_drained && self.compromised.is_none();
        holds && self.state == State::Drained && self.direction() == Direction::Forward
    }

    /// When the present state was entered.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.entered.last().map_or(Timestamp::default(), |entered| entered.at)
    }

    /// The latest moment that the journal knows of. A clock that says less was set back.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        let entered = self.entered.iter().map(|entered| entered.at);
        let words = self.evidence.words.iter().map(|word| word.at);
        let found = self.readmitted.iter().map(|one| one.at);
        entered.chain(words).chain(found).chain([self.change.last_sent]).max().unwrap_or_default()
    }

    /// Until when a change of unknown outcome, of either direction, may still be applied; `None` if
    /// each one has an outcome.
    #[must_use]
    pub fn in_flight_until(&self) -> Option<Timestamp> {
        let forward = self.rollback.map(|rollback| rollback.forward);
        let changes = [Some(self.change), forward].into_iter().flatten();
        changes.filter_map(|change| self.may_arrive_until(change)).max()
    }

    /// Until when this change may still be applied; `None` if it has an outcome.
    pub(super) fn may_arrive_until(&self, change: Change) -> Option<Timestamp> {
        change.unresolved.then(|| change.last_sent.after(self.policy.in_flight_bound))
    }
}

/// By the ids of the secrets, which name their values: a hash may end up where a secret must not.
impl Hash for Record {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { client, policy, state: stands, entered, old, new, plan, revision, .. } = self;
        (client, policy, stands, entered, old.id(), new.id(), plan, revision).hash(state);
        (&self.change, &self.stuck, self.doubted, &self.rollback, &self.confirmations).hash(state);
        (&self.compromised, &self.evidence, &self.retired, &self.readmitted).hash(state);
        (&self.left_out_at_gates, &self.history).hash(state);
    }
}

impl Hash for RetiredSecret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.secret.id(), self.until).hash(state);
    }
}
