//! The command at a server that never removes the secret that was added last.

mod common;

use common::{CLIENT, Embedded, dev_server_is_ready_for_a_rotation};

const FORWARD: &str = "generated adding added staged adopted confirmed promoted drained";

#[test]
fn rotate_comes_to_its_end_and_cannot_go_back_once_a_secret_was_added() {
    let embedded = Embedded::wso2();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    site.command(&["verify"]).run().ends_with(0);
    let held = site.command(&["rotate", "--hold-at", "drained"]).run();
    held.says(3, &["keyswap retire"]);
    let back = site.command(&["rollback", "--yes"]).run();
    back.says(1, &["does not remove the secret that was added last", "keyswap resume"]);
    assert_eq!(site.state().as_deref(), Some("drained"));
    site.command(&["retire"]).run().ends_with(0);
    let history = site.course();
    assert_eq!(history, format!("{FORWARD} retiring retired removing done"));
    assert_eq!(embedded.server().secrets(CLIENT).len(), 1);
    assert!(embedded.server().accepts(CLIENT, &site.published()[0]));
    site.vault.search_files();
}

#[test]
fn what_a_person_has_to_do_is_said() {
    let embedded = Embedded::wso2();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    site.configure("app-1", "app-2");
    site.command(&["rotate"]).run().says(1, &["app-2", "check `application_id`"]);
    site.configure("application_id = \"app-2\"\n", "");
    site.command(&["rotate"]).run().says(2, &["application_id"]);
    assert_eq!(site.state(), None);
}

#[test]
fn dev_server_is_like_wso2_on_demand() {
    dev_server_is_ready_for_a_rotation("wso2");
}
