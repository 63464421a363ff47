//! The order in which a program that joins calls its store, which the gate of a rotation stands on; and
//! that a store can be made outside this crate.

mod common;
#[path = "common/recording.rs"]
mod recording;

use common::{Log, eventually, list, store};
use keyswap_core::{FallbackPolicy, Revision, SecretDocument};
use keyswap_store::{SecretStore, join};
use recording::Recording;

#[tokio::test]
async fn a_program_that_joins_registers_then_reads_the_list_then_reports_what_it_holds() {
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let recording = Recording::of(store);
    let (_ring, member) =
        join(recording.clone(), "invoices", FallbackPolicy::default()).await.unwrap();
    assert_eq!(recording.calls(), ["register with None", "read the list"]);
    let member = tokio::spawn(member);
    eventually("the first report", async || {
        recording.calls().contains(&"report 1".to_owned()).then_some(())
    })
    .await;
    member.abort();
}

#[tokio::test]
async fn a_store_that_cannot_be_watched_is_followed_all_the_same_and_warned_of_once() {
    let (log, _guard) = Log::collect();
    let (_directory, store) = store();
    store.import(&list("old")).await.unwrap();
    let recording = Recording::of(store.clone()).unwatchable();
    let (ring, follow) =
        keyswap_store::Follow::start(recording.clone(), FallbackPolicy::default()).await.unwrap();
    let following = tokio::spawn(follow.run());
    let lease = store.acquire("test").await.unwrap();
    store.publish(&lease, Revision::new(1), &list("new"), None).await.unwrap();
    eventually("the poll finds it", async || {
        (ring.snapshot().revision() == Revision::new(2)).then_some(())
    })
    .await;
    assert_eq!(log.count("cannot be watched"), 1, "{}", log.text());
    following.abort();
}

#[tokio::test]
async fn a_list_that_comes_with_the_hint_is_taken_as_it_is_and_an_older_one_is_not() {
    let (log, _guard) = Log::collect();
    let (_directory, store) = store();
    store.import(&list("one")).await.unwrap();
    let recording = Recording::of(store.clone());
    let (ring, follow) =
        keyswap_store::Follow::start(recording.clone(), FallbackPolicy::default()).await.unwrap();
    let following = tokio::spawn(follow.run());
    let after = |call: &str| {
        let calls = recording.calls();
        let at = calls.iter().position(|one| one == call)?;
        calls.get(at + 1).cloned()
    };
    eventually("the first read", async || (recording.calls().len() >= 2).then_some(())).await;
    let lease = store.acquire("test").await.unwrap();
    let document = |revision, ids| SecretDocument {
        revision: Revision::new(revision),
        attest_every: None,
        list: list(ids),
    };

    *recording.sent.lock().unwrap() = Some(document(2, "two"));
    store.publish(&lease, Revision::new(1), &list("two"), None).await.unwrap();
    eventually("what was sent", async || {
        (ring.snapshot().revision() == Revision::new(2)).then_some(())
    })
    .await;
    // A hint that comes behind it, of the same change, tells nothing, and is followed by a read.
    assert!(recording.calls().contains(&"told 2".to_owned()), "{:?}", recording.calls());
    assert_ne!(after("told 2").as_deref(), Some("read the list"), "it was read as well");

    // One that was sent before what is in use, and comes after it.
    *recording.sent.lock().unwrap() = Some(document(1, "one"));
    store.publish(&lease, Revision::new(2), &list("three"), None).await.unwrap();
    eventually("what is there", async || {
        (ring.snapshot().revision() == Revision::new(3)).then_some(())
    })
    .await;
    let then = eventually("what it does about that", async || after("told 1")).await;
    assert_eq!(then, "read the list");
    assert_eq!(log.count("WARN"), 0, "{}", log.text());
    following.abort();
}
