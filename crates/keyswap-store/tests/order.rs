//! The order in which a program that joins calls its store, which the gate of a rotation stands on; and
//! that a store can be made outside this crate.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Log, eventually, list, store};
use keyswap_core::{FallbackPolicy, Revision, SecretDocument, SecretList};
use keyswap_store::{
    FileStore, FileWatch, HistoryEntry, HistoryHead, Hold, Instance, InstanceReport, Lease,
    Registration, SecretStore, StoreError, StoreErrorKind, join,
};
use zeroize::Zeroizing;

/// A file store that writes down what it is asked for, and that can be told not to be watched.
#[derive(Clone)]
struct Recording {
    store: FileStore,
    calls: Arc<Mutex<Vec<String>>>,
    unwatchable: bool,
}

impl Recording {
    fn of(store: FileStore) -> Self {
        Self { store, calls: Arc::default(), unwatchable: false }
    }

    fn note(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl SecretStore for Recording {
    type Watch = FileWatch;

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

    async fn watch(&self) -> Result<FileWatch, StoreError> {
        if self.unwatchable {
            return Err(StoreError::new(StoreErrorKind::Io, "watch the list").because("a test"));
        }
        self.store.watch().await
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
    let recording = Recording { unwatchable: true, ..Recording::of(store.clone()) };
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
