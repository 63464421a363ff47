//! What the rotating process of these tests is told, and where it may die.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

mod authority;
mod store;

pub use authority::DyingAuthority;
pub use store::DyingStore;

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

/// What the process does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Command {
    /// Begins a rotation.
    Rotate,
    /// Takes up the one of the journal.
    Resume,
    /// Takes it back.
    RollBack,
}

/// What the server is like.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Server {
    /// It holds one secret a client.
    Auth0,
    /// It holds two, each active or not.
    Okta,
}

/// What the process is told, as one argument in JSON. The secrets are those of a test.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Orders {
    /// What to do.
    pub command: Command,
    /// When to die.
    pub dies: Option<Point>,
    /// The directory of the store.
    pub store: String,
    /// What the server is like.
    pub server: Server,
    /// The server.
    pub url: String,
    /// The audience of its management API.
    pub management_audience: String,
    /// The secret of the management client, or the API token.
    pub management_secret: String,
    /// The window, in milliseconds.
    pub window_ms: u64,
    /// That a rotation that begins is one whose old secret is compromised, and its deadline, in
    /// milliseconds.
    pub compromised_ms: Option<u64>,
}

impl Orders {
    /// The propagation window.
    #[must_use]
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }
}

/// The client whose secret changes.
pub const CLIENT: &str = "billing";
/// The client that changes it.
pub const MANAGEMENT_CLIENT: &str = "rotator";
/// The id of that client's application at Okta.
pub const OKTA_APPLICATION: &str = "0oabilling";
/// The audience of the tokens that programs ask for.
pub const AUDIENCE: &str = "https://api.example/";
/// The application whose instances have to report.
pub const APPLICATION: &str = "billing-app";
/// How many there are.
pub const INSTANCES: u32 = 2;

/// Counts the acts of this process, and ends it at the one that was chosen.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    dies: Option<Point>,
    done: Arc<Mutex<BTreeMap<Act, u32>>>,
}

impl Fate {
    /// Dies there, or not at all.
    #[must_use]
    pub fn new(dies: Option<Point>) -> Self {
        Self { dies, done: Arc::default() }
    }

    /// What was done how often.
    #[must_use]
    pub fn done(&self) -> BTreeMap<Act, u32> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn around<T>(&self, act: Act, doing: impl Future<Output = T>) -> T {
        let nth = {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            let nth = done.entry(act).or_default();
            *nth += 1;
            *nth
        };
        self.meet(Point { act, nth, side: Side::Before });
        let done = doing.await;
        self.meet(Point { act, nth, side: Side::After });
        done
    }

    fn meet(&self, point: Point) {
        if self.dies != Some(point) {
            return;
        }
        // As `kill -9` does it: nothing is flushed, dropped or said.
        let _ = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
