//! Servers that never remove the secret that was added last: what a rotation adds there stays until another one
//! follows it.
//!
//! So a rotation that has added one goes on: the old secret could be led back to, and then there would be no room
//! for another one, nor a way to make it. And what a request without an answer has added is not waste that is
//! removed before another one is asked for: asked again, the server says what that one is.

use super::event::{Effect, Ending};
use super::plan::{Plan, Slots};
use super::policy::Timestamp;
use super::step::Rotation;
use crate::authority::Slot;

impl Slots {
    /// At a server that never removes the secret that was added last, or does.
    #[must_use]
    pub fn where_the_newest_stays(mut self, stays: bool) -> Self {
        self.newest_stays = stays;
        self
    }
}

impl Plan {
    /// Whether what is added cannot be taken away again.
    pub(super) fn keeps_the_newest(&self) -> bool {
        self.slots().is_some_and(|slots| slots.newest_stays)
    }
}

impl Rotation {
    /// A request without an answer may have added a secret whose value nobody has heard. What is in the list, the
    /// server is asked for; while nothing is, that may be on its way for a window.
    pub(super) fn ask_for_it_again(&mut self, listed: &[Slot], now: Timestamp) -> Effect {
        if let Some(error) = self.seen.refused.take() {
            return Effect::Stop(Ending::Refused(error));
        }
        let slots = self.record.plan.slots();
        let appeared = slots.is_some_and(|slots| slots.appeared(listed).next().is_some());
        let change = &self.record.change;
        let may_appear = now.since(change.last_sent) < self.record.policy.window();
        if change.unresolved && may_appear && !appeared {
            return Effect::Wait(self.record.policy.poll_every, Vec::new());
        }
        self.add(now)
    }
}
