//! The rate limit of the management API, and how busy that was.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// Counts the requests of the last second. Time comes in as an argument.
#[derive(Debug)]
pub(crate) struct Limit {
    /// How many requests any second may hold; `None`: any number.
    allowed: Option<u64>,
    /// When the requests of the last second came, those that were turned away included.
    came: VecDeque<Instant>,
    /// When those came that were not.
    served: VecDeque<Instant>,
    most: u64,
}

/// What a request meets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Admission {
    pub(crate) admitted: bool,
    pub(crate) allowed: u64,
    pub(crate) left: u64,
    /// When one more is allowed.
    pub(crate) reset: Duration,
}

impl Limit {
    pub(crate) fn new(allowed: Option<u64>) -> Self {
        Self { allowed, came: VecDeque::new(), served: VecDeque::new(), most: 0 }
    }

    /// The most requests that came within one second.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// A request comes; `None` where there is no limit.
    pub(crate) fn arrive(&mut self, now: Instant) -> Option<Admission> {
        for times in [&mut self.came, &mut self.served] {
            while times.front().is_some_and(|time| now.duration_since(*time) >= WINDOW) {
                times.pop_front();
            }
        }
        self.came.push_back(now);
        self.most = self.most.max(self.came.len() as u64);
        let allowed = self.allowed?;
        let admitted = (self.served.len() as u64) < allowed;
        if admitted {
            self.served.push_back(now);
        }
        let left = allowed.saturating_sub(self.served.len() as u64);
        let first = self.served.front().copied().unwrap_or(now);
        Some(Admission { admitted, allowed, left, reset: WINDOW.saturating_sub(now - first) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_holds_more_than_allowed_and_those_turned_away_count_as_coming() {
        let start = Instant::now();
        let mut limit = Limit::new(Some(2));
        let mut arrive = |ms| limit.arrive(start + Duration::from_millis(ms)).unwrap();
        assert_eq!((arrive(0).admitted, arrive(600).left), (true, 0));
        let third = arrive(700);
        assert!(!third.admitted);
        assert_eq!(third.reset, Duration::from_millis(300));
        assert!(arrive(1000).admitted, "the first is a second ago");
        assert!(!arrive(1599).admitted);
        assert!(arrive(1600).admitted);
        assert_eq!(limit.most(), 4);
        assert_eq!(Limit::new(None).arrive(start), None);
    }
}
