//! The history: one record a line, each line holding the hash of the one before.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use sha2::{Digest, Sha256};

use super::fs::{self, OpenOptions, OpenOptionsExt};
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

/// What is kept of the record is up to who reads it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<R> {
    number: u64,
    previous: String,
    record: R,
}

/// A history that was verified.
#[derive(Debug)]
struct Verified {
    tail: Tail,
    /// The first line that no head covers, if there is one, or a part of one.
    uncovered: Option<u64>,
}

/// Where a history ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tail {
    number: u64,
    hash: [u8; 32],
    /// How many bytes its lines take.
    length: u64,
}

impl Tail {
    const EMPTY: Self = Self { number: 0, hash: BEGINNING, length: 0 };

    fn head(&self) -> HistoryHead {
        HistoryHead { number: self.number, hash: hexadecimal(&self.hash) }
    }
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
    let number = before.number + 1;
    let previous = hexadecimal(&before.hash);
    let mut line =
        format!("{{\"number\":{number},\"previous\":\"{previous}\",\"record\":").into_bytes();
    line.reserve_exact(record.len() + 2);
    line.extend_from_slice(record);
    line.push(b'}');
    let hash = hash(&before.hash, &line);
    line.push(b'\n');

    let mut file =
        OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(failed)?;
    // What was verified is still so: it was read under the lease, and only its holder writes.
    let _section = writing.section(doing)?;
    if file.metadata().map_err(failed)?.len() > before.length {
        // A line whose writer was killed, or lost power: nobody was told that it is there. It goes for
        // good before the next one comes, since the two could be mixed by a loss of power.
        file.set_len(before.length).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    // Without its end it is no line, and the next one takes its place.
    file.write_all(&line).map_err(failed)?;
    file.sync_all()
        .and_then(|()| if is_named { Ok(()) } else { replace::sync_parent(&path) })
        .map_err(|error| unknown(&path, doing).with_source(error))?;
    let tail = Tail { number, hash, length: before.length + line.len() as u64 };
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
            .is_ok_and(|metadata| metadata.len() == tail.length)
    {
        return Ok((tail, true));
    }
    let verified = verified(directory, |_, _: IgnoredAny| {}, doing)?;
    let is_named = verified.tail.number > 0 && verified.uncovered != Some(1);
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
    let tail = verify(&text, head.as_ref(), keep).map_err(|reason| broken(&path, reason, doing))?;
    if tail.number > 1 && head.is_none() && read_head(directory, doing)?.is_none() {
        return Err(broken(&path, "its head, the file history.head, is missing".to_owned(), doing));
    }
    let covered = head.map_or(0, |head| head.number);
    let is_covered = tail.number <= covered && text.len() as u64 <= tail.length;
    Ok(Verified { tail, uncovered: (!is_covered).then_some(covered + 1) })
}

fn read_head(directory: &Path, doing: &str) -> Result<Option<HistoryHead>, StoreError> {
    let path = directory.join("history.head");
    let Some(text) = permissions::read(&path, doing)? else { return Ok(None) };
    let head = serde_json::from_slice(&text)
        .map_err(|error| broken(&path, format!("it is not a head: {error}"), doing))?;
    Ok(Some(head))
}

/// The head names the last of so many lines that were `acknowledged`. More may be there, and the last of them
/// may be torn by a loss of power, even with its end in place and its beginning not: then it is none.
fn verify<R: DeserializeOwned>(
    text: &[u8],
    head: Option<&HistoryHead>,
    mut keep: impl FnMut(HistoryHead, R),
) -> Result<Tail, String> {
    let acknowledged = head.map_or(0, |head| head.number);
    let mut tail = Tail::EMPTY;
    let mut rest = text;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let raw = &rest[..end];
        rest = &rest[end + 1..];
        let number = tail.number + 1;
        let line: Line<R> = match serde_json::from_slice(raw) {
            Ok(line) => line,
            Err(_) if number > acknowledged && rest.is_empty() => break,
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
        if line.previous != hexadecimal(&tail.hash) {
            return Err(which_of_two(number, &line.previous, raw, rest, head));
        }
        let length = tail.length + raw.len() as u64 + 1;
        tail = Tail { number, hash: hash(&tail.hash, raw), length };
        let found = tail.head();
        if head.is_some_and(|head| head.number == number && *head != found) {
            return Err(format!("line {number}: it is not the line that was written"));
        }
        keep(found, line.record);
    }
    match tail.number {
        count if count < acknowledged => {
            Err(format!("it ends after line {count}, and had {acknowledged} lines"))
        }
        _ => Ok(tail),
    }
}

/// Which line was changed if this one names another hash for the line before it than that one has: if what
/// follows vouches for this one as it stands, it was the one before.
fn which_of_two(
    number: u64,
    previous: &str,
    raw: &[u8],
    rest: &[u8],
    head: Option<&HistoryHead>,
) -> String {
    let next = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let vouched_for = match serde_json::from_slice::<Line<IgnoredAny>>(next) {
        Ok(next) => Some(next.previous),
        Err(_) => head.filter(|head| head.number == number).map(|head| head.hash.clone()),
    };
    let as_it_stands = bytes(previous).map(|previous| hexadecimal(&hash(&previous, raw)));
    if number > 1 && as_it_stands.is_some() && as_it_stands == vouched_for {
        return format!("line {}: it is not the line that was written", number - 1);
    }
    format!("line {number}: it does not follow the line before it")
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
