//! A file store that writes down what it is asked for.

#![allow(dead_code, unreachable_pub, reason = "each test file takes what it needs")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyswap_core::{Revision, SecretDocument, SecretList};
use keyswap_store::{
    FileStore, FileWatch, HistoryEntry, HistoryHead, Hold, Instance, InstanceReport, Lease,
    Registration, SecretStore, StoreError, StoreErrorKind, Watch,
};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// It can be told not to be watched.
#[derive(Clone)]
pub struct Recording {
    store: FileStore,
    calls: Arc<Mutex<Vec<String>>>,
    reports: Arc<Mutex<Vec<(Instant, InstanceReport)>>>,
    unwatchable: bool,
    /// What its watch sends along with the next hint.
    pub sent: Arc<Mutex<Option<SecretDocument>>>,
}

pub struct RecordingWatch {
    inner: FileWatch,
    sent: Arc<Mutex<Option<SecretDocument>>>,
}

impl Watch for RecordingWatch {
    async fn changed(&mut self) {
        self.inner.changed().await;
    }

    fn list(&mut self) -> Option<SecretDocument> {
        self.sent.lock().unwrap().take()
    }
}

impl Recording {
    pub fn of(store: FileStore) -> Self {
        Self {
            store,
            calls: Arc::default(),
            reports: Arc::default(),
            unwatchable: false,
            sent: Arc::default(),
        }
    }

    pub fn unwatchable(self) -> Self {
        Self { unwatchable: true, ..self }
    }

    fn note(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }

    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// What was reported since this was asked last, and when, by the clock of tokio.
    pub fn take_reports(&self) -> Vec<(Instant, InstanceReport)> {
        std::mem::take(&mut self.reports.lock().unwrap())
    }
}

impl SecretStore for Recording {
    type Watch = RecordingWatch;

    fn client(&self) -> &str {
        self.store.client()
    }

    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn published(&self) -> Result<Option<SecretDocument>, StoreError> {
        self.note("read the list");
        self.store.published().await
    }

    async fn import(&self, list: &SecretList) -> Result<Revision, StoreError> {
        self.store.import(list).await
    }

    async fn publish(
        &self,
        lease: &Lease,
        expected: Revision,
        list: &SecretList,
        attest_every: Option<Duration>,
    ) -> Result<Revision, StoreError> {
        self.store.publish(lease, expected, list, attest_every).await
    }

    async fn watch(&self) -> Result<RecordingWatch, StoreError> {
        if self.unwatchable {
            return Err(StoreError::new(StoreErrorKind::Io, "watch the list").because("a test"));
        }
        let inner = self.store.watch().await?;
        Ok(RecordingWatch { inner, sent: Arc::clone(&self.sent) })
    }

    async fn journal(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.store.journal().await
    }

    async fn save_journal(&self, lease: &Lease, document: &[u8]) -> Result<(), StoreError> {
        self.store.save_journal(lease, document).await
    }

    async fn acquire(&self, holder: &str) -> Result<Lease, StoreError> {
        self.store.acquire(holder).await
    }

    async fn renew(&self, lease: &Lease) -> Result<Duration, StoreError> {
        self.store.renew(lease).await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.store.release(lease).await
    }

    async fn register(&self, report: &InstanceReport) -> Result<Registration, StoreError> {
        self.note(format!("register with {:?}", report.revision));
        self.store.register(report).await
    }

    async fn report(
        &self,
        registration: &Registration,
        report: &InstanceReport,
    ) -> Result<(), StoreError> {
        self.note(format!("report {}", report.revision.unwrap()));
        self.reports.lock().unwrap().push((Instant::now(), report.clone()));
        self.store.report(registration, report).await
    }

    async fn unregister(&self, registration: Registration) -> Result<(), StoreError> {
        self.store.unregister(registration).await
    }

    async fn instances(&self) -> Result<Vec<Instance>, StoreError> {
        self.store.instances().await
    }

    async fn hold(&self) -> Result<Option<Hold>, StoreError> {
        self.store.hold().await
    }

    async fn set_hold(&self, hold: Option<&Hold>) -> Result<(), StoreError> {
        self.store.set_hold(hold).await
    }

    async fn append_history(
        &self,
        lease: &Lease,
        record: &serde_json::Value,
    ) -> Result<HistoryHead, StoreError> {
        self.store.append_history(lease, record).await
    }

    async fn history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        self.store.history().await
    }

    async fn verify_history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        self.store.verify_history().await
    }
}
