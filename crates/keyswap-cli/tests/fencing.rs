//! Two rotators of one client. The second one waits its turn; a first one that was stopped past its lease
//! is taken over from, and when it goes on it writes nothing, sends nothing, and says what happened.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use common::{
    Embedded, Output, Programs, Running, STATES, Site, contents, eventually, has_reached,
};
use keyswap_testkit::{Counts, Fault, Times};

fn site_with_a_short_lease() -> Embedded {
    let embedded = Embedded::start();
    embedded.site.configure("[store]\n", "[store]\nlease = \"1s\"\n");
    embedded.site.import();
    embedded
}

/// Waits until the rotation is that far, and stops its process.
fn stop_in(site: &Site, running: &mut Running, state: &str) {
    site.until_reached(running, state);
    running.signal("STOP");
}

/// Resumes until the lease of the stopped process can be taken. A process that was stopped in the middle of a write has to
/// leave that first.
fn take_over_from(site: &Site, stopped: &Running, command: &[&str]) -> Output {
    eventually("the rotation is taken over", || {
        let output = site.command(command).run();
        if output.status.code() == Some(0) || !output.paragraph().contains("holds the lease") {
            return Some(output);
        }
        output.says(3, &["keyswap, process"]);
        if output.paragraph().contains("in the middle of a write") {
            stopped.signal("CONT");
            std::thread::sleep(Duration::from_micros(500));
            stopped.signal("STOP");
        }
        None
    })
}

/// What a rotator writes to. Reports of the programs are theirs.
fn written(site: &Site) -> BTreeMap<PathBuf, Vec<u8>> {
    let instances = site.client_directory().join("instances");
    let mut written = contents(&site.client_directory());
    written.retain(|path, _| !path.starts_with(&instances));
    written
}

fn sign_ins(counts: &Counts) -> u64 {
    counts.token_accepted + counts.token_refused + counts.token_failed
}

#[test]
fn of_two_rotators_that_start_at_once_one_rotates_and_the_other_ends_with_code_3() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    // No program is there yet, so whoever is first waits.
    let mut both: Vec<_> = (0..2).map(|_| site.command(&["rotate"]).spawn()).collect();
    let second = eventually("one of them ends", || both.iter_mut().position(Running::ended));
    let held = ["keyswap, process", "holds the lease", "`keyswap resume`"];
    both.remove(second).wait().says(3, &held);
    let mut first = both.remove(0);
    site.until_state(&mut first, "staged");
    for command in ["rotate", "resume"] {
        site.command(&[command]).run().says(3, &held);
    }
    let old = site.first_secret();
    let programs = Programs::start(site, "billing", 1, 20);
    first.wait().ends_with(0);
    site.is_rotated_from(&old);
    assert_eq!(programs.stop().1, 0);
}

#[test]
fn a_rotator_stopped_for_less_than_somebody_else_needs_it_goes_on() {
    let embedded = site_with_a_short_lease();
    let site = &embedded.site;
    let programs = Programs::start(site, "billing", 1, 20);
    let mut first = site.command(&["rotate"]).spawn();
    stop_in(site, &mut first, "adopted");
    // Longer than its lease: nobody takes it.
    std::thread::sleep(Duration::from_millis(1200));
    first.signal("CONT");
    first.wait().ends_with(0);
    site.is_rotated_from(&site.first_secret());
    assert_eq!(programs.stop().1, 0);
}

/// One rotation that is stopped in this state and taken over, under load. Gives whether there was anything to take over: the
/// last states are over soon, and a test that gets no turn meanwhile finds nothing left to stop.
fn stopped_and_taken_over(state: &str, fault: Option<Fault>, load_to_the_end: bool) -> bool {
    let embedded = site_with_a_short_lease();
    let site = &embedded.site;
    let old = site.first_secret();
    let mut programs = Some(Programs::start(site, "billing", 1, 40));
    if let Some(fault) = fault {
        embedded.server().inject(fault, Times::ONCE);
    }
    // The last states are over in no time, unless a program does not take up the list with one secret.
    let retires = ["retiring", "retired"].contains(&state);
    if retires {
        site.command(&["rotate", "--hold-at", "drained"]).run().ends_with(3);
        programs.as_ref().unwrap().signal("STOP");
    }
    let mut first = site.command(&[if retires { "retire" } else { "rotate" }]).spawn();
    site.until(&mut first, state, |now| now == "done" || has_reached(now, state));
    first.signal("STOP");
    let stopped_in = site.state().unwrap();
    if stopped_in == "done" {
        first.signal("CONT");
        first.wait().ends_with(0);
        return false;
    }
    if retires {
        let waits = take_over_from(site, &first, &["resume", "--patience", "1ms"]);
        waits.says(3, &["in state retired"]);
        programs.as_ref().unwrap().signal("CONT");
    }
    let taken_over = take_over_from(site, &first, &["resume"]);
    if taken_over.status.code() == Some(1) && taken_over.paragraph().contains("nothing to resume") {
        // It was let go on out of a write, and came to its end.
        first.signal("CONT");
        first.wait().ends_with(0);
        return false;
    }
    taken_over.ends_with(0);
    assert_eq!(site.state().as_deref(), Some("done"));

    let mut requests = 0;
    let mut stop = |programs: Programs| {
        let (of_programs, failed, _) = programs.stop();
        assert_eq!(failed, 0, "of {of_programs} requests, stopped in {stopped_in}");
        requests = of_programs;
    };
    if !load_to_the_end {
        stop(programs.take().unwrap());
    }
    let (before, counts) = (written(site), embedded.server().counts());
    first.signal("CONT");
    let output = first.wait();
    output.says(6, &["took over with epoch", "nothing was written", "keyswap resume"]);
    assert!(before == written(site), "stopped in {stopped_in}, and then it wrote: {output:#?}");
    let after = embedded.server().counts();
    assert_eq!(
        after.changes, counts.changes,
        "stopped in {stopped_in}, and then it changed the secret"
    );
    // One that only asks may have been in the hands of the HTTP client when the process was stopped.
    let asked = after.management_requests - counts.management_requests;
    if load_to_the_end {
        // Sign-ins of the programs go on, and cannot be told from its probes.
        assert!(asked <= 1, "stopped in {stopped_in}: {counts:?}, and then {after:?}");
        stop(programs.take().unwrap());
    } else {
        let probed = sign_ins(&after) - sign_ins(&counts);
        assert!(asked + probed <= 1, "stopped in {stopped_in}: {counts:?}, and then {after:?}");
    }
    println!("asked for {state}, stopped in {stopped_in}: {requests} requests, none failed");
    assert!(requests > 20, "the load was real");
    site.is_rotated_from(&old);
    true
}

#[test]
fn a_rotator_that_was_stopped_past_its_lease_writes_and_sends_nothing_more() {
    for (number, state) in STATES.into_iter().enumerate() {
        let in_time = (0..3).any(|_| stopped_and_taken_over(state, None, number % 2 == 0));
        assert!(in_time, "it is over before {state} is seen, each time");
    }
}

#[test]
fn a_rotator_that_was_stopped_while_it_waits_for_the_answer_to_its_change_sends_nothing_more() {
    let fault = Fault::LatencyAfterChange { delay: Duration::from_secs(2) };
    assert!(stopped_and_taken_over("cutting_over", Some(fault), false));
}
