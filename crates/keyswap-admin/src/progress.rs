//! What a rotation tells while it runs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::rotation::{Direction, Missing, State, Timestamp};

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
        /// On which way.
        direction: Direction,
        /// How long the state before it lasted; `None` for the first.
        after: Option<Duration>,
        /// Whether the old secret is compromised, so that nobody is waited for longer than a deadline.
        hurries: bool,
        /// Whether the server chooses the value of the only secret that it holds, so that programs are
        /// without one for a while.
        regenerates: bool,
    },
    /// A journal that an earlier process left was taken up in this state.
    TakenUp {
        /// The state.
        state: State,
        /// On which way.
        direction: Direction,
    },
    /// A gate is shut, for these reasons. Told when the reasons change.
    Waiting {
        /// The state that waits.
        state: State,
        /// Since when it is in that state.
        since: Timestamp,
        /// For whom, each since when.
        missing: Vec<Awaited>,
    },
    /// The old secret is compromised, and the deadline has passed: these do not hold the new one, as far as
    /// anybody knows, and lose access with the act that follows.
    Broken(Vec<Missing>),
    /// Something that a person may want to know: an answer that was lost, a server that asks to wait.
    Note(String),
}

/// One that a gate waits for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Awaited {
    /// Who, and why.
    #[serde(flatten)]
    pub missing: Missing,
    /// Since when this process has seen that.
    pub since: Timestamp,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (since {})", self.missing, self.since)
    }
}

/// One line for a person, without a line end.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checking => f.write_str("checking the server, the store and the present secret"),
            Self::Entered { state, direction, after, hurries, regenerates } => {
                let after = after.unwrap_or_default().as_secs_f64();
                let meaning = meaning(*state, *direction, *hurries, *regenerates);
                write!(f, "{:<13} {meaning} ({after:.1} s)", state.name())
            }
            Self::TakenUp { state, direction: Direction::Forward } => {
                write!(f, "taken up again in state {state}")
            }
            Self::TakenUp { state, direction: Direction::Back } => {
                write!(f, "taken up again in state {state}, on the way back")
            }
            Self::Waiting { since, missing, .. } => {
                write!(f, "  waiting since {since}: ")?;
                name(f, missing, MOST_NAMED)
            }
            Self::Broken(missing) => {
                f.write_str("  the deadline has passed; these may lose access: ")?;
                name(f, missing, usize::MAX)
            }
            Self::Note(text) => write!(f, "  note: {text}"),
        }
    }
}

fn name(f: &mut fmt::Formatter<'_>, missing: &[impl fmt::Display], most: usize) -> fmt::Result {
    for (position, one) in missing.iter().take(most).enumerate() {
        let separator = if position == 0 { "" } else { "; " };
        write!(f, "{separator}{one}")?;
    }
    match missing.len().saturating_sub(most) {
        0 => Ok(()),
        more => write!(f, "; and {more} more"),
    }
}

/// How many of those that a gate waits for one line names.
const MOST_NAMED: usize = 3;

/// What is true in a state, in words for a person.
pub(crate) fn meaning(
    state: State,
    direction: Direction,
    hurries: bool,
    regenerates: bool,
) -> &'static str {
    let with_a_gap = reached_with_a_gap(state).filter(|_| regenerates);
    with_a_gap.unwrap_or_else(|| reached(state, direction, hurries))
}

/// Where the server chooses the value of the only secret that it holds.
fn reached_with_a_gap(state: State) -> Option<&'static str> {
    Some(match state {
        State::Generated => "the server will choose the new secret",
        State::Adding => "the server is asked to choose another secret: requests fail from now on",
        State::Added => "the new secret is in the journal",
        State::Staged => "both secrets are published, the new one first",
        State::Adopted => "every instance has reported the new secret",
        _ => return None,
    })
}

fn reached(state: State, direction: Direction, hurries: bool) -> &'static str {
    match (state, direction) {
        (State::Adopted, Direction::Forward) if hurries => {
            "every instance holds both that is not named above"
        }
        (State::Drained, Direction::Forward) if hurries => {
            "nobody is waited for: the old secret is compromised"
        }
        (State::Done, _) if hurries => "the new secret is published alone, and the old one is dead",
        (State::Generated, Direction::Back) => {
            "the server holds a retired secret, which is published again"
        }
        (State::Generated, Direction::Forward) => "a new secret is in the journal",
        (State::MakingRoom, _) => "the secret that was named goes at the server, to make room",
        (State::Adding, _) => "the server is asked to add the new secret",
        (State::Added, _) => "the server has both secrets",
        (State::Staged, _) => "both secrets are published, the old one first",
        (State::Adopted, Direction::Forward) => "every instance holds both",
        (State::Adopted, Direction::Back) => "going back: the server gets the old secret again",
        (State::CuttingOver, Direction::Forward) => "the server is asked to take the new secret",
        (State::CuttingOver, Direction::Back) => "the server is asked to take the old secret",
        (State::CutOver, Direction::Forward) => "the server has the new secret",
        (State::CutOver, Direction::Back) => "the server has the old secret",
        (State::Confirmed, _) => "it was accepted throughout the propagation window",
        (State::Promoted, Direction::Forward) => "both secrets are published, the new one first",
        (State::Promoted, Direction::Back) => "both secrets are published, the old one first",
        (State::Drained, Direction::Forward) => {
            "every instance attests that the old secret is unused"
        }
        (State::Drained, Direction::Back) => "every instance attests that the new secret is unused",
        (State::Deactivating, _) => "the server is asked to deactivate the old secret",
        (State::Deactivated, _) => "the old secret is out of force, and can be put back",
        (State::Removing, Direction::Forward) => "the server is asked to remove the old secret",
        (State::Removing, Direction::Back) => "the server is asked to remove the new secret",
        (State::Retiring, Direction::Forward) => {
            "nobody needs the old secret; there is no way back from here"
        }
        (State::Retiring, Direction::Back) => "nobody needs the new secret",
        (State::Retired, Direction::Forward) => "the new secret is published alone",
        (State::Retired, Direction::Back) => "the old secret is published alone",
        (State::Done, _) => "every instance holds the new secret alone",
        (State::Withdrawing, _) => "going back: the new secret is taken out of the list",
        (State::RolledBack, _) => "the old secret is in force as before",
        (State::Stuck, _) => "a person has to look",
    }
}
