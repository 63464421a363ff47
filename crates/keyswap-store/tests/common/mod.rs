//! What the tests share: a store in a directory of its own, lists, and waiting for a condition.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file takes what it needs")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyswap_core::{Secret, SecretList, SecretRing};
use keyswap_store::{FileStore, FollowStatus};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Begins every secret value in these tests, so that any output can be searched for one.
pub const CANARY: &str = "hunter2";

pub fn store() -> (TempDir, FileStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
    (directory, store)
}

/// A list of secrets with these ids.
pub fn list(ids: &str) -> SecretList {
    SecretList::new(ids.split(' ').map(|id| secret(id, &format!("{CANARY}-{id}")))).unwrap()
}

pub fn secret(id: &str, value: &str) -> Secret {
    Secret::new(id.parse().unwrap(), value).unwrap()
}

pub fn ids(list: &SecretList) -> String {
    list.ids().map(|id| id.as_str()).collect::<Vec<_>>().join(" ")
}

/// Waits until `condition` gives something. The deadline is far beyond what a slow machine needs.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The ids of the list in use, as it was published.
pub fn in_use(ring: &SecretRing) -> String {
    ids(ring.snapshot().published())
}

/// Waits until a list with these ids is in use.
pub async fn takes(ring: &SecretRing, expected: &str) {
    eventually(&format!("the ring takes {expected}"), async || {
        (in_use(ring) == expected).then_some(())
    })
    .await;
}

/// Waits until another problem is told, and gives it.
pub async fn next_problem(status: &mut FollowStatus) -> String {
    let problem = tokio::time::timeout(Duration::from_secs(120), status.changed()).await;
    problem.expect("waited in vain for a problem").expect("a problem")
}

/// Stops following at the end of a test.
pub struct Following(pub JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Puts a finished file over another, as deployments and careful editors do.
pub fn rename_over(path: &Path, text: impl AsRef<[u8]>) {
    let temporary = path.with_extension("swap~");
    std::fs::write(&temporary, text).unwrap();
    std::fs::rename(&temporary, path).unwrap();
}

pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A file that only we can read, as the store wants them.
pub fn write_private(path: &Path, text: impl AsRef<[u8]>) {
    std::fs::write(path, text).unwrap();
    set_mode(path, 0o600);
}

const TASK: &str = "KEYSWAP_STORE_TEST_DIRECTORY";

/// The store that this process is to work on, if it is a child of a test.
pub fn child_store() -> Option<FileStore> {
    let directory = std::env::var_os(TASK)?;
    Some(FileStore::open(directory, "billing").unwrap())
}

/// Runs the test of this name of this very binary as a process of its own.
pub fn spawn_child(test: &str, store_directory: &Path) -> Process {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(TASK, store_directory)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    Process(child)
}

/// Runs the test of this name of this very binary behind a command such as `unshare -U`, and gives its exit.
/// `None` if this machine does not let that command run.
pub fn run_child_behind(command: &[&str], test: &str, directory: &Path) -> Option<ExitStatus> {
    let (program, arguments) = command.split_first().unwrap();
    let behind = |then: &[&std::ffi::OsStr]| {
        let mut command = Command::new(program);
        command.args(arguments).args(then).env(TASK, directory);
        command.status().ok()
    };
    if !behind(&["true".as_ref()])?.success() {
        return None;
    }
    let this = std::env::current_exe().unwrap();
    let rest = ["--exact", test, "--nocapture", "--test-threads=1"];
    let rest = rest.iter().map(std::ffi::OsStr::new);
    let status = behind(&std::iter::once(this.as_os_str()).chain(rest).collect::<Vec<_>>());
    Some(status.unwrap())
}

/// The directory that this process is to work in, if it is a child of a test.
pub fn child_directory() -> Option<PathBuf> {
    std::env::var_os(TASK).map(PathBuf::from)
}

/// A child process that does not outlive its test.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Sends a signal by its name, for instance `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.0.wait().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the code under test logged on this thread.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects what this thread logs until the guard is dropped.
    pub fn collect() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub fn count(&self, words: &str) -> usize {
        self.text().matches(words).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
