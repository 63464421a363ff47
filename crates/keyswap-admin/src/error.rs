//! Why a rotation did not come to its end, and whether it can go on.

use std::error::Error;
use std::fmt;

use keyswap_store::{Hold, StoreError};

use crate::authority::AuthorityError;
use crate::planned::Ground;
use crate::rotation::{JournalError, Missing, StuckReason, WayBack};

/// What kind of stop it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RotateErrorKind {
    /// The rotation did not begin, and nothing was changed.
    NotBegun,
    /// The server holds one secret and chooses its value itself, so that requests fail on the way, and
    /// [nobody accepted that](crate::Rotator::accept_gap); nothing was changed.
    GapNotAccepted,
    /// What the [plan](crate::Rotator::as_planned) rests on has moved since it was made; nothing was changed.
    PlanMoved(Vec<Ground>),
    /// There is no rotation to resume.
    NothingToResume,
    /// Programs may hold the new secret alone, or another reason why the rotation cannot go back;
    /// nothing was changed.
    NoWayBack(WayBack),
    /// Nothing says yet that the old secret is unused, so it is not retired; nothing was changed.
    NotDrained,
    /// It goes back to the secret that is said to be compromised; nothing was changed.
    GoesBack,
    /// No gate waits for a person's word for that application; nothing was written.
    NothingToConfirm,
    /// An earlier rotation has not come to its end: resume it.
    Unfinished,
    /// The authority refused, definitely. The server holds the old secret.
    Authority(AuthorityError),
    /// A gate is shut, for these reasons; resume later.
    Waiting(Vec<Missing>),
    /// A gate waits for a person's [word](crate::confirm); resume after that.
    AwaitsConfirmation(Vec<Missing>),
    /// The old secret is unused and the rotation holds: a person
    /// [retires](crate::Rotator::retire) it.
    AwaitsRetirement,
    /// The server asks to come back later, or another rotator is at work; resume later.
    Busy,
    /// Whether the server took the change is not known, or what came after it could not be written
    /// down; resume.
    OutcomeUnknown,
    /// The journal is damaged, or of a version that this program does not know: a person has to look.
    JournalUnreadable,
    /// It was [asked to stop](crate::Rotator::stopping_when), and stopped between two acts: resume, or go back where
    /// there is a [way](WayBack). `None` if nothing was begun yet.
    Interrupted(Option<WayBack>),
    /// A person put a hold on the rotations: resume, or begin, when it is over or released.
    Held(Hold),
    /// The history is not as it was written: a person has to look.
    HistoryChanged,
    /// A person has to look.
    Stuck(StuckReason),
    /// Another rotator has taken over; this one wrote nothing more.
    LeaseLost,
}

/// Why a rotation did not come to its end.
///
/// The text names the client, the reason and the next step. It holds no secret.
#[derive(Debug)]
pub struct RotateError {
    kind: RotateErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl RotateError {
    pub(crate) fn new(kind: RotateErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn authority(doing: &str, error: AuthorityError) -> Self {
        Self {
            message: format!("{doing}: {error}"),
            kind: RotateErrorKind::Authority(error),
            source: None,
        }
    }

    /// An error of the store. Once the change may have been sent, a rotation has to be resumed.
    pub(crate) fn store(doing: &str, error: StoreError, change_sent: bool) -> Self {
        let kind = if error.is_lease_lost() {
            RotateErrorKind::LeaseLost
        } else if change_sent {
            RotateErrorKind::OutcomeUnknown
        } else {
            RotateErrorKind::NotBegun
        };
        let way_out = if change_sent { "; run the rotation again with resume" } else { "" };
        Self { kind, message: format!("{doing}: {error}{way_out}"), source: Some(Box::new(error)) }
    }

    pub(crate) fn journal(place: &str, error: JournalError) -> Self {
        Self {
            kind: RotateErrorKind::JournalUnreadable,
            message: format!("{place}: {error}"),
            source: Some(Box::new(error)),
        }
    }

    /// What kind of stop it is.
    #[must_use]
    pub fn kind(&self) -> &RotateErrorKind {
        &self.kind
    }

    /// Whether it only waits: for programs, for a person's word, for a server or another rotator.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(
            self.kind,
            RotateErrorKind::Waiting(_)
                | RotateErrorKind::AwaitsConfirmation(_)
                | RotateErrorKind::AwaitsRetirement
                | RotateErrorKind::Busy
        )
    }

    /// Whether the same rotation can be taken up again with nothing changed by hand.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        matches!(
            self.kind,
            RotateErrorKind::Waiting(_)
                | RotateErrorKind::AwaitsConfirmation(_)
                | RotateErrorKind::Busy
                | RotateErrorKind::Held(_)
                | RotateErrorKind::Interrupted(Some(_))
                | RotateErrorKind::OutcomeUnknown
                | RotateErrorKind::Unfinished
        )
    }
}

impl fmt::Display for RotateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for RotateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The message holds the text of the source already.
        self.source.as_deref().and_then(Error::source)
    }
}
