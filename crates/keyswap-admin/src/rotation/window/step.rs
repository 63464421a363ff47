//! What a rotation does outside its windows.

use std::time::Duration;

use super::super::back::Direction;
use super::super::event::{Effect, Event};
use super::super::gate::Missing;
use super::super::policy::Timestamp;
use super::super::state::State;
use super::super::step::Rotation;
use super::Opening;

/// The longest pause until a rotation looks again whether its window is open.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

impl Rotation {
    /// Outside its windows a rotation does everything but a change at the server: that is not decided then, and
    /// decided anew when a window is open. What may have been sent already is brought to its end at any time, and
    /// so is a way back, a gap, and a compromised secret.
    pub(in crate::rotation) fn step_within_windows(
        &mut self,
        event: Event,
        now: Timestamp,
    ) -> Effect {
        let Some(wait) = self.outside_its_windows(now) else { return self.step_on(event, now) };
        let before = self.clone();
        let effect = self.step_on(event, now);
        if matches!(effect, Effect::Send | Effect::Add | Effect::ChangeSlot(..)) {
            *self = before;
            return wait;
        }
        effect
    }

    fn outside_its_windows(&self, now: Timestamp) -> Option<Effect> {
        let record = &self.record;
        let windows = record.policy.change_windows.as_ref()?;
        let begun = matches!(
            record.state,
            State::CuttingOver
                | State::Adding
                | State::MakingRoom
                | State::Deactivating
                | State::Removing
        );
        let is_free = record.direction() == Direction::Back
            || record.hurries()
            || record.is_in_a_gap()
            || (begun && record.change.sends > 0);
        let Opening::Closed { opens } = windows.at(now) else { return None };
        if is_free {
            return None;
        }
        let left = opens.map_or(LOOK_AGAIN, |opens| opens.since(now));
        let pause = left.clamp(Duration::from_millis(1), LOOK_AGAIN);
        let missing = Missing::Window { windows: windows.to_string(), opens };
        Some(Effect::Wait(pause, vec![missing]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use keyswap_core::{Revision, Secret};

    use super::super::super::course::{Programs, World};
    use super::super::super::plan::Slots;
    use super::super::super::{Application, Asker, Ending, Record, RotationPolicy};
    use crate::authority::{ChangeAnswer, NewSecret, ReadBack, Slot, SlotId};

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_utc(text).unwrap()
    }

    /// A Friday, at noon.
    const NOON: &str = "2026-11-27T12:00:00Z";

    fn record() -> Record {
        let secret = |id: &str| Secret::new(id.parse().unwrap(), id).unwrap();
        let policy = RotationPolicy::new([Application::new("billing")])
            .change_windows("Sat 02:00-04:00".parse().unwrap());
        Record::begin("client", policy, secret("old"), secret("new"), Revision::new(1), at(NOON))
    }

    fn adding() -> Record {
        let old = SlotId::new("1");
        let listed = [Slot::new(old.clone()).holding(Some("old".parse().unwrap()))];
        record().adding(Slots::new(old, &listed, true))
    }

    fn regenerating() -> Record {
        let new = NewSecret::Awaited("new".parse().unwrap());
        Record { new, ..record() }.regenerating(Asker::default())
    }

    fn is_change(effect: &Effect) -> bool {
        matches!(effect, Effect::Send | Effect::Add | Effect::ChangeSlot(..))
    }

    /// Steps until one is to change something, or it is at its end; that is not done yet.
    fn until_a_change(rotation: &mut Rotation, world: &mut World, mut event: Event) -> Effect {
        loop {
            let effect = rotation.step(event, world.now);
            if is_change(&effect) || matches!(effect, Effect::Stop(Ending::Done)) {
                return effect;
            }
            event = world.perform(effect, rotation).1.unwrap();
        }
    }

    #[test]
    fn each_change_at_the_server_is_made_in_the_window_and_everything_else_at_once() {
        for (record, changes) in [(record(), 1), (adding(), 3), (regenerating(), 1)] {
            let windows = record.policy.change_windows.clone().unwrap();
            let single = matches!(record.plan, super::super::super::Plan::Replace);
            let mut world = World::around(&record, true, Programs::TakeUp);
            let mut rotation = Rotation::new(record);
            let (mut made, mut event) = (0, Event::TakenUp);
            loop {
                let effect = until_a_change(&mut rotation, &mut world, event);
                if !is_change(&effect) {
                    break;
                }
                let opening = windows.at(world.now);
                assert!(matches!(opening, Opening::Open { .. }), "{effect:?} at {}", world.now);
                made += 1;
                event = world.perform(effect, &mut rotation).1.unwrap();
            }
            assert_eq!(made, changes);
            let entered = &rotation.record().entered;
            let adopted = entered.iter().find(|one| one.state == State::Adopted).unwrap();
            let at_once = adopted.at.since(at(NOON)) < Duration::from_secs(60);
            assert_eq!(at_once, single, "where programs take it up before the change: {entered:?}");
        }
    }

    #[test]
    fn what_is_waited_for_is_named_and_asks_nothing_of_the_server_until_then() {
        let mut world = World::around(&record(), true, Programs::TakeUp);
        let mut rotation = Rotation::new(record());
        let mut event = Event::TakenUp;
        loop {
            match rotation.step(event, world.now) {
                Effect::Wait(pause, missing) => {
                    assert_eq!(rotation.record().state, State::Adopted);
                    let [missing] = missing.as_slice() else { panic!("{missing:?}") };
                    let said = missing.to_string();
                    assert!(said.contains("Sat 02:00-04:00 UTC"), "{said}");
                    assert!(said.contains("opens at 2026-11-28T02:00:00Z"), "{said}");
                    assert_eq!(pause, LOOK_AGAIN);
                    break;
                }
                effect => event = world.perform(effect, &mut rotation).1.unwrap(),
            }
        }
        for _ in 0..100 {
            let effect = rotation.step(Event::Waited, world.now);
            assert!(matches!(effect, Effect::Wait(..)), "{effect:?}");
        }
        let effect = rotation.step(Event::Waited, at("2026-11-28T02:00:00Z"));
        assert!(matches!(effect, Effect::Send), "{effect:?}");
    }

    #[test]
    fn a_change_that_may_have_been_made_is_brought_to_its_end_when_the_window_has_closed() {
        let mut world = World::around(&record(), true, Programs::TakeUp);
        let mut rotation = Rotation::new(record());
        let effect = until_a_change(&mut rotation, &mut world, Event::TakenUp);
        assert!(matches!(effect, Effect::Send));
        let lost = ChangeAnswer::Unknown("no answer".to_owned());
        let _ = rotation.step(Event::Answered(lost), at("2026-11-28T04:00:01Z"));
        let holds_old = || Event::ReadBack(ReadBack::Holds("old".parse().unwrap()));
        let wait = rotation.step(holds_old(), at("2026-11-28T04:00:02Z"));
        assert!(matches!(wait, Effect::Wait(..)), "{wait:?}");
        let effect = rotation.step(holds_old(), at("2026-11-28T04:01:00Z"));
        assert!(matches!(effect, Effect::Send), "the same secret again: {effect:?}");
    }

    #[test]
    fn one_that_was_turned_away_until_the_window_closed_is_sent_in_the_next() {
        let mut world = World::around(&record(), true, Programs::TakeUp);
        let mut rotation = Rotation::new(record());
        let _ = until_a_change(&mut rotation, &mut world, Event::TakenUp);
        let later = ChangeAnswer::RetryAfter(Duration::from_secs(60));
        let _ = rotation.step(Event::Answered(later), at("2026-11-28T03:59:59Z"));
        let effect = rotation.step(Event::Waited, at("2026-11-28T04:01:00Z"));
        assert!(matches!(effect, Effect::Wait(..)), "{effect:?}");
        let effect = rotation.step(Event::Waited, at("2026-12-05T02:00:00Z"));
        assert!(matches!(effect, Effect::Send), "{effect:?}");
    }

    #[test]
    fn the_way_back_and_a_compromised_secret_wait_for_no_window() {
        let mut world = World::around(&record(), true, Programs::TakeUp);
        let mut rotation = Rotation::new(record());
        let effect = until_a_change(&mut rotation, &mut world, Event::TakenUp);
        let _ = world.perform(effect, &mut rotation);
        let _ = rotation.step(Event::Answered(ChangeAnswer::Applied), world.now);
        world.now = at("2026-11-28T12:00:00Z");
        let back = until_a_change(&mut rotation, &mut world, Event::RollbackWanted);
        assert!(matches!(back, Effect::Send), "{back:?}");
        assert_eq!(world.now, at("2026-11-28T12:00:00Z"));

        let hurried = record().compromised_within(Duration::from_secs(60));
        let mut world = World::around(&hurried, true, Programs::TakeUp);
        let mut rotation = Rotation::new(hurried);
        let effect = until_a_change(&mut rotation, &mut world, Event::TakenUp);
        assert!(matches!(effect, Effect::Send), "{effect:?}");
        assert!(world.now.since(at(NOON)) < Duration::from_secs(60));
    }

    #[test]
    fn the_course_of_a_rotation_waits_for_its_window() {
        let course = super::super::super::Course::of(&record(), true);
        let lasts: BTreeSet<_> = course
            .steps
            .iter()
            .filter(|step| step.lasts > Duration::from_secs(3600))
            .map(|step| step.state)
            .collect();
        assert_eq!(lasts, [State::Adopted].into());
        let hours = course.at_least.as_secs() / 3600;
        assert_eq!(hours, 14, "from noon to two in the morning");
    }
}
