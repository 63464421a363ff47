//! How long one process waits in a state, and what it tells of that.

use std::time::Duration;

use tokio::time::Instant;

use crate::rotation::{Missing, State};

/// How this process waits: for how long in all, since when it is in a state, and what it told last, so
/// that news is told once.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) asked: Duration,
    since: Option<(State, Instant)>,
    told: Option<(State, Vec<String>)>,
}

impl Waiting {
    /// How long this process has seen the rotation in this state, which an earlier one may have
    /// entered long ago.
    pub(super) fn lasts(&mut self, state: State) -> Duration {
        match self.since {
            Some((since_state, since)) if since_state == state => since.elapsed(),
            _ => {
                self.since = Some((state, Instant::now()));
                Duration::ZERO
            }
        }
    }

    /// Waits as long as the policy or the server asks for.
    pub(super) async fn pause(&mut self, time: Duration) {
        self.asked += time;
        tokio::time::sleep(time).await;
    }

    pub(super) fn news(&mut self, state: State, missing: &[Missing]) -> bool {
        if missing.is_empty() {
            return false;
        }
        // For how long changes with each look and is no news.
        let who = |one: &Missing| match one {
            Missing::InUse { application, instance, .. } => {
                format!("{application}/{instance} in use")
            }
            Missing::InFlight { .. } => "in flight".to_owned(),
            other => other.to_string(),
        };
        let told = Some((state, missing.iter().map(who).collect()));
        let news = self.told != told;
        self.told = told;
        news
    }
}
