//! What instances report, and what the history holds.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use keyswap_core::{Revision, UsageReport};
use rand::TryRng;
use serde::{Deserialize, Serialize};

use crate::{StoreError, StoreErrorKind};

/// What one running program says about itself. No secret and no hash of one is in it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub struct InstanceReport {
    /// The application that the instance is one of.
    pub application: String,
    /// The instance: random, new at each start. 1 to 64 characters of `[A-Za-z0-9_-]`.
    pub instance: String,
    /// Grows with each report of this instance.
    pub sequence: u64,
    /// The revision of the list that the program uses, not of the one in the store; `None` before it
    /// has read any.
    pub revision: Option<Revision>,
    /// How often each secret was accepted and refused.
    pub usage: Option<UsageReport>,
    /// The version of keyswap.
    pub version: String,
    /// When the instance started, in milliseconds since 1970, by its own clock.
    pub started_at_ms: u64,
    /// When this report was made, in milliseconds since 1970, by the clock of the instance.
    pub reported_at_ms: u64,
}

impl InstanceReport {
    /// The first report of an instance: it has read no list yet.
    #[must_use]
    pub fn new(application: impl Into<String>, instance: impl Into<String>) -> Self {
        let now = now_ms();
        Self {
            application: application.into(),
            instance: instance.into(),
            sequence: 0,
            revision: None,
            usage: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_ms: now,
            reported_at_ms: now,
        }
    }

    /// The next report of the same instance, with what its ring says now.
    #[must_use]
    pub fn next(&self, usage: UsageReport) -> Self {
        Self {
            sequence: self.sequence + 1,
            revision: Some(usage.revision),
            usage: Some(usage),
            reported_at_ms: now_ms(),
            ..self.clone()
        }
    }
}

/// An instance as the store sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Instance {
    /// The id of the instance.
    pub instance: String,
    /// Whether it runs, as far as the store can tell.
    pub live: bool,
    /// Its last report; or why that cannot be read, which counts as "has not adopted anything".
    pub report: Result<InstanceReport, String>,
}

impl Instance {
    /// An instance with its report, or the reason why that cannot be read.
    #[must_use]
    pub fn new(
        instance: impl Into<String>,
        live: bool,
        report: Result<InstanceReport, String>,
    ) -> Self {
        Self { instance: instance.into(), live, report }
    }
}

/// The end of a history: with it, a history that was cut off can be told from a whole one.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct HistoryHead {
    /// The number of the last record, counted from 1.
    pub number: u64,
    /// The hash of its line, which covers all lines before it: 64 hexadecimal digits.
    pub hash: String,
}

impl fmt::Display for HistoryHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} ({})", self.number, self.hash.get(..16).unwrap_or(&self.hash))
    }
}

/// One record of the history.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Its number and hash.
    pub head: HistoryHead,
    /// What was recorded.
    pub record: serde_json::Value,
}

impl HistoryEntry {
    /// For implementations of [`SecretStore`](crate::SecretStore).
    #[must_use]
    pub fn new(head: HistoryHead, record: serde_json::Value) -> Self {
        Self { head, record }
    }
}

/// A person's "not now" to the rotations of a client: a release freeze, an incident.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Hold {
    /// Who put it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Until when, in milliseconds since 1970; `None`: until it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

impl Hold {
    /// A hold from `since_ms` on. The reason must not hold a secret.
    #[must_use]
    pub fn new(
        by: impl Into<String>,
        reason: impl Into<String>,
        since_ms: u64,
        until_ms: Option<u64>,
    ) -> Self {
        Self { by: by.into(), reason: reason.into(), since_ms, until_ms }
    }

    /// Whether it is in force at that time, in milliseconds since 1970.
    #[must_use]
    pub fn is_in_force(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until| now_ms < until)
    }
}

/// A random instance id.
pub(crate) fn random_instance() -> Result<String, StoreError> {
    Ok(format!("i-{:016x}", random("choose an instance id")?))
}

pub(crate) fn random(doing: &str) -> Result<u64, StoreError> {
    rand::rngs::SysRng.try_next_u64().map_err(|error| {
        StoreError::new(StoreErrorKind::Io, doing)
            .because("the operating system gives no random numbers")
            .with_source(error.to_string())
    })
}

/// A number from 0 to 1.
pub(crate) fn chance() -> f64 {
    // Without random numbers all wait equally long, which is no reason to give up.
    let random = random("wait").unwrap_or(u64::MAX / 2);
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
