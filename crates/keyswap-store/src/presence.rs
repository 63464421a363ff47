//! Reporting: what tells the rotator which list this program uses, and whether it still uses an old
//! secret.

use std::fmt;
use std::time::Duration;

use keyswap_core::{FallbackPolicy, SecretRing, UsageReport};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::report::random_instance;
use crate::{Follow, InstanceReport, Registration, SecretStore, StoreError};

const TICK: Duration = Duration::from_secs(1);
/// While nodes of the server disagree, the order of a ring may change with every few requests.
const BETWEEN_REPORTS: Duration = Duration::from_millis(50);

/// This program's presence in a store.
///
/// Register **before** reading the list: the rotator then either sees an instance that is not ready, or
/// this program reads a list that was published before the rotator looked. [`join`] does all of it.
///
/// It reports at once when it runs, whenever the revision or the order of the ring changes, and within
/// a second when a secret is used for the first time or one that is not preferred is used again; and
/// as often as the published document asks for, even if nothing moved. A report that fails is sent
/// again a second later. The instance is removed when this is dropped.
#[must_use = "the instance is removed when its presence is dropped"]
pub struct Presence<S: SecretStore> {
    store: S,
    registration: Registration,
    last: InstanceReport,
    tick: Duration,
}

impl<S: SecretStore> Presence<S> {
    /// Registers a new instance of `application`, which has read no list yet.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    pub async fn register(store: &S, application: &str) -> Result<Self, StoreError> {
        let last = InstanceReport::new(application, random_instance()?);
        let registration = store.register(&last).await?;
        Ok(Self { store: store.clone(), registration, last, tick: TICK })
    }

    /// How often the counters are looked at. Default 1 s; never below 10 ms.
    pub fn tick(mut self, tick: Duration) -> Self {
        self.tick = tick.max(Duration::from_millis(10));
        self
    }

    /// The id of this instance.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.registration.instance()
    }

    /// Reports what `ring` does until this is dropped. Spawn it: it never ends by itself.
    pub async fn run(mut self, ring: SecretRing) {
        let mut changes = ring.subscribe();
        let mut ticks = interval(self.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = State { attest_every: None, ask: true, due: true, warned: false };
        let mut reported = Instant::now();
        loop {
            if state.due {
                self.report(&ring, &mut state).await;
                // Also after a failure, so that a dead store is not asked in a loop.
                reported = Instant::now();
            }
            if state.ask {
                self.learn_attest_every(&mut state).await;
            }
            let attest = state.attest_every.map(|every| reported + every);
            tokio::select! {
                change = changes.changed() => {
                    if change.is_none() {
                        return;
                    }
                    state.due = true;
                    state.ask = true;
                    sleep_until(reported + BETWEEN_REPORTS).await;
                }
                _ = ticks.tick() => state.due |= moved(self.last.usage.as_ref(), &ring.usage()),
                () = sleep_until(attest.unwrap_or(reported)), if attest.is_some() => {
                    state.due = true;
                    state.ask = true;
                }
            }
        }
    }

    async fn report(&mut self, ring: &SecretRing, state: &mut State) {
        let report = self.last.next(ring.usage());
        match self.store.report(&self.registration, &report).await {
            Ok(()) => {
                self.last = report;
                state.due = false;
                if std::mem::take(&mut state.warned) {
                    tracing::info!(instance = self.instance(), "reports arrive again");
                }
            }
            Err(error) => {
                // A number that may have been written is not given to another report.
                self.last.sequence = report.sequence;
                if !std::mem::replace(&mut state.warned, true) {
                    tracing::warn!(instance = self.instance(), %error, "the report failed");
                }
            }
        }
    }

    async fn learn_attest_every(&self, state: &mut State) {
        // A document that cannot be read is told by `Follow`; the last word counts until then.
        if let Ok(document) = self.store.published().await {
            state.attest_every = document
                .and_then(|document| document.attest_every)
                .map(|every| every.max(BETWEEN_REPORTS));
            state.ask = false;
        }
    }
}

struct State {
    attest_every: Option<Duration>,
    /// Whether the document must be read for `attest_every`.
    ask: bool,
    due: bool,
    warned: bool,
}

/// Whether counters moved in a way that the rotator waits for: a first use, or a use of a secret that
/// is not preferred. Every use of the preferred one would be a report a second for nothing.
fn moved(last: Option<&UsageReport>, now: &UsageReport) -> bool {
    now.secrets.iter().enumerate().any(|(position, usage)| {
        let before = last.and_then(|last| last.of(&usage.id)).map_or(0, |usage| usage.used());
        let used = usage.used();
        used != before && (before == 0 || position > 0)
    })
}

impl<S: SecretStore> fmt::Debug for Presence<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence")
            .field("store", &self.store.describe())
            .field("client", &self.store.client())
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

/// Makes this program one of `application` in the store: registers it, reads the list, and gives the
/// ring to use and one future to spawn, which follows the store and reports until it is dropped.
///
/// ```
/// use keyswap_core::{FallbackPolicy, Secret, SecretList};
/// use keyswap_store::{FileStore, SecretStore, join};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path().join("store");
/// # let store = FileStore::create(&directory, "billing")?;
/// # store.import(&SecretList::new([Secret::new("first".parse()?, "Vq3hCc0Zc1Jx")?])?).await?;
/// let store = FileStore::open(&directory, "billing")?;
/// let (ring, member) = join(store, "invoices", FallbackPolicy::default()).await?;
/// let member = tokio::spawn(member);
/// assert_eq!(ring.snapshot().revision().number(), 1);
/// member.abort();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// When the store cannot be written or read, or holds no list yet.
pub async fn join<S: SecretStore>(
    store: S,
    application: &str,
    policy: FallbackPolicy,
) -> Result<(SecretRing, impl Future<Output = ()> + Send + use<S>), StoreError> {
    let presence = Presence::register(&store, application).await?;
    let (ring, follow) = Follow::start(store, policy).await?;
    let reports = presence.run(ring.clone());
    let member = async move {
        tokio::join!(follow.run(), reports);
    };
    Ok((ring, member))
}
