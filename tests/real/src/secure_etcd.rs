//! One node of a genuine etcd that is spoken to by TLS alone, with a client certificate.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::SemaphorePermit;

use crate::etcd::{PORTS_OF_NODE, TURN};
use crate::ports::free_ports;
use crate::process::PATIENCE;
use crate::{Process, installed};

/// A running node with an empty database, and a directory with certificates.
#[derive(Debug)]
pub struct SecureEtcd {
    process: Process,
    port: u16,
    /// Removed after the process was killed: fields are dropped in their order.
    directory: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl SecureEtcd {
    /// Makes certificates, starts the node, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When that cannot be done.
    pub async fn start() -> Self {
        let turn = TURN.acquire().await.expect("it is never closed");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let made = script(directory.path()).arg("certificates").status().await;
        assert!(made.expect("the script can be started").success(), "no certificates");
        let (port, process) = serve(directory.path());
        let mut etcd = Self { process, port, directory, _turn: turn };
        let patience = Instant::now() + PATIENCE;
        while !etcd.shell("etcdctl endpoint health").await.status.success() {
            // Between finding a free port and the node's own bind, another program may take it.
            if etcd.process.has_ended() {
                (etcd.port, etcd.process) = serve(etcd.directory.path());
            }
            assert!(Instant::now() < patience, "it does not serve");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        etcd
    }

    /// Where it answers clients.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The directory that holds `ca.pem`, `client.pem`, `client-key.pem`, and of somebody whom nobody trusts
    /// `other.pem`, `stranger.pem`, `stranger-key.pem`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file there.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Runs a line of shell in that directory, in which `etcdctl` speaks to this node.
    ///
    /// # Panics
    ///
    /// When no shell can be started.
    pub async fn shell(&self, line: &str) -> Output {
        Command::new("sh")
            .args(["-c", line])
            .current_dir(self.directory())
            .env("ETCDCTL_API", "3")
            // Its own are 2 s and 5 s.
            .env("ETCDCTL_DIAL_TIMEOUT", "60s")
            .env("ETCDCTL_COMMAND_TIMEOUT", "60s")
            .env("ETCDCTL_ENDPOINTS", self.endpoint())
            .env("ETCDCTL_CACERT", "ca.pem")
            .env("ETCDCTL_CERT", "client.pem")
            .env("ETCDCTL_KEY", "client-key.pem")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("a shell")
    }
}

fn script(directory: &Path) -> Command {
    let mut command = Command::new(installed("KEYSWAP_ETCD"));
    command.env("ETCD_TLS", directory);
    command
}

/// Starts the node at a free port, with an empty database.
fn serve(directory: &Path) -> (u16, Process) {
    let port = free_ports(PORTS_OF_NODE);
    let mut command = script(directory);
    command
        .args(["serve", "1"])
        .env("ETCD_SIZE", "1")
        .env("ETCD_PORTS", port.to_string())
        .env("ETCD_STATE", directory.join(format!("state-{port}")));
    (port, Process::start("etcd", &mut command))
}
