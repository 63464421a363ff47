//! What is known of a time in which the server refuses every secret.

use std::time::Duration;

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// A cool-down that follows another without an acceptance between them is twice as long, up to eight
/// times the first: enough for a program with a request every ten seconds to stay below 1.05 attempts
/// a request, and one with a request every few minutes still tries all secrets each time.
const MOST_DOUBLINGS: u32 = 3;

/// What a request saw of it when it began.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    /// Whether there was one.
    pub(crate) running: bool,
    number: u32,
}

/// Times are milliseconds from the ring's epoch.
///
/// Of requests that end at once one may begin what another has just ended, which costs a few attempts
/// more or less; but the next acceptance ends it.
#[derive(Default)]
pub(super) struct CoolDown {
    /// Passes in which every secret was refused since the last acceptance or revision. 0 says that all
    /// is well, and that nothing else here holds anything.
    refused_passes: AtomicU32,
    /// 0: there was none since the last acceptance or revision.
    until: AtomicU64,
    /// How many there were: a request that saw another number than there is now began before the last one.
    number: AtomicU32,
    /// Since it began.
    requests: AtomicU64,
    doublings: AtomicU32,
}

impl CoolDown {
    /// Counts a pass in which every secret was refused; returns how many there were in a row.
    pub(super) fn count_refused_pass(&self) -> u32 {
        self.refused_passes.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// An acceptance or a newer list: all that was known is out of date. Costs one load while all is well.
    pub(super) fn end(&self) {
        if self.refused_passes.load(Ordering::Relaxed) == 0 {
            return;
        }
        // In this order, and `start` in the other, each behind the one before for all threads: then a
        // cool-down that begins meanwhile either ends here or leaves a count that the next acceptance
        // sees. Otherwise nothing but time would end it.
        self.refused_passes.store(0, Ordering::SeqCst);
        self.until.store(0, Ordering::SeqCst);
        self.doublings.store(0, Ordering::Relaxed);
    }

    /// What a request has to know at its beginning.
    pub(super) fn look(&self) -> Look {
        Look { running: self.refused_everywhere(), number: self.number.load(Ordering::Relaxed) }
    }

    /// A request that began with this look found every secret refused.
    pub(super) fn start(&self, began: Look, now: u64, length: Duration) {
        let running = self.refused_everywhere();
        if running && began.number != self.number.load(Ordering::Relaxed) {
            // It says nothing that the one that started this cool-down did not.
            return;
        }
        let doublings = if running { self.doublings.load(Ordering::Relaxed) + 1 } else { 0 };
        let doublings = doublings.min(MOST_DOUBLINGS);
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let until = now.saturating_add(length.saturating_mul(1 << doublings)).max(1);
        self.doublings.store(doublings, Ordering::Relaxed);
        self.number.fetch_add(1, Ordering::Relaxed);
        self.requests.store(0, Ordering::Relaxed);
        self.until.store(until, Ordering::SeqCst);
        // An acceptance since the pass was counted has cleared this.
        self.refused_passes.fetch_max(1, Ordering::SeqCst);
    }

    /// Whether every secret was refused to some request, and none was accepted since.
    pub(super) fn refused_everywhere(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0
    }

    /// Whether this request tries the preferred secret alone, in a list with so many fallbacks.
    pub(super) fn holds_back(&self, now: u64, fallbacks: impl FnOnce() -> u64) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 || now >= until {
            return false;
        }
        // From time to time one request goes through the whole list, so seldom that the mean stays
        // below 1.05 attempts a request.
        let request = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        !request.is_multiple_of(25 * fallbacks().max(1))
    }
}
