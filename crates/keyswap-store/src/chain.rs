//! The chain of a history, whatever it is kept in: one record a line, each line holding the hash of the
//! one before.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use sha2::{Digest, Sha256};

use crate::HistoryHead;

/// Keeps these hashes apart from every other use of SHA-256.
const DOMAIN: &[u8] = b"keyswap-history-v1\0";
/// What the first line holds for the hash of the line before.
const BEGINNING: [u8; 32] = [0; 32];

/// What is kept of the record is up to who reads it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<R> {
    number: u64,
    previous: String,
    record: R,
}

/// Where a history ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tail {
    number: u64,
    hash: [u8; 32],
    length: u64,
}

impl Tail {
    pub(crate) const EMPTY: Self = Self { number: 0, hash: BEGINNING, length: 0 };

    /// How many lines there are.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes they take, each with its end.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn head(&self) -> HistoryHead {
        HistoryHead { number: self.number, hash: hexadecimal(&self.hash) }
    }
}

/// The line of a record, the JSON text of one, that comes behind this end, without its own end; and where
/// the history ends with it.
pub(crate) fn after(before: &Tail, record: &[u8]) -> (Vec<u8>, Tail) {
    let number = before.number + 1;
    let previous = hexadecimal(&before.hash);
    let mut line =
        format!("{{\"number\":{number},\"previous\":\"{previous}\",\"record\":").into_bytes();
    line.reserve_exact(record.len() + 2);
    line.extend_from_slice(record);
    line.push(b'}');
    let (hash, length) = (hash(&before.hash, &line), before.length + line.len() as u64 + 1);
    (line, Tail { number, hash, length })
}

/// The head names the last of so many lines that were `acknowledged`. More may be there, and the last of them
/// may be torn by a loss of power, even with its end in place and its beginning not: then it is none.
pub(crate) fn verify<R: DeserializeOwned>(
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
