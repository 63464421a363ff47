//! The history in a file: the lines of its chain, and a head beside them.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::de::{DeserializeOwned, IgnoredAny};

use super::fs::{self, OpenOptions, OpenOptionsExt};
use super::lock::Writing;
use super::permissions::{self, io_error};
use super::replace::{self, Durable};
use crate::chain::{self, Tail};
use crate::{HistoryEntry, HistoryHead, StoreError, StoreErrorKind};

/// How long a rotator may be between a line and its head.
const LONGEST_WRITE: Duration = Duration::from_secs(1);

/// A history that was verified.
#[derive(Debug)]
struct Verified {
    tail: Tail,
    /// The first line that no head covers, if there is one, or a part of one.
    uncovered: Option<u64>,
}

/// Reads and verifies the history of the client whose directory this is.
pub(super) fn read(directory: &Path, doing: &str) -> Result<Vec<HistoryEntry>, StoreError> {
    Ok(read_all(directory, doing)?.0)
}

fn read_all(directory: &Path, doing: &str) -> Result<(Vec<HistoryEntry>, Verified), StoreError> {
    let mut entries = Vec::new();
    let keep = |head, record| entries.push(HistoryEntry::new(head, record));
    let verified = verified(directory, keep, doing)?;
    Ok((entries, verified))
}

/// As [`read`], and what no head covers is refused as well.
pub(super) fn read_strictly(
    directory: &Path,
    doing: &str,
) -> Result<Vec<HistoryEntry>, StoreError> {
    let end = Instant::now() + LONGEST_WRITE;
    loop {
        let (entries, verified) = read_all(directory, doing)?;
        let Some(line) = verified.uncovered else { return Ok(entries) };
        // A rotator may be between the line and its head just now.
        if Instant::now() < end {
            std::thread::sleep(LONGEST_WRITE / 20);
            continue;
        }
        return Err(StoreError::new(StoreErrorKind::Invalid, doing)
            .at(directory.join("history.jsonl").display().to_string())
            .because(format!(
                "line {line}: it is not one that was written to its end: a process that was killed \
                 leaves such a line, or somebody added it"
            ))
            .way_out(
                "look at it; the next step of a rotation (`keyswap resume`, or the next `keyswap \
                 rotate`) puts that in order",
            ));
    }
}

/// Appends one record, the JSON text of one, under the lease, durably.
///
/// The head is durable once its name is, with the next file that is replaced in this directory: the journal,
/// which says the same and is written before anything rests on the record. Until then a loss of power may
/// leave an earlier head, which is as if the process had been killed before the last ones.
pub(super) fn append(
    directory: &Path,
    writing: &mut Writing<'_>,
    record: &[u8],
    doing: &str,
) -> Result<HistoryHead, StoreError> {
    let path = directory.join("history.jsonl");
    let failed = |error| io_error(error, &path, doing);
    let (before, is_named) = end(directory, writing, doing)?;
    let (mut line, tail) = chain::after(&before, record);
    line.push(b'\n');

    let mut file =
        OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(failed)?;
    // What was verified is still so: it was read under the lease, and only its holder writes.
    let _section = writing.section(doing)?;
    if file.metadata().map_err(failed)?.len() > before.length() {
        // A line whose writer was killed, or lost power: nobody was told that it is there. It goes for
        // good before the next one comes, since the two could be mixed by a loss of power.
        file.set_len(before.length()).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    // Without its end it is no line, and the next one takes its place.
    file.write_all(&line).map_err(failed)?;
    file.sync_all()
        .and_then(|()| if is_named { Ok(()) } else { replace::sync_parent(&path) })
        .map_err(|error| unknown(&path, doing).with_source(error))?;
    let head = tail.head();
    let text = serde_json::to_vec(&head).map_err(|error| failed(error.into()))?;
    let target = directory.join("history.head");
    replace::stage(&target, &text, Durable::Contents, doing)
        .and_then(replace::Staged::commit)
        .map_err(|error| unknown(&target, doing).with_source(error))?;
    writing.note_history(tail);
    Ok(head)
}

/// Where the history ends, and whether its name is durable: before there is a head, it is made so. It is read
/// and verified once under a lease, unless it is not as this holder left it.
fn end(directory: &Path, writing: &Writing<'_>, doing: &str) -> Result<(Tail, bool), StoreError> {
    if let Some(tail) = writing.history()
        && read_head(directory, doing)? == Some(tail.head())
        && fs::metadata(directory.join("history.jsonl"))
            .is_ok_and(|metadata| metadata.len() == tail.length())
    {
        return Ok((tail, true));
    }
    let verified = verified(directory, |_, _: IgnoredAny| {}, doing)?;
    let is_named = verified.tail.number() > 0 && verified.uncovered != Some(1);
    Ok((verified.tail, is_named))
}

fn unknown(path: &Path, doing: &str) -> StoreError {
    StoreError::new(StoreErrorKind::OutcomeUnknown, doing)
        .at(path.display().to_string())
        .way_out("look at the disk, then run `keyswap resume`")
}

fn verified<R: DeserializeOwned>(
    directory: &Path,
    keep: impl FnMut(HistoryHead, R),
    doing: &str,
) -> Result<Verified, StoreError> {
    let path = directory.join("history.jsonl");
    // The head first: a record that is appended in between is then one more than it says, not one less.
    let head = read_head(directory, doing)?;
    let text = permissions::read(&path, doing)?.unwrap_or_default();
    let tail =
        chain::verify(&text, head.as_ref(), keep).map_err(|reason| broken(&path, reason, doing))?;
    if tail.number() > 1 && head.is_none() && read_head(directory, doing)?.is_none() {
        return Err(broken(&path, "its head, the file history.head, is missing".to_owned(), doing));
    }
    let covered = head.map_or(0, |head| head.number);
    let is_covered = tail.number() <= covered && text.len() as u64 <= tail.length();
    Ok(Verified { tail, uncovered: (!is_covered).then_some(covered + 1) })
}

fn read_head(directory: &Path, doing: &str) -> Result<Option<HistoryHead>, StoreError> {
    let path = directory.join("history.head");
    let Some(text) = permissions::read(&path, doing)? else { return Ok(None) };
    let head = serde_json::from_slice(&text)
        .map_err(|error| broken(&path, format!("it is not a head: {error}"), doing))?;
    Ok(Some(head))
}

fn broken(path: &Path, reason: String, doing: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, doing)
        .at(path.display().to_string())
        .because(format!("the history was changed: {reason}"))
        .way_out("keep the file as evidence; restore it from a backup, or move it and its head away to begin a new one")
}
