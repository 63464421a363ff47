//! One request: a process of its own, the request on its standard input, the answer on its standard output.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::term;

/// A client with all its secrets is some kilobytes; of more nothing is taken.
pub(super) const LONGEST_ANSWER: usize = 1024 * 1024;
/// Of what a program says on its standard error, so much is kept for each request.
const MOST_SAID: usize = 16 * 1024;
/// A process that was killed is gone at once, unless the system itself hangs.
const LONGEST_DEATH: Duration = Duration::from_secs(5);

/// What is run for each request.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) command: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) directory: Option<PathBuf>,
    pub(super) environment: BTreeMap<String, Value>,
    pub(super) timeout: Duration,
}

/// The value of an environment variable, which may be a secret.
pub(super) struct Value(pub(super) OsString);

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// What came of a process.
pub(super) struct Ended {
    pub(super) answer: Result<Zeroizing<Vec<u8>>, Fault>,
    /// What it said on its standard error, up to a bound.
    pub(super) said: Said,
}

#[derive(Default)]
pub(super) struct Said {
    pub(super) text: Zeroizing<Vec<u8>>,
    pub(super) cut_off: bool,
}

/// Why there is no answer. Only in the first two cases it is certain that the program did nothing.
#[derive(Debug)]
pub(super) enum Fault {
    NotStarted(io::Error),
    LeaseOver,
    TimedOut,
    TooLong,
    Failed(ExitStatus),
    Unreadable(io::Error),
    /// It answered nothing. The flag says whether it closed its standard input before all was written.
    Silent(bool),
}

/// Carries one request out. Dropped before its end, it ends the process with all that it has started.
pub(super) async fn run(program: &Program, request: &[u8]) -> Ended {
    let mut said = Said { text: Zeroizing::new(Vec::with_capacity(MOST_SAID)), cut_off: false };
    let answer = match start(program) {
        Ok(mut child) => {
            let group = Group::of(&child);
            let answer = timeout(program.timeout, exchange(&mut child, &group, request, &mut said));
            let answer = answer.await.unwrap_or(Err(Fault::TimedOut));
            drop(group);
            // Waited for, so that no zombie stays.
            let _ = timeout(LONGEST_DEATH, child.wait()).await;
            answer
        }
        Err(error) => Err(Fault::NotStarted(error)),
    };
    Ended { answer, said }
}

/// In a process group of its own, with the environment that it was given and no other.
fn start(program: &Program) -> io::Result<Child> {
    let mut command = Command::new(&program.command);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(program.environment.iter().map(|(name, value)| (name, &value.0)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(directory) = &program.directory {
        command.current_dir(directory);
    }
    command.spawn()
}

async fn exchange(
    child: &mut Child,
    group: &Group,
    request: &[u8],
    said: &mut Said,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let missing = || Fault::Unreadable(io::Error::other("a stream is missing"));
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut stdin, stdout) = (stdin.ok_or_else(missing)?, stdout.ok_or_else(missing)?);
    let stderr = stderr.ok_or_else(missing)?;
    // The last moment at which nothing was given away yet.
    if term::is_over() {
        return Err(Fault::LeaseOver);
    }
    let write = async {
        let written = stdin.write_all(request).await;
        // The end of the request is the end of the input.
        drop(stdin);
        Ok(written.is_ok())
    };
    let listen = async {
        listen(stderr, said).await;
        Ok(())
    };
    let (written, answer, ()) = {
        let mut streams = std::pin::pin!(async {
            let read = read_whole(stdout);
            tokio::try_join!(write, read, listen)
        });
        tokio::select! {
            biased;
            streams = &mut streams => streams?,
            _ = child.wait() => {
                // What it has left behind may hold the streams open for ever.
                group.kill();
                streams.await?
            }
        }
    };
    let status = child.wait().await.map_err(Fault::Unreadable)?;
    if !status.success() {
        return Err(Fault::Failed(status));
    }
    if answer.iter().all(u8::is_ascii_whitespace) {
        return Err(Fault::Silent(!written));
    }
    Ok(answer)
}

async fn read_whole(mut stream: impl AsyncRead + Unpin) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut piece = Zeroizing::new(vec![0; 8 * 1024]);
    let mut answer = Zeroizing::new(Vec::with_capacity(16 * 1024));
    loop {
        match stream.read(&mut piece).await.map_err(Fault::Unreadable)? {
            0 => return Ok(answer),
            length if answer.len() + length > LONGEST_ANSWER => return Err(Fault::TooLong),
            length => take(&mut answer, &piece[..length]),
        }
    }
}

/// Adds to a buffer that is wiped. One that has to grow is wiped as well.
fn take(buffer: &mut Zeroizing<Vec<u8>>, piece: &[u8]) {
    if buffer.len() + piece.len() > buffer.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * (buffer.len() + piece.len())));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
    buffer.extend_from_slice(piece);
}

/// Reads to the end, so that the program can go on, and keeps the beginning.
async fn listen(mut stream: impl AsyncRead + Unpin, said: &mut Said) {
    let mut piece = Zeroizing::new(vec![0; 4 * 1024]);
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        let room = MOST_SAID.saturating_sub(said.text.len()).min(length);
        said.text.extend_from_slice(&piece[..room]);
        said.cut_off |= room < length;
    }
}

/// A process and all that it has started, unless that left the group. Ended with this.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// An id is given to another group only once numbers start from the beginning again, which takes longer
    /// than from the end of the process to this.
    fn kill(&self) {
        if let Some(group) = self.0 {
            // There may be nobody left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_request_is_not_given_away_once_its_lease_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let program = Program {
            command: "sh".into(),
            arguments: vec!["-c".into(), "cat >>seen; echo {}".into()],
            directory: Some(directory.path().to_owned()),
            environment: BTreeMap::from([(
                "PATH".to_owned(),
                Value(std::env::var_os("PATH").unwrap()),
            )]),
            timeout: Duration::from_secs(30),
        };
        let under = async |end| {
            let term = term::Term::until(end);
            term.scope(run(&program, b"request\n")).await.answer
        };
        let now = Instant::now();
        assert!(matches!(under(now).await, Err(Fault::LeaseOver)));
        let seen = std::fs::read_to_string(directory.path().join("seen")).unwrap_or_default();
        assert_eq!(seen, "");
        assert_eq!(*under(now + Duration::from_secs(60)).await.unwrap(), b"{}\n");
        let seen = std::fs::read_to_string(directory.path().join("seen")).unwrap();
        assert_eq!(seen, "request\n");
        assert!(!format!("{program:?}").contains("bin"), "{program:?}");
    }
}
