//! Since when a client has its present secret.

use std::fmt;

use keyswap_core::SecretId;
use keyswap_store::{HistoryEntry, SecretStore};
use serde::Serialize;

use super::Status;
use crate::error::RotateError;
use crate::rotation::Timestamp;

/// How old the preferred secret of a client is, and what says so.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Age {
    /// The published secret that is preferred.
    pub secret: SecretId,
    /// When the rotation began that brought it, and what tells that; `None` if nothing does.
    pub since: Option<(Timestamp, AgeSource)>,
    /// Whether a rotation has not come to its end.
    pub under_way: bool,
}

impl Age {
    /// The age of this secret.
    #[must_use]
    pub fn new(secret: SecretId, since: Option<(Timestamp, AgeSource)>, under_way: bool) -> Self {
        Self { secret, since, under_way }
    }
}

/// What tells how old a secret is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AgeSource {
    /// The journal of the last rotation.
    Journal,
    /// The history of an earlier one.
    History,
}

impl fmt::Display for AgeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Journal => "the journal of the last rotation",
            Self::History => "the history",
        })
    }
}

/// Finds out how old the preferred secret of a store's client is: since the rotation began that brought it. A list
/// holds no times, and of a secret that was imported nothing tells.
///
/// # Errors
///
/// [`RotateError`] if the store cannot be read, or holds no list.
pub async fn age<S: SecretStore>(store: &S) -> Result<Age, RotateError> {
    let reading = |error| RotateError::store("reading the store", error, false);
    let status = Status::read(store).await?;
    let published = status.published.as_ref().ok_or_else(|| {
        let message = format!(
            "{} holds no secret for client {}: import the present one first; nothing was changed",
            store.describe(),
            store.client()
        );
        RotateError::new(crate::RotateErrorKind::NotBegun, message)
    })?;
    let secret = published.list.preferred().id().clone();
    let under_way = status.record.as_ref().is_some_and(|record| !record.is_over());
    let mut since = status.brought_at(&secret, &[]);
    if since.is_none() {
        since = status.brought_at(&secret, &store.history().await.map_err(reading)?);
    }
    Ok(Age::new(secret, since, under_way))
}

impl Status {
    /// When the last rotation began that brought this secret, and what tells that: the journal, else this history of
    /// the store; `None` if nothing does.
    #[must_use]
    pub fn brought_at(
        &self,
        secret: &SecretId,
        history: &[HistoryEntry],
    ) -> Option<(Timestamp, AgeSource)> {
        let journaled = self.record.as_ref().filter(|record| record.new.id() == secret);
        if let Some(began) = journaled.and_then(|record| record.entered.first()) {
            return Some((began.at, AgeSource::Journal));
        }
        // A secret that returned was brought by more than one, with others between.
        let brought = history.iter().rev().filter(|entry| !entry.record["new"].is_null());
        let is_it = |entry: &&HistoryEntry| entry.record["new"] == secret.as_str();
        let first = brought.skip_while(|entry| !is_it(entry)).take_while(is_it).last()?;
        let at = first.record["at"].as_u64()?;
        Some((Timestamp::from_milliseconds(at), AgeSource::History))
    }
}
