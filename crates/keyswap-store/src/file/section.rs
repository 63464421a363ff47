//! The short section in which the files of a client are written, or its lease changes hands: never both.
//!
//! A process that is stopped (SIGSTOP, a debugger, a frozen container) can stop between its look at the
//! lease and the write that the look allowed. So both happen while the client's directory is locked, and
//! who takes a lease over locks it too. The kernel unlocks it when a process ends, and not while one is
//! stopped: whoever is stopped in here keeps its lease.

use std::path::Path;
use std::time::{Duration, Instant};

use super::fs::{File, TryLockError};
use super::permissions::io_error;
use crate::{StoreError, StoreErrorKind};

/// How long a write waits for its turn: far longer than others take that are not stopped.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The locked directory of a client. Unlocked when this is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Section {
    _directory: File,
}

/// Enters the section for a write under a lease.
pub(super) fn enter(directory: &Path, doing: &str) -> Result<Section, StoreError> {
    enter_within(PATIENCE, directory, doing)?.ok_or_else(|| {
        StoreError::new(StoreErrorKind::Io, doing)
            .at(directory.display().to_string())
            .because("another process that is taking the lease does not go on")
            .way_out(
                "nothing was written; let that process go on, or stop it, and run `keyswap resume`",
            )
    })
}

/// Enters the section unless somebody else stays in it for this long.
///
/// It is looked at again and again, since a wait in the kernel could not be given up.
pub(super) fn enter_within(
    patience: Duration,
    directory: &Path,
    doing: &str,
) -> Result<Option<Section>, StoreError> {
    let failed = |error| io_error(error, directory, doing);
    let file = File::open(directory).map_err(failed)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(Section { _directory: file })),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if began.elapsed() >= patience => return Ok(None),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_EVERY),
        }
    }
}
