//! Watching the published list. What a watch says are hints, so what counts is that none is missing.

use std::time::Duration;

use keyswap_core::Revision;
use keyswap_store::{Lease, SecretStore, Watch};
use tokio::time::timeout;

use super::{Outcome, Subject, list, published, unexpected};

/// A program that learns of a list later than this is late: a store is looked at every 5 s, or is told to more often.
const LATE: Duration = Duration::from_secs(6);
const BRIEFLY: Duration = Duration::from_millis(50);

/// Waits for hints until the list has this revision.
async fn sees<S: SecretStore>(store: &S, watch: &mut S::Watch, wanted: Revision) -> Outcome {
    let seen = timeout(LATE, async {
        while published(store).await?.revision < wanted {
            watch.changed().await;
        }
        Ok(())
    });
    seen.await.unwrap_or_else(|_| Err(format!("no hint came for revision {wanted}")))
}

async fn next<S: SecretStore>(
    store: &S,
    lease: &Lease,
    over: Revision,
) -> Result<Revision, String> {
    let list = list(&[&format!("after-{over}")]);
    store.publish(lease, over, &list, None).await.map_err(unexpected("publishing"))
}

pub(super) async fn a_watch_tells_of_each_publication<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("watch-each").await?;
    let other = subject.open("watch-each").await;
    let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    let mut watch = other.watch().await.map_err(unexpected("watching"))?;
    let mut revision = Revision::new(1);
    for _ in 0..5 {
        let (published, seen) = tokio::join!(next(&store, &lease, revision), async {
            sees(&other, &mut watch, revision.next()).await
        });
        revision = published?;
        seen?;
    }
    Ok(())
}

pub(super) async fn a_watch_loses_nothing_between_two_looks<S, O>(
    subject: &Subject<'_, O>,
) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("watch-between").await?;
    let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    let mut watch = store.watch().await.map_err(unexpected("watching"))?;
    // Nobody waits at the watch while these come.
    let mut revision = Revision::new(1);
    for _ in 0..3 {
        revision = next(&store, &lease, revision).await?;
    }
    let hint = timeout(LATE, watch.changed()).await;
    hint.map_err(|_| "no hint came for what was published before".to_owned())
}

pub(super) async fn a_watch_that_was_given_up_and_taken_up_loses_nothing<S, O>(
    subject: &Subject<'_, O>,
) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("watch-given-up").await?;
    let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    let mut watch = store.watch().await.map_err(unexpected("watching"))?;
    // A future that is dropped in the middle must not take a hint with it.
    while timeout(BRIEFLY, watch.changed()).await.is_ok() {}
    next(&store, &lease, Revision::new(1)).await?;
    let hint = timeout(LATE, watch.changed()).await;
    hint.map_err(|_| "no hint came after a look that was given up".to_owned())
}
