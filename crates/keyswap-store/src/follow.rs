//! Hot reload: keeps a [`SecretRing`] in step with a store, or with what you have already.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use keyswap_core::{Changes, FallbackPolicy, Revision, SecretDocument, SecretList, SecretRing};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::source::{Outlook, SourceReader};
use crate::{SecretSource, SecretStore, StoreError, StoreErrorKind, Watch};

const POLL: Duration = Duration::from_secs(5);
/// Under load a list that is out of date makes every request ask for a newer one.
const BETWEEN_READS: Duration = Duration::from_millis(50);

/// Keeps a [`SecretRing`] in step with a store, or with a [`SecretSource`]: a file, a directory, a
/// Kubernetes volume. It does so for as long as [`run`](Self::run) runs.
///
/// It reads at once when it starts, whenever the source may have changed, whenever a request was
/// refused with every secret, and every 5 s besides (from etcd: 30 s). What cannot be read (missing,
/// empty, cut off, of an unknown version) changes nothing: the ring keeps the last good list, one
/// warning says why, and the next good list is taken. Its logs hold ids and revisions only.
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
    never_updates: Option<String>,
    status: watch::Receiver<Option<String>>,
    attest_every: watch::Receiver<Option<Duration>>,
    run: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Follow {
    /// Follows a store.
    pub fn store<S: SecretStore>(store: S, ring: SecretRing) -> Self {
        let (watch, told, last) = (None, None, Revision::INITIAL);
        Self::of(StoreSource { store, watch, told, last, warned: false }, ring)
    }

    /// Follows a secret document in a file of your own: [`SecretSource::document`].
    pub fn file(path: impl Into<PathBuf>, ring: SecretRing) -> Self {
        Self::source(SecretSource::document(path), ring)
    }

    /// Follows what you have already: a file, a directory, a Kubernetes volume.
    pub fn source(source: SecretSource, ring: SecretRing) -> Self {
        Self::of(SourceReader::new(source), ring)
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
        Self::start_from(SecretSource::document(path), policy).await
    }

    /// As [`start`](Self::start), from what you have already.
    ///
    /// # Errors
    ///
    /// When it cannot be read or holds no list: [`NotFound`](StoreErrorKind::NotFound) if it is not there,
    /// [`Permissions`](StoreErrorKind::Permissions) if this process may not read it,
    /// [`Invalid`](StoreErrorKind::Invalid) if it is something else.
    pub async fn start_from(
        source: SecretSource,
        policy: FallbackPolicy,
    ) -> Result<(SecretRing, Self), StoreError> {
        let mut source = SourceReader::new(source);
        let document = source.read(None).await?;
        let ring = SecretRing::with_policy(document.list, document.revision, policy);
        Ok((ring.clone(), Self::of(source, ring)))
    }

    /// Why this source never brings another list; `None` if it may. A program that uses it has to be
    /// started anew for each change.
    #[must_use]
    pub fn never_updates(&self) -> Option<&str> {
        self.never_updates.as_deref()
    }

    /// Tells whether the source can be read, also after [`run`](Self::run) took this over.
    #[must_use]
    pub fn status(&self) -> FollowStatus {
        FollowStatus { receiver: self.status.clone() }
    }

    /// As [`start`](Self::start), from a secret in AWS Secrets Manager, which is polled
    /// ([`AwsSecret::poll`](crate::AwsSecret::poll)). With the feature `aws`.
    ///
    /// `AWSCURRENT` is the preferred secret, and whatever else keyswap published is behind it. A secret has the id
    /// of its version. It needs `secretsmanager:DescribeSecret` and `secretsmanager:GetSecretValue`, and does not
    /// report: declare such an application as `manual`.
    ///
    /// # Errors
    ///
    /// When it cannot be read: [`NotFound`](StoreErrorKind::NotFound) if it is not there,
    /// [`Permissions`](StoreErrorKind::Permissions) if these credentials may not read it,
    /// [`Invalid`](StoreErrorKind::Invalid) if it holds something else than client secrets.
    #[cfg(feature = "aws")]
    pub async fn start_aws(
        secret: crate::AwsSecret,
        policy: FallbackPolicy,
    ) -> Result<(SecretRing, Self), StoreError> {
        let mut source = crate::aws::AwsSource::new(secret);
        let document = source.read(None).await?;
        let ring = SecretRing::with_policy(document.list, document.revision, policy);
        Ok((ring.clone(), Self::of(source, ring)))
    }

    /// Follows until it is dropped. Spawn it: it never ends by itself, since it holds the ring.
    pub async fn run(self) {
        self.run.await;
    }

    /// How often the document asks for reports, as it was read last.
    pub(crate) fn attest_every(&self) -> watch::Receiver<Option<Duration>> {
        self.attest_every.clone()
    }

    fn of(source: impl ListSource, ring: SecretRing) -> Self {
        let (sender, status) = watch::channel(None);
        let (asks, attest_every) = watch::channel(None);
        let described = source.describe();
        let outlook = source.outlook();
        let never_updates = match &outlook {
            Outlook::Never(reason) => Some(reason.clone()),
            _ => None,
        };
        // From now on, so that no request finds nobody listening between here and `run`. None waits for a
        // list that never comes.
        let wanted = never_updates.is_none().then(|| ring.refresh_wanted());
        let described_too = described.clone();
        let follower =
            Follower { source, ring, status: sender, attest_every: asks, described: described_too };
        let run = Box::pin(follower.run(wanted, outlook));
        Self { source: described, never_updates, status, attest_every, run }
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow")
            .field("source", &self.source)
            .field("never_updates", &self.never_updates)
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
pub(crate) trait ListSource: Send + 'static {
    fn describe(&self) -> String;
    /// Whether it can bring another list at all.
    fn outlook(&self) -> Outlook {
        Outlook::Open
    }
    /// The shortest time from one read to the next.
    fn between_reads(&self) -> Duration {
        BETWEEN_READS
    }
    /// Reads it. Secrets that are in `known` keep their ids, where the source has none.
    fn read(
        &mut self,
        known: Option<&SecretList>,
    ) -> impl Future<Output = Result<SecretDocument, StoreError>> + Send;
    /// Waits until it may have changed, or for the slow poll.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
    /// Begins to watch. Changes from here on are seen.
    fn prepare(&mut self) -> impl Future<Output = ()> + Send;
}

struct Follower<S> {
    source: S,
    ring: SecretRing,
    status: watch::Sender<Option<String>>,
    attest_every: watch::Sender<Option<Duration>>,
    described: String,
}

impl<S: ListSource> Follower<S> {
    async fn run(mut self, mut wanted: Option<Changes>, outlook: Outlook) {
        if let Outlook::Never(reason) | Outlook::Doubtful(reason) = outlook {
            tracing::warn!(source = %self.described, reason, "a new list may never be seen");
        }
        loop {
            // Before the read: a change in between is then a hint, not a miss.
            self.source.prepare().await;
            let last = Instant::now();
            tracing::trace!(source = %self.described, "reading the list");
            let known = self.ring.snapshot().published().clone();
            let problem = match self.source.read(Some(&known)).await {
                Ok(document) => {
                    let asked = document.attest_every;
                    let problem = take(&self.ring, document, &self.described);
                    // After the ring, so that the report of its list is not taken for one that was asked for.
                    self.attest_every
                        .send_if_modified(|last| std::mem::replace(last, asked) != asked);
                    problem
                }
                Err(error) => Some(error.to_string()),
            };
            self.say(problem);
            tokio::select! {
                () = self.source.changed() => {}
                () = asked(&mut wanted) => {}
            }
            sleep_until(last + self.source.between_reads()).await;
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

/// Waits until a request was refused with every secret.
async fn asked(wanted: &mut Option<Changes>) {
    match wanted {
        Some(wanted) => {
            wanted.changed().await;
        }
        None => std::future::pending().await,
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
    /// What came with the last hint.
    told: Option<SecretDocument>,
    /// The last list that was given on.
    last: Revision,
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

impl<S: SecretStore> ListSource for StoreSource<S> {
    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn read(&mut self, _: Option<&SecretList>) -> Result<SecretDocument, StoreError> {
        // What came late does not count: the list that was read meanwhile is newer.
        let told = self.told.take().filter(|document| document.revision > self.last);
        let document = match told {
            Some(document) => document,
            None => read_store(&self.store).await?,
        };
        self.last = document.revision;
        Ok(document)
    }

    async fn changed(&mut self) {
        match &mut self.watch {
            Some(watch) => {
                watch.changed().await;
                self.told = watch.list();
            }
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
