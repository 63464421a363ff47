//! Whether a rotation always ends.
//!
//! The checker's own `eventually` sees no cycles, and a rotation that waits is one. What goes wrong is
//! bounded, so after some time only ordinary things happen; if an end can be reached by ordinary things
//! from every state, a run in which each ordinary thing happens that could happen again and again
//! cannot stay away from all ends for ever. So: the whole graph, and a search backwards from its ends.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::rules::{Action, Rules};
use crate::world::World;

/// What was found.
pub(crate) struct Searched {
    pub(crate) states: usize,
    pub(crate) ends: usize,
    /// How a state is reached from which no end can be reached by ordinary things.
    pub(crate) endless: Option<Vec<Action>>,
}

/// Explores every state, and says from which no end can be reached.
pub(crate) fn search(rules: &Rules) -> Searched {
    let first = rules.first();
    let mut numbers = HashMap::from([(hash(&first), 0_u32)]);
    let mut queue = VecDeque::from([(0_u32, first)]);
    let mut parents = vec![(0_u32, 0_u8)];
    // From where to where, by ordinary things.
    let mut ordinary: Vec<(u32, u32)> = Vec::new();
    let mut reaches = vec![rules.is_over(&first)];
    let mut actions = Vec::new();
    while let Some((number, world)) = queue.pop_front() {
        actions.clear();
        rules.actions(&world, &mut actions);
        for (choice, action) in (0..).zip(actions.drain(..)) {
            let Some(after) = rules.next(&world, action) else { continue };
            let fresh = u32::try_from(parents.len()).unwrap();
            let to = *numbers.entry(hash(&after)).or_insert(fresh);
            if to == fresh {
                parents.push((number, choice));
                reaches.push(rules.is_over(&after));
                queue.push_back((to, after));
            }
            if action.is_ordinary() {
                ordinary.push((to, number));
            }
        }
    }
    let states = parents.len();
    let ends = reaches.iter().filter(|end| **end).count();
    backwards(&mut ordinary, &mut reaches);
    let endless = reaches.iter().position(|reached| !reached);
    Searched { states, ends, endless: endless.map(|state| path(rules, &parents, state)) }
}

/// Marks whatever leads to a state that is marked.
fn backwards(edges: &mut [(u32, u32)], reaches: &mut [bool]) {
    edges.sort_unstable();
    let mut starts = vec![0_usize; reaches.len() + 1];
    for (to, _) in edges.iter() {
        starts[*to as usize + 1] += 1;
    }
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let mut stack: Vec<usize> = (0..reaches.len()).filter(|state| reaches[*state]).collect();
    while let Some(to) = stack.pop() {
        for (_, from) in &edges[starts[to]..starts[to + 1]] {
            let from = *from as usize;
            if !reaches[from] {
                reaches[from] = true;
                stack.push(from);
            }
        }
    }
}

/// Replays how state `to` was reached.
fn path(rules: &Rules, parents: &[(u32, u8)], mut to: usize) -> Vec<Action> {
    let mut choices = Vec::new();
    while to != 0 {
        let (from, choice) = parents[to];
        choices.push(choice);
        to = from as usize;
    }
    let mut world = rules.first();
    let mut path = Vec::new();
    for choice in choices.into_iter().rev() {
        let mut actions = Vec::new();
        rules.actions(&world, &mut actions);
        let action = actions[usize::from(choice)];
        world = rules.next(&world, action).unwrap();
        path.push(action);
    }
    path
}

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}
