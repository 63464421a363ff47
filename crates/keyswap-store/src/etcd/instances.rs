//! The instances: a report each, under a lease of its own, which a task on the thread that talks to etcd
//! keeps. That writes nothing.

use std::sync::Arc;

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::backoff;
use super::cluster::Cluster;
use super::fault::{Failure, Fault};
use super::keys::instance_of;
use super::place::{Granted, KeptAlive, Place};
use crate::{Instance, InstanceReport, StoreError, StoreErrorKind, written};

/// The presence of an instance of this process. It goes when this is dropped.
pub(super) struct Presence {
    shared: Arc<Shared>,
    keeper: AbortHandle,
}

struct Shared {
    place: Place,
    key: String,
    instance: String,
    /// Whoever has this writes the report.
    written: Mutex<Written>,
    /// The lease that is to be kept.
    lease: watch::Sender<i64>,
}

/// What is under the key, as far as we know.
struct Written {
    /// `None` after the instance was removed.
    granted: Option<Granted>,
    mod_revision: i64,
    report: Vec<u8>,
}

impl Presence {
    pub(super) async fn register(
        place: &Place,
        report: &InstanceReport,
        doing: &str,
    ) -> Result<Self, StoreError> {
        written::check_instance(&report.instance, doing)?;
        let key = place.keys.instance(&report.application, &report.instance);
        let failed = |failure: Failure| failure.of_write(doing, &place.describe());
        let report_text = to_json(place, &key, report, doing)?;
        let granted = Granted::new(&place.cluster, place.term, doing).await?.map_err(failed)?;
        let id = granted.id();
        let mut written = Written { granted: Some(granted), mod_revision: 0, report: report_text };
        if let Some(found) = put(place, &key, &mut written).await.map_err(failed)? {
            return Err(StoreError::new(StoreErrorKind::AlreadyExists, doing)
                .at(place.at(&key))
                .because(format!("an instance of that id registered at revision {found}"))
                .way_out("choose the id of each instance at random"));
        }
        let shared = Arc::new(Shared {
            place: place.clone(),
            key,
            instance: report.instance.clone(),
            written: Mutex::new(written),
            lease: watch::Sender::new(id),
        });
        let keeper = place.cluster.thread().spawn(keep(Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, keeper })
    }

    pub(super) async fn report(
        &self,
        report: &InstanceReport,
        doing: &str,
    ) -> Result<(), StoreError> {
        let Shared { place, key, instance, .. } = &*self.shared;
        let mut written = self.shared.written.lock().await;
        let ours = *key == place.keys.instance(&report.application, &report.instance);
        if written.granted.is_none() || !ours {
            return Err(StoreError::new(StoreErrorKind::NotFound, doing)
                .at(place.at(key))
                .because(format!("the registration is of {instance} only, or was removed")));
        }
        written.report = to_json(place, key, report, doing)?;
        let failed = |failure: Failure| failure.of_write(doing, &place.describe());
        self.shared.write(&mut written).await.map_err(failed)
    }

    /// Removes the instance, and says whether that worked.
    pub(super) async fn remove(&self, doing: &str) -> Result<(), StoreError> {
        self.keeper.abort();
        let granted = self.shared.written.lock().await.granted.take();
        let Some(granted) = granted else { return Ok(()) };
        let revoked = granted.revoke().await;
        revoked.map_err(|failure| failure.of_write(doing, &self.shared.place.describe()))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // The lease goes with the last of what is shared, which is with the keeper.
        self.keeper.abort();
    }
}

impl Shared {
    /// Writes the report, under another lease if ours has ended.
    async fn write(&self, written: &mut Written) -> Result<(), Failure> {
        for _ in 0..2 {
            // Nobody else writes under this key: what is there is a report of ours, or none is there since
            // its lease ended. One that is on its way still finds another revision than it expects.
            match put(&self.place, &self.key, written).await {
                Ok(None) => return Ok(()),
                Ok(Some(found)) => {
                    written.mod_revision = found;
                    if put(&self.place, &self.key, written).await?.is_none() {
                        return Ok(());
                    }
                }
                Err(Failure { fault: Fault::NoLease, .. }) => self.renew(written).await?,
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::new(Fault::Unknown, "its lease ends faster than it can be used"))
    }

    async fn renew(&self, written: &mut Written) -> Result<(), Failure> {
        let place = &self.place;
        let granted = Granted::new(&place.cluster, place.term, "register an instance again").await;
        let granted =
            granted.map_err(|error| Failure::new(Fault::Refused, error.to_string()))??;
        self.lease.send_replace(granted.id());
        if let Some(before) = written.granted.replace(granted) {
            before.forget();
        }
        Ok(())
    }
}

/// Puts the report in place of what was written at the revision that we know. Gives the revision of what is
/// there if that is another one: 0 for nothing.
async fn put(place: &Place, key: &str, written: &mut Written) -> Result<Option<i64>, Failure> {
    let lease = written.granted.as_ref().map_or(0, Granted::id);
    let under = PutOptions::new().with_lease(lease);
    let txn = Txn::new()
        .when([Compare::mod_revision(key, CompareOp::Equal, written.mod_revision)])
        .and_then([TxnOp::put(key, written.report.as_slice(), Some(under))])
        .or_else([TxnOp::get(key, None)]);
    let done = place.transact(txn).await?;
    if done.succeeded {
        written.mod_revision = done.revision;
        return Ok(None);
    }
    match done.found.into_iter().next().flatten() {
        Some(found) if found.lease == lease && *found.value == written.report => {
            written.mod_revision = found.mod_revision;
            Ok(None)
        }
        found => Ok(Some(found.map_or(0, |found| found.mod_revision))),
    }
}

/// Keeps the lease, and takes another one and writes the report again when it has ended: a program that
/// was away, or whose cluster was, is listed again by itself.
async fn keep(shared: Arc<Shared>) {
    let mut failures = 0_u32;
    let mut lease = shared.lease.subscribe();
    let mut stream = None;
    loop {
        let wait = match failures {
            // Twice in its time, should one be lost.
            0 => shared.place.term / 3,
            failures => backoff::wait(failures, backoff::LONGEST, backoff::chance())
                .min(shared.place.term / 3),
        };
        sleep(wait).await;
        let id = *lease.borrow_and_update();
        let kept = match keep_once(&shared.place.cluster, id, &mut stream).await {
            Err(Failure { fault: Fault::NoLease, .. }) => {
                let mut written = shared.written.lock().await;
                match &written.granted {
                    None => return,
                    // A report came first, and took another one.
                    Some(granted) if granted.id() != id => Ok(()),
                    Some(_) => {
                        let again = async {
                            shared.renew(&mut written).await?;
                            shared.write(&mut written).await
                        };
                        let again = again.await;
                        if again.is_ok() {
                            let instance = &shared.instance;
                            tracing::info!(%instance, "its lease had ended: it is registered again");
                        }
                        again
                    }
                }
            }
            kept => kept,
        };
        match kept {
            Ok(()) => failures = 0,
            Err(failure) => {
                if failures == 0 {
                    let (instance, reason) = (&shared.instance, failure.text);
                    tracing::warn!(%instance, %reason, "its lease cannot be kept; it is tried again");
                }
                failures = failures.saturating_add(1);
            }
        }
    }
}

/// Keeps a lease over the stream that is open, or over a new one where none is, or where that one has broken.
async fn keep_once(
    cluster: &Cluster,
    id: i64,
    stream: &mut Option<KeptAlive>,
) -> Result<(), Failure> {
    if let Some(mut open) = stream.take_if(|open| open.id() == id)
        && open.again(cluster).await.is_ok()
    {
        *stream = Some(open);
        return Ok(());
    }
    // Whatever was wrong with it, a new one says so, or another node takes it over.
    *stream = Some(KeptAlive::begin(cluster, id).await?);
    Ok(())
}

fn to_json(
    place: &Place,
    key: &str,
    report: &InstanceReport,
    doing: &str,
) -> Result<Vec<u8>, StoreError> {
    written::report(report).map_err(|error| place.invalid(key, doing).with_source(error))
}

/// Every instance whose lease has not ended. etcd removes the others.
pub(super) async fn list(place: &Place, doing: &str) -> Result<Vec<Instance>, StoreError> {
    let found = place.all(&place.keys.instances()).await;
    let found = found.map_err(|failure| failure.of_read(doing, &place.describe()))?;
    let mut instances: Vec<_> = found
        .into_iter()
        .map(|found| {
            let instance = instance_of(&found.key);
            let report = written::parse_report(&found.value, &instance).map_err(|refused| {
                let key = String::from_utf8_lossy(&found.key).into_owned();
                refused.into_error(doing).at(place.at(&key)).to_string()
            });
            Instance::new(instance, true, report)
        })
        .collect();
    // The keys are in the order of the applications.
    instances.sort_by(|one, other| one.instance.cmp(&other.instance));
    Ok(instances)
}
