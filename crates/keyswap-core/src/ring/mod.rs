//! The handle on the list in use: read by every request, replaced by hot reload, reordered by what
//! the server accepts.

mod changes;
mod cool_down;
#[cfg(test)]
mod model;
mod snapshot;
mod state;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::sync::{ArcSwap, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::usage::Outcomes;
use crate::{FallbackPolicy, Revision, SecretId, SecretList, UsageReport};

pub use changes::Changes;
use changes::Signal;
use cool_down::{CoolDown, Look};
pub use snapshot::Snapshot;
pub(crate) use state::Entry;
use state::State;

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
    /// Held by whoever replaces `state`, never over an await: the next revision follows from the one before.
    writer: Mutex<()>,
    changes: Signal,
    refresh: Signal,
    promotions: AtomicU64,
    outcomes: Outcomes,
    policy: FallbackPolicy,
    /// The times of the cool-down count milliseconds from here, so that they fit an atomic.
    epoch: Instant,
    /// Whether the server ever accepted a secret of this ring.
    accepted: AtomicBool,
    cool_down: CoolDown,
    requests: AtomicU64,
}

/// What a request saw of the ring when it began.
#[derive(Clone, Copy)]
pub(crate) struct Beginning {
    acceptances: u64,
    pub(crate) cool_down: Look,
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
                state: ArcSwap::from_pointee(State::first(list, revision, now)),
                writer: Mutex::new(()),
                changes: Signal::new(revision),
                refresh: Signal::new(revision),
                promotions: AtomicU64::new(0),
                outcomes: Outcomes::default(),
                policy,
                epoch: now,
                accepted: AtomicBool::new(false),
                cool_down: CoolDown::default(),
                // Each ring spreads its retries differently; the hasher's keys are random.
                requests: AtomicU64::new(RandomState::new().hash_one(0u8)),
            }),
        }
    }

    /// The list as it is now. Take one for each unit of work.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.state.load_full();
        Snapshot { order: state.order(), state }
    }

    /// Replaces the list and gives it the next revision: a hot reload from a source that does not
    /// count revisions.
    ///
    /// The list that is published already changes nothing, and keeps the order that was learnt.
    pub fn replace(&self, list: SecretList) -> Revision {
        let _writer = self.writer();
        let current = self.shared.state.load();
        let Some(next) = current.replaced(list, Instant::now()) else { return current.revision };
        self.publish(next)
    }

    /// Takes a list that a store published under `revision`. Returns whether the ring changed: a
    /// revision that is not newer than the one in use changes nothing.
    pub fn replace_at(&self, list: SecretList, revision: Revision) -> bool {
        self.replace_at_time(list, revision, Instant::now())
    }

    /// As [`replace_at`](Self::replace_at), at a given time: for simulations.
    pub fn replace_at_time(&self, list: SecretList, revision: Revision, now: Instant) -> bool {
        let _writer = self.writer();
        let next = self.shared.state.load().replaced_at(list, revision, now);
        next.map(|next| self.publish(next)).is_some()
    }

    /// Makes `winner` the preferred secret, if `refused` still is and `winner` is in the list. Returns
    /// whether it did.
    ///
    /// The condition makes it safe to call with what a request saw some time ago: a list that was
    /// replaced meanwhile stays as it is.
    pub fn promote(&self, winner: &SecretId, refused: &SecretId) -> bool {
        let state = self.shared.state.load();
        let promoted = state.promote(winner, refused);
        if promoted {
            self.promoted(state.revision);
        }
        promoted
    }

    fn promoted(&self, revision: Revision) {
        self.shared.promotions.fetch_add(1, Ordering::Relaxed);
        self.shared.changes.send(revision);
    }

    /// Waits for changes of the list from now on: new revisions, and promotions of a fallback.
    pub fn subscribe(&self) -> Changes {
        self.shared.changes.subscribe()
    }

    /// How often each secret was accepted and refused by this program.
    #[must_use]
    pub fn usage(&self) -> UsageReport {
        let state = self.shared.state.load();
        let usage = |entry: &Arc<Entry>| entry.counters.report(entry.secret.id().clone());
        UsageReport {
            revision: state.revision,
            secrets: state.ordered(state.order()).map(usage).collect(),
            promotions: self.shared.promotions.load(Ordering::Relaxed),
            saved: Some(self.shared.outcomes.saved()),
            failed: Some(self.shared.outcomes.failed()),
        }
    }

    /// Fires when a request was refused with every secret, so that whatever keeps the list up to date
    /// looks for a newer one at once.
    ///
    /// While somebody holds the returned handle, such requests wait a bounded time for that list.
    pub fn refresh_wanted(&self) -> Changes {
        self.shared.refresh.subscribe()
    }

    pub(crate) fn policy(&self) -> &FallbackPolicy {
        &self.shared.policy
    }

    pub(crate) fn outcomes(&self) -> &Outcomes {
        &self.shared.outcomes
    }

    pub(crate) fn next_request(&self) -> u64 {
        self.shared.requests.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn revision(&self) -> Revision {
        self.shared.state.load().revision
    }

    /// The secret to try first, and what a request has to know of the time before it.
    pub(crate) fn leader(&self) -> (Arc<Entry>, Beginning) {
        let state = self.shared.state.load();
        let beginning =
            Beginning { acceptances: state.acceptances(), cool_down: self.shared.cool_down.look() };
        (Arc::clone(state.leader()), beginning)
    }

    /// The first secret, in the order of now, that is not among `refused`; and the revision that says
    /// so.
    pub(crate) fn first_besides(&self, refused: &[SecretId]) -> (Option<Arc<Entry>>, Revision) {
        let state = self.shared.state.load();
        let mut entries = state.ordered(state.order());
        let besides = entries.find(|entry| !refused.contains(entry.secret.id()));
        (besides.cloned(), state.revision)
    }

    /// Whether nodes of the server may disagree now, so that another pass may succeed where one failed:
    /// the list holds a fallback and came within the propagation window, or the request before this one
    /// that came to a conclusion was accepted.
    ///
    /// That acceptance may be old. A program with one request an hour goes through a propagation window
    /// like any other, and one pass among nodes that disagree fails in up to a quarter of the cases.
    pub(crate) fn in_transition(&self, now: Instant) -> bool {
        let state = self.shared.state.load();
        let window = self.shared.policy.propagation_window;
        let fresh = now.saturating_duration_since(state.since) <= window;
        let accepted = self.shared.accepted.load(Ordering::Relaxed);
        state.len() > 1
            && !window.is_zero()
            && !self.shared.cool_down.refused_everywhere()
            && (fresh || accepted)
    }

    /// Counts a pass in which every secret was refused; returns how many there were since the last
    /// acceptance, of all requests together.
    pub(crate) fn count_refused_pass(&self) -> u32 {
        self.shared.cool_down.count_refused_pass()
    }

    /// Records that the server accepted `winner`, and moves it to the front when it now wins more
    /// requests than the leader. Returns whether it did.
    pub(crate) fn learn(&self, winner: &Arc<Entry>) -> bool {
        // Most requests find it set, and leave the cache line shared.
        if !self.shared.accepted.load(Ordering::Relaxed) {
            self.shared.accepted.store(true, Ordering::Relaxed);
        }
        self.shared.cool_down.end();
        if winner.wins_always() {
            return false;
        }
        // The order belongs to the state that the score was counted in: what was learnt under one revision
        // does not reorder a newer one.
        let state = self.shared.state.load();
        let promoted = state.count(winner);
        if promoted {
            self.promoted(state.revision);
        }
        promoted
    }

    /// Signals that a newer list is wanted. Returns whether somebody listens.
    pub(crate) fn want_refresh(&self) -> bool {
        self.shared.refresh.send(self.revision());
        self.shared.refresh.has_listeners()
    }

    /// A request that began so found every secret refused.
    pub(crate) fn start_cool_down(&self, began: Beginning, now: Instant) {
        // If another request got through meanwhile, the secrets are not all dead. A list that was replaced
        // says the same: it gives none of them up.
        if self.shared.state.load().acceptances() == began.acceptances {
            let length = self.shared.policy.cool_down;
            self.shared.cool_down.start(began.cool_down, self.milliseconds(now), length);
        }
    }

    /// Whether this request tries the preferred secret alone.
    pub(crate) fn cooling_down(&self, now: Instant) -> bool {
        let fallbacks = || self.shared.state.load().len() as u64 - 1;
        self.shared.cool_down.holds_back(self.milliseconds(now), fallbacks)
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.shared.epoch).as_millis())
            .unwrap_or(u64::MAX)
    }

    /// The caller holds the lock.
    fn publish(&self, next: State) -> Revision {
        let revision = next.revision;
        self.shared.state.store(Arc::new(next));
        self.shared.cool_down.end();
        self.shared.changes.send(revision);
        revision
    }

    fn writer(&self) -> MutexGuard<'_, ()> {
        // Nothing that runs under the lock leaves half a change behind.
        self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SecretRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.load();
        let ids: Vec<_> = state.ordered(state.order()).map(|entry| entry.secret.id()).collect();
        f.debug_struct("SecretRing")
            .field("revision", &state.revision)
            .field("secrets", &ids)
            .finish()
    }
}
