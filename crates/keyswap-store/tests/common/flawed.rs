//! A file store with one flaw: what the suite of rules has to find.

#![allow(unreachable_pub, reason = "a module of a test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyswap_core::{Revision, Secret, SecretDocument, SecretList};
use keyswap_store::{
    FileStore, FileWatch, HistoryEntry, HistoryHead, Hold, Instance, InstanceReport, Lease,
    Registration, SecretStore, StoreError, StoreErrorKind, Watch,
};
use serde_json::Value;

/// One thing that a store might do wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flaw {
    ImportsAgain,
    PublishesOverAnyRevision,
    ForgetsHowOftenToAttest,
    ReadsFromACache,
    TrimsValues,
    GivesNoHints,
    LosesHints,
    NamesNoHolder,
    KeepsOnlyBetweenWrites,
    TakesALostLeaseBack,
    WritesWithoutALease,
    CutsJournals,
    KeepsHoldsToItself,
    RegistersAsDead,
    ForgetsReports,
    ListsBackwards,
    TakesAnyId,
    ReadsHistoryBackwards,
    ForgetsRecords,
}

#[derive(Clone, Debug)]
pub struct FlawedStore {
    inner: FileStore,
    flaw: Flaw,
    kept: Arc<Mutex<Kept>>,
    writing: Arc<tokio::sync::Mutex<()>>,
}

/// What this handle keeps to itself.
#[derive(Debug, Default)]
struct Kept {
    document: Option<SecretDocument>,
    hold: Option<Hold>,
}

impl FlawedStore {
    pub fn new(inner: FileStore, flaw: Flaw) -> Self {
        Self { inner, flaw, kept: Arc::default(), writing: Arc::default() }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }
}

pub struct FlawedWatch {
    inner: FileWatch,
    flaw: Flaw,
}

impl Watch for FlawedWatch {
    async fn changed(&mut self) {
        match self.flaw {
            Flaw::GivesNoHints => std::future::pending().await,
            Flaw::LosesHints => {
                // What came before this call is taken for old news.
                let old_news = Duration::from_millis(300);
                let _ = tokio::time::timeout(old_news, self.inner.changed()).await;
                std::future::pending().await
            }
            _ => self.inner.changed().await,
        }
    }
}

impl SecretStore for FlawedStore {
    type Watch = FlawedWatch;

    keyswap_store::forward!(self => self.inner; client, describe, journal, release, unregister, verify_history);

    async fn published(&self) -> Result<Option<SecretDocument>, StoreError> {
        if self.has(Flaw::ReadsFromACache)
            && let Some(document) = self.kept.lock().unwrap().document.clone()
        {
            return Ok(Some(document));
        }
        let mut document = self.inner.published().await?;
        if self.has(Flaw::TrimsValues)
            && let Some(document) = &mut document
        {
            let trimmed = document.list.iter().map(|secret| {
                let value = secret.expose().trim();
                let value = if value.is_empty() { "empty" } else { value };
                Secret::new(secret.id().clone(), value).unwrap()
            });
            document.list = SecretList::new(trimmed).unwrap();
        }
        self.kept.lock().unwrap().document.clone_from(&document);
        Ok(document)
    }

    async fn import(&self, list: &SecretList) -> Result<Revision, StoreError> {
        match self.inner.import(list).await {
            Err(error) if error.is_already_exists() && self.has(Flaw::ImportsAgain) => {
                Ok(Revision::new(1))
            }
            imported => imported,
        }
    }

    async fn publish(
        &self,
        lease: &Lease,
        expected: Revision,
        list: &SecretList,
        attest_every: Option<Duration>,
    ) -> Result<Revision, StoreError> {
        let attest_every = attest_every.filter(|_| !self.has(Flaw::ForgetsHowOftenToAttest));
        let published = self.inner.publish(lease, expected, list, attest_every).await;
        match published {
            Err(error) if self.has(Flaw::PublishesOverAnyRevision) => match *error.kind() {
                StoreErrorKind::Conflict { found, .. } => {
                    self.inner.publish(lease, found, list, attest_every).await
                }
                _ => Err(error),
            },
            Err(error) if error.is_lease_lost() && self.has(Flaw::TakesALostLeaseBack) => {
                Ok(expected.next())
            }
            published => published,
        }
    }

    async fn watch(&self) -> Result<FlawedWatch, StoreError> {
        Ok(FlawedWatch { inner: self.inner.watch().await?, flaw: self.flaw })
    }

    async fn save_journal(&self, lease: &Lease, document: &[u8]) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        if self.has(Flaw::KeepsOnlyBetweenWrites) {
            // A write that is done by the first look at it keeps nobody waiting, and the flaw would not show.
            tokio::task::yield_now().await;
        }
        let document = match self.has(Flaw::CutsJournals) {
            true => &document[..document.len().min(1_500_000)],
            false => document,
        };
        match self.inner.save_journal(lease, document).await {
            Err(error) if error.is_lease_lost() && self.has(Flaw::WritesWithoutALease) => {
                let own = self.inner.acquire("anybody").await?;
                self.inner.save_journal(&own, document).await
            }
            saved => saved,
        }
    }

    async fn acquire(&self, holder: &str) -> Result<Lease, StoreError> {
        self.inner.acquire(if self.has(Flaw::NamesNoHolder) { "somebody" } else { holder }).await
    }

    async fn renew(&self, lease: &Lease) -> Result<Duration, StoreError> {
        if self.has(Flaw::KeepsOnlyBetweenWrites) {
            let _writing = self.writing.lock().await;
        }
        self.inner.renew(lease).await
    }

    async fn register(&self, report: &InstanceReport) -> Result<Registration, StoreError> {
        match self.inner.register(report).await {
            Err(_) if self.has(Flaw::TakesAnyId) => {
                Ok(Registration::new(report.instance.clone(), Arc::new(())))
            }
            registered => registered,
        }
    }

    async fn report(
        &self,
        registration: &Registration,
        report: &InstanceReport,
    ) -> Result<(), StoreError> {
        match self.has(Flaw::ForgetsReports) {
            true => Ok(()),
            false => self.inner.report(registration, report).await,
        }
    }

    async fn instances(&self) -> Result<Vec<Instance>, StoreError> {
        let mut instances = self.inner.instances().await?;
        if self.has(Flaw::ListsBackwards) {
            instances.reverse();
        }
        if self.has(Flaw::RegistersAsDead) {
            instances.iter_mut().for_each(|instance| instance.live = false);
        }
        Ok(instances)
    }

    async fn hold(&self) -> Result<Option<Hold>, StoreError> {
        match self.has(Flaw::KeepsHoldsToItself) {
            true => Ok(self.kept.lock().unwrap().hold.clone()),
            false => self.inner.hold().await,
        }
    }

    async fn set_hold(&self, hold: Option<&Hold>) -> Result<(), StoreError> {
        if self.has(Flaw::KeepsHoldsToItself) {
            self.kept.lock().unwrap().hold = hold.cloned();
            return Ok(());
        }
        self.inner.set_hold(hold).await
    }

    async fn append_history(
        &self,
        lease: &Lease,
        record: &Value,
    ) -> Result<HistoryHead, StoreError> {
        if self.has(Flaw::ForgetsRecords) && record["number"].as_u64().is_some_and(|n| n % 2 == 0) {
            let number = record["number"].as_u64().unwrap_or_default();
            return Ok(HistoryHead { number, hash: "0".repeat(64) });
        }
        self.inner.append_history(lease, record).await
    }

    async fn history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        let mut history = self.inner.history().await?;
        if self.has(Flaw::ReadsHistoryBackwards) {
            history.reverse();
        }
        Ok(history)
    }
}
