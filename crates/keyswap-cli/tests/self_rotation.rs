//! keyswap rotates the secret with which it makes its own management requests.

mod common;

use common::{Embedded, MANAGEMENT_CLIENT, Running, STATES, Site, eventually};

fn journal(site: &Site) -> Option<serde_json::Value> {
    let path = site.store().join(MANAGEMENT_CLIENT).join("rotation.json");
    Some(serde_json::from_slice(&std::fs::read(path).ok()?).unwrap())
}

fn state(site: &Site) -> String {
    journal(site).map_or("none".to_owned(), |text| text["state"].as_str().unwrap().to_owned())
}

/// A server whose management client is rotated as well, with its secret in the store.
fn site() -> Embedded {
    let embedded = Embedded::of_several(&["billing"]);
    let site = &embedded.site;
    site.configure(
        "[[client]]\nid = \"billing\"",
        &format!(
            "[[client]]\nid = \"{MANAGEMENT_CLIENT}\"\n[[client.application]]\nname = \"keyswap\"\n\
             [[client]]\nid = \"billing\""
        ),
    );
    site.configure("{ file = \"management-secret\" }", "{ store = true }");
    let init = ["init", "--client-id", MANAGEMENT_CLIENT, "--secret-file"];
    site.command(&init).argument(site.path("management-secret")).run().ends_with(0);
    embedded
}

const OWN: [&str; 3] = ["rotate", "--client", MANAGEMENT_CLIENT];

#[track_caller]
fn is_rotated(embedded: &Embedded, old: &str) {
    let (site, server) = (&embedded.site, embedded.server());
    assert_eq!(state(site), "done");
    let published = site.published_of(MANAGEMENT_CLIENT);
    assert!(published.len() == 1 && published[0] != old);
    assert!(server.accepts(MANAGEMENT_CLIENT, &published[0]));
    assert!(!server.accepts_anywhere(MANAGEMENT_CLIENT, old));
}

#[test]
fn the_management_secret_is_rotated_like_any_other_and_then_used_for_others() {
    let embedded = site();
    let site = &embedded.site;
    let old = site.published_of(MANAGEMENT_CLIENT).remove(0);
    site.command(&OWN).run().ends_with(0);
    is_rotated(&embedded, &old);
    // Whoever comes after that has the new one from the store; both in one go do as well.
    let second = site.published_of(MANAGEMENT_CLIENT).remove(0);
    let billing = site.published_of("billing").remove(0);
    site.command(&["rotate", "--all"]).run().ends_with(0);
    is_rotated(&embedded, &second);
    assert_ne!(site.published_of("billing"), [billing]);
    site.vault.search_files();
}

fn until_state(site: &Site, running: &mut Running, wanted: &str) {
    let position = STATES.iter().position(|state| *state == wanted).unwrap();
    eventually(wanted, || {
        let state = state(site);
        let reached = STATES.iter().position(|other| *other == state) >= Some(position);
        (reached && state != "none" || running.ended()).then_some(())
    });
}

#[test]
fn a_rotation_of_its_own_secret_that_is_killed_in_each_state_is_resumed() {
    let embedded = site();
    let site = &embedded.site;
    let mut killed_in = Vec::new();
    for wanted in STATES {
        let old = site.published_of(MANAGEMENT_CLIENT).remove(0);
        let journal_file = site.store().join(MANAGEMENT_CLIENT).join("rotation.json");
        // The earlier rotation's record would say `done` all along; and a change without an answer would
        // keep the next one from beginning for ten minutes.
        let _ = std::fs::remove_file(journal_file);
        let mut running = site.command(&OWN).spawn();
        until_state(site, &mut running, wanted);
        running.kill();
        running.wait();
        killed_in.push(state(site));
        // Nothing of the process is left: neither its token nor the order that it had learnt.
        let resumed = site.command(&["resume", "--client", MANAGEMENT_CLIENT]).run();
        match killed_in.last().map(String::as_str) {
            Some("done") => resumed.ends_with(1),
            _ => resumed.ends_with(0),
        };
        is_rotated(&embedded, &old);
    }
    println!("killed in {killed_in:?}");
    let different: std::collections::BTreeSet<_> = killed_in.iter().collect();
    assert!(different.len() >= 4, "{killed_in:?}");
}

#[test]
fn a_management_client_that_a_rotation_would_lock_out_is_not_rotated() {
    let embedded = site();
    let site = &embedded.site;
    let right = std::fs::read_to_string(site.configuration()).unwrap();
    for (from, to, says) in [
        (
            "{ store = true }",
            "{ file = \"management-secret\" }",
            &["keyswap-rotator", "the file ", "leave behind", "management_secret = { store"][..],
        ),
        ("{ store = true }", "{ store = \"other\" }", &["other", "the same store"]),
        ("{ store = true }", "{ store = false }", &["a secret never stands"]),
        ("name = \"keyswap\"", "name = \"x\"", &["[[client.application]]", "name = \"keyswap\""]),
    ] {
        std::fs::write(site.configuration(), right.replace(from, to)).unwrap();
        site.command(&OWN).run().says(2, says);
    }
    assert_eq!(state(site), "none");

    // The directory may be named as well.
    std::fs::write(
        site.configuration(),
        right.replace("{ store = true }", "{ store = \"keyswap-store\" }"),
    )
    .unwrap();
    site.command(&OWN).run().ends_with(0);

    // While it runs, another keyswap that uses the secret counts as well, until it ends.
    std::fs::write(site.configuration(), &right).unwrap();
    site.configure("name = \"keyswap\"", "name = \"keyswap\"\ninstances = 2");
    let waiting = site.command(&OWN).argument("--patience").argument("1ms").run();
    waiting.says(3, &["keyswap: 1 of 2"]);
}
