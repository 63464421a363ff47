//! What must hold in every state, and which states have to be reached.

use keyswap_admin::State;
use keyswap_admin::rotation::StuckReason;
use stateright::{Model, Property};

use crate::bounds::{Console, Several, Shows};
use crate::mutation::Mutation;
use crate::rotations::{End, FOREIGN, Happened, List, NONE, Value, WhichOne, bit};
use crate::rules::{Action, Rules};
use crate::slots::CHOSEN;
use crate::world::{Doing, Instance, Life, Process, World};

macro_rules! reached {
    ($state:ident) => {
        sometimes(
            concat!("the journal says ", stringify!($state)),
            |rules: &Rules, world: &World| {
                rules.rotations.written(world.store.journal).state == State::$state
            },
        )
    };
}

macro_rules! resumed {
    ($state:ident) => {
        sometimes(concat!("taken up in ", stringify!($state)), |rules: &Rules, world: &World| {
            let taken_up = Doing::Hear(Happened::TakenUp, true);
            rules.rotations.written(world.store.journal).state == State::$state
                && matches!(world.process, Process::Running { doing, .. } if doing == taken_up)
        })
    };
}

type Condition = fn(&Rules, &World) -> bool;

fn always(name: &'static str, condition: Condition) -> Property<Rules> {
    Property::always(name, condition)
}

fn sometimes(name: &'static str, condition: Condition) -> Property<Rules> {
    Property::sometimes(name, condition)
}

impl Model for Rules {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.first()]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        Self::actions(self, state, actions);
    }

    fn next_state(&self, state: &World, action: Action) -> Option<World> {
        self.next(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = self.always();
        properties.extend(self.sometimes());
        properties
    }
}

impl Rules {
    /// What must hold in every state.
    pub(crate) fn always(&self) -> Vec<Property<Self>> {
        let durable = always("I2: what may reach the server is in durable storage", is_durable);
        if self.is_later_than_awaited() {
            // Such a request does harm, and its value has to be known.
            return vec![durable];
        }
        vec![
            durable,
            always("I1: every live instance holds what every node accepts", holds_what_is_accepted),
            always("I3: retired only when each instance has attested", |_, world| {
                !world.noted.drained_unattested
            }),
            always(
                "I3: retired only when the server takes what is left and refuses what goes",
                |_, world| !world.noted.retired_unproved,
            ),
            always("I3: taken away only when it was deactivated for its time", |_, world| {
                !world.noted.retired_unobserved
            }),
            always("I4: nothing is written without the lease", |_, world| {
                !world.noted.written_without_lease
            }),
            always("confirmed means that every node has it", |_, world| {
                !world.noted.confirmed_early
            }),
            always("stuck only if somebody else changed something", |rules, world| {
                rules.rotations.written(world.store.journal).state != State::Stuck
                    || world.noted.foreign
                    || rules.is_in_doubt_of_its_own(world)
                    || (world.noted.returned && rules.is_led_on(world))
            }),
            always("what returned is in the list before a person is asked", |rules, world| {
                !rules.is_led_on(world) || world.store.published().holds(0)
            }),
            always("what somebody else added is not touched", |_, world| {
                !world.noted.foreign_touched
            }),
            always("what the server never removes is not asked for", |_, world| {
                !world.noted.newest_touched
            }),
            always("nothing is done under a hold", |_, world| !world.noted.acted_under_hold),
            always("done means the new secret alone, everywhere", done_is_done),
        ]
    }

    /// Whether the server has what a request of the rotation added of which no answer came, and nothing
    /// tells that it is not somebody's: where it shows nothing, of two, and where nobody knows the value and
    /// no text says it, of one.
    fn is_in_doubt_of_its_own(&self, world: &World) -> bool {
        self.bounds.several.is_some_and(|several| match several {
            Several { shows: Shows::Text, .. } | Several { newest_stays: true, .. } => false,
            Several { chooses: true, .. } => world.noted.unheard,
            Several { shows: Shows::Nothing, .. } => {
                world.noted.doubled && self.bounds.late.is_none_or(|late| late > self.bounds.window)
            }
            Several { .. } => false,
        })
    }

    /// Whether a request may be applied later than the protocol waits for.
    fn is_later_than_awaited(&self) -> bool {
        self.bounds.rotations > 1
            && self.bounds.late.is_none_or(|late| late > self.bounds.in_flight)
    }

    /// Whether nothing more is to come.
    pub(crate) fn is_over(&self, world: &World) -> bool {
        match world.process {
            Process::Stopped(End::Done | End::RolledBack) => true,
            Process::Stopped(End::Stuck) => {
                (world.noted.foreign
                    || self.is_later_than_awaited()
                    || self.is_in_doubt_of_its_own(world))
                    && !self.is_led_on(world)
            }
            _ => false,
        }
    }

    /// The states that have to be reached in this world, so that the rest means something.
    fn sometimes(&self) -> Vec<Property<Self>> {
        let bounds = &self.bounds;
        let resumes = bounds.crashes + bounds.pauses + bounds.faults > 0;
        let mut properties = vec![
            reached!(Generated),
            reached!(Staged),
            reached!(Adopted),
            reached!(Confirmed),
            reached!(Promoted),
            reached!(Drained),
            reached!(Retiring),
            reached!(Retired),
            reached!(Done),
        ];
        if resumes {
            properties.extend([
                resumed!(Generated),
                resumed!(Staged),
                resumed!(Adopted),
                resumed!(Confirmed),
                resumed!(Promoted),
                resumed!(Drained),
                resumed!(Retiring),
                resumed!(Retired),
            ]);
        }
        if bounds.holds > 0 {
            properties
                .push(sometimes("a process stops for a hold", |_, world| world.noted.held_up));
        }
        if bounds.deaf {
            properties.push(sometimes("done, and one is left behind", |rules, world| {
                let written = rules.rotations.written(world.store.journal);
                written.state == State::Done && written.broken != 0
            }));
        }
        match &bounds.several {
            Some(several) => {
                self.sometimes_with_several(several, &mut properties);
                return properties;
            }
            None => {
                properties.extend([reached!(CuttingOver), reached!(CutOver)]);
                if resumes {
                    properties.extend([resumed!(CuttingOver), resumed!(CutOver)]);
                }
            }
        }
        if bounds.lost > 0 {
            // Where it may: within the in-flight bound a rotation is either under way or waited for.
            if bounds.late.is_none() {
                properties.push(sometimes(
                    "an answer is lost, and the change was made",
                    |rules, world| {
                        let written = rules.rotations.written(world.store.journal);
                        written.state == State::CuttingOver
                            && written.unresolved
                            && world.server.target() == written.new
                    },
                ));
                properties.push(sometimes(
                    "an answer is lost, and the change is made late",
                    |_, world| world.noted.late_after_the_end,
                ));
            }
        }
        if bounds.pauses > 0 {
            properties.push(sometimes("a process without a lease is turned away", |_, world| {
                world.noted.fenced
            }));
        }
        if bounds.foreign > 0 && bounds.foreign_value == FOREIGN {
            properties.push(sometimes("stuck: neither secret is in force", |rules, world| {
                rules.is_stuck(world, StuckReason::ForeignSecret)
            }));
            properties.push(sometimes("a foreign change is overwritten", |rules, world| {
                world.noted.foreign
                    && rules.rotations.written(world.store.journal).state == State::Done
                    && world.server.values() == [rules.rotations.written(world.store.journal).new]
            }));
        }
        if bounds.foreign > 0 && bounds.foreign_value != FOREIGN {
            properties.push(sometimes("stuck: the old secret is back", |rules, world| {
                rules.is_stuck(world, StuckReason::OldSecretReturned)
            }));
        }
        if bounds.rollbacks > 0 {
            properties.push(reached!(Withdrawing));
            properties.push(sometimes("taken back after the change", |rules, world| {
                let written = rules.rotations.written(world.store.journal);
                written.state == State::RolledBack && world.store.revision > 3
            }));
            properties.push(sometimes("stopped: there is no way back", |_, world| {
                world.process == Process::Stopped(End::NoWayBack)
            }));
            if bounds.lost > 0 {
                properties.push(sometimes("a change arrives on the way back", |_, world| {
                    world.noted.late_on_the_way_back
                }));
            }
        }
        if bounds.retired_late {
            properties.push(sometimes("stuck: a retired secret is in force", |rules, world| {
                rules.is_stuck(world, StuckReason::RetiredSecretPublishedMidway)
            }));
            properties.push(sometimes("a retired secret is led out again", |rules, world| {
                is_readmitted(world)
                    && rules.rotations.written(world.store.journal).state == State::Done
            }));
        }
        if bounds.refused > 0 {
            properties.push(sometimes("stopped by a refusal", |_, world| {
                world.process == Process::Stopped(End::Refused)
            }));
        }
        if bounds.naps > 0 {
            properties.push(sometimes(
                "an instance comes back with nothing that is accepted",
                |_, world| {
                    let lists = world.store.lists;
                    world.instances.iter().any(|one| {
                        one.life == Life::Live
                            && !world.server.accepted().iter().any(|value| {
                                *value != FOREIGN && lists[usize::from(one.holds)].holds(*value)
                            })
                    })
                },
            ));
        }
        properties.push(sometimes(
            "the nodes disagree while the new secret is tried",
            |_, world| {
                let probed = Doing::Act(crate::rotations::Act::Probe(WhichOne::New));
                let [one, other] = world.server.accepted();
                one != other
                    && matches!(world.process, Process::Running { doing, .. } if doing == probed)
            },
        ));
        properties
    }

    /// The same at a server that holds several secrets.
    fn sometimes_with_several(&self, several: &Several, properties: &mut Vec<Property<Self>>) {
        let bounds = &self.bounds;
        let resumes = bounds.crashes + bounds.pauses + bounds.faults > 0;
        properties.extend([
            reached!(Adding),
            reached!(Added),
            reached!(Removing),
            sometimes("a node does not have the new secret while it is tried", |_, world| {
                let probed = Doing::Act(crate::rotations::Act::Probe(WhichOne::New));
                let settled = world.slots.is_some_and(|slots| slots.is_settled());
                !settled
                    && matches!(world.process, Process::Running { doing, .. } if doing == probed)
            }),
        ]);
        if several.deactivation {
            properties.extend([reached!(Deactivating), reached!(Deactivated)]);
        }
        if resumes {
            properties.extend([resumed!(Adding), resumed!(Added), resumed!(Removing)]);
            if several.deactivation {
                properties.extend([resumed!(Deactivating), resumed!(Deactivated)]);
            }
        }
        if bounds.lost > 0 {
            properties.push(sometimes("a secret was added of which no answer told", |_, world| {
                world.noted.unheard
            }));
            if bounds.sends > 1 && several.room > 2 && !several.chooses && bounds.late.is_none() {
                properties.push(sometimes("it was added twice", |_, world| world.noted.doubled));
            }
        }
        if bounds.refused > 0 {
            properties.push(sometimes("stopped by a refusal", |_, world| {
                world.process == Process::Stopped(End::Refused)
            }));
        }
        if bounds.rollbacks > 0 {
            properties.extend([
                reached!(Withdrawing),
                sometimes("stopped: there is no way back", |_, world| {
                    world.process == Process::Stopped(End::NoWayBack)
                }),
            ]);
            if !several.newest_stays {
                properties.push(sometimes("taken back after programs had both", |rules, world| {
                    let written = rules.rotations.written(world.store.journal);
                    written.state == State::RolledBack && world.store.revision > 3
                }));
            }
            if bounds.lost > 0 && several.deactivation {
                properties.push(sometimes(
                    "the old secret is deactivated late, on the way back",
                    |_, world| world.noted.late_on_the_way_back,
                ));
            }
        }
        if bounds.foreign > 0 {
            match several.console {
                Console::Adds => {
                    properties.push(sometimes("somebody's is left", |rules, world| {
                        rules.rotations.written(world.store.journal).state == State::Done
                            && world.noted.foreign
                    }))
                }
                Console::RemovesNew | Console::DeactivatesNew | Console::RemovesOld => {
                    properties.push(sometimes("stuck: a secret is gone", |rules, world| {
                        rules.is_stuck(world, StuckReason::SecretGone)
                    }));
                }
                Console::ActivatesOld => {
                    properties.push(sometimes("stuck: the old one is accepted", |rules, world| {
                        rules.is_stuck(world, StuckReason::OldSecretStillAccepted)
                    }));
                }
            }
        }
        let unheard = several.shows != Shows::Text && several.chooses && !several.newest_stays;
        if unheard && bounds.lost > 0 {
            properties.push(sometimes("stuck: a secret appeared", |rules, world| {
                rules.is_stuck(world, StuckReason::SecretAppeared)
            }));
        }
    }

    fn is_stuck(&self, world: &World, reason: StuckReason) -> bool {
        let written = self.rotations.written(world.store.journal);
        world.process == Process::Stopped(End::Stuck) && written.stuck == Some(reason)
    }
}

/// Each live instance, whichever node it meets. One that was paused past its lease asks for the list
/// once it is refused; what a person sets at the server nobody can hold.
fn holds_what_is_accepted(rules: &Rules, world: &World) -> bool {
    let put_back = world.noted.foreign && rules.bounds.foreign_value != FOREIGN;
    let last_resort = rules.bounds.mutation != Some(Mutation::NoLastResort);
    let excused = |node| match world.slots {
        Some(_) => world.noted.foreign_outage,
        None => put_back || world.accepts(node, FOREIGN),
    };
    let written = rules.rotations.written(world.store.journal);
    // Who is named as left behind before it is.
    let named = |slot: u8, instance: &Instance| {
        let bit = bit(slot, instance.generation);
        written.broken & bit != 0 || written.others_broken && instance.hidden
    };
    // Nobody can hold what returned, before the first list that holds it again is out.
    let readmitted = world.store.lists.iter().position(|list| list.holds(0));
    let is_late = |holds: u8| readmitted.is_none_or(|first| usize::from(holds) < first);
    let returned = |node, holds| world.noted.returned && world.accepts(node, 0) && is_late(holds);
    (0..).zip(&world.instances).filter(|(_, one)| one.life == Life::Live).all(|(slot, instance)| {
        let held = world.store.lists[usize::from(instance.holds)];
        let published = world.store.published();
        (0..2).all(|node| {
            let takes = |list: List| list.0.into_iter().any(|value| world.accepts(node, value));
            excused(node)
                || returned(node, instance.holds)
                || named(slot, instance)
                || takes(held)
                || (instance.stale && last_resort && takes(published))
        })
    })
}

/// Whether what returned was put into the list again.
fn is_readmitted(world: &World) -> bool {
    world.noted.returned && world.store.lists.iter().any(|list| list.holds(0))
}

fn is_durable(rules: &Rules, world: &World) -> bool {
    let known = rules.rotations.written(world.store.journal).known;
    let is_known = |value: Value| known & (1 << value) != 0;
    let published = world.store.published();
    world.may_reach().all(|value| is_known(value) || published.holds(value))
        && published.0.into_iter().all(|value| value == NONE || is_known(value))
}

fn done_is_done(rules: &Rules, world: &World) -> bool {
    let written = rules.rotations.written(world.store.journal);
    if !matches!(written.state, State::Done | State::RolledBack) {
        return true;
    }
    let Some(slots) = &world.slots else {
        return world.noted.foreign
            // It came where nobody looked at the server any more; the next rotation does.
            || (world.noted.returned && !is_readmitted(world))
            || (world.store.published() == List::of([written.target])
                && world.server.values() == [written.target]);
    };
    // What somebody did to the two secrets is their doing, and what comes after the end is waited for by the
    // next rotation.
    let adds = rules.bounds.several.is_some_and(|several| several.console == Console::Adds);
    if (world.noted.foreign && !adds) || world.noted.late_after_the_end {
        return true;
    }
    let doubted = rules.is_in_doubt_of_its_own(world);
    // What cannot be taken back is left behind.
    let left = written.state == State::RolledBack
        && rules.bounds.several.is_some_and(|several| several.newest_stays);
    let mut foreign = 0;
    let mut targets = 0;
    let alone = slots.present().all(|(name, value)| {
        let is_target = Some(name) == written.target_slot;
        targets += u8::from(is_target);
        foreign += u8::from(value == FOREIGN);
        is_target
            || value == FOREIGN
            || doubted && value != written.source
            || left && value >= CHOSEN
    });
    alone
        && targets == 1
        && foreign == u8::from(world.noted.foreign)
        && world.store.published() == List::of([written.target])
}
