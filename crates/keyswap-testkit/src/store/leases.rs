//! The rotator's lease, and what needs it: the journal. And the hold, which does not.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use keyswap_core::Revision;
use keyswap_store::{Hold, Lease, SecretStore, StoreError, StoreErrorKind};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::{Outcome, PATIENCE, Subject, ensure, eventually, list, published, unexpected};

/// Takes the lease as soon as it can be had.
async fn taken_over<S: SecretStore>(store: &S, holder: &str) -> Result<Lease, String> {
    eventually("the lease of another one ends", async || match store.acquire(holder).await {
        Ok(lease) => Ok(Some(lease)),
        Err(error) if error.is_held() => Ok(None),
        Err(error) => Err(format!("taking the lease failed: {error}")),
    })
    .await
}

pub(super) async fn a_lease_is_held_by_one_and_names_its_holder<S, O>(
    subject: &Subject<'_, O>,
) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.open("held-by-one").await;
    let other = subject.open("held-by-one").await;
    let mut first = store.acquire("the-first-one").await.map_err(unexpected("taking the lease"))?;
    for (who, handle) in [("another handle", &other), ("the same handle", &store)] {
        let error = loop {
            let asked = Instant::now();
            let certain = store.renew(&first).await.map_err(unexpected("keeping the lease"))?;
            let second = match handle.acquire("the-second-one").await {
                Ok(second) => second,
                Err(error) => break error,
            };
            ensure!(asked.elapsed() >= certain / 2, "{who} took it as well");
            // Whether a machine was too slow to keep it, only the holder can say.
            match store.renew(&first).await {
                Ok(_) => return Err(format!("{who} took it as well")),
                Err(error) => ensure!(error.is_lease_lost(), "{error}"),
            }
            drop(second);
            first = taken_over(&store, "the-first-one").await?;
        };
        match error.kind() {
            StoreErrorKind::Held { holder } => {
                ensure!(holder.contains("the-first-one"), "the holder is not named: {error}");
            }
            _ => return Err(format!("{who} is told: {error}")),
        }
    }
    let epoch = first.epoch();
    store.release(first).await.map_err(unexpected("giving the lease back"))?;
    let second = taken_over(&other, "the-second-one").await?;
    ensure!(second.epoch() > epoch, "epoch {} follows {epoch}", second.epoch());
    Ok(())
}

pub(super) async fn a_lease_that_is_dropped_is_free<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.open("dropped").await;
    let first = store.acquire("the-first-one").await.map_err(unexpected("taking the lease"))?;
    let epoch = first.epoch();
    drop(first);
    let second = taken_over(&subject.open("dropped").await, "the-second-one").await?;
    ensure!(second.epoch() > epoch, "epoch {} follows {epoch}", second.epoch());
    Ok(())
}

pub(super) async fn a_lease_that_is_renewed_stays<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("renewed").await?;
    let other = subject.open("renewed").await;
    for _ in 0..3 {
        let lease = taken_over(&store, "the-first-one").await?;
        if is_kept(&store, &other, &lease).await? {
            return Ok(());
        }
        // Only a machine that is too slow loses it so, which does not happen again and again.
    }
    Err("a lease that is renewed is lost, or certain for no time".to_owned())
}

/// Whether the lease was there for three times as long as it would last by itself, since it was renewed. That it was not
/// is no fault yet; that two hold it is one.
async fn is_kept<S: SecretStore>(store: &S, other: &S, lease: &Lease) -> Result<bool, String> {
    for _ in 0..12 {
        let certain = match store.renew(lease).await {
            Err(error) if error.is_lease_lost() => return Ok(false),
            renewed => renewed.map_err(unexpected("keeping the lease"))?,
        };
        // Once, the machine was too slow. Where no lease is ever certain for any time, three in a row are the fault.
        if certain.is_zero() {
            return Ok(false);
        }
        sleep(certain / 4).await;
        match other.acquire("the-second-one").await {
            // Whether a machine was too slow to keep it, only the holder can say.
            Ok(_second) => match store.renew(lease).await {
                Ok(_) => return Err("two hold it".to_owned()),
                Err(error) => {
                    ensure!(error.is_lease_lost(), "{error}");
                    return Ok(false);
                }
            },
            Err(error) => ensure!(error.is_held(), "{error}"),
        }
    }
    match store.publish(lease, Revision::new(1), &list(&["second"]), None).await {
        Err(error) if error.is_lease_lost() => Ok(false),
        published => {
            published.map_err(unexpected("publishing with a lease that was kept"))?;
            Ok(true)
        }
    }
}

/// A rotator keeps its lease beside whatever it does, and may not look at a write while it waits for that.
pub(super) async fn a_lease_is_kept_while_a_write_is_left_alone<S, O>(
    subject: &Subject<'_, O>,
) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.open("left-alone").await;
    let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    let document = vec![b' '; 1_000_000];
    let mut write = pin!(store.save_journal(&lease, &document));
    let begun = poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await;
    let kept = timeout(PATIENCE / 2, store.renew(&lease)).await;
    let kept = kept.map_err(|_| "keeping it waits for a write that nobody looks at".to_owned())?;
    kept.map_err(unexpected("keeping the lease"))?;
    let written = match begun {
        Poll::Ready(written) => written,
        Poll::Pending => write.await,
    };
    written.map_err(unexpected("saving the journal"))
}

pub(super) async fn a_lease_that_was_lost_writes_nothing<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("lost").await?;
    let lost = store.acquire("the-first-one").await.map_err(unexpected("taking the lease"))?;
    store.save_journal(&lost, b"of the first").await.map_err(unexpected("saving the journal"))?;
    // The first one lives and does not go on. The journal of whoever takes over must stay.
    let other = subject.open("lost").await;
    let held = taken_over(&other, "the-second-one").await?;
    ensure!(held.epoch() > lost.epoch(), "epoch {} follows {}", held.epoch(), lost.epoch());
    other.save_journal(&held, b"of the second").await.map_err(unexpected("saving the journal"))?;

    refused("publishing", store.publish(&lost, Revision::new(1), &list(&["late"]), None).await)?;
    refused("saving the journal", store.save_journal(&lost, b"late").await)?;
    refused("appending", store.append_history(&lost, &json!({ "late": true })).await)?;
    refused("keeping it", store.renew(&lost).await)?;

    let document = published(&other).await?;
    ensure!(document.list == list(&["first"]), "the list was changed by the one that lost it");
    let journal = other.journal().await.map_err(unexpected("reading the journal"))?;
    let stays = journal.is_some_and(|journal| journal.as_slice() == b"of the second");
    ensure!(stays, "the journal was changed by the one that lost the lease");
    let history = other.history().await.map_err(unexpected("reading the history"))?;
    ensure!(history.is_empty(), "the history was changed by the one that lost the lease");

    // Giving a lost lease back takes nothing from whoever has it now.
    let _ = store.release(lost).await;
    other.renew(&held).await.map_err(unexpected("keeping the lease that was taken over"))?;
    let next = other.publish(&held, Revision::new(1), &list(&["second"]), None).await;
    next.map(drop).map_err(unexpected("publishing with the lease that was taken over"))
}

fn refused<T>(what: &str, done: Result<T, StoreError>) -> Outcome {
    match done {
        Ok(_) => Err(format!("{what} with a lost lease was taken")),
        Err(error) => {
            ensure!(error.is_lease_lost(), "{what} with a lost lease: {error}");
            Ok(())
        }
    }
}

pub(super) async fn a_lease_of_another_client_writes_nothing<S, O>(
    subject: &Subject<'_, O>,
) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("of-this-client").await?;
    let other = subject.with_list("of-another-client").await?;
    let lease = other.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    refused("publishing", store.publish(&lease, Revision::new(1), &list(&["b"]), None).await)?;
    refused("saving the journal", store.save_journal(&lease, b"of another").await)?;
    let journal = store.journal().await.map_err(unexpected("reading the journal"))?;
    ensure!(journal.is_none(), "the journal was written");
    ensure!(published(&store).await?.list == list(&["first"]), "the list was changed");
    Ok(())
}

pub(super) async fn a_journal_comes_back_byte_by_byte<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.open("journal").await;
    let none = store.journal().await.map_err(unexpected("reading the journal"))?;
    ensure!(none.is_none(), "a journal is there before any was saved");
    let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    let every_byte: Vec<u8> = (0..=255).collect();
    for document in [every_byte.as_slice(), b"shorter", b"{}\n"] {
        let saved = store.save_journal(&lease, document).await;
        saved.map_err(unexpected("saving the journal"))?;
        let found = store.journal().await.map_err(unexpected("reading the journal"))?;
        let found = found.map(|found| found.to_vec());
        ensure!(found.as_deref() == Some(document), "other bytes came back");
    }
    drop(lease);
    let found = subject.open("journal").await.journal().await;
    let found = found.map_err(unexpected("reading the journal"))?;
    ensure!(found.is_some(), "it went with its lease");
    Ok(())
}

/// The journal of a rotation names each instance with what it attested.
pub(super) async fn a_large_journal_comes_back<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.open("large-journal").await;
    let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    // What 10,000 instances come to.
    let large: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    for document in [large.as_slice(), &large[1..3_000_000], b"small again"] {
        let saved = keeping(&store, &lease, store.save_journal(&lease, document)).await?;
        saved.map_err(unexpected("saving a journal of 4 MB"))?;
        let found = keeping(&store, &lease, store.journal()).await?;
        let found = found.map_err(unexpected("reading the journal"))?;
        ensure!(found.is_some_and(|found| found.as_slice() == document), "other bytes came back");
    }
    Ok(())
}

/// Does this and renews the lease beside it, as a rotator does: it may take longer than the lease lasts.
async fn keeping<S: SecretStore, T>(
    store: &S,
    lease: &Lease,
    act: impl Future<Output = T>,
) -> Result<T, String> {
    let mut act = pin!(act);
    loop {
        let certain = store.renew(lease).await.map_err(unexpected("keeping the lease"))?;
        if let Ok(done) = timeout(certain / 2, act.as_mut()).await {
            return Ok(done);
        }
    }
}

pub(super) async fn a_hold_is_seen_by_everybody_and_needs_no_lease<S, O>(
    subject: &Subject<'_, O>,
) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("hold").await?;
    let other = subject.open("hold").await;
    let _lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    let first = Hold::new("a person", "a release freeze: \"until Monday\"", 1_000, Some(2_000));
    let second = Hold::new("another person", "an incident", 1_500, None);
    for hold in [None, Some(&first), Some(&second), None] {
        other.set_hold(hold).await.map_err(unexpected("putting a hold"))?;
        let found = store.hold().await.map_err(unexpected("reading the hold"))?;
        ensure!(found.as_ref() == hold, "{found:?} was found in place of {hold:?}");
    }
    Ok(())
}
