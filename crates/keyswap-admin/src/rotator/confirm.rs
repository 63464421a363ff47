//! A person's word for an application that cannot report.

use keyswap_store::SecretStore;
use serde_json::json;

use super::clock::Clock;
use super::{holder, journal, lease};
use crate::error::{RotateError, RotateErrorKind};
use crate::rotation::{Application, Gate};

/// Writes into the journal of a store's client that the gate which the rotation stands before may open
/// as far as this application goes. `by` says who knows that, and `reason` how. The rotation goes on
/// with [`resume`](super::Rotator::resume).
///
/// `applications` replaces the declared ones. What a store knows needs no authority.
///
/// # Errors
///
/// [`RotateErrorKind::NothingToConfirm`] if no gate waits for that, [`RotateErrorKind::Busy`] while a
/// rotator is at work, and when the store or the journal cannot be read or written.
pub async fn confirm<S: SecretStore>(
    store: &S,
    applications: Option<Vec<Application>>,
    application: &str,
    by: &str,
    reason: &str,
) -> Result<Gate, RotateError> {
    let client = store.client();
    let failed = |doing: &str, error| RotateError::store(doing, error, false);
    let nothing = |message: String| {
        let message = format!("client {client}: {message}");
        RotateError::new(RotateErrorKind::NothingToConfirm, message)
    };
    let lease = lease(store, &holder()).await?;
    let Some(mut record) = journal(store).await? else {
        return Err(nothing("there is no rotation; nothing was written".to_owned()));
    };
    if let Some(applications) = applications {
        record.policy.applications = applications;
    }
    let now = Clock::starting(record.latest()).now();
    let gate =
        record.confirm(application, by, reason, now).map_err(|error| nothing(error.to_string()))?;
    let line = json!({
        "at": now,
        "client": client,
        "state": record.state,
        "confirmed": { "application": application, "gate": gate, "by": by, "reason": reason },
    });
    let head = store.append_history(&lease, &line).await;
    record.history = Some(head.map_err(|error| failed("writing the history", error))?);
    store
        .save_journal(&lease, &record.to_json())
        .await
        .map_err(|error| failed("writing the rotation journal", error))?;
    store.release(lease).await.map_err(|error| failed("giving the lease back", error))?;
    Ok(gate)
}
