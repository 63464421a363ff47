//! One fetch at a time: whoever comes first makes it, and those who come meanwhile share its result.
//!
//! Nothing is spawned, so the fetch lives in the future of the caller that makes it. If that future is
//! dropped, one of those who wait takes its place.

use std::fmt;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::TokenError;

/// The fetches of one source.
#[derive(Default)]
pub(crate) struct Flights {
    /// A std mutex: it is held for a few instructions, never over an await, and not by those who find a
    /// token that is good.
    log: Mutex<Log>,
    changed: Notify,
}

#[derive(Default)]
struct Log {
    under_way: bool,
    /// How many have ended, so that a caller knows whether one ended while it waited.
    ended: u64,
    /// What the last one failed with.
    failure: Option<TokenError>,
}

/// What a caller that needs another token does.
pub(crate) enum Boarded<'a, T> {
    /// What is there already.
    There(T),
    /// A fetch ended while the caller waited, with this.
    Ended(Result<(), TokenError>),
    /// It is this caller's turn to fetch.
    Turn(Turn<'a>),
}

impl Flights {
    /// Waits for the turn to fetch, or for the end of a fetch by somebody else.
    ///
    /// Before it waits, and whenever it might have its turn, `look` says whether there is a token
    /// meanwhile. It is called under the lock under which a fetch ends.
    pub(crate) async fn board<T>(&self, mut look: impl FnMut() -> Option<T>) -> Boarded<'_, T> {
        let came = self.log().ended;
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the look, so that no end slips in between.
            changed.as_mut().enable();
            {
                let mut log = self.log();
                if let Some(there) = look() {
                    return Boarded::There(there);
                }
                if log.ended != came {
                    return Boarded::Ended(log.failure.clone().map_or(Ok(()), Err));
                }
                if !log.under_way {
                    return Boarded::Turn(self.turn(&mut log));
                }
            }
            changed.await;
        }
    }

    /// The turn to fetch, if nobody has it.
    pub(crate) fn board_now(&self) -> Option<Turn<'_>> {
        let mut log = self.log();
        if log.under_way { None } else { Some(self.turn(&mut log)) }
    }

    fn turn(&self, log: &mut Log) -> Turn<'_> {
        log.under_way = true;
        Turn { flights: self, ended: false }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn to fetch. Dropped before the end, it goes to one of those who wait.
#[must_use]
pub(crate) struct Turn<'a> {
    flights: &'a Flights,
    ended: bool,
}

impl Turn<'_> {
    /// The end of a fetch, with what it failed with. `keep` puts a token where others look.
    pub(crate) fn end(mut self, failure: Option<TokenError>, keep: impl FnOnce()) {
        {
            let mut log = self.flights.log();
            keep();
            log.ended += 1;
            log.failure = failure;
        }
        self.ended = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.flights.log().under_way = false;
        if self.ended {
            self.flights.changed.notify_waiters();
        } else {
            // One is enough. If it goes away before it has seen this, tokio tells the next.
            self.flights.changed.notify_one();
        }
    }
}

impl fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}
