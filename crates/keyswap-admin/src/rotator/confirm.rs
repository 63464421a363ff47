//! A person's word: for an application that cannot report, or that one instance is not waited for.

use keyswap_store::{SecretStore, StoreError};
use serde_json::{Value, json};

use super::carry_out::fleet;
use super::clock::Clock;
use super::{holder, journal, lease};
use crate::error::{RotateError, RotateErrorKind};
use crate::rotation::{Application, Gate, NothingToConfirm, Record, Timestamp};

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
    let word = |record: &mut Record, now| record.confirm(application, by, reason, now);
    let said = json!({ "application": application, "by": by, "reason": reason });
    write(store, applications, ("confirmed", said), word).await
}

/// Writes into the journal of a store's client that the gate which the rotation stands before may open
/// without this instance of an application. `by` says so, and `reason` why that is right although
/// [it may lose access](Gate::what_breaks). It counts for that gate alone, and for no other instance. The
/// rotation goes on with [`resume`](super::Rotator::resume).
///
/// # Errors
///
/// As [`confirm`]; [`RotateErrorKind::NothingToConfirm`] also if no such instance lives.
pub async fn leave_out<S: SecretStore>(
    store: &S,
    applications: Option<Vec<Application>>,
    (application, instance): (&str, &str),
    by: &str,
    reason: &str,
) -> Result<Gate, RotateError> {
    let instances = store.instances().await;
    let fleet = fleet(instances.map_err(|error| failed("reading the instances", error))?);
    let word = |record: &mut Record, now| {
        record.leave_out((application, instance), &fleet, (by, reason), now)
    };
    let said =
        json!({ "application": application, "instance": instance, "by": by, "reason": reason });
    write(store, applications, ("left_out", said), word).await
}

fn failed(doing: &str, error: StoreError) -> RotateError {
    RotateError::store(doing, error, false)
}

/// The history line first, as for everything that is done.
async fn write<S: SecretStore>(
    store: &S,
    applications: Option<Vec<Application>>,
    (what, mut said): (&str, Value),
    word: impl FnOnce(&mut Record, Timestamp) -> Result<Gate, NothingToConfirm>,
) -> Result<Gate, RotateError> {
    let client = store.client();
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
    let gate = word(&mut record, now).map_err(|error| nothing(error.to_string()))?;
    said["gate"] = json!(gate);
    let line = json!({ "at": now, "client": client, "state": record.state, what: said });
    let head = store.append_history(&lease, &line).await;
    record.history = Some(head.map_err(|error| failed("writing the history", error))?);
    store
        .save_journal(&lease, &record.to_json())
        .await
        .map_err(|error| failed("writing the rotation journal", error))?;
    store.release(lease).await.map_err(|error| failed("giving the lease back", error))?;
    Ok(gate)
}
