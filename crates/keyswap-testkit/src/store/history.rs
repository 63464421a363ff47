//! The history: a chain that only grows.

use std::sync::Arc;

use keyswap_store::SecretStore;
use serde_json::{Value, json};

use super::{Outcome, Subject, ensure, unexpected};

pub(super) async fn records_come_back_in_order<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("history").await?;
    let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    let records = [
        json!({ "state": "staged", "text": "two\nlines, \"quotes\", \u{1f511}" }),
        json!({ "state": "staged", "text": "two\nlines, \"quotes\", \u{1f511}" }),
        json!({ "z": 1, "a": [null, true, 1.5], "large": u64::MAX, "nested": { "b": {} } }),
    ];
    let mut heads = Vec::new();
    for record in &records {
        let head = store.append_history(&lease, record).await;
        heads.push(head.map_err(unexpected("appending"))?);
    }
    for (position, head) in heads.iter().enumerate() {
        ensure!(head.number == position as u64 + 1, "record {position} has number {}", head.number);
        let again = heads[..position].iter().any(|before| before.hash == head.hash);
        ensure!(!again, "two records have one hash, so the chain does not cover what came before");
    }
    let other = subject.open("history").await;
    let history = other.history().await.map_err(unexpected("reading the history"))?;
    let verified = other.verify_history().await.map_err(unexpected("verifying the history"))?;
    ensure!(history == verified, "verifying reads other records");
    let found: Vec<&Value> = history.iter().map(|entry| &entry.record).collect();
    ensure!(found == records.iter().collect::<Vec<_>>(), "other records came back");
    let found: Vec<_> = history.into_iter().map(|entry| entry.head).collect();
    ensure!(found == heads, "they come back with other heads than they were appended with");
    Ok(())
}

pub(super) async fn a_history_outlives_its_lease<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    for number in 1..=3_u64 {
        let store = match number {
            1 => subject.with_list("outlives").await?,
            _ => subject.open("outlives").await,
        };
        let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
        let head = store.append_history(&lease, &json!({ "number": number })).await;
        let head = head.map_err(unexpected("appending"))?;
        ensure!(head.number == number, "record {number} got number {}", head.number);
        store.release(lease).await.map_err(unexpected("giving the lease back"))?;
    }
    Ok(())
}

pub(super) async fn of_concurrent_records_none_is_lost<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("concurrent").await?;
    let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    let lease = Arc::new(lease);
    let append = |number: u64| {
        let (store, lease) = (store.clone(), Arc::clone(&lease));
        tokio::spawn(
            async move { store.append_history(&lease, &json!({ "number": number })).await },
        )
    };
    let appended: Vec<_> = (0..8).map(append).collect();
    let mut taken = 0;
    for one in appended {
        match one.await.map_err(|error| error.to_string())? {
            Ok(_) => taken += 1,
            // It may say that another one was first, and must not say that it was taken.
            Err(error) => ensure!(!error.is_lease_lost(), "{error}"),
        }
    }
    let history = store.verify_history().await.map_err(unexpected("verifying the history"))?;
    ensure!(history.len() == taken, "{taken} were taken, and {} are there", history.len());
    ensure!(taken > 0, "none was taken");
    Ok(())
}
