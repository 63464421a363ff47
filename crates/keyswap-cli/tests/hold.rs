//! A person says "not now".

mod common;

use common::{CLIENT, Embedded, Output, Programs, Site};

fn hold(site: &Site, arguments: &[&str]) -> Output {
    site.command(&[&["hold", "--by", "ada"], arguments].concat()).run()
}

fn release(site: &Site) -> Output {
    site.command(&["hold", "--release"]).run()
}

fn site_with_secret() -> Embedded {
    let embedded = Embedded::start();
    embedded.site.import();
    embedded
}

const WAY_OUT: &str = "`keyswap hold --release`";

#[test]
fn nothing_begins_under_a_hold_and_everything_does_after_it() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    let programs = Programs::start(site, CLIENT, 1, 20);
    let put = hold(site, &["--reason", "release freeze", "--until", "2099-01-02T03:04:05Z"]);
    assert!(put.ends_with(0).stdout.contains("until 2099-01-02T03:04:05Z"), "{put:#?}");
    let texts = [CLIENT, "ada holds", "until 2099-01-02T03:04:05Z", "release freeze", WAY_OUT];
    let refused = site.command(&["rotate"]).run();
    refused.says(3, &[&texts[..], &["nothing was changed"]].concat());
    assert_eq!(site.state(), None);
    hold(site, &["--reason", "mine"]).says(3, &texts);
    let status = site.command(&["status"]).run().stdout.clone();
    assert!(
        status.contains("hold      by ada, until 2099-01-02T03:04:05Z: release freeze"),
        "{status}"
    );
    let json = site.command(&["status", "--json"]).run().json_lines()[0].clone();
    assert_eq!(json["hold"]["by"], "ada");
    let released = release(site);
    assert!(released.ends_with(0).stdout.contains("the hold of ada is released"), "{released:#?}");
    release(site).ends_with(0);
    site.command(&["rotate"]).run().ends_with(0);
    site.is_rotated_from(&old);
    programs.stop();
}

#[test]
fn a_rotation_under_way_stops_before_its_next_act_and_goes_on_after_the_hold() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    let mut rotating = site.command(&["rotate"]).spawn();
    // It waits for a program, and holds the lease while the hold is put.
    rotating.until_stderr("Z: billing: 0 of 1");
    hold(site, &["--reason", "incident 7", "--for", "1h"]).ends_with(0);
    assert!(!rotating.ended());
    let programs = Programs::start(site, CLIENT, 1, 20);
    let stopped = rotating.wait();
    let texts = ["ada holds", "incident 7", "stops in state adopted", "nothing is lost", WAY_OUT];
    stopped.says(3, &texts);
    assert_eq!(site.published().len(), 2);
    assert!(site.accepts(&old, 12));
    for command in ["resume", "rollback"] {
        site.command(&[command]).run().says(3, &[CLIENT, "incident 7", WAY_OUT]);
    }
    release(site).ends_with(0);
    site.command(&["resume"]).run().ends_with(0);
    site.is_rotated_from(&old);
    let (requests, failed, _) = programs.stop();
    assert!(requests > 0 && failed == 0);
}

#[test]
fn a_hold_is_overridden_by_name_and_with_a_reason() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    site.command(&["rotate", "--patience", "1ms"]).run().ends_with(3);
    hold(site, &["--reason", "incident 7"]).ends_with(0);
    let rollback = |arguments: &[&str]| {
        site.command(&[&["rollback", "--by", "grace"], arguments].concat()).run()
    };
    let silent = rollback(&["--despite-hold-of", "ada"]);
    assert!(silent.ends_with(2).stderr.contains("--reason"), "{silent:#?}");
    rollback(&["--despite-hold-of", "eve", "--reason", "it is the cause"]).says(3, &["ada holds"]);
    rollback(&["--despite-hold-of", "ada", "--reason", "it is the cause"]).ends_with(0);
    let history = site.command(&["history", "--json"]).run().json_lines();
    let account = &history.last().unwrap()["record"]["account"];
    let asker = &account["asked"][1]["asker"];
    assert_eq!((&asker["by"], &asker["despite_hold_of"]), (&"grace".into(), &"ada".into()));
}

#[test]
fn a_hold_says_why_and_until_a_time_that_is_to_come_or_it_is_none() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    assert!(hold(site, &[]).ends_with(2).stderr.contains("--reason"));
    let soon = hold(site, &["--reason", "x", "--until", "soon"]);
    assert!(soon.ends_with(2).stderr.contains("2026-12-01T08:00:00Z"), "{soon:#?}");
    let over = ["--reason", "x", "--until", "2020-01-01T00:00:00Z"];
    hold(site, &over).says(2, &["over already"]);
    hold(site, &["--reason", "x", "--for", "1h", "--until", "2099-01-01T00:00:00Z"]).ends_with(2);
    let file = site.client_directory().join("hold.json");
    assert!(!file.exists());
    // One that cannot be read holds as well.
    hold(site, &["--reason", "x"]).ends_with(0);
    std::fs::write(&file, "{").unwrap();
    site.command(&["rotate"]).run().says(1, &["hold.json", "it is no hold", WAY_OUT]);
    assert_eq!(site.state(), None);
    release(site).ends_with(0);
    assert!(!file.exists());
}
