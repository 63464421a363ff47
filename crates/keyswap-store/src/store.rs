//! What a store must do: the published list, the journal of a rotation, the rotator's lease, the
//! instances, the history.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use keyswap_core::{Revision, SecretDocument, SecretList};
use zeroize::Zeroizing;

use crate::StoreError;
use crate::report::{HistoryEntry, HistoryHead, Hold, Instance, InstanceReport};

/// One client's place in a store: its list of secrets, the journal of its rotation, the programs that
/// use it, its history.
///
/// A handle is bound to one client. Whatever the rotator writes needs its [`Lease`], and a store
/// refuses it with [`LeaseLost`](crate::StoreErrorKind::LeaseLost) once somebody else may hold it.
///
/// # Cancel safety
///
/// A write whose future is dropped may still happen, completely or not at all, and never after
/// another process took the lease.
pub trait SecretStore: Clone + Send + Sync + 'static {
    /// What [`watch`](Self::watch) gives.
    type Watch: Watch;

    /// The id of the client that this handle is bound to.
    fn client(&self) -> &str;

    /// The store in words, for messages: "the file store at DIR".
    fn describe(&self) -> String;

    /// Reads the published list; `None` before the first [`import`](Self::import).
    ///
    /// The read is linearizable: it sees every publication that returned before it began.
    ///
    /// # Errors
    ///
    /// When the document cannot be read or is not valid.
    fn published(&self) -> impl Future<Output = Result<Option<SecretDocument>, StoreError>> + Send;

    /// Puts the first list into a store that holds none for this client, as revision 1. Takes the
    /// lease for that time.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](crate::StoreErrorKind::AlreadyExists) when there is a list,
    /// [`Held`](crate::StoreErrorKind::Held) when another process holds the lease.
    fn import(
        &self,
        list: &SecretList,
    ) -> impl Future<Output = Result<Revision, StoreError>> + Send;

    /// Replaces the list of revision `expected` with this one, and gives the new revision.
    ///
    /// `attest_every` asks each instance to report that often although nothing moved.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::StoreErrorKind::Conflict) when another revision is there,
    /// [`NotFound`](crate::StoreErrorKind::NotFound) when none is,
    /// [`LeaseLost`](crate::StoreErrorKind::LeaseLost). After
    /// [`OutcomeUnknown`](crate::StoreErrorKind::OutcomeUnknown), read it back.
    fn publish(
        &self,
        lease: &Lease,
        expected: Revision,
        list: &SecretList,
        attest_every: Option<Duration>,
    ) -> impl Future<Output = Result<Revision, StoreError>> + Send;

    /// Begins to watch the published list. What comes from it are hints: read to know, unless the watch
    /// has [the list](Watch::list).
    ///
    /// # Errors
    ///
    /// When the store cannot be watched; poll it then.
    fn watch(&self) -> impl Future<Output = Result<Self::Watch, StoreError>> + Send;

    /// Reads the journal of the rotation: opaque bytes that hold secrets.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    fn journal(
        &self,
    ) -> impl Future<Output = Result<Option<Zeroizing<Vec<u8>>>, StoreError>> + Send;

    /// Replaces the journal as a whole. It is durable when this returns.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`](crate::StoreErrorKind::LeaseLost), or when it cannot be written.
    fn save_journal(
        &self,
        lease: &Lease,
        document: &[u8],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes the lease that every write of a rotator needs. `holder` says who that is, for the
    /// message that others get. Waits at most a moment, for a write that is under way.
    ///
    /// The lease of a process that ended is free, and so is one that was not [renewed](Self::renew) in
    /// time: its holder can write nothing any more from then on, at whatever instruction it goes on.
    ///
    /// # Errors
    ///
    /// [`Held`](crate::StoreErrorKind::Held) names the process that has it.
    fn acquire(&self, holder: &str) -> impl Future<Output = Result<Lease, StoreError>> + Send;

    /// Keeps the lease: puts its end off, and says for how long it is certain from the call on, which
    /// is more than nothing. Call it again well before that is over. A late call does as well, as long
    /// as nobody else took the lease.
    ///
    /// Whether a write is allowed is never up to this time: the store looks at each one.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`](crate::StoreErrorKind::LeaseLost).
    fn renew(&self, lease: &Lease) -> impl Future<Output = Result<Duration, StoreError>> + Send;

    /// Gives the lease back. Dropping it does the same, without saying whether it worked.
    ///
    /// # Errors
    ///
    /// When the store cannot be told.
    fn release(&self, lease: Lease) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Registers an instance. It counts as live until its [`Registration`] is dropped or its process
    /// ends. Do this **before** the list is read, with a report that holds no revision yet.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or the instance id is not one.
    fn register(
        &self,
        report: &InstanceReport,
    ) -> impl Future<Output = Result<Registration, StoreError>> + Send;

    /// Replaces the report of a registered instance.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    fn report(
        &self,
        registration: &Registration,
        report: &InstanceReport,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes an instance that stops. Dropping the registration does the same, without saying
    /// whether it worked.
    ///
    /// # Errors
    ///
    /// When the store cannot be told.
    fn unregister(
        &self,
        registration: Registration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Lists every instance, in the order of their ids: also those that are gone, and those whose
    /// report cannot be read.
    ///
    /// # Errors
    ///
    /// When the list as a whole cannot be read.
    fn instances(&self) -> impl Future<Output = Result<Vec<Instance>, StoreError>> + Send;

    /// Reads the hold on the rotations of this client, whether it is still in force or not.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read: that is never taken for none.
    fn hold(&self) -> impl Future<Output = Result<Option<Hold>, StoreError>> + Send;

    /// Puts a hold in place of the one that is there, or takes it away, durably. It needs no lease: a
    /// person puts it while a rotator is at work, which looks for one before each of its steps.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    fn set_hold(&self, hold: Option<&Hold>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Appends a record to the history, durably. A record holds no secret.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`](crate::StoreErrorKind::LeaseLost), or when the history is broken or cannot be
    /// written.
    fn append_history(
        &self,
        lease: &Lease,
        record: &serde_json::Value,
    ) -> impl Future<Output = Result<HistoryHead, StoreError>> + Send;

    /// Reads the whole history, oldest first, and verifies that nothing in it was changed or removed.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreErrorKind::Invalid) names the first broken line.
    fn history(&self) -> impl Future<Output = Result<Vec<HistoryEntry>, StoreError>> + Send;

    /// As [`history`](Self::history), and refuses as well what a process that was killed while it wrote
    /// may have left behind the last record: somebody else may have put it there.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreErrorKind::Invalid) names the first line that is wrong.
    fn verify_history(&self) -> impl Future<Output = Result<Vec<HistoryEntry>, StoreError>> + Send;
}

/// Tells that something may have changed.
pub trait Watch: Send + 'static {
    /// Waits until something may have changed. Changes that came since the last call, or since the
    /// watch began, count as one. It never comes back in a hot loop.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change for longer than the store's slow poll.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;

    /// The list that came with the change that [`changed`](Self::changed) told of last, where the store
    /// sends it along: a fleet need not read it all at once. It was published, and a newer one may have
    /// been since, of which the watch tells as well. Each is given once; `None`: read it.
    fn list(&mut self) -> Option<SecretDocument> {
        None
    }
}

/// The right to write as the rotator of one client. Given back when it is dropped.
#[must_use = "a lease is given back when it is dropped"]
pub struct Lease {
    client: String,
    holder: String,
    epoch: u64,
    guard: Arc<dyn Any + Send + Sync>,
}

impl Lease {
    /// For implementations of [`SecretStore`]: `guard` gives the lease back when its last clone is
    /// dropped.
    pub fn new(
        client: impl Into<String>,
        holder: impl Into<String>,
        epoch: u64,
        guard: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self { client: client.into(), holder: holder.into(), epoch, guard }
    }

    /// The client that it is for.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Who took it.
    #[must_use]
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// The fence: a number that grows with each lease that is taken.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// For implementations of [`SecretStore`]: what it was made with, if that is of type `G`.
    #[must_use]
    pub fn guard<G: Any + Send + Sync>(&self) -> Option<Arc<G>> {
        Arc::clone(&self.guard).downcast().ok()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("client", &self.client)
            .field("holder", &self.holder)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// The presence of one instance in a store. The instance is removed when this is dropped.
#[must_use = "the instance is removed when its registration is dropped"]
pub struct Registration {
    instance: String,
    guard: Arc<dyn Any + Send + Sync>,
}

impl Registration {
    /// For implementations of [`SecretStore`]: `guard` removes the instance when its last clone is
    /// dropped.
    pub fn new(instance: impl Into<String>, guard: Arc<dyn Any + Send + Sync>) -> Self {
        Self { instance: instance.into(), guard }
    }

    /// The id of the instance.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// For implementations of [`SecretStore`]: what it was made with, if that is of type `G`.
    #[must_use]
    pub fn guard<G: Any + Send + Sync>(&self) -> Option<Arc<G>> {
        Arc::clone(&self.guard).downcast().ok()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("instance", &self.instance).finish_non_exhaustive()
    }
}
