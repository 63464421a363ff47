//! The end of a rotation: a person's word that it may come, the last proof at a server that holds one
//! secret, and at any server the list with the target alone.

use super::back::Direction;
use super::event::{Effect, Ending, Event};
use super::evidence::{Proof, Wish};
use super::gate::Missing;
use super::policy::Timestamp;
use super::state::{State, StuckReason};
use super::step::Rotation;
use crate::authority::{Probe, ReadBack};

impl Rotation {
    pub(super) fn retire_wanted(&mut self, now: Timestamp) -> Effect {
        let state = match self.record.stuck {
            Some((state, _)) if self.record.state == State::Stuck => state,
            _ => self.record.state,
        };
        let held = matches!(
            state,
            State::Drained
                | State::Deactivating
                | State::Deactivated
                | State::Retiring
                | State::Retired
                | State::Removing
        );
        if !held || self.record.direction() == Direction::Back {
            return Effect::Stop(Ending::NotDrained);
        }
        // The person's word is written down with the first step that it leads to.
        if std::mem::take(&mut self.record.policy.hold_at_drained) {
            self.note_word(Wish::Retire, now);
        }
        self.step(Event::TakenUp, now)
    }

    /// Before the source is taken away from anybody, the server shows that it takes the target and not
    /// the source. So nothing has to be given back if it does not.
    pub(super) fn drained(&mut self, event: Event, now: Timestamp) -> Effect {
        let (policy, target) = (&self.record.policy, self.target());
        if self.record.holds_at_drained() {
            return Effect::Stop(Ending::AwaitsRetirement);
        }
        match event {
            Event::Probed(which, Probe::Accepted) if which == target => {
                self.seen.neither_since = None;
                self.seen.asked = 0;
                if !self.is_proved_anew(now) {
                    return Effect::Wait(self.record.policy.probe_every(), Vec::new());
                }
                Effect::Probe(self.source())
            }
            Event::Probed(_, Probe::Refused) if self.proving_the_source(&event) => {
                self.seen.both_since = None;
                self.look_last(now)
            }
            // Where the server says what it holds, it may say that somebody else has just changed it.
            Event::ReadBack(ref found) if self.is_as_proved(found) => self.retire(event, now),
            Event::Probed(_, Probe::Accepted) if self.proving_the_source(&event) => {
                let since = *self.seen.both_since.get_or_insert(now);
                // The nodes may have gone over to the source after the target was asked for.
                let asked = self.seen.probed_target.unwrap_or(since);
                if asked.since(since) > policy.window() {
                    return self.stuck(StuckReason::OldSecretStillAccepted, now);
                }
                Effect::Wait(policy.poll_every, Vec::new())
            }
            Event::Probed(..) | Event::ReadBack(_) | Event::Listed(_) | Event::SlotChanged(_) => {
                self.doubted(event, now)
            }
            Event::Published(_) | Event::ForeignList => self.publishing_target_alone(event, now),
            Event::Written if self.seen.may_retire => self.publishing_target_alone(event, now),
            _ => Effect::Probe(target),
        }
    }

    /// Whether every node of the server has the target, as far as anybody can know.
    ///
    /// Where there was doubt, a person may have put the source back, and a late change of this rotation may
    /// bring the target into force again, on one node after the other. So the first window is for whatever
    /// was set before the doubt was over: a node that takes the target after that has it from a later
    /// change, and one window more is for the other nodes to have that as well.
    pub(super) fn is_proved_anew(&mut self, now: Timestamp) -> bool {
        let Some(doubted) = self.seen.doubted else { return true };
        let (asked, window) = (self.seen.probed_target.unwrap_or(now), self.record.policy.window());
        if asked.since(doubted) < window {
            return false;
        }
        asked.since(*self.seen.held_since.get_or_insert(now)) >= window
    }

    /// What one node says of the target is no proof for the others from here on.
    pub(super) fn doubt_the_target(&mut self, now: Timestamp) {
        self.record.doubted = true;
        (self.seen.doubted, self.seen.held_since) = (Some(now), None);
    }

    /// Whether the server says what its nodes have just shown, or does not say.
    fn is_as_proved(&self, found: &ReadBack) -> bool {
        let target = self.record.id(self.target());
        self.seen.neither_since.is_none()
            && match found {
                ReadBack::Unavailable(_) => true,
                ReadBack::Holds(id) => id == target,
                ReadBack::Other => false,
            }
    }

    /// Whether this is the answer to the probe of the source that follows one of the target.
    fn proving_the_source(&self, event: &Event) -> bool {
        matches!(event, Event::Probed(which, _) if *which == self.source())
            && self.seen.neither_since.is_none()
    }

    fn look_last(&mut self, now: Timestamp) -> Effect {
        // On the way back the change of the way forward may be on its way yet, and where the server chooses
        // the value a request that was given up: as long as it may arrive, programs hold both, and the server
        // is looked at again after that.
        if let Some(wait) = self.may_be_crossed(now) {
            return wait;
        }
        self.note_proof(now);
        Effect::ReadBack
    }

    /// The server takes the target and refuses the source, and nobody uses that any more.
    fn retire(&mut self, event: Event, now: Timestamp) -> Effect {
        if self.record.state == State::Drained {
            return self.begin_to_retire(now);
        }
        self.publishing_target_alone(event, now)
    }

    /// The wait for what was sent earlier and may arrive yet, which would take the target out of force: the
    /// change of the way forward on the way back, and what brought a retired secret back.
    pub(super) fn may_be_crossed(&self, now: Timestamp) -> Option<Effect> {
        let until = [self.record.counter_change_until(), self.record.may_return_until()];
        let until = until.into_iter().flatten().max().filter(|until| *until > now)?;
        let (left, policy) = (until.since(now), &self.record.policy);
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let pause = left.min(policy.window().max(policy.poll_every));
        Some(Effect::Wait(pause, vec![Missing::InFlight { left_ms }]))
    }

    /// The source was refused just now, and the target accepted before, if that was asked together.
    pub(super) fn note_proof(&mut self, now: Timestamp) {
        self.record.evidence.proof = Some(Proof {
            accepted: self.record.id(self.target()).clone(),
            accepted_after: self.seen.probed_target,
            refused: self.record.id(self.source()).clone(),
            refused_by: now,
        });
    }

    /// From here there is no way back.
    pub(super) fn begin_to_retire(&mut self, now: Timestamp) -> Effect {
        self.seen.may_retire = true;
        self.enter(State::Retiring, now)
    }

    pub(super) fn publishing_target_alone(&mut self, event: Event, now: Timestamp) -> Effect {
        let target = self.target();
        self.publishing(event, (&[target], &[], None), State::Retired, now)
    }

    pub(super) fn retired(&mut self, event: Event, now: Timestamp) -> Effect {
        let Event::Fleet(fleet) = event else { return Effect::Observe };
        let missing = self.waited_for(self.not_adopted(&fleet), &fleet, now);
        let awaited = self.despite_words(missing);
        if self.record.plan.adds() {
            return self.gate_despite_words(awaited, State::Removing, now);
        }
        if awaited.missing.is_empty() {
            self.record.retire_source(now);
            self.record.retire_readmitted(now);
        }
        self.gate_despite_words(awaited, self.record.end(), now)
    }
}
