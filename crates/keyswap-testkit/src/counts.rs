//! What the server has seen so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often what happened, since the server started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// Token requests that were answered with a token.
    pub token_accepted: u64,
    /// Token requests whose client authentication was refused with 401: a wrong secret or an unknown client.
    pub token_refused: u64,
    /// Token requests that failed for another reason: malformed, or something the client may not do.
    pub token_failed: u64,
    /// Secrets changed through the management API that have taken effect there; one that is applied late counts once
    /// it is applied.
    pub changes: u64,
    /// Secrets changed with [`set_secret`](crate::AuthorizationServer::set_secret).
    pub foreign_changes: u64,
    /// Requests to the management API, refused ones and those that met a fault included.
    pub management_requests: u64,
    /// Those of them that ask for a change, whatever came of it.
    pub management_writes: u64,
    /// The most requests to the management API that came within any one second, of all kinds.
    pub most_management_requests_in_a_second: u64,
    /// Faults that happened.
    pub faults: u64,
}

/// Counters that requests add to without a lock; they are only ever read for a report.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) token_accepted: Counter,
    pub(crate) token_refused: Counter,
    pub(crate) token_failed: Counter,
    pub(crate) management_requests: Counter,
    pub(crate) management_writes: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
