//! Replacing a file so that a crash at any instruction leaves the old contents or the new, never a mix.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::fs::{self, File, OpenOptions, OpenOptionsExt};
use super::permissions::io_error;
use crate::report::random;
use crate::{StoreError, StoreErrorKind};

/// Whether new contents survive a loss of power, or only the end of a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Durable {
    Yes,
    /// Its name is not until another file is replaced in that directory: a loss of power before that leaves
    /// the old contents or the new.
    Contents,
    No,
}

/// New contents beside the file that they will replace. Dropped without [`commit`](Self::commit), it
/// leaves nothing behind.
#[derive(Debug)]
pub(super) struct Staged<'a> {
    temporary: PathBuf,
    target: &'a Path,
    durable: Durable,
    doing: &'a str,
}

/// Writes `contents` into a new file beside `target`, and waits for the disk.
pub(super) fn stage<'a>(
    target: &'a Path,
    contents: &[u8],
    durable: Durable,
    doing: &'a str,
) -> Result<Staged<'a>, StoreError> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let temporary = target.with_file_name(format!(".{name}.{:016x}.tmp", random(doing)?));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(|error| io_error(error, &temporary, doing))?;
    // From here on whatever fails removes the new file.
    let staged = Staged { temporary, target, durable, doing };
    let written = file.write_all(contents).and_then(|()| match durable {
        Durable::Yes | Durable::Contents => file.sync_all(),
        Durable::No => Ok(()),
    });
    written.map_err(|error| io_error(error, &staged.temporary, doing))?;
    Ok(staged)
}

impl Staged<'_> {
    /// Where the new contents are until then.
    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Puts the new contents in place, as durable as was asked for.
    pub(super) fn commit(self) -> Result<(), StoreError> {
        fs::rename(&self.temporary, self.target)
            .map_err(|error| io_error(error, self.target, self.doing))?;
        if self.durable != Durable::Yes {
            return Ok(());
        }
        sync_parent(self.target).map_err(|error| {
            // The new name is visible, and may be gone after a loss of power.
            StoreError::new(StoreErrorKind::OutcomeUnknown, self.doing)
                .at(self.target.display().to_string())
                .because(format!("it was written, and the disk did not confirm it: {error}"))
                .way_out("look at the disk, then run it again")
                .with_source(error)
        })
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        // After a commit there is none of that name.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Waits until the disk has the names in the directory that `path` is in.
pub(super) fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Removes what processes that were killed in the middle of a replacement left in `directory`. Call it
/// only while nobody else can be in the middle of one.
pub(super) fn remove_leftovers(directory: &Path, doing: &str) -> Result<(), StoreError> {
    let entries = fs::read_dir(directory).map_err(|error| io_error(error, directory, doing))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".tmp") {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(io_error(error, &entry.path(), doing));
                }
                _ => {}
            }
        }
    }
    Ok(())
}
