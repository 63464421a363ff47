//! A store whose process may die around each write.

use std::time::Duration;

use keyswap_core::{Revision, SecretList};
use keyswap_store::{HistoryHead, Lease, SecretStore, StoreError};

use super::{Act, Fate};

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

    keyswap_store::forward!(self => self.inner; client, describe, published, import, watch, journal, renew, register, report, unregister, instances, hold, set_hold, history, verify_history);

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

    async fn save_journal(&self, lease: &Lease, document: &[u8]) -> Result<(), StoreError> {
        self.fate.around(Act::SaveJournal, self.inner.save_journal(lease, document)).await
    }

    async fn acquire(&self, holder: &str) -> Result<Lease, StoreError> {
        self.fate.around(Act::Acquire, self.inner.acquire(holder)).await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.fate.around(Act::Release, self.inner.release(lease)).await
    }

    async fn append_history(
        &self,
        lease: &Lease,
        record: &serde_json::Value,
    ) -> Result<HistoryHead, StoreError> {
        self.fate.around(Act::AppendHistory, self.inner.append_history(lease, record)).await
    }
}
