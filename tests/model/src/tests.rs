//! The worlds that are checked.

use crate::bounds::{Bounds, Console, Several, Shows};
use crate::check::{check, first_violation};
use crate::mutation::Mutation;
use crate::rotations::FOREIGN;

const CALM: Bounds = Bounds::CALM;
const ALONE: Bounds = Bounds { instances: 1, expected: 1, ..CALM };
const LISTED: Several = Several::LISTED;
/// As Entra and Zitadel are: the server chooses the value, and keeps a text with it.
const CHOSEN: Several = Several { shows: Shows::Text, chooses: true, ..LISTED };
const HIDDEN: Several = Several { shows: Shows::Nothing, ..LISTED };
/// The next rotation, by a server that may yet receive what the one before sent.
const TWICE: Bounds = Bounds {
    rotations: 2,
    instances: 1,
    expected: 1,
    in_flight: 5,
    late: Some(5),
    late_write: 6,
    ..CALM
};
/// One rotation, where what is given up arrives within the in-flight bound or never.
const BACK: Bounds = Bounds { rotations: 1, in_flight: 3, late: Some(3), ..TWICE };

/// A retired secret comes into force once more.
const RETURNS: Bounds = Bounds { retired_late: true, ..ALONE };

/// The larger worlds of one test: all, a part, or none, as `KEYSWAP_MODEL` says.
struct Larger {
    part: usize,
    of: usize,
    seen: usize,
}

impl Larger {
    /// `None` where they are not asked for.
    fn worlds() -> Option<Self> {
        let Ok(wanted) = std::env::var("KEYSWAP_MODEL") else {
            println!("the larger worlds are not checked: KEYSWAP_MODEL is not set");
            return None;
        };
        let (part, of) = if wanted == "all" { (0, 1) } else { Self::part(&wanted) };
        Some(Self { part, of, seen: 0 })
    }

    /// `1/3` is the second of three parts.
    fn part(wanted: &str) -> (usize, usize) {
        let part = wanted.split_once('/');
        let part = part.and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        let part = part.filter(|(part, of)| part < of);
        part.unwrap_or_else(|| panic!("KEYSWAP_MODEL is {wanted}, and not `all` or `1/3`"))
    }

    /// Whether the next world is of this part.
    fn takes_next(&mut self) -> bool {
        self.seen += 1;
        (self.seen - 1) % self.of == self.part
    }

    fn check(&mut self, name: &str, bounds: Bounds) {
        if self.takes_next() {
            check(name, bounds);
        } else {
            println!("{name}: of another part");
        }
    }
}

#[test]
fn a_rotation_survives_what_may_go_wrong_in_a_small_world() {
    check("crash, lost answer", Bounds { crashes: 1, lost: 1, ..CALM });
    check(
        "lost answer, slow answers, no read back",
        Bounds { lost: 1, slow_answers: true, read_back: false, ..CALM },
    );
    check("foreign change, mended", Bounds { foreign: 1, mended: true, ..CALM });
    check(
        "foreign change, mended, crash",
        Bounds { foreign: 1, mended: true, crashes: 1, ..ALONE },
    );
    check(
        "old secret put back, mended",
        Bounds { foreign: 1, foreign_value: 0, mended: true, ..CALM },
    );
    check("instance paused", Bounds { naps: 1, expected: 1, ..CALM });
    check("instance replaced", Bounds { deaths: 1, ..CALM });
    check("rollback", Bounds { rollbacks: 1, ..CALM });
    check("a retired secret returns, crash", Bounds { crashes: 1, ..RETURNS });
    check("a retired secret returns, no read back", Bounds { read_back: false, ..RETURNS });
    check("two rotations, lost answer, crash", Bounds { lost: 1, crashes: 1, ..TWICE });
}

#[test]
fn a_rotation_survives_what_may_go_wrong_in_larger_worlds() {
    let Some(mut larger) = Larger::worlds() else { return };
    larger.check("paused rotator", Bounds { pauses: 1, faults: 1, ..CALM });
    larger.check("more lost than may be sent", Bounds { crashes: 2, lost: 1, sends: 2, ..CALM });
    larger.check(
        "refused, throttled, in doubt",
        Bounds { refused: 1, throttled: 1, doubts: 1, lost: 1, ..CALM },
    );
    larger.check("old secret used, slow answers", Bounds { uses: 1, slow_answers: true, ..CALM });
    larger.check("rollback, lost answer", Bounds { rollbacks: 1, lost: 1, ..BACK });
    larger.check("a retired secret returns, rollback", Bounds { rollbacks: 1, ..RETURNS });
    // 2 nodes, 2 instances, and each of these once.
    let all = Bounds { crashes: 1, lost: 1, foreign: 1, foreign_value: FOREIGN, ..CALM };
    larger.check("crash, lost answer, late write, foreign change", all);
    larger.check("the same, no read back", Bounds { read_back: false, ..all });
    // Also with what a person makes of it.
    let mended = Bounds { foreign: 1, mended: true, crashes: 1, ..CALM };
    larger.check("foreign change, mended, crash, two instances", mended);
    larger.check("the same, no read back", Bounds { read_back: false, ..mended });
    larger.check("foreign change, mended, lost answer", Bounds { lost: 1, crashes: 0, ..mended });
    let twice = Bounds { lost: 1, foreign: 1, mended: true, crashes: 1, ..ALONE };
    larger.check("foreign change, mended, lost answer, crash", twice);
}

fn several(several: Several) -> Bounds {
    Bounds { several: Some(several), ..ALONE }
}

/// Where a person does this at the console.
fn at_the_console(console: Console) -> Bounds {
    Bounds { foreign: 1, ..several(Several { console, ..LISTED }) }
}

#[test]
fn a_rotation_at_a_server_with_several_secrets_survives_what_may_go_wrong_in_a_small_world() {
    let listed = several(LISTED);
    check("several secrets, crash", Bounds { crashes: 1, ..listed });
    check("several secrets, lost answer", Bounds { lost: 1, ..listed });
    check("several secrets, no deactivation", several(Several { deactivation: false, ..LISTED }));
    check("several secrets, values chosen, lost answer", Bounds { lost: 1, ..several(CHOSEN) });
    check("several secrets, nothing shown, lost answer", Bounds { lost: 1, ..several(HIDDEN) });
    let newest_stays = several(Several::NEWEST_STAYS);
    check("several secrets, the newest stays, lost answer", Bounds { lost: 1, ..newest_stays });
    check("several secrets, the newest stays, rollback", Bounds { rollbacks: 1, ..newest_stays });
    check("several secrets, somebody adds one", at_the_console(Console::Adds));
    check("several secrets, somebody removes the old one", at_the_console(Console::RemovesOld));
    check("several secrets, the old one is put back", at_the_console(Console::ActivatesOld));
    let deactivated = at_the_console(Console::DeactivatesNew);
    check("several secrets, the new one is put back", Bounds { mended: true, ..deactivated });
}

#[test]
fn a_rotation_at_a_server_with_several_secrets_survives_what_may_go_wrong_in_larger_worlds() {
    let Some(mut larger) = Larger::worlds() else { return };
    let listed = several(LISTED);
    larger.check("several secrets, two instances", Bounds { instances: 2, expected: 2, ..listed });
    let lost = Bounds { crashes: 1, lost: 1, late: Some(2), ..listed };
    larger.check("several secrets, crash, lost answer", lost);
    larger.check("several secrets, values chosen, crash", Bounds { crashes: 1, ..several(CHOSEN) });
    let unheard = several(Several { shows: Shows::Nothing, ..CHOSEN });
    larger.check("several secrets, values chosen, nothing shown", Bounds { lost: 1, ..unheard });
    let full = several(Several { room: 2, ..LISTED });
    larger.check("several secrets, room for two", Bounds { lost: 1, refused: 1, ..full });
    larger.check("several secrets, rollback", Bounds { rollbacks: 1, ..listed });
    let late = Bounds { in_flight: 2, late: Some(2), ..listed };
    larger
        .check("several secrets, rollback, lost answer", Bounds { rollbacks: 1, lost: 1, ..late });
    let stays = Bounds { rollbacks: 1, lost: 1, crashes: 1, ..several(Several::NEWEST_STAYS) };
    larger.check("several secrets, the newest stays, rollback, lost answer, crash", stays);
    let removed = at_the_console(Console::RemovesNew);
    larger.check("several secrets, the new one is removed", Bounds { rollbacks: 1, ..removed });
}

#[test]
fn a_rotation_that_a_person_holds_goes_on_when_it_is_released_and_not_before() {
    check("hold, crash", Bounds { holds: 1, crashes: 1, ..ALONE });
    check("several secrets, hold", Bounds { holds: 1, ..several(LISTED) });
    if let Some(mut larger) = Larger::worlds() {
        larger.check("hold, lost answer, two instances", Bounds { holds: 1, lost: 1, ..CALM });
        larger.check("hold, rollback", Bounds { holds: 1, rollbacks: 1, ..ALONE });
    }
}

#[test]
fn a_compromised_rotation_waits_for_nobody_and_names_first_whom_it_leaves_behind() {
    let deaf = Bounds { compromised: Some(1), deaf: true, ..CALM };
    let alone = Bounds { instances: 1, expected: 1, ..deaf };
    check("compromised, one of two is deaf", deaf);
    check("compromised, deaf, crash", Bounds { crashes: 1, ..alone });
    check("compromised, deaf, hold", Bounds { holds: 1, ..alone });
    let several = Bounds { several: Some(LISTED), ..alone };
    check("several secrets, compromised, deaf", several);
    check("several secrets, compromised, deaf, crash", Bounds { crashes: 1, ..several });
    if let Some(mut larger) = Larger::worlds() {
        larger.check("compromised, replaced", Bounds { deaths: 1, deaf: false, ..deaf });
        larger.check("compromised, lost answer", Bounds { lost: 1, crashes: 1, ..deaf });
        larger.check("compromised, rollback", Bounds { rollbacks: 1, deaf: false, ..alone });
        let pair = Bounds { instances: 2, expected: 2, lost: 1, ..several };
        larger.check("several secrets, compromised, lost answer", pair);
    }
}

#[test]
fn each_guard_that_is_broken_is_found() {
    let missed: Vec<Mutation> = Mutation::ALL
        .into_iter()
        .filter(|mutation| match first_violation(mutation.world()) {
            Some((property, path)) => {
                println!("{mutation:?}: found in {} steps: {property}", path.len());
                false
            }
            None => true,
        })
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn nothing_is_found_where_no_guard_is_broken() {
    let Some(mut larger) = Larger::worlds() else { return };
    // Several guards are broken in the same world.
    let mut seen = Vec::new();
    for mutation in Mutation::ALL {
        let world = mutation.unbroken_world();
        if seen.contains(&world) {
            continue;
        }
        seen.push(world);
        // The way back with several secrets is one of the larger worlds.
        let too_large = world.several.is_some() && world.rollbacks > 0;
        if !too_large && larger.takes_next() {
            let found = first_violation(world);
            assert!(found.is_none(), "{mutation:?}: {found:?}");
        }
    }
}
