//! One program's requests through a scenario, in the order in which things happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use keyswap_core::{
    Attempts, FallbackPolicy, Next, Revision, Secret, SecretId, SecretList, SecretRing, Verdict,
};

use crate::dice::{hash, share};
use crate::world::{Change, Nodes, SECOND, Scenario, Time};

/// Who decides which secret leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Leader {
    /// What the ring learnt.
    Learnt,
    /// Before each decision, whichever secret more of the reachable nodes hold at that time. All else
    /// is as with [`Leader::Learnt`]: the same requests, passes, pauses and draws.
    Oracle,
    /// The new secret, or else the old one, all the time.
    Always(bool),
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) requests: u64,
    pub(crate) attempts: u64,
    pub(crate) failed: u64,
    /// The most attempts of one request.
    pub(crate) most: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.attempts += other.attempts;
        self.failed += other.failed;
        self.most = self.most.max(other.most);
    }
}

impl Count {
    pub(crate) fn mean(&self) -> f64 {
        self.attempts as f64 / self.requests as f64
    }
}

pub(crate) fn list(ids: &[&str]) -> SecretList {
    let secret = |id: &&str| Secret::new(id.parse().unwrap(), format!("value-of-{id}")).unwrap();
    SecretList::new(ids.iter().map(secret)).unwrap()
}

/// All programs of a scenario.
pub(crate) fn run(scenario: &Scenario, policy: &FallbackPolicy, leader: Leader) -> Count {
    let mut count = Count::default();
    for program in 0..scenario.programs {
        count += Program::new(program, scenario, policy, leader).run();
    }
    count
}

/// All programs of a scenario, each led by whichever secret costs it fewer attempts overall.
pub(crate) fn run_with_the_best_fixed_leader(
    scenario: &Scenario,
    policy: &FallbackPolicy,
) -> Count {
    let mut count = Count::default();
    for program in 0..scenario.programs {
        let led_by = |new| Program::new(program, scenario, policy, Leader::Always(new)).run();
        let (old, new) = (led_by(false), led_by(true));
        count += if old.attempts < new.attempts { old } else { new };
    }
    count
}

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Arrival,
    Publication,
    Sending(usize),
    Answer(usize),
    WaitOver(usize),
}

struct Flight {
    attempts: Attempts,
    new: bool,
    number: u64,
    counts: bool,
    accepted: bool,
}

struct Program<'a> {
    scenario: &'a Scenario,
    leader: Leader,
    ring: SecretRing,
    nodes: Nodes,
    new: SecretId,
    old: SecretId,
    /// What the policy takes for the scenario's beginning.
    zero: Instant,
    begin: Time,
    seed: u64,
    requests: u64,
    flights: Vec<Option<Flight>>,
    free: Vec<usize>,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    ordinal: u64,
    count: Count,
}

impl<'a> Program<'a> {
    fn new(number: u64, scenario: &'a Scenario, policy: &FallbackPolicy, leader: Leader) -> Self {
        // Long enough for a steady beginning, and for the list to be no news any more.
        let begin = -scenario.time_of(20.0).max(60 * SECOND / 100);
        let long_ago = Duration::from_secs(3600);
        let made = Instant::now();
        let zero = made + long_ago + Duration::from_micros(begin.unsigned_abs());
        let ring =
            SecretRing::starting(list(&["old", "new"]), Revision::new(1), policy.clone(), made);
        Self {
            scenario,
            leader,
            ring,
            nodes: Nodes::reached_by(number, scenario),
            new: "new".parse().unwrap(),
            old: "old".parse().unwrap(),
            zero,
            begin,
            seed: hash(&[scenario.seed, 4, number]),
            requests: 0,
            flights: Vec::new(),
            free: Vec::new(),
            events: BinaryHeap::new(),
            ordinal: 0,
            count: Count::default(),
        }
    }

    fn run(mut self) -> Count {
        let end = self.scenario.measured().end;
        if self.scenario.change == Change::Reordered {
            // Each program hears of it within a second.
            let delay = (share(&[self.seed, 5]) * SECOND as f64) as Time;
            self.at(self.scenario.window / 2 + delay, Event::Publication);
        }
        let first = self.begin + self.gap();
        self.at(first, Event::Arrival);
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            match event {
                Event::Arrival => {
                    self.arrive(now);
                    let next = now + self.gap();
                    if next < end {
                        self.at(next, Event::Arrival);
                    }
                }
                Event::Publication => {
                    let list = list(&["new", "old"]);
                    self.ring.replace_at_time(list, Revision::new(2), self.instant(now));
                }
                Event::Sending(slot) => self.send(slot, now),
                Event::Answer(slot) => {
                    self.lead(now);
                    let instant = self.instant(now);
                    let flight = self.flights[slot].as_mut().unwrap();
                    let verdict =
                        if flight.accepted { Verdict::Accepted } else { Verdict::Refused };
                    let next = flight.attempts.conclude(verdict, instant);
                    self.follow(slot, next, now);
                }
                Event::WaitOver(slot) => {
                    let instant = self.instant(now);
                    let next = self.flights[slot].as_mut().unwrap().attempts.resume(instant);
                    self.follow(slot, next, now);
                }
            }
        }
        self.count
    }

    fn arrive(&mut self, now: Time) {
        self.lead(now);
        let number = self.requests;
        self.requests += 1;
        let seed = hash(&[self.seed, 6, number]);
        let (attempts, secret) = Attempts::begin_seeded(&self.ring, seed);
        let new = *secret.id() == self.new;
        let counts = self.scenario.measured().contains(&now);
        let flight = Flight { attempts, new, number, counts, accepted: false };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.flights.push(None);
            self.flights.len() - 1
        });
        self.flights[slot] = Some(flight);
        self.send(slot, now);
    }

    /// The attempt reaches its node after half of the time that the answer takes: 2 to 100 ms.
    fn send(&mut self, slot: usize, now: Time) {
        let flight = self.flights[slot].as_mut().unwrap();
        let attempt = flight.attempts.attempts();
        let latency =
            2_000 + hash(&[self.seed, 7, flight.number, u64::from(attempt)]) as Time % 98_000;
        let latency = latency.abs();
        flight.accepted = self.nodes.accepts(flight.new, now + latency / 2, flight.number, attempt);
        self.at(now + latency, Event::Answer(slot));
    }

    fn follow(&mut self, slot: usize, next: Next, now: Time) {
        let after = |pause: Duration| now + Time::try_from(pause.as_micros()).unwrap();
        match next {
            Next::Send(secret) => {
                self.take(slot, &secret);
                self.send(slot, now);
            }
            Next::WaitThenSend(pause, secret) => {
                self.take(slot, &secret);
                self.at(after(pause), Event::Sending(slot));
            }
            Next::WaitForRevision(_, most) => self.at(after(most), Event::WaitOver(slot)),
            _ => {
                let flight = self.flights[slot].take().unwrap();
                self.free.push(slot);
                if flight.counts {
                    let attempts = u64::from(flight.attempts.attempts());
                    self.count += Count {
                        requests: 1,
                        attempts,
                        failed: u64::from(!flight.accepted),
                        most: attempts,
                    };
                }
            }
        }
    }

    fn take(&mut self, slot: usize, secret: &Secret) {
        self.flights[slot].as_mut().unwrap().new = *secret.id() == self.new;
    }

    fn lead(&self, now: Time) {
        let new = match self.leader {
            Leader::Learnt => return,
            Leader::Oracle => self.nodes.most_hold_new(now),
            Leader::Always(new) => Some(new),
        };
        match new {
            Some(true) => self.ring.promote(&self.new, &self.old),
            Some(false) => self.ring.promote(&self.old, &self.new),
            None => false,
        };
    }

    /// Requests come independently of each other: the gaps are exponential.
    fn gap(&self) -> Time {
        let uniform = share(&[self.seed, 8, self.requests]);
        self.scenario.time_of(-(1.0 - uniform).ln()).max(1)
    }

    fn at(&mut self, time: Time, event: Event) {
        self.ordinal += 1;
        self.events.push(Reverse((time, self.ordinal, event)));
    }

    fn instant(&self, time: Time) -> Instant {
        if time < 0 {
            self.zero - Duration::from_micros(time.unsigned_abs())
        } else {
            self.zero + Duration::from_micros(time.unsigned_abs())
        }
    }
}
