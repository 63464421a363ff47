//! The time of a rotation: it never runs backwards, whoever sets the machine's clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::rotation::Timestamp;

/// The system's clock at the start of the process, and the monotonic one from there.
///
/// A clock that is set in mid-rotation moves nothing. One that was set back between two processes would
/// make the second one wait as long again, so time goes on from the latest moment of the journal then:
/// what was to be waited for is waited for from now on, which is never too short.
pub(super) struct Clock {
    began: Timestamp,
    behind: Duration,
    since: Instant,
}

impl Clock {
    /// Starts at the system's time, or at `latest` if that is later.
    pub(super) fn starting(latest: Timestamp) -> Self {
        Self::starting_at(Timestamp::now(), latest)
    }

    fn starting_at(now: Timestamp, latest: Timestamp) -> Self {
        Self { began: now.max(latest), behind: latest.since(now), since: Instant::now() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.began.after(self.since.elapsed())
    }

    /// By how much the system's clock was behind, if it was set back: clocks of two machines may be a
    /// second apart.
    pub(super) fn behind(&self) -> Option<Duration> {
        (self.behind > Duration::from_secs(2)).then_some(self.behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_back_goes_on_from_the_latest_moment_of_the_journal() {
        let hour = 3_600_000;
        let latest = Timestamp::from_milliseconds(10 * hour);
        let clock = Clock::starting_at(Timestamp::from_milliseconds(9 * hour), latest);
        assert_eq!(clock.behind(), Some(Duration::from_secs(3600)));
        assert_eq!(clock.now(), latest);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now().since(latest), Duration::from_secs(5));

        let later = Timestamp::from_milliseconds(11 * hour);
        let clock = Clock::starting_at(later, latest);
        assert_eq!((clock.behind(), clock.now()), (None, later));
    }
}
