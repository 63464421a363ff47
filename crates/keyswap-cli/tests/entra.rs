//! The command at a server that holds several secrets, chooses their values, and ends them by itself.

mod common;

use common::{CLIENT, Embedded, MANAGEMENT_CLIENT, dev_server_is_ready_for_a_rotation};

const FORWARD: &str = "generated adding added staged adopted confirmed promoted drained";

#[test]
fn rotate_leaves_others_alone_and_status_says_when_the_new_secret_ends() {
    let embedded = Embedded::entra();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    let old = embedded.server().secrets(CLIENT);
    let other = embedded.server().add_secret(CLIENT, "somebody-elses-secret-012345");
    site.configure("kind = \"entra\"", "kind = \"entra\"\nlifetime_days = 20");
    let output = site.command(&["rotate"]).run();
    output.ends_with(0);
    let history = site.course();
    assert_eq!(history, format!("{FORWARD} retiring retired removing done"));
    let now = embedded.server().secrets(CLIENT);
    assert!(now.len() == 2 && now[0].0 == other && now != old, "{now:?}");
    assert!(embedded.server().accepts(CLIENT, &site.published()[0]));
    let status = site.command(&["status"]).run();
    status.ends_with(0);
    let says = status.stdout.lines().find(|line| line.starts_with("expires")).unwrap();
    assert!(says.ends_with("in 19 days: rotate before that"), "{says}");
    let json = site.command(&["status", "--json"]).run();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let expires = &json["expires"][0];
    assert_eq!(expires["secret"], json["rotation"]["new"]);
    assert!(expires["at_ms"].as_u64().is_some(), "{json}");
    site.vault.search_files();
}

#[test]
fn what_a_person_has_to_do_is_said() {
    let embedded = Embedded::entra();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    site.configure("kind = \"entra\"", "kind = \"entra\"\nlifetime_days = 0");
    site.command(&["rotate"]).run().says(2, &["from a day to ten years"]);
    site.configure("lifetime_days = 0", "lifetime_days = 800");
    site.configure("contoso.onmicrosoft.com", "fabrikam.onmicrosoft.com");
    let tenant = ["fabrikam.onmicrosoft.com", "tenant is the right one"];
    site.command(&["rotate"]).run().says(4, &tenant);
    assert_eq!(site.state(), None);
    site.configure("fabrikam.onmicrosoft.com", "contoso.onmicrosoft.com");
    site.command(&["rotate"]).run().says(1, &["800 days", "set a shorter lifetime"]);
    site.configure("lifetime_days = 800", "lifetime_days = 700");
    site.command(&["resume"]).run().ends_with(0);
}

#[test]
fn the_management_secret_is_rotated_like_any_other() {
    let embedded = Embedded::entra();
    let site = &embedded.site;
    let clients = format!(
        "[[client]]\nid = \"{MANAGEMENT_CLIENT}\"\n[[client.application]]\nname = \"keyswap\"\n[[client]]"
    );
    site.configure("[client]", &clients);
    site.configure("{ file = \"management-secret\" }", "{ store = true }");
    let init = ["init", "--client-id", MANAGEMENT_CLIENT, "--secret-file"];
    site.command(&init).argument(site.path("management-secret")).run().ends_with(0);
    let old = site.published_of(MANAGEMENT_CLIENT).remove(0);
    site.command(&["rotate", "--client", MANAGEMENT_CLIENT]).run().ends_with(0);
    let published = site.published_of(MANAGEMENT_CLIENT);
    assert!(published.len() == 1 && published[0] != old);
    // What was removed is taken by some nodes for the window.
    embedded.runtime().block_on(embedded.server().until_settled(MANAGEMENT_CLIENT));
    assert!(embedded.server().accepts(MANAGEMENT_CLIENT, &published[0]));
    assert!(!embedded.server().accepts_anywhere(MANAGEMENT_CLIENT, &old));
}

#[test]
fn dev_server_is_like_entra_on_demand() {
    dev_server_is_ready_for_a_rotation("entra");
}
