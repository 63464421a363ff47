//! The pace of management requests: one for a whole tenant, since its server counts them together.
//!
//! A bucket of one token, so requests are spaced evenly and no window of a second holds more than the rate.
//! The decisions are in [`Bucket`], with the time and the randomness as arguments. A crate for this,
//! `governor`, has a clock of its own, which paused time does not move, and cannot be told to pause.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The longest pause that a server may ask for, in one go.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The part of a limit that is taken if nothing else is said.
const SHARE: f64 = 0.5;
/// Slower than this would be no rotation any more.
const SLOWEST: f64 = 0.001;

/// The pace of management requests. Clones are the same one: give it to every authority of a tenant.
///
/// Callers take turns, in the order in which they came. Whatever one of them is told counts for all:
/// after an answer that asks to wait, nobody sends for that long, and a fifth more at random at most.
/// An answer that tells how many requests are left (`X-RateLimit-Limit`, `-Remaining` and `-Reset`)
/// pauses everybody until the reset once only the part is left that belongs to others.
///
/// Token requests are no management requests, and are not counted.
///
/// ```
/// use keyswap_admin::authority::Pace;
///
/// // The tenant may make 10 requests a second: a rotation takes 5 of them.
/// let pace = Pace::new().requests_per_second(10.0).share(0.5);
/// ```
#[derive(Clone)]
pub struct Pace {
    shared: Arc<Shared>,
}

struct Shared {
    /// Held by whoever is next, over its wait: a fair queue.
    queue: tokio::sync::Mutex<()>,
    /// Held for one decision and never over an await.
    bucket: Mutex<Bucket>,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

impl Pace {
    /// No rate, and half of what the server's answers say.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Bucket { rate: None, share: SHARE, earliest: None })
    }

    fn of(bucket: Bucket) -> Self {
        let shared = Shared { queue: tokio::sync::Mutex::default(), bucket: Mutex::new(bucket) };
        Self { shared: Arc::new(shared) }
    }

    /// How many requests a second the server allows the tenant: at least one in 1000 seconds. Of these,
    /// the [`share`](Self::share) is sent. The result is a pace of its own.
    #[must_use]
    pub fn requests_per_second(self, limit: f64) -> Self {
        let bucket = self.bucket().clone();
        Self::of(Bucket { rate: Some(limit.max(SLOWEST)), ..bucket })
    }

    /// The part of the server's limit that may be used, above 0 and at most 1. Half by default. The result
    /// is a pace of its own.
    #[must_use]
    pub fn share(self, share: f64) -> Self {
        let bucket = self.bucket().clone();
        Self::of(Bucket { share: share.clamp(SLOWEST, 1.0), ..bucket })
    }

    /// Waits until the caller may send one request, however long that takes.
    pub(super) async fn turn(&self) {
        let _next = self.shared.queue.lock().await;
        loop {
            let asked = self.bucket().ask(Instant::now());
            match asked {
                Ok(()) => return,
                // It is asked again after that: the server may have asked to wait meanwhile.
                Err(then) => sleep_until(then).await,
            }
        }
    }

    /// Takes in what an answer says of the limit.
    pub(super) fn told(&self, said: &Said) {
        self.bucket().told(said, Instant::now(), rand::random());
    }

    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.shared.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pace").field(&*self.bucket()).finish()
    }
}

/// What an answer says of the limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    /// The request was turned away, and this is how long to wait.
    pub(super) turned_away: Option<Duration>,
    /// How many requests there are in all and how many are left, and for how long that is so.
    pub(super) left: Option<(u64, u64, Duration)>,
}

#[derive(Clone, Debug)]
struct Bucket {
    /// Requests a second that the server allows.
    rate: Option<f64>,
    share: f64,
    /// When the next request may be sent.
    earliest: Option<Instant>,
}

impl Bucket {
    /// Takes the next turn, or says when to ask again.
    fn ask(&mut self, now: Instant) -> Result<(), Instant> {
        if let Some(then) = self.earliest
            && then > now
        {
            return Err(then);
        }
        if let Some(rate) = self.rate {
            // Rounded up: so many of them are never less than a second.
            let every = (1e9 / (rate * self.share)).ceil() as u64;
            self.earliest = Some(now + Duration::from_nanos(every));
        }
        Ok(())
    }

    /// `chance` is from 0 to 1.
    fn told(&mut self, said: &Said, now: Instant, chance: f64) {
        let left = said.left.filter(|(limit, left, _)| {
            // One at least, or nothing would ever be sent.
            let ours = ((*limit as f64 * self.share) as u64).max(1);
            *left <= limit.saturating_sub(ours)
        });
        let pause = said.turned_away.max(left.map(|(_, _, reset)| reset));
        let Some(pause) = pause else { return };
        let until = now + with_jitter(pause.min(LONGEST_PAUSE), chance);
        self.earliest = self.earliest.max(Some(until));
    }
}

/// This time and up to a fifth more, so that processes that were turned away together come back apart.
/// `chance` is from 0 to 1.
pub(crate) fn with_jitter(time: Duration, chance: f64) -> Duration {
    time + time.mul_f64(chance.clamp(0.0, 1.0) / 5.0)
}

/// The turns of one authority, which may take one ahead of the request that it is for.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) pace: Pace,
    ahead: AtomicBool,
}

impl Turns {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, ahead: AtomicBool::new(false) }
    }

    /// Waits for a turn now and keeps it for the next request.
    pub(super) async fn take_ahead(&self) {
        if !self.ahead.load(Ordering::Acquire) {
            self.pace.turn().await;
            self.ahead.store(true, Ordering::Release);
        }
    }

    /// Waits for a turn, unless one was taken ahead.
    pub(super) async fn turn(&self) {
        if !self.ahead.swap(false, Ordering::AcqRel) {
            self.pace.turn().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::several;

    const SECOND: Duration = Duration::from_secs(1);

    /// The most of these moments that any window of a second holds.
    fn most_in_a_second(times: &[Instant]) -> usize {
        let within = |start: &Instant| {
            times.iter().filter(|time| **time >= *start && **time < *start + SECOND).count()
        };
        times.iter().map(within).max().unwrap_or(0)
    }

    /// Clients with five management requests each, some at once, at a server that answers after
    /// `latency`. Gives the moments at which requests were sent, in order.
    async fn simulated(
        clients: usize,
        at_once: usize,
        pace: &Pace,
        latency: Duration,
    ) -> Vec<Instant> {
        let sent = Mutex::new(Vec::new());
        let jobs: Vec<usize> = (0..clients).collect();
        let act = async |_: &usize| {
            let turns = Turns::new(pace.clone());
            for request in 0..5 {
                if request == 2 {
                    turns.take_ahead().await;
                }
                turns.turn().await;
                sent.lock().unwrap().push(Instant::now());
                tokio::time::sleep(latency).await;
            }
            Ok::<(), ()>(())
        };
        several(at_once, &jobs, act, |()| false).await;
        sent.into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn five_hundred_clients_stay_within_their_share_of_the_limit_in_every_second() {
        for (limit, share, most) in [(10.0, 0.5, 5), (2.0, 0.5, 1), (16.0, 0.25, 4), (3.0, 1.0, 3)]
        {
            let pace = Pace::new().requests_per_second(limit).share(share);
            let begun = Instant::now();
            let sent = simulated(500, 16, &pace, Duration::from_millis(70)).await;
            assert_eq!(sent.len(), 2500);
            assert_eq!(most_in_a_second(&sent), most, "{limit} a second, of which {share}");
            // And no slower than it has to be.
            let took = begun.elapsed().as_secs_f64();
            let needed = 2500.0 / (limit * share);
            assert!(took < needed * 1.02 + 1.0, "{took} s in place of {needed} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_asks_to_wait_pauses_everybody() {
        let pace = Pace::new().requests_per_second(20.0).share(1.0);
        let begun = Instant::now();
        let told = async {
            tokio::time::sleep(SECOND).await;
            pace.told(&Said { turned_away: Some(10 * SECOND), left: None });
        };
        let (sent, ()) = tokio::join!(simulated(20, 10, &pace, Duration::from_millis(5)), told);
        let after: Vec<_> = sent.iter().map(|time| time.duration_since(begun)).collect();
        assert!(after.iter().all(|after| *after <= SECOND || *after >= 11 * SECOND), "{after:?}");
        let first = after.iter().find(|after| **after > SECOND).unwrap();
        assert!(
            *first <= 13 * SECOND + Duration::from_millis(2),
            "a fifth more at most: {first:?}"
        );
        assert!(after.iter().any(|after| *after <= SECOND), "some were sent before");
    }

    #[test]
    fn what_belongs_to_others_is_left_to_them_until_the_reset() {
        let now = Instant::now();
        let paused = |share, limit, left, chance| {
            let mut bucket = Bucket { rate: None, share, earliest: None };
            let said = Said { turned_away: None, left: Some((limit, left, SECOND)) };
            bucket.told(&said, now, chance);
            bucket.ask(now).err().map(|then| then.duration_since(now))
        };
        assert_eq!(paused(0.5, 10, 6, 0.0), None);
        assert_eq!(paused(0.5, 10, 5, 0.0), Some(SECOND));
        assert_eq!(paused(1.0, 10, 1, 0.0), None);
        assert_eq!(paused(1.0, 10, 0, 1.0), Some(SECOND + SECOND / 5));
        // The smallest plan: one request, and then the other is for the rest of the tenant.
        assert_eq!(paused(0.1, 2, 2, 0.0), None);
        assert_eq!(paused(0.1, 2, 1, 0.0), Some(SECOND));
    }

    #[test]
    fn a_pause_has_a_cap_and_a_later_answer_does_not_shorten_it() {
        let now = Instant::now();
        let mut bucket = Bucket { rate: None, share: 1.0, earliest: None };
        let away = |time| Said { turned_away: Some(time), left: None };
        bucket.told(&away(3600 * SECOND), now, 0.0);
        assert_eq!(bucket.ask(now), Err(now + LONGEST_PAUSE));
        bucket.told(&away(SECOND), now, 0.0);
        assert_eq!(bucket.ask(now), Err(now + LONGEST_PAUSE));
        assert_eq!(bucket.ask(now + LONGEST_PAUSE), Ok(()));
    }
}
