//! What a rotation tells while it runs.

use std::fmt;
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

/// One line for a person, without a line end.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checking => f.write_str("checking the server, the store and the present secret"),
            Self::Entered { state, after } => {
                let after = after.unwrap_or_default().as_secs_f64();
                write!(f, "{:<13} {} ({after:.1} s)", state.name(), reached(*state))
            }
            Self::TakenUp { state } => write!(f, "taken up again in state {state}"),
            Self::Waiting { missing, .. } => {
                f.write_str("  waiting: ")?;
                for (position, one) in missing.iter().take(MOST_NAMED).enumerate() {
                    let separator = if position == 0 { "" } else { "; " };
                    write!(f, "{separator}{one}")?;
                }
                match missing.len().saturating_sub(MOST_NAMED) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
            Self::Note(text) => write!(f, "  note: {text}"),
        }
    }
}

/// How many of those that a gate waits for one line names.
const MOST_NAMED: usize = 3;

fn reached(state: State) -> &'static str {
    match state {
        State::Generated => "a new secret is in the journal",
        State::Staged => "both secrets are published, the old one first",
        State::Adopted => "every instance holds both",
        State::CuttingOver => "the server is asked to take the new secret",
        State::CutOver => "the server has the new secret",
        State::Confirmed => "it was accepted throughout the propagation window",
        State::Promoted => "both secrets are published, the new one first",
        State::Drained => "every instance attests that the old secret is unused",
        State::Retired => "the new secret is published alone; the server refuses the old one",
        State::Done => "every instance holds the new secret alone",
        State::Stuck => "a person has to look",
    }
}
