//! A file store that writes down what it is asked for.

#![allow(dead_code, unreachable_pub, reason = "each test file takes what it needs")]

use std::sync::{Arc, Mutex};

use keyswap_core::SecretDocument;
use keyswap_store::{
    FileStore, FileWatch, InstanceReport, Registration, SecretStore, StoreError, StoreErrorKind,
    Watch,
};
use tokio::time::Instant;

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
    calls: Arc<Mutex<Vec<String>>>,
    sent: Arc<Mutex<Option<SecretDocument>>>,
}

impl Watch for RecordingWatch {
    async fn changed(&mut self) {
        self.inner.changed().await;
    }

    fn list(&mut self) -> Option<SecretDocument> {
        let sent = self.sent.lock().unwrap().take();
        let told = sent
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), |document| document.revision.to_string());
        self.calls.lock().unwrap().push(format!("told {told}"));
        sent
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

    keyswap_store::forward!(self => self.store; client, describe, import, publish, journal, save_journal, acquire, renew, release, unregister, instances, hold, set_hold, append_history, history, verify_history);

    async fn published(&self) -> Result<Option<SecretDocument>, StoreError> {
        let read = self.store.published().await;
        // Not before: who sees the note takes the read for done, and a list that is published then for a later one.
        self.note("read the list");
        read
    }

    async fn watch(&self) -> Result<RecordingWatch, StoreError> {
        if self.unwatchable {
            return Err(StoreError::new(StoreErrorKind::Io, "watch the list").because("a test"));
        }
        let inner = self.store.watch().await?;
        let (calls, sent) = (Arc::clone(&self.calls), Arc::clone(&self.sent));
        Ok(RecordingWatch { inner, calls, sent })
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
}
