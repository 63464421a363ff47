//! The command at a server that holds one secret and chooses its value itself.

mod common;

use common::{CLIENT, Command, Embedded, Output, dev_server_is_ready_for_a_rotation};

const WHY: &str = "a quiet night";

/// `keyswap rotate --accept-gap` by a person.
fn rotate(embedded: &Embedded, more: &[&str]) -> Command {
    let said = ["rotate", "--accept-gap", "--by", "ada", "--reason", WHY];
    embedded.site.command(&[&said[..], more].concat())
}

/// Also a value that the server chose is in no output.
fn holds_no_secret(embedded: &Embedded, output: &Output) {
    for secret in embedded.site.published() {
        assert!(!output.stdout.contains(&secret) && !output.stderr.contains(&secret));
    }
}

#[test]
fn a_gap_is_refused_with_the_reason_and_the_way_out_until_it_is_accepted() {
    let embedded = Embedded::zitadel();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    let refused = site.command(&["rotate"]).run();
    let reason = ["chooses its value itself", "every token request", "nothing was changed"];
    let refused = refused.says(1, &reason);
    refused.says(1, &["`keyswap rotate --accept-gap --reason TEXT`"]);
    assert_eq!(site.state(), None);
    let silent = site.command(&["rotate", "--accept-gap"]).run();
    assert!(silent.ends_with(2).stderr.contains("--reason"), "{silent:#?}");
    assert_eq!(embedded.server().counts().changes, 0);
}

#[test]
fn what_fails_is_said_before_it_begins_and_who_accepted_that_is_on_record() {
    let embedded = Embedded::zitadel();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    let output = rotate(&embedded, &[]).run();
    output.ends_with(0);
    let told = output.stderr.find("Every token request of a program fails until").unwrap();
    let asked = output.stderr.find("the server is asked to choose another secret").unwrap();
    assert!(told < asked, "{output:#?}");
    assert!(output.stderr.contains("There is no way back"), "{output:#?}");
    assert!(output.stderr.contains("the new secret is in the journal"), "{output:#?}");
    let path =
        "generated adding added staged adopted confirmed promoted drained retiring retired done";
    assert_eq!(site.history().join(" "), path);
    let published = site.published();
    assert!(published.len() == 1 && embedded.server().accepts(CLIENT, &published[0]));
    assert!(!embedded.server().accepts_anywhere(CLIENT, &site.first_secret()));

    let history = site.command(&["history"]).run();
    assert!(history.stdout.contains("asked to accept a gap"), "{history:#?}");
    assert!(history.stdout.contains(WHY), "{history:#?}");
    assert!(history.stdout.contains("token requests may have failed from"), "{history:#?}");
    let lines = site.command(&["history", "--json"]).run().json_lines();
    let account = &lines.last().unwrap()["record"]["account"];
    let gap = &account["gaps"][0];
    assert!(gap["until"].as_u64() > gap["from"].as_u64(), "{account}");
    for output in [&output, &history] {
        holds_no_secret(&embedded, output);
    }
    site.vault.search_files();
}

#[test]
fn a_rotation_that_was_killed_is_resumed_without_being_accepted_again_and_does_not_go_back() {
    let embedded = Embedded::zitadel();
    let site = &embedded.site;
    site.import();
    // It waits for an instance, and requests fail.
    let mut running = rotate(&embedded, &[]).spawn();
    site.until_state(&mut running, "staged");
    running.kill();
    running.wait();
    let status = site.command(&["status"]).run();
    assert!(status.stdout.contains("programs may be without a secret since"), "{status:#?}");
    let waits = site.command(&["resume", "--patience", "1ms"]).run();
    waits.says(3, &["they may be without a secret that the server takes"]);
    let back = site.command(&["rollback", "--yes"]).run();
    back.says(1, &["nobody can set the old one there again", "`keyswap resume`"]);
    // A hold does not prolong what programs can do nothing about.
    site.command(&["hold", "--by", "grace", "--reason", "release freeze"]).run().ends_with(0);
    embedded.idle_instance();
    let held = site.command(&["resume"]).run();
    held.says(3, &["grace holds"]);
    assert!(site.history().contains(&"adopted".to_owned()), "the gap is closed first");
    site.command(&["hold", "--release"]).run().ends_with(0);
    let output = site.command(&["resume"]).run();
    output.ends_with(0);
    holds_no_secret(&embedded, &output);
    assert_eq!(site.state().as_deref(), Some("done"));
}

#[test]
fn a_gap_is_not_accepted_where_there_is_none() {
    let embedded = Embedded::start();
    embedded.site.import();
    let output = rotate(&embedded, &[]).run();
    output.says(1, &["there is no gap to accept", "nothing was changed"]);
    assert!(!output.stderr.contains("Every token request"), "{output:#?}");
    assert_eq!(embedded.site.state(), None);
}

#[test]
fn dev_server_is_like_zitadel_on_demand() {
    dev_server_is_ready_for_a_rotation("zitadel");
}
