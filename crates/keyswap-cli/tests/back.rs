//! What a person does with a rotation that is under way: taking it back, retiring, confirming.

mod common;

use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use common::{CLIENT, DevServer, Embedded, Output, Programs, Site, eventually};
use keyswap_testkit::{Endpoint, Fault, Times};

fn site_with_secret() -> Embedded {
    let embedded = Embedded::start();
    embedded.site.import();
    embedded
}

fn rollback(site: &Site) -> Output {
    site.command(&["rollback"]).run()
}

/// Kills a command when the journal tells of this state, or of one that follows.
fn killed_in(site: &Site, command: &[&str], state: &str) {
    let mut running = site.command(command).spawn();
    site.until_reached(&mut running, state);
    running.kill();
    running.wait();
}

fn stop(programs: Programs) {
    let (requests, failed, _) = programs.stop();
    assert!(requests > 0 && failed == 0, "{failed} of {requests} failed");
}

/// Makes the journal as it is when the time for requests in flight has passed.
fn let_ten_minutes_pass(site: &Site) {
    let mut journal = site.journal().unwrap();
    for change in ["/change/last_sent", "/rollback/forward/last_sent"] {
        let sent = journal.pointer_mut(change).unwrap();
        *sent = sent.as_u64().unwrap().saturating_sub(601_000).into();
    }
    let text = serde_json::to_vec_pretty(&journal).unwrap();
    std::fs::write(site.client_directory().join("rotation.json"), text).unwrap();
}

#[test]
fn a_rotation_that_waits_for_somebody_who_never_comes_is_rolled_back_without_the_server() {
    let mut embedded = site_with_secret();
    let old = embedded.site.first_secret();
    embedded.site.configure("instances = 1", "instances = 2");
    embedded.site.command(&["rotate", "--patience", "1ms"]).run().ends_with(3);
    assert_eq!(embedded.site.published().len(), 2);
    embedded.die();
    let output = rollback(&embedded.site);
    output.ends_with(0);
    // What it will do stands before what it did.
    let said = output.stderr.find("list will hold it alone again, and the new one is forgotten");
    assert!(said < output.stderr.find("rolled_back"), "{output:#?}");
    assert!(output.stdout.contains("client billing: rolled back."), "{output:#?}");
    embedded.site.is_rolled_back_to(&old, "generated staged withdrawing rolled_back");
    let status = embedded.site.command(&["status"]).run();
    assert!(status.stdout.contains("rolled_back on the way back"), "{status:#?}");
    let again = rollback(&embedded.site);
    again.says(1, &[CLIENT, "rolled_back", "nothing is left to do"]);
    let resumed = embedded.site.command(&["resume"]).run();
    resumed.says(1, &[CLIENT, "was rolled back", "nothing to resume"]);
}

#[test]
fn a_rotation_whose_new_secret_is_in_force_is_rolled_back_under_load() {
    let server = DevServer::start();
    let site = &server.site;
    site.configure("instances = 1", "instances = 2");
    site.is_slow();
    site.import();
    let old = site.first_secret();
    let programs = Programs::start(site, CLIENT, 2, 40);
    for state in ["cutting_over", "cut_over", "promoted", "drained"] {
        match state {
            // It lasts until a person looks.
            "drained" => drop(site.command(&["rotate", "--hold-at", state]).run().ends_with(3)),
            // The process may be killed before the answer comes, or after it.
            _ => killed_in(site, &["rotate"], state),
        }
        // It is killed on its way back as well, and resumed as a rollback.
        let mut running = site.command(&["rollback"]).spawn();
        eventually("the way back", || {
            let journal = site.journal().unwrap();
            assert!(!running.ended(), "{}", running.stderr());
            (journal["rollback"].is_object() && journal["state"] == "cut_over").then_some(())
        });
        running.kill();
        running.wait();
        let unfinished = site.command(&["rotate"]).run();
        unfinished.says(1, &["has not come to its end", "`keyswap resume`"]);
        if site.journal().unwrap()["rollback"]["forward"]["unresolved"] == true {
            let waits = site.command(&["resume", "--patience", "5s"]).run();
            waits.says(3, &["state drained", "had no answer and may still arrive for"]);
            assert_eq!(site.published().len(), 2, "both secrets are kept until then");
            let_ten_minutes_pass(site);
        }
        let resumed = site.command(&["resume", "--json"]).run();
        resumed.ends_with(0);
        let last = resumed.json_lines().pop().unwrap();
        assert_eq!((&last["event"], &last["rolled_back"]), (&"finished".into(), &true.into()));
        assert_eq!(site.published(), std::slice::from_ref(&old));
        assert!(site.accepts(&old, 12));
    }
    site.command(&["rotate"]).run().ends_with(0);
    site.is_rotated_from(&old);
    stop(programs);
}

#[test]
fn a_rotation_that_is_over_is_not_rolled_back() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    rollback(site).says(1, &[CLIENT, "there is no rotation", "nothing was changed"]);
    let programs = Programs::start(site, CLIENT, 1, 20);
    site.command(&["rotate", "--hold-at", "drained"]).run().ends_with(3);
    // So that it lasts: nobody takes up the list with one secret.
    programs.signal("STOP");
    killed_in(site, &["retire"], "retired");
    programs.signal("CONT");
    let texts = [CLIENT, "no way back", "`keyswap resume`", "`keyswap rotate`"];
    rollback(site).says(1, &texts);
    site.command(&["resume"]).run().ends_with(0);
    rollback(site).says(1, &[CLIENT, "is done", "`keyswap rotate`"]);
    site.is_rotated_from(&site.first_secret());
    stop(programs);
}

#[test]
fn a_foreign_secret_at_the_server_is_replaced_by_the_old_one_when_a_person_rolls_back() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    let foreign = "6oU3hYb2Qm8Zr1Tn5Wk9";
    site.vault.add(foreign);
    site.is_slow();
    embedded.idle_instance();
    let mut rotating = site.command(&["rotate"]).spawn();
    site.until_state(&mut rotating, "cut_over");
    embedded.server().set_secret(CLIENT, foreign);
    rotating.wait().says(6, &["somebody else", "roll back", "`keyswap rollback`"]);
    eventually("the nodes agree", || embedded.server().settled(CLIENT).then_some(()));
    rollback(site).ends_with(0);
    assert!(site.accepts(&old, 12) && !site.accepts(foreign, 12));
    assert_eq!(site.published(), [old]);
}

#[test]
fn a_server_that_refuses_the_way_back_is_mended_and_the_rollback_resumed() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    site.is_slow();
    let programs = Programs::start(site, CLIENT, 1, 20);
    killed_in(site, &["rotate"], "promoted");
    let limited = Fault::RateLimited {
        endpoint: Endpoint::UpdateClient,
        retry_after: Some(Duration::from_secs(1)),
        reset_after: None,
    };
    embedded.server().inject(limited, Times::ONCE);
    rollback(site).ends_with(0);
    assert_eq!(site.published(), [site.first_secret()]);
    stop(programs);
}

#[test]
fn a_rotation_that_holds_at_drained_ends_with_3_and_is_retired_by_a_command() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    let programs = Programs::start(site, CLIENT, 1, 20);
    let texts = [CLIENT, "is unused", "`keyswap retire`", "`keyswap rollback`"];
    let held = site.command(&["rotate", "--hold-at", "drained"]).run();
    held.says(3, &texts);
    assert_eq!((site.published().len(), site.state().as_deref()), (2, Some("drained")));
    site.command(&["resume"]).run().says(3, &texts);
    let status = site.command(&["status"]).run();
    assert!(status.stdout.contains("`keyswap retire`"), "{status:#?}");
    site.command(&["retire"]).run().ends_with(0);
    site.is_rotated_from(&old);
    site.command(&["retire"]).run().says(1, &["is in state done", "nothing was changed"]);
    stop(programs);
}

#[test]
fn an_old_secret_that_may_be_in_use_is_not_retired() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    site.command(&["retire"]).run().says(1, &[CLIENT, "there is no rotation"]);
    site.command(&["rotate", "--patience", "1ms"]).run().ends_with(3);
    let texts = [CLIENT, "state staged", "nothing was changed", "`keyswap resume`"];
    site.command(&["retire"]).run().says(1, &texts);
    assert_eq!(site.published().len(), 2);
}

#[test]
fn a_retired_secret_that_returns_in_mid_rotation_is_published_and_a_person_goes_on_or_back() {
    for (command, ends_in) in [("resume", "done"), ("rollback", "rolled_back")] {
        let embedded = site_with_secret();
        let site = &embedded.site;
        let waits = "quiet_period = \"250ms\"";
        site.configure(waits, &format!("{waits}\nin_flight_bound = \"1s\""));
        let old = site.first_secret();
        let programs = Programs::start(site, CLIENT, 1, 40);
        site.command(&["rotate"]).run().ends_with(0);
        let [second] = site.published().try_into().unwrap();
        site.command(&["rotate", "--hold-at", "drained"]).run().ends_with(3);
        let [third, _] = site.published().try_into().unwrap();

        embedded.server().set_secret(CLIENT, &old);
        eventually("the nodes agree", || embedded.server().settled(CLIENT).then_some(()));
        assert!(!site.accepts(&third, 12), "nobody can sign in");
        let found = site.command(&["retire"]).run();
        let texts =
            [CLIENT, "an earlier rotation retired", "in the list again", "`keyswap resume`"];
        found.says(6, &texts);
        found.says(6, &["`keyswap rollback`", "both secrets of this rotation"]);
        assert_eq!(site.published(), [old.as_str(), &third, &second]);
        assert!(site.accepts(&old, 12), "nothing is changed at the server without a word");
        let status = site.command(&["status"]).run();
        assert!(status.stdout.contains("It is in the list again"), "{status:#?}");
        let revision = site.journal().unwrap()["revision"].as_u64();
        eventually("the program holds it", || {
            let mut instances = site.status().instances.into_iter();
            instances.any(|one| one.live && one.revision == revision).then_some(())
        });
        programs.stop();

        let others = Programs::start(site, CLIENT, 2, 40);
        site.command(&[command]).run().ends_with(0);
        let (stays, goes) = match command {
            "resume" => (third, second),
            _ => (second, third),
        };
        assert_eq!(site.published(), [stays.as_str()]);
        assert!(site.accepts(&stays, 12) && !site.accepts(&goes, 12) && !site.accepts(&old, 12));
        assert_eq!(site.state().as_deref(), Some(ends_in));
        stop(others);
    }
}

#[test]
fn a_person_confirms_for_an_application_that_cannot_report() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    let programs = Programs::start(site, CLIENT, 1, 20);
    let printer = "[[application]]\nname = \"printer\"\nmanual = true\n\n[policy]";
    site.configure("[policy]", printer);
    let confirm = |application: &str| {
        let arguments = ["confirm", application, "--by", "ada", "--reason", "saw it sign in"];
        site.command(&arguments).run()
    };
    confirm("printer").says(1, &[CLIENT, "there is no rotation"]);
    let wanted = "`keyswap confirm printer --reason TEXT`, and then `keyswap resume`";
    let stopped = site.command(&["rotate"]).run();
    stopped.says(3, &[CLIENT, "state staged", "printer: it cannot report", "holds both", wanted]);
    confirm("plotter").says(1, &["plotter is not declared", "correct the name"]);
    confirm(CLIENT).says(1, &["billing reports by itself", "manual = true"]);
    let status = site.command(&["status"]).run();
    assert!(status.stdout.contains("holds both secrets, for: printer"), "{status:#?}");
    let confirmed = confirm("printer");
    assert!(confirmed.ends_with(0).stdout.contains("ada confirms for printer"), "{confirmed:#?}");
    confirm("printer").says(1, &["confirmed already"]);
    let resumed = site.command(&["resume"]).run();
    resumed.says(3, &["state promoted", "uses the outgoing secret no more", wanted]);
    assert_eq!(site.published().len(), 2, "the old secret is kept until then");
    confirm("printer").ends_with(0);
    site.command(&["resume"]).run().ends_with(0);
    site.is_rotated_from(&old);
    let json = site.command(&["status", "--json"]).run();
    let said = json.json_lines()[0]["rotation"]["confirmations"].clone();
    assert_eq!((&said[0]["gate"], &said[1]["gate"]), (&"adopted".into(), &"drained".into()));
    assert_eq!((&said[0]["by"], &said[0]["reason"]), (&"ada".into(), &"saw it sign in".into()));
    for nothing in [
        ["confirm", "printer", "--by", "ada", "--reason", " "],
        ["confirm", "printer", "--by", "", "--reason", "x"],
    ] {
        site.command(&nothing).run().ends_with(2);
    }
    stop(programs);
}

#[test]
fn an_application_that_no_longer_exists_is_named_with_the_way_out() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    let programs = Programs::start(site, CLIENT, 1, 20);
    let gone = "[[application]]\nname = \"gone\"\n\n[policy]";
    site.configure("[policy]", gone);
    let stopped = site.command(&["rotate", "--patience", "100ms"]).run();
    let texts = ["gone: 0 of 1 expected", "take it out of the configuration", "`keyswap resume`"];
    stopped.says(3, &texts);
    assert_eq!(site.published().len(), 2, "both secrets are kept");
    site.configure(gone, "[policy]");
    site.command(&["resume"]).run().ends_with(0);
    site.is_rotated_from(&old);
    stop(programs);
}

#[test]
fn a_retired_secret_that_a_person_puts_back_is_published_again_and_the_one_of_the_programs_follows()
{
    let embedded = site_with_secret();
    let site = &embedded.site;
    let waits = "quiet_period = \"250ms\"";
    site.configure(waits, &format!("{waits}\nin_flight_bound = \"1s\""));
    let old = site.first_secret();
    let programs = Programs::start(site, CLIENT, 1, 40);
    site.command(&["rotate"]).run().ends_with(0);
    let [new] = site.published().try_into().unwrap();

    embedded.server().set_secret(CLIENT, &old);
    eventually("the nodes agree", || embedded.server().settled(CLIENT).then_some(()));
    assert!(!site.accepts(&new, 12), "nobody can sign in");
    let rotating = site.command(&["rotate"]).run();
    let texts = [CLIENT, "an earlier rotation retired", "in the list again", "`keyswap resume`"];
    rotating.says(6, &texts);
    assert_eq!(site.published(), [old.as_str(), &new]);
    assert!(site.accepts(&old, 12), "nothing is changed at the server without a word");
    let healed = site.history().len();
    let revision = site.journal().unwrap()["revision"].as_u64();
    eventually("the program holds it", || {
        let mut instances = site.status().instances.into_iter();
        instances.any(|one| one.live && one.revision == revision).then_some(())
    });
    let others = Programs::start(site, CLIENT, 2, 40);
    let (requests, failed, _) = programs.stop();
    // A request waits a little for a newer list, so that not even each one from before has to fail.
    assert!(failed < requests, "it was locked out, and not for good: {failed} of {requests}");

    let resumed = site.command(&["resume"]).run();
    resumed.ends_with(0);
    assert!(site.accepts(&new, 12) && !site.accepts(&old, 12));
    assert_eq!(site.published(), [new]);
    let states = "adopted cutting_over cut_over confirmed promoted drained retiring retired";
    assert_eq!(site.history()[healed..].join(" "), format!("{states} rolled_back"));
    stop(others);
}

#[test]
fn a_gate_opens_without_one_instance_when_a_person_says_so_for_that_one() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    let programs = Programs::start(site, CLIENT, 1, 20);
    // It lives, and hangs before its first report.
    let alive = site.client_directory().join("instances/odd.alive");
    let mut file = std::fs::OpenOptions::new();
    let odd = file.write(true).create_new(true).mode(0o600).open(alive).unwrap();
    odd.lock().unwrap();
    site.command(&["rotate", "--patience", "1s"]).run().says(3, &[CLIENT, "odd"]);

    let leave_out = |instance: &str| {
        let said = ["--by", "ada", "--reason", "it is being replaced"];
        let arguments = [["confirm", CLIENT, "--instance", instance], said].concat();
        site.command(&arguments).run()
    };
    leave_out("nobody").says(1, &["no instance nobody lives", "nothing was written"]);
    let said = leave_out("odd");
    said.ends_with(0);
    assert!(said.stderr.contains("may lose access"), "{said:#?}");
    leave_out("odd").says(1, &["is not waited for already"]);
    let status = site.command(&["status"]).run();
    assert!(status.stdout.contains("odd is not waited for: ada said so"), "{status:#?}");

    // Each gate after that waits for it all the same.
    for state in ["promoted", "retired"] {
        let again = site.command(&["resume", "--patience", "5s"]).run();
        again.says(3, &[CLIENT, &format!("in state {state}"), "instance odd"]);
        assert!(again.stderr.contains("left out at a person's word"), "{again:#?}");
        leave_out("odd").ends_with(0);
    }
    site.command(&["resume"]).run().ends_with(0);
    drop(odd);
    site.is_rotated_from(&old);
    let history = site.command(&["history", "--json"]).run();
    assert!(history.stdout.contains("\"left_out\""), "{history:#?}");
    stop(programs);
}
