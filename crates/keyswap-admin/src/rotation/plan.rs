//! How a rotation brings its secret into force, which what the server can do decides.

use serde::{Deserialize, Serialize};

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
    /// What is removed before the new one is added, to make room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
}

impl Slots {
    /// The places of a rotation that begins: the old secret is in one of those that the server lists.
    #[must_use]
    pub fn new(old: SlotId, listed: &[Slot], deactivation: bool) -> Self {
        let before = listed.iter().map(|slot| slot.id.clone()).collect();
        Self { old, new: None, before, deactivation, removal: None }
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
