//! The history shows every change to it, and forgives a crash.

mod common;

use std::path::PathBuf;

use common::{store, write_private};
use keyswap_store::{FileStore, SecretStore, StoreErrorKind};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

async fn store_with_three_records() -> (TempDir, FileStore, PathBuf) {
    let (directory, store) = store();
    let lease = store.acquire("test").await.unwrap();
    for state in ["staged", "cut over", "retired"] {
        store.append_history(&lease, &json!({ "state": state })).await.unwrap();
    }
    let path = store.client_directory().join("history.jsonl");
    (directory, store, path)
}

/// The error of reading, which appending gives as well.
async fn broken(store: &FileStore) -> String {
    let error = store.history().await.unwrap_err();
    assert_eq!(*error.kind(), StoreErrorKind::Invalid);
    let lease = store.acquire("test").await.unwrap();
    let appended = store.append_history(&lease, &json!({})).await.unwrap_err();
    assert_eq!(*appended.kind(), StoreErrorKind::Invalid);
    error.to_string()
}

#[tokio::test]
async fn records_come_back_in_order_with_the_heads_that_appending_gave() {
    let (_directory, store) = store();
    let lease = store.acquire("test").await.unwrap();
    let first = store.append_history(&lease, &json!({"n": 1, "text": "a\nb"})).await.unwrap();
    let second = store.append_history(&lease, &json!({"n": 2})).await.unwrap();
    assert_eq!((first.number, second.number), (1, 2));
    assert_ne!(first.hash, second.hash);
    let history = store.history().await.unwrap();
    assert_eq!(history[0].head, first);
    assert_eq!(history[1].head, second);
    assert_eq!(history[0].record, json!({"n": 1, "text": "a\nb"}));
    assert_eq!(history.len(), 2);
}

#[tokio::test]
async fn the_hash_is_the_documented_one() {
    use sha2::{Digest, Sha256};
    let (_directory, store, path) = store_with_three_records().await;
    let mut hash = [0; 32];
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let mut input = b"keyswap-history-v1\0".to_vec();
        input.extend(hash);
        input.extend(line.as_bytes());
        hash = Sha256::digest(input).into();
    }
    let expected: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(store.history().await.unwrap()[2].head.hash, expected);
}

#[tokio::test]
async fn a_changed_record_is_named() {
    let (_directory, store, path) = store_with_three_records().await;
    let good = std::fs::read_to_string(&path).unwrap();
    write_private(&path, good.replace("cut over", "cut open"));
    let error = broken(&store).await;
    assert!(error.contains("line 2: it is not the line that was written"), "{error}");
    assert!(error.contains("history.jsonl"), "{error}");
    let second: serde_json::Value = serde_json::from_str(good.lines().nth(1).unwrap()).unwrap();
    let previous = second["previous"].as_str().unwrap();
    write_private(&path, good.replace(previous, &previous.replace('a', "b")));
    let error = broken(&store).await;
    assert!(error.contains("line 2: it does not follow the line before it"), "{error}");
    write_private(&path, good.replace("retired", "retried"));
    let error = broken(&store).await;
    assert!(error.contains("line 3: it is not the line that was written"), "{error}");
    write_private(&path, good);
    assert_eq!(store.history().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_removed_a_moved_and_a_foreign_line_are_named() {
    let (_directory, store, path) = store_with_three_records().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let cases = [
        (format!("{}\n{}\n", lines[0], lines[2]), "line 2: it says that it is record 3"),
        (format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]), "line 1: it says"),
        (format!("{}\nhunter2\n{}\n", lines[0], lines[2]), "line 2: it is not a record"),
        (format!("{}\n\n{}\n{}\n", lines[0], lines[1], lines[2]), "line 2: it is not a record"),
    ];
    for (text, reason) in cases {
        write_private(&path, text);
        let error = broken(&store).await;
        assert!(error.contains(reason) && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_history_that_was_cut_off_is_told_from_a_short_one() {
    let (_directory, store, path) = store_with_three_records().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let two: String = text.split_inclusive('\n').take(2).collect();
    for cut in ["", &two, &text[..text.len() - 1]] {
        write_private(&path, cut);
        let error = broken(&store).await;
        assert!(error.contains("and had 3 lines"), "{error}");
    }
    std::fs::remove_file(store.client_directory().join("history.head")).unwrap();
    write_private(&path, text);
    assert!(broken(&store).await.contains("history.head, is missing"));
}

#[tokio::test]
async fn the_end_of_a_line_whose_writer_was_killed_is_dropped_and_overwritten() {
    let (_directory, store, path) = store_with_three_records().await;
    let whole = std::fs::read_to_string(&path).unwrap();
    write_private(&path, format!("{whole}{{\"number\":4,\"previous\":\"0123"));
    assert_eq!(store.history().await.unwrap().len(), 3);

    let lease = store.acquire("test").await.unwrap();
    let head = store.append_history(&lease, &json!({"state": "resumed"})).await.unwrap();
    assert_eq!(head.number, 4);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(&whole), "what was written before stays");
    assert_eq!(text.lines().count(), 4);
    assert_eq!(store.history().await.unwrap()[3].record, json!({"state": "resumed"}));
}

#[tokio::test]
async fn a_crash_between_a_line_and_its_head_costs_nothing() {
    let (_directory, store, _) = store_with_three_records().await;
    let head = store.client_directory().join("history.head");
    let behind = std::fs::read_to_string(&head).unwrap();
    let lease = store.acquire("test").await.unwrap();
    store.append_history(&lease, &json!({"n": 4})).await.unwrap();
    write_private(&head, behind);
    assert_eq!(store.history().await.unwrap().len(), 4);
    assert_eq!(store.append_history(&lease, &json!({"n": 5})).await.unwrap().number, 5);
}

#[tokio::test]
async fn what_is_done_to_a_history_while_a_rotator_appends_to_it_shows_as_well() {
    let (_directory, store, path) = store_with_three_records().await;
    let head = store.client_directory().join("history.head");
    let lease = store.acquire("test").await.unwrap();
    let append = async |n: u64| store.append_history(&lease, &json!({ "n": n })).await;
    append(4).await.unwrap();
    let (four, four_head) = (std::fs::read(&path).unwrap(), std::fs::read(&head).unwrap());
    append(5).await.unwrap();
    let (five, five_head) = (std::fs::read(&path).unwrap(), std::fs::read(&head).unwrap());

    write_private(&path, &four);
    assert!(append(6).await.unwrap_err().to_string().contains("and had 5 lines"));
    write_private(&path, &five);
    std::fs::remove_file(&head).unwrap();
    assert!(append(6).await.unwrap_err().to_string().contains("history.head, is missing"));
    // Both of an earlier time: who reads the journal sees that it is not the end.
    write_private(&path, &four);
    write_private(&head, four_head);
    assert_eq!(append(5).await.unwrap().number, 5);
    assert_eq!(std::fs::read(&path).unwrap(), five);
    assert_eq!(std::fs::read(&head).unwrap(), five_head);

    let text = String::from_utf8(five).unwrap();
    write_private(&path, format!("{text}{{\"number\":6}}\n"));
    assert_eq!(append(6).await.unwrap().number, 6);
    assert_eq!(store.verify_history().await.unwrap().len(), 6);
    // What is as long as before is not read again by who appends, and named to whoever verifies.
    let text = std::fs::read_to_string(&path).unwrap();
    write_private(&path, text.replace("cut over", "cut open"));
    append(7).await.unwrap();
    let error = store.verify_history().await.unwrap_err().to_string();
    assert!(error.contains("line 2: it is not the line that was written"), "{error}");
}

/// What somebody does to the lines of a history.
#[derive(Clone, Debug)]
enum Tampering {
    Flip { at: prop::sample::Index, bit: u8 },
    Drop(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Repeat(prop::sample::Index),
    Insert(prop::sample::Index, String),
    CutOff(prop::sample::Index),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (index(), 0..8u8).prop_map(|(at, bit)| Tampering::Flip { at, bit }),
        2 => index().prop_map(Tampering::Drop),
        2 => (index(), index()).prop_map(|(one, other)| Tampering::Swap(one, other)),
        2 => index().prop_map(Tampering::Repeat),
        2 => (index(), "[a-z{}\":]{0,9}").prop_map(|(at, text)| Tampering::Insert(at, text)),
        2 => index().prop_map(Tampering::CutOff),
    ]
}

/// The text after that, and the number of the first line that is wrong in it.
fn tampered(text: &[u8], tampering: &Tampering) -> (Vec<u8>, usize) {
    let mut lines: Vec<_> =
        text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let line_of = |at: usize| text[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let count = lines.len();
    let wrong = match tampering {
        Tampering::Flip { at, bit } => {
            let at = at.index(text.len());
            let mut text = text.to_vec();
            text[at] ^= 1 << bit;
            return (text, line_of(at));
        }
        Tampering::CutOff(at) => {
            let at = at.index(text.len());
            return (text[..at].to_vec(), line_of(at));
        }
        Tampering::Drop(line) => {
            lines.remove(line.index(count));
            line.index(count)
        }
        Tampering::Swap(one, other) => {
            lines.swap(one.index(count), other.index(count));
            one.index(count).min(other.index(count))
        }
        Tampering::Repeat(line) => {
            lines.insert(line.index(count), lines[line.index(count)].clone());
            line.index(count) + 1
        }
        Tampering::Insert(line, text) => {
            let line = line.index(count + 1);
            lines.insert(line, format!("{text}\n").into_bytes());
            line
        }
    };
    (lines.concat(), wrong + 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_to_a_history_shows_and_the_first_wrong_line_is_named(
        tampering in tampering(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_directory, store, path) = store_with_three_records().await;
            assert_eq!(store.verify_history().await.unwrap().len(), 3);
            let before = std::fs::read(&path).unwrap();
            let (after, wrong) = tampered(&before, &tampering);
            write_private(&path, &after);
            if after == before {
                return Ok(());
            }
            let Err(error) = store.verify_history().await else {
                return Err(TestCaseError::fail("nothing was noticed"));
            };
            prop_assert_eq!(error.kind(), &StoreErrorKind::Invalid);
            let error = error.to_string();
            let named = error.contains(&format!("line {wrong}: "))
                || error.contains(&format!("it ends after line {},", wrong - 1));
            prop_assert!(named, "{} is wrong: {}", wrong, error);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_a_writer_that_was_killed_left_is_forgiven_and_yet_named_to_whoever_verifies() {
    let (_directory, store, path) = store_with_three_records().await;
    let head = store.client_directory().join("history.head");
    let behind = std::fs::read_to_string(&head).unwrap();
    let whole = std::fs::read_to_string(&path).unwrap();
    let lease = store.acquire("test").await.unwrap();
    store.append_history(&lease, &json!({"n": 4})).await.unwrap();
    write_private(&head, behind);
    let named = "line 4: it is not one that was written to its end";
    assert_eq!(store.history().await.unwrap().len(), 4);
    assert!(store.verify_history().await.unwrap_err().to_string().contains(named));
    write_private(&path, format!("{whole}{{\"number\":4"));
    assert_eq!(store.history().await.unwrap().len(), 3);
    let error = store.verify_history().await.unwrap_err().to_string();
    assert!(error.contains(named) && error.contains("`keyswap resume`"), "{error}");
    store.append_history(&lease, &json!({"n": 4})).await.unwrap();
    assert_eq!(store.verify_history().await.unwrap().len(), 4);
}
