//! What the files of a store must look like before they are trusted, and clear errors for what does not.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::fs::{self, DirBuilder, DirBuilderExt, File, Metadata, MetadataExt, PermissionsExt};
use crate::{StoreError, StoreErrorKind};

/// No document of ours comes near this; a larger file is not one.
const LARGEST: u64 = 64 << 20;

/// Refuses a directory that is missing, is not one, belongs to another user, or that others can look
/// into.
pub(super) fn check_directory(path: &Path, doing: &str) -> Result<(), StoreError> {
    let metadata = fs::metadata(path).map_err(|error| io_error(error, path, doing))?;
    if !metadata.is_dir() {
        return Err(StoreError::new(StoreErrorKind::Invalid, doing)
            .at(path.display().to_string())
            .because("it is not a directory")
            .way_out("name a directory, or move the file out of the way"));
    }
    check_access(path, &metadata, "700", doing)
}

/// Makes a directory with mode 0700, unless it is there; then it is checked.
pub(super) fn make_directory(path: &Path, doing: &str) -> Result<(), StoreError> {
    // The process's umask may take rights away and cannot add any.
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                let sync = File::open(parent).and_then(|directory| directory.sync_all());
                sync.map_err(|error| io_error(error, parent, doing))?;
            }
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => check_directory(path, doing),
        Err(error) => Err(io_error(error, path, doing)),
    }
}

/// Refuses what is not a regular file of ours that others cannot read.
pub(super) fn check_file(path: &Path, metadata: &Metadata, doing: &str) -> Result<(), StoreError> {
    check_regular(path, metadata, doing)?;
    check_access(path, metadata, "600", doing)
}

fn check_regular(path: &Path, metadata: &Metadata, doing: &str) -> Result<(), StoreError> {
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a directory" } else { "not a regular file" };
        return Err(StoreError::new(StoreErrorKind::Invalid, doing)
            .at(path.display().to_string())
            .because(format!("it is {what}; a file is expected here"))
            .way_out("move it out of the way"));
    }
    Ok(())
}

fn check_access(
    path: &Path,
    metadata: &Metadata,
    wanted: &str,
    doing: &str,
) -> Result<(), StoreError> {
    let refuse = |reason: String, way_out: String| {
        Err(StoreError::new(StoreErrorKind::Permissions, doing)
            .at(path.display().to_string())
            .because(reason)
            .way_out(way_out))
    };
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return refuse(
            format!("it belongs to user {}, and this process runs as user {user}", metadata.uid()),
            format!("run as its owner, or: chown {user} {}", path.display()),
        );
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return refuse(
            format!("its group or others can get at it (mode {mode:o}), and it is about secrets"),
            format!("chmod {wanted} {}", path.display()),
        );
    }
    Ok(())
}

/// Reads a file that only we can read; `None` if it is not there. The buffer is wiped when dropped.
pub(super) fn read(path: &Path, doing: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    // Before it is opened: opening a pipe would wait for its other end.
    match fs::metadata(path) {
        Ok(metadata) => check_file(path, &metadata, doing)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error, path, doing)),
    }
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error, path, doing)),
    };
    // Again, since another file may have taken its place.
    let metadata = file.metadata().map_err(|error| io_error(error, path, doing))?;
    check_file(path, &metadata, doing)?;
    read_all(&mut file, metadata.len(), path, doing).map(Some)
}

fn read_all(
    file: &mut File,
    length: u64,
    path: &Path,
    doing: &str,
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    if length > LARGEST {
        return Err(StoreError::new(StoreErrorKind::Invalid, doing)
            .at(path.display().to_string())
            .because(format!("it has {length} bytes, far more than keyswap writes"))
            .way_out("move it out of the way, and restore it from a backup"));
    }
    // Room beyond the end, since a buffer that grows leaves a copy behind.
    let capacity = usize::try_from(length).unwrap_or(0) + 256;
    let mut contents = Zeroizing::new(Vec::with_capacity(capacity));
    let read = file.take(LARGEST).read_to_end(&mut contents);
    read.map_err(|error| io_error(error, path, doing))?;
    Ok(contents)
}

/// An error of the operating system, with what a person can do about it.
pub(super) fn io_error(error: io::Error, path: &Path, doing: &str) -> StoreError {
    let shown = path.display().to_string();
    let (kind, way_out) = match error.kind() {
        ErrorKind::NotFound => (
            StoreErrorKind::NotFound,
            format!("make it (mkdir -m 700 {shown}), or correct the path in the configuration"),
        ),
        ErrorKind::PermissionDenied => (
            StoreErrorKind::Permissions,
            format!(
                "run as the owner of {shown}, or give this user the right to read and write it"
            ),
        ),
        ErrorKind::ReadOnlyFilesystem => (
            StoreErrorKind::Permissions,
            "put the store on a file system that can be written".into(),
        ),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            (StoreErrorKind::Io, "make room on that file system and run it again".to_owned())
        }
        ErrorKind::IsADirectory | ErrorKind::NotADirectory => {
            (StoreErrorKind::Invalid, format!("move what is in the way of {shown}"))
        }
        _ => {
            (StoreErrorKind::Io, "look at the disk and the system's log, then run it again".into())
        }
    };
    StoreError::new(kind, doing).at(shown).with_source(error).way_out(way_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_of_the_operating_system_says_what_to_do() {
        let path = Path::new("/var/lib/keyswap/ring.json");
        let cases = [
            (ErrorKind::NotFound, StoreErrorKind::NotFound, "mkdir -m 700 /var/lib/keyswap"),
            (ErrorKind::PermissionDenied, StoreErrorKind::Permissions, "run as the owner of"),
            (ErrorKind::ReadOnlyFilesystem, StoreErrorKind::Permissions, "that can be written"),
            (ErrorKind::StorageFull, StoreErrorKind::Io, "make room"),
            (ErrorKind::IsADirectory, StoreErrorKind::Invalid, "move what is in the way"),
            (ErrorKind::Other, StoreErrorKind::Io, "look at the disk"),
        ];
        for (kind, expected, way_out) in cases {
            let error = io_error(kind.into(), path, "publish the list of client billing");
            assert_eq!(*error.kind(), expected);
            let text = error.to_string();
            assert!(text.starts_with("cannot publish the list of client billing: /var/"), "{text}");
            assert!(text.contains(way_out), "{text}");
            assert!(text.contains(&kind.to_string()), "the system's own words: {text}");
        }
    }
}
