//! Hot reload: keeps a [`SecretRing`] in step with a store, or with a file of your own.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use keyswap_core::{Changes, FallbackPolicy, Revision, SecretDocument, SecretRing};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::file::{self, FileWatch};
use crate::{SecretStore, StoreError, StoreErrorKind, Watch};

const POLL: Duration = Duration::from_secs(5);
/// Under load a list that is out of date makes every request ask for a newer one.
const BETWEEN_READS: Duration = Duration::from_millis(50);

/// Keeps a [`SecretRing`] in step with a store or a file, for as long as [`run`](Self::run) runs.
///
/// It reads at once when it starts, whenever the source may have changed, whenever a request was
/// refused with every secret, and every 5 s besides. What cannot be read (missing, empty, cut off, of
/// an unknown version) changes nothing: the ring keeps the last good list, one warning says why, and
/// the next good list is taken. Its logs hold ids and revisions only.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use keyswap_core::FallbackPolicy;
/// use keyswap_store::Follow;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("secrets.json");
/// std::fs::write(&path, r#"{"keyswap": 1, "secrets": [{"id": "a", "value": "Vq3hCc0Zc1Jx"}]}"#)?;
/// let (ring, follow) = Follow::start_file(&path, FallbackPolicy::default()).await?;
/// let following = tokio::spawn(follow.run());
///
/// let mut changes = ring.subscribe();
/// std::fs::write(&path, r#"{"keyswap": 1, "secrets": [{"id": "b", "value": "yT7mXo2LrWq8"}]}"#)?;
/// changes.changed().await;
/// assert_eq!(ring.snapshot().list().preferred().id().as_str(), "b");
/// following.abort();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a Follow does nothing until its `run` is spawned"]
pub struct Follow {
    source: String,
    status: watch::Receiver<Option<String>>,
    run: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Follow {
    /// Follows a store.
    pub fn store<S: SecretStore>(store: S, ring: SecretRing) -> Self {
        Self::of(StoreSource { store, watch: None, warned: false }, ring)
    }

    /// Follows a secret document in a file of your own: one that an operator edits, or that Kubernetes
    /// mounts. Its permissions are its owner's choice and are not looked at.
    ///
    /// A document with a `revision` above 0 is taken when that grew; without one, when the secrets
    /// differ.
    pub fn file(path: impl Into<PathBuf>, ring: SecretRing) -> Self {
        Self::of(FileSource { path: path.into(), watch: None }, ring)
    }

    /// Reads the first list from a store, and gives a ring with it and what keeps it in step.
    ///
    /// # Errors
    ///
    /// When the list cannot be read, or there is none yet.
    pub async fn start<S: SecretStore>(
        store: S,
        policy: FallbackPolicy,
    ) -> Result<(SecretRing, Self), StoreError> {
        let document = read_store(&store).await?;
        let ring = SecretRing::with_policy(document.list, document.revision, policy);
        Ok((ring.clone(), Self::store(store, ring)))
    }

    /// As [`start`](Self::start), from a file of your own.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or holds no list.
    pub async fn start_file(
        path: impl Into<PathBuf>,
        policy: FallbackPolicy,
    ) -> Result<(SecretRing, Self), StoreError> {
        let path = path.into();
        let document = file::read_document(path.clone()).await?;
        let ring = SecretRing::with_policy(document.list, document.revision, policy);
        Ok((ring.clone(), Self::file(path, ring)))
    }

    /// Tells whether the source can be read, also after [`run`](Self::run) took this over.
    #[must_use]
    pub fn status(&self) -> FollowStatus {
        FollowStatus { receiver: self.status.clone() }
    }

    /// Follows until it is dropped. Spawn it: it never ends by itself, since it holds the ring.
    pub async fn run(self) {
        self.run.await;
    }

    fn of(source: impl Source, ring: SecretRing) -> Self {
        let (sender, status) = watch::channel(None);
        let described = source.describe();
        // From now on, so that no request finds nobody listening between here and `run`.
        let wanted = ring.refresh_wanted();
        let follower = Follower { source, ring, status: sender, described: described.clone() };
        Self { source: described, status, run: Box::pin(follower.run(wanted)) }
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow")
            .field("source", &self.source)
            .field("problem", &*self.status.borrow())
            .finish_non_exhaustive()
    }
}

/// Whether what a [`Follow`] reads can be read.
#[derive(Clone, Debug)]
pub struct FollowStatus {
    receiver: watch::Receiver<Option<String>>,
}

impl FollowStatus {
    /// Why the last good list is kept; `None` while the source is good.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.receiver.borrow().clone()
    }

    /// Waits until the problem changes or goes, and gives the one there is then. `None` also when
    /// nothing follows any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) -> Option<String> {
        self.receiver.changed().await.ok()?;
        self.receiver.borrow_and_update().clone()
    }
}

/// Where a list comes from.
trait Source: Send + 'static {
    fn describe(&self) -> String;
    fn read(&mut self) -> impl Future<Output = Result<SecretDocument, StoreError>> + Send;
    /// Waits until it may have changed, or for the slow poll.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
    /// Begins to watch. Changes from here on are seen.
    fn prepare(&mut self) -> impl Future<Output = ()> + Send;
}

struct Follower<S> {
    source: S,
    ring: SecretRing,
    status: watch::Sender<Option<String>>,
    described: String,
}

impl<S: Source> Follower<S> {
    async fn run(mut self, mut wanted: Changes) {
        loop {
            // Before the read: a change in between is then a hint, not a miss.
            self.source.prepare().await;
            let last = Instant::now();
            tracing::trace!(source = %self.described, "reading the list");
            let problem = match self.source.read().await {
                Ok(document) => take(&self.ring, document, &self.described),
                Err(error) => Some(error.to_string()),
            };
            self.say(problem);
            tokio::select! {
                () = self.source.changed() => {}
                _ = wanted.changed() => {}
            }
            sleep_until(last + BETWEEN_READS).await;
        }
    }

    fn say(&self, problem: Option<String>) {
        self.status.send_if_modified(|last| {
            if *last == problem {
                return false;
            }
            let source = &self.described;
            match &problem {
                Some(problem) => {
                    tracing::warn!(%source, %problem, "the list in use is kept");
                }
                None => tracing::info!(%source, "the list can be read again"),
            }
            *last = problem;
            true
        });
    }
}

/// Puts a document into the ring; gives the reason if it must not go there.
fn take(ring: &SecretRing, document: SecretDocument, source: &str) -> Option<String> {
    let before = ring.snapshot();
    let SecretDocument { revision, list, .. } = document;
    if revision == Revision::INITIAL {
        ring.replace(list);
    } else if !ring.replace_at(list.clone(), revision) {
        let present = ring.snapshot();
        let same = present.published().ids().eq(list.ids()) && *present.published() == list;
        return match revision.cmp(&present.revision()) {
            std::cmp::Ordering::Less => Some(format!(
                "{source} holds revision {revision}, older than revision {} in use: was it \
                 restored from a backup? Publish the list again under a higher revision",
                present.revision()
            )),
            _ if same => None,
            _ => Some(format!(
                "{source} holds another list under revision {revision}, which is in use already: \
                 raise the revision with each change"
            )),
        };
    }
    let after = ring.snapshot();
    if after.revision() != before.revision() {
        tracing::info!(
            source,
            revision = after.revision().number(),
            secrets = ?after.published(),
            "took a new list"
        );
    }
    None
}

struct StoreSource<S: SecretStore> {
    store: S,
    watch: Option<S::Watch>,
    warned: bool,
}

async fn read_store<S: SecretStore>(store: &S) -> Result<SecretDocument, StoreError> {
    store.published().await?.ok_or_else(|| {
        let doing = format!("read the list of client {}", store.client());
        StoreError::new(StoreErrorKind::NotFound, doing)
            .at(store.describe())
            .because("it holds no list of this client")
            .way_out("import the present secret first: keyswap init")
    })
}

impl<S: SecretStore> Source for StoreSource<S> {
    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn read(&mut self) -> Result<SecretDocument, StoreError> {
        read_store(&self.store).await
    }

    async fn changed(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => sleep(POLL).await,
        }
    }

    async fn prepare(&mut self) {
        if self.watch.is_some() {
            return;
        }
        match self.store.watch().await {
            Ok(watch) => self.watch = Some(watch),
            Err(error) if !self.warned => {
                self.warned = true;
                tracing::warn!(%error, poll = ?POLL, "the store cannot be watched; it is polled");
            }
            Err(_) => {}
        }
    }
}

struct FileSource {
    path: PathBuf,
    watch: Option<FileWatch>,
}

impl Source for FileSource {
    fn describe(&self) -> String {
        format!("the file {}", self.path.display())
    }

    async fn read(&mut self) -> Result<SecretDocument, StoreError> {
        file::read_document(self.path.clone()).await
    }

    async fn changed(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => sleep(POLL).await,
        }
    }

    async fn prepare(&mut self) {
        if self.watch.is_none() {
            self.watch = Some(FileWatch::of_the_users(&self.path, POLL));
        }
    }
}
