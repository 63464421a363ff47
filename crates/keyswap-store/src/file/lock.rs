//! The rotator's lease: a lock that the kernel takes back when the process ends, a time after which
//! others may take it over although the process lives, and a number that grows with each holder.
//!
//! What keeps two from writing is the number and the identity of the lock file, looked at in the same
//! [section](super::section) as each write. The time only says when taking over is allowed, so a clock
//! that is wrong can cost a lease and never lets two write.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fs::{self, File, FileExt, MetadataExt, OpenOptions, OpenOptionsExt, TryLockError};
use super::permissions::{check_file, io_error};
use super::replace::{self, Durable};
use super::section::{self, Section};
use crate::chain::Tail;
use crate::report::now_ms;
use crate::{StoreError, StoreErrorKind};

/// How long [`Lock::acquire`] waits for somebody who is in the middle of a write.
const PATIENCE: Duration = Duration::from_secs(1);

/// A held lock. The kernel lets it go when this is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
    term: Duration,
    /// The record as it stands in the file. Locked during each write, so that one whose caller gave up does not run
    /// into the next.
    held: Mutex<Held>,
    epoch: u64,
}

/// What its holder knows.
#[derive(Debug)]
struct Held {
    record: Holder,
    /// The end of the history as this holder left it, which nobody else may write to meanwhile.
    history: Option<Tail>,
}

/// What the lock file says, on one line.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Holder {
    epoch: u64,
    holder: String,
    process: u32,
    since_ms: u64,
    /// Until when nobody takes over, on the clock of [`uptime_ms`]. Without one: as long as the process
    /// lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_uptime_ms: Option<u64>,
}

impl Lock {
    /// Takes the lock: a free one, or one whose holder lives and did not renew it in time. The section
    /// must be the one of the directory that `path` is in.
    pub(super) fn acquire(
        path: &Path,
        _section: &Section,
        holder: &str,
        term: Duration,
        doing: &str,
    ) -> Result<Self, StoreError> {
        let failed = |error| io_error(error, path, doing);
        let record = Holder {
            epoch: 1,
            holder: holder.to_owned(),
            process: std::process::id(),
            since_ms: now_ms(),
            until_uptime_ms: None,
        };
        // Bounded: each round means that somebody replaced the lock file in between.
        for _ in 0..8 {
            if let Ok(metadata) = fs::metadata(path) {
                check_file(path, &metadata, doing)?;
            }
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(failed)?;
            check_file(path, &file.metadata().map_err(failed)?, doing)?;
            let free = match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            };
            if !same_file(&file, path).map_err(failed)? {
                continue;
            }
            if free {
                return Self::enter(file, path, record, term, doing);
            }
            return match read_holder(&file) {
                Ok(before) if before.left() == Some(Duration::ZERO) => {
                    Self::take_over(path, Holder { epoch: before.epoch + 1, ..record }, term, doing)
                }
                before => Err(held(before.ok(), path, doing)),
            };
        }
        Err(StoreError::new(StoreErrorKind::Io, doing)
            .at(path.display().to_string())
            .because("the lock file is being replaced all the time")
            .way_out("find the process that does so; nothing of keyswap replaces it that often"))
    }

    /// Takes the section in which the lease is taken. Says who has the lease if somebody stays in it.
    pub(super) fn section(
        directory: &Path,
        path: &Path,
        doing: &str,
    ) -> Result<Section, StoreError> {
        section::enter_within(PATIENCE, directory, doing)?.ok_or_else(|| {
            let before = File::open(path).ok().and_then(|file| read_holder(&file).ok());
            let holder = described(before.as_ref());
            StoreError::new(StoreErrorKind::Held { holder: holder.clone() }, doing)
                .at(path.display().to_string())
                .because(format!("{holder} holds the lease and is in the middle of a write"))
                .way_out(
                    "let that process go on, if it is stopped, or kill it; then run `keyswap resume`",
                )
        })
    }

    fn enter(
        file: File,
        path: &Path,
        record: Holder,
        term: Duration,
        doing: &str,
    ) -> Result<Self, StoreError> {
        let failed = |error| io_error(error, path, doing);
        let epoch = match read_holder(&file) {
            Ok(before) => before.epoch + 1,
            Err(_) if file.metadata().map_err(failed)?.len() == 0 => 1,
            // A loss of power may have torn the line. Seconds since 1970 are above every count.
            Err(_) => now_ms() / 1000,
        };
        let record = Holder { epoch, ..record }.renewed(term);
        write_holder(&file, &record)
            .and_then(|()| file.sync_all())
            .and_then(|()| replace::sync_parent(path))
            .map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            term,
            held: Mutex::new(Held { record, history: None }),
            epoch,
        })
    }

    /// Puts a lock file of our own in the place of one whose holder still has it locked.
    fn take_over(
        path: &Path,
        record: Holder,
        term: Duration,
        doing: &str,
    ) -> Result<Self, StoreError> {
        let failed = |error| io_error(error, path, doing);
        let record = record.renewed(term);
        let line = record.line();
        let staged = replace::stage(path, &line, Durable::Yes, doing)?;
        let temporary = staged.temporary();
        let file = OpenOptions::new().read(true).write(true).open(temporary).map_err(failed)?;
        // Before it has its name, so that nobody finds it unlocked.
        file.lock().map_err(failed)?;
        staged.commit()?;
        let epoch = record.epoch;
        Ok(Self {
            path: path.to_owned(),
            file,
            term,
            held: Mutex::new(Held { record, history: None }),
            epoch,
        })
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps other writes under the same lease out.
    pub(super) fn writing(&self) -> Writing<'_> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        Writing { lock: self, held }
    }

    /// The fence: fails unless the lock file is still the one that we locked, and names our epoch.
    fn check(&self, doing: &str) -> Result<(), StoreError> {
        let took_over = |holder: Holder| {
            format!(
                "{} took over with epoch {} (ours is {}), since this process did not renew the lease in time",
                holder.holder, holder.epoch, self.epoch
            )
        };
        let reason = match same_file(&self.file, &self.path) {
            Ok(true) => match read_holder(&self.file) {
                Ok(holder) if holder.epoch == self.epoch => return Ok(()),
                Ok(holder) => took_over(holder),
                Err(reason) => format!("the lock file was written to: {reason}"),
            },
            Ok(false) => match File::open(&self.path).ok().map(|file| read_holder(&file)) {
                Some(Ok(holder)) if holder.epoch > self.epoch => took_over(holder),
                _ => "the lock file was replaced, so that somebody else may hold it".to_owned(),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                "the lock file was removed, so that somebody else may hold it".to_owned()
            }
            Err(error) => format!("the lock file cannot be looked at: {error}"),
        };
        Err(StoreError::new(StoreErrorKind::LeaseLost, doing)
            .at(self.path.display().to_string())
            .because(reason)
            .way_out(
                "nothing was written; see with `keyswap status` how far the rotation is, and go on \
                 with `keyswap resume` if nobody is at it",
            ))
    }
}

impl Drop for Lock {
    /// Not by closing the file alone: a program that another thread starts just now has a copy of it until it runs, and
    /// the lock would stay as long.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// The turn of one write under a lease.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    lock: &'a Lock,
    held: MutexGuard<'a, Held>,
}

impl Writing<'_> {
    /// The end of the history, once this holder has appended to it.
    pub(super) fn history(&self) -> Option<Tail> {
        self.held.history
    }

    pub(super) fn note_history(&mut self, tail: Tail) {
        self.held.history = Some(tail);
    }

    /// Enters the section if the lease is still ours. Until it is left, nobody can take the lease, so
    /// what is written in it is written by the only holder.
    pub(super) fn section(&self, doing: &str) -> Result<Section, StoreError> {
        let directory = self.lock.path.parent().unwrap_or(Path::new("."));
        let section = section::enter(directory, doing)?;
        self.lock.check(doing)?;
        Ok(section)
    }

    /// Puts the end of the lease off, if less than two thirds of its term are left, and says what is
    /// left then.
    ///
    /// A lease whose time is over and that nobody took is as good as before: the process was stopped,
    /// and nobody needed the lease meanwhile.
    pub(super) fn renew(&mut self, doing: &str) -> Result<Duration, StoreError> {
        let lock = self.lock;
        let left = self.held.record.left().unwrap_or(lock.term);
        if left > lock.term / 3 * 2 {
            lock.check(doing)?;
            return Ok(left);
        }
        let section = self.section(doing)?;
        let renewed = self.held.record.clone().renewed(lock.term);
        // Not synced: after a loss of power nobody holds the lease anyway.
        write_holder(&lock.file, &renewed).map_err(|error| io_error(error, &lock.path, doing))?;
        drop(section);
        self.held.record = renewed;
        Ok(self.held.record.left().unwrap_or(lock.term))
    }
}

impl Holder {
    fn renewed(self, term: Duration) -> Self {
        let term = u64::try_from(term.as_millis()).unwrap_or(u64::MAX);
        Self { until_uptime_ms: Some(uptime_ms().saturating_add(term)), ..self }
    }

    /// For how long nobody may take over; `None` without an end.
    fn left(&self) -> Option<Duration> {
        let until = self.until_uptime_ms?;
        Some(Duration::from_millis(until.saturating_sub(uptime_ms())))
    }

    fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// The clock of this host that nobody can set, and that all its processes share: it counts from the
/// start of the machine. After a restart it begins again, and nobody holds a lease then.
fn uptime_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanoseconds) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1000 + nanoseconds / 1_000_000
}

fn same_file(file: &File, path: &Path) -> std::io::Result<bool> {
    let (ours, there) = (file.metadata()?, fs::metadata(path)?);
    Ok(ours.dev() == there.dev() && ours.ino() == there.ino())
}

/// In place, since the lock belongs to this very file. What is left of a longer line stands behind the
/// line end, where nobody reads.
fn write_holder(file: &File, record: &Holder) -> std::io::Result<()> {
    let line = record.line();
    file.write_all_at(&line, 0)?;
    file.set_len(line.len() as u64)
}

fn read_holder(file: &File) -> Result<Holder, String> {
    let mut buffer = [0; 4096];
    let length = file.read_at(&mut buffer, 0).map_err(|error| error.to_string())?;
    let line = buffer[..length].split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

fn held(holder: Option<Holder>, path: &Path, doing: &str) -> StoreError {
    let left = holder.as_ref().and_then(Holder::left);
    let holder = described(holder.as_ref());
    let way_out = match left {
        Some(left) => format!(
            "wait until it ends, or stop it and run `keyswap resume`. If it does not go on any more, \
             that works in {} s",
            left.as_secs() + 1
        ),
        None => "wait until it ends, or stop it and run `keyswap resume`".to_owned(),
    };
    StoreError::new(StoreErrorKind::Held { holder: holder.clone() }, doing)
        .at(path.display().to_string())
        .because(format!("{holder} holds the lease"))
        .way_out(way_out)
}

fn described(holder: Option<&Holder>) -> String {
    let Some(holder) = holder else { return "a process that has just taken it".to_owned() };
    let since = Duration::from_millis(now_ms().saturating_sub(holder.since_ms));
    format!("{} (process {}, for {} s)", holder.holder, holder.process, since.as_secs())
}
