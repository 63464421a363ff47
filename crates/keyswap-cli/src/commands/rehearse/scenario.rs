//! What a rehearsal lets happen: each rotation that it makes, as data.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use keyswap_admin::crash::{Act, Point, Side};
use keyswap_admin::rotation::State;
use keyswap_testkit::{Endpoint, Fault};

/// Of an act that a rotation does more often than this and that changes nothing, the first, the last and the one in
/// the middle are met.
const EACH: u32 = 3;
/// How long an answer of a slow node takes.
const SLOW: Duration = Duration::from_millis(150);

/// A part of the rehearsal, by the name that `--only` has for it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(super) enum Part {
    /// Nothing happens
    Undisturbed,
    /// The rotator dies before or after each of its acts
    Crash,
    /// It is taken back from each state
    Back,
    /// The server answers a change late, wrongly or not at all
    Answers,
    /// A node is slow
    Slow,
    /// A program restarts
    Restart,
    /// The old secret is compromised
    Compromised,
}

/// What happens in one rotation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scenario {
    Undisturbed,
    /// The rotator dies at this act; another one takes it up.
    Crash(Point),
    /// The rotator dies before the first act of this state, and a person takes the rotation back.
    Back(State),
    /// This comes of each change that is sent first.
    Answer(Mishap),
    SlowNode,
    Restart,
    Compromised,
}

/// What comes of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mishap {
    AppliedAndLost,
    LostAndNotApplied,
    AppliedLate,
    AppliedWithAnError,
    Error,
    TurnedAway,
    Page,
}

impl Mishap {
    const ALL: [Self; 7] = [
        Self::AppliedAndLost,
        Self::LostAndNotApplied,
        Self::AppliedLate,
        Self::AppliedWithAnError,
        Self::Error,
        Self::TurnedAway,
        Self::Page,
    ];

    /// As the table has it.
    fn label(self) -> &'static str {
        match self {
            Self::AppliedAndLost => "no answer, change made",
            Self::LostAndNotApplied => "no answer, change not made",
            Self::AppliedLate => "no answer, change made later",
            Self::AppliedWithAnError => "500, change made",
            Self::Error => "503, change not made",
            Self::TurnedAway => "429 with Retry-After",
            Self::Page => "502 from a proxy in front of the server",
        }
    }

    /// Whether nobody can tell from the answer what came of the change.
    fn is_unknown(self) -> bool {
        !matches!(self, Self::TurnedAway)
    }

    fn fault(self, window: Duration) -> Fault {
        let endpoint = Endpoint::Management;
        match self {
            Self::AppliedAndLost => Fault::AnswerLostAfterChange,
            Self::LostAndNotApplied => Fault::AnswerLostBeforeChange,
            Self::AppliedLate => Fault::LateChange { after: window / 2 },
            Self::AppliedWithAnError => Fault::ServerErrorAfterChange { status: 500 },
            Self::Error => Fault::ServerError { endpoint, status: 503 },
            Self::TurnedAway => {
                let retry_after = Some(Duration::from_secs(1));
                Fault::RateLimited { endpoint, retry_after, reset_after: None }
            }
            Self::Page => Fault::Html { endpoint, status: 502 },
        }
    }
}

/// Something that goes wrong at the server when a rotation enters a state: for so many requests.
pub(super) type Injected = (Fault, u64);

impl Scenario {
    pub(super) fn part(&self) -> Part {
        match self {
            Self::Undisturbed => Part::Undisturbed,
            Self::Crash(_) => Part::Crash,
            Self::Back(_) => Part::Back,
            Self::Answer(_) => Part::Answers,
            Self::SlowNode => Part::Slow,
            Self::Restart => Part::Restart,
            Self::Compromised => Part::Compromised,
        }
    }

    /// The row of the table that it counts in; a crash by the state that it met.
    pub(super) fn label(&self, met: Option<State>) -> String {
        match (self, met) {
            (Self::Undisturbed, _) => "undisturbed".to_owned(),
            (Self::Crash(_), Some(state)) => format!("crash in {state}"),
            (Self::Crash(_), None) => "crash before the journal".to_owned(),
            (Self::Back(state), _) => format!("taken back from {state}"),
            (Self::Answer(mishap), _) => mishap.label().to_owned(),
            (Self::SlowNode, _) => "slow token endpoint".to_owned(),
            (Self::Restart, _) => "a program restarts in each state".to_owned(),
            (Self::Compromised, _) => "--compromised".to_owned(),
        }
    }

    /// Where that row stands among those of the same part.
    pub(super) fn place(&self, met: Option<State>) -> usize {
        let of = |state: State| 1 + state as usize;
        match self {
            Self::Crash(_) => met.map_or(0, of),
            Self::Back(state) => of(*state),
            Self::Answer(mishap) => Mishap::ALL.iter().position(|one| one == mishap).unwrap_or(0),
            _ => 0,
        }
    }

    /// Where the rotator dies, if it dies at an act.
    pub(super) fn dies(&self) -> Option<Point> {
        match self {
            Self::Crash(point) => Some(*point),
            _ => None,
        }
    }

    /// Whether the rotator dies in this state.
    pub(super) fn dies_in(&self, state: State) -> bool {
        *self == Self::Back(state)
    }

    /// What goes wrong at the server when the rotation enters this state.
    pub(super) fn injects(&self, state: State, window: Duration) -> Option<Injected> {
        match self {
            Self::Answer(mishap) if changes(state) => Some((mishap.fault(window), 1)),
            Self::SlowNode if changes(state) || state == State::Promoted => {
                Some((Fault::Latency { endpoint: Endpoint::Token, delay: SLOW }, 10))
            }
            _ => None,
        }
    }

    /// Whether a change may be lost without anybody knowing its value or the next token.
    pub(super) fn loses_an_answer(&self) -> bool {
        match self {
            Self::Answer(mishap) => mishap.is_unknown(),
            Self::Crash(point) => is_change(point.act) && point.side == Side::After,
            _ => false,
        }
    }
}

/// Whether a change is sent to the server in this state.
fn changes(state: State) -> bool {
    use State::{Adding, CuttingOver, Deactivating, Removing};
    matches!(state, Adding | CuttingOver | Deactivating | Removing)
}

fn is_change(act: Act) -> bool {
    use Act::{AddSecret, RegenerateSecret, RemoveSecret, SetActive, SetSecret};
    matches!(act, AddSecret | RegenerateSecret | RemoveSecret | SetActive | SetSecret)
}

/// All that is rehearsed, from what an undisturbed rotation did: its states in order, and how often each act.
pub(super) fn all(states: &[State], acts: &BTreeMap<Act, u32>) -> Vec<Scenario> {
    let points = acts.iter().flat_map(|(act, times)| {
        let each = is_change(*act) || matches!(act, Act::SaveJournal | Act::Publish);
        let which: Vec<u32> = match each || *times <= EACH {
            true => (1..=*times).collect(),
            false => vec![1, times.div_ceil(2), *times],
        };
        which.into_iter().flat_map(|nth| {
            [Side::Before, Side::After].map(|side| Scenario::Crash(Point { act: *act, nth, side }))
        })
    });
    let back = states.iter().filter(|state| **state != State::Done).map(|one| Scenario::Back(*one));
    points
        .chain(back)
        .chain(Mishap::ALL.map(Scenario::Answer))
        .chain([Scenario::SlowNode, Scenario::Restart, Scenario::Compromised])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_rehearsed_before_and_after_each_act_that_writes_and_some_of_those_that_ask() {
        let acts = BTreeMap::from([(Act::SaveJournal, 9), (Act::Probe, 20), (Act::SetSecret, 1)]);
        let all = all(&State::PATH, &acts);
        let of = |act: Act| -> Vec<_> {
            let points = all.iter().filter_map(Scenario::dies).filter(|point| point.act == act);
            points.map(|point| (point.nth, point.side)).collect()
        };
        assert_eq!(of(Act::SaveJournal).len(), 18);
        assert_eq!(of(Act::SetSecret), [(1, Side::Before), (1, Side::After)]);
        let probes: Vec<_> = of(Act::Probe).into_iter().map(|(nth, _)| nth).collect();
        assert_eq!(probes, [1, 1, 10, 10, 20, 20]);
    }

    #[test]
    fn each_state_but_the_last_is_one_to_be_taken_back_from() {
        let all = all(&State::PATH, &BTreeMap::new());
        let back = all.iter().filter(|one| one.part() == Part::Back);
        assert_eq!(back.count(), State::PATH.len() - 1);
        assert!(!all.contains(&Scenario::Back(State::Done)));
    }

    #[test]
    fn what_goes_wrong_meets_the_states_in_which_the_server_is_changed() {
        let window = Duration::from_millis(300);
        for mishap in Mishap::ALL {
            let scenario = Scenario::Answer(mishap);
            assert!(scenario.injects(State::CuttingOver, window).is_some(), "{mishap:?}");
            assert!(scenario.injects(State::Removing, window).is_some(), "{mishap:?}");
            assert_eq!(scenario.injects(State::Staged, window), None, "{mishap:?}");
        }
    }
}
