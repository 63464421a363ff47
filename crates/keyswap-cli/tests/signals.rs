//! A rotation that is interrupted, and output that nobody takes any more.

mod common;

use std::fs::File;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use common::{Embedded, Programs, Site, eventually};
use keyswap_testkit::{Fault, Times};

fn site_with_secret() -> Embedded {
    let embedded = Embedded::start();
    embedded.site.import();
    embedded
}

/// The command of a site whose ends the test chooses itself.
fn process(site: &Site, arguments: &[&str]) -> Process {
    let mut process = Process::new(env!("CARGO_BIN_EXE_keyswap"));
    process.arg(arguments[0]).arg("--config").arg(site.configuration()).args(&arguments[1..]);
    process.env_remove("RUST_LOG").stdin(Stdio::null());
    process
}

#[test]
fn an_interrupted_rotation_says_where_it_stands_and_is_resumed() {
    for signal in ["INT", "TERM", "HUP"] {
        let embedded = site_with_secret();
        let site = &embedded.site;
        let mut rotating = site.command(&["rotate"]).hang_up("default").spawn();
        rotating.until_stderr("Z: billing: 0 of 1");
        rotating.signal(signal);
        let stopped = rotating.wait();
        let goes_on = ["`keyswap resume` goes on", "`keyswap rollback` takes it back"];
        stopped
            .says(3, &["client billing: interrupted in state staged, since 20", "Nothing is lost"]);
        stopped.says(3, &goes_on);
        assert_eq!(site.state().as_deref(), Some("staged"));
        let _programs = Programs::start(site, "billing", 1, 10);
        // The lease was given back.
        site.command(&["resume"]).run().ends_with(0);
        site.is_rotated_from(&site.first_secret());
    }
}

/// How many states the rotation has entered.
fn entered(site: &Site) -> usize {
    site.journal().map_or(0, |journal| journal["entered"].as_array().unwrap().len())
}

/// Interrupts the command as soon as it has entered a state, resumes it, and so on until it is over. How often it
/// was interrupted.
fn interrupted_again_and_again(site: &Site, first: &str) -> usize {
    let mut interrupted = Vec::new();
    for command in std::iter::once(first).chain(std::iter::repeat("resume")).take(20) {
        let before = entered(site);
        let mut running = site.command(&[command]).spawn();
        let ended = eventually("another state", || {
            // Another rotation begins anew.
            let is_there = entered(site) != before && !running.stderr().is_empty();
            (running.ended() || is_there).then(|| running.ended())
        });
        // On the way back, a change that was not sent by then is announced anew: who interrupts each time before it is
        // sent does not come to an end.
        let times = |state| interrupted.iter().filter(|other| **other == state).count();
        if !ended && site.state().is_none_or(|state| times(state) < 2) {
            running.signal("INT");
        }
        let stopped = running.wait();
        if stopped.status.code() == Some(0) {
            return interrupted.len();
        }
        let stands = site.state().unwrap();
        stopped.says(3, &[&format!("interrupted in state {stands}"), "`keyswap resume`"]);
        interrupted.push(stands);
    }
    panic!("no end after interruptions in {interrupted:?}");
}

#[test]
fn interrupted_in_any_state_it_is_resumed_and_no_request_fails() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    let programs = Programs::start(site, "billing", 1, 20);
    for first in ["rollback", "rotate", "retire"] {
        let before = site.published()[0].clone();
        if first != "rotate" {
            site.command(&["rotate", "--hold-at", "drained"]).run().ends_with(3);
        }
        let interrupted = interrupted_again_and_again(site, first);
        // What is left when it is retired may be over before a signal comes.
        assert!(interrupted > 0 || first == "retire", "no signal came before the end");
        match first {
            "rollback" => {
                assert_eq!(site.state().as_deref(), Some("rolled_back"));
                assert_eq!(site.published(), std::slice::from_ref(&old));
                assert!(site.accepts(&old, 12));
            }
            _ => site.is_rotated_from(&before),
        }
    }
    let (requests, failed, _) = programs.stop();
    assert!(requests > 0 && failed == 0, "{failed} of {requests} failed");
}

#[test]
fn a_way_back_that_is_interrupted_says_that_it_goes_on_as_one() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    let programs = Programs::start(site, "billing", 1, 20);
    site.command(&["rotate", "--hold-at", "drained"]).run().ends_with(3);
    programs.stop();
    let mut back = site.command(&["rollback"]).spawn();
    back.until_stderr("Z: billing: 0 of 1");
    back.signal("TERM");
    let goes_on = "It goes on, back to the old secret, with `keyswap resume`";
    let state = site.state().unwrap();
    back.wait().says(3, &[&format!("interrupted in state {state}"), "Nothing is lost", goes_on]);
    assert_eq!(site.published().len(), 2, "both secrets are kept");
    let programs = Programs::start(site, "billing", 1, 20);
    let resumed = site.command(&["resume"]).run();
    assert!(resumed.ends_with(0).stdout.contains("rolled back"), "{resumed:#?}");
    assert_eq!(site.published(), [old]);
    let (requests, failed, _) = programs.stop();
    assert!(requests > 0 && failed == 0, "{failed} of {requests} failed");
}

#[test]
fn a_retirement_that_is_interrupted_says_that_there_is_no_way_back() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    let programs = Programs::start(site, "billing", 1, 20);
    site.command(&["rotate", "--hold-at", "drained"]).run().ends_with(3);
    programs.signal("STOP");
    let mut retiring = site.command(&["retire"]).spawn();
    // It waits for the program, which does not take up the list with one secret.
    site.until_state(&mut retiring, "retired");
    retiring.signal("INT");
    let texts = ["interrupted in state retired", "Nothing is lost", "`keyswap resume` goes on"];
    let stopped = retiring.wait();
    stopped.says(3, &texts).says(3, &["There is no way back any more"]);
    programs.signal("CONT");
    site.command(&["resume"]).run().ends_with(0);
    site.is_rotated_from(&old);
    let (requests, failed, _) = programs.stop();
    assert!(requests > 0 && failed == 0, "{failed} of {requests} failed");
}

#[test]
fn of_several_clients_each_says_where_it_stands_and_no_further_one_is_begun() {
    let embedded = Embedded::of_several(&["billing", "orders", "stock"]);
    let site = &embedded.site;
    let waits = ["billing", "orders"];
    for client in waits {
        let name = format!("name = \"{client}\"");
        site.configure(&name, &format!("{name}\ninstances = 2"));
    }
    let before = site.published_of("stock");
    let mut rotating = site.command(&["rotate", "--all", "--at-once", "2"]).spawn();
    for client in waits {
        rotating.until_stderr(&format!("{client}: 1 of 2 expected instances"));
    }
    rotating.signal("INT");
    let stopped = rotating.wait();
    stopped.says(3, &["2 of 3 clients", "billing, orders; not begun after that: stock"]);
    for client in waits {
        let stands = format!("{client}: stopped (3): client {client}: interrupted in state staged");
        assert!(stopped.stderr.contains(&stands), "{stopped:#?}");
        assert_eq!(site.published_of(client).len(), 2);
    }
    assert_eq!(site.published_of("stock"), before);
    for client in waits {
        let name = format!("name = \"{client}\"");
        site.configure(&format!("{name}\ninstances = 2"), &name);
    }
    site.command(&["resume", "--all"]).run().ends_with(0);
    site.command(&["rotate", "--client", "stock"]).run().ends_with(0);
    for client in ["billing", "orders", "stock"] {
        let published = site.published_of(client);
        assert!(published.len() == 1 && embedded.server().accepts(client, &published[0]));
    }
}

#[test]
fn a_change_that_was_sent_is_waited_for_and_a_second_interruption_waits_for_nothing() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let delay = Duration::from_secs(3600);
    embedded.server().inject(Fault::LatencyAfterChange { delay }, Times::ONCE);
    embedded.idle_instance();
    let mut rotating = site.command(&["rotate"]).spawn();
    eventually("the change", || {
        assert!(!rotating.ended(), "{}", rotating.stderr());
        (embedded.server().counts().changes == 1).then_some(())
    });
    rotating.signal("INT");
    rotating.until_stderr("stopping at the next safe point");
    assert!(!rotating.ended(), "the answer is waited for");
    rotating.signal("INT");
    rotating.wait().says(130, &["interrupted", "journal", "`keyswap resume`"]);
    assert_eq!(site.state().as_deref(), Some("cutting_over"));
}

#[test]
fn before_anything_is_begun_an_interruption_changes_nothing() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let mut asked = site.command(&["rotate"]).at_terminal(80);
    asked.until_shown("begin? [y/N]");
    asked.signal("INT");
    eventually("what it says", || asked.shown().contains("nothing was changed").then_some(()));
    asked.ends_with(3);
    let mut asked = site.command(&["rotate"]).at_its_own_terminal();
    asked.until_shown("begin? [y/N]");
    asked.interrupts();
    asked.ends_with(3);
    assert_eq!(site.state(), None);
}

#[test]
fn a_terminal_that_goes_away_stops_a_rotation_at_a_safe_point() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    // Nobody has said yes yet.
    let mut asked = site.command(&["rotate"]).hang_up("default").at_its_own_terminal();
    asked.until_shown("begin? [y/N]");
    let code = asked.goes_away();
    // The signal, or that there is nobody at the keyboard any more: whichever it hears first.
    assert!([Some(1), Some(3)].contains(&code), "{code:?}");
    assert_eq!(site.state(), None);

    let mut waiting = site.command(&["rotate", "--yes"]).hang_up("default").at_its_own_terminal();
    waiting.until_shown("0 of 1");
    assert_eq!(waiting.goes_away(), Some(3));
    assert_eq!((site.state().as_deref(), site.published().len()), (Some("staged"), 2));

    let programs = Programs::start(site, "billing", 1, 20);
    let mut times = 0;
    loop {
        let before = entered(site);
        let mut resumed = site.command(&["resume"]).hang_up("default").at_its_own_terminal();
        let ended = eventually("another state", || {
            (resumed.ended() || entered(site) > before).then(|| resumed.ended())
        });
        if ended {
            resumed.ends_with(0);
            break;
        }
        match resumed.goes_away() {
            // It was at its end, which it may not have been able to say.
            Some(0 | 1) if site.state().as_deref() == Some("done") => break,
            code => assert_eq!(code, Some(3), "in state {:?}", site.state()),
        }
        times += 1;
        assert!(times < 20);
    }
    site.is_rotated_from(&old);
    let (requests, failed, _) = programs.stop();
    assert!(requests > 0 && failed == 0, "{failed} of {requests} failed");
}

#[test]
fn a_rotation_that_ignores_the_end_of_its_terminal_goes_on_without_one() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let mut rotating = site.command(&["rotate", "--yes"]).hang_up("ignore").at_its_own_terminal();
    rotating.until_shown("0 of 1");
    let _programs = std::thread::scope(|scope| {
        let gone = scope.spawn(|| rotating.goes_away());
        let programs = Programs::start(site, "billing", 1, 20);
        // What it has to say cannot be said any more.
        assert_eq!(gone.join().unwrap(), Some(1));
        programs
    });
    site.is_rotated_from(&site.first_secret());
}

#[test]
fn a_reader_that_has_enough_ends_no_command_and_a_rotation_goes_on_without_it() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let _programs = Programs::start(site, "billing", 1, 10);
    for arguments in
        [&["rotate", "--json"][..], &["history"], &["status", "--json"], &["verify"], &["plan"]]
    {
        let mut child =
            process(site, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), error.as_str()), (Some(0), ""), "{arguments:?}");
    }
    site.is_rotated_from(&site.first_secret());
}

#[test]
fn a_secret_that_nobody_reads_ends_like_any_output_that_nobody_reads() {
    let generate = || {
        let mut process = Process::new(env!("CARGO_BIN_EXE_keyswap"));
        process.args(["generate", "--length", "1024"]).stderr(Stdio::piped());
        process
    };
    // The other end is closed before anything is written, as with `keyswap generate | true`.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let closed = generate().stdout(writer).output().unwrap();
    let said = String::from_utf8(closed.stderr).unwrap();
    assert_eq!((closed.status.code(), said.as_str()), (Some(0), ""));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let full = generate().stdout(full).output().unwrap();
    let said = String::from_utf8(full.stderr).unwrap();
    assert_eq!(full.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the secret cannot be written: standard output: No space left"),
        "{said}"
    );
}

#[test]
fn a_full_disk_is_named_and_a_rotation_comes_to_its_end_all_the_same() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let embedded = site_with_secret();
    let site = &embedded.site;
    let _programs = Programs::start(site, "billing", 1, 10);
    for arguments in [&["rotate", "--json"][..], &["history"], &["status"]] {
        let output = process(site, arguments).stdout(full()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains("standard output cannot be written: No space left"), "{error}");
    }
    site.is_rotated_from(&site.first_secret());
    // Nothing can be said, and nothing is lost by that.
    let old = site.published()[0].clone();
    let rotated = process(site, &["rotate"]).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(rotated.code(), Some(1));
    site.is_rotated_from(&old);
}
