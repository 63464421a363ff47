//! The list of a ring as it was at one moment.

use std::fmt;
use std::sync::Arc;

use super::state::{Order, State};
use crate::{Revision, SecretList};

/// The list of a [`SecretRing`](crate::SecretRing) as it was at one moment.
#[derive(Clone)]
#[must_use]
pub struct Snapshot {
    pub(super) state: Arc<State>,
    pub(super) order: Order,
}

impl Snapshot {
    /// The revision that the list was published under.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.state.revision
    }

    /// The list in the order in use, which may differ from the published one by what was learnt.
    #[must_use]
    pub fn list(&self) -> SecretList {
        let published = &self.state.published;
        if self.order == Order::PUBLISHED {
            return published.clone();
        }
        // The entries are those of the published list in another order, so they make a list too.
        let entries = self.state.ordered(self.order).map(|entry| entry.secret.clone());
        SecretList::new(entries).unwrap_or_else(|_| published.clone())
    }

    /// The list as it was published.
    #[must_use]
    pub fn published(&self) -> &SecretList {
        &self.state.published
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("revision", &self.state.revision)
            .field("secrets", &self.list())
            .finish()
    }
}
