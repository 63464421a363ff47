//! What each path may cost at most, and what it cost when somebody last looked.

/// Instructions of keyswap's variants, compared with those of a peer in the same program.
pub(crate) struct InstructionGoal {
    pub(crate) path: &'static str,
    /// The worst of them counts.
    pub(crate) ours: &'static [&'static str],
    pub(crate) peer: &'static str,
    pub(crate) compared: Compared,
    /// What we want.
    pub(crate) at_most: f64,
    /// What it is. `--check` fails when it gets worse by more than a twentieth, and a difference by more
    /// than ten instructions as well: lower it whenever the code gets better.
    pub(crate) recorded: f64,
}

#[derive(Clone, Copy)]
pub(crate) enum Compared {
    Ratio,
    Difference,
}

use Compared::{Difference, Ratio};

const BASIC: &[&str] = &["keyswap_one", "keyswap_two", "keyswap_eight"];

pub(crate) const INSTRUCTIONS: &[InstructionGoal] = &[
    InstructionGoal {
        path: "Basic, accepted at once, one to eight secrets: to the do-it-yourself pair",
        ours: BASIC,
        peer: "retry_two",
        compared: Ratio,
        at_most: 1.0,
        recorded: 1.33,
    },
    InstructionGoal {
        path: "the same: to the layer that locks, formats and encodes",
        ours: BASIC,
        peer: "format_each",
        compared: Ratio,
        at_most: 0.5,
        recorded: 0.64,
    },
    InstructionGoal {
        path: "Basic, body over the cap: to `SetRequestHeader`",
        ours: &["large_keyswap"],
        peer: "large_set_header",
        compared: Ratio,
        at_most: 1.15,
        recorded: 1.75,
    },
    InstructionGoal {
        path: "Basic, streaming body: to `SetRequestHeader`",
        ours: &["stream_keyswap"],
        peer: "stream_set_header",
        compared: Ratio,
        at_most: 1.15,
        recorded: 2.51,
    },
    InstructionGoal {
        path: "post, the form rewritten: to the hand-made form layer",
        ours: &["keyswap_post"],
        peer: "form_each",
        compared: Ratio,
        at_most: 0.6,
        recorded: 1.07,
    },
    InstructionGoal {
        path: "one refusal, answer read, next secret accepted, order learnt: to the do-it-yourself retry",
        ours: &["fallback_keyswap"],
        peer: "fallback_retry",
        compared: Ratio,
        at_most: 1.15,
        recorded: 2.07,
    },
    InstructionGoal {
        path: "`TokenSource`, a token that is kept: more than `ArcSwap::load`",
        ours: &["token_source"],
        peer: "arc_swap_load",
        compared: Difference,
        at_most: 100.0,
        recorded: 89.0,
    },
];

/// Allocations that keyswap may make beyond those of a peer.
pub(crate) struct AllocationGoal {
    pub(crate) path: &'static str,
    pub(crate) ours: &'static [&'static str],
    pub(crate) peer: &'static str,
    pub(crate) at_most: f64,
}

pub(crate) const ALLOCATIONS: &[AllocationGoal] = &[
    AllocationGoal {
        path: "Basic, accepted at once, one to eight secrets: more than `SetRequestHeader`",
        ours: BASIC,
        peer: "set_header",
        at_most: 2.0,
    },
    AllocationGoal {
        path: "Basic, body over the cap: more than `SetRequestHeader`",
        ours: &["large_keyswap"],
        peer: "large_set_header",
        at_most: 0.0,
    },
    AllocationGoal {
        path: "Basic, streaming body: more than `SetRequestHeader`",
        ours: &["stream_keyswap"],
        peer: "stream_set_header",
        at_most: 0.0,
    },
    AllocationGoal {
        path: "`TokenSource`, a token that is kept: more than `ArcSwap::load`",
        ours: &["token_source"],
        peer: "arc_swap_load",
        at_most: 1.0,
    },
];

/// How many instructions a difference may move by whatever is recorded.
const FEW: f64 = 10.0;

/// Two threads with one ring, to one thread's time a call.
pub(crate) const TWO_THREADS: f64 = 1.3;
/// Requests a second over loopback, to the same client with `SetRequestHeader`.
pub(crate) const THROUGHPUT: f64 = 0.98;
/// Replacing a list under 64 readers, of a hundred times the longest but one: microseconds.
pub(crate) const REPLACE_P99: f64 = 100.0;

/// From what is recorded to what is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    Worse,
    None,
    Better,
}

/// A line of the table of goals.
pub(crate) struct Outcome {
    pub(crate) path: String,
    pub(crate) what: &'static str,
    pub(crate) goal: String,
    pub(crate) measured: String,
    pub(crate) met: bool,
}

impl InstructionGoal {
    /// Ours, compared with the peer's.
    pub(crate) fn measured(&self, instructions: impl Fn(&str) -> f64) -> f64 {
        let ours = self.ours.iter().map(|name| instructions(name)).fold(0.0, f64::max);
        let peer = instructions(self.peer);
        match self.compared {
            Ratio => ours / peer,
            Difference => ours - peer,
        }
    }

    /// Whether it is still what was recorded, give or take what is allowed.
    pub(crate) fn change(&self, measured: f64) -> Change {
        if measured > self.recorded + self.allowed() {
            Change::Worse
        } else if measured < self.recorded - self.allowed() {
            Change::Better
        } else {
            Change::None
        }
    }

    /// A twentieth. Of a small difference that is less than another version of the compiler or of the C
    /// library moves it by, on either side.
    fn allowed(&self) -> f64 {
        let twentieth = self.recorded * 0.05;
        match self.compared {
            Ratio => twentieth,
            Difference => twentieth.max(FEW),
        }
    }

    /// As the tables have it.
    pub(crate) fn written(&self, value: f64) -> String {
        match self.compared {
            Ratio => format!("{value:.2} ×"),
            Difference => format!("{value:+.0}"),
        }
    }

    pub(crate) fn outcome(&self, instructions: impl Fn(&str) -> f64) -> Outcome {
        let measured = self.measured(instructions);
        Outcome {
            path: self.path.to_owned(),
            what: "instructions",
            goal: self.written(self.at_most),
            measured: self.written(measured),
            met: measured <= self.at_most,
        }
    }
}

impl AllocationGoal {
    pub(crate) fn outcome(&self, allocations: impl Fn(&str) -> f64) -> Outcome {
        let ours = self.ours.iter().map(|name| allocations(name)).fold(0.0, f64::max);
        let more = ours - allocations(self.peer);
        Outcome {
            path: self.path.to_owned(),
            what: "allocations",
            goal: format!("{:+.0}", self.at_most),
            measured: format!("{more:+.0}"),
            // A rare growth of something that is kept is no allocation of a call.
            met: more < self.at_most + 0.01,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(compared: Compared, at_most: f64) -> InstructionGoal {
        let ours = &["one", "eight"];
        InstructionGoal { path: "p", ours, peer: "peer", compared, at_most, recorded: 0.0 }
    }

    fn count(name: &str) -> f64 {
        match name {
            "one" => 150.0,
            "eight" => 300.0,
            _ => 200.0,
        }
    }

    #[test]
    fn the_worst_of_ours_is_compared() {
        assert_eq!(goal(Ratio, 1.5).measured(count), 1.5);
        assert_eq!(goal(Difference, 1.5).measured(count), 100.0);
    }

    #[test]
    fn more_than_a_twentieth_from_what_is_recorded_is_a_change() {
        let goal = InstructionGoal { recorded: 2.0, ..goal(Ratio, 1.0) };
        let changes = [1.89, 1.91, 2.09, 2.11].map(|measured| goal.change(measured));
        assert_eq!(changes, [Change::Better, Change::None, Change::None, Change::Worse]);
    }

    #[test]
    fn of_a_difference_ten_instructions_are_none_and_a_twentieth_if_that_is_more() {
        for (recorded, measured) in
            [(80.0, [69.0, 71.0, 89.0, 91.0]), (400.0, [379.0, 381.0, 419.0, 421.0])]
        {
            let goal = InstructionGoal { recorded, ..goal(Difference, 1.0) };
            let changes = measured.map(|measured| goal.change(measured));
            assert_eq!(changes, [Change::Better, Change::None, Change::None, Change::Worse]);
        }
    }

    #[test]
    fn a_goal_that_is_just_reached_is_met_and_one_that_is_missed_says_so() {
        assert!(goal(Ratio, 1.5).outcome(count).met);
        let missed = goal(Ratio, 1.4).outcome(count);
        assert_eq!((missed.measured.as_str(), missed.met), ("1.50 ×", false));
        let goal = |at_most| AllocationGoal { path: "p", ours: &["eight"], peer: "peer", at_most };
        assert!(goal(100.0).outcome(count).met);
        assert!(!goal(99.0).outcome(count).met);
    }
}
