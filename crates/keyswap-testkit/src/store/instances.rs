//! The programs that use the client: who lives, and what each last said.

use keyswap_core::UsageReport;
use keyswap_store::{Instance, InstanceReport, SecretStore};
use serde_json::json;

use super::{Outcome, Subject, ensure, eventually, unexpected};

async fn listed<S: SecretStore>(store: &S) -> Result<Vec<Instance>, String> {
    store.instances().await.map_err(unexpected("listing the instances"))
}

async fn find<S: SecretStore>(store: &S, instance: &str) -> Result<Option<Instance>, String> {
    Ok(listed(store).await?.into_iter().find(|one| one.instance == instance))
}

/// What a program with one secret says that it did.
fn usage(revision: u64, accepted: u64) -> UsageReport {
    let secret = json!({ "id": "first", "accepted": accepted, "refused": 0 });
    let report = json!({ "revision": revision, "secrets": [secret], "promotions": 0 });
    serde_json::from_value(report).expect("a usage report as programs write it")
}

pub(super) async fn an_instance_is_live_from_its_registration_on<S, O>(
    subject: &Subject<'_, O>,
) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("registered").await?;
    ensure!(listed(&store).await?.is_empty(), "there are instances before any registered");
    let first = InstanceReport::new("billing", "i-0001");
    let _registration = store.register(&first).await.map_err(unexpected("registering"))?;
    let found = find(&subject.open("registered").await, "i-0001").await?;
    let Some(found) = found else { return Err("another handle does not list it".to_owned()) };
    ensure!(found.live, "it is not live");
    ensure!(found.report.as_ref() == Ok(&first), "its report is {:?}", found.report);
    Ok(())
}

pub(super) async fn a_report_replaces_the_one_before<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("reported").await?;
    let other = subject.open("reported").await;
    let mut report = InstanceReport::new("billing", "i-0001");
    let registration = store.register(&report).await.map_err(unexpected("registering"))?;
    for accepted in 0..4 {
        report = report.next(usage(1, accepted));
        store.report(&registration, &report).await.map_err(unexpected("reporting"))?;
        let found = find(&other, "i-0001").await?.map(|found| found.report);
        ensure!(found.as_ref() == Some(&Ok(report.clone())), "it is read as {found:?}");
    }
    ensure!(listed(&other).await?.len() == 1, "each report made an instance of its own");
    Ok(())
}

pub(super) async fn an_instance_that_leaves_is_not_live<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("left").await?;
    let mut registrations = Vec::new();
    for instance in ["i-leaves", "i-drops", "i-stays"] {
        let report = InstanceReport::new("billing", instance);
        registrations.push(store.register(&report).await.map_err(unexpected("registering"))?);
    }
    let mut registrations = registrations.into_iter();
    let (leaves, drops, _stays) =
        (registrations.next(), registrations.next(), registrations.next());
    if let Some(leaves) = leaves {
        store.unregister(leaves).await.map_err(unexpected("unregistering"))?;
    }
    let gone = find(&store, "i-leaves").await?.is_none_or(|found| !found.live);
    ensure!(gone, "one that was unregistered is live");
    drop(drops);
    eventually("one whose registration was dropped is not live", async || {
        Ok(find(&store, "i-drops").await?.is_none_or(|found| !found.live).then_some(()))
    })
    .await?;
    let stays = find(&store, "i-stays").await?.is_some_and(|found| found.live);
    ensure!(stays, "one that stays went with the others");
    Ok(())
}

pub(super) async fn instances_are_listed_in_the_order_of_their_ids<S, O>(
    subject: &Subject<'_, O>,
) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("ordered").await?;
    let mut registrations = Vec::new();
    for instance in ["i-30", "i-10", "I_2", "i-20"] {
        let report = InstanceReport::new("billing", instance);
        registrations.push(store.register(&report).await.map_err(unexpected("registering"))?);
    }
    let ids: Vec<String> = listed(&store).await?.into_iter().map(|one| one.instance).collect();
    ensure!(ids == ["I_2", "i-10", "i-20", "i-30"], "they are listed as {}", ids.join(", "));
    Ok(())
}

pub(super) async fn an_id_that_is_none_is_refused<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("no-id").await?;
    let too_long = "i".repeat(65);
    for id in ["", "../other", "a/b", "a b", "ä", too_long.as_str()] {
        let taken = store.register(&InstanceReport::new("billing", id)).await;
        ensure!(taken.is_err(), "an instance with the id {id:?} was registered");
    }
    let longest = "i".repeat(64);
    let report = InstanceReport::new("an application: \"ä\"/1", &longest);
    let _registration = store.register(&report).await.map_err(unexpected("registering"))?;
    let ids: Vec<String> = listed(&store).await?.into_iter().map(|one| one.instance).collect();
    ensure!(ids == [longest], "they are listed as {}", ids.join(", "));
    Ok(())
}
