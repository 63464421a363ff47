//! What a ring holds at one moment, and how one such state follows from another. All of it is pure: the
//! ring decides only when a new state takes the place of the old one.

use std::sync::Arc;
use std::time::Instant;

use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::usage::Counters;
use crate::{Revision, Secret, SecretId, SecretList};

pub(super) struct State {
    pub(super) revision: Revision,
    pub(super) since: Instant,
    pub(super) published: SecretList,
    /// In the order of `published`; the order in use is `order`.
    entries: Box<[Arc<Entry>]>,
    /// Learnt from what the server accepts, and changed in place: a promotion that loses the race with a
    /// replacement changes a state that nobody reads any more.
    order: AtomicU64,
}

/// Which entry stands at each place of a list: its position among the published ones, four bits each, the
/// first place in the lowest. A list holds 16 secrets at most.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Order(u64);

impl Order {
    pub(super) const PUBLISHED: Self = Self(0xfedc_ba98_7654_3210);

    fn at(self, place: usize) -> usize {
        (self.0 >> (4 * place) & 0xf) as usize
    }

    /// With the entry at `place` in front; the others keep their order.
    fn moved_to_front(self, place: usize) -> Self {
        let before = (1 << (4 * place)) - 1;
        let behind = u64::MAX.checked_shl(4 * (place as u32 + 1)).unwrap_or(0);
        Self(self.0 & behind | (self.0 & before) << 4 | self.at(place) as u64)
    }
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
        let order = AtomicU64::new(Order::PUBLISHED.0);
        Self { revision, since: now, published: list, entries, order }
    }

    /// How many secrets there are: 1 to 16.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn order(&self) -> Order {
        Order(self.order.load(Ordering::Relaxed))
    }

    /// The entry that is tried first.
    pub(super) fn leader(&self) -> &Arc<Entry> {
        &self.entries[self.order().at(0)]
    }

    /// How many requests the server accepted, whatever the secret, as long as the list stays the same.
    pub(super) fn acceptances(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| sum.wrapping_add(entry.counters.accepted()))
    }

    /// The entries in this order.
    pub(super) fn ordered(&self, order: Order) -> impl Iterator<Item = &Arc<Entry>> {
        (0..self.entries.len()).map(move |place| &self.entries[order.at(place)])
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

    /// Puts `winner` in front, if it is here and `refused` leads. Returns whether it did.
    pub(super) fn promote(&self, winner: &SecretId, refused: &SecretId) -> bool {
        let mut order = self.order();
        loop {
            let id = |place| self.entries[order.at(place)].secret.id();
            let place = (1..self.entries.len()).find(|place| id(*place) == winner);
            let Some(place) = place.filter(|_| id(0) == refused) else { return false };
            match self.order.compare_exchange(
                order.0,
                order.moved_to_front(place).0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(changed) => order = Order(changed),
            }
        }
    }

    /// Counts a request that the server accepted with `winner`, and puts `winner` in front when it now wins
    /// more requests than the leader. Returns whether it did.
    pub(super) fn count(&self, winner: &Arc<Entry>) -> bool {
        if !self.entries.iter().any(|entry| Arc::ptr_eq(entry, winner)) {
            // Chosen from a list that was replaced since: what it wins is nobody's loss here.
            return false;
        }
        for entry in &self.entries {
            entry.count(Arc::ptr_eq(entry, winner));
        }
        let leader = self.leader();
        !Arc::ptr_eq(leader, winner)
            && winner.score() > leader.score()
            && self.promote(winner.secret.id(), leader.secret.id())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn moving_to_the_front_keeps_the_order_of_the_others(
            places in prop::collection::vec(0usize..16, 0..40),
        ) {
            let mut order = Order::PUBLISHED;
            let mut expected: Vec<usize> = (0..16).collect();
            for place in places {
                order = order.moved_to_front(place);
                expected[..=place].rotate_right(1);
                prop_assert_eq!((0..16).map(|place| order.at(place)).collect::<Vec<_>>(), &*expected);
            }
        }
    }
}
