//! A store in etcd, for a fleet.

mod backoff;
mod builder;
mod cluster;
mod fault;
mod history;
mod instances;
mod journal;
mod keeper;
mod keys;
mod lease;
mod place;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use keyswap_core::{Revision, SecretDocument, SecretList};
use zeroize::Zeroizing;

pub use self::builder::EtcdBuilder;
use self::fault::Failure;
use self::keys::Keys;
use self::lease::{Fenced, Lock};
use self::place::{Found, Place};
pub use self::watch::EtcdWatch;
use crate::{
    HistoryEntry, HistoryHead, Hold, Instance, InstanceReport, Lease, Registration, SecretStore,
    StoreError, StoreErrorKind, written,
};

/// One client's place in an etcd cluster (3.4 or newer). With the feature `etcd`.
///
/// ```text
/// /keyswap/v1/CLIENT/               the client id; what is not [A-Za-z0-9_.-] is written as %XX
///   ring                            the published list (a secret document)
///   lock                            who holds the lease, under a lease of etcd's
///   journal, journal/GENERATION/N   the journal of the rotation; in parts above 512 KiB
///   hold                            a person's "not now", while there is one
///   history/N, history-head         one record a key, each holding the hash of the one before
///   instances/APPLICATION/ID        the last report of an instance, under a lease of etcd's
/// ```
///
/// Whatever a rotator writes is one transaction, which compares the create revision of `lock` with the one
/// it took ([`Lease::epoch`]) and the revision of what it replaces. A request that was not answered is sent
/// again, to another node: it finds what the first one did, so that
/// [`OutcomeUnknown`](StoreErrorKind::OutcomeUnknown) is only said when no node can be asked. The lease of a
/// process that was killed ends after its [time](EtcdBuilder::lease).
///
/// Reads are linearizable. Programs write when they have something to [report](crate::Presence), at rest at
/// most once in five minutes; what keeps their lease is no write. An instance whose lease ended is not listed any more: etcd removes it. It registers
/// again by itself once it can. While the cluster is away, programs keep the list that they have.
///
/// Connections, keep-alives and watches live on one thread of their own, `keyswap-etcd`, whatever the
/// program does with its own; calls need a tokio runtime with time. Values that were read are wiped; copies
/// in the buffers of gRPC and TLS are not, nor is what etcd has on its disk: see `docs/stores/etcd.md`.
///
/// ```no_run
/// use keyswap_core::{FallbackPolicy, Secret, SecretList};
/// use keyswap_store::{EtcdStore, SecretStore, join};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoints = ["http://10.0.0.1:2379", "http://10.0.0.2:2379", "http://10.0.0.3:2379"];
/// let password = std::env::var("ETCD_PASSWORD")?;
/// let store = EtcdStore::builder(endpoints, "billing").user("invoices", password).build()?;
/// let (ring, member) = join(store, "invoices", FallbackPolicy::default()).await?;
/// tokio::spawn(member);
/// # drop(ring);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EtcdStore {
    place: Arc<Place>,
}

impl EtcdStore {
    /// Begins a store at these endpoints, for one client.
    pub fn builder<E: Into<String>>(
        endpoints: impl IntoIterator<Item = E>,
        client: impl Into<String>,
    ) -> EtcdBuilder {
        EtcdBuilder::new(endpoints.into_iter().map(Into::into).collect(), client.into())
    }

    /// The place of another client in the same store, over the same connections.
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreErrorKind::Invalid) when the client id is empty.
    pub fn another(&self, client: impl Into<String>) -> Result<Self, StoreError> {
        let client = client.into();
        if client.is_empty() {
            return Err(StoreError::new(StoreErrorKind::Invalid, "open the etcd store")
                .because("the client id is empty"));
        }
        let keys = Keys::new(&self.place.prefix, &client);
        Ok(Self::at(Place { client, keys, ..Place::clone(&self.place) }))
    }

    fn at(place: Place) -> Self {
        Self { place: Arc::new(place) }
    }

    /// The lock behind a lease, if the lease is one of this place.
    fn lock(&self, lease: &Lease) -> Result<Arc<Lock>, StoreError> {
        let lock = lease.guard::<Lock>().filter(|lock| lock.is_of(&self.place));
        lock.ok_or_else(|| {
            StoreError::new(StoreErrorKind::LeaseLost, "use the lease")
                .at(self.describe())
                .because(format!("it is a lease of client {} in another store", lease.client()))
        })
    }

    fn presence(
        &self,
        registration: &Registration,
    ) -> Result<Arc<instances::Presence>, StoreError> {
        registration.guard().ok_or_else(|| {
            StoreError::new(StoreErrorKind::NotFound, "report an instance")
                .at(self.describe())
                .because("the registration is one of another store")
        })
    }

    fn document(&self, found: &Found, doing: &str) -> Result<SecretDocument, StoreError> {
        let document = written::parse_list(&found.value, doing);
        document.map_err(|error| error.at(self.place.at(&self.place.keys.ring())))
    }

    /// What is under a key now.
    async fn found(&self, key: &str, doing: &str) -> Result<Option<Found>, StoreError> {
        let failed = |failure: Failure| failure.of_read(doing, &self.describe());
        Ok(self.place.get(key, None).await.map_err(failed)?.0)
    }

    fn conflict(&self, expected: Revision, found: Revision, doing: &str) -> StoreError {
        StoreError::new(StoreErrorKind::Conflict { expected, found }, doing)
            .at(self.place.at(&self.place.keys.ring()))
            .because(format!("revision {found} is there, and {expected} was expected"))
            .way_out("nothing was written; look who changed it: keyswap status")
    }

    fn nothing_to_replace(&self, doing: &str) -> StoreError {
        StoreError::new(StoreErrorKind::NotFound, doing)
            .at(self.place.at(&self.place.keys.ring()))
            .because("there is no list to replace")
            .way_out("import the present secret first: keyswap init")
    }
}

impl SecretStore for EtcdStore {
    type Watch = EtcdWatch;

    fn client(&self) -> &str {
        &self.place.client
    }

    fn describe(&self) -> String {
        self.place.describe()
    }

    async fn published(&self) -> Result<Option<SecretDocument>, StoreError> {
        let doing = self.place.doing("read the list");
        let found = self.found(&self.place.keys.ring(), &doing).await?;
        found.map(|found| self.document(&found, &doing)).transpose()
    }

    async fn import(&self, list: &SecretList) -> Result<Revision, StoreError> {
        let doing = self.place.doing("import the list");
        let lock = Lock::acquire(&self.place, "an import", &doing).await?;
        let revision = Revision::INITIAL.next();
        let document = SecretDocument { revision, attest_every: None, list: list.clone() };
        let (key, value) = (self.place.keys.ring(), document.to_json());
        let written = lock.writing().await.replace(&key, 0, &value, Vec::new(), &doing).await;
        // The list is there or not, whether the lease can be given back now or ends by itself.
        let _ = Arc::new(lock).release(&doing).await;
        match written? {
            Fenced::Written(_) => Ok(revision),
            Fenced::Changed(_) => Err(StoreError::new(StoreErrorKind::AlreadyExists, doing)
                .at(self.place.at(&key))
                .because("there is a list already")
                .way_out("rotate it: keyswap rotate")),
        }
    }

    async fn publish(
        &self,
        lease: &Lease,
        expected: Revision,
        list: &SecretList,
        attest_every: Option<Duration>,
    ) -> Result<Revision, StoreError> {
        let doing = self.place.doing("publish the list");
        let lock = self.lock(lease)?;
        let writing = lock.writing().await;
        let key = self.place.keys.ring();
        let Some(present) = self.found(&key, &doing).await? else {
            return Err(self.nothing_to_replace(&doing));
        };
        let found = self.document(&present, &doing)?.revision;
        if found != expected {
            return Err(self.conflict(expected, found, &doing));
        }
        let revision = expected.next();
        let value = SecretDocument { revision, attest_every, list: list.clone() }.to_json();
        let written =
            writing.replace(&key, present.mod_revision, &value, Vec::new(), &doing).await?;
        match written {
            Fenced::Written(_) => Ok(revision),
            Fenced::Changed(None) => Err(self.nothing_to_replace(&doing)),
            Fenced::Changed(Some(changed)) => {
                let found = self.document(&changed, &doing)?.revision;
                Err(self.conflict(expected, found, &doing))
            }
        }
    }

    async fn watch(&self) -> Result<EtcdWatch, StoreError> {
        EtcdWatch::new(&self.place, &self.place.doing("watch the list")).await
    }

    async fn journal(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        journal::read(&self.place, &self.place.doing("read the journal")).await
    }

    async fn save_journal(&self, lease: &Lease, document: &[u8]) -> Result<(), StoreError> {
        let lock = self.lock(lease)?;
        let mut writing = lock.writing().await;
        let doing = self.place.doing("save the journal");
        journal::save(&self.place, &mut writing, document, &doing).await
    }

    async fn acquire(&self, holder: &str) -> Result<Lease, StoreError> {
        let doing = self.place.doing("take the lease");
        let lock = Lock::acquire(&self.place, holder, &doing).await?;
        Ok(Lease::new(self.client(), holder, lock.epoch(), Arc::new(lock)))
    }

    async fn renew(&self, lease: &Lease) -> Result<Duration, StoreError> {
        self.lock(lease)?.renew(&self.place.doing("keep the lease")).await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        let lock = self.lock(&lease)?;
        drop(lease);
        lock.release(&self.place.doing("give the lease back")).await
    }

    async fn register(&self, report: &InstanceReport) -> Result<Registration, StoreError> {
        let doing = self.place.doing("register an instance");
        let presence = instances::Presence::register(&self.place, report, &doing).await?;
        Ok(Registration::new(report.instance.as_str(), Arc::new(presence)))
    }

    async fn report(
        &self,
        registration: &Registration,
        report: &InstanceReport,
    ) -> Result<(), StoreError> {
        let presence = self.presence(registration)?;
        presence.report(report, &self.place.doing("report an instance")).await
    }

    async fn unregister(&self, registration: Registration) -> Result<(), StoreError> {
        let presence = self.presence(&registration)?;
        presence.remove(&self.place.doing("remove an instance")).await
    }

    async fn instances(&self) -> Result<Vec<Instance>, StoreError> {
        instances::list(&self.place, &self.place.doing("list the instances")).await
    }

    async fn hold(&self) -> Result<Option<Hold>, StoreError> {
        let (key, doing) =
            (self.place.keys.hold(), self.place.doing("read the hold on the rotations"));
        let Some(found) = self.found(&key, &doing).await? else { return Ok(None) };
        let hold = written::parse_hold(&found.value);
        hold.map(Some).map_err(|refused| refused.into_error(&doing).at(self.place.at(&key)))
    }

    async fn set_hold(&self, hold: Option<&Hold>) -> Result<(), StoreError> {
        let (key, doing) =
            (self.place.keys.hold(), self.place.doing("write the hold on the rotations"));
        let value = hold.map(written::hold).transpose();
        let value = value.map_err(|error| self.place.invalid(&key, &doing).with_source(error))?;
        let operation = match &value {
            Some(value) => TxnOp::put(key.as_str(), value.as_slice(), None),
            None => TxnOp::delete(key.as_str(), None),
        };
        let mut before = self.found(&key, &doing).await?;
        // The last one who writes has it. What is compared only keeps a request that is late, and that
        // nobody waits for any more, from undoing what came after it.
        for _ in 0..8 {
            let expected = before.as_ref().map_or(0, |found| found.mod_revision);
            let txn = Txn::new()
                .when([Compare::mod_revision(key.as_str(), CompareOp::Equal, expected)])
                .and_then([operation.clone()])
                .or_else([TxnOp::get(key.as_str(), None)]);
            let done = self.place.transact(txn).await;
            let done = done.map_err(|failure| failure.of_write(&doing, &self.describe()))?;
            before = done.found.into_iter().next().flatten();
            let there = before.as_ref().map(|found| found.value.as_slice());
            if done.succeeded || (done.after_unknown && there == value.as_deref()) {
                return Ok(());
            }
        }
        Err(StoreError::new(StoreErrorKind::Io, doing)
            .at(self.place.at(&key))
            .because("others change it all the time"))
    }

    async fn append_history(
        &self,
        lease: &Lease,
        record: &serde_json::Value,
    ) -> Result<HistoryHead, StoreError> {
        let lock = self.lock(lease)?;
        let mut writing = lock.writing().await;
        let doing = self.place.doing("append to the history");
        history::append(&self.place, &mut writing, record.clone(), &doing).await
    }

    async fn history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        history::read(&self.place, &self.place.doing("read the history")).await
    }

    async fn verify_history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        history::read(&self.place, &self.place.doing("verify the history")).await
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore")
            .field("place", &self.describe())
            .field("client", &self.place.client)
            .finish_non_exhaustive()
    }
}
