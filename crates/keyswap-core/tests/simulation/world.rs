//! The authorization server of the simulation: nodes that switch each at its own time, and what
//! stands in front of them.

use std::fmt;

use crate::dice::{hash, share};

/// Microseconds from the moment at which the server is told of the change.
pub(crate) type Time = i64;

pub(crate) const SECOND: Time = 1_000_000;

/// Which node an attempt reaches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Balancing {
    /// Any node, each time.
    PerAttempt,
    /// A pool of this many connections, each bound to one node; an attempt takes any of them.
    Connections(u64),
    /// The program reaches one node for ever.
    Client,
}

impl fmt::Display for Balancing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerAttempt => f.pad("per attempt"),
            Self::Connections(count) => f.pad(&format!("{count} connections")),
            Self::Client => f.pad("by client"),
        }
    }
}

/// What happens to the secret at the server, and to the published list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// From the old secret to the new one.
    Forward,
    /// Forward, and back when all nodes have switched.
    Back,
    /// Forward, and back from the middle of the window on: each node switches twice.
    BackMidway,
    /// Forward, and in the middle of the window the list is published as `[new, old]`.
    Reordered,
    /// From time 0 on every node refuses both.
    Outage,
}

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) nodes: u64,
    pub(crate) window: Time,
    /// Requests a second, of one program.
    pub(crate) load: f64,
    pub(crate) balancing: Balancing,
    pub(crate) change: Change,
    /// Each with a ring of its own.
    pub(crate) programs: u64,
    pub(crate) seed: u64,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}, {} nodes, {} s, {} requests/s, {}, {} programs",
            self.change,
            self.nodes,
            self.window / SECOND,
            self.load,
            self.balancing,
            self.programs
        )
    }
}

impl Scenario {
    /// When the last node has switched for the last time.
    pub(crate) fn settled(&self) -> Time {
        match self.change {
            Change::Forward | Change::Reordered | Change::Outage => self.window,
            Change::Back => 2 * self.window,
            Change::BackMidway => self.window * 3 / 2,
        }
    }

    /// The time that `requests` requests of one program take on average.
    pub(crate) fn time_of(&self, requests: f64) -> Time {
        (requests / self.load * SECOND as f64) as Time
    }

    /// The first requests that count are those after the change, the last are the next ten after the
    /// last switch, in which a program that reaches one node may still have to learn.
    pub(crate) fn measured(&self) -> std::ops::Range<Time> {
        0..self.settled() + self.time_of(10.0)
    }
}

/// The nodes that one program can reach: all of them, or those that its connections are bound to.
pub(crate) struct Nodes {
    /// When each begins to hold the new secret, and when it goes back to the old one.
    switches: Vec<(Time, Time)>,
    outage: bool,
    seed: u64,
}

impl Nodes {
    pub(crate) fn reached_by(program: u64, scenario: &Scenario) -> Self {
        let window = scenario.window;
        let within = |from: Time, length: Time, node: u64, which: u64| {
            from + (share(&[scenario.seed, 1, node, which]) * length as f64) as Time
        };
        let switch = |node: u64| {
            let forward = within(0, window, node, 0);
            let back = match scenario.change {
                Change::Back => within(window, window, node, 1),
                Change::BackMidway => {
                    let from = forward.max(window / 2);
                    within(from, window * 3 / 2 - from, node, 1)
                }
                _ => Time::MAX,
            };
            (forward, back)
        };
        let bound = |connection: u64| {
            switch(hash(&[scenario.seed, 2, program, connection]) % scenario.nodes)
        };
        let switches = match scenario.balancing {
            Balancing::PerAttempt => (0..scenario.nodes).map(switch).collect(),
            Balancing::Connections(count) => (0..count).map(bound).collect(),
            Balancing::Client => vec![bound(0)],
        };
        let outage = scenario.change == Change::Outage;
        Self { switches, outage, seed: hash(&[scenario.seed, 3, program]) }
    }

    /// Whether the node that this attempt reaches takes the new, or else the old secret.
    pub(crate) fn accepts(&self, new: bool, at: Time, request: u64, attempt: u32) -> bool {
        if self.outage {
            return at < 0 && !new;
        }
        let node = hash(&[self.seed, request, u64::from(attempt)]) % self.switches.len() as u64;
        holds_new(self.switches[node as usize], at) == new
    }

    /// Which secret more of these nodes hold: `None` if neither.
    pub(crate) fn most_hold_new(&self, at: Time) -> Option<bool> {
        let new = self.switches.iter().filter(|node| holds_new(**node, at)).count();
        match (2 * new).cmp(&self.switches.len()) {
            std::cmp::Ordering::Less => Some(false),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(true),
        }
    }
}

fn holds_new((forward, back): (Time, Time), at: Time) -> bool {
    forward <= at && at < back
}
