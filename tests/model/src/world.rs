//! One state of the world: the server, what was sent to it and has not arrived, the store, the process of
//! the rotation and the one before it, and the instances.

use crate::bounds::Bounds;
use crate::rotations::{Act, End, Happened, List, NONE, Number, Report, Request, Value};
use crate::slots::{CHOSEN, Slots};

/// One state.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct World {
    pub(crate) server: Server,
    /// In place of that, where the server holds several secrets.
    pub(crate) slots: Option<Slots>,
    /// Requests that were given up and may still be applied.
    pub(crate) late: [Late; 2],
    pub(crate) store: Store,
    pub(crate) process: Process,
    /// Whether a person holds the rotation.
    pub(crate) held: bool,
    /// A process that lost its lease without knowing it, and what it is about to do.
    pub(crate) paused: Option<Paused>,
    pub(crate) instances: [Instance; 2],
    pub(crate) left: Left,
    /// How many rotations were begun.
    pub(crate) begun: u8,
    pub(crate) noted: Noted,
}

/// The server: what was applied, in order, and how far each node has come.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Server {
    applied: [Value; 6],
    length: u8,
    ages: [u8; 6],
    /// In ascending order, since nobody can tell two nodes apart.
    nodes: [u8; 2],
}

/// A request that was given up.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Late {
    pub(crate) request: Request,
    pub(crate) age: u8,
}

impl Late {
    pub(crate) const NONE: Self = Self { request: Request::None, age: 0 };
}

/// What is durable.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Store {
    pub(crate) journal: Number,
    /// The lists that were published, by revision.
    pub(crate) lists: [List; 16],
    pub(crate) revision: u8,
}

impl Store {
    pub(crate) fn published(&self) -> List {
        self.lists[usize::from(self.revision)]
    }
}

/// The process that holds the lease.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Process {
    /// It ended in the middle.
    Gone,
    Running {
        rotation: Number,
        doing: Doing,
    },
    Stopped(End),
}

/// Where a process is between two steps.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Doing {
    /// The record is to be written, and then this is to be done.
    Write(Act),
    Act(Act),
    /// The lease was long enough; the request goes out.
    Send {
        request: Request,
        age: u8,
    },
    /// This happened, and the process has not heard of it; and whether every instance had attested then
    /// that the old secret is unused.
    Hear(Happened, bool),
}

/// What a process that lost its lease goes on with.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Paused {
    Write(Number),
    Publish {
        list: List,
    },
    /// It looked at its lease before.
    Send {
        request: Request,
        age: u8,
    },
    /// It did not yet.
    CheckLease {
        request: Request,
    },
}

/// An instance of the application.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Instance {
    pub(crate) life: Life,
    pub(crate) generation: u8,
    /// The revision that it holds; 0 for none.
    pub(crate) holds: u8,
    /// The revision that it reported last.
    pub(crate) reported: u8,
    /// Came back after its lease was over, and has not both registered and followed since.
    pub(crate) stale: bool,
    /// Lives, and is not registered.
    pub(crate) hidden: bool,
    /// Used the old secret since its last report.
    pub(crate) used: bool,
    /// Its last report is news to the rotation, and its count is.
    pub(crate) told: bool,
    pub(crate) told_used: bool,
    /// For how long it has not used the old secret: now, and when it reported last.
    pub(crate) quiet: u8,
    pub(crate) quiet_told: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Life {
    Dead,
    /// Registered, and has not read a list.
    Registered,
    Live,
    /// Paused past its lease.
    Away,
}

impl Instance {
    pub(crate) const DEAD: Self = Self {
        life: Life::Dead,
        generation: 0,
        holds: 0,
        reported: 0,
        stale: false,
        hidden: false,
        used: false,
        told: false,
        told_used: false,
        quiet: 0,
        quiet_told: 0,
    };

    pub(crate) fn is_seen(&self) -> bool {
        matches!(self.life, Life::Registered | Life::Live) && !self.hidden
    }

    pub(crate) fn report(&self, slot: usize, holds_new: bool) -> Option<Report> {
        self.is_seen().then_some(Report {
            slot: u8::try_from(slot).unwrap(),
            generation: self.generation,
            revision: self.reported,
            newer: self.told,
            used: self.told_used,
            holds_new,
        })
    }

    /// What counts only while the old secret falls out of use.
    pub(crate) fn forget_use(&mut self) {
        self.used = false;
        self.told = false;
        self.told_used = false;
        self.quiet = 0;
        self.quiet_told = 0;
    }
}

/// How much may still go wrong.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Left {
    pub(crate) crashes: u8,
    pub(crate) pauses: u8,
    pub(crate) faults: u8,
    pub(crate) lost: u8,
    pub(crate) refused: u8,
    pub(crate) throttled: u8,
    pub(crate) doubts: u8,
    pub(crate) foreign: u8,
    pub(crate) deaths: u8,
    pub(crate) naps: u8,
    pub(crate) uses: u8,
    pub(crate) rollbacks: u8,
    pub(crate) holds: u8,
}

/// What was seen to happen on the way, for the properties.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Noted {
    pub(crate) confirmed_early: bool,
    pub(crate) drained_unattested: bool,
    pub(crate) written_without_lease: bool,
    pub(crate) retired_unproved: bool,
    /// For how long the old secret has been deactivated, and that it was taken away before its time.
    pub(crate) deactivated_for: u8,
    pub(crate) retired_unobserved: bool,
    /// What the server said last, before the source is retired.
    pub(crate) target_taken: bool,
    pub(crate) source_refused: bool,
    /// Somebody else changed the secret.
    pub(crate) foreign: bool,
    /// And what the programs hold is out of force through that alone, or may be.
    pub(crate) foreign_outage: bool,
    /// What somebody else added was touched.
    pub(crate) foreign_touched: bool,
    /// The server was asked to remove the secret that was added last, and never does that.
    pub(crate) newest_touched: bool,
    /// A secret was added of which no answer told, and more than one.
    pub(crate) unheard: bool,
    pub(crate) doubled: bool,
    /// A request that was given up was applied after the rotation was over.
    pub(crate) late_after_the_end: bool,
    /// One of the way forward was applied on the way back.
    pub(crate) late_on_the_way_back: bool,
    /// Under a hold it was decided to publish, to send or to begin to retire, or who is left behind.
    pub(crate) acted_under_hold: bool,
    /// A process stopped for a hold in mid-rotation.
    pub(crate) held_up: bool,
    /// A request of the rotation before was applied, so that a retired secret is in force.
    pub(crate) returned: bool,
    /// A process without a lease was turned away by the store.
    pub(crate) fenced: bool,
}

impl Server {
    pub(crate) fn new(value: Value) -> Self {
        let mut applied = [NONE; 6];
        applied[0] = value;
        Self { applied, length: 1, ages: [0; 6], nodes: [0; 2] }
    }

    /// What the management plane holds, which is before the nodes do.
    pub(crate) fn target(&self) -> Value {
        self.applied[usize::from(self.length) - 1]
    }

    /// What each node accepts.
    pub(crate) fn accepted(&self) -> [Value; 2] {
        self.nodes.map(|at| self.applied[usize::from(at)])
    }

    /// Everything that a node accepts or will.
    pub(crate) fn values(&self) -> &[Value] {
        &self.applied[..usize::from(self.length)]
    }

    pub(crate) fn apply(&mut self, value: Value) {
        if self.target() != value {
            let end = usize::from(self.length);
            (self.applied[end], self.ages[end]) = (value, 0);
            self.length += 1;
        }
    }

    /// Node `node` takes up the next change, if there is one.
    pub(crate) fn take_up(&mut self, node: usize) -> bool {
        if self.nodes[node] + 1 >= self.length || (node == 0 && self.nodes[0] == self.nodes[1]) {
            // Of two nodes that are equal, the one behind in the array goes first.
            return false;
        }
        self.nodes[node] += 1;
        self.nodes.sort_unstable();
        let past = self.nodes[0];
        self.applied.rotate_left(past.into());
        self.ages.rotate_left(past.into());
        self.length -= past;
        self.nodes.iter_mut().for_each(|at| *at -= past);
        let length = usize::from(self.length);
        self.applied[length..].fill(NONE);
        self.ages[length..].fill(0);
        // How long everybody has held it, nobody asks.
        self.ages[0] = 0;
        true
    }

    /// One tick. Not possible while a node would be later than the window.
    pub(crate) fn tick(&mut self, window: u8) -> bool {
        for entry in 1..usize::from(self.length) {
            self.ages[entry] += 1;
            if self.ages[entry] >= window && usize::from(self.nodes[0]) < entry {
                return false;
            }
            self.ages[entry] = self.ages[entry].min(window);
        }
        true
    }
}

impl World {
    pub(crate) fn new(bounds: &Bounds, journal: Number) -> Self {
        // The rotation before this one retired 0, and a request of it that sets 0 is on its way.
        let old = u8::from(bounds.retired_late);
        let late = match bounds.retired_late {
            true => Late { request: Request::Set(0), age: 0 },
            false => Late::NONE,
        };
        let mut lists = [List([NONE; 3]); 16];
        lists[1] = List::of([old]);
        let live = Instance { life: Life::Live, holds: 1, reported: 1, ..Instance::DEAD };
        let mut instances = [Instance::DEAD; 2];
        instances[..bounds.instances].fill(live);
        Self {
            server: Server::new(old),
            slots: bounds.several.map(|_| Slots::new(0)),
            late: [late, Late::NONE],
            store: Store { journal, lists, revision: 1 },
            process: Process::Gone,
            held: false,
            paused: None,
            instances,
            left: Left {
                crashes: bounds.crashes,
                pauses: bounds.pauses,
                faults: bounds.faults,
                lost: bounds.lost,
                refused: bounds.refused,
                throttled: bounds.throttled,
                doubts: bounds.doubts,
                foreign: bounds.foreign,
                deaths: bounds.deaths,
                naps: bounds.naps,
                uses: bounds.uses,
                rollbacks: bounds.rollbacks,
                holds: bounds.holds,
            },
            begun: 1,
            noted: Noted::default(),
        }
    }

    /// Whether a node of the server takes this secret.
    pub(crate) fn accepts(&self, node: usize, value: Value) -> bool {
        match &self.slots {
            Some(slots) => slots.accepts(node, value),
            None => self.server.accepted()[node] == value,
        }
    }

    /// Whether both do.
    pub(crate) fn all_accept(&self, value: Value) -> bool {
        self.accepts(0, value) && self.accepts(1, value)
    }

    /// A request that was given up is on its way. False if there are as many as the model has room for.
    pub(crate) fn give_up(&mut self, request: Request, age: u8) -> bool {
        let Some(place) = self.late.iter_mut().find(|late| late.request == Request::None) else {
            return false;
        };
        *place = Late { request, age };
        self.late.sort_unstable();
        true
    }

    /// Values that the server holds, or that may yet reach it, and that it did not choose.
    pub(crate) fn may_reach(&self) -> impl Iterator<Item = Value> {
        let late = self.late.map(|late| late.request);
        let sending = match self.process {
            Process::Running { doing: Doing::Send { request, .. }, .. } => request,
            _ => Request::None,
        };
        let paused = match self.paused {
            Some(Paused::Send { request, .. }) => request,
            _ => Request::None,
        };
        let held: Vec<Value> = match &self.slots {
            Some(slots) => slots.present().map(|(_, value)| value).collect(),
            None => self.server.values().to_vec(),
        };
        let asked = late.into_iter().chain([sending, paused]).map(Request::value);
        held.into_iter().chain(asked).filter(|value| *value < CHOSEN)
    }
}
