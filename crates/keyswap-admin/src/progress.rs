//! What a rotation tells while it runs.

use std::time::Duration;

use crate::rotation::{Missing, State};

/// News of a rotation in progress, for a person or a log. Nothing in it is secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Progress {
    /// Looking whether the rotation can be made; nothing is changed yet.
    Checking,
    /// The journal says that the rotation entered a state.
    Entered {
        /// The state.
        state: State,
        /// How long the state before it lasted; `None` for the first.
        after: Option<Duration>,
    },
    /// A journal that an earlier process left was taken up in this state.
    TakenUp {
        /// The state.
        state: State,
    },
    /// A gate is shut, for these reasons. Told when the reasons change.
    Waiting {
        /// The state that waits.
        state: State,
        /// For whom.
        missing: Vec<Missing>,
    },
    /// Something that a person may want to know: an answer that was lost, a server that asks to wait.
    Note(String),
}
