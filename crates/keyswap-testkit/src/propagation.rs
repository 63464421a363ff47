//! How a change spreads over the nodes of a server: of the one secret of a client, or of where one of several stands.
//!
//! Nothing here reads a clock: what a node holds is a function of the changes made so far and of `now`. So a
//! change that is still on its way needs no timer and no task, and every interleaving can be tested.

use std::fmt;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::index;
use rand::{Rng, RngExt};

/// Who asked for a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// The secret that the client was registered with.
    Registration,
    /// The management API.
    Api,
    /// Somebody else: a person at the dashboard.
    Foreign,
}

struct Change<T> {
    /// When the management plane holds it. In the future for a change that is applied late.
    effective: Instant,
    /// Orders the changes that became effective in the same instant.
    sequence: u64,
    origin: Origin,
    value: T,
    /// When each node takes it up; never before `effective`.
    arrivals: Vec<Instant>,
}

impl<T> Change<T> {
    fn order(&self) -> (Instant, u64) {
        (self.effective, self.sequence)
    }
}

/// A value of one client: what the management plane shows, and what each node holds.
///
/// A node holds exactly one value at any instant: that of the newest change which has reached it. Changes are
/// ordered by when they became effective, so an older one that reaches a node later never undoes a newer one.
pub(crate) struct Propagation<T> {
    changes: Vec<Change<T>>,
    next_sequence: u64,
    /// Changes that became effective and were forgotten, by origin: API, foreign.
    forgotten: (u64, u64),
}

impl<T> fmt::Debug for Propagation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Propagation").field("changes", &self.changes.len()).finish_non_exhaustive()
    }
}

impl<T> Propagation<T> {
    /// Every one of `nodes` nodes holds `value` from the start.
    pub(crate) fn new(value: T, nodes: usize, now: Instant) -> Self {
        let first = Change {
            effective: now,
            sequence: 0,
            origin: Origin::Registration,
            value,
            arrivals: vec![now; nodes],
        };
        Self { changes: vec![first], next_sequence: 1, forgotten: (0, 0) }
    }

    /// Records a change that the management plane holds at `effective`, and that node `n` takes up `lags[n]` later.
    pub(crate) fn change(
        &mut self,
        value: T,
        origin: Origin,
        effective: Instant,
        lags: &[Duration],
        now: Instant,
    ) {
        self.forget_superseded(now);
        let arrivals = lags.iter().map(|lag| effective + *lag).collect();
        let sequence = self.next_sequence;
        self.changes.push(Change { effective, sequence, origin, value, arrivals });
        self.next_sequence += 1;
    }

    /// What the management plane shows: the newest effective change, whatever the nodes hold.
    pub(crate) fn target(&self, now: Instant) -> &T {
        self.newest(|change| change.effective <= now)
    }

    /// What `node` holds.
    pub(crate) fn held(&self, node: usize, now: Instant) -> &T {
        self.newest(|change| change.arrivals[node] <= now)
    }

    /// The instant from which every node holds the target, if no further change is made; a change that is still to
    /// become effective counts.
    pub(crate) fn settles_at(&self) -> Instant {
        let newest = self.changes.iter().max_by_key(|change| change.order());
        newest
            .and_then(|change| change.arrivals.iter().max().copied())
            .expect("a propagation holds at least the first value, at one node at least")
    }

    /// How many changes by `origin` have become effective.
    pub(crate) fn effective(&self, origin: Origin, now: Instant) -> u64 {
        let forgotten = match origin {
            Origin::Registration => 0,
            Origin::Api => self.forgotten.0,
            Origin::Foreign => self.forgotten.1,
        };
        let effective = |change: &&Change<T>| change.origin == origin && change.effective <= now;
        forgotten + self.changes.iter().filter(effective).count() as u64
    }

    fn newest(&self, visible: impl Fn(&Change<T>) -> bool) -> &T {
        self.changes
            .iter()
            .filter(|change| visible(change))
            .max_by_key(|change| change.order())
            .map(|change| &change.value)
            .expect("the newest change that reached every node is never forgotten")
    }

    /// Drops what no node can go back to: changes older than the newest one that has reached every node.
    fn forget_superseded(&mut self, now: Instant) {
        let everywhere =
            |change: &&Change<T>| change.arrivals.iter().all(|arrival| *arrival <= now);
        let Some(floor) = self.changes.iter().filter(everywhere).map(Change::order).max() else {
            return;
        };
        let forgotten = &mut self.forgotten;
        self.changes.retain(|change| {
            let keep = change.order() >= floor;
            match change.origin {
                Origin::Api if !keep => forgotten.0 += 1,
                Origin::Foreign if !keep => forgotten.1 += 1,
                _ => {}
            }
            keep
        });
    }
}

/// How long each node takes to follow one change: drawn anew for every change, within `window`.
///
/// Where there is more than one node, one is nearly at once and one nearly at the end of the window, so that a window
/// is never shorter in effect than it was asked to be.
pub(crate) fn lags(random: &mut StdRng, nodes: usize, window: Duration) -> Vec<Duration> {
    let mut lags: Vec<Duration> = (0..nodes).map(|_| within(random, window, 0.0, 1.0)).collect();
    if nodes > 1 {
        let ends = index::sample(random, nodes, 2);
        lags[ends.index(0)] = within(random, window, 0.0, 0.05);
        lags[ends.index(1)] = within(random, window, 0.9, 1.0);
    }
    lags
}

fn within(random: &mut impl Rng, window: Duration, from: f64, to: f64) -> Duration {
    window.mul_f64(random.random_range(from..=to)).min(window)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn held<'a>(propagation: &Propagation<&'a str>, now: Instant) -> Vec<&'a str> {
        (0..2).map(|node| *propagation.held(node, now)).collect()
    }

    #[test]
    fn each_node_takes_up_a_change_after_its_own_lag() {
        let start = Instant::now();
        let mut secrets = Propagation::new("old", 2, start);
        secrets.change("new", Origin::Api, start, &[SECOND, 3 * SECOND], start);
        assert_eq!(*secrets.target(start), "new");
        assert_eq!(held(&secrets, start), ["old", "old"]);
        assert_eq!(held(&secrets, start + SECOND), ["new", "old"]);
        assert_eq!(held(&secrets, start + 3 * SECOND - Duration::from_nanos(1)), ["new", "old"]);
        assert_eq!(held(&secrets, start + 3 * SECOND), ["new", "new"]);
        assert_eq!(secrets.settles_at(), start + 3 * SECOND);
    }

    #[test]
    fn an_older_change_that_arrives_later_does_not_undo_a_newer_one() {
        let start = Instant::now();
        let mut secrets = Propagation::new("a", 2, start);
        secrets.change("b", Origin::Api, start, &[9 * SECOND, SECOND], start);
        let second = start + 2 * SECOND;
        secrets.change("c", Origin::Api, second, &[SECOND, 4 * SECOND], second);
        assert_eq!(held(&secrets, second), ["a", "b"]);
        assert_eq!(held(&secrets, second + SECOND), ["c", "b"]);
        assert_eq!(held(&secrets, second + 4 * SECOND), ["c", "c"]);
        assert_eq!(held(&secrets, start + 9 * SECOND), ["c", "c"]);
        assert_eq!(secrets.settles_at(), second + 4 * SECOND);
    }

    #[test]
    fn a_late_change_wins_over_one_that_was_made_while_it_was_on_its_way() {
        let start = Instant::now();
        let mut secrets = Propagation::new("a", 2, start);
        secrets.change("late", Origin::Api, start + 5 * SECOND, &[SECOND, SECOND], start);
        let between = start + 2 * SECOND;
        secrets.change("b", Origin::Api, between, &[Duration::ZERO, Duration::ZERO], between);
        assert_eq!(*secrets.target(between), "b");
        assert_eq!(held(&secrets, between), ["b", "b"]);
        assert_eq!(secrets.effective(Origin::Api, between), 1);
        assert_eq!(*secrets.target(start + 5 * SECOND), "late");
        assert_eq!(held(&secrets, start + 5 * SECOND), ["b", "b"]);
        assert_eq!(held(&secrets, start + 6 * SECOND), ["late", "late"]);
        assert_eq!(secrets.effective(Origin::Api, start + 6 * SECOND), 2);
    }

    #[test]
    fn superseded_changes_are_forgotten_but_still_counted() {
        let start = Instant::now();
        let mut secrets = Propagation::new("0".to_owned(), 2, start);
        for round in 1..=100_u32 {
            let now = start + round * SECOND;
            let origin = if round % 4 == 0 { Origin::Foreign } else { Origin::Api };
            secrets.change(round.to_string(), origin, now, &[Duration::ZERO, SECOND / 2], now);
            assert!(secrets.changes.len() <= 3);
        }
        let end = start + 200 * SECOND;
        assert_eq!([secrets.held(0, end), secrets.held(1, end)], ["100", "100"]);
        assert_eq!(secrets.effective(Origin::Api, end), 75);
        assert_eq!(secrets.effective(Origin::Foreign, end), 25);
    }

    #[test]
    fn lags_stay_inside_the_window_and_reach_for_both_its_ends() {
        let window = 10 * SECOND;
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            for nodes in [1, 2, 3, 16] {
                let lags = lags(&mut random, nodes, window);
                assert_eq!(lags.len(), nodes);
                assert!(lags.iter().all(|lag| *lag <= window), "{lags:?}");
                if nodes > 1 {
                    assert!(lags.iter().any(|lag| *lag <= window / 20), "{lags:?}");
                    assert!(lags.iter().any(|lag| *lag >= window * 9 / 10), "{lags:?}");
                }
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_lags() {
        let draw = |seed| lags(&mut StdRng::seed_from_u64(seed), 5, SECOND);
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn debug_shows_no_secret() {
        let secrets = Propagation::new("a-very-secret-value", 2, Instant::now());
        assert!(!format!("{secrets:?}").contains("a-very-secret-value"));
    }
}
