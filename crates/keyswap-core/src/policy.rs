//! The numbers of the fallback policy, and the arithmetic that goes with them.

use std::time::Duration;

/// How far a request goes to find the secret that the server accepts.
///
/// The defaults suit an authorization server that needs up to 30 s until all its nodes know a new
/// secret (Auth0: "New secrets may be delayed up to thirty seconds while rotating. During this
/// propagation window, either the old or the new secret may be accepted").
///
/// ```
/// use std::time::Duration;
/// use keyswap_core::FallbackPolicy;
///
/// let policy = FallbackPolicy::default().propagation_window(Duration::from_secs(60));
/// assert_eq!(policy.passes(), 12);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct FallbackPolicy {
    pub(crate) propagation_window: Duration,
    pub(crate) passes: u32,
    pub(crate) time_limit: Duration,
    pub(crate) revision_wait: Duration,
    pub(crate) cool_down: Duration,
}

impl Default for FallbackPolicy {
    fn default() -> Self {
        Self {
            propagation_window: Duration::from_secs(30),
            passes: 12,
            time_limit: Duration::from_secs(5),
            revision_wait: Duration::from_secs(1),
            cool_down: Duration::from_secs(30),
        }
    }
}

impl FallbackPolicy {
    /// How long after a change the nodes of the server may disagree. Default 30 s.
    ///
    /// A request that was refused with every secret of a list of two or more starts over, since each may
    /// have been refused once by another node: while the list is younger than this, and after it for as
    /// long as the last request that came to a conclusion was accepted, however long ago that was. A
    /// program that makes one request an hour goes through a change at the server like any other.
    ///
    /// Zero says that nodes never disagree: each request goes through the list once.
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.propagation_window = window;
        self
    }

    /// How often a request may go through the whole list while nodes may disagree: 1 or more, default
    /// 12. In simulation one pass fails about a tenth of the requests inside the window, four fail one
    /// in a thousand, and twelve at worst, with half of the nodes changed, 6 in 100 million.
    ///
    /// A request stops after its third pass where all requests together have found every secret refused
    /// in twice as many passes as this, with no acceptance between them.
    pub fn maximum_passes(mut self, passes: u32) -> Self {
        self.passes = passes.max(1);
        self
    }

    /// How long after its first refusal a request may start another pass. Default 5 s.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// How long a request that was refused with every secret waits for a newer list, where something
    /// keeps the list up to date. Default 1 s.
    pub fn revision_wait(mut self, wait: Duration) -> Self {
        self.revision_wait = wait;
        self
    }

    /// How long, after a request was refused with every secret and none was accepted meanwhile, later
    /// requests try the preferred secret alone. Default 30 s; an acceptance or a new revision ends it.
    ///
    /// A cool-down that follows another is twice as long, up to eight times this. One request in 25, for
    /// each fallback of the list, goes through the list once all the same.
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.cool_down = cool_down;
        self
    }

    /// How often a request may go through the whole list.
    #[must_use]
    pub fn passes(&self) -> u32 {
        self.passes
    }
}

const LONGEST_DELAY: Duration = Duration::from_millis(250);

/// The pause before pass number `pass` (2 is the first repeated one): 0, 5, 10, 20 ms ... capped at
/// 250 ms, then shortened by up to half by `jitter`, so that requests refused together do not come
/// back together.
pub(crate) fn delay_before_pass(pass: u32, jitter: u64) -> Duration {
    if pass <= 2 {
        return Duration::ZERO;
    }
    let full = Duration::from_millis(5 << (pass - 3).min(16)).min(LONGEST_DELAY);
    let half = full / 2;
    half + half.mul_f64((jitter >> 11) as f64 / (1u64 << 53) as f64)
}

/// One step of splitmix64: spreads consecutive numbers over all 64 bits. Jitter needs no more.
pub(crate) fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_from_nothing_to_a_quarter_of_a_second_and_never_past_it() {
        let longest: Vec<_> =
            (2..=12).map(|pass| delay_before_pass(pass, u64::MAX).as_millis()).collect();
        assert_eq!(longest, [0, 5, 10, 20, 40, 80, 160, 250, 250, 250, 250]);
        for pass in 3..200 {
            let (shortest, longest) =
                (delay_before_pass(pass, 0), delay_before_pass(pass, u64::MAX));
            assert!(shortest >= longest / 2 && longest <= LONGEST_DELAY, "pass {pass}");
        }
    }
}
