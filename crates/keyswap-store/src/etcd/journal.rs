//! The journal: under one key while it is small, and in parts above that, since etcd refuses requests of
//! more than 1.5 MiB.
//!
//! The key `journal` begins with a line that says how many parts there are, and where. One transaction puts
//! it in place of the one before, and removes the parts that it does not name. Parts that a crash left
//! behind go with the next save. A reader reads all of it as it was at one revision.

use etcd_client::{DeleteOptions, TxnOp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::fault::{Failure, Fault};
use super::keys::end_of;
use super::lease::{Fenced, Writing};
use super::place::{Found, Place};
use crate::{StoreError, StoreErrorKind};

const VERSION: u64 = 1;
/// Well below what etcd takes in one request.
const LARGEST_PART: usize = 512 << 10;

/// The first line.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Head {
    keyswap: u64,
    /// How many parts follow elsewhere; 0: the journal stands behind this line.
    parts: usize,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    generation: String,
    bytes: usize,
    /// Of the whole journal, so that parts of two are never taken for one.
    sha256: String,
}

impl Head {
    fn of(
        document: &[u8],
        generation: impl FnOnce() -> Result<u64, StoreError>,
    ) -> Result<Self, StoreError> {
        let small = document.len() <= LARGEST_PART;
        Ok(Self {
            keyswap: VERSION,
            parts: if small { 0 } else { document.len().div_ceil(LARGEST_PART) },
            generation: if small { String::new() } else { format!("{:016x}", generation()?) },
            bytes: document.len(),
            sha256: digest(document),
        })
    }

    fn is_of(&self, document: &[u8]) -> bool {
        self.bytes == document.len() && self.sha256 == digest(document)
    }
}

fn digest(document: &[u8]) -> String {
    Sha256::digest(document).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands under the key: the line, and the journal itself if it is small.
fn written(head: &Head, document: &[u8]) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let line = serde_json::to_vec(head)?;
    let behind = if head.parts == 0 { document } else { &[] };
    let mut value = Zeroizing::new(Vec::with_capacity(line.len() + 1 + behind.len()));
    value.extend_from_slice(&line);
    value.push(b'\n');
    value.extend_from_slice(behind);
    Ok(value)
}

/// The other way round.
fn parse(value: &[u8]) -> Result<(Head, &[u8]), String> {
    let end = value.iter().position(|byte| *byte == b'\n').ok_or("it has no first line")?;
    // Without serde's text, which may repeat what it found.
    let head: Head =
        serde_json::from_slice(&value[..end]).map_err(|_| "its first line is not one of ours")?;
    match head.keyswap {
        VERSION => Ok((head, &value[end + 1..])),
        other => Err(format!("it is of version {other}, and {VERSION} is known here")),
    }
}

pub(super) async fn save(
    place: &Place,
    writing: &mut Writing<'_>,
    document: &[u8],
    doing: &str,
) -> Result<(), StoreError> {
    let key = place.keys.journal();
    let failed = |failure: Failure| failure.of_read(doing, &place.describe());
    // After a failure it is not known any more.
    let expected = match writing.state.journal.take() {
        Some(expected) => expected,
        None => {
            place.get(&key, None).await.map_err(failed)?.0.map_or(0, |found| found.mod_revision)
        }
    };
    let head = Head::of(document, || crate::report::random(doing))?;
    for (number, part) in document.chunks(LARGEST_PART).take(head.parts).enumerate() {
        let key = place.keys.journal_part(&head.generation, number);
        writing.write(TxnOp::put(key, part, None), doing).await?;
    }
    let value =
        written(&head, document).map_err(|error| place.invalid(&key, doing).with_source(error))?;
    let written = writing.replace(&key, expected, &value, other_parts(place, &head), doing).await?;
    match written {
        Fenced::Written(revision) => {
            writing.state.journal = Some(revision);
            Ok(())
        }
        Fenced::Changed(_) => Err(place
            .invalid(&key, doing)
            .because("something that does not hold the lease wrote it")
            .way_out(
                "find out what writes below the keys of this client; then run `keyswap resume`",
            )),
    }
}

/// Removes all parts but those of this journal.
fn other_parts(place: &Place, head: &Head) -> Vec<TxnOp> {
    let parts = place.keys.journal_parts();
    let end = end_of(&parts);
    let remove =
        |from: String, to: String| TxnOp::delete(from, Some(DeleteOptions::new().with_range(to)));
    if head.parts == 0 {
        return vec![remove(parts, end)];
    }
    let own = place.keys.journal_parts_of(&head.generation);
    let own_end = end_of(&own);
    vec![remove(parts, own), remove(own_end, end)]
}

pub(super) async fn read(
    place: &Place,
    doing: &str,
) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let key = place.keys.journal();
    let failed = |failure: Failure| failure.of_read(doing, &place.describe());
    let refuse = |reason: String| {
        place
            .invalid(&key, doing)
            .because(reason)
            .way_out("restore it from a backup of etcd; nothing was changed")
    };
    // The revision that it is read at may be compacted away meanwhile.
    for _ in 0..3 {
        let (found, revision) = place.get(&key, None).await.map_err(failed)?;
        let Some(Found { value, .. }) = found else { return Ok(None) };
        let (head, behind) = parse(&value).map_err(refuse)?;
        let mut document = Zeroizing::new(Vec::with_capacity(head.bytes.min(64 << 20)));
        document.extend_from_slice(behind);
        match read_parts(place, &head, revision, &mut document).await {
            Err(Failure { fault: Fault::Compacted, .. }) => continue,
            done => done.map_err(failed)?,
        }
        return match head.is_of(&document) {
            true => Ok(Some(document)),
            false => Err(refuse("its parts do not make what was written".to_owned())),
        };
    }
    Err(StoreError::new(StoreErrorKind::Io, doing)
        .at(place.at(&key))
        .because("etcd is compacted faster than it can be read")
        .way_out("let etcd keep its history for some minutes"))
}

/// Adds the parts to the document. One that is missing shows when the whole is looked at.
async fn read_parts(
    place: &Place,
    head: &Head,
    revision: i64,
    document: &mut Zeroizing<Vec<u8>>,
) -> Result<(), Failure> {
    for number in 0..head.parts {
        let key = place.keys.journal_part(&head.generation, number);
        let (part, _) = place.get(&key, Some(revision)).await?;
        document.extend_from_slice(&part.map(|part| part.value).unwrap_or_default());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(document: &[u8]) -> Head {
        Head::of(document, || Ok(0x1a)).unwrap()
    }

    #[test]
    fn a_journal_is_cut_where_etcd_would_refuse_it() {
        let document = vec![7; LARGEST_PART];
        assert_eq!(head(&document).parts, 0);
        let document = vec![7; 2 * LARGEST_PART + 1];
        let head = head(&document);
        assert_eq!((head.parts, head.generation.as_str()), (3, "000000000000001a"));
        assert!(written(&head, &document).unwrap().len() < 300);
    }

    #[test]
    fn parts_of_two_journals_are_not_one() {
        let (one, other) = (vec![1; LARGEST_PART + 1], vec![2; LARGEST_PART + 1]);
        let mixed = [&one[..LARGEST_PART], &other[LARGEST_PART..]].concat();
        assert!(head(&one).is_of(&one) && !head(&one).is_of(&mixed));
        assert!(!head(&one).is_of(&one[..LARGEST_PART]));
    }

    proptest! {
        #[test]
        fn a_small_journal_comes_back(document in any::<Vec<u8>>()) {
            let head = head(&document);
            let value = written(&head, &document).unwrap();
            let (found, behind) = parse(&value).unwrap();
            prop_assert_eq!(behind, document.as_slice());
            prop_assert_eq!(found, head);
        }

        #[test]
        fn what_is_no_journal_is_refused_and_not_repeated(value in any::<Vec<u8>>()) {
            if let Err(reason) = parse(&value) {
                prop_assert!(reason.starts_with("it"), "{reason}");
            }
        }
    }
}
