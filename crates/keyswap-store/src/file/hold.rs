//! The hold on a client's rotations: a small file that is written without the lease, so that it can be put
//! while a rotator is at work.

use std::io::ErrorKind;
use std::path::Path;

use super::permissions::{self, io_error};
use super::replace::{self, Durable};
use super::{fs, lock::Lock, place::Place};
use crate::{Hold, StoreError, written};

/// A hold that cannot be read is an error and never none.
pub(super) fn read(path: &Path, doing: &str) -> Result<Option<Hold>, StoreError> {
    let Some(text) = permissions::read(path, doing)? else { return Ok(None) };
    written::parse_hold(&text)
        .map(Some)
        .map_err(|reason| reason.into_error(doing).at(path.display().to_string()))
}

pub(super) fn write(place: &Place, hold: Option<&Hold>, doing: &str) -> Result<(), StoreError> {
    place.make(doing)?;
    let path = place.hold();
    // Whoever takes the lease removes what looks left over, in a section like this one.
    let _section = Lock::section(&place.directory, &place.lock(), doing)?;
    let Some(hold) = hold else {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(error, &path, doing)),
            _ => replace::sync_parent(&path).map_err(|error| io_error(error, &path, doing)),
        };
    };
    let text = written::hold(hold).map_err(|error| io_error(error.into(), &path, doing))?;
    replace::stage(&path, &text, Durable::Yes, doing)?.commit()
}
