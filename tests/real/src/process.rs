//! A server as a child process, which never outlives the test.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long a server may take until it serves. The slowest needs half a second on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running program. Dropping it kills the program.
pub struct Process {
    name: &'static str,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name).field("id", &self.child.id()).finish()
    }
}

impl Process {
    /// Starts `command`; its standard error is that of the test.
    ///
    /// # Panics
    ///
    /// When the program cannot be started.
    #[must_use]
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self::of(name, child)
    }

    fn of(name: &'static str, mut child: Child) -> Self {
        let stdout = child.stdout.take().expect("standard output is piped");
        Self { name, child, lines: BufReader::new(stdout).lines() }
    }

    /// Waits for the first line on standard output from which `wanted` makes something.
    ///
    /// # Panics
    ///
    /// When the program ends or says nothing of the kind in a minute.
    pub async fn line<T>(&mut self, mut wanted: impl FnMut(&str) -> Option<T>) -> T {
        let name = self.name;
        let found = async {
            let mut seen = 0_u32;
            while let Ok(Some(line)) = self.lines.next_line().await {
                if let Some(found) = wanted(&line) {
                    return found;
                }
                seen += 1;
            }
            panic!("{name} ended before it was ready, after {seen} other lines");
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("{name} was not ready in {PATIENCE:?}"))
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Panics
    ///
    /// When it cannot be asked.
    pub fn terminate(&self) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("a program `kill`").success(), "{} has ended already", self.name);
    }

    /// Waits until it has ended, and fails unless that was well.
    ///
    /// # Panics
    ///
    /// When it was not, or does not end in a minute.
    pub async fn end(mut self) {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("{} does not end", self.name));
        assert!(status.expect("it is a child").success(), "{} ended badly", self.name);
    }

    /// Kills it, and waits until it has ended: then its ports are nobody's.
    ///
    /// # Panics
    ///
    /// When it does not end in a minute.
    pub async fn kill(mut self) {
        // It may have ended already.
        let _ = self.child.start_kill();
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("{} does not end", self.name)).expect("it is a child");
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether the program has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}
