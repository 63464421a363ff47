//! The server's side where a client has several secrets: each node takes up what was done to each of them
//! in its order, and to different ones in any order.

use std::fmt;

use crate::rotations::{NONE, Value};

/// The room of the model; a name is never used twice.
pub(crate) const SLOTS: usize = 5;
/// A value that the server chose for what it has at `n` is this and `n`.
pub(crate) const CHOSEN: Value = 8;

/// How one of the secrets stands.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Status {
    Absent,
    Active,
    Inactive,
    Gone,
}

/// One of the secrets, as the server lists it; [`NONE`] for one that it does not.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    pub(crate) active: bool,
}

/// The secrets of the client, by the name that the server gave each.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Slots {
    slots: [Slot; SLOTS],
    length: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Slot {
    value: Value,
    changes: [Status; 4],
    ages: [u8; 4],
    length: u8,
    nodes: [u8; 2],
}

impl Slot {
    const NONE: Self =
        Self { value: NONE, changes: [Status::Absent; 4], ages: [0; 4], length: 0, nodes: [0; 2] };

    fn new(value: Value, changes: &[Status]) -> Self {
        let mut slot = Self { value, ..Self::NONE };
        changes.iter().for_each(|status| _ = slot.push(*status));
        slot
    }

    fn status(&self) -> Status {
        self.length.checked_sub(1).map_or(Status::Absent, |last| self.changes[usize::from(last)])
    }

    fn at(&self, node: usize) -> Status {
        self.changes[usize::from(self.nodes[node])]
    }

    fn push(&mut self, status: Status) -> Option<()> {
        *self.changes.get_mut(usize::from(self.length))? = status;
        self.length += 1;
        Some(())
    }

    fn forget_what_is_past(&mut self) {
        let past = self.nodes[0].min(self.nodes[1]);
        self.changes.rotate_left(past.into());
        self.ages.rotate_left(past.into());
        self.length -= past;
        self.nodes.iter_mut().for_each(|at| *at -= past);
        let length = usize::from(self.length);
        self.changes[length..].fill(Status::Absent);
        self.ages[length..].fill(0);
        self.ages[0] = 0;
        if self.length == 1 && self.status() == Status::Gone {
            self.value = NONE;
        }
    }
}

impl Slots {
    pub(crate) fn new(value: Value) -> Self {
        let mut slots = [Slot::NONE; SLOTS];
        slots[0] = Slot::new(value, &[Status::Active]);
        Self { slots, length: 1 }
    }

    /// One more, and its name. `None`: the model has no room.
    pub(crate) fn add(&mut self, value: Value) -> Option<u8> {
        let name = self.length;
        let value = if value == NONE { CHOSEN + name } else { value };
        *self.slots.get_mut(usize::from(name))? =
            Slot::new(value, &[Status::Absent, Status::Active]);
        self.length += 1;
        Some(name)
    }

    /// `None`: the model has no room. What is gone stays so.
    pub(crate) fn change(&mut self, name: u8, to: Status) -> Option<()> {
        let slot = &mut self.slots[usize::from(name)];
        if slot.status() == to || slot.status() == Status::Gone {
            return Some(());
        }
        slot.push(to)
    }

    pub(crate) fn status(&self, name: u8) -> Status {
        self.slots[usize::from(name)].status()
    }

    /// Those that are not gone, with their names.
    pub(crate) fn present(&self) -> impl Iterator<Item = (u8, Value)> {
        let named = (0..).zip(self.slots);
        named.filter(|(_, slot)| is_listed(slot.status())).map(|(name, slot)| (name, slot.value))
    }

    /// The name of the one that was added last.
    pub(crate) fn newest(&self) -> Option<u8> {
        self.present().last().map(|(name, _)| name)
    }

    /// The name of the one with this value.
    pub(crate) fn named(&self, value: Value) -> Option<u8> {
        self.present().find(|(_, held)| *held == value).map(|(name, _)| name)
    }

    pub(crate) fn list(&self) -> [Entry; SLOTS] {
        self.slots.map(|slot| match slot.status() {
            status if is_listed(status) => {
                Entry { value: slot.value, active: status == Status::Active }
            }
            _ => Entry { value: NONE, active: false },
        })
    }

    pub(crate) fn accepts(&self, node: usize, value: Value) -> bool {
        value != NONE
            && self.slots.iter().any(|slot| slot.value == value && slot.at(node) == Status::Active)
    }

    /// Whether every node has taken up everything.
    pub(crate) fn is_settled(&self) -> bool {
        self.slots.iter().all(|slot| slot.length <= 1)
    }

    /// What is not taken up everywhere, with a node that has not.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (u8, usize)> {
        (0..).zip(self.slots).flat_map(|(name, slot)| {
            let late = move |node: &usize| slot.nodes[*node] + 1 < slot.length;
            (0..2).filter(late).map(move |node| (name, node))
        })
    }

    /// The node takes up what was done next to one of the secrets.
    pub(crate) fn take_up(&mut self, name: u8, node: usize) {
        let slot = &mut self.slots[usize::from(name)];
        slot.nodes[node] += 1;
        slot.forget_what_is_past();
        // Nobody can tell two nodes apart.
        let node = |node: usize| self.slots.map(|slot| slot.nodes[node]);
        if node(0) > node(1) {
            self.slots.iter_mut().for_each(|slot| slot.nodes.swap(0, 1));
        }
    }

    /// One tick. Not possible while a node would be later than the window.
    pub(crate) fn tick(&mut self, window: u8) -> bool {
        self.slots.iter_mut().all(|slot| {
            let behind = usize::from(slot.nodes[0].min(slot.nodes[1]));
            (1..usize::from(slot.length)).all(|change| {
                slot.ages[change] = (slot.ages[change] + 1).min(window);
                slot.ages[change] < window || behind >= change
            })
        })
    }
}

fn is_listed(status: Status) -> bool {
    matches!(status, Status::Active | Status::Inactive)
}

/// Each value with what the nodes take it for, and what is yet to come.
impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut slots = f.debug_list();
        for slot in &self.slots[..usize::from(self.length)] {
            let changes = &slot.changes[..usize::from(slot.length)];
            slots.entry(&format_args!("{} {changes:?} {:?}", slot.value, slot.nodes));
        }
        slots.finish()
    }
}
