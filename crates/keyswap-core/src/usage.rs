//! How often each secret was accepted and refused: the evidence that an old secret is unused.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::{Revision, SecretId};

/// What one program did with its secrets since it started.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UsageReport {
    /// The revision of the list that is in use.
    pub revision: Revision,
    /// The secrets of that list, the one that is tried first at the front.
    pub secrets: Vec<SecretUsage>,
    /// How often a fallback became the preferred secret because the server accepted it more often.
    pub promotions: u64,
    /// Requests that the server accepted in the end after it had refused an attempt: without a fallback
    /// they would have failed. `None` from a program whose keyswap did not count them yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<u64>,
    /// Requests whose last answer was a refusal, which went to the caller. `None` likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<u64>,
}

impl UsageReport {
    /// The usage of one secret, if the list in use holds it.
    #[must_use]
    pub fn of(&self, id: &SecretId) -> Option<&SecretUsage> {
        self.secrets.iter().find(|usage| usage.id == *id)
    }
}

/// How often one secret was accepted and refused since the program started.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SecretUsage {
    /// The name of the secret.
    pub id: SecretId,
    /// Requests that the server authenticated with it.
    pub accepted: u64,
    /// Attempts that the server refused.
    pub refused: u64,
    /// Attempts that said nothing of the secret: a rate limit, a server error, a connection that broke.
    #[serde(default)]
    pub inconclusive: u64,
}

impl SecretUsage {
    /// Attempts that were made with this secret and came to an end, whatever came of them: a program
    /// that gets nothing but errors with it uses it all the same.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.accepted.saturating_add(self.refused).saturating_add(self.inconclusive)
    }
}

/// What became of the requests that were refused, whatever their secrets.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    saved: AtomicU64,
    failed: AtomicU64,
}

impl Outcomes {
    pub(crate) fn count_saved(&self) {
        self.saved.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn saved(&self) -> u64 {
        self.saved.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Relaxed counters: a report needs each number, not an order between them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    inconclusive: AtomicU64,
}

impl Counters {
    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_inconclusive(&self) {
        self.inconclusive.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn report(&self, id: SecretId) -> SecretUsage {
        SecretUsage {
            id,
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            inconclusive: self.inconclusive.load(Ordering::Relaxed),
        }
    }
}
