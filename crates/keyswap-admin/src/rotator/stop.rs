//! What a rotation says when it stops before its end.

use crate::error::{RotateError, RotateErrorKind};
use crate::rotation::{Ending, Missing, Record};

pub(super) fn still_waiting(record: &Record, missing: Vec<Missing>) -> RotateError {
    let mut message = format!("client {}: still waiting in state {}", record.client, record.state);
    for (position, one) in missing.iter().enumerate().take(5) {
        message.push_str(if position == 0 { ": " } else { "; " });
        message.push_str(&one.to_string());
    }
    if missing.len() > 5 {
        message.push_str(&format!("; and {} more", missing.len() - 5));
    }
    message.push_str(". Nothing is lost: resume the rotation");
    RotateError::new(RotateErrorKind::Waiting(missing), message)
}

pub(super) fn stopped(ending: Ending, record: &Record) -> RotateError {
    let client = &record.client;
    match ending {
        Ending::Refused(error) => RotateError::authority(
            &format!(
                "changing the secret of client {client} (the server holds the old one still, and \
                 programs hold both: mend what it says, then resume)"
            ),
            error,
        ),
        Ending::Throttled => RotateError::new(
            RotateErrorKind::Busy,
            format!("client {client}: the server asks to wait, again and again; resume later"),
        ),
        Ending::Unknown(reason) => RotateError::new(
            RotateErrorKind::OutcomeUnknown,
            format!(
                "client {client}: whether the server took the change could not be found out \
                 ({reason}). Programs hold both secrets; resume when the server answers again"
            ),
        ),
        Ending::Stuck(reason) => {
            RotateError::new(RotateErrorKind::Stuck(reason), format!("client {client}: {reason}"))
        }
        Ending::Done => RotateError::new(RotateErrorKind::NothingToResume, "the rotation is done"),
    }
}
