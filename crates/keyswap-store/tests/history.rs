//! The history shows every change to it, and forgives a crash.

mod common;

use std::path::PathBuf;

use common::{store, write_private};
use keyswap_store::{FileStore, SecretStore, StoreErrorKind};
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
async fn a_changed_record_is_named_by_the_line_after_it_or_by_the_head() {
    let (_directory, store, path) = store_with_three_records().await;
    let good = std::fs::read_to_string(&path).unwrap();
    write_private(&path, good.replace("cut over", "cut open"));
    let error = broken(&store).await;
    assert!(error.contains("line 3: the line before it is not the one"), "{error}");
    assert!(error.contains("history.jsonl"), "{error}");
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
