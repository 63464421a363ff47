//! What a ring holds at one moment, and how one such state follows from another. All of it is pure: the
//! ring decides only when a new state takes the place of the old one.

use std::sync::Arc;
use std::time::Instant;

use crate::sync::{AtomicU32, Ordering};
use crate::usage::Counters;
use crate::{Revision, Secret, SecretId, SecretList};

pub(super) struct State {
    pub(super) revision: Revision,
    pub(super) since: Instant,
    /// As published; the order in use is that of `entries`.
    pub(super) published: SecretList,
    pub(super) entries: Vec<Arc<Entry>>,
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

impl Entry {
    /// Whether this secret won every request of late, so that one more win changes no score.
    pub(super) fn wins_always(&self) -> bool {
        self.score.load(Ordering::Relaxed) == FULL_SCORE
    }

    fn score(&self) -> u32 {
        self.score.load(Ordering::Relaxed)
    }

    /// A load and a store, not an atomic update: of two requests that end at once one may go
    /// uncounted, which an average over the last ten does not feel.
    fn count(&self, won: bool) {
        let score = self.score();
        // Rounded away from the present value, so that both ends are reached in the end.
        let next = if won {
            score + (FULL_SCORE - score).div_ceil(SCORE_DECAY)
        } else {
            score - score.div_ceil(SCORE_DECAY)
        };
        self.score.store(next, Ordering::Relaxed);
    }
}

impl State {
    pub(super) fn first(list: SecretList, revision: Revision, now: Instant) -> Self {
        Self::fresh(list, revision, now, &[])
    }

    fn fresh(list: SecretList, revision: Revision, now: Instant, known: &[Arc<Entry>]) -> Self {
        let entry = |(position, secret): (usize, &Secret)| {
            let known = known.iter().find(|entry| entry.secret.id() == secret.id());
            Arc::new(Entry {
                secret: secret.clone(),
                counters: known.map(|entry| Arc::clone(&entry.counters)).unwrap_or_default(),
                score: AtomicU32::new(if position == 0 { FULL_SCORE } else { 0 }),
            })
        };
        let entries = list.iter().enumerate().map(entry).collect();
        Self { revision, since: now, entries, published: list }
    }

    /// With another list under the next revision; `None` if that list is the published one already.
    pub(super) fn replaced(&self, list: SecretList, now: Instant) -> Option<Self> {
        if self.published.ids().eq(list.ids()) && self.published == list {
            return None;
        }
        Some(Self::fresh(list, self.revision.next(), now, &self.entries))
    }

    /// With the list of `revision`; `None` if that is not newer.
    pub(super) fn replaced_at(
        &self,
        list: SecretList,
        revision: Revision,
        now: Instant,
    ) -> Option<Self> {
        (revision > self.revision).then(|| Self::fresh(list, revision, now, &self.entries))
    }

    /// With `winner` in front; `None` if it leads already or is not here, or if `refused` does not lead.
    pub(super) fn promoted(&self, winner: &SecretId, refused: &SecretId) -> Option<Self> {
        let position = self.entries.iter().position(|entry| entry.secret.id() == winner)?;
        if position == 0 || self.entries[0].secret.id() != refused {
            return None;
        }
        let mut entries = self.entries.clone();
        entries[..=position].rotate_right(1);
        Some(Self {
            revision: self.revision,
            since: self.since,
            published: self.published.clone(),
            entries,
        })
    }

    /// Counts a request that the server accepted with `winner`. Returns whether `winner` should lead
    /// now and does not.
    pub(super) fn count(&self, winner: &Arc<Entry>) -> bool {
        if !self.entries.iter().any(|entry| Arc::ptr_eq(entry, winner)) {
            // Chosen from a list that was replaced since: what it wins is nobody's loss here.
            return false;
        }
        for entry in &self.entries {
            entry.count(Arc::ptr_eq(entry, winner));
        }
        let leader = &self.entries[0];
        !Arc::ptr_eq(leader, winner) && winner.score() > leader.score()
    }
}
