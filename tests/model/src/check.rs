//! Checks a world to its end, and tells what it was like.

use std::thread;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::bounds::Bounds;
use crate::rules::{Action, Rules};
use crate::search::search;
use crate::world::Process;

/// Nothing that must not happen is found, everything that should be reached is, and from everywhere the
/// rotation can come to its end.
pub(crate) fn check(name: &str, bounds: Bounds) {
    let begun = Instant::now();
    // The search has one thread: beside the checker it leaves no core idle.
    let (checker, searched) = thread::scope(|scope| {
        let searching = scope.spawn(|| search(&Rules::new(bounds)));
        let checker = Rules::new(bounds).checker().threads(2).spawn_bfs().join();
        (checker, searching.join().unwrap())
    });
    let rules = checker.model();
    let (rotations, steps) = rules.rotations.count();
    println!(
        "{name}: {} states, {} transitions, depth {}; {rotations} distinct rotations, {steps} distinct \
         steps of them; {:.1} s",
        checker.unique_state_count(),
        checker.state_count() - 1,
        checker.max_depth(),
        begun.elapsed().as_secs_f32()
    );
    let discoveries = checker.discoveries();
    for property in rules.properties() {
        let found = discoveries.get(property.name);
        if property.expectation == Expectation::Sometimes {
            assert!(found.is_some(), "{name}: never: {}", property.name);
        } else if let Some(path) = found {
            tell(rules, path.clone().into_actions());
            panic!("{name}: {}", property.name);
        }
    }
    let states = checker.unique_state_count();
    println!("{name}: it can end from each state, in one of {} ways", searched.ends);
    if let Some(path) = searched.endless {
        tell(rules, path);
        panic!("{name}: it does not end");
    }
    assert_eq!(searched.states, states, "{name}: both searches see the same states");
}

/// What must not happen and does, and how.
pub(crate) fn first_violation(bounds: Bounds) -> Option<(&'static str, Vec<Action>)> {
    let checker = Rules::new(bounds)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let rules = checker.model();
    let always = rules.always();
    let found = checker
        .discoveries()
        .into_iter()
        .find(|(name, _)| always.iter().any(|property| property.name == *name));
    match found {
        Some((name, path)) => Some((name, path.into_actions())),
        None => search(rules).endless.map(|path| ("it can end from each state", path)),
    }
}

/// Prints what happened, and what came of each.
fn tell(rules: &Rules, path: Vec<Action>) {
    let mut world = rules.first();
    for action in path {
        world = rules.next(&world, action).unwrap();
        let doing = match world.process {
            Process::Running { doing, .. } => format!("{doing:?}"),
            other => format!("{other:?}"),
        };
        let written = rules.rotations.written(world.store.journal);
        println!(
            "  {action:?}: {} {:?}, list {:?} at {}, nodes {:?} of {:?}, {}late {:?}, holds {:?}, {doing}",
            written.state,
            written.stuck,
            world.store.published().0,
            world.store.revision,
            world.server.accepted(),
            world.server.values(),
            world.slots.map_or(String::new(), |slots| format!("{slots}, ")),
            world.late.map(|late| late.request),
            world.instances.map(|one| (one.life, one.holds, one.reported)),
        );
    }
}
