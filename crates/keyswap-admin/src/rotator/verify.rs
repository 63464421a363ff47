//! Whether the history is as it was written, and as long.

use keyswap_store::{HistoryEntry, SecretStore};

use super::journal;
use crate::error::{RotateError, RotateErrorKind};

/// Reads the history of a store's client, and verifies that it is as it was written: every line of it, and
/// its end, of which the store and the journal each hold the number and the hash.
///
/// A line that was changed, removed, added, moved or cut off shows. Whoever can write to the store, the
/// journal included, can write another history; keep the last hash elsewhere to see that.
///
/// # Errors
///
/// [`RotateErrorKind::HistoryChanged`] names the first line that is wrong.
pub async fn verify_history<S: SecretStore>(store: &S) -> Result<Vec<HistoryEntry>, RotateError> {
    let changed = |message: String| RotateError::new(RotateErrorKind::HistoryChanged, message);
    // The journal first: what is appended in between is more than it says, not less.
    let head = journal(store).await?.and_then(|record| record.history);
    let entries = store.verify_history().await.map_err(|error| match error.kind() {
        keyswap_store::StoreErrorKind::Invalid => changed(error.to_string()),
        _ => RotateError::store("verifying the history", error, false),
    })?;
    let Some(head) = head else { return Ok(entries) };
    let at = usize::try_from(head.number.saturating_sub(1)).unwrap_or(usize::MAX);
    let reason = match entries.get(at) {
        Some(entry) if entry.head == head => return Ok(entries),
        Some(_) => format!("line {}: it is not the line that was written", head.number),
        None => format!(
            "it ends after line {}, and had {} lines when the journal was written",
            entries.len(),
            head.number
        ),
    };
    Err(changed(format!(
        "client {}, {}: the history was changed: {reason}; keep the files as evidence, and restore the \
         history and its head from a backup",
        store.client(),
        store.describe()
    )))
}
