//! The history: one record a line, each line holding the hash of the one before.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::fs::{File, OpenOptions, OpenOptionsExt};
use super::lock::Writing;
use super::permissions::{self, io_error};
use super::replace::{self, Durable};
use crate::{HistoryEntry, HistoryHead, StoreError, StoreErrorKind};

/// Keeps these hashes apart from every other use of SHA-256.
const DOMAIN: &[u8] = b"keyswap-history-v1\0";
/// What the first line holds for the hash of the line before.
const BEGINNING: [u8; 32] = [0; 32];
/// How long a rotator may be between a line and its head.
const LONGEST_WRITE: Duration = Duration::from_secs(1);

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line {
    number: u64,
    previous: String,
    record: serde_json::Value,
}

/// The lines of a history that was verified, and how many bytes they take.
#[derive(Debug)]
struct Verified {
    entries: Vec<HistoryEntry>,
    length: usize,
    last: [u8; 32],
    /// The first line that no head covers, if there is one, or a part of one.
    uncovered: Option<u64>,
}

/// Reads and verifies the history of the client whose directory this is.
pub(super) fn read(directory: &Path, doing: &str) -> Result<Vec<HistoryEntry>, StoreError> {
    Ok(verified(directory, doing)?.entries)
}

/// As [`read`], and what no head covers is refused as well.
pub(super) fn read_strictly(
    directory: &Path,
    doing: &str,
) -> Result<Vec<HistoryEntry>, StoreError> {
    let end = Instant::now() + LONGEST_WRITE;
    loop {
        let verified = verified(directory, doing)?;
        let Some(line) = verified.uncovered else { return Ok(verified.entries) };
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

/// Appends one record under the lease, durably.
pub(super) fn append(
    directory: &Path,
    writing: &Writing<'_>,
    record: serde_json::Value,
    doing: &str,
) -> Result<HistoryHead, StoreError> {
    let path = directory.join("history.jsonl");
    let failed = |error| io_error(error, &path, doing);
    let before = verified(directory, doing)?;
    let number = before.entries.len() as u64 + 1;
    let line = Line { number, previous: hexadecimal(&before.last), record };
    let mut line = serde_json::to_vec(&line).map_err(|error| failed(error.into()))?;
    let hash = hash(&before.last, &line);
    line.push(b'\n');

    let mut file =
        OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(failed)?;
    // What was verified is still so: it was read under the lease, and only its holder writes.
    let _section = writing.section(doing)?;
    if file.metadata().map_err(failed)?.len() > before.length as u64 {
        // A line whose writer was killed, or lost power: nobody was told that it is there. It goes for
        // good before the next one comes, since the two could be mixed by a loss of power.
        file.set_len(before.length as u64).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    append_line(&mut file, &line, &path, doing)?;
    let head = HistoryHead { number, hash: hexadecimal(&hash) };
    let text = serde_json::to_vec(&head).map_err(|error| failed(error.into()))?;
    let target = directory.join("history.head");
    replace::stage(&target, &text, Durable::Yes, doing)
        .and_then(replace::Staged::commit)
        .map_err(|error| unknown(&target, doing).with_source(error))?;
    Ok(head)
}

fn append_line(file: &mut File, line: &[u8], path: &Path, doing: &str) -> Result<(), StoreError> {
    // Without its end it is no line, and the next one takes its place.
    file.write_all(line).map_err(|error| io_error(error, path, doing))?;
    file.sync_all()
        .and_then(|()| replace::sync_parent(path))
        .map_err(|error| unknown(path, doing).with_source(error))
}

fn unknown(path: &Path, doing: &str) -> StoreError {
    StoreError::new(StoreErrorKind::OutcomeUnknown, doing)
        .at(path.display().to_string())
        .way_out("look at the disk, then run `keyswap resume`")
}

fn verified(directory: &Path, doing: &str) -> Result<Verified, StoreError> {
    let path = directory.join("history.jsonl");
    // The head first: a record that is appended in between is then one more than it says, not one less.
    let head = read_head(directory, doing)?;
    let text = permissions::read(&path, doing)?.unwrap_or_default();
    let mut verified =
        verify(&text, head.as_ref()).map_err(|reason| broken(&path, reason, doing))?;
    let count = verified.entries.len() as u64;
    if let Some(head) = &head
        && head.number > 0
    {
        let at = usize::try_from(head.number - 1).ok().and_then(|at| verified.entries.get(at));
        match at {
            None => {
                let reason = format!("it ends after line {count}, and had {} lines", head.number);
                return Err(broken(&path, reason, doing));
            }
            Some(entry) if entry.head != *head => {
                let reason = format!("line {}: it is not the line that was written", head.number);
                return Err(broken(&path, reason, doing));
            }
            Some(_) => {}
        }
    } else if count > 1 && read_head(directory, doing)?.is_none() {
        return Err(broken(&path, "its head, the file history.head, is missing".to_owned(), doing));
    }
    let covered = head.map_or(0, |head| head.number);
    if count > covered || text.len() > verified.length {
        verified.uncovered = Some(covered + 1);
    }
    Ok(verified)
}

fn read_head(directory: &Path, doing: &str) -> Result<Option<HistoryHead>, StoreError> {
    let path = directory.join("history.head");
    let Some(text) = permissions::read(&path, doing)? else { return Ok(None) };
    let head = serde_json::from_slice(&text)
        .map_err(|error| broken(&path, format!("it is not a head: {error}"), doing))?;
    Ok(Some(head))
}

/// The head names the last of so many lines that were `acknowledged`. One more may be there, and may be torn
/// by a loss of power, even with its end in place and its beginning not: then it is none.
fn verify(text: &[u8], head: Option<&HistoryHead>) -> Result<Verified, String> {
    let acknowledged = head.map_or(0, |head| head.number);
    let mut verified =
        Verified { entries: Vec::new(), length: 0, last: BEGINNING, uncovered: None };
    for raw in text.split_inclusive(|byte| *byte == b'\n') {
        let Some(raw) = raw.strip_suffix(b"\n") else { break };
        let number = verified.entries.len() as u64 + 1;
        let line: Line = match serde_json::from_slice(raw) {
            Ok(line) => line,
            Err(_) if number == acknowledged + 1 && is_last(raw, text) => break,
            Err(error) => {
                // Without serde's text, which may repeat what it found.
                return Err(format!(
                    "line {number}: it is not a record (column {})",
                    error.column()
                ));
            }
        };
        if line.number != number {
            return Err(format!("line {number}: it says that it is record {}", line.number));
        }
        if line.previous != hexadecimal(&verified.last) {
            let rest = &text[verified.length + raw.len() + 1..];
            return Err(which_of_two(number, &line, raw, rest, head));
        }
        verified.last = hash(&verified.last, raw);
        verified.length += raw.len() + 1;
        let head = HistoryHead { number, hash: hexadecimal(&verified.last) };
        verified.entries.push(HistoryEntry::new(head, line.record));
    }
    Ok(verified)
}

/// Which line was changed if this one names another hash for the line before it than that one has: if what
/// follows vouches for this one as it stands, it was the one before.
fn which_of_two(
    number: u64,
    line: &Line,
    raw: &[u8],
    rest: &[u8],
    head: Option<&HistoryHead>,
) -> String {
    let next = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let vouched_for = match serde_json::from_slice::<Line>(next) {
        Ok(next) => Some(next.previous),
        Err(_) => head.filter(|head| head.number == number).map(|head| head.hash.clone()),
    };
    let as_it_stands = bytes(&line.previous).map(|previous| hexadecimal(&hash(&previous, raw)));
    if number > 1 && as_it_stands.is_some() && as_it_stands == vouched_for {
        return format!("line {}: it is not the line that was written", number - 1);
    }
    format!("line {number}: it does not follow the line before it")
}

/// Whether this line of the text is the last of it.
fn is_last(line: &[u8], text: &[u8]) -> bool {
    text.strip_suffix(b"\n").is_some_and(|text| text.as_ptr_range().end == line.as_ptr_range().end)
}

fn broken(path: &Path, reason: String, doing: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, doing)
        .at(path.display().to_string())
        .because(format!("the history was changed: {reason}"))
        .way_out("keep the file as evidence; restore it from a backup, or move it and its head away to begin a new one")
}

/// Over the bytes that were written, never over a second serialization of them.
fn hash(previous: &[u8; 32], line: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(DOMAIN).chain_update(previous).chain_update(line).finalize().into()
}

fn hexadecimal(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The other way round; `None` if it is no hash.
fn bytes(hash: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = hash.as_bytes().chunks_exact(2);
    if hash.len() != 64 {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(digits) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}
