//! A person's "not now" to the rotations of a client.

use keyswap_store::{Hold, SecretStore};

use crate::error::{RotateError, RotateErrorKind};
use crate::rotation::Timestamp;

/// Puts a hold on the rotations of a store's client, until `until` or until it is
/// [released](release_hold). It needs no lease: a rotation that is under way stops before its next act.
///
/// # Errors
///
/// [`RotateErrorKind::Held`] if somebody's hold is in force already, and when the store cannot be read or
/// written.
pub async fn hold<S: SecretStore>(
    store: &S,
    by: &str,
    reason: &str,
    until: Option<Timestamp>,
) -> Result<Hold, RotateError> {
    let failed = |error| RotateError::store("putting the hold", error, false);
    let now = Timestamp::now().milliseconds();
    let before = store.hold().await.map_err(failed)?;
    if let Some(before) = before.filter(|before| before.is_in_force(now)) {
        let message = format!("client {}: {}", store.client(), describe(&before));
        return Err(RotateError::new(RotateErrorKind::Held(before), message));
    }
    let hold = Hold::new(by, reason, now, until.map(Timestamp::milliseconds));
    store.set_hold(Some(&hold)).await.map_err(failed)?;
    Ok(hold)
}

/// Takes the hold away, and gives it if there was one that could be read.
///
/// # Errors
///
/// When the store cannot be written.
pub async fn release_hold<S: SecretStore>(store: &S) -> Result<Option<Hold>, RotateError> {
    let hold = store.hold().await.ok().flatten();
    let released = store.set_hold(None).await;
    released.map_err(|error| RotateError::store("releasing the hold", error, false))?;
    Ok(hold)
}

/// Who, why and until when.
pub(super) fn describe(hold: &Hold) -> String {
    let time = Timestamp::from_milliseconds;
    let until = match hold.until_ms {
        Some(until) => format!("until {}", time(until)),
        None => "until it is released".to_owned(),
    };
    let (by, since, reason) = (&hold.by, time(hold.since_ms), &hold.reason);
    format!("{by} holds its rotations since {since}, {until}: {reason}")
}
