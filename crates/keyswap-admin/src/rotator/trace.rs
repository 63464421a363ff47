//! What a rotation tells [`tracing`]: a span for itself, one for each state, and events for the requests and waits in them.
//! The names and fields are documented with the crate; ids alone are told, never a value.

use std::fmt::Display;
use std::future::Future;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use keyswap_core::SecretId;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

use super::Finished;
use crate::authority::{AddAnswer, ChangeAnswer, Listed, Probe, ReadBack, SlotId};
use crate::error::{RotateError, RotateErrorKind};
use crate::progress::Progress;
use crate::rotation::{Direction, Record};

/// Carries this work out in the span of a rotation, and notes how it ended.
///
/// It is on the heap and of no type of its own: with whatever it awaits, it is too large to stand on the stacks of those who
/// await it, and too deep for the compiler once they await it in turn.
pub(super) fn rotation<'a>(
    client: &'a str,
    command: &'static str,
    work: impl Future<Output = Result<Finished, RotateError>> + Send + 'a,
) -> BoxFuture<'a, Result<Finished, RotateError>> {
    traced(client, command, work).boxed()
}

async fn traced(
    client: &str,
    command: &'static str,
    work: impl Future<Output = Result<Finished, RotateError>>,
) -> Result<Finished, RotateError> {
    let span = tracing::info_span!(
        "rotation",
        "otel.name" = format!("rotation {command}"),
        "otel.kind" = "internal",
        "otel.status_code" = Empty,
        "error.type" = Empty,
        "keyswap.client_id" = client,
        "keyswap.command" = command,
        "keyswap.rotation_id" = Empty,
        "keyswap.direction" = Empty,
        "keyswap.old_secret_id" = Empty,
        "keyswap.new_secret_id" = Empty,
        "keyswap.outcome" = Empty,
    );
    let mut ends = Ends { span: &span, outcome: "dropped" };
    let ended = work.instrument(span.clone()).await;
    match &ended {
        Ok(finished) => ends.outcome = if finished.rolled_back { "rolled_back" } else { "done" },
        Err(error) => {
            ends.outcome = outcome(error.kind());
            // Whoever only waits has not failed.
            if !error.is_waiting() && !matches!(error.kind(), RotateErrorKind::Held(_)) {
                span.record("otel.status_code", "error");
                span.record("error.type", ends.outcome);
                span.in_scope(|| tracing::error!(reason = %error, "the rotation stopped"));
            } else {
                span.in_scope(|| tracing::info!(reason = %error, "the rotation waits"));
            }
        }
    }
    ended
}

/// Notes how a rotation ended, also if its future is dropped.
struct Ends<'a> {
    span: &'a Span,
    outcome: &'static str,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.span.record("keyswap.outcome", self.outcome);
    }
}

fn outcome(kind: &RotateErrorKind) -> &'static str {
    match kind {
        RotateErrorKind::NotBegun => "not_begun",
        RotateErrorKind::GapNotAccepted => "gap_not_accepted",
        RotateErrorKind::PlanMoved(_) => "plan_moved",
        RotateErrorKind::NothingToResume => "nothing_to_resume",
        RotateErrorKind::NoWayBack(_) => "no_way_back",
        RotateErrorKind::NotDrained => "not_drained",
        RotateErrorKind::GoesBack => "goes_back",
        RotateErrorKind::NothingToConfirm => "nothing_to_confirm",
        RotateErrorKind::Unfinished => "unfinished",
        RotateErrorKind::Authority(_) => "authority",
        RotateErrorKind::Waiting(_) => "waiting",
        RotateErrorKind::AwaitsConfirmation(_) => "awaits_confirmation",
        RotateErrorKind::AwaitsRetirement => "awaits_retirement",
        RotateErrorKind::Busy => "busy",
        RotateErrorKind::OutcomeUnknown => "outcome_unknown",
        RotateErrorKind::JournalUnreadable => "journal_unreadable",
        RotateErrorKind::Held(_) => "held",
        RotateErrorKind::HistoryChanged => "history_changed",
        RotateErrorKind::Stuck(_) => "stuck",
        RotateErrorKind::LeaseLost => "lease_lost",
        RotateErrorKind::Interrupted(_) => "interrupted",
    }
}

/// The span of a state that the rotation has entered just now. To be called in the rotation's own.
pub(super) fn entered(record: &Record) -> Span {
    let span = state(record);
    span.in_scope(|| tracing::info!("entered"));
    span
}

/// The span of a state that an earlier process has entered.
pub(super) fn taken_up(record: &Record) -> Span {
    let span = state(record);
    span.in_scope(|| tracing::info!("taken up"));
    span
}

fn state(record: &Record) -> Span {
    let rotation = Span::current();
    let direction = match record.direction() {
        Direction::Forward => "forward",
        Direction::Back => "back",
    };
    // What tells one rotation from another, over all processes that were at it: the history has the same.
    if let Some(began) = record.entered.first() {
        let id = format!("{}/{}", record.client, began.at.milliseconds());
        rotation.record("keyswap.rotation_id", id);
    }
    rotation.record("keyswap.direction", direction);
    rotation.record("keyswap.old_secret_id", display(record.old.id()));
    rotation.record("keyswap.new_secret_id", display(record.new.id()));
    let name = record.state.name();
    tracing::info_span!(
        "state",
        "otel.name" = name,
        "otel.kind" = "internal",
        "otel.status_code" = record.stuck.map(|_| "error"),
        "error.type" = record.stuck.map(|_| "stuck"),
        "keyswap.client_id" = record.client,
        "keyswap.state" = name,
        "keyswap.direction" = direction,
        "keyswap.revision" = record.revision.number(),
    )
}

/// What a person is told as well. States have spans.
pub(super) fn told(progress: &Progress) {
    match progress {
        Progress::Checking => tracing::info!("checking"),
        Progress::Entered { .. } | Progress::TakenUp { .. } => {}
        // Three names, however many they are.
        Progress::Waiting { missing, .. } => {
            tracing::info!(keyswap.missing = missing.len(), "{}", progress.to_string().trim());
        }
        Progress::Broken(missing) => {
            tracing::warn!(keyswap.missing = missing.len(), "{}", progress.to_string().trim());
        }
        Progress::Note(note) => tracing::info!("{note}"),
    }
}

/// Sends a request to the server, about the secret of this id or this name there, and tells of it and its answer.
pub(super) async fn request<T: Answer>(
    name: &'static str,
    about: About<'_>,
    sending: impl Future<Output = T>,
) -> T {
    let (secret, slot) = match about {
        About::Client => (None, None),
        About::Secret(id) => (Some(display(id)), None),
        About::Slot(slot) => (None, Some(display(slot))),
    };
    tracing::debug!(
        keyswap.request = name,
        keyswap.secret_id = secret,
        keyswap.slot_id = slot,
        "sent"
    );
    let answer = sending.await;
    let (kind, reason) = answer.told();
    tracing::debug!(
        keyswap.request = name,
        keyswap.secret_id = secret,
        keyswap.slot_id = slot,
        keyswap.answer = kind,
        reason,
        "answered"
    );
    answer
}

/// What a request is about.
#[derive(Clone, Copy)]
pub(super) enum About<'a> {
    Client,
    Secret(&'a SecretId),
    Slot(&'a SlotId),
}

/// What the answer to a request is, in a word, and why where there is a reason; no secret is in it.
pub(super) trait Answer {
    fn told(&self) -> (&'static str, Option<String>);
}

fn because(reason: &impl Display) -> Option<String> {
    Some(reason.to_string())
}

impl Answer for ChangeAnswer {
    fn told(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Applied => ("applied", None),
            Self::Refused(error) => ("refused", because(error)),
            Self::RetryAfter(time) => ("retry_after", Some(format!("{} s", time.as_secs_f64()))),
            Self::Unknown(reason) => ("unknown", because(reason)),
        }
    }
}

impl Answer for AddAnswer {
    fn told(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Added(slot, _) => ("added", because(slot)),
            Self::Replaced(_) => ("replaced", None),
            Self::Refused(error) => ("refused", because(error)),
            Self::RetryAfter(time) => ("retry_after", Some(format!("{} s", time.as_secs_f64()))),
            Self::Unknown(reason) => ("unknown", because(reason)),
        }
    }
}

impl Answer for Listed {
    fn told(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Slots(slots) => ("listed", Some(format!("{} secrets", slots.len()))),
            Self::Unavailable(reason) => ("unavailable", because(reason)),
        }
    }
}

impl Answer for ReadBack {
    fn told(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Holds(id) => ("holds", because(id)),
            Self::Other => ("other", None),
            Self::Unavailable(reason) => ("unavailable", because(reason)),
        }
    }
}

impl Answer for Probe {
    fn told(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Accepted => ("accepted", None),
            Self::Refused => ("refused", None),
            Self::Inconclusive(reason) => ("inconclusive", because(reason)),
        }
    }
}
