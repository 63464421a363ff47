//! The change at the server: sending it, finding out what came of it, and proving it.

use std::time::Duration;

use super::back::Direction;
use super::event::{Effect, Ending, Event};
use super::policy::Timestamp;
use super::state::{State, StuckReason};
use super::step::Rotation;
use crate::authority::{ChangeAnswer, Listed, Probe, ReadBack};

/// How often in a row the server may ask to wait before this process gives up for now.
const MOST_THROTTLED: u32 = 10;
/// How many inquiries in a row may say nothing before this process gives up for now.
const MOST_DOUBTS: u32 = 30;

impl Rotation {
    /// The intent is written before the change is sent, so that no process can send one of which the
    /// journal does not know.
    pub(super) fn adopted(&mut self, event: Event, now: Timestamp) -> Effect {
        let returned = !self.record.readmitted.is_empty();
        if returned || self.record.direction() == Direction::Back {
            match event {
                // The change of the way forward did not reach the server, or not yet.
                Event::ReadBack(ReadBack::Holds(id)) if id == *self.record.id(self.target()) => {
                    return self.enter(State::CutOver, now);
                }
                Event::ReadBack(ReadBack::Holds(id)) if id == *self.record.id(self.source()) => {}
                Event::ReadBack(ReadBack::Holds(ref id)) if self.record.readmits(id) => {}
                Event::ReadBack(ReadBack::Unavailable(_)) => {}
                Event::ReadBack(_) if self.record.foreign_may_be_replaced() => {}
                Event::ReadBack(found) => return self.foreign(&found, now),
                _ => return Effect::ReadBack,
            }
        }
        self.record.change.sends = 0;
        self.send(now)
    }

    fn send(&mut self, now: Timestamp) -> Effect {
        if let Some(stop) = self.count_send(now) {
            return stop;
        }
        if self.record.state != State::CuttingOver {
            let _ = self.enter(State::CuttingOver, now);
        }
        Effect::Send
    }

    /// Counts a send that is about to be made; gives the end where there were enough.
    pub(super) fn count_send(&mut self, now: Timestamp) -> Option<Effect> {
        let sends = self.record.change.sends;
        if sends >= self.record.policy.sends {
            return Some(Effect::Stop(Ending::Unknown(format!(
                "the change was sent {sends} times"
            ))));
        }
        self.record.change.sends += 1;
        self.record.change.last_sent = now;
        self.seen.asked = 0;
        None
    }

    /// An earlier process may have sent the change and not lived to see the answer, and nobody knows when.
    /// How often is bounded for each process, or a rotation could come to where nobody may send any more.
    pub(super) fn an_earlier_process_may_have_sent(&mut self, now: Timestamp) {
        if self.record.change.sends > 0 {
            self.record.change.unresolved = true;
            self.record.change.last_sent = now;
            self.record.change.sends = 0;
        }
    }

    /// The server asks to come back later, without having looked at the request.
    pub(super) fn turned_away(&mut self, time: Duration) -> Effect {
        self.seen.throttled += 1;
        if self.seen.throttled >= MOST_THROTTLED {
            return Effect::Stop(Ending::Throttled);
        }
        Effect::BackOff(time)
    }

    pub(super) fn cutting_over(&mut self, event: Event, now: Timestamp) -> Effect {
        let (target, source) = (self.target(), self.source());
        match event {
            Event::Answered(answer) => self.answered(answer, now),
            Event::ReadBack(ReadBack::Holds(id)) if id == *self.record.id(self.target()) => {
                self.enter(State::CutOver, now)
            }
            Event::ReadBack(ReadBack::Holds(id)) if id == *self.record.id(self.source()) => {
                self.not_applied_yet(now)
            }
            Event::ReadBack(ReadBack::Unavailable(_)) => Effect::Probe(target),
            Event::ReadBack(_) if self.record.foreign_may_be_replaced() => {
                self.not_applied_yet(now)
            }
            Event::ReadBack(found) => self.foreign(&found, now),
            Event::Probed(which, Probe::Accepted) if which == target => {
                self.enter(State::CutOver, now)
            }
            Event::Probed(_, Probe::Accepted) => {
                self.seen.neither_since = None;
                self.not_applied_yet(now)
            }
            Event::Probed(which, Probe::Refused) if which == target => Effect::Probe(source),
            Event::Probed(_, Probe::Refused) => self.neither(now),
            Event::Probed(_, Probe::Inconclusive(reason)) => self.doubt(reason),
            Event::Waited if self.seen.throttled > 0 && !self.record.change.unresolved => {
                self.send(now)
            }
            Event::TakenUp if self.was_turned_away() => self.enter(State::Adopted, now),
            Event::TakenUp => {
                self.an_earlier_process_may_have_sent(now);
                Effect::ReadBack
            }
            _ => Effect::ReadBack,
        }
    }

    /// Whether the server has looked at no change of the way back, of which the journal tells. Then nothing
    /// that its nodes take is the work of one: some may not have that of the way forward yet.
    fn was_turned_away(&self) -> bool {
        let change = &self.record.change;
        self.record.direction() == Direction::Back && change.sends == 0 && !change.unresolved
    }

    fn answered(&mut self, answer: ChangeAnswer, now: Timestamp) -> Effect {
        match answer {
            ChangeAnswer::Applied => {
                // This send has its outcome; an earlier one that has none writes the same value.
                self.enter(State::CutOver, now)
            }
            ChangeAnswer::Refused(_) if self.record.change.unresolved => {
                // This send was refused, and an earlier one may have been applied.
                Effect::ReadBack
            }
            ChangeAnswer::Refused(error) => {
                let _ = self.enter(State::Adopted, now);
                Effect::Stop(Ending::Refused(error))
            }
            ChangeAnswer::RetryAfter(time) => {
                // A request that was turned away was not applied, so it is not one of the sends that
                // are bounded because their outcome is not known.
                self.record.change.sends -= 1;
                self.turned_away(time)
            }
            ChangeAnswer::Unknown(_) => {
                self.record.change.unresolved = true;
                // It went out at some time before this, maybe long after it was decided.
                self.record.change.last_sent = now;
                Effect::ReadBack
            }
        }
    }

    /// The server holds the source. The change may still be on its way to it, or to the node that was
    /// asked, so the same value is sent again only after the propagation window.
    pub(super) fn not_applied_yet(&mut self, now: Timestamp) -> Effect {
        if now.since(self.record.change.last_sent) >= self.record.policy.window() {
            return self.send(now);
        }
        Effect::Wait(self.record.policy.poll_every, Vec::new())
    }

    /// Neither secret was accepted: by two nodes of which each holds the other one, or because
    /// somebody else changed it. Only the first passes with the propagation window.
    fn neither(&mut self, now: Timestamp) -> Effect {
        let since = self.neither_since(now);
        // The target may have come into force after it was refused and before the source was.
        let asked = self.seen.probed_target.unwrap_or(since);
        if asked.since(since) > self.record.policy.window() * self.windows_of_doubt() {
            if self.record.foreign_may_be_replaced() {
                return self.not_applied_yet(now);
            }
            return self.neither_is_in_force(now);
        }
        Effect::Wait(self.record.policy.poll_every, Vec::new())
    }

    /// Since when neither secret was accepted, if that begins now at the latest.
    fn neither_since(&mut self, now: Timestamp) -> Timestamp {
        if self.seen.neither_since.is_none() {
            self.seen.no_retired_since = None;
        }
        *self.seen.neither_since.get_or_insert(now)
    }

    /// For how many windows in a row the nodes may disagree through this rotation's own doing. On the
    /// way back a late change of each direction may follow the one that was sent now.
    fn windows_of_doubt(&self) -> u32 {
        if self.record.source_may_be_held() { 3 } else { 1 }
    }

    /// Whether the token request that was answered `now` was begun more than a propagation window after `since`. A node that
    /// took up a change late may have decided before its answer came, which may take as long as it likes.
    pub(super) fn was_asked_long_after(&self, since: Timestamp, now: Timestamp) -> bool {
        self.seen.probing.unwrap_or(now).since(since) > self.record.policy.window()
    }

    pub(super) fn doubt(&mut self, reason: String) -> Effect {
        self.seen.asked += 1;
        if self.seen.asked >= MOST_DOUBTS {
            return Effect::Stop(Ending::Unknown(reason));
        }
        Effect::Wait(self.record.policy.poll_every, Vec::new())
    }

    pub(super) fn cut_over(&mut self, event: Event, now: Timestamp) -> Effect {
        let (policy, target) = (&self.record.policy, self.target());
        let (window, every, probes) = (policy.window(), policy.probe_every(), policy.probes);
        match event {
            Event::Probed(which, Probe::Accepted) if which == target => {
                self.seen.accepted += 1;
                self.seen.asked = 0;
                self.seen.neither_since = None;
                let since = *self.seen.accepted_since.get_or_insert(now);
                if self.seen.accepted >= probes && now.since(since) >= window {
                    return self.enter(State::Confirmed, now);
                }
                Effect::Wait(every, Vec::new())
            }
            Event::Probed(..) | Event::ReadBack(_) | Event::Listed(_) | Event::SlotChanged(_) => {
                self.doubted(event, now)
            }
            _ => Effect::Probe(target),
        }
    }

    /// The target, which was accepted before, was not accepted by this probe: in the propagation window
    /// that is to be expected, after it the server is asked what it holds.
    pub(super) fn doubted(&mut self, event: Event, now: Timestamp) -> Effect {
        let (every, window) = (self.record.policy.probe_every(), self.record.policy.window());
        match event {
            Event::Probed(which, Probe::Refused) if which == self.target() => {
                self.seen.accepted = 0;
                self.seen.accepted_since = None;
                // Until it is proved, some nodes are expected to be late.
                let unproved =
                    matches!(self.record.state, State::CutOver | State::Staged | State::Adopted);
                if !unproved {
                    self.doubt_the_target(now);
                }
                let since = self.neither_since(now);
                let since = since.max(self.record.change.last_sent);
                let asked = self.seen.probed_target.unwrap_or(since);
                if asked.since(since) <= window {
                    return Effect::Wait(every, Vec::new());
                }
                if self.record.plan.adds() { Effect::List } else { Effect::ReadBack }
            }
            Event::Probed(_, Probe::Accepted) => self.source_is_held(now),
            Event::Probed(_, Probe::Refused) => {
                let since = self.neither_since(now);
                let asked = self.seen.probed_target.unwrap_or(since);
                if asked.since(since) <= window * self.windows_of_doubt() {
                    return Effect::Wait(every, Vec::new());
                }
                self.neither_is_in_force(now)
            }
            Event::ReadBack(ReadBack::Unavailable(_)) => Effect::Probe(self.source()),
            // Held, and not accepted yet: some nodes are late.
            Event::ReadBack(ReadBack::Holds(id)) if id == *self.record.id(self.target()) => {
                Effect::Wait(every, Vec::new())
            }
            Event::ReadBack(found) => self.foreign(&found, now),
            Event::Listed(Listed::Slots(listed)) => self.target_is_missed(&listed, now),
            Event::SlotChanged(answer) => self.slot_changed(answer, now),
            Event::Listed(Listed::Unavailable(reason))
            | Event::Probed(_, Probe::Inconclusive(reason)) => self.doubt(reason),
            _ => Effect::Wait(every, Vec::new()),
        }
    }

    /// Neither secret is in force, for longer than nodes may disagree.
    fn neither_is_in_force(&mut self, now: Timestamp) -> Effect {
        match self.record.plan.regenerates() {
            true => self.value_is_unknown(now),
            false => self.try_retired(None, now),
        }
    }

    /// The server says that it holds something else than it should.
    fn foreign(&mut self, found: &ReadBack, now: Timestamp) -> Effect {
        match found {
            ReadBack::Holds(id) if id == self.record.id(self.source()) => self.source_is_held(now),
            // Where the server chooses its secret, nobody can set that one again.
            ReadBack::Holds(id) if !self.record.plan.regenerates() => self.retired_is_held(id, now),
            _ => self.value_is_unknown(now),
        }
    }

    /// The server holds the source after it had taken the target, or seemed to. On the way back that may
    /// be the late change of the way forward: everybody holds both, so the target is sent once more.
    fn source_is_held(&mut self, now: Timestamp) -> Effect {
        if self.record.source_may_be_held() {
            self.forget_what_was_seen(now);
            return self.enter(State::CuttingOver, now);
        }
        self.stuck(StuckReason::OldSecretReturned, now)
    }
}
