//! A step while a person's hold on the rotations may be in force.

use keyswap_store::Hold;

use super::event::{Effect, Ending, Event};
use super::policy::Timestamp;
use super::record::Record;
use super::state::State;
use super::step::Rotation;

impl Rotation {
    /// Says what hold there is on the rotations now, if any.
    pub fn note_hold(&mut self, hold: Option<Hold>) {
        self.hold = hold;
    }

    /// With a hold in force nothing begins, and what was begun looks on until it would act: that is not
    /// decided then, so that the next process decides it anew. No event that leads to an act tells
    /// anything that could not be asked again.
    pub(super) fn step_under(&mut self, hold: Hold, event: Event, now: Timestamp) -> Effect {
        let begins = matches!(
            event,
            Event::TakenUp
                | Event::RollbackWanted
                | Event::RetireWanted
                | Event::CompromisedWanted(_)
        );
        if begins {
            return Effect::Stop(Ending::Held(hold));
        }
        let before = self.clone();
        let effect = self.step_on(event, now);
        let acts = matches!(
            effect,
            Effect::Publish { .. } | Effect::Send | Effect::Add | Effect::ChangeSlot(..)
        );
        // It announces the list that takes the way back away.
        let retires =
            self.record.state == State::Retiring && before.record.state != State::Retiring;
        // It decides for whom the act that follows is no longer put off.
        let left_out = |record: &Record| record.broken().len() + record.left_out_at_gates.len();
        let breaks = left_out(&self.record) != left_out(&before.record);
        if acts || retires || breaks {
            *self = before;
            return Effect::Stop(Ending::Held(hold));
        }
        effect
    }
}
