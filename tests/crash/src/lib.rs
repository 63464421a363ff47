//! What the rotating process of these tests is told, and where it may die.
#![forbid(unsafe_code)]

use std::time::Duration;

use keyswap_admin::crash::Fate;
pub use keyswap_admin::crash::{Act, Point, Side};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

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

/// Ends this process at that point, or not at all.
#[must_use]
pub fn fate(dies: Option<Point>) -> Fate {
    Fate::new(dies, || {
        // As `kill -9` does it: nothing is flushed, dropped or said.
        let _ = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    })
}
