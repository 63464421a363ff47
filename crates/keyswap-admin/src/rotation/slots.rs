//! Servers that hold several secrets: adding the new one, and taking the old one away.
//!
//! Nothing is touched there but the two secrets of the rotation, what a request of it that was given up may
//! have added late, and what a person named to [make room](super::room).

use super::back::Direction;
use super::event::{Effect, Ending, Event, SlotChange, Which};
use super::gate::Missing;
use super::plan::{Plan, Slots};
use super::policy::Timestamp;
use super::state::{State, StuckReason};
use super::step::Rotation;
use crate::authority::{AddAnswer, ChangeAnswer, Listed, NewSecret, Probe, Slot, SlotId};

/// A change of one of the client's secrets that this process has sent last, and when.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct SentSlotChange {
    slot: SlotId,
    change: SlotChange,
    pub(super) at: Timestamp,
}

impl Rotation {
    /// What the server lists is compared first: the old secret has to be there, and what is there now is
    /// somebody's.
    pub(super) fn asking(&mut self, event: Event, now: Timestamp) -> Effect {
        match event {
            Event::Listed(Listed::Slots(listed)) => {
                if let Some(stuck) = self.stuck_unless_active(Which::Old, &listed, now) {
                    return stuck;
                }
                if self.is_room_to_be_made(&listed) {
                    return self.enter(State::MakingRoom, now);
                }
                self.ask_for_the_new_one(&listed, now)
            }
            Event::Listed(Listed::Unavailable(reason)) => self.doubt(reason),
            _ => Effect::List,
        }
    }

    /// Whatever is there besides the old one is somebody's.
    pub(super) fn ask_for_the_new_one(&mut self, listed: &[Slot], now: Timestamp) -> Effect {
        self.leave_alone(listed);
        self.add(now)
    }

    pub(super) fn add(&mut self, now: Timestamp) -> Effect {
        if let Some(stop) = self.count_send(now) {
            return stop;
        }
        if self.record.state != State::Adding {
            let _ = self.enter(State::Adding, now);
        }
        Effect::Add
    }

    pub(super) fn adding(&mut self, event: Event, now: Timestamp) -> Effect {
        match event {
            Event::Added(answer) => self.add_answered(answer, now),
            Event::Listed(Listed::Slots(listed)) => self.look_for_the_new_one(&listed, now),
            Event::Listed(Listed::Unavailable(reason)) => self.doubt(reason),
            Event::Probed(Which::New, Probe::Accepted) => match self.seen.appeared.take() {
                Some(slot) => self.added_as(slot, now),
                None => Effect::List,
            },
            Event::Probed(_, Probe::Inconclusive(reason)) => self.doubt(reason),
            Event::Probed(..) => {
                let since = *self.seen.neither_since.get_or_insert(now);
                if self.was_asked_long_after(since, now) {
                    return self.stuck(StuckReason::SecretAppeared, now);
                }
                Effect::Wait(self.record.policy.poll_every, Vec::new())
            }
            Event::SlotChanged(answer) => self.slot_changed(answer, now),
            _ => Effect::List,
        }
    }

    fn add_answered(&mut self, answer: AddAnswer, now: Timestamp) -> Effect {
        match answer {
            AddAnswer::Added(slot, secret) if secret.id() == self.record.new.id() => {
                // Of a value that only the server knows there is no second copy: it is in the journal
                // before anything else is done.
                self.record.new = NewSecret::Known(secret);
                self.added_as(slot, now)
            }
            AddAnswer::Refused(error) if self.record.change.unresolved => {
                // An earlier request may have taken the room that this one did not find.
                self.seen.refused = Some(error);
                Effect::List
            }
            AddAnswer::Refused(error) => {
                let _ = self.enter(State::Generated, now);
                Effect::Stop(Ending::Refused(error))
            }
            AddAnswer::RetryAfter(time) => {
                self.record.change.sends -= 1;
                self.turned_away(time)
            }
            AddAnswer::Added(..) | AddAnswer::Replaced(_) | AddAnswer::Unknown(_) => {
                self.record.change.unresolved = true;
                self.record.change.last_sent = now;
                Effect::List
            }
        }
    }

    fn is_at(&mut self, slot: SlotId) {
        if let Plan::Add(slots) = &mut self.record.plan {
            slots.new = Some(slot);
        }
    }

    fn added_as(&mut self, slot: SlotId, now: Timestamp) -> Effect {
        self.is_at(slot);
        // What is sent from here on is another change. Until this one shows everywhere, a window passes.
        self.record.change.sends = 0;
        self.record.change.last_sent = now;
        self.enter(State::Added, now)
    }

    /// A request of which no answer came may have added the secret, and may do so yet.
    fn look_for_the_new_one(&mut self, listed: &[Slot], now: Timestamp) -> Effect {
        if self.seen.appeared_is_known {
            self.leave_alone(listed);
        }
        let new = &self.record.new;
        if self.record.plan.keeps_the_newest() && new.secret().is_none() {
            return self.ask_for_it_again(listed, now);
        }
        if let Some(slot) = listed.iter().find(|slot| slot.is_for(new)) {
            return match new {
                NewSecret::Known(_) => self.added_as(slot.id.clone(), now),
                // Nobody knows its value, so nobody can use it: it goes, and another one is asked for.
                NewSecret::Awaited(_) => {
                    // It may be what took the room that a later request did not find.
                    self.seen.refused = None;
                    let slot = slot.clone();
                    self.take_away(&slot, now)
                }
            };
        }
        let slots = self.record.plan.slots();
        if slots.is_some_and(|slots| slots.appeared(listed).next().is_some()) {
            self.seen.appeared = self.may_be_the_new_one(listed);
            return match self.seen.appeared {
                Some(_) => Effect::Probe(Which::New),
                None => self.stuck(StuckReason::SecretAppeared, now),
            };
        }
        if let Some(error) = self.seen.refused.take() {
            return Effect::Stop(Ending::Refused(error));
        }
        let change = &self.record.change;
        if change.unresolved && now.since(change.last_sent) < self.record.policy.window() {
            return Effect::Wait(self.record.policy.poll_every, Vec::new());
        }
        self.add(now)
    }

    /// The only one that appeared, where the server shows neither value nor text: whether it is the new one, a
    /// token request tells.
    fn may_be_the_new_one(&self, listed: &[Slot]) -> Option<SlotId> {
        let slots = self.record.plan.slots()?;
        self.record.new.secret().filter(|_| slots.new.is_none())?;
        let mut appeared = slots.appeared(listed);
        let one = appeared.next().filter(|one| one.says_nothing())?;
        appeared.next().is_none().then(|| one.id.clone())
    }

    /// Whatever is there now besides the two secrets of this rotation belongs to somebody.
    fn leave_alone(&mut self, listed: &[Slot]) {
        let new = &self.record.new;
        if let Plan::Add(slots) = &mut self.record.plan {
            let appeared: Vec<SlotId> = slots
                .appeared(listed)
                .filter(|slot| !slot.is_for(new))
                .map(|slot| slot.id.clone())
                .collect();
            slots.before.extend(appeared);
        }
    }

    /// Before anything is published, and on the way back before programs are led to the old secret: the
    /// target is in force, and is proved throughout the propagation window.
    pub(super) fn proving(&mut self, event: Event, now: Timestamp) -> Effect {
        match event {
            Event::TakenUp | Event::Written => Effect::List,
            Event::Listed(Listed::Slots(listed)) => match self.find(self.target(), &listed) {
                Some(slot) if slot.active && self.seen.neither_since.is_none() => {
                    Effect::Probe(self.target())
                }
                _ => self.target_is_missed(&listed, now),
            },
            _ => self.cut_over(event, now),
        }
    }

    /// A probe did not accept the target, or may not: the server says whether it is in force. On the way
    /// back the old secret may have been deactivated by this rotation itself, also later than it asked.
    pub(super) fn target_is_missed(&mut self, listed: &[Slot], now: Timestamp) -> Effect {
        let back = self.record.direction() == Direction::Back;
        match self.find(self.target(), listed) {
            // Some nodes are late.
            Some(slot) if slot.active => Effect::Wait(self.record.policy.probe_every(), Vec::new()),
            Some(slot) if back => self.change_slot((slot.id.clone(), SlotChange::Activate), now),
            // A list may be older than what was added a moment before it was asked for.
            None if !back && self.was_listed_within_the_window(now) => {
                Effect::Wait(self.record.policy.probe_every(), Vec::new())
            }
            _ => self.stuck(StuckReason::SecretGone, now),
        }
    }

    /// Whether the list that came `now` may be that of a node that does not know of the change yet.
    fn was_listed_within_the_window(&self, now: Timestamp) -> bool {
        let asked = self.seen.listing.unwrap_or(now);
        asked.since(self.record.change.last_sent) <= self.record.policy.window()
    }

    /// Whether programs go on with the source although the list has the target in front. One that met a node
    /// that did not take the target yet has learnt that order, and a server that takes both never teaches it
    /// another: a list that is published anew does.
    pub(super) fn is_led_by_the_source(&self, missing: &[Missing], now: Timestamp) -> bool {
        let policy = &self.record.policy;
        let in_use = missing.iter().any(|one| matches!(one, Missing::InUse { .. }));
        let long = policy.quiet() * 2 + policy.window();
        self.record.plan.adds() && in_use && now.since(self.record.since()) >= long
    }

    /// Before the old secret is taken away from anybody, the server shows that it takes the new one.
    pub(super) fn drained_with_slots(&mut self, event: Event, now: Timestamp) -> Effect {
        let forward = self.record.direction() == Direction::Forward;
        let drained = self.record.state == State::Drained;
        if self.record.holds_at_drained() {
            return Effect::Stop(Ending::AwaitsRetirement);
        }
        match event {
            Event::Probed(which, Probe::Accepted) if which == self.target() => {
                self.seen.neither_since = None;
                self.seen.asked = 0;
                // A person may have put it back a moment ago, and not every node takes it yet.
                if !self.is_proved_anew(now) {
                    return Effect::Wait(self.record.policy.probe_every(), Vec::new());
                }
                if let Some(wait) = self.may_be_crossed(now) {
                    return wait;
                }
                match self.record.plan.slots() {
                    _ if !drained => self.publishing_target_alone(event, now),
                    Some(slots) if slots.deactivation && forward => {
                        self.enter(State::Deactivating, now)
                    }
                    _ => self.begin_to_retire(now),
                }
            }
            Event::Probed(..) | Event::Listed(_) | Event::SlotChanged(_) => {
                self.doubted(event, now)
            }
            Event::Published(_) | Event::ForeignList => self.publishing_target_alone(event, now),
            Event::Written if self.seen.may_retire => self.publishing_target_alone(event, now),
            _ => Effect::Probe(self.target()),
        }
    }

    pub(super) fn deactivating(&mut self, event: Event, now: Timestamp) -> Effect {
        match event {
            Event::Listed(Listed::Slots(listed)) => {
                if let Some(stuck) = self.stuck_unless_active(self.target(), &listed, now) {
                    return stuck;
                }
                match self.find(self.source(), &listed) {
                    Some(slot) if slot.active => {
                        self.change_slot((slot.id.clone(), SlotChange::Deactivate), now)
                    }
                    _ => self.enter(State::Deactivated, now),
                }
            }
            Event::Listed(Listed::Unavailable(reason)) => self.doubt(reason),
            Event::SlotChanged(answer) => self.slot_changed(answer, now),
            _ => Effect::List,
        }
    }

    /// The old secret is out of force and could be put back. Programs that nobody knows of may still use
    /// it: the people who run them have the observation period to notice, and `rollback` puts it back.
    pub(super) fn deactivated(&mut self, event: Event, now: Timestamp) -> Effect {
        let policy = &self.record.policy;
        match event {
            Event::Fleet(fleet) => {
                let (observed, wanted) = (now.since(self.record.since()), policy.observation());
                let missing = self.not_drained(&fleet, now);
                let mut awaited = self.despite_words(missing);
                if observed < wanted && !self.record.hurries() {
                    awaited.missing.push(Missing::observation(observed, wanted));
                }
                if !awaited.missing.is_empty() {
                    return Effect::Wait(self.record.policy.poll_every, awaited.all());
                }
                self.note_left_out(awaited, now);
                Effect::Probe(self.target())
            }
            Event::Probed(which, Probe::Accepted) if which == self.target() => {
                self.seen.neither_since = None;
                self.seen.asked = 0;
                Effect::Probe(self.source())
            }
            Event::Probed(which, answer) if which == self.source() => {
                self.source_answered(answer, now).unwrap_or_else(|| {
                    self.note_proof(now);
                    self.begin_to_retire(now)
                })
            }
            Event::Probed(..) | Event::Listed(_) | Event::SlotChanged(_) => {
                self.doubted(event, now)
            }
            _ => Effect::Observe,
        }
    }

    /// Everybody holds the target alone: the source goes at the server, and what a request that was given
    /// up may have added.
    pub(super) fn removing(&mut self, event: Event, now: Timestamp) -> Effect {
        match event {
            Event::Listed(Listed::Slots(listed)) => {
                if let Some(stuck) = self.stuck_unless_active(self.target(), &listed, now) {
                    return stuck;
                }
                match listed.iter().find(|slot| self.goes(slot)) {
                    Some(slot) => self.take_away(slot, now),
                    None => {
                        self.seen.appeared = self.may_be_the_new_one(&listed);
                        self.removed(now)
                    }
                }
            }
            // On the way back from where nobody knew yet whether it was added, nor as which.
            Event::Probed(which, Probe::Accepted)
                if which == self.source() && self.seen.appeared.is_some() =>
            {
                if let Some(slot) = self.seen.appeared.take() {
                    self.is_at(slot);
                }
                Effect::List
            }
            Event::Probed(which, answer) if which == self.source() => {
                self.source_answered(answer, now).unwrap_or_else(|| {
                    self.note_proof(now);
                    self.over(now)
                })
            }
            Event::Listed(Listed::Unavailable(reason)) => self.doubt(reason),
            Event::SlotChanged(answer) => self.slot_changed(answer, now),
            _ => Effect::List,
        }
    }

    fn removed(&mut self, now: Timestamp) -> Effect {
        // Also the secret that nobody is to hold may be added yet.
        if let Some(wait) = self.may_be_crossed(now) {
            return wait;
        }
        match self.record.secret(self.source()) {
            Some(_) => Effect::Probe(self.source()),
            // The server never said it.
            None => self.over(now),
        }
    }

    fn over(&mut self, now: Timestamp) -> Effect {
        self.record.retire_source(now);
        self.enter(self.record.end(), now)
    }

    /// What a token request with the source says, once it should be out of force; `None` if it is. Nodes
    /// may take it for one propagation window longer.
    fn source_answered(&mut self, answer: Probe, now: Timestamp) -> Option<Effect> {
        match answer {
            Probe::Refused => {
                self.seen.both_since = None;
                None
            }
            Probe::Inconclusive(reason) => Some(self.doubt(reason)),
            Probe::Accepted => {
                let since = *self.seen.both_since.get_or_insert(now);
                if self.was_asked_long_after(since, now) {
                    return Some(self.stuck(StuckReason::OldSecretStillAccepted, now));
                }
                Some(Effect::Wait(self.record.policy.poll_every, Vec::new()))
            }
        }
    }

    /// Where one of the two secrets has to be in force, nothing is done while it is not.
    pub(super) fn stuck_unless_active(
        &mut self,
        which: Which,
        listed: &[Slot],
        now: Timestamp,
    ) -> Option<Effect> {
        let active = self.find(which, listed).is_some_and(|slot| slot.active);
        (!active).then(|| self.stuck(StuckReason::SecretGone, now))
    }

    /// One of the two secrets in what the server lists, in force or not.
    fn find<'a>(&self, which: Which, listed: &'a [Slot]) -> Option<&'a Slot> {
        let slots = self.record.plan.slots()?;
        let id = match which {
            Which::Old => &slots.old,
            Which::New => slots.new.as_ref()?,
        };
        listed.iter().find(|slot| slot.id == *id)
    }

    /// Whether this is one of those that the end of the rotation takes away.
    fn goes(&self, slot: &Slot) -> bool {
        let Some(Slots { old, new, .. }) = self.record.plan.slots() else { return false };
        let is_new = new.as_ref() == Some(&slot.id);
        match self.record.direction() {
            Direction::Forward => slot.id == *old || slot.is_for(&self.record.new) && !is_new,
            Direction::Back => is_new || slot.is_for(&self.record.new),
        }
    }

    /// Removes one of the secrets at the server, which may have to be out of force for that.
    fn take_away(&mut self, slot: &Slot, now: Timestamp) -> Effect {
        let deactivation = self.record.plan.slots().is_some_and(|slots| slots.deactivation);
        let change = match slot.active && deactivation {
            true => SlotChange::Deactivate,
            false => SlotChange::Remove,
        };
        self.change_slot((slot.id.clone(), change), now)
    }

    /// Changes one of the secrets at the server. What it lists may be older than the last such change, so
    /// that is repeated only after the propagation window.
    pub(super) fn change_slot(
        &mut self,
        (slot, change): (SlotId, SlotChange),
        now: Timestamp,
    ) -> Effect {
        let policy = &self.record.policy;
        if let Some(last) = &self.seen.slot_change
            && (&last.slot, last.change) == (&slot, change)
            && now.since(last.at) < policy.window()
        {
            return Effect::Wait(policy.poll_every, Vec::new());
        }
        if let Some(stop) = self.count_send(now) {
            return stop;
        }
        self.seen.slot_change = Some(SentSlotChange { slot: slot.clone(), change, at: now });
        Effect::ChangeSlot(slot, change)
    }

    /// These changes can be repeated: the list of the server tells what came of one without an answer.
    pub(super) fn slot_changed(&mut self, answer: ChangeAnswer, now: Timestamp) -> Effect {
        match answer {
            ChangeAnswer::Applied => {
                self.record.change.sends = 0;
                Effect::List
            }
            ChangeAnswer::Refused(error) => {
                self.record.change.sends = 0;
                Effect::Stop(Ending::Refused(error))
            }
            ChangeAnswer::RetryAfter(time) => {
                self.record.change.sends -= 1;
                self.seen.slot_change = None;
                self.turned_away(time)
            }
            ChangeAnswer::Unknown(reason) => {
                self.record.change.unresolved = true;
                self.record.change.last_sent = now;
                self.doubt(reason)
            }
        }
    }
}

impl Slot {
    /// Whether it is the one that was added, or is being added, for this secret.
    fn is_for(&self, new: &NewSecret) -> bool {
        [&self.holds, &self.made_for].into_iter().flatten().any(|id| id == new.id())
    }

    /// Whether the server shows nothing that would tell whose it is.
    fn says_nothing(&self) -> bool {
        self.holds.is_none() && self.made_for.is_none()
    }
}
