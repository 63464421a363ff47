//! The rotator's lease: a key under a lease of etcd's. Its create revision is the fence: each write
//! compares it, so that whoever lost the lease can write nothing, at whatever instruction it goes on.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::fault::{Failure, Fault};
use super::place::{Found, Granted, Place, keep_alive, seconds};
use crate::chain::Tail;
use crate::report::now_ms;
use crate::{StoreError, StoreErrorKind};

/// A held lease. It is given back when this is dropped.
pub(super) struct Lock {
    place: Place,
    granted: Option<Granted>,
    id: i64,
    epoch: i64,
    /// Until when the lease is certain. Apart from the rest: whoever keeps the lease must not wait for a
    /// write, which may be one that nobody polls meanwhile.
    until: std::sync::Mutex<Instant>,
    state: Mutex<State>,
}

/// What the holder knows of what only it may write. The one who has this writes.
pub(super) struct State {
    pub(super) journal: Option<i64>,
    pub(super) history: Option<History>,
}

/// The end of a history that was verified, and the revision of the key that names it.
pub(super) struct History {
    pub(super) tail: Tail,
    pub(super) mod_revision: i64,
}

/// What is under the key of the lease.
#[derive(Debug, Deserialize, Serialize)]
struct Holder {
    holder: String,
    process: u32,
    host: String,
    since_ms: u64,
}

/// What a write under the lease came to.
pub(super) enum Fenced {
    /// It was done: the revision of the target now.
    Written(i64),
    /// The target is not as it was expected to be. Nothing was written.
    Changed(Option<Found>),
}

impl Lock {
    pub(super) async fn acquire(
        place: &Place,
        holder: &str,
        doing: &str,
    ) -> Result<Self, StoreError> {
        let failed = |failure: Failure| failure.of_write(doing, &place.describe());
        let sent = Instant::now();
        let granted = Granted::new(&place.cluster, place.term, doing).await?.map_err(failed)?;
        let record = Holder {
            holder: holder.to_owned(),
            process: std::process::id(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            since_ms: now_ms(),
        };
        let record = serde_json::to_vec(&record)
            .map_err(|error| place.invalid(&place.keys.lock(), doing).with_source(error))?;
        let (key, id) = (place.keys.lock(), granted.id());
        let txn = Txn::new()
            .when([Compare::create_revision(key.as_str(), CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key.as_str(), record, Some(PutOptions::new().with_lease(id)))])
            .or_else([TxnOp::get(key.as_str(), None)]);
        let done = match place.transact(txn).await {
            // It ended before it was used: nobody can have taken it for long enough.
            Err(Failure { fault: Fault::NoLease, .. }) => return Err(too_slow(place, doing)),
            done => done.map_err(failed)?,
        };
        let epoch = match done.found.into_iter().next().flatten() {
            _ if done.succeeded => done.revision,
            // One that was sent before was carried out.
            Some(found) if found.lease == id => found.create_revision,
            found => return Err(held(place, found.as_ref(), doing).await),
        };
        Ok(Self {
            place: place.clone(),
            granted: Some(granted),
            id,
            epoch,
            until: std::sync::Mutex::new(sent + place.term),
            state: Mutex::new(State { journal: None, history: None }),
        })
    }

    /// The fence as others see it: create revisions only grow.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.unsigned_abs()
    }

    pub(super) fn is_of(&self, place: &Place) -> bool {
        self.place.keys == place.keys && self.place.cluster.is(&place.cluster)
    }

    /// Keeps other writes under the same lease out.
    pub(super) async fn writing(&self) -> Writing<'_> {
        Writing { lock: self, state: self.state.lock().await }
    }

    pub(super) async fn release(mut self: Arc<Self>, doing: &str) -> Result<(), StoreError> {
        // Somebody else may hold it still; then it goes with the last of them.
        let Some(lock) = Arc::get_mut(&mut self) else { return Ok(()) };
        let Some(granted) = lock.granted.take() else { return Ok(()) };
        let revoked = granted.revoke().await;
        revoked.map_err(|failure| failure.of_write(doing, &lock.place.describe()))
    }
}

/// The turn of one write under a lease.
pub(super) struct Writing<'a> {
    lock: &'a Lock,
    pub(super) state: MutexGuard<'a, State>,
}

impl Writing<'_> {
    /// Replaces what is under `key`, if that was last written at `expected` (0: if there is none) and the
    /// lease is still ours; and does `more` in the same transaction.
    pub(super) async fn replace(
        &self,
        key: &str,
        expected: i64,
        value: &[u8],
        more: Vec<TxnOp>,
        doing: &str,
    ) -> Result<Fenced, StoreError> {
        let lock_key = self.lock.place.keys.lock();
        let mut operations = vec![TxnOp::put(key, value, None)];
        operations.extend(more);
        let txn = Txn::new()
            .when([self.fence(), Compare::mod_revision(key, CompareOp::Equal, expected)])
            .and_then(operations)
            .or_else([TxnOp::get(lock_key, None), TxnOp::get(key, None)]);
        let done = self.lock.place.transact(txn).await;
        let done = done.map_err(|failure| failure.of_write(doing, &self.lock.place.describe()))?;
        if done.succeeded {
            return Ok(Fenced::Written(done.revision));
        }
        let mut found = done.found.into_iter();
        let (holder, target) = (found.next().flatten(), found.next().flatten());
        match target {
            // It was sent before, carried out, and the answer was lost.
            Some(target) if done.after_unknown && *target.value == *value => {
                Ok(Fenced::Written(target.mod_revision))
            }
            target => {
                self.lock.check(holder, doing)?;
                Ok(Fenced::Changed(target))
            }
        }
    }

    /// Does this if the lease is still ours.
    pub(super) async fn write(&self, operation: TxnOp, doing: &str) -> Result<(), StoreError> {
        let txn = Txn::new()
            .when([self.fence()])
            .and_then([operation])
            .or_else([TxnOp::get(self.lock.place.keys.lock(), None)]);
        let done = self.lock.place.transact(txn).await;
        let done = done.map_err(|failure| failure.of_write(doing, &self.lock.place.describe()))?;
        if done.succeeded {
            return Ok(());
        }
        self.lock.check(done.found.into_iter().next().flatten(), doing)
    }

    fn fence(&self) -> Compare {
        Compare::create_revision(self.lock.place.keys.lock(), CompareOp::Equal, self.lock.epoch)
    }
}

impl Lock {
    /// Puts the end of the lease off, if less than two thirds of its time are left, and says what is left
    /// then. Looks at the lease in any case.
    pub(super) async fn renew(&self, doing: &str) -> Result<Duration, StoreError> {
        let place = &self.place;
        let failed = |failure: Failure| failure.of_read(doing, &place.describe());
        // A second time if the nodes were so slow that nothing is left.
        for _ in 0..2 {
            if self.left() <= place.term / 3 * 2 {
                match keep_alive(&place.cluster, self.id).await {
                    Ok(sent) => self.put_off(sent + place.term),
                    Err(Failure { fault: Fault::NoLease, .. }) => {
                        let (holder, _) =
                            place.get(&place.keys.lock(), None).await.map_err(failed)?;
                        return Err(self.lost(holder.as_ref(), doing));
                    }
                    Err(failure) => return Err(failed(failure)),
                }
            }
            let (holder, _) = place.get(&place.keys.lock(), None).await.map_err(failed)?;
            self.check(holder, doing)?;
            let left = self.left();
            if !left.is_zero() {
                return Ok(left);
            }
        }
        Err(too_slow(place, doing))
    }

    fn put_off(&self, end: Instant) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = end.max(*until);
    }

    fn left(&self) -> Duration {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.saturating_duration_since(Instant::now())
    }

    /// Fails unless what is under the key of the lease is ours.
    fn check(&self, holder: Option<Found>, doing: &str) -> Result<(), StoreError> {
        match holder {
            Some(holder) if holder.create_revision == self.epoch => Ok(()),
            holder => Err(self.lost(holder.as_ref(), doing)),
        }
    }

    fn lost(&self, holder: Option<&Found>, doing: &str) -> StoreError {
        let reason = match holder {
            Some(found) if found.create_revision != self.epoch => format!(
                "{} took over with epoch {} (ours is {}), since this process did not renew the lease in \
                 time",
                described(found),
                found.create_revision,
                self.epoch
            ),
            _ => "it was not renewed in time, or was taken away".to_owned(),
        };
        StoreError::new(StoreErrorKind::LeaseLost, doing)
            .at(self.place.at(&self.place.keys.lock()))
            .because(reason)
            .way_out(
                "nothing was written; see with `keyswap status` how far the rotation is, and go on \
                 with `keyswap resume` if nobody is at it",
            )
    }
}

async fn held(place: &Place, found: Option<&Found>, doing: &str) -> StoreError {
    let holder = found.map_or_else(|| "a process that has just taken it".to_owned(), described);
    let left = match found {
        Some(found) => left(place, found.lease).await,
        None => None,
    };
    let way_out = format!(
        "wait until it ends, or stop it and run `keyswap resume`. If it was killed or does not go on any \
         more, that works in {} s",
        left.unwrap_or(place.term).as_secs() + 1
    );
    StoreError::new(StoreErrorKind::Held { holder: holder.clone() }, doing)
        .at(place.at(&place.keys.lock()))
        .because(format!("{holder} holds the lease"))
        .way_out(way_out)
}

/// How long that lease of etcd's lasts if nobody keeps it.
async fn left(place: &Place, lease: i64) -> Option<Duration> {
    let look = |mut client: Client| async move { client.lease_time_to_live(lease, None).await };
    let left = place.cluster.call(look).await.ok()?.answer.ttl();
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
}

fn described(found: &Found) -> String {
    let Ok(holder) = serde_json::from_slice::<Holder>(&found.value) else {
        return "somebody who did not say who it is".to_owned();
    };
    let since = Duration::from_millis(now_ms().saturating_sub(holder.since_ms));
    let Holder { holder, process, host, .. } = holder;
    format!("{holder} (process {process} on {host}, for {} s)", since.as_secs())
}

fn too_slow(place: &Place, doing: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Io, doing)
        .at(place.describe())
        .because(format!("it answers too slowly for a lease of {} s", seconds(place.term)))
        .way_out("give the lease more time, or etcd a faster disk")
}
