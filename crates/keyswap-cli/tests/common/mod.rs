//! What the tests of the command share: a server with its directory, running the command, programs that
//! sign in all the while, and a search of every output for every secret.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "each test file takes what it needs"
)]

mod command;
pub mod page;
mod server;
mod terminal;
mod vault;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use command::{Command, Output, Programs, Running};
pub use page::{Example, examples};
pub use server::{AUDIENCE, CLIENT, DevServer, Embedded, MANAGEMENT_CLIENT, Site, has_reached};
pub use terminal::AtTerminal;
pub use vault::Vault;

/// The states that a rotation goes through before it is done, in order.
pub const STATES: [&str; 10] = [
    "generated",
    "staged",
    "adopted",
    "cutting_over",
    "cut_over",
    "confirmed",
    "promoted",
    "drained",
    "retiring",
    "retired",
];

/// Far beyond what a slow machine needs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Far beyond what a whole run needs, many rotations in one process among them.
const LONGEST_RUN: Duration = Duration::from_secs(600);

/// Waits until `condition` gives something.
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, condition)
}

fn within<T>(longest: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + longest;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {longest:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Every file below a directory with what it holds; a directory holds nothing.
pub fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(directory) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
            found.insert(path, Vec::new());
        } else {
            let text = std::fs::read(&path).unwrap_or_default();
            found.insert(path, text);
        }
    }
    found
}

pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs `keyswap dev-server` like this provider, and then each command that it says, as it is shown. The rotation waits for
/// an instance, and for nothing else.
pub fn dev_server_is_ready_for_a_rotation(provider: &str) {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    let server = LikeVendor::start(&vault, provider, directory.path());
    let (rotate, before) = server.next.split_last().unwrap();
    assert!(!before.is_empty() && rotate.starts_with("keyswap rotate "), "{:?}", server.next);
    for command in before {
        shown(&vault, command).run().ends_with(0);
    }
    let output = shown(&vault, rotate).argument("--patience").argument("1s").run();
    output.says(3, &["billing: 0 of 1 expected instances", "state staged"]);
    server.end();
}

/// A command as it is shown, with a reason in the place of TEXT.
pub fn shown(vault: &Vault, line: &str) -> Command {
    let words = line.strip_prefix("keyswap ").unwrap().split(' ');
    let words: Vec<_> =
        words.map(|word| if word == "TEXT" { "a quiet night" } else { word }).collect();
    Command::new(vault, &words)
}

/// `keyswap dev-server` like one vendor.
pub struct LikeVendor {
    running: Running,
    /// The commands that it says to run next.
    pub next: Vec<String>,
}

impl LikeVendor {
    pub fn start(vault: &Vault, provider: &str, directory: &Path) -> Self {
        let arguments = ["dev-server", "--provider", provider, "--listen", "127.0.0.1:0"];
        let more = ["--window", "250ms", "--directory"];
        let command = Command::new(vault, &[&arguments[..], &more].concat());
        let mut running = command.argument(directory).spawn();
        let said = eventually("the server is ready", || {
            assert!(!running.ended(), "{}", running.stderr());
            let said = running.stdout();
            said.contains("ready").then_some(said)
        });
        let next = said.lines().filter_map(|line| line.strip_prefix("  keyswap "));
        let next = next.map(|line| format!("keyswap {line}")).collect();
        Self { running, next }
    }

    pub fn end(self) {
        self.running.signal("INT");
        self.running.wait().ends_with(0);
    }
}
