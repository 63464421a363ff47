//! The way back: a rotation with the roles of its two secrets exchanged.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::{Effect, Ending, Event, Which};
use super::evidence::Wish;
use super::policy::Timestamp;
use super::record::{Change, Record};
use super::state::{State, StuckReason};
use super::step::Rotation;

/// Which of its two secrets a rotation brings into force.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The new one.
    #[default]
    Forward,
    /// The old one again.
    Back,
}

/// How a rotation came to go back, and what is left of its way forward.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The state in which it turned.
    pub from: State,
    /// When.
    pub at: Timestamp,
    /// What is known of the change on the way forward. While it has no outcome it may still arrive, so
    /// the new secret stays in the list until it cannot any more.
    pub forward: Change,
    /// What the rotation was stuck for when a person said that it should go back, and so that whatever
    /// the server holds may be replaced by the old secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<StuckReason>,
}

/// What going back would do.
///
/// ```
/// use keyswap_admin::rotation::{Record, WayBack};
///
/// fn tell(record: &Record) -> String {
///     let way = record.way_back();
///     if way == WayBack::TooLate { "rotate again".to_owned() } else { way.to_string() }
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WayBack {
    /// The change was never sent, or refused for certain: the list holds the old secret alone again.
    Withdraw,
    /// The server may hold the new secret: the old one is set there again, with the same care.
    SetBack,
    /// The server takes both secrets: programs are led back to the old one, and the new one is removed.
    Remove,
    /// Nothing was handed out. What the server may have added meanwhile stays there, since it never removes the
    /// secret that was added last.
    Leave,
    /// It goes back already.
    UnderWay,
    /// Programs may hold the new secret alone: only another rotation replaces it.
    TooLate,
    /// The server chose another value, or may have, and nobody can set the old one there again.
    OldIsGone,
    /// The server has the new secret, and never removes the one that was added last.
    NewestStays,
    /// The rotation is done: only another one replaces the new secret.
    Done,
    /// Somebody else published another list, so it is not known which secrets the programs hold.
    ForeignList,
    /// It has gone back to its end.
    RolledBack,
}

/// What will be done, in words for a person; no full stop.
impl fmt::Display for WayBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Withdraw => {
                "the server holds the old secret. The list will hold it alone again, and the new one is \
                 forgotten"
            }
            Self::SetBack => {
                "the server may hold the new secret, and the programs hold both. The old one will be set \
                 at the server again and proved, and the new one taken out of the list when nobody uses \
                 it any more"
            }
            Self::Remove => {
                "the server takes both secrets, or may. The programs will lead with the old one again, and \
                 the new one is removed at the server when nobody uses it any more"
            }
            Self::Leave => {
                "the programs hold the old secret alone, and go on with it. The server may have added another \
                 one, which it does not remove while that is the newest: it stays there, and takes the room of \
                 the next rotation. To resume this one makes use of it"
            }
            Self::NewestStays => {
                "the server does not remove the secret that was added last, so there is no way back: it takes \
                 both meanwhile. Bring this rotation to its end, and rotate again to replace the new secret"
            }
            Self::OldIsGone => {
                "the server was asked to choose another secret, and nobody can set the old one there again: \
                 there is no way back. Bring this rotation to its end"
            }
            Self::Done => {
                "the rotation is done, and every program holds the new secret alone: rotate again to \
                 replace it"
            }
            Self::UnderWay => "the rotation goes back already; it will be taken up",
            Self::TooLate => {
                "programs may hold the new secret alone, so there is no way back any more: bring this \
                 rotation to its end, and rotate again to replace the new secret"
            }
            Self::ForeignList => {
                "somebody else published another list, so it is not known which secrets the programs \
                 hold: put the list of the journal back first"
            }
            Self::RolledBack => "the rotation was rolled back; nothing is left to do",
        })
    }
}

impl Record {
    /// Which of the two secrets the rotation brings into force.
    #[must_use]
    pub fn direction(&self) -> Direction {
        if self.rollback.is_some() { Direction::Back } else { Direction::Forward }
    }

    /// The secret that the rotation brings into force: the new one, and on the way back the old one.
    #[must_use]
    pub fn target(&self) -> Which {
        match self.direction() {
            Direction::Forward => Which::New,
            Direction::Back => Which::Old,
        }
    }

    /// The secret that the rotation takes out of use: the old one, and on the way back the new one.
    #[must_use]
    pub fn source(&self) -> Which {
        match self.direction() {
            Direction::Forward => Which::Old,
            Direction::Back => Which::New,
        }
    }

    /// What going back would do now.
    #[must_use]
    pub fn way_back(&self) -> WayBack {
        use State::*;
        let (state, reason) = match self.stuck {
            Some((state, reason)) if self.state == Stuck => (state, Some(reason)),
            _ => (self.state, None),
        };
        match state {
            RolledBack => return WayBack::RolledBack,
            Done => return WayBack::Done,
            _ => {}
        }
        if self.rollback.is_some() {
            return WayBack::UnderWay;
        }
        let foreign_list = reason == Some(StuckReason::ForeignList);
        match state {
            Generated | MakingRoom => WayBack::Withdraw,
            Adding if self.plan.regenerates() && !self.is_in_a_gap() => WayBack::Withdraw,
            Adding if self.plan.keeps_the_newest() => WayBack::Leave,
            Retiring | Retired => WayBack::TooLate,
            // Programs may have held the new secret alone, and not all of them hold both since.
            _ if self.entered.iter().any(|entered| entered.state == Retiring) => WayBack::TooLate,
            _ if self.plan.regenerates() => WayBack::OldIsGone,
            _ if self.plan.keeps_the_newest() => WayBack::NewestStays,
            // The server holds neither secret, or did.
            Staged | Adopted | CuttingOver if !self.readmitted.is_empty() => WayBack::SetBack,
            Staged | Adopted if !self.plan.adds() => WayBack::Withdraw,
            // Nothing was sent, or the server turned each request away without looking at it.
            CuttingOver
                if self.change
                    == Change { last_sent: self.change.last_sent, ..Change::default() } =>
            {
                WayBack::Withdraw
            }
            Removing => WayBack::TooLate,
            _ if foreign_list => WayBack::ForeignList,
            _ if self.plan.adds() => WayBack::Remove,
            CuttingOver | CutOver | Confirmed | Promoted | Drained => WayBack::SetBack,
            _ => WayBack::TooLate,
        }
    }

    /// Begins on the way back, as after a change that came late: the new secret is one that an earlier
    /// rotation retired, and the server holds it again. What brought it there may do so once more, so it
    /// stays in the list until nothing can arrive any more.
    #[must_use]
    pub fn returned(mut self, now: Timestamp) -> Self {
        let forward = Change { sends: 1, last_sent: now, unresolved: true };
        let from = State::CuttingOver;
        self.rollback = Some(Rollback { from, at: now, forward, stuck: None });
        self.retired.retain(|kept| kept.secret.id() != self.new.id());
        self
    }

    /// Turns the record round. Gives `false`, and leaves it as it is, where there is no way back.
    pub(super) fn turn_back(&mut self, now: Timestamp) -> bool {
        let way = self.way_back();
        let (from, stuck) = match self.stuck {
            Some((state, reason)) if self.state == State::Stuck => (state, Some(reason)),
            _ => (self.state, None),
        };
        let state = match way {
            WayBack::Withdraw | WayBack::Leave => State::Withdrawing,
            WayBack::SetBack => State::Adopted,
            // Nothing was published yet, so there is nothing to be led back.
            WayBack::Remove if from == State::Adding => State::Removing,
            WayBack::Remove => State::Adopted,
            WayBack::UnderWay => {
                self.turn_back_again(from, stuck, now);
                return true;
            }
            WayBack::TooLate
            | WayBack::OldIsGone
            | WayBack::NewestStays
            | WayBack::Done
            | WayBack::ForeignList
            | WayBack::RolledBack => return false,
        };
        let mut forward = std::mem::take(&mut self.change);
        // A process that was paused or killed may have sent the change of which it wrote, and nobody knows
        // when.
        let may_be_sent = from == State::CuttingOver && (forward.sends > 0 || forward.unresolved);
        if may_be_sent || self.plan.adds() && forward.sends > 0 {
            forward.unresolved = true;
            forward.last_sent = now;
        }
        self.rollback = Some(Rollback { from, at: now, forward, stuck });
        self.doubted |= stuck.is_some();
        self.stuck = None;
        self.evidence.turn_back();
        self.enter(state, now);
        true
    }

    /// A person says once more that it should go back. What it is stuck for is overruled then, as long
    /// as everybody holds both secrets.
    fn turn_back_again(&mut self, from: State, stuck: Option<StuckReason>, now: Timestamp) {
        let Some(rollback) = &mut self.rollback else { return };
        let all_hold_both = !matches!(from, State::Retiring | State::Retired | State::Removing);
        if stuck.is_some_and(|reason| reason != StuckReason::ForeignList) && all_hold_both {
            rollback.stuck = stuck;
            self.doubted = true;
            self.stuck = None;
            self.evidence.turn_back();
            self.enter(State::Adopted, now);
        }
    }

    /// Whether a person knew that the server holds a foreign secret, and wants the old one there.
    pub(super) fn foreign_may_be_replaced(&self) -> bool {
        self.rollback.is_some_and(|rollback| rollback.stuck.is_some())
    }

    /// Until when an earlier change may still arrive and take the target out of force again: on the way back
    /// that of the way forward, and where the server chooses the value each request that had no answer.
    pub(super) fn counter_change_until(&self) -> Option<Timestamp> {
        let change = match self.rollback {
            Some(rollback) => rollback.forward,
            None if self.plan.regenerates() => self.change,
            None => return None,
        };
        // When it arrives last, the nodes of the server need their time to show it.
        let until = self.may_arrive_until(change)?;
        Some(until.after(self.policy.window()))
    }

    /// Whether it is this rotation's own doing if the server holds the secret that goes: its change of
    /// the way forward came late, or that of the way back did not come at all.
    pub(super) fn source_may_be_held(&self) -> bool {
        let forward = self.rollback.is_some_and(|rollback| rollback.forward.unresolved);
        !self.plan.adds()
            && self.direction() == Direction::Back
            && (forward || self.change.unresolved)
    }
}

impl Rotation {
    pub(super) fn rollback_wanted(&mut self, now: Timestamp) -> Effect {
        let entered = self.record.entered.len();
        if !self.record.turn_back(now) {
            return Effect::Stop(Ending::NoWayBack(self.record.way_back()));
        }
        self.forget_what_was_seen(now);
        if self.record.entered.len() > entered {
            self.note_word(Wish::RollBack, now);
            return Effect::Write;
        }
        self.step(Event::TakenUp, now)
    }

    /// The change was never sent, or refused for certain, so the server holds the old secret and nobody
    /// has to be waited for: a program that holds both goes on with the old one.
    pub(super) fn withdrawing(&mut self, event: Event, now: Timestamp) -> Effect {
        match event {
            // Where the new secret is added first, or the server chooses it, nothing was published before.
            _ if self.record.plan.adds() => self.put_back(event, now),
            _ if self.record.plan.regenerates() => self.withdrawn(now),
            Event::Published(revision) => {
                self.record.revision = revision;
                self.withdrawn(now)
            }
            // Somebody else's list is left alone: what this rotation had to take back is not in force.
            Event::ForeignList => self.withdrawn(now),
            _ => self.publish(&[Which::Old], &[&[Which::Old, Which::New]], None),
        }
    }

    pub(super) fn withdrawn(&mut self, now: Timestamp) -> Effect {
        // A value that was ever sent is kept, so that it is recognised should it turn up.
        if self.record.rollback.is_some_and(|rollback| rollback.forward.sends > 0) {
            self.record.retire_source(now);
        }
        self.enter(State::RolledBack, now)
    }
}
