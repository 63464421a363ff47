//! Room for the new secret at a server that has as many as it can: a person names one that goes first.
//!
//! Nothing but that word removes a secret here. It is refused where there is evidence against it, the secret
//! is taken out of force before it is gone where the server can do that, and until it is gone the way back
//! puts it into force again.

use keyswap_core::SecretId;
use keyswap_store::InstanceReport;
use serde::{Deserialize, Serialize};

use super::event::{Effect, Event, SlotChange, Which};
use super::gate::Missing;
use super::plan::Slots;
use super::policy::Timestamp;
use super::record::Change;
use super::state::State;
use super::step::Rotation;
use crate::authority::{Listed, Slot, SlotId};

/// A secret that goes before the new one is added, by a person's word.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Removal {
    /// How the server names it.
    pub slot: SlotId,
    /// Which secret it is, if this store has known it: one that was retired or rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<SecretId>,
    /// Whether it was in force, so that the way back puts it there again.
    pub was_active: bool,
}

impl Removal {
    /// The word of a person that this one goes, or why it stays: it is the `present` one, a program that
    /// lives holds it, it is not there, or nothing has to go since the server takes `most`.
    ///
    /// # Errors
    ///
    /// The reason, in words that follow "the secret SLOT is not removed: ".
    pub fn of(
        slot: &SlotId,
        present: &SlotId,
        (listed, most): (&[Slot], u32),
        live: &[InstanceReport],
    ) -> Result<Self, String> {
        let Some(found) = listed.iter().find(|one| one.id == *slot) else {
            return Err("the server lists none of that name".to_owned());
        };
        if slot == present {
            return Err("it is the one that the programs hold".to_owned());
        }
        if u32::try_from(listed.len()).unwrap_or(u32::MAX) < most {
            return Err("there is room for a new one beside it; rotate without".to_owned());
        }
        let holds = |report: &&InstanceReport| match (&found.holds, &report.usage) {
            (Some(id), Some(usage)) => usage.of(id).is_some(),
            _ => false,
        };
        if let Some(report) = live.iter().find(holds) {
            return Err(format!("{}/{} holds it", report.application, report.instance));
        }
        Ok(Self { slot: slot.clone(), holds: found.holds.clone(), was_active: found.active })
    }
}

impl Slots {
    /// With one that is removed first, to make room.
    #[must_use]
    pub fn without(mut self, removal: Removal) -> Self {
        self.removal = Some(removal);
        self
    }

    /// The one that is to make room, as the server lists it; `None` once it is gone.
    pub(super) fn in_the_way<'a>(&self, listed: &'a [Slot]) -> Option<&'a Slot> {
        let removal = self.removal.as_ref()?;
        listed.iter().find(|slot| slot.id == removal.slot)
    }
}

impl Rotation {
    pub(super) fn is_room_to_be_made(&self, listed: &[Slot]) -> bool {
        self.record.plan.slots().is_some_and(|slots| slots.in_the_way(listed).is_some())
    }

    /// That it goes is in the journal, with whose word that was: it is taken out of force first, and then out
    /// of the server.
    pub(super) fn making_room(&mut self, event: Event, now: Timestamp) -> Effect {
        match event {
            Event::Listed(Listed::Slots(listed)) => {
                if let Some(stuck) = self.stuck_unless_active(Which::Old, &listed, now) {
                    return stuck;
                }
                let Some(slots) = self.record.plan.slots() else { return Effect::List };
                match slots.in_the_way(&listed) {
                    None => {
                        // What was sent for that can do nothing any more, also if it comes late.
                        self.record.change = Change::default();
                        self.ask_for_the_new_one(&listed, now)
                    }
                    Some(slot) if slot.active && slots.deactivation => {
                        self.change_slot((slot.id.clone(), SlotChange::Deactivate), now)
                    }
                    Some(slot) => match self.may_be_missed(now) {
                        Some(wait) => wait,
                        None => self.change_slot((slot.id.clone(), SlotChange::Remove), now),
                    },
                }
            }
            Event::Listed(Listed::Unavailable(reason)) => self.doubt(reason),
            Event::SlotChanged(answer) => self.slot_changed(answer, now),
            _ => Effect::List,
        }
    }

    /// The wait in which people notice whose programs use what is out of force since this process saw that.
    fn may_be_missed(&mut self, now: Timestamp) -> Option<Effect> {
        let slots = self.record.plan.slots()?;
        let observes = slots.deactivation && slots.removal.as_ref()?.was_active;
        let since = *self.seen.out_of_force_since.get_or_insert(now);
        let (observed, wanted) = (now.since(since), self.record.policy.observation());
        if !observes || self.record.hurries() || observed >= wanted {
            return None;
        }
        let missing = Missing::observation(observed, wanted);
        Some(Effect::Wait(self.record.policy.poll_every, vec![missing]))
    }

    /// On the way back nothing of the rotation is at the server. What it took out of force to make room, and
    /// what is still there, comes into force again.
    pub(super) fn put_back(&mut self, event: Event, now: Timestamp) -> Effect {
        let made_room = self.record.rollback.is_some_and(|back| back.from == State::MakingRoom);
        let was_active = self.record.plan.slots().and_then(|slots| slots.removal.as_ref());
        if !made_room || !was_active.is_some_and(|removal| removal.was_active) {
            return self.withdrawn(now);
        }
        match event {
            Event::Listed(Listed::Slots(listed)) => {
                let slots = self.record.plan.slots();
                match slots.and_then(|slots| slots.in_the_way(&listed)) {
                    Some(slot) if !slot.active => {
                        self.change_slot((slot.id.clone(), SlotChange::Activate), now)
                    }
                    // It may be deactivated once more by a request that had no answer.
                    _ => self.may_be_crossed(now).unwrap_or_else(|| self.withdrawn(now)),
                }
            }
            Event::Listed(Listed::Unavailable(reason)) => self.doubt(reason),
            Event::SlotChanged(answer) => self.slot_changed(answer, now),
            _ => Effect::List,
        }
    }
}
