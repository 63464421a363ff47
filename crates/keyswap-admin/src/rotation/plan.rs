//! How a rotation brings its secret into force, which what the server can do decides.

use serde::{Deserialize, Serialize};

use super::policy::Timestamp;
use super::regenerate::Regeneration;
use super::room::Removal;
use crate::authority::{Slot, SlotId};

/// How the new secret comes into force, and the old one out of it.
///
/// A rotation keeps the one that it began with in its journal.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Plan {
    /// The server holds one secret: the new one is handed out first, and then takes the place of the
    /// old one.
    #[default]
    Replace,
    /// The server holds several: the new one is added, handed out, and the old one removed at the end.
    Add(Slots),
    /// The server holds one and chooses its value itself: the new one takes the place of the old one, and
    /// is handed out then. In between nobody has a secret that it takes.
    Regenerate(Regeneration),
}

/// Where the secrets of a rotation are at a server that holds several.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Slots {
    /// The name of the old one.
    pub old: SlotId,
    /// The name of the new one; `None` as long as the server has not said that it has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<SlotId>,
    /// What the server listed before the new one was asked for. Nothing of that is ever touched but the
    /// old secret, and what a person named.
    pub before: Vec<SlotId>,
    /// Whether the old one is deactivated before it is removed.
    pub deactivation: bool,
    /// Whether the server never removes the one that was added last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub newest_stays: bool,
    /// What is removed before the new one is added, to make room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
    /// When the old one ends by itself, as the server listed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_expires: Option<Timestamp>,
    /// The same of the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_expires: Option<Timestamp>,
}

impl Slots {
    /// The places of a rotation that begins: the old secret is in one of those that the server lists.
    #[must_use]
    pub fn new(old: SlotId, listed: &[Slot], deactivation: bool) -> Self {
        let before = listed.iter().map(|slot| slot.id.clone()).collect();
        let mut slots = Self {
            old,
            new: None,
            before,
            deactivation,
            newest_stays: false,
            removal: None,
            old_expires: None,
            new_expires: None,
        };
        slots.note_expiry(listed);
        slots
    }

    fn note_expiry(&mut self, listed: &[Slot]) {
        let expires = |id: &SlotId| listed.iter().find(|slot| slot.id == *id)?.expires;
        self.old_expires = expires(&self.old).or(self.old_expires);
        self.new_expires = self.new.as_ref().and_then(expires).or(self.new_expires);
    }

    /// What the server lists and did not when the rotation began, without the new secret.
    pub(super) fn appeared<'a>(&'a self, listed: &'a [Slot]) -> impl Iterator<Item = &'a Slot> {
        listed
            .iter()
            .filter(|slot| !self.before.contains(&slot.id) && self.new.as_ref() != Some(&slot.id))
    }
}

impl Plan {
    /// The places at a server that holds several secrets.
    pub(super) fn slots(&self) -> Option<&Slots> {
        match self {
            Self::Add(slots) => Some(slots),
            Self::Replace | Self::Regenerate(_) => None,
        }
    }

    /// Notes when the two secrets end by themselves, where the server says that.
    pub(super) fn note_expiry(&mut self, listed: &[Slot]) {
        if let Self::Add(slots) = self {
            slots.note_expiry(listed);
        }
    }

    pub(super) fn is_replace(&self) -> bool {
        *self == Self::Replace
    }

    /// Whether the server holds several secrets.
    pub(super) fn adds(&self) -> bool {
        self.slots().is_some()
    }

    /// Whether the server holds one secret and chooses its value itself.
    pub(super) fn regenerates(&self) -> bool {
        matches!(self, Self::Regenerate(_))
    }
}
