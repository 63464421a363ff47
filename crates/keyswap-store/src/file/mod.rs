//! A store in one directory, for the processes of one host. It needs no server.

#[cfg(test)]
mod disk;
#[cfg(test)]
mod fencing;
mod fs;
#[cfg(test)]
mod full;
mod history;
mod hold;
mod instances;
mod lock;
mod permissions;
mod place;
#[cfg(test)]
mod power;
mod replace;
mod seal;
mod section;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyswap_core::{Revision, SecretDocument, SecretList};
use zeroize::Zeroizing;

use self::lock::Lock;
use self::place::Place;
#[cfg(feature = "age")]
pub use self::seal::Seal;
use self::seal::Sealing;
pub use self::watch::FileWatch;
use crate::{
    HistoryEntry, HistoryHead, Hold, Instance, InstanceReport, Lease, Registration, SecretStore,
    StoreError, StoreErrorKind,
};

const POLL: Duration = Duration::from_secs(5);
/// Long enough for a machine under load, and short enough to wait for.
const TERM: Duration = Duration::from_secs(30);
/// A lease that is shorter could end between two turns of a rotator.
const SHORTEST_TERM: Duration = Duration::from_millis(100);
/// How many reports of instances are read before they are looked at.
const READ_AT_ONCE: usize = 128;

/// One client's place in a directory.
///
/// ```text
/// DIRECTORY/                     mode 0700
///   CLIENT/                      the client id; what is not [A-Za-z0-9_.-] is written as %XX
///     ring.json                  the published list (a secret document)
///     rotation.json              the journal of the rotation
///     lock                       who holds the lease
///     hold.json                  a person's "not now", while there is one
///     history.jsonl              one record a line, each holding the hash of the line before
///     history.head               number and hash of the last line
///     instances/ID.json          the last report of an instance
///     instances/ID.alive         locked while the process of that instance lives
/// ```
///
/// Files have mode 0600 and are replaced as a whole; one that others can read is refused. All
/// processes run as the same user on the same host: locks do not reach over network file systems.
///
/// The lease is a lock that the kernel takes back when its process ends, so a rotation whose process was
/// killed can be resumed at once. A process that lives and does not go on loses it after its
/// [time](Self::lease). What a process does that goes on after that is refused: each write looks whether
/// the lease is still its own while it holds a short second lock, on `CLIENT/` itself, and whoever takes
/// the lease over holds that too. A process that is stopped in the middle of a write keeps its lease.
///
/// ```
/// use keyswap_core::{Secret, SecretList};
/// use keyswap_store::{FileStore, SecretStore};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path().join("store");
/// let store = FileStore::create(&directory, "billing")?;
/// let list = SecretList::new([Secret::new("first".parse()?, "Vq3hCc0Zc1Jx")?])?;
/// store.import(&list).await?;
///
/// let lease = store.acquire("an example").await?;
/// let document = store.published().await?.expect("it was imported");
/// let next = list.iter().cloned().chain([Secret::new("second".parse()?, "yT7mXo2LrWq8")?]);
/// store.publish(&lease, document.revision, &SecretList::new(next)?, None).await?;
/// assert_eq!(store.published().await?.expect("it was published").list.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FileStore {
    place: Arc<Place>,
}

impl FileStore {
    /// Opens a store whose directory is there.
    ///
    /// # Errors
    ///
    /// [`NotFound`](StoreErrorKind::NotFound) when it is missing,
    /// [`Permissions`](StoreErrorKind::Permissions) when others can look into it or it is not ours,
    /// [`Invalid`](StoreErrorKind::Invalid) when it is not a directory or the client id is empty.
    pub fn open(
        directory: impl Into<PathBuf>,
        client: impl Into<String>,
    ) -> Result<Self, StoreError> {
        let store = Self::unchecked(directory.into(), client.into())?;
        permissions::check_directory(&store.place.root, "open the file store")?;
        Ok(store)
    }

    /// Opens a store, and makes its directory with mode 0700 if it is not there. The directory above
    /// it must be.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and when the directory cannot be made.
    pub fn create(
        directory: impl Into<PathBuf>,
        client: impl Into<String>,
    ) -> Result<Self, StoreError> {
        let store = Self::unchecked(directory.into(), client.into())?;
        permissions::make_directory(&store.place.root, "make the file store")?;
        Ok(store)
    }

    /// How often a watch looks for changes by itself, behind the events of the operating system.
    /// Default 5 s.
    #[must_use]
    pub fn poll(self, poll: Duration) -> Self {
        self.with(|place| place.poll = poll)
    }

    /// For how long a lease is certain after it was taken or renewed. Once that is over, another
    /// process may take over from a holder that lives: one that was stopped, or hangs. A holder that
    /// ends gives its lease back at once, whatever this says. Default 30 s; less than 100 ms counts as
    /// 100 ms.
    ///
    /// It is measured on the clock that counts from the start of the machine, which nobody can set: a
    /// wall clock that jumps changes nothing.
    #[must_use]
    pub fn lease(self, term: Duration) -> Self {
        self.with(|place| place.term = term.max(SHORTEST_TERM))
    }

    /// Seals what holds secrets, the list and the journal of a rotation, with this key.
    ///
    /// A store that is not sealed yet is read as it is, and each file is sealed when it is written next, or all at
    /// once by [`reseal`](Self::reseal): give all programs the key first, then the rotator. What is sealed
    /// cannot be read without the key: [`Sealed`](StoreErrorKind::Sealed).
    #[cfg(feature = "age")]
    #[must_use]
    pub fn sealed(self, seal: Seal) -> Self {
        self.with(|place| place.sealing = seal.into())
    }

    /// Writes what holds secrets and is there anew, sealed with the key that this store has now
    /// ([`sealed`](Self::sealed)), and names those files. So a store that was open is sealed at once, and one
    /// whose identities have changed is sealed to the new ones alone.
    ///
    /// Each file is replaced as a whole, and those that are sealed are read beside those that are not: a
    /// process that is killed in the middle has done a part, and the next call does the rest. The lists and
    /// revisions are what they were, so that programs see no change. What was there before is not in the
    /// directory any more; the blocks of the disk may hold it still.
    ///
    /// ```
    /// use keyswap_core::{Secret, SecretList};
    /// use keyswap_store::{FileStore, Seal, SecretStore};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let directory = tempfile::tempdir()?;
    /// # let identity = directory.path().join("identity.txt");
    /// # let directory = directory.path().join("store");
    /// let open = FileStore::create(&directory, "billing")?;
    /// open.import(&SecretList::new([Secret::new("first".parse()?, "Vq3hCc0Zc1Jx")?])?).await?;
    ///
    /// let store = open.clone().sealed(Seal::create_identity(&identity)?);
    /// let lease = store.acquire("an example").await?;
    /// store.reseal(&lease).await?;
    /// assert!(open.published().await.unwrap_err().is_sealed());
    ///
    /// store.unseal(&lease).await?;
    /// assert!(open.published().await?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LeaseLost`](StoreErrorKind::LeaseLost); [`Sealed`](StoreErrorKind::Sealed) when a file is sealed with
    /// another key, [`Invalid`](StoreErrorKind::Invalid) when the list is damaged, and then nothing is
    /// written; or when it cannot be written.
    #[cfg(feature = "age")]
    pub async fn reseal(&self, lease: &Lease) -> Result<Vec<PathBuf>, StoreError> {
        self.rewrite(lease, self.place.sealing.clone(), "seal the store").await
    }

    /// The way back of [`reseal`](Self::reseal): writes what holds secrets anew in the open, and names those
    /// files. The key has to be given once more for that; the next write with it seals again.
    ///
    /// # Errors
    ///
    /// As [`reseal`](Self::reseal).
    #[cfg(feature = "age")]
    pub async fn unseal(&self, lease: &Lease) -> Result<Vec<PathBuf>, StoreError> {
        self.rewrite(lease, Sealing::default(), "write the store in the open").await
    }

    #[cfg(feature = "age")]
    async fn rewrite(
        &self,
        lease: &Lease,
        sealing: Sealing,
        doing: &str,
    ) -> Result<Vec<PathBuf>, StoreError> {
        let lock = self.lock(lease)?;
        self.blocking(doing, move |place, doing| place.rewrite(&sealing, &lock.writing(), doing))
            .await
    }

    /// Those of the files with secrets that are not sealed, and so are read by whoever reads the directory.
    ///
    /// # Errors
    ///
    /// When one is there and cannot be read.
    pub async fn in_the_open(&self) -> Result<Vec<PathBuf>, StoreError> {
        self.blocking("look at the seals", Place::in_the_open).await
    }

    /// The directory that holds this client's files.
    #[must_use]
    pub fn client_directory(&self) -> &Path {
        &self.place.directory
    }

    fn with(self, change: impl FnOnce(&mut Place)) -> Self {
        let mut place = Place::clone(&self.place);
        change(&mut place);
        Self { place: Arc::new(place) }
    }

    fn unchecked(root: PathBuf, client: String) -> Result<Self, StoreError> {
        if client.is_empty() {
            return Err(StoreError::new(StoreErrorKind::Invalid, "open the file store")
                .at(root.display().to_string())
                .because("the client id is empty"));
        }
        // So that it stays this place when the process goes to another directory.
        let root = std::path::absolute(&root).unwrap_or(root);
        let directory = root.join(crate::name::escape(&client));
        Ok(Self {
            place: Arc::new(Place {
                root,
                client,
                directory,
                poll: POLL,
                term: TERM,
                sealing: Sealing::default(),
            }),
        })
    }

    /// For messages: what is being done, and for which client.
    fn doing(&self, doing: &str) -> String {
        format!("{doing} of client {}", self.place.client)
    }

    /// Runs `work` where it may wait for the disk. It runs to its end even if the caller gives up.
    async fn blocking<T, W>(&self, doing: &str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Place, &str) -> Result<T, StoreError> + Send + 'static,
    {
        let (place, doing) = (Arc::clone(&self.place), self.doing(doing));
        let task = tokio::task::spawn_blocking({
            let doing = doing.clone();
            move || work(&place, &doing)
        });
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(StoreError::new(StoreErrorKind::OutcomeUnknown, doing)
                .because("the program is shutting down")
                .way_out("run it again")),
        }
    }

    /// The lock behind a lease, if the lease is one of this place.
    fn lock(&self, lease: &Lease) -> Result<Arc<Lock>, StoreError> {
        let lock = lease.guard::<Lock>().filter(|lock| lock.path() == self.place.lock());
        lock.ok_or_else(|| {
            StoreError::new(StoreErrorKind::LeaseLost, "use the lease")
                .at(self.describe())
                .because(format!("it is a lease of client {} in another store", lease.client()))
        })
    }
}

impl SecretStore for FileStore {
    type Watch = FileWatch;

    fn client(&self) -> &str {
        &self.place.client
    }

    fn describe(&self) -> String {
        format!("the file store at {}", self.place.root.display())
    }

    async fn published(&self) -> Result<Option<SecretDocument>, StoreError> {
        self.blocking("read the list", Place::published).await
    }

    async fn import(&self, list: &SecretList) -> Result<Revision, StoreError> {
        let list = list.clone();
        self.blocking("import the list", move |place, doing| {
            let lock = place.acquire("an import", doing)?;
            if place.published(doing)?.is_some() {
                return Err(StoreError::new(StoreErrorKind::AlreadyExists, doing)
                    .at(place.ring().display().to_string())
                    .because("there is a list already")
                    .way_out("rotate it: keyswap rotate"));
            }
            let revision = Revision::INITIAL.next();
            let document = SecretDocument { revision, attest_every: None, list };
            place.write(&lock.writing(), &document, doing)?;
            Ok(revision)
        })
        .await
    }

    async fn publish(
        &self,
        lease: &Lease,
        expected: Revision,
        list: &SecretList,
        attest_every: Option<Duration>,
    ) -> Result<Revision, StoreError> {
        let (lock, list) = (self.lock(lease)?, list.clone());
        self.blocking("publish the list", move |place, doing| {
            let writing = lock.writing();
            let Some(present) = place.published(doing)? else {
                return Err(StoreError::new(StoreErrorKind::NotFound, doing)
                    .at(place.ring().display().to_string())
                    .because("there is no list to replace")
                    .way_out("import the present secret first: keyswap init"));
            };
            let found = present.revision;
            if found != expected {
                return Err(StoreError::new(StoreErrorKind::Conflict { expected, found }, doing)
                    .at(place.ring().display().to_string())
                    .because(format!("revision {found} is there, and {expected} was expected"))
                    .way_out("nothing was written; look who changed it: keyswap status"));
            }
            let revision = expected.next();
            place.write(&writing, &SecretDocument { revision, attest_every, list }, doing)?;
            Ok(revision)
        })
        .await
    }

    async fn watch(&self) -> Result<FileWatch, StoreError> {
        self.blocking("watch the list", |place, _| {
            Ok(FileWatch::of_ours(&place.ring(), place.poll))
        })
        .await
    }

    async fn journal(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.blocking("read the journal", |place, doing| {
            if !place.exists(doing)? {
                return Ok(None);
            }
            place.read(&place.journal(), doing)
        })
        .await
    }

    async fn save_journal(&self, lease: &Lease, document: &[u8]) -> Result<(), StoreError> {
        let (lock, document) = (self.lock(lease)?, Zeroizing::new(document.to_vec()));
        self.blocking("save the journal", move |place, doing| {
            place.replace(&place.journal(), &lock.writing(), &document, doing)
        })
        .await
    }

    async fn acquire(&self, holder: &str) -> Result<Lease, StoreError> {
        let holder = holder.to_owned();
        let lock = self.blocking("take the lease", {
            let holder = holder.clone();
            move |place, doing| place.acquire(&holder, doing)
        });
        let lock = lock.await?;
        Ok(Lease::new(self.client(), holder, lock.epoch(), Arc::new(lock)))
    }

    async fn renew(&self, lease: &Lease) -> Result<Duration, StoreError> {
        let lock = self.lock(lease)?;
        self.blocking("keep the lease", move |_, doing| lock.writing().renew(doing)).await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        drop(lease);
        Ok(())
    }

    async fn register(&self, report: &InstanceReport) -> Result<Registration, StoreError> {
        let (instance, report) = (report.instance.clone(), report.clone());
        let presence = self.blocking("register an instance", move |place, doing| {
            place.make(doing)?;
            instances::Presence::register(&place.instances(), &report, doing)
        });
        Ok(Registration::new(instance, Arc::new(presence.await?)))
    }

    async fn report(
        &self,
        registration: &Registration,
        report: &InstanceReport,
    ) -> Result<(), StoreError> {
        let presence = self.presence(registration)?;
        let report = report.clone();
        self.blocking("report an instance", move |_, doing| presence.report(&report, doing)).await
    }

    async fn unregister(&self, registration: Registration) -> Result<(), StoreError> {
        let presence = self.presence(&registration)?;
        self.blocking("remove an instance", move |_, doing| presence.remove(doing)).await
    }

    async fn instances(&self) -> Result<Vec<Instance>, StoreError> {
        const DOING: &str = "list the instances";
        let names = self.blocking(DOING, |place, doing| match place.exists(doing)? {
            true => instances::names(&place.instances(), doing),
            false => Ok(String::new()),
        });
        let names = names.await?;
        let ids = instances::ids(&names);
        let (directory, doing) = (self.place.instances(), self.doing(DOING));
        let (mut instances, mut known) = (Vec::with_capacity(ids.len()), instances::Ids::default());
        // Some at a time, and what is kept of them is allocated here: what the threads that wait for the
        // disk allocate in their own arenas is given back and taken again, but not to the system.
        for ids in ids.chunks(READ_AT_ONCE) {
            let ids = ids.iter().map(ToString::to_string).collect();
            let found = self.blocking(DOING, move |place, doing| {
                Ok(instances::find(&place.instances(), ids, doing))
            });
            let found = found.await?.into_iter();
            instances
                .extend(found.filter_map(|found| found.instance(&directory, &mut known, &doing)));
        }
        Ok(instances)
    }

    async fn hold(&self) -> Result<Option<Hold>, StoreError> {
        self.blocking("read the hold on the rotations", |place, doing| {
            if !place.exists(doing)? {
                return Ok(None);
            }
            hold::read(&place.hold(), doing)
        })
        .await
    }

    async fn set_hold(&self, hold: Option<&Hold>) -> Result<(), StoreError> {
        let hold = hold.cloned();
        self.blocking("write the hold on the rotations", move |place, doing| {
            hold::write(place, hold.as_ref(), doing)
        })
        .await
    }

    async fn append_history(
        &self,
        lease: &Lease,
        record: &serde_json::Value,
    ) -> Result<HistoryHead, StoreError> {
        let lock = self.lock(lease)?;
        // A record of thousands of instances takes several times as much memory as its text.
        let record = serde_json::to_vec(record);
        self.blocking("append to the history", move |place, doing| {
            let record = record
                .map_err(|error| permissions::io_error(error.into(), &place.history(), doing))?;
            history::append(&place.directory, &mut lock.writing(), &record, doing)
        })
        .await
    }

    async fn history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        self.blocking("read the history", |place, doing| {
            if !place.exists(doing)? {
                return Ok(Vec::new());
            }
            history::read(&place.directory, doing)
        })
        .await
    }

    async fn verify_history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        self.blocking("verify the history", |place, doing| {
            if !place.exists(doing)? {
                return Ok(Vec::new());
            }
            history::read_strictly(&place.directory, doing)
        })
        .await
    }
}

impl FileStore {
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
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore")
            .field("directory", &self.place.root)
            .field("client", &self.place.client)
            .finish_non_exhaustive()
    }
}
