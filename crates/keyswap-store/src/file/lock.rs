//! The rotator's lease: a lock that the kernel takes back when the process ends, and a number that
//! grows with each holder.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fs::{self, File, FileExt, MetadataExt, OpenOptions, OpenOptionsExt, TryLockError};
use super::permissions::{check_file, io_error};
use super::replace;
use crate::report::now_ms;
use crate::{StoreError, StoreErrorKind};

/// A held lock. The kernel lets it go when this is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
    epoch: u64,
    /// Held during each write, so that one whose caller gave up does not run into the next.
    writing: Mutex<()>,
}

/// What the lock file says, on one line.
#[derive(Deserialize, Serialize)]
struct Holder {
    epoch: u64,
    holder: String,
    process: u32,
    since_ms: u64,
}

impl Lock {
    /// Takes the lock without waiting.
    pub(super) fn acquire(path: &Path, holder: &str, doing: &str) -> Result<Self, StoreError> {
        let failed = |error| io_error(error, path, doing);
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
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held(&file, path, doing)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            if !same_file(&file, path).map_err(failed)? {
                continue;
            }
            return Self::enter(file, path, holder, doing);
        }
        Err(StoreError::new(StoreErrorKind::Io, doing)
            .at(path.display().to_string())
            .because("the lock file is being replaced all the time")
            .way_out("find the process that does so; nothing of keyswap replaces it"))
    }

    fn enter(file: File, path: &Path, holder: &str, doing: &str) -> Result<Self, StoreError> {
        let failed = |error| io_error(error, path, doing);
        let epoch = match read_holder(&file) {
            Ok(before) => before.epoch + 1,
            Err(_) if file.metadata().map_err(failed)?.len() == 0 => 1,
            // A loss of power may have torn the line. Seconds since 1970 are above every count.
            Err(_) => now_ms() / 1000,
        };
        let record = Holder {
            epoch,
            holder: holder.to_owned(),
            process: std::process::id(),
            since_ms: now_ms(),
        };
        let mut line = serde_json::to_vec(&record).unwrap_or_default();
        line.push(b'\n');
        // In place, since the lock belongs to this very file. What is left of a longer line stands
        // behind the line end, where nobody reads.
        file.write_all_at(&line, 0).map_err(failed)?;
        file.set_len(line.len() as u64).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        replace::sync_parent(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, epoch, writing: Mutex::new(()) })
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps other writes under the same lease out.
    pub(super) fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fence: fails unless the lock file is still the one that we locked, and names our epoch.
    pub(super) fn check(&self, doing: &str) -> Result<(), StoreError> {
        let reason = match same_file(&self.file, &self.path) {
            Ok(true) => match read_holder(&self.file) {
                Ok(holder) if holder.epoch == self.epoch => return Ok(()),
                Ok(holder) => format!(
                    "{} took over with epoch {} (ours is {})",
                    holder.holder, holder.epoch, self.epoch
                ),
                Err(reason) => format!("the lock file was written to: {reason}"),
            },
            Ok(false) => "the lock file was replaced, so that somebody else may hold it".to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                "the lock file was removed, so that somebody else may hold it".to_owned()
            }
            Err(error) => format!("the lock file cannot be looked at: {error}"),
        };
        Err(StoreError::new(StoreErrorKind::LeaseLost, doing)
            .at(self.path.display().to_string())
            .because(reason)
            .way_out("nothing was written; find out who did that, then run `keyswap resume`"))
    }
}

fn same_file(file: &File, path: &Path) -> std::io::Result<bool> {
    let (ours, there) = (file.metadata()?, fs::metadata(path)?);
    Ok(ours.dev() == there.dev() && ours.ino() == there.ino())
}

fn read_holder(file: &File) -> Result<Holder, String> {
    let mut buffer = [0; 4096];
    let length = file.read_at(&mut buffer, 0).map_err(|error| error.to_string())?;
    let line = buffer[..length].split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

fn held(file: &File, path: &Path, doing: &str) -> StoreError {
    let holder = match read_holder(file) {
        Ok(holder) => {
            let since = Duration::from_millis(now_ms().saturating_sub(holder.since_ms));
            format!("{} (process {}, for {} s)", holder.holder, holder.process, since.as_secs())
        }
        Err(_) => "a process that has just taken it".to_owned(),
    };
    StoreError::new(StoreErrorKind::Held { holder: holder.clone() }, doing)
        .at(path.display().to_string())
        .because(format!("{holder} holds the lease"))
        .way_out("wait until it ends, or stop it and run `keyswap resume`")
}
