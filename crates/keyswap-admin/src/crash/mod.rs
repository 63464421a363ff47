//! A rotator that dies where it is told: what a crash test and a rehearsal are made of.
//!
//! [`DyingAuthority`] and [`DyingStore`] stand between a [`Rotator`](crate::Rotator) and what it works with. They
//! count each of its acts that leaves a trace outside of it, and let it die before or after the one that was
//! chosen. What dying is, is the caller's: a process that kills itself, or a future that is dropped.

mod authority;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

pub use self::authority::DyingAuthority;
pub use self::store::DyingStore;

/// An act of the rotator that leaves a trace outside of its process.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Act {
    /// The lease is taken.
    Acquire,
    /// A line goes into the history.
    AppendHistory,
    /// The journal is written.
    SaveJournal,
    /// A list is published.
    Publish,
    /// The change is sent to the server.
    SetSecret,
    /// The server is asked which secret it holds.
    ReadBack,
    /// The server is asked to add a secret.
    AddSecret,
    /// The server is asked to choose another secret.
    RegenerateSecret,
    /// The server is asked which secrets it has.
    ListSecrets,
    /// One of the secrets at the server is activated or deactivated.
    SetActive,
    /// One of the secrets at the server is removed.
    RemoveSecret,
    /// A token request is made with one of the secrets.
    Probe,
    /// The lease is given back.
    Release,
}

/// On which side of an act the process dies.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Side {
    /// The act is not done.
    Before,
    /// The act is done, and what came of it is lost.
    After,
}

/// A moment at which the process dies.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Point {
    /// At this act,
    pub act: Act,
    /// when it is done for the nth time, from 1.
    pub nth: u32,
    /// On this side of it.
    pub side: Side,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {}", self.side, self.act, self.nth)
    }
}

/// Counts the acts of a rotator, and ends it at the one that was chosen.
///
/// ```
/// use keyswap_admin::crash::{Act, Fate, Point, Side};
///
/// let dies = Point { act: Act::Publish, nth: 1, side: Side::After };
/// let (died, at) = tokio::sync::oneshot::channel();
/// let died = std::sync::Mutex::new(Some(died));
/// // Whoever hears of it drops the rotator, which does nothing any more.
/// let fate = Fate::new(Some(dies), move || {
///     died.lock().unwrap().take().map(|died| died.send(()));
/// });
/// assert!(fate.done().is_empty());
/// # drop(at);
/// ```
#[derive(Clone)]
pub struct Fate {
    dies: Option<Point>,
    death: Arc<dyn Fn() + Send + Sync>,
    doomed: Arc<AtomicBool>,
    done: Arc<Mutex<BTreeMap<Act, u32>>>,
}

impl fmt::Debug for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fate").field("dies", &self.dies).finish_non_exhaustive()
    }
}

impl Fate {
    /// Dies there, or not at all. `death` is called once it is time; if it comes back, nothing is done any more, and
    /// the rotator waits to be dropped.
    #[must_use]
    pub fn new(dies: Option<Point>, death: impl Fn() + Send + Sync + 'static) -> Self {
        Self { dies, death: Arc::new(death), doomed: Arc::default(), done: Arc::default() }
    }

    /// Lets it die before its next act, whichever that is.
    pub fn doom(&self) {
        self.doomed.store(true, Ordering::Relaxed);
    }

    /// What was done how often.
    #[must_use]
    pub fn done(&self) -> BTreeMap<Act, u32> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn around<T>(&self, act: Act, doing: impl Future<Output = T>) -> T {
        let nth = {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            let nth = done.entry(act).or_default();
            *nth += 1;
            *nth
        };
        let doomed = self.doomed.load(Ordering::Relaxed);
        self.meet(doomed, Point { act, nth, side: Side::Before }).await;
        let done = doing.await;
        self.meet(false, Point { act, nth, side: Side::After }).await;
        done
    }

    async fn meet(&self, doomed: bool, point: Point) {
        if doomed || self.dies == Some(point) {
            (self.death)();
            std::future::pending::<()>().await;
        }
    }
}
