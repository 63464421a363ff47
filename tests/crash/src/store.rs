//! A store whose process may die around each write.

use std::time::Duration;

use keyswap_core::{Revision, SecretDocument, SecretList};
use keyswap_store::{
    HistoryEntry, HistoryHead, Hold, Instance, InstanceReport, Lease, Registration, SecretStore,
    StoreError,
};
use zeroize::Zeroizing;

use crate::{Act, Fate};

/// The store inside, and the moments before and after each write of the rotator.
#[derive(Clone, Debug)]
pub struct DyingStore<S> {
    inner: S,
    fate: Fate,
}

impl<S> DyingStore<S> {
    /// Around this store.
    pub fn new(inner: S, fate: Fate) -> Self {
        Self { inner, fate }
    }
}

impl<S: SecretStore> SecretStore for DyingStore<S> {
    type Watch = S::Watch;

    fn client(&self) -> &str {
        self.inner.client()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn published(&self) -> Result<Option<SecretDocument>, StoreError> {
        self.inner.published().await
    }

    async fn import(&self, list: &SecretList) -> Result<Revision, StoreError> {
        self.inner.import(list).await
    }

    async fn publish(
        &self,
        lease: &Lease,
        expected: Revision,
        list: &SecretList,
        attest_every: Option<Duration>,
    ) -> Result<Revision, StoreError> {
        let publish = self.inner.publish(lease, expected, list, attest_every);
        self.fate.around(Act::Publish, publish).await
    }

    async fn watch(&self) -> Result<S::Watch, StoreError> {
        self.inner.watch().await
    }

    async fn journal(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.inner.journal().await
    }

    async fn save_journal(&self, lease: &Lease, document: &[u8]) -> Result<(), StoreError> {
        self.fate.around(Act::SaveJournal, self.inner.save_journal(lease, document)).await
    }

    async fn acquire(&self, holder: &str) -> Result<Lease, StoreError> {
        self.fate.around(Act::Acquire, self.inner.acquire(holder)).await
    }

    async fn renew(&self, lease: &Lease) -> Result<Duration, StoreError> {
        self.inner.renew(lease).await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.fate.around(Act::Release, self.inner.release(lease)).await
    }

    async fn register(&self, report: &InstanceReport) -> Result<Registration, StoreError> {
        self.inner.register(report).await
    }

    async fn report(
        &self,
        registration: &Registration,
        report: &InstanceReport,
    ) -> Result<(), StoreError> {
        self.inner.report(registration, report).await
    }

    async fn unregister(&self, registration: Registration) -> Result<(), StoreError> {
        self.inner.unregister(registration).await
    }

    async fn instances(&self) -> Result<Vec<Instance>, StoreError> {
        self.inner.instances().await
    }

    async fn hold(&self) -> Result<Option<Hold>, StoreError> {
        self.inner.hold().await
    }

    async fn set_hold(&self, hold: Option<&Hold>) -> Result<(), StoreError> {
        self.inner.set_hold(hold).await
    }

    async fn append_history(
        &self,
        lease: &Lease,
        record: &serde_json::Value,
    ) -> Result<HistoryHead, StoreError> {
        self.fate.around(Act::AppendHistory, self.inner.append_history(lease, record)).await
    }

    async fn history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        self.inner.history().await
    }

    async fn verify_history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        self.inner.verify_history().await
    }
}
