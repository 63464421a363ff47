//! What a program sees of a ring while it is replaced and reordered.

use std::thread;

use keyswap_core::{FallbackPolicy, Revision, Secret, SecretId, SecretList, SecretRing};

fn secret(id: &str) -> Secret {
    Secret::new(id.parse().unwrap(), format!("value-of-{id}")).unwrap()
}

fn list(ids: &[&str]) -> SecretList {
    SecretList::new(ids.iter().map(|id| secret(id))).unwrap()
}

fn id(text: &str) -> SecretId {
    text.parse().unwrap()
}

fn order(ring: &SecretRing) -> Vec<String> {
    ring.snapshot().list().ids().map(ToString::to_string).collect()
}

#[test]
fn the_same_list_again_keeps_the_order_that_was_learnt() {
    let ring = SecretRing::new(list(&["old", "new"]));
    assert!(ring.promote(&id("new"), &id("old")));
    let revision = ring.replace(list(&["old", "new"]));
    assert_eq!(revision, Revision::INITIAL);
    assert_eq!(order(&ring), ["new", "old"]);
}

#[test]
fn a_newer_revision_takes_the_published_order() {
    let ring = SecretRing::new(list(&["old", "new"]));
    assert!(ring.promote(&id("new"), &id("old")));
    assert!(ring.replace_at(list(&["old", "new"]), Revision::new(1)));
    assert_eq!(order(&ring), ["old", "new"]);
}

#[test]
fn a_revision_that_is_not_newer_changes_nothing() {
    let ring = SecretRing::with_policy(list(&["new"]), Revision::new(4), FallbackPolicy::default());
    assert!(!ring.replace_at(list(&["old"]), Revision::new(4)));
    assert!(!ring.replace_at(list(&["old"]), Revision::new(3)));
    assert_eq!(order(&ring), ["new"]);
    assert!(ring.replace_at(list(&["newer"]), Revision::new(5)));
}

#[test]
fn a_promotion_holds_only_while_the_refused_secret_leads() {
    let ring = SecretRing::new(list(&["a", "b", "c"]));
    assert!(ring.promote(&id("b"), &id("a")));
    assert!(!ring.promote(&id("c"), &id("a")), "a does not lead any more");
    assert!(!ring.promote(&id("b"), &id("b")), "b leads already");
    assert!(!ring.promote(&id("gone"), &id("b")));
    assert_eq!(order(&ring), ["b", "a", "c"]);
    assert_eq!(ring.usage().promotions, 1);
    assert_eq!(ring.snapshot().published().preferred().id().as_str(), "a");
}

#[tokio::test]
async fn a_subscriber_hears_of_revisions_and_promotions_and_of_the_end() {
    let ring = SecretRing::new(list(&["a", "b"]));
    let mut changes = ring.subscribe();
    let revision = ring.replace(list(&["b", "a"]));
    assert_eq!(changes.changed().await, Some(revision));
    ring.promote(&id("a"), &id("b"));
    assert_eq!(changes.changed().await, Some(revision));
    drop(ring);
    assert_eq!(changes.changed().await, None);
}

#[test]
fn readers_see_whole_lists_while_writers_replace_and_promote() {
    let ring = SecretRing::new(list(&["a", "b"]));
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let ring = ring.clone();
            thread::spawn(move || {
                for round in 0..2_000 {
                    if writer == 0 {
                        ring.replace(if round % 2 == 0 {
                            list(&["b", "a"])
                        } else {
                            list(&["a", "b"])
                        });
                    } else {
                        ring.promote(&id("b"), &id("a"));
                        ring.promote(&id("a"), &id("b"));
                    }
                }
            })
        })
        .collect();
    let mut last = Revision::INITIAL;
    while !writers.iter().all(thread::JoinHandle::is_finished) {
        let snapshot = ring.snapshot();
        let mut ids: Vec<_> = snapshot.list().ids().map(ToString::to_string).collect();
        ids.sort();
        assert_eq!(ids, ["a", "b"]);
        assert!(snapshot.revision() >= last, "revisions only grow");
        last = snapshot.revision();
    }
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(ring.snapshot().revision(), Revision::new(2_000), "no replacement was undone");
}

#[test]
fn debug_shows_ids_only() {
    let ring = SecretRing::new(list(&["a", "b"]));
    let shown = format!("{ring:?} {:?} {:?}", ring.snapshot(), ring.usage());
    assert!(!shown.contains("value-of"), "{shown}");
}
