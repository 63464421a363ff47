//! The command at a server that holds two secrets a client.

mod common;

use common::{CLIENT, Embedded, dev_server_is_ready_for_a_rotation, eventually};

const FORWARD: &str = "generated adding added staged adopted confirmed promoted drained";

/// The states that the history tells of, as one text.
fn history(embedded: &Embedded) -> String {
    embedded.site.course()
}

#[test]
fn rotate_goes_through_every_state_and_says_so() {
    let embedded = Embedded::okta();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    let old = embedded.server().secrets(CLIENT);
    let output = site.command(&["rotate"]).run();
    output.ends_with(0);
    assert!(output.stderr.contains("the server has both secrets"), "{output:#?}");
    assert!(output.stderr.contains("out of force, and can be put back"), "{output:#?}");
    let rest = "deactivating deactivated retiring retired removing done";
    assert_eq!(history(&embedded), format!("{FORWARD} {rest}"));
    let now = embedded.server().secrets(CLIENT);
    assert!(now.len() == 1 && now != old, "{now:?}");
    assert!(embedded.server().accepts(CLIENT, &site.published()[0]));
    site.vault.search_files();
}

#[test]
fn a_held_rotation_is_rolled_back_or_retired_and_a_killed_one_resumed() {
    let embedded = Embedded::okta();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    let old = embedded.server().secrets(CLIENT);
    site.command(&["rotate", "--hold-at", "drained"]).run().says(3, &["`keyswap retire`"]);
    assert_eq!(embedded.server().secrets(CLIENT).len(), 2);
    let output = site.command(&["rollback"]).run();
    output.ends_with(0);
    assert_eq!(embedded.server().secrets(CLIENT), old);
    let back = "adopted confirmed promoted drained retiring retired removing rolled_back";
    site.is_rolled_back_to(&site.first_secret(), &format!("{FORWARD} {back}"));

    let mut rotate = site.command(&["rotate", "--hold-at", "drained"]).spawn();
    let begun = ["staged", "adopted", "confirmed", "promoted", "drained"];
    eventually("it has begun", || begun.contains(&site.state()?.as_str()).then_some(()));
    rotate.kill();
    rotate.wait();
    site.command(&["resume"]).run().says(3, &["`keyswap retire`"]);
    site.command(&["retire"]).run().ends_with(0);
    assert_eq!(site.state().as_deref(), Some("done"));
    assert_ne!(embedded.server().secrets(CLIENT), old);
}

#[test]
fn what_a_person_has_to_do_is_said() {
    let embedded = Embedded::okta();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    let other = embedded.server().add_secret(CLIENT, "somebody-elses-secret-012345");
    site.command(&["rotate"]).run().says(1, &["no room for a new one", &other]);
    assert_eq!(site.state(), None);
    site.configure("\nscope = \"read\"", "");
    site.command(&["rotate"]).run().says(1, &["invalid_scope", "scope that it may ask for"]);
    site.configure("management-secret", "client-secret");
    site.command(&["rotate"]).run().says(4, &["API token", "E0000011"]);
}

#[test]
fn rotate_removes_first_what_a_person_names_and_nothing_else() {
    let embedded = Embedded::okta();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    let old = embedded.server().secrets(CLIENT);
    let other = embedded.server().add_secret(CLIENT, "somebody-elses-secret-012345");
    let full = site.command(&["rotate"]).run();
    full.says(
        1,
        &["no room for a new one", &other, "`keyswap rotate --remove NAME --reason TEXT`"],
    );
    let output = site.command(&["rotate", "--remove", &other]).run();
    output.ends_with(2);
    assert!(output.stderr.contains("--reason <TEXT>"), "{output:#?}");
    let nowhere = ["rotate", "--remove", "nowhere", "--reason", "it is old"];
    site.command(&nowhere).run().says(1, &["lists none of that name", "nothing was changed"]);
    let present = ["rotate", "--remove", &old[0].0, "--reason", "it is old"];
    site.command(&present).run().says(1, &["it is the one that the programs hold"]);
    assert_eq!((embedded.server().secrets(CLIENT).len(), site.state()), (2, None));

    let output = site.command(&["rotate", "--remove", &other, "--reason", "nobody uses it"]).run();
    output.ends_with(0);
    let told = format!("{other} goes first, to make room (nobody here knows its value)");
    assert!(output.stderr.contains(&told), "{output:#?}");
    let room = FORWARD.replace("generated ", "generated making_room ");
    let rest = "deactivating deactivated retiring retired removing done";
    assert_eq!(history(&embedded), format!("{room} {rest}"));
    let now = embedded.server().secrets(CLIENT);
    assert!(now.len() == 1 && now[0] != old[0] && now[0].0 != other, "{now:?}");
    site.vault.search_files();
}

#[test]
fn dev_server_is_like_okta_on_demand() {
    dev_server_is_ready_for_a_rotation("okta");
}
