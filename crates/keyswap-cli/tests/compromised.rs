//! An old secret that is known to others.

mod common;

use common::{CLIENT, Embedded, Programs, eventually};
use keyswap_core::FallbackPolicy;
use keyswap_store::{FileStore, join};

#[test]
fn the_program_that_never_takes_up_the_new_secret_is_named_and_breaks_and_no_other_does() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let old = site.first_secret();
    // It has read the list, and nothing runs it after that.
    let store = FileStore::open(site.store(), CLIENT).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let deaf = runtime.block_on(join(store, CLIENT, FallbackPolicy::default()));
    let (ring, _member) = deaf.unwrap();
    let programs = Programs::start(site, CLIENT, 2, 40);
    let silent = site.command(&["rotate", "--compromised"]).run();
    assert!(silent.ends_with(2).stderr.contains("--reason"), "{silent:#?}");
    let named = "has not read the list";
    // A rotation that waits for it is turned into one that does not.
    let waits = site.command(&["rotate", "--patience", "1ms"]).run();
    waits.says(3, &[named]);
    let said = ["--compromised", "--by", "ada", "--reason", "it is in a public repository"];
    let hurry = |command: &str, more: &[&str]| {
        site.command(&[&[command], &said[..], &["--deadline", "2s"], more].concat()).run()
    };
    site.command(&["hold", "--by", "grace", "--reason", "release freeze"]).run().ends_with(0);
    hurry("resume", &[]).says(3, &["grace holds"]);
    // The others have, which leaves one to be named.
    let staged = site.journal().unwrap()["revision"].as_u64();
    eventually("the programs hold both", || {
        let instances = site.status().instances;
        (instances.iter().filter(|one| one.revision == staged).count() == 2).then_some(())
    });
    let output = hurry("resume", &["--despite-hold-of", "grace"]);
    output.ends_with(0);
    let before = output.stderr.find("not ready now").unwrap();
    let told = output.stderr.find("the deadline has passed; these may lose access").unwrap();
    let sent = output.stderr.find("the server is asked to take the new secret").unwrap();
    assert!(before < told && told < sent, "{output:#?}");
    assert!(output.stderr[told..sent].contains(named), "{output:#?}");
    assert_eq!(output.stderr[told..sent].matches("billing/").count(), 1, "{output:#?}");

    let held = ring.snapshot().list();
    assert_eq!(held.len(), 1);
    assert!(!site.accepts(held.preferred().expose(), 12), "it is broken");
    assert!(!site.accepts(&old, 12));
    let (requests, failed, _) = programs.stop();
    assert!(requests > 0 && failed == 0, "{failed} of {requests} failed");

    let status = site.command(&["status"]).run();
    assert!(status.stdout.contains("left behind at"), "{status:#?}");
    assert!(status.stdout.contains(named), "{status:#?}");
    let history = site.command(&["history", "--json"]).run().json_lines();
    let adopted = history.iter().find(|line| line["record"]["state"] == "adopted").unwrap();
    assert_eq!(adopted["record"]["broken"].as_array().unwrap().len(), 1, "{adopted}");
    let account = &history.last().unwrap()["record"]["account"];
    assert_eq!(account["compromised"]["broken"].as_array().unwrap().len(), 1, "{account}");
    assert!(account["unused"].is_null(), "{account}");
    assert_eq!(account["asked"][1]["asker"]["despite_hold_of"], "grace", "{account}");
    assert!(!account["negative_test"].is_null(), "{account}");
}
