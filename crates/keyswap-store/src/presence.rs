//! Reporting: what tells the rotator which list this program uses, and whether it still uses an old
//! secret.

mod rates;

use std::fmt;
use std::time::Duration;

use keyswap_core::{FallbackPolicy, SecretRing, UsageReport};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::rates::{Change, RESTED, Reported};
use crate::report::{chance, random_instance};
use crate::{Follow, InstanceReport, Registration, SecretStore, StoreError};

const TICK: Duration = RESTED;
/// After a report that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// This program's presence in a store.
///
/// Register **before** reading the list: the rotator then either sees an instance that is not ready, or
/// this program reads a list that was published before the rotator looked. [`join`] does all of it.
///
/// When it reports, while it runs:
///
/// | what happened since the last report | in a rotation | at rest |
/// | --- | --- | --- |
/// | another list is in use | at once | at once |
/// | a secret was used for the first time, one that is not preferred was used, the order changed | within 1 s of the last time, and within 5 s while it goes on | the same |
/// | the preferred secret was used again | within 5 s of such news, then ever more seldom, to once a minute | once in 5 to 10 minutes |
/// | nothing | as often as the published document asks for ([`SecretStore::publish`]), up to a quarter sooner | never |
///
/// A rotation is under way when the list holds more than one secret, or the document asks for reports. A
/// report that fails is sent again a second later. The instance is removed when this is dropped.
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

    /// How often the counters are looked at, which costs the store nothing. Default 500 ms; never below
    /// 10 ms.
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
    ///
    /// It reads the published document for itself, to learn how often to report; [`join`] spares that.
    pub async fn run(self, ring: SecretRing) {
        self.run_with(ring, Asked::Store { every: None, ask: true }).await;
    }

    async fn run_with(mut self, ring: SecretRing, mut asked: Asked) {
        let mut changes = ring.subscribe();
        let mut ticks = interval(self.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = State::new(ring.usage());
        loop {
            let present = ring.usage();
            state.look(&present);
            let due = match state.failed {
                Some(at) => Some(at + AGAIN),
                None => self.reported(&state, asked.every()).due(&present),
            };
            if due.is_some_and(|due| due <= Instant::now()) {
                self.report(present, &mut state).await;
                asked.again();
                continue;
            }
            asked.learn(&self.store).await;
            let wake = due.unwrap_or_else(Instant::now);
            tokio::select! {
                change = changes.changed() => {
                    if change.is_none() {
                        return;
                    }
                    asked.again();
                }
                _ = ticks.tick() => {}
                () = asked.changed() => {}
                () = sleep_until(wake), if due.is_some() => {}
            }
        }
    }

    fn reported(&self, state: &State, attest_every: Option<Duration>) -> Reported<'_> {
        Reported {
            usage: self.last.usage.as_ref(),
            at: state.reported,
            moved: state.moved,
            news: state.news,
            attest_every,
            chance: state.chance,
        }
    }

    async fn report(&mut self, usage: UsageReport, state: &mut State) {
        let change = Change::between(self.last.usage.as_ref(), &usage);
        let report = self.last.next(usage);
        let outcome = self.store.report(&self.registration, &report).await;
        let now = Instant::now();
        match outcome {
            Ok(()) => {
                self.last = report;
                state.reported = now;
                state.failed = None;
                if change >= Change::Awaited {
                    state.news = now;
                }
                if std::mem::take(&mut state.warned) {
                    tracing::info!(instance = self.instance(), "reports arrive again");
                }
            }
            Err(error) => {
                // A number that may have been written is not given to another report.
                self.last.sequence = report.sequence;
                state.failed = Some(now);
                if !std::mem::replace(&mut state.warned, true) {
                    tracing::warn!(instance = self.instance(), %error, "the report failed");
                }
            }
        }
    }
}

struct State {
    looked: UsageReport,
    moved: Instant,
    reported: Instant,
    news: Instant,
    /// When the last report failed, if it did.
    failed: Option<Instant>,
    warned: bool,
    chance: f64,
}

impl State {
    fn new(looked: UsageReport) -> Self {
        let now = Instant::now();
        let (moved, reported, news) = (now, now, now);
        Self { looked, moved, reported, news, failed: None, warned: false, chance: chance() }
    }

    fn look(&mut self, present: &UsageReport) {
        if Change::between(Some(&self.looked), present) >= Change::Awaited {
            self.moved = Instant::now();
        }
        self.looked.clone_from(present);
    }
}

/// Where it is known from how often the document asks for a report.
enum Asked {
    /// From the store itself, which is asked whenever that may have changed.
    Store { every: Option<Duration>, ask: bool },
    /// From whoever reads the document anyway.
    Told(watch::Receiver<Option<Duration>>),
}

impl Asked {
    fn every(&mut self) -> Option<Duration> {
        match self {
            Self::Store { every, .. } => *every,
            Self::Told(every) => *every.borrow_and_update(),
        }
    }

    fn again(&mut self) {
        if let Self::Store { ask, .. } = self {
            *ask = true;
        }
    }

    async fn learn<S: SecretStore>(&mut self, store: &S) {
        let Self::Store { every, ask: ask @ true } = self else { return };
        // A document that cannot be read is told by `Follow`; the last word counts until then.
        if let Ok(document) = store.published().await {
            *every = document.and_then(|document| document.attest_every);
            *ask = false;
        }
    }

    async fn changed(&mut self) {
        if let Self::Told(every) = self
            && every.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
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
    let reports = presence.run_with(ring.clone(), Asked::Told(follow.attest_every()));
    let member = async move {
        tokio::join!(follow.run(), reports);
    };
    Ok((ring, member))
}
