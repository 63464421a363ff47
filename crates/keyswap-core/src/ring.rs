//! The handle on the list in use: read by every request, replaced by hot reload, reordered by what
//! the server accepts.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::usage::Counters;
use crate::{FallbackPolicy, Secret, SecretId, SecretList, UsageReport};

/// The number of a published list. Revisions only grow; a rollback is a new revision.
///
/// A ring that was made from a list alone starts at [`Revision::INITIAL`]; a store counts from 1.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// Below every published revision.
    pub const INITIAL: Self = Self(0);

    /// The revision with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The one that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The list of secrets that a program uses, behind a handle that is cheap to clone and to read.
///
/// All clones share one list. Requests read it without a lock; [`replace`](Self::replace) is how a hot
/// reload reaches them.
///
/// ```
/// use keyswap_core::{Secret, SecretList, SecretRing};
///
/// let old = Secret::new("old".parse()?, "Vq3hCc0Zc1Jx")?;
/// let new = Secret::new("new".parse()?, "yT7mXo2LrWq8")?;
/// let ring = SecretRing::new(SecretList::new([old.clone()])?);
/// let in_use = ring.clone();
///
/// let revision = ring.replace(SecretList::new([new, old])?);
/// assert_eq!(in_use.snapshot().revision(), revision);
/// assert_eq!(in_use.snapshot().list().preferred().id().as_str(), "new");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SecretRing {
    shared: Arc<Shared>,
}

struct Shared {
    state: ArcSwap<State>,
    /// Held by whoever changes `state`, never over an await: a promotion must not undo a replacement
    /// that it did not see.
    writer: Mutex<()>,
    changes: watch::Sender<Revision>,
    refresh: watch::Sender<Revision>,
    promotions: AtomicU64,
    policy: FallbackPolicy,
    /// The times below count milliseconds from here, so that they fit an atomic.
    epoch: Instant,
    last_accepted: AtomicU64,
    cool_down: CoolDown,
    requests: AtomicU64,
}

/// `last_accepted` when nothing was.
const NEVER: u64 = u64::MAX;

struct State {
    revision: Revision,
    since: Instant,
    /// As published; the order in use is that of `entries`.
    published: SecretList,
    entries: Vec<Arc<Entry>>,
}

/// A secret of the list with what this program knows of it.
pub(crate) struct Entry {
    pub(crate) secret: Secret,
    /// Carried over when the list is replaced, so that a report never counts backwards.
    pub(crate) counters: Arc<Counters>,
    /// The decaying share of requests that this secret won, in units of 1 / [`FULL_SCORE`].
    score: AtomicU32,
}

const FULL_SCORE: u32 = 1 << 20;
/// The weight of one request in a score is 1 / this.
const SCORE_DECAY: u32 = 10;

#[derive(Default)]
struct CoolDown {
    /// Milliseconds from the epoch; 0 means that there is none.
    until: AtomicU64,
    requests: AtomicU64,
}

#[allow(
    clippy::must_use_candidate,
    reason = "what replacing and promoting return is news, not a result"
)]
impl SecretRing {
    /// A ring with this list and the default [`FallbackPolicy`], at [`Revision::INITIAL`].
    #[must_use]
    pub fn new(list: SecretList) -> Self {
        Self::with_policy(list, Revision::INITIAL, FallbackPolicy::default())
    }

    /// A ring with a list that was published under `revision`, and a policy.
    #[must_use]
    pub fn with_policy(list: SecretList, revision: Revision, policy: FallbackPolicy) -> Self {
        Self::starting(list, revision, policy, Instant::now())
    }

    /// As [`with_policy`](Self::with_policy), at a given time: for simulations.
    #[must_use]
    pub fn starting(
        list: SecretList,
        revision: Revision,
        policy: FallbackPolicy,
        now: Instant,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: ArcSwap::from_pointee(State::fresh(list, revision, now, None)),
                writer: Mutex::new(()),
                changes: watch::Sender::new(revision),
                refresh: watch::Sender::new(revision),
                promotions: AtomicU64::new(0),
                policy,
                epoch: now,
                last_accepted: AtomicU64::new(NEVER),
                cool_down: CoolDown::default(),
                // Each ring spreads its retries differently; the hasher's keys are random.
                requests: AtomicU64::new(RandomState::new().hash_one(0u8)),
            }),
        }
    }

    /// The list as it is now. Take one for each unit of work.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { state: self.shared.state.load_full() }
    }

    /// Replaces the list and gives it the next revision: a hot reload from a source that does not
    /// count revisions.
    ///
    /// The list that is published already changes nothing, and keeps the order that was learnt.
    pub fn replace(&self, list: SecretList) -> Revision {
        let _writer = self.writer();
        let current = self.shared.state.load();
        if current.published.ids().eq(list.ids()) && current.published == list {
            return current.revision;
        }
        let revision = current.revision.next();
        self.store(State::fresh(list, revision, Instant::now(), Some(&current)));
        revision
    }

    /// Takes a list that a store published under `revision`. Returns whether the ring changed: a
    /// revision that is not newer than the one in use changes nothing.
    pub fn replace_at(&self, list: SecretList, revision: Revision) -> bool {
        self.replace_at_time(list, revision, Instant::now())
    }

    /// As [`replace_at`](Self::replace_at), at a given time: for simulations.
    pub fn replace_at_time(&self, list: SecretList, revision: Revision, now: Instant) -> bool {
        let _writer = self.writer();
        let current = self.shared.state.load();
        if revision <= current.revision {
            return false;
        }
        self.store(State::fresh(list, revision, now, Some(&current)));
        true
    }

    /// Makes `winner` the preferred secret, if `refused` still is and `winner` is in the list. Returns
    /// whether it did.
    ///
    /// The condition makes it safe to call with what a request saw some time ago: a list that was
    /// replaced meanwhile stays as it is.
    pub fn promote(&self, winner: &SecretId, refused: &SecretId) -> bool {
        let _writer = self.writer();
        let current = self.shared.state.load();
        let Some(position) = current.entries.iter().position(|entry| entry.secret.id() == winner)
        else {
            return false;
        };
        if position == 0 || current.entries[0].secret.id() != refused {
            return false;
        }
        let mut entries = current.entries.clone();
        entries[..=position].rotate_right(1);
        self.shared.promotions.fetch_add(1, Ordering::Relaxed);
        self.shared.state.store(Arc::new(State {
            revision: current.revision,
            since: current.since,
            published: current.published.clone(),
            entries,
        }));
        self.shared.changes.send_replace(current.revision);
        true
    }

    /// Waits for changes of the list from now on: new revisions, and promotions of a fallback.
    pub fn subscribe(&self) -> Changes {
        Changes { receiver: self.shared.changes.subscribe() }
    }

    /// How often each secret was accepted and refused by this program.
    #[must_use]
    pub fn usage(&self) -> UsageReport {
        let state = self.shared.state.load();
        let usage = |entry: &Arc<Entry>| entry.counters.report(entry.secret.id().clone());
        UsageReport {
            revision: state.revision,
            secrets: state.entries.iter().map(usage).collect(),
            promotions: self.shared.promotions.load(Ordering::Relaxed),
        }
    }

    /// Fires when a request was refused with every secret, so that whatever keeps the list up to date
    /// looks for a newer one at once.
    ///
    /// While somebody holds the returned handle, such requests wait a bounded time for that list.
    pub fn refresh_wanted(&self) -> Changes {
        Changes { receiver: self.shared.refresh.subscribe() }
    }

    pub(crate) fn policy(&self) -> &FallbackPolicy {
        &self.shared.policy
    }

    pub(crate) fn next_request(&self) -> u64 {
        self.shared.requests.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn revision(&self) -> Revision {
        self.shared.state.load().revision
    }

    /// The secret to try first.
    pub(crate) fn leader(&self) -> Arc<Entry> {
        Arc::clone(&self.shared.state.load().entries[0])
    }

    /// The first secret, in the order of now, that is not among `refused`; and the revision that says
    /// so.
    pub(crate) fn first_besides(&self, refused: &[SecretId]) -> (Option<Arc<Entry>>, Revision) {
        let state = self.shared.state.load();
        let besides = state.entries.iter().find(|entry| !refused.contains(entry.secret.id()));
        (besides.cloned(), state.revision)
    }

    /// Whether nodes of the server may disagree now: the list holds a fallback, and a secret was
    /// accepted or a revision arrived within the propagation window.
    pub(crate) fn in_transition(&self, now: Instant) -> bool {
        let state = self.shared.state.load();
        let window = self.shared.policy.propagation_window;
        state.entries.len() > 1
            && (now.saturating_duration_since(state.since) <= window
                || self.accepted_within(window, now))
    }

    fn accepted_within(&self, time: Duration, now: Instant) -> bool {
        match self.shared.last_accepted.load(Ordering::Relaxed) {
            NEVER => false,
            at => u128::from(self.milliseconds(now).saturating_sub(at)) <= time.as_millis(),
        }
    }

    pub(crate) fn accepted_since(&self, start: Instant) -> bool {
        match self.shared.last_accepted.load(Ordering::Relaxed) {
            NEVER => false,
            at => at >= self.milliseconds(start),
        }
    }

    /// Records that the server accepted `winner`, and moves it to the front when it now wins more
    /// requests than the leader. Returns whether it did.
    pub(crate) fn learn(&self, winner: &Arc<Entry>, now: Instant) -> bool {
        let now = self.milliseconds(now);
        // Most requests find the present millisecond there already and leave the cache line shared.
        if self.shared.last_accepted.load(Ordering::Relaxed) != now {
            self.shared.last_accepted.store(now, Ordering::Relaxed);
        }
        if self.shared.cool_down.until.load(Ordering::Relaxed) != 0 {
            self.shared.cool_down.until.store(0, Ordering::Relaxed);
        }
        if winner.score.load(Ordering::Relaxed) == FULL_SCORE {
            return false;
        }
        let promoted = {
            let state = self.shared.state.load();
            // Loads and stores, not atomic updates: of two requests that end at once one may go
            // uncounted, which an average over the last ten does not feel.
            for entry in &state.entries {
                let score = entry.score.load(Ordering::Relaxed);
                entry.score.store(next_score(score, Arc::ptr_eq(entry, winner)), Ordering::Relaxed);
            }
            let leader = &state.entries[0];
            let ahead = winner.score.load(Ordering::Relaxed) > leader.score.load(Ordering::Relaxed);
            (ahead && !Arc::ptr_eq(leader, winner)).then(|| leader.secret.id().clone())
        };
        promoted.is_some_and(|refused| self.promote(winner.secret.id(), &refused))
    }

    /// Signals that a newer list is wanted. Returns whether somebody listens.
    pub(crate) fn want_refresh(&self) -> bool {
        self.shared.refresh.send_replace(self.revision());
        self.shared.refresh.receiver_count() > 0
    }

    pub(crate) fn start_cool_down(&self, now: Instant) {
        let until = self.milliseconds(now + self.shared.policy.cool_down).max(1);
        self.shared.cool_down.requests.store(0, Ordering::Relaxed);
        self.shared.cool_down.until.store(until, Ordering::Relaxed);
    }

    /// Whether this request tries the preferred secret alone.
    pub(crate) fn cooling_down(&self, now: Instant) -> bool {
        let until = self.shared.cool_down.until.load(Ordering::Relaxed);
        if until == 0 || self.milliseconds(now) >= until {
            return false;
        }
        // From time to time one request goes through the whole list, so seldom that the mean stays
        // below 1.05 attempts a request.
        let fallbacks = self.shared.state.load().entries.len() as u64 - 1;
        let request = self.shared.cool_down.requests.fetch_add(1, Ordering::Relaxed) + 1;
        !request.is_multiple_of(25 * fallbacks.max(1))
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.shared.epoch).as_millis())
            .unwrap_or(NEVER - 1)
    }

    fn store(&self, state: State) {
        let revision = state.revision;
        self.shared.state.store(Arc::new(state));
        self.shared.cool_down.until.store(0, Ordering::Relaxed);
        self.shared.changes.send_replace(revision);
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, ()> {
        // Nothing that runs under the lock leaves half a change behind.
        self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next_score(score: u32, won: bool) -> u32 {
    // Rounded away from the present value, so that both ends are reached in the end.
    if won {
        score + (FULL_SCORE - score).div_ceil(SCORE_DECAY)
    } else {
        score - score.div_ceil(SCORE_DECAY)
    }
}

impl State {
    fn fresh(list: SecretList, revision: Revision, now: Instant, before: Option<&State>) -> Self {
        let known =
            |secret: &Secret| before?.entries.iter().find(|entry| entry.secret.id() == secret.id());
        let entry = |(position, secret): (usize, &Secret)| {
            let counters = known(secret).map(|entry| Arc::clone(&entry.counters));
            Arc::new(Entry {
                secret: secret.clone(),
                counters: counters.unwrap_or_default(),
                score: AtomicU32::new(if position == 0 { FULL_SCORE } else { 0 }),
            })
        };
        let entries = list.iter().enumerate().map(entry).collect();
        Self { revision, since: now, entries, published: list }
    }
}

impl fmt::Debug for SecretRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.load();
        let ids: Vec<_> = state.entries.iter().map(|entry| entry.secret.id()).collect();
        f.debug_struct("SecretRing")
            .field("revision", &state.revision)
            .field("secrets", &ids)
            .finish()
    }
}

/// The list of a [`SecretRing`] as it was at one moment.
#[derive(Clone)]
#[must_use]
pub struct Snapshot {
    state: Arc<State>,
}

impl Snapshot {
    /// The revision that the list was published under.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.state.revision
    }

    /// The list in the order in use, which may differ from the published one by what was learnt.
    #[must_use]
    pub fn list(&self) -> SecretList {
        let preferred = self.state.entries[0].secret.id();
        if preferred == self.state.published.preferred().id() {
            return self.state.published.clone();
        }
        // The entries are those of the published list in another order, so they make a list too.
        SecretList::new(self.state.entries.iter().map(|entry| entry.secret.clone()))
            .unwrap_or_else(|_| self.state.published.clone())
    }

    /// The list as it was published.
    #[must_use]
    pub fn published(&self) -> &SecretList {
        &self.state.published
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("revision", &self.state.revision)
            .field("secrets", &self.list())
            .finish()
    }
}

/// Waits for what happens to a [`SecretRing`].
#[derive(Debug)]
pub struct Changes {
    receiver: watch::Receiver<Revision>,
}

impl Changes {
    /// Waits for the next event, and gives the revision of the list at that time; `None` when the ring
    /// is gone. Events that came since the last call count as one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn changed(&mut self) -> Option<Revision> {
        self.receiver.changed().await.ok()?;
        Some(*self.receiver.borrow_and_update())
    }
}
