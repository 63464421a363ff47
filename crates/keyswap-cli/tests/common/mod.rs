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
mod server;
mod vault;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use command::{Command, Output, Programs, Running};
pub use server::{AUDIENCE, CLIENT, DevServer, Embedded, MANAGEMENT_CLIENT, Site};
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

/// Waits until `condition` gives something.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
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

/// Runs `keyswap dev-server` like this provider, and a rotation with the configuration that it writes, which waits for an
/// instance and for nothing else.
pub fn dev_server_is_ready_for_a_rotation(provider: &str) {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    let arguments = ["dev-server", "--provider", provider, "--listen", "127.0.0.1:0"];
    let mut server = Command::new(&vault, &arguments)
        .argument("--window")
        .argument("250ms")
        .argument("--directory")
        .argument(directory.path())
        .spawn();
    eventually("the server is ready", || {
        assert!(!server.ended(), "{}", server.stderr());
        server.stdout().contains("ready").then_some(())
    });
    let keyswap = |arguments: &[&str]| {
        let command = Command::new(&vault, arguments).argument("--config");
        command.argument(directory.path().join("keyswap.toml")).run()
    };
    let secret = directory.path().join("client-secret");
    keyswap(&["init", "--secret-file", secret.to_str().unwrap()]).ends_with(0);
    // The server, what its management requests carry, and the client are as a rotation wants them: it waits for an instance.
    let output = keyswap(&["rotate", "--patience", "1s"]);
    output.says(3, &["billing: 0 of 1 expected instances", "state staged"]);
    server.signal("INT");
    server.wait().ends_with(0);
}
