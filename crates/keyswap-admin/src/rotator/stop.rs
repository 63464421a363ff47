//! What a rotation says when it stops before its end.

use std::fmt;

use keyswap_store::Hold;

use super::hold::describe;
use crate::error::{RotateError, RotateErrorKind};
use crate::progress::Awaited;
use crate::rotation::{Ending, Plan, Record, State};

pub(super) fn still_waiting(record: &Record, awaited: &[Awaited]) -> RotateError {
    let mut message = format!(
        "client {}: still waiting in state {}, since {}",
        record.client,
        record.state,
        record.since()
    );
    name(&mut message, awaited);
    if record.is_in_a_gap() {
        message.push_str(". Until then they may be without a secret that the server takes");
    }
    message.push_str(". Nothing is lost: resume the rotation");
    let missing = awaited.iter().map(|one| one.missing.clone()).collect();
    RotateError::new(RotateErrorKind::Waiting(missing), message)
}

/// The journal of a rotation that is under way always holds the value of what it brings, once it gives
/// that away.
pub(super) fn value_unknown(record: &Record) -> RotateError {
    let (client, state, new) = (&record.client, record.state, record.new.id());
    RotateError::new(
        RotateErrorKind::JournalUnreadable,
        format!(
            "client {client}: the rotation is in state {state}, and its journal does not hold the value of \
             {new}: keep the journal, and restore it from a backup"
        ),
    )
}

/// How many of those that a gate waits for a message names.
const MOST_NAMED: usize = 5;

fn name(message: &mut String, missing: &[impl fmt::Display]) {
    for (position, one) in missing.iter().enumerate().take(MOST_NAMED) {
        message.push_str(if position == 0 { ": " } else { "; " });
        message.push_str(&one.to_string());
    }
    if missing.len() > MOST_NAMED {
        message.push_str(&format!("; and {} more", missing.len() - MOST_NAMED));
    }
}

/// A hold keeps a rotation from beginning, or from going on in this state.
pub(super) fn stopped_by_hold(client: &str, state: Option<State>, hold: Hold) -> RotateError {
    let stands = match state {
        Some(state) => format!("the rotation stops in state {state}, and nothing is lost"),
        None => "nothing was changed".to_owned(),
    };
    let message = format!("client {client}: {}; {stands}", describe(&hold));
    RotateError::new(RotateErrorKind::Held(hold), message)
}

/// Somebody asked it to stop, before anything was begun or between two acts.
pub(super) fn interrupted(client: &str, record: Option<&Record>) -> RotateError {
    let Some(record) = record else {
        let message =
            format!("client {client}: interrupted before anything was begun; nothing was changed");
        return RotateError::new(RotateErrorKind::Interrupted(None), message);
    };
    let mut message = format!(
        "client {client}: interrupted in state {}, since {}. Nothing is lost",
        record.state,
        record.since()
    );
    if record.is_in_a_gap() {
        message.push_str(
            ", but programs may be without a secret that the server takes until it goes on",
        );
    }
    RotateError::new(RotateErrorKind::Interrupted(Some(record.way_back())), message)
}

pub(super) fn stopped(ending: Ending, record: &Record) -> RotateError {
    let client = &record.client;
    let held = record.id(record.source());
    match ending {
        Ending::Refused(error) => {
            let place = match record.plan {
                Plan::Replace => format!("the server holds {held} still, and programs hold both"),
                Plan::Regenerate(_) if record.is_in_a_gap() => {
                    "programs may be without a secret that the server takes".to_owned()
                }
                _ => "programs go on with what they hold".to_owned(),
            };
            let doing = format!(
                "changing the secret of client {client} ({place}: mend what the server says, then resume)"
            );
            RotateError::authority(&doing, error)
        }
        Ending::Throttled => RotateError::new(
            RotateErrorKind::Busy,
            format!("client {client}: the server asks to wait, again and again; resume later"),
        ),
        Ending::Unknown(reason) => RotateError::new(
            RotateErrorKind::OutcomeUnknown,
            format!(
                "client {client}: whether the server took the change could not be found out \
                 ({reason}). Programs {}; resume when the server answers again",
                match record.plan {
                    Plan::Replace => "hold both secrets",
                    Plan::Regenerate(_) if record.is_in_a_gap() => {
                        "may be without a secret that it takes"
                    }
                    _ => "go on with what they hold",
                }
            ),
        ),
        Ending::Held(hold) => stopped_by_hold(client, Some(record.state), hold),
        Ending::Stuck(reason) => {
            RotateError::new(RotateErrorKind::Stuck(reason), format!("client {client}: {reason}"))
        }
        Ending::NoWayBack(way) => RotateError::new(
            RotateErrorKind::NoWayBack(way),
            format!("client {client}, state {}: {way}", record.state),
        ),
        Ending::AwaitsRetirement => RotateError::new(
            RotateErrorKind::AwaitsRetirement,
            format!(
                "client {client}: every instance attests that {held} is unused, and the rotation holds \
                 here. Nothing is lost: retire it, or roll back"
            ),
        ),
        Ending::GoesBack => RotateError::new(
            RotateErrorKind::GoesBack,
            format!(
                "client {client}: the rotation goes back to the old secret, so it cannot take that out of \
                 force any sooner; nothing was changed. Bring it to its end, and rotate again: that can \
                 be done with a deadline"
            ),
        ),
        Ending::NotDrained => RotateError::new(
            RotateErrorKind::NotDrained,
            format!(
                "client {client}: the rotation is in state {}, so nothing says yet that the old secret \
                 may be retired; nothing was changed",
                record.state
            ),
        ),
        Ending::AwaitsConfirmation(missing) => {
            let (state, since) = (record.state, record.since());
            let mut message = format!("client {client}: waiting in state {state}, since {since}");
            name(&mut message, &missing);
            message.push_str(". Nothing is lost: confirm, then resume the rotation");
            RotateError::new(RotateErrorKind::AwaitsConfirmation(missing), message)
        }
        Ending::Done | Ending::RolledBack => {
            RotateError::new(RotateErrorKind::NothingToResume, "the rotation is over")
        }
    }
}
