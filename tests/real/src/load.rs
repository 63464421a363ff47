//! A steady load of sign-ins, and what became of each.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyswap_core::SecretId;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// A sign-in that succeeded.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The secret that the server accepted.
    pub secret: SecretId,
    /// How many times the request was sent, each time with a secret.
    pub attempts: u32,
}

/// What became of the sign-ins of a load.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Sign-ins that were tried.
    pub requests: u64,
    /// Those that needed more than one attempt, and succeeded.
    pub saved_by_fallback: u64,
    /// Why the others failed.
    pub failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, outcome: Result<SignIn, String>) {
        self.requests += 1;
        match outcome {
            Ok(sign_in) if sign_in.attempts > 1 => self.saved_by_fallback += 1,
            Ok(_) => {}
            Err(reason) => self.failures.push(reason),
        }
    }

    fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.saved_by_fallback += other.saved_by_fallback;
        self.failures.extend(other.failures);
    }

    /// Fails unless every sign-in succeeded.
    ///
    /// # Panics
    ///
    /// When one did not.
    #[track_caller]
    pub fn assert_none_failed(&self) {
        let Self { requests, failures, .. } = self;
        let first = &failures[..failures.len().min(3)];
        assert!(failures.is_empty(), "{} of {requests} failed, first: {first:?}", failures.len());
    }
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    stop: watch::Sender<bool>,
    done: Arc<AtomicU64>,
    tasks: JoinSet<Tally>,
}

impl Load {
    /// A load without a task.
    #[must_use]
    pub fn new() -> Self {
        Self { stop: watch::Sender::new(false), done: Arc::default(), tasks: JoinSet::new() }
    }

    /// Adds a task that calls `sign_in` once every `interval` until the load is stopped, one call after the other.
    pub fn add<F>(&mut self, interval: Duration, mut sign_in: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = Result<SignIn, String>> + Send,
    {
        let mut stop = self.stop.subscribe();
        let done = Arc::clone(&self.done);
        self.tasks.spawn(async move {
            let mut tally = Tally::default();
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return tally,
                    _ = ticks.tick() => {}
                }
                // A call that was begun is finished, so that each one is counted.
                tally.add(sign_in().await);
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Waits until `more` further sign-ins were finished by the load's tasks together.
    ///
    /// # Panics
    ///
    /// When that takes more than a minute.
    pub async fn progress(&self, more: u64) {
        let wanted = self.done.load(Ordering::Relaxed) + more;
        let patience = Instant::now() + Duration::from_secs(60);
        while self.done.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < patience, "the load does not get on");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Stops the load and says what became of its sign-ins.
    ///
    /// # Panics
    ///
    /// When one of its tasks did.
    pub async fn stop(self) -> Tally {
        self.stop.send_replace(true);
        let mut whole = Tally::default();
        for tally in self.tasks.join_all().await {
            whole.merge(tally);
        }
        whole
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}
