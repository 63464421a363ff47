//! What can happen next in a state, and what comes of it.

use keyswap_admin::State;
use keyswap_admin::rotation::StuckReason;

use crate::bounds::{Bounds, Console};
use crate::mutation::Mutation;
use crate::rotations::{
    Act, End, FOREIGN, Happened, List, NONE, Number, Outcome, Request, Rotations, Value, WhichOne,
    Written,
};
use crate::slots::{Slots, Status};
use crate::world::{Doing, Instance, Late, Life, Paused, Process, World};

/// One thing that happens.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Action {
    /// The next rotation is begun.
    Begin,
    /// A process takes up the journal.
    TakeUp,
    /// A person stops the process, and one that goes back takes up the journal.
    RollBack,
    Write,
    /// The process does what is certain: publishes, looks, reads back, waits, checks its lease, stops.
    Perform,
    /// The process makes a token request, which that node answers.
    Probe {
        node: usize,
    },
    ProbeInVain,
    Answered(Answer),
    Hear,
    /// The process ends; a request that it was about to send may have gone out.
    Crash {
        sent: bool,
    },
    /// The process is paused past its lease.
    Pause,
    /// The paused process goes on.
    GoOn,
    /// A person puts a hold on the rotation.
    Hold,
    Release,
    /// The store fails, having written or not, and the process ends.
    Fault {
        written: bool,
    },
    NodeTakesUp {
        node: usize,
    },
    /// One of the changes of one of several secrets.
    NodeTakesUpOf {
        slot: u8,
        node: usize,
    },
    AppliedLate {
        index: usize,
    },
    NeverApplied {
        index: usize,
    },
    ForeignChange,
    /// A person looks at a rotation that is stuck, and sets this secret at the server.
    Mend(Value),
    Start {
        slot: usize,
    },
    Read {
        slot: usize,
    },
    Follow {
        slot: usize,
    },
    Report {
        slot: usize,
    },
    /// An instance makes a request with the old secret.
    Use {
        slot: usize,
    },
    Die {
        slot: usize,
    },
    Nap {
        slot: usize,
    },
    Wake {
        slot: usize,
    },
    Tick,
}

/// How a request to change the secret ends.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Answer {
    Applied,
    /// No answer came; it may be applied now, later or never.
    Lost,
    Refused,
    RetryAfter,
}

impl Action {
    /// Whether it happens in the end, if nothing more goes wrong.
    pub(crate) fn is_ordinary(self) -> bool {
        use Action::*;
        !matches!(
            self,
            ProbeInVain
                | Answered(Answer::Lost | Answer::Refused | Answer::RetryAfter)
                | Crash { .. }
                | Pause
                | Fault { .. }
                | RollBack
                | ForeignChange
                | Hold
                | Use { .. }
                | Die { .. }
                | Nap { .. }
        )
    }
}

/// The rules of a world.
pub(crate) struct Rules {
    pub(crate) bounds: Bounds,
    pub(crate) rotations: Rotations,
}

impl Rules {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, rotations: Rotations::new(&bounds) }
    }

    pub(crate) fn first(&self) -> World {
        let begun = match self.bounds.retired_late {
            false => self.rotations.begin((0, 1), 1, None),
            true => self.rotations.having_retired(self.rotations.begin((1, 2), 1, None), 0),
        };
        World::new(&self.bounds, begun)
    }

    fn breaks(&self, mutation: Mutation) -> bool {
        self.bounds.mutation == Some(mutation)
    }

    /// What may happen; some of it comes to nothing.
    pub(crate) fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        use Action::*;
        actions.extend([Begin, TakeUp, RollBack, Tick, ForeignChange, Mend(0), Mend(1), GoOn]);
        actions.extend([Hold, Release]);
        if let Process::Running { doing, .. } = world.process {
            let store = [Fault { written: false }, Fault { written: true }];
            match doing {
                Doing::Write(_) => {
                    actions.push(Write);
                    actions.extend(store);
                }
                Doing::Act(Act::Probe(_) | Act::ProbeRetired(_)) => {
                    actions.extend([Probe { node: 0 }, Probe { node: 1 }, ProbeInVain]);
                }
                Doing::Act(act) => {
                    actions.push(Perform);
                    if matches!(act, Act::Publish { .. }) {
                        actions.extend(store);
                    }
                }
                Doing::Send { .. } => {
                    let answers =
                        [Answer::Applied, Answer::Lost, Answer::Refused, Answer::RetryAfter];
                    actions.extend(answers.map(Answered));
                    actions.push(Crash { sent: true });
                }
                Doing::Hear(..) => actions.push(Hear),
            }
            actions.extend([Crash { sent: false }, Pause]);
        }
        for index in 0..2 {
            if world.slots.is_none() {
                actions.extend([NodeTakesUp { node: index }]);
            }
            if world.late[index].request != Request::None {
                actions.extend([AppliedLate { index }, NeverApplied { index }]);
            }
        }
        if let Some(slots) = &world.slots {
            actions.extend(slots.pending().map(|(slot, node)| NodeTakesUpOf { slot, node }));
        }
        let looks = match world.process {
            Process::Running { doing: Doing::Act(Act::Observe), .. } => true,
            Process::Running { doing: Doing::Hear(Happened::Fleet(_), _), .. } => {
                self.is_draining(world)
            }
            _ => false,
        };
        for slot in 0..self.bounds.instances {
            let these: &[Action] = match world.instances[slot].life {
                Life::Dead => &[Start { slot }],
                Life::Registered => &[Read { slot }, Die { slot }],
                // When it reports and what it uses matters to nobody until it is looked at.
                Life::Live if looks => {
                    &[Follow { slot }, Report { slot }, Use { slot }, Die { slot }, Nap { slot }]
                }
                Life::Live => &[Follow { slot }, Die { slot }, Nap { slot }],
                Life::Away => &[Wake { slot }, Die { slot }],
            };
            actions.extend(these);
        }
    }

    /// The state after `action`; `None` if it cannot happen or changes nothing.
    pub(crate) fn next(&self, before: &World, action: Action) -> Option<World> {
        let mut world = *before;
        self.happens(&mut world, action)?;
        if !self.is_draining(&world) {
            world.instances.iter_mut().for_each(Instance::forget_use);
        }
        let proves = match self.rotations.written(world.store.journal).state {
            State::Drained => true,
            State::Deactivating | State::Deactivated => world.slots.is_some(),
            _ => false,
        };
        if world.slots.is_some_and(|slots| slots.status(0) == Status::Active) {
            world.noted.deactivated_for = 0;
        }
        if !proves {
            (world.noted.target_taken, world.noted.source_refused) = (false, false);
        }
        (world != *before).then_some(world)
    }

    /// Whether the use of the old secret is looked at.
    fn is_draining(&self, world: &World) -> bool {
        let written = self.rotations.written(world.store.journal);
        matches!(written.state, State::Confirmed | State::Promoted | State::Deactivated)
            && world.store.published().begins_with([written.target, written.source])
    }

    fn happens(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::Begin => self.begin(world),
            Action::TakeUp => self.take_up(world),
            Action::RollBack => self.roll_back(world),
            Action::Write => self.write(world),
            Action::Perform => self.perform(world),
            Action::Probe { node } => self.probe(world, Some(node)),
            Action::ProbeInVain => {
                spend(&mut world.left.doubts)?;
                self.probe(world, None)
            }
            Action::Answered(answer) => self.answered(world, answer),
            Action::Hear => {
                let Process::Running { rotation, doing: Doing::Hear(happened, attested) } =
                    world.process
                else {
                    return None;
                };
                self.step(world, rotation, happened, attested)
            }
            Action::Crash { sent } => {
                spend(&mut world.left.crashes)?;
                if let Process::Running { doing: Doing::Send { request, age }, .. } = world.process
                    && sent
                {
                    world.give_up(request, age).then_some(())?;
                }
                world.process = Process::Gone;
                Some(())
            }
            Action::Hold => {
                spend(&mut world.left.holds)?;
                world.held = true;
                Some(())
            }
            Action::Release => {
                world.held = false;
                Some(())
            }
            Action::Pause => self.pause(world),
            Action::GoOn => self.go_on(world),
            Action::Fault { written } => {
                spend(&mut world.left.faults)?;
                if written {
                    match world.process {
                        Process::Running { doing: Doing::Write(_), .. } => self.write(world)?,
                        _ => self.perform(world)?,
                    }
                }
                world.process = Process::Gone;
                Some(())
            }
            Action::NodeTakesUp { node } => world.server.take_up(node).then_some(()),
            Action::NodeTakesUpOf { slot, node } => {
                world.slots.as_mut()?.take_up(slot, node);
                Some(())
            }
            Action::AppliedLate { index } => {
                let request = world.late[index].request;
                self.apply(world, request)?;
                world.noted.unheard |= matches!(request, Request::Add(_));
                let written = self.rotations.written(world.store.journal);
                // At the end of a rotation with several, after the last look.
                let over =
                    matches!(written.state, State::Done | State::RolledBack | State::Removing);
                world.noted.late_after_the_end |= over || world.begun > 1;
                world.noted.returned |= self.bounds.retired_late && request == Request::Set(0);
                world.noted.late_on_the_way_back |= written.back
                    && match request {
                        Request::Change(slot, _) => written.target_slot == Some(slot),
                        other => other.value() == written.source,
                    };
                self.forget_late(world, index)
            }
            Action::NeverApplied { index } => {
                self.bounds.late?;
                self.forget_late(world, index)
            }
            Action::ForeignChange => {
                spend(&mut world.left.foreign)?;
                world.noted.foreign = true;
                if world.slots.is_some() {
                    return self.at_the_console(world);
                }
                world.server.apply(self.bounds.foreign_value);
                Some(())
            }
            Action::Mend(value) => {
                let stuck = world.process == Process::Stopped(End::Stuck);
                let held = world.store.published().holds(value);
                (stuck && held && self.bounds.mended).then_some(())?;
                match &mut world.slots {
                    Some(slots) => self.put_back(slots, value)?,
                    None => world.server.apply(value),
                }
                world.process = Process::Gone;
                Some(())
            }
            Action::Tick => self.tick(world),
            Action::Start { slot }
            | Action::Read { slot }
            | Action::Follow { slot }
            | Action::Report { slot }
            | Action::Use { slot }
            | Action::Die { slot }
            | Action::Nap { slot }
            | Action::Wake { slot } => self.instance(world, slot, action),
        }
    }

    /// A request reaches the server. Gives the name of what it added.
    fn apply(&self, world: &mut World, request: Request) -> Option<Option<u8>> {
        let Some(slots) = &mut world.slots else {
            world.server.apply(request.value());
            return Some(None);
        };
        let own = |held: Value| held != 0 && held != FOREIGN;
        let newest_stays = self.bounds.several.is_some_and(|several| several.newest_stays);
        match request {
            Request::Add(_) if newest_stays && slots.present().any(|(_, held)| own(held)) => {
                return Some(slots.present().find(|(_, held)| own(*held)).map(|(name, _)| name));
            }
            Request::Change(slot, Status::Gone) if newest_stays && slots.newest() == Some(slot) => {
                world.noted.newest_touched = true;
            }
            Request::Add(value) if slots.present().count() < self.room() => {
                world.noted.doubled |= slots.present().any(|(_, held)| own(held));
                return Some(Some(slots.add(value)?));
            }
            Request::Change(slot, status) => {
                let value = slots.list()[usize::from(slot)].value;
                world.noted.foreign_touched |= value == FOREIGN;
                slots.change(slot, status)?;
            }
            Request::Add(_) | Request::Set(_) | Request::None => {}
        }
        Some(None)
    }

    fn room(&self) -> usize {
        self.bounds.several.map_or(1, |several| several.room)
    }

    /// What somebody else does. What the programs hold may be out of force through that alone, unless each
    /// holds both, every node takes both, and the rotation has yet to look whether they do.
    fn at_the_console(&self, world: &mut World) -> Option<()> {
        let console = self.bounds.several?.console;
        let Written { state, old, new, .. } = self.rotations.written(world.store.journal);
        let running = match world.process {
            Process::Running { rotation, .. } => self.rotations.written(rotation).state,
            _ => state,
        };
        let lists = world.store.lists;
        let both = world.instances.iter().filter(|one| one.life == Life::Live).all(|one| {
            let held = lists[usize::from(one.holds)];
            held.holds(old) && held.holds(new)
        });
        let aided = both
            && state == State::Confirmed
            && running == state
            && world.slots?.is_settled()
            && world.all_accept(old)
            && world.all_accept(new);
        let slots = world.slots.as_mut()?;
        let (slot, status) = match console {
            Console::Adds => {
                (slots.present().count() < self.room()).then_some(())?;
                return slots.add(FOREIGN).map(drop);
            }
            Console::RemovesNew => (slots.named(new)?, Status::Gone),
            Console::DeactivatesNew => (slots.named(new)?, Status::Inactive),
            Console::RemovesOld => (slots.named(old)?, Status::Gone),
            Console::ActivatesOld => (slots.named(old)?, Status::Active),
        };
        (slots.status(slot) != status).then_some(())?;
        world.noted.foreign_outage |= !aided && console != Console::ActivatesOld;
        slots.change(slot, status)
    }

    /// A person activates this secret, and only then there is something to go on with.
    fn put_back(&self, slots: &mut Slots, value: Value) -> Option<()> {
        slots.change(slots.named(value)?, Status::Active)?;
        let mut own =
            slots.list().into_iter().filter(|one| one.value != NONE && one.value != FOREIGN);
        own.all(|one| one.active).then_some(())
    }

    /// As the rotator does it before the first journal of a rotation.
    fn begin(&self, world: &mut World) -> Option<()> {
        let earlier = self.rotations.written(world.store.journal);
        let over = matches!(world.process, Process::Stopped(End::Done | End::RolledBack));
        (over && world.begun < self.bounds.rotations).then_some(())?;
        (!earlier.in_flight || self.breaks(Mutation::InFlightNotAwaited)).then_some(())?;
        let list = world.store.published();
        let old = list.0[0];
        let read_back = !self.bounds.read_back || world.server.target() == old;
        let probed = world.server.accepted().contains(&old);
        (list.is_single() && read_back && probed).then_some(())?;
        world.begun += 1;
        world.store.journal = self.rotations.begin(
            (old, world.begun),
            world.store.revision,
            Some(world.store.journal),
        );
        world.process = Process::Gone;
        Some(())
    }

    fn take_up(&self, world: &mut World) -> Option<()> {
        let over = match self.rotations.written(world.store.journal).state {
            State::Done => Some(End::Done),
            State::RolledBack => Some(End::RolledBack),
            _ => None,
        };
        let resumed = match world.process {
            Process::Gone => true,
            // A person says that what returned may go again.
            Process::Stopped(End::Stuck) => self.is_led_on(world),
            Process::Stopped(end) => !matches!(end, End::Done | End::RolledBack),
            Process::Running { .. } => false,
        };
        if let Some(end) = over.filter(|_| world.process == Process::Gone) {
            // It ended after the last write: there is nothing to resume.
            world.process = Process::Stopped(end);
            return Some(());
        }
        resumed.then_some(())?;
        let mut rotation = world.store.journal;
        let stuck = self.rotations.written(rotation).stuck_in;
        if let Some(state) = stuck.filter(|_| self.breaks(Mutation::ResumedWithoutProof)) {
            rotation = self.rotations.falsified(rotation, |record| {
                (record.state, record.stuck) = (state, None);
            });
        }
        self.start(world, rotation, Happened::TakenUp)
    }

    /// Whether the rotation is stuck where it leads on without anything to be mended.
    pub(crate) fn is_led_on(&self, world: &World) -> bool {
        let stuck = self.rotations.written(world.store.journal).stuck;
        stuck == Some(StuckReason::RetiredSecretPublishedMidway)
    }

    fn roll_back(&self, world: &mut World) -> Option<()> {
        spend(&mut world.left.rollbacks)?;
        let stopped = match world.process {
            Process::Gone => true,
            Process::Stopped(end) => !matches!(end, End::Done | End::RolledBack),
            // To stop it there is a crash.
            Process::Running { doing: Doing::Send { .. }, .. } => false,
            Process::Running { .. } => true,
        };
        let state = self.rotations.written(world.store.journal).state;
        let over = matches!(state, State::Done | State::RolledBack);
        (stopped && !over).then_some(())?;
        self.start(world, world.store.journal, Happened::RollbackWanted)
    }

    fn start(&self, world: &mut World, rotation: Number, happened: Happened) -> Option<()> {
        // The new process has heard nothing of any instance.
        world.instances.iter_mut().for_each(|one| (one.told, one.told_used) = (false, false));
        world.process = Process::Running { rotation, doing: Doing::Hear(happened, true) };
        Some(())
    }

    fn write(&self, world: &mut World) -> Option<()> {
        let Process::Running { rotation, doing: Doing::Write(act) } = world.process else {
            return None;
        };
        world.store.journal = self.journaled(rotation);
        self.then(world, rotation, act)
    }

    fn journaled(&self, rotation: Number) -> Number {
        let journal = self.rotations.journal(rotation);
        self.bounds
            .mutation
            .map_or(journal, |mutation| mutation.journaled(&self.rotations, journal))
    }

    fn then(&self, world: &mut World, rotation: Number, act: Act) -> Option<()> {
        if act == Act::Write {
            return self.step(world, rotation, Happened::Written, true);
        }
        world.process = Process::Running { rotation, doing: Doing::Act(act) };
        Some(())
    }

    /// The real step; what it says is written down before it is done.
    fn step(
        &self,
        world: &mut World,
        rotation: Number,
        happened: Happened,
        attested: bool,
    ) -> Option<()> {
        let written = self.rotations.written(rotation);
        let told = self
            .bounds
            .mutation
            .map_or(happened, |mutation| mutation.told(written.state, written.revision, happened));
        let held = world.held
            && !self.bounds.mutation.is_some_and(|mutation| {
                mutation
                    .ignores_the_hold(self.rotations.step(rotation, told, false).1, written.state)
            });
        let names = self.rotations.written(rotation).broken;
        let (mut rotation, act, changed) = self.rotations.step(rotation, told, held);
        let lost = matches!(happened, Happened::Answered(Request::Add(_), Outcome::Unknown));
        if lost && self.breaks(Mutation::AddedAgainAtOnce) {
            rotation = self.rotations.falsified(rotation, |record| {
                record.change.last_sent = keyswap_admin::rotation::Timestamp::default();
            });
        }
        let forgets =
            self.breaks(Mutation::ForwardForgotten) || self.breaks(Mutation::DeactivationForgotten);
        if happened == Happened::RollbackWanted && forgets {
            rotation = self.rotations.falsified(rotation, |record| {
                record.rollback.iter_mut().for_each(|back| back.forward.unresolved = false);
            });
        }
        let state = self.rotations.written(rotation).state;
        if world.held {
            let acts = matches!(act, Act::Publish { .. }) || act.request(0).is_some();
            let retires = state == State::Retiring && written.state != State::Retiring;
            world.noted.acted_under_hold |=
                acts || retires || names != self.rotations.written(rotation).broken;
            world.noted.held_up |= act == Act::Stop(End::Held) && written.state > State::Staged;
        }
        let drained = state == State::Drained && written.state != State::Drained;
        let trusts = self.breaks(Mutation::OneLookAfterDoubt)
            || self.breaks(Mutation::OneLookAtWhatWasPutBack);
        if drained && trusts {
            rotation = self.rotations.falsified(rotation, |record| record.doubted = false);
        }
        let first = matches!(happened, Happened::TakenUp | Happened::RollbackWanted);
        if state != written.state && !first {
            self.note_entered(world, state, attested);
        }
        let waits = !self.bounds.mutation.is_some_and(|mutation| mutation.acts_first(act, state));
        if (changed || first) && waits {
            world.process = Process::Running { rotation, doing: Doing::Write(act) };
            return Some(());
        }
        self.then(world, rotation, act)
    }

    fn note_entered(&self, world: &mut World, state: State, attested: bool) {
        // On the way back a late change of the way forward may arrive at any time.
        let Written { target, back, .. } = self.rotations.written(world.store.journal);
        match state {
            State::Confirmed => {
                world.noted.confirmed_early |= !back
                    && !world.noted.foreign
                    && !world.noted.returned
                    && !world.all_accept(target);
            }
            State::Drained => {
                let hurries = self.bounds.compromised.is_some() && !back;
                world.noted.drained_unattested |= !attested && !hurries;
            }
            State::Deactivating => world.noted.retired_unproved |= !world.noted.target_taken,
            // The proof of it; the list may be published later. A server that holds several refuses the
            // source only when it is deactivated or removed.
            State::Retiring => {
                let refuses = match self.bounds.several {
                    Some(several) => several.deactivation && !back,
                    None => true,
                };
                let proved = world.noted.target_taken && (world.noted.source_refused || !refuses);
                world.noted.retired_unproved |= !proved;
                let hurries = self.bounds.compromised.is_some();
                if let Some(several) = self.bounds.several.filter(|_| refuses && !hurries) {
                    let observed = world.noted.deactivated_for >= several.observation;
                    world.noted.retired_unobserved |= !observed && !world.noted.foreign;
                }
            }
            _ => {}
        }
    }

    fn perform(&self, world: &mut World) -> Option<()> {
        let Process::Running { rotation, doing: Doing::Act(act) } = world.process else {
            return None;
        };
        let happened = match act {
            // The other list that holds what returned has it at its end.
            Act::Publish { list, .. }
                if list.0[0] == 0
                    && !list.is_single()
                    && self.breaks(Mutation::ReadmissionDropped) =>
            {
                Happened::Published(world.store.revision)
            }
            Act::Publish { list, replaces, instead_of } => {
                self.publish(world, list, replaces, instead_of)
            }
            Act::Observe => return self.observe(world, rotation),
            Act::Send | Act::Add | Act::Change(..) => {
                let doing = Doing::Send { request: self.request(rotation, act)?, age: 0 };
                world.process = Process::Running { rotation, doing };
                return Some(());
            }
            Act::List => Happened::Listed(world.slots?.list()),
            Act::ReadBack => {
                Happened::ReadBack(self.bounds.read_back.then(|| world.server.target()))
            }
            Act::Wait => Happened::Waited,
            Act::Stop(end) => {
                world.process = Process::Stopped(end);
                return Some(());
            }
            Act::Write | Act::Probe(_) | Act::ProbeRetired(_) => return None,
        };
        self.hear(world, rotation, happened, true)
    }

    /// What is sent.
    fn request(&self, rotation: Number, act: Act) -> Option<Request> {
        let written = self.rotations.written(rotation);
        let value = self
            .bounds
            .mutation
            .map_or(written.target, |mutation| mutation.sent(written.target, written.unresolved));
        act.request(value)
    }

    fn hear(
        &self,
        world: &mut World,
        rotation: Number,
        happened: Happened,
        attested: bool,
    ) -> Option<()> {
        let answers = !matches!(happened, Happened::Waited | Happened::Written);
        if self.bounds.slow_answers && answers {
            let doing = Doing::Hear(happened, attested);
            world.process = Process::Running { rotation, doing };
            return Some(());
        }
        self.step(world, rotation, happened, attested)
    }

    /// As the rotator publishes: what counts is what is published.
    fn publish(
        &self,
        world: &mut World,
        list: List,
        replaces: u8,
        instead_of: [List; 3],
    ) -> Happened {
        let store = &world.store;
        if store.published() == list && store.revision > replaces {
            return Happened::Published(store.revision);
        }
        let own = store.revision > replaces && instead_of.contains(&store.published());
        if store.revision != replaces && !own {
            return Happened::ForeignList;
        }
        self.put(world, list);
        Happened::Published(world.store.revision)
    }

    fn put(&self, world: &mut World, list: List) {
        world.store.revision += 1;
        world.store.lists[usize::from(world.store.revision)] = list;
    }

    fn observe(&self, world: &mut World, rotation: Number) -> Option<()> {
        let new = self.rotations.written(rotation).new;
        let reports = [0, 1].map(|slot| {
            let instance = &world.instances[slot];
            let reported = world.store.lists[usize::from(instance.reported)];
            // Only who is left behind depends on it.
            let asked = self.bounds.compromised.is_some();
            let mut report = instance.report(slot, asked && reported.holds(new))?;
            if self.breaks(Mutation::ReportsOfTheStore) {
                report.revision = world.store.revision;
            }
            Some(report)
        });
        let seen = world.instances.iter_mut().filter(|one| one.is_seen());
        let mut attested = true;
        for instance in seen {
            (instance.told, instance.told_used) = (false, false);
            attested &= instance.quiet_told >= self.bounds.quiet;
        }
        self.hear(world, rotation, Happened::Fleet(reports), attested)
    }

    fn probe(&self, world: &mut World, node: Option<usize>) -> Option<()> {
        let Process::Running { rotation, doing: Doing::Act(act) } = world.process else {
            return None;
        };
        let takes = |value| node.map(|node| world.accepts(node, value));
        let which = match act {
            Act::Probe(which) => which,
            Act::ProbeRetired(value) => {
                let happened = Happened::ProbedRetired(value, takes(value));
                return self.hear(world, rotation, happened, true);
            }
            _ => return None,
        };
        let written = self.rotations.written(rotation);
        let value = match which {
            WhichOne::Old => written.old,
            WhichOne::New => written.new,
        };
        let accepted = takes(value);
        let proves = matches!(written.state, State::Drained | State::Deactivated);
        if proves && value == written.target {
            world.noted.target_taken = accepted == Some(true);
        } else if proves {
            world.noted.source_refused = accepted == Some(false);
        }
        self.hear(world, rotation, Happened::Probed(which, accepted), true)
    }

    fn answered(&self, world: &mut World, answer: Answer) -> Option<()> {
        let Process::Running { rotation, doing: Doing::Send { request, age } } = world.process
        else {
            return None;
        };
        let outcome = match answer {
            Answer::Applied => {
                let full = world.slots.is_some_and(|slots| slots.present().count() >= self.room());
                match (request, self.apply(world, request)?) {
                    (_, Some(name)) => {
                        let value = world.slots?.list()[usize::from(name)].value;
                        Outcome::AddedAs(name, value)
                    }
                    (Request::Add(_), None) if full => Outcome::Refused,
                    _ => Outcome::Applied,
                }
            }
            Answer::Lost => {
                spend(&mut world.left.lost)?;
                world.give_up(request, age).then_some(())?;
                Outcome::Unknown
            }
            Answer::Refused => {
                spend(&mut world.left.refused)?;
                Outcome::Refused
            }
            Answer::RetryAfter => {
                spend(&mut world.left.throttled)?;
                Outcome::RetryAfter
            }
        };
        self.hear(world, rotation, Happened::Answered(request, outcome), true)
    }

    fn pause(&self, world: &mut World) -> Option<()> {
        spend(&mut world.left.pauses)?;
        let Process::Running { rotation, doing } = world.process else { return None };
        let paused = match doing {
            Doing::Write(_) => Paused::Write(self.journaled(rotation)),
            Doing::Act(Act::Publish { list, .. }) => Paused::Publish { list },
            Doing::Send { request, age } => Paused::Send { request, age },
            Doing::Act(act) => Paused::CheckLease { request: self.request(rotation, act)? },
            // What it reads changes nothing, and before it sends or publishes it has to write.
            Doing::Hear(..) => return None,
        };
        world.paused.is_none().then_some(())?;
        world.paused = Some(paused);
        world.process = Process::Gone;
        Some(())
    }

    /// The store turns away whoever lost the lease; a request that was about to go out goes out.
    fn go_on(&self, world: &mut World) -> Option<()> {
        let paused = world.paused.take()?;
        if let Paused::Send { request, age } = paused {
            return world.give_up(request, age).then_some(());
        }
        if let Paused::CheckLease { request } = paused
            && self.breaks(Mutation::LeaseNotChecked)
        {
            return world.give_up(request, 0).then_some(());
        }
        if !self.breaks(Mutation::NoFencing) {
            world.noted.fenced = true;
            return Some(());
        }
        match paused {
            Paused::Write(journal) => world.store.journal = journal,
            Paused::Publish { list } => self.put(world, list),
            Paused::Send { .. } | Paused::CheckLease { .. } => return Some(()),
        }
        world.noted.written_without_lease = true;
        Some(())
    }

    fn forget_late(&self, world: &mut World, index: usize) -> Option<()> {
        world.late[index] = Late::NONE;
        world.late.sort_unstable();
        Some(())
    }

    fn tick(&self, world: &mut World) -> Option<()> {
        match &mut world.slots {
            Some(slots) => slots.tick(self.bounds.window).then_some(())?,
            None => world.server.tick(self.bounds.window).then_some(())?,
        }
        if let Some(bound) = self.bounds.late {
            let mut ages = Vec::new();
            let late = world.late.iter_mut().filter(|one| one.request != Request::None);
            ages.extend(late.map(|one| &mut one.age));
            if let Process::Running { doing: Doing::Send { age, .. }, .. } = &mut world.process {
                ages.push(age);
            }
            if let Some(Paused::Send { age, .. }) = &mut world.paused {
                ages.push(age);
            }
            for age in ages {
                *age += 1;
                (*age < bound).then_some(())?;
            }
        }
        world.store.journal = self.rotations.aged(world.store.journal);
        if let Process::Running { rotation, .. } = &mut world.process {
            *rotation = self.rotations.aged(*rotation);
        }
        if let Some(Paused::Write(journal)) = &mut world.paused {
            *journal = self.rotations.aged(*journal);
        }
        if let Some(several) = self.bounds.several {
            world.noted.deactivated_for =
                (world.noted.deactivated_for + 1).min(several.observation);
        }
        for instance in &mut world.instances {
            instance.quiet = (instance.quiet + 1).min(self.bounds.quiet);
        }
        Some(())
    }

    fn instance(&self, world: &mut World, slot: usize, action: Action) -> Option<()> {
        let published = world.store.revision;
        let early = self.breaks(Mutation::ReadBeforeRegistering);
        let draining = self.is_draining(world);
        let instance = &mut world.instances[slot];
        let deaf = self.bounds.deaf && slot == 0 && instance.generation == 0;
        match action {
            Action::Follow { .. } if deaf => return None,
            Action::Start { .. } => {
                let generation = instance.generation + 1;
                let life = Life::Registered;
                *instance = Instance { life, generation, ..Instance::DEAD };
                if early {
                    (instance.life, instance.holds, instance.hidden) =
                        (Life::Live, published, true);
                }
            }
            Action::Read { .. } => {
                (instance.life, instance.holds) = (Life::Live, published);
            }
            Action::Follow { .. } => {
                instance.holds = published;
                instance.stale &= instance.hidden;
            }
            Action::Report { .. } => {
                instance.hidden = false;
                instance.stale &= instance.holds != published;
                instance.reported = instance.holds;
                instance.told = true;
                instance.told_used |= instance.used;
                instance.used = false;
                instance.quiet_told = instance.quiet;
            }
            Action::Use { .. } => {
                let old = world.store.published().0[1];
                let holds = world.store.lists[usize::from(instance.holds)].holds(old);
                (draining && holds).then_some(())?;
                spend(&mut world.left.uses)?;
                instance.used = true;
                instance.quiet = 0;
            }
            Action::Die { .. } => {
                spend(&mut world.left.deaths)?;
                *instance = Instance { generation: instance.generation, ..Instance::DEAD };
            }
            Action::Nap { .. } => {
                spend(&mut world.left.naps)?;
                instance.life = Life::Away;
                instance.hidden = true;
            }
            Action::Wake { .. } => {
                instance.life = Life::Live;
                instance.stale = true;
            }
            _ => return None,
        }
        Some(())
    }
}

/// One of what may still go wrong.
fn spend(left: &mut u8) -> Option<()> {
    *left = left.checked_sub(1)?;
    Some(())
}
