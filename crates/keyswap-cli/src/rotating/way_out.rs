//! The command that leads on from where a rotation stopped.

use keyswap_admin::rotation::{Missing, StuckReason, WayBack};
use keyswap_admin::{RotateError, RotateErrorKind};

use crate::exit::Failure;

/// With the command that leads on.
pub(crate) fn failure(error: RotateError) -> Failure {
    let way_out = way_out(error.kind());
    Failure::from(error).followed_by(&way_out)
}

/// The command that leads on.
pub(crate) fn way_out(kind: &RotateErrorKind) -> String {
    match kind {
        RotateErrorKind::PlanMoved(_) => ": `keyswap plan`",
        RotateErrorKind::GapNotAccepted => ": `keyswap rotate --accept-gap --reason TEXT`",
        RotateErrorKind::Unfinished => " with `keyswap resume`",
        RotateErrorKind::Waiting(missing) if !missing.is_empty() => ": `keyswap resume`",
        RotateErrorKind::AwaitsConfirmation(missing) => {
            let first = missing.iter().find_map(|one| match one {
                Missing::Confirmation { application, .. } => Some(application.as_str()),
                _ => None,
            });
            let application = first.unwrap_or("APPLICATION");
            return format!(
                ": `keyswap confirm {application} --reason TEXT`, and then `keyswap resume`"
            );
        }
        RotateErrorKind::Held(_) => ": `keyswap hold --release` ends the hold",
        RotateErrorKind::Interrupted(None) => "",
        RotateErrorKind::Interrupted(Some(WayBack::UnderWay)) => {
            ". It goes on, back to the old secret, with `keyswap resume`"
        }
        RotateErrorKind::Interrupted(Some(
            WayBack::Withdraw | WayBack::SetBack | WayBack::Remove | WayBack::Leave,
        )) => ": `keyswap resume` goes on, and `keyswap rollback` takes it back",
        RotateErrorKind::Interrupted(Some(_)) => {
            ": `keyswap resume` goes on. There is no way back any more"
        }
        RotateErrorKind::AwaitsRetirement => ": `keyswap retire` or `keyswap rollback`",
        RotateErrorKind::GoesBack => {
            ": `keyswap resume`, and then `keyswap rotate --compromised --reason TEXT`"
        }
        RotateErrorKind::NotDrained => ". Go on with `keyswap resume`",
        RotateErrorKind::NoWayBack(WayBack::TooLate) => {
            ". The commands are `keyswap resume` and `keyswap rotate`"
        }
        RotateErrorKind::JournalUnreadable => ". Then go on with `keyswap resume`",
        RotateErrorKind::NoWayBack(WayBack::Done) => ". The command is `keyswap rotate`",
        RotateErrorKind::OutcomeUnknown
        | RotateErrorKind::Stuck(
            StuckReason::ForeignList
            | StuckReason::RetiredSecretPublished
            | StuckReason::ValueUnknown,
        )
        | RotateErrorKind::NoWayBack(
            WayBack::ForeignList | WayBack::OldIsGone | WayBack::NewestStays,
        ) => ". The command is `keyswap resume`",
        RotateErrorKind::Stuck(_) => {
            ". The commands are `keyswap resume` and, as long as programs hold both secrets, \
             `keyswap rollback`"
        }
        _ => "",
    }
    .to_owned()
}
