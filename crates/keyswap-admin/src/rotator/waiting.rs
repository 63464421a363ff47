//! How one process waits in a state, and what it tells of that.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use crate::progress::Awaited;
use crate::rotation::{Missing, State, Timestamp};

/// How this process waits: for how long in all, since when it is in a state, for whom since when, and what it
/// told last, so that news is told once.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) asked: Duration,
    since: Option<(State, Instant)>,
    awaited: BTreeMap<Box<str>, Timestamp>,
    /// In which state, and a hash of their names: there may be many.
    told: Option<(State, u64)>,
}

impl Waiting {
    /// How long this process has seen the rotation in this state, which an earlier one may have
    /// entered long ago.
    pub(super) fn lasts(&mut self, state: State) -> Duration {
        match self.since {
            Some((since_state, since)) if since_state == state => since.elapsed(),
            _ => {
                self.since = Some((state, Instant::now()));
                self.awaited.clear();
                Duration::ZERO
            }
        }
    }

    /// Waits as long as the policy or the server asks for.
    pub(super) async fn pause(&mut self, time: Duration) {
        self.asked += time;
        tokio::time::sleep(time).await;
    }

    /// Since when each of these has been waited for, as far as this process has seen it.
    pub(super) fn look(&mut self, missing: Vec<Missing>, now: Timestamp) -> Vec<Awaited> {
        let mut before = std::mem::take(&mut self.awaited);
        let awaited = missing.into_iter().map(|missing| {
            let who = missing.who().into_boxed_str();
            let since = before.remove(&who).unwrap_or(now);
            self.awaited.insert(who, since);
            Awaited { missing, since }
        });
        awaited.collect()
    }

    pub(super) fn news(&mut self, state: State, awaited: &[Awaited]) -> bool {
        if awaited.is_empty() {
            return false;
        }
        let mut names = DefaultHasher::new();
        for one in awaited {
            one.missing.who().hash(&mut names);
        }
        let told = Some((state, names.finish()));
        let news = self.told != told;
        self.told = told;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_is_waited_for_since_it_was_first_seen_to_be_missing() {
        let at = Timestamp::from_milliseconds;
        let in_use = |instance: &str, quiet_ms| Missing::InUse {
            application: "billing".into(),
            instance: instance.into(),
            quiet_ms,
            wanted_ms: 100,
        };
        let mut waiting = Waiting::default();
        let mut since = |state, missing: Vec<Missing>, now| {
            waiting.lasts(state);
            let awaited = waiting.look(missing, at(now));
            awaited.iter().map(|one| one.since.milliseconds()).collect::<Vec<_>>()
        };
        assert_eq!(since(State::Promoted, vec![in_use("i-1", 0)], 10), [10]);
        assert_eq!(since(State::Promoted, vec![in_use("i-2", 0), in_use("i-1", 5)], 20), [20, 10]);
        assert_eq!(since(State::Promoted, vec![in_use("i-2", 9)], 30), [20]);
        // Who was ready in between is waited for anew, and so is each in another state.
        assert_eq!(since(State::Promoted, vec![in_use("i-1", 0)], 40), [40]);
        assert_eq!(since(State::Drained, vec![in_use("i-1", 0)], 50), [50]);
    }
}
