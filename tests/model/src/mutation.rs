//! The guards of the protocol, each to be broken once: a checker that finds nothing proves nothing.
//!
//! The step itself stays as it is. A guard is broken by what it is told, by what is made of what it says, or
//! by a store, a policy or an instance that does not keep its part.

use keyswap_admin::State;

use crate::bounds::{Bounds, Console, Several, Shows};
use crate::rotations::{
    Act, FOREIGN, FRESH, Happened, NONE, Number, Outcome, Report, Request, Rotations, WhichOne,
};
use crate::slots::Entry;

/// A guard that is broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mutation {
    /// The gate before the change is told that every instance holds both secrets.
    AdoptionNotAwaited,
    /// Instances report the list in the store in place of the one that they use.
    ReportsOfTheStore,
    /// An instance reads the list before it registers.
    ReadBeforeRegistering,
    /// An instance that was paused past its lease does not ask for a newer list.
    NoLastResort,
    /// A lost answer to the change counts as a refusal.
    UnknownIsRefused,
    /// A lost answer to the change counts as an acceptance.
    UnknownIsApplied,
    /// A process that takes up a change that may have been made takes it for made.
    TakenUpAsApplied,
    /// A process that takes up a change that may have been made takes it for not made.
    TakenUpAsRefused,
    /// The journal does not say that a change has no outcome.
    UnresolvedForgotten,
    /// The change is sent before its intent is in the journal.
    SentBeforeJournaled,
    /// After a lost answer another secret is sent than the one in the journal.
    FreshCandidate,
    /// One probe proves the change, at any time.
    OneProbeConfirms,
    /// The gate before the old secret is retired is told that nobody uses it.
    UseNotAwaited,
    /// A reporter that hangs passes for one that has nothing new to say.
    SilenceIsQuiet,
    /// The policy's window is shorter than the server's, and so is its quiet period.
    WindowTooShort,
    /// The old secret is retired without asking the server.
    NoNegativeTest,
    /// The store takes what a process writes after it lost its lease.
    NoFencing,
    /// The lease is not looked at before the change is sent.
    LeaseNotChecked,
    /// The next rotation does not wait for what may still be on its way.
    InFlightNotAwaited,
    /// The journal does not keep retired secrets.
    RetiredForgotten,
    /// A rotation that was stuck goes on as if the nodes still agreed.
    ResumedWithoutProof,
    /// What one node says after the quiet period is taken for all of them, although there was doubt.
    OneLookAfterDoubt,
    /// The way back does not wait for a change of the way forward that had no answer.
    ForwardForgotten,
    /// The value that the server chose is published before it is in the journal.
    AddedNotJournaled,
    /// What somebody else added is taken for the rotation's own.
    ForeignIsOwn,
    /// A lost answer to the request to add a secret counts as a refusal.
    UnknownAddIsRefused,
    /// A process that takes up such a request takes it for refused.
    TakenUpAddAsRefused,
    /// A request to add a secret that had no answer is repeated at once.
    AddedAgainAtOnce,
    /// The old secret is deactivated while it is in use.
    DeactivatedInUse,
    /// A deactivated old secret is taken away at once.
    ObservationNotAwaited,
    /// Whether the server refuses a deactivated old secret is not asked.
    DeactivationNotProved,
    /// What one node says of a new secret that a person put back is taken for all of them.
    OneLookAtWhatWasPutBack,
    /// The way back does not wait for a request to deactivate the old secret that had no answer.
    DeactivationForgotten,
    /// One probe proves the secret that was added.
    OneProbeAdopts,
    /// A list is published whatever hold there is.
    HoldIgnoredAtPublish,
    /// The change is sent whatever hold there is.
    HoldIgnoredAtSend,
    /// The old secret is retired whatever hold there is.
    HoldIgnoredAtRetiring,
    /// Who is left behind is not named in the journal.
    BrokenNotNoted,
    /// A compromised rotation waits as any other.
    DeadlineForgotten,
    /// A retired secret that is found in force in mid-rotation is not published before a person is asked.
    ReadmissionDropped,
    /// That a retired secret was found in force is forgotten once it is published.
    ReadmissionForgotten,
    /// The rotation does not know that the server never removes the secret that was added last.
    NewestForgotten,
}

impl Mutation {
    pub(crate) const ALL: [Self; 42] = [
        Self::AdoptionNotAwaited,
        Self::ReportsOfTheStore,
        Self::ReadBeforeRegistering,
        Self::NoLastResort,
        Self::UnknownIsRefused,
        Self::UnknownIsApplied,
        Self::TakenUpAsApplied,
        Self::TakenUpAsRefused,
        Self::UnresolvedForgotten,
        Self::SentBeforeJournaled,
        Self::FreshCandidate,
        Self::OneProbeConfirms,
        Self::UseNotAwaited,
        Self::SilenceIsQuiet,
        Self::WindowTooShort,
        Self::NoNegativeTest,
        Self::NoFencing,
        Self::LeaseNotChecked,
        Self::InFlightNotAwaited,
        Self::RetiredForgotten,
        Self::ResumedWithoutProof,
        Self::OneLookAfterDoubt,
        Self::ForwardForgotten,
        Self::AddedNotJournaled,
        Self::ForeignIsOwn,
        Self::UnknownAddIsRefused,
        Self::TakenUpAddAsRefused,
        Self::AddedAgainAtOnce,
        Self::DeactivatedInUse,
        Self::ObservationNotAwaited,
        Self::DeactivationNotProved,
        Self::OneLookAtWhatWasPutBack,
        Self::DeactivationForgotten,
        Self::OneProbeAdopts,
        Self::HoldIgnoredAtPublish,
        Self::HoldIgnoredAtSend,
        Self::HoldIgnoredAtRetiring,
        Self::BrokenNotNoted,
        Self::DeadlineForgotten,
        Self::ReadmissionDropped,
        Self::ReadmissionForgotten,
        Self::NewestForgotten,
    ];

    /// A small world in which it shows.
    pub(crate) fn world(self) -> Bounds {
        let calm = Bounds { mutation: Some(self), ..Bounds::CALM };
        // One instance, and a rotation after the one whose request is late.
        let twice = Bounds {
            rotations: 2,
            instances: 1,
            expected: 1,
            in_flight: 6,
            late: Some(6),
            late_write: 9,
            ..calm
        };
        let alone = Bounds { instances: 1, expected: 1, ..calm };
        let several = |several| Bounds { several: Some(several), ..alone };
        let at_the_console = |console| several(Several { console, ..Several::LISTED });
        match self {
            Self::HoldIgnoredAtPublish | Self::HoldIgnoredAtSend | Self::HoldIgnoredAtRetiring => {
                Bounds { holds: 1, ..alone }
            }
            Self::BrokenNotNoted | Self::DeadlineForgotten => {
                Bounds { compromised: Some(1), deaf: true, ..alone }
            }
            Self::AddedNotJournaled => {
                several(Several { shows: Shows::Text, chooses: true, ..Several::LISTED })
            }
            Self::NewestForgotten => Bounds { rollbacks: 1, ..several(Several::NEWEST_STAYS) },
            Self::ForeignIsOwn => Bounds { foreign: 1, ..at_the_console(Console::Adds) },
            Self::UnknownAddIsRefused | Self::TakenUpAddAsRefused | Self::AddedAgainAtOnce => {
                let hidden = several(Several { shows: Shows::Nothing, ..Several::LISTED });
                let (crashes, lost) = match self {
                    Self::TakenUpAddAsRefused => (1, 0),
                    Self::AddedAgainAtOnce => (0, 2),
                    _ => (0, 1),
                };
                Bounds { crashes, lost, late: Some(1), ..hidden }
            }
            Self::DeactivatedInUse | Self::ObservationNotAwaited => several(Several::LISTED),
            Self::OneProbeAdopts => {
                Bounds { probes: 1, window_of_policy: 0, ..several(Several::LISTED) }
            }
            Self::DeactivationNotProved => {
                Bounds { foreign: 1, ..at_the_console(Console::ActivatesOld) }
            }
            Self::OneLookAtWhatWasPutBack => {
                Bounds { foreign: 1, mended: true, ..at_the_console(Console::DeactivatesNew) }
            }
            Self::DeactivationForgotten => {
                let late = Bounds { in_flight: 2, late: Some(2), ..several(Several::LISTED) };
                Bounds { rollbacks: 1, lost: 1, ..late }
            }
            Self::AdoptionNotAwaited
            | Self::ReportsOfTheStore
            | Self::OneProbeConfirms
            | Self::UseNotAwaited => {
                let probes = if self == Self::OneProbeConfirms { 1 } else { calm.probes };
                let window_of_policy = if probes == 1 { 0 } else { calm.window };
                Bounds { probes, window_of_policy, ..calm }
            }
            Self::WindowTooShort => Bounds { window: 2, ..calm },
            Self::SilenceIsQuiet => Bounds { uses: 1, ..calm },
            Self::ReadBeforeRegistering => Bounds { deaths: 1, expected: 1, ..calm },
            Self::NoLastResort => Bounds { naps: 1, expected: 1, ..calm },
            Self::UnknownIsApplied => Bounds { lost: 1, ..calm },
            Self::TakenUpAsApplied => Bounds { crashes: 1, ..calm },
            Self::FreshCandidate => Bounds { lost: 1, ..calm },
            // What the server says it holds would show it as well.
            Self::NoNegativeTest => {
                Bounds { foreign: 1, foreign_value: 0, read_back: false, ..calm }
            }
            Self::NoFencing => Bounds { pauses: 1, ..calm },
            Self::UnknownIsRefused | Self::UnresolvedForgotten | Self::InFlightNotAwaited => {
                Bounds { lost: 1, ..twice }
            }
            Self::TakenUpAsRefused | Self::SentBeforeJournaled => Bounds { crashes: 1, ..twice },
            Self::LeaseNotChecked => Bounds { pauses: 1, ..twice },
            Self::RetiredForgotten => {
                Bounds { rotations: 3, lost: 1, in_flight: 2, late: Some(9), ..twice }
            }
            Self::ForwardForgotten => Bounds { rotations: 1, rollbacks: 1, lost: 1, ..twice },
            Self::ReadmissionDropped | Self::ReadmissionForgotten => {
                let rollbacks = u8::from(self == Self::ReadmissionForgotten);
                let alone = Bounds { instances: 1, expected: 1, ..calm };
                Bounds { retired_late: true, rollbacks, ..alone }
            }
            Self::ResumedWithoutProof => Bounds { foreign: 1, mended: true, ..calm },
            Self::OneLookAfterDoubt => {
                let alone = Bounds { instances: 1, expected: 1, ..calm };
                Bounds { foreign: 1, mended: true, crashes: 1, ..alone }
            }
        }
    }

    /// The same world without it.
    pub(crate) fn unbroken_world(self) -> Bounds {
        let Bounds { probes, quiet, .. } = Bounds::CALM;
        let world = self.world();
        Bounds { mutation: None, window_of_policy: world.window, probes, quiet, ..world }
    }

    /// What the step is told in place of what happened.
    pub(crate) fn told(self, state: State, revision: u8, happened: Happened) -> Happened {
        let reports = |happened, forge: &dyn Fn(Report) -> Report| match happened {
            Happened::Fleet(reports) => Happened::Fleet(reports.map(|one| one.map(forge))),
            other => other,
        };
        match (self, state, happened) {
            (Self::AdoptionNotAwaited, State::Staged, _) => {
                reports(happened, &|report| Report { revision, ..report })
            }
            (Self::UseNotAwaited | Self::DeactivatedInUse, State::Promoted, _) => {
                reports(happened, &|report| Report { revision, newer: true, used: false, ..report })
            }
            (Self::SilenceIsQuiet, State::Promoted, _) => {
                reports(happened, &|report| Report { newer: true, ..report })
            }
            (
                Self::UnknownIsRefused | Self::UnknownAddIsRefused,
                _,
                Happened::Answered(request, Outcome::Unknown),
            ) => Happened::Answered(request, Outcome::Refused),
            (Self::UnknownIsApplied, _, Happened::Answered(request, Outcome::Unknown)) => {
                Happened::Answered(request, Outcome::Applied)
            }
            (Self::TakenUpAsApplied, State::CuttingOver, Happened::TakenUp) => {
                Happened::Answered(Request::Set(NONE), Outcome::Applied)
            }
            (Self::TakenUpAsRefused, State::CuttingOver, Happened::TakenUp) => {
                Happened::Answered(Request::Set(NONE), Outcome::Refused)
            }
            (Self::TakenUpAddAsRefused, State::Adding, Happened::TakenUp) => {
                Happened::Answered(Request::Add(NONE), Outcome::Refused)
            }
            (Self::ForeignIsOwn, State::Removing, Happened::Listed(entries)) => {
                Happened::Listed(entries.map(|entry| match entry.value {
                    FOREIGN => Entry { value: 1, ..entry },
                    _ => entry,
                }))
            }
            (
                Self::DeactivationNotProved,
                State::Deactivated,
                Happened::Probed(WhichOne::Old, _),
            ) => Happened::Probed(WhichOne::Old, Some(false)),
            (
                Self::NoNegativeTest,
                State::Drained | State::Retiring,
                Happened::Probed(which, _),
            ) => Happened::Probed(which, Some(which == WhichOne::New)),
            _ => happened,
        }
    }

    /// The journal that is written in place of this one.
    pub(crate) fn journaled(self, rotations: &Rotations, journal: Number) -> Number {
        match self {
            Self::UnresolvedForgotten => {
                rotations.falsified(journal, |record| record.change.unresolved = false)
            }
            Self::ReadmissionForgotten => rotations.falsified(journal, |record| {
                record.readmitted.retain(|one| !one.published);
            }),
            Self::RetiredForgotten => rotations.falsified(journal, |record| record.retired.clear()),
            Self::BrokenNotNoted => rotations.falsified(journal, |record| {
                record.compromised.iter_mut().for_each(|compromised| compromised.broken.clear());
            }),
            _ => journal,
        }
    }

    /// Whether this act is begun before the journal is written.
    pub(crate) fn acts_first(self, act: Act, state: State) -> bool {
        match self {
            Self::SentBeforeJournaled => act == Act::Send,
            Self::AddedNotJournaled => state == State::Added,
            _ => false,
        }
    }

    /// Whether this is done whatever hold there is.
    pub(crate) fn ignores_the_hold(self, act: Act, state: State) -> bool {
        match self {
            Self::HoldIgnoredAtPublish => matches!(act, Act::Publish { .. }),
            Self::HoldIgnoredAtSend => act == Act::Send,
            Self::HoldIgnoredAtRetiring => state == State::Drained,
            _ => false,
        }
    }

    /// What is sent in place of the secret in the journal.
    pub(crate) fn sent(self, value: u8, unresolved: bool) -> u8 {
        if self == Self::FreshCandidate && unresolved { FRESH } else { value }
    }
}
