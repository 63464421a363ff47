//! The history: a record a key, and a head that names the last one, written in one transaction. The chain is
//! the same as the file store's.

use etcd_client::TxnOp;

use super::fault::Failure;
use super::lease::{Fenced, History, Writing};
use super::place::Place;
use crate::chain::{self, Tail};
use crate::{HistoryEntry, HistoryHead, StoreError, StoreErrorKind};

struct Verified {
    entries: Vec<HistoryEntry>,
    end: History,
}

/// Reads and verifies the whole history. A record that no head names was not written by a rotator: the two
/// come together or not at all.
pub(super) async fn read(place: &Place, doing: &str) -> Result<Vec<HistoryEntry>, StoreError> {
    Ok(verified(place, doing).await?.entries)
}

async fn verified(place: &Place, doing: &str) -> Result<Verified, StoreError> {
    let failed = |failure: Failure| failure.of_read(doing, &place.describe());
    // Again if a record came in between, so that both are of one moment.
    let mut before = place.get(&place.keys.history_head(), None).await.map_err(failed)?.0;
    loop {
        let records = place.all(&place.keys.history()).await.map_err(failed)?;
        let after = place.get(&place.keys.history_head(), None).await.map_err(failed)?.0;
        let revision = |found: &Option<super::place::Found>| {
            found.as_ref().map_or(0, |found| found.mod_revision)
        };
        if revision(&before) != revision(&after) {
            before = after;
            continue;
        }
        let mod_revision = revision(&after);
        let head: Option<HistoryHead> = match &after {
            None => None,
            Some(found) => Some(serde_json::from_slice(&found.value).map_err(|_| {
                broken(place, "its head is none that this version knows".to_owned(), doing)
            })?),
        };
        let mut text = Vec::new();
        for record in &records {
            text.extend_from_slice(&record.value);
            text.push(b'\n');
        }
        let checked = check(&text, head.as_ref());
        let (entries, tail) = checked.map_err(|reason| broken(place, reason, doing))?;
        return Ok(Verified { entries, end: History { tail, mod_revision } });
    }
}

/// The records in a text of one a line, if they are all of those that the head names.
fn check(text: &[u8], head: Option<&HistoryHead>) -> Result<(Vec<HistoryEntry>, Tail), String> {
    let mut entries = Vec::new();
    let keep = |head, record| entries.push(HistoryEntry::new(head, record));
    let tail = chain::verify(text, head, keep)?;
    let covered = head.map_or(0, |head| head.number);
    if tail.number() > covered || text.len() as u64 > tail.length() {
        return Err(format!("line {}: its head does not name it", covered + 1));
    }
    Ok((entries, tail))
}

pub(super) async fn append(
    place: &Place,
    writing: &mut Writing<'_>,
    record: serde_json::Value,
    doing: &str,
) -> Result<HistoryHead, StoreError> {
    let key = place.keys.history_head();
    // What was verified once under a lease stays so: only its holder writes. After a failure it is read
    // again.
    let end = match writing.state.history.take() {
        Some(end) => end,
        None => verified(place, doing).await?.end,
    };
    let invalid = |error| place.invalid(&key, doing).with_source(error);
    let record = serde_json::to_vec(&record).map_err(invalid)?;
    let (line, tail) = chain::after(&end.tail, &record);
    let head = tail.head();
    let value = serde_json::to_vec(&head).map_err(invalid)?;
    let record = TxnOp::put(place.keys.record(head.number), line, None);
    match writing.replace(&key, end.mod_revision, &value, vec![record], doing).await? {
        Fenced::Written(mod_revision) => {
            writing.state.history = Some(History { tail, mod_revision });
            Ok(head)
        }
        Fenced::Changed(_) => Err(place
            .invalid(&key, doing)
            .because("something that does not hold the lease wrote it")
            .way_out(
                "find out what writes below the keys of this client; then run `keyswap resume`",
            )),
    }
}

fn broken(place: &Place, reason: String, doing: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, doing)
        .at(place.at(&place.keys.history()))
        .because(format!("the history was changed: {reason}"))
        .way_out(
            "keep a snapshot of etcd as evidence; restore these keys from a backup, or remove them and the \
             head to begin a new one",
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn history(records: usize) -> (Vec<Vec<u8>>, HistoryHead) {
        let (mut lines, mut tail) = (Vec::new(), Tail::EMPTY);
        for number in 0..records {
            let (line, next) = chain::after(&tail, json!({ "n": number }).to_string().as_bytes());
            lines.push(line);
            tail = next;
        }
        (lines, tail.head())
    }

    fn text(lines: &[Vec<u8>]) -> Vec<u8> {
        lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect()
    }

    #[test]
    fn records_and_their_head_are_a_history() {
        let (lines, head) = history(3);
        let (entries, _) = check(&text(&lines), Some(&head)).unwrap();
        assert_eq!(entries.last().map(|entry| &entry.head), Some(&head));
        assert!(check(b"", None).unwrap().0.is_empty());
    }

    #[test]
    fn what_was_removed_changed_or_added_is_found() {
        let (lines, head) = history(3);
        let changed = [lines[0].clone(), lines[1].replace_last(b'}', b']'), lines[2].clone()];
        for (what, lines, head) in [
            ("the last one is missing", &lines[..2], Some(&head)),
            ("the first one is missing", &lines[1..], Some(&head)),
            ("all are missing", &[], Some(&head)),
            ("the head is missing", &lines[..1], None),
            ("one was changed", &changed, Some(&head)),
        ] {
            assert!(check(&text(lines), head).is_err(), "{what}");
        }
        let (longer, _) = history(4);
        let reason = check(&text(&longer), Some(&head)).unwrap_err();
        assert!(reason.contains("line 4"), "{reason}");
    }

    trait ReplaceLast {
        fn replace_last(&self, from: u8, to: u8) -> Self;
    }

    impl ReplaceLast for Vec<u8> {
        fn replace_last(&self, from: u8, to: u8) -> Self {
            let at = self.iter().rposition(|byte| *byte == from).unwrap();
            let mut changed = self.clone();
            changed[at] = to;
            changed
        }
    }
}
