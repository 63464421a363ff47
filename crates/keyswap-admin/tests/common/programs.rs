//! The programs of a simulation: real rings with the real fallback decision, of which only time, the network
//! and the server are simulated, so that a run comes out the same from its seed each time.

use std::time::{Duration, Instant};

use keyswap_core::{
    Attempts, FallbackPolicy, Next, Revision, Secret, SecretList, SecretRing, Verdict,
};
use keyswap_store::InstanceReport;

/// What is drawn in a simulation.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// Two instances of the application `app`, and how their requests went.
pub(crate) struct Programs {
    base: Instant,
    pub(crate) instances: Vec<(SecretRing, InstanceReport)>,
    pub(crate) requests: u64,
    pub(crate) refusals: u64,
}

impl Programs {
    /// Programs that hold this list from the beginning.
    pub(crate) fn new((revision, list): (Revision, SecretList), window: u64, now: u64) -> Self {
        let base = Instant::now();
        let instance = |name| {
            let policy =
                FallbackPolicy::default().propagation_window(Duration::from_millis(window));
            let now = base + Duration::from_millis(now);
            let ring = SecretRing::starting(list.clone(), revision, policy, now);
            let report = InstanceReport::new("app", name).next(ring.usage());
            (ring, report)
        };
        let instances = ["i1", "i2"].map(instance).into();
        Self { base, instances, requests: 0, refusals: 0 }
    }

    /// What their reports say.
    pub(crate) fn reports(&self) -> Vec<InstanceReport> {
        self.instances.iter().map(|(_, report)| report.clone()).collect()
    }

    /// One of them takes up the published list.
    pub(crate) fn take_up(&mut self, index: usize, published: &(Revision, SecretList), now: u64) {
        let (revision, list) = published.clone();
        let now = self.base + Duration::from_millis(now);
        self.instances[index].0.replace_at_time(list, revision, now);
    }

    /// One of them makes a request and reports. Whether the server let it in at last; `accepts` is asked for
    /// each attempt.
    pub(crate) fn sign_in(
        &mut self,
        index: usize,
        now: u64,
        mut accepts: impl FnMut(&Secret) -> bool,
    ) -> bool {
        self.requests += 1;
        let mut now = self.base + Duration::from_millis(now);
        let (ring, report) = &mut self.instances[index];
        let (mut attempts, mut secret) = Attempts::begin_seeded(ring, self.requests);
        loop {
            let accepted = accepts(&secret);
            self.refusals += u64::from(!accepted);
            let verdict = if accepted { Verdict::Accepted } else { Verdict::Refused };
            secret = match attempts.conclude(verdict, now) {
                Next::Send(secret) => secret,
                Next::WaitThenSend(delay, secret) => {
                    now += delay;
                    secret
                }
                _ => {
                    *report = report.next(ring.usage());
                    return accepted;
                }
            };
        }
    }
}
