//! The command at a Keycloak.

mod common;

use common::{CLIENT, Embedded, MANAGEMENT_CLIENT, dev_server_is_ready_for_a_rotation};

#[test]
fn rotate_goes_through_every_state_and_says_no_secret() {
    let embedded = Embedded::keycloak();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    let old = site.first_secret();
    site.command(&["rotate"]).run().ends_with(0);
    let path = "generated staged adopted cutting_over cut_over confirmed promoted drained retiring retired done";
    assert_eq!(site.history().join(" "), path);
    let published = site.published();
    assert!(published.len() == 1 && published[0] != old);
    assert!(embedded.server().accepts(CLIENT, &published[0]));
    assert!(!embedded.server().accepts_anywhere(CLIENT, &old));
    site.vault.search_files();
}

#[test]
fn the_secret_of_the_management_client_is_rotated_from_the_store_and_not_from_elsewhere() {
    let embedded = Embedded::keycloak();
    let site = &embedded.site;
    site.import();
    site.configure(
        "[client]\nid = \"billing\"",
        &format!(
            "[[client]]\nid = \"{MANAGEMENT_CLIENT}\"\n[[client.application]]\nname = \"keyswap\"\n\
             [[client]]\nid = \"billing\""
        ),
    );
    embedded.idle_instance();
    let own = ["rotate", "--client", MANAGEMENT_CLIENT];
    let init = ["init", "--client-id", MANAGEMENT_CLIENT, "--secret-file"];
    site.command(&init).argument(site.path("management-secret")).run().ends_with(0);
    site.command(&own).run().says(2, &["leave behind", "management_secret = { store"]);

    site.configure("{ file = \"management-secret\" }", "{ store = true }");
    let before = [CLIENT, MANAGEMENT_CLIENT].map(|client| site.published_of(client).remove(0));
    site.command(&["rotate", "--all"]).run().ends_with(0);
    for (client, old) in [CLIENT, MANAGEMENT_CLIENT].into_iter().zip(&before) {
        let published = site.published_of(client);
        assert!(published.len() == 1 && published[0] != *old, "{client}");
        assert!(embedded.server().accepts(client, &published[0]), "{client}");
        assert!(!embedded.server().accepts_anywhere(client, old), "{client}");
    }
    // A client of the same id in another realm is another one.
    site.configure("realm = \"shop\"", "realm = \"shop\"\nmanagement_realm = \"master\"");
    site.command(&own).run().says(2, &["no realm master", "check the realm"]);
    site.vault.search_files();
}

#[test]
fn what_is_wrong_is_said_with_the_way_out() {
    let embedded = Embedded::keycloak();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    site.configure("realm = \"shop\"", "realm = \"elsewhere\"");
    let output = site.command(&["rotate"]).run();
    output.says(2, &["client billing at keycloak", "no realm elsewhere", "/auth"]);
    assert_eq!(site.state(), None);
    assert_eq!(embedded.server().counts().changes, 0);
}

#[test]
fn dev_server_is_like_keycloak_on_demand() {
    dev_server_is_ready_for_a_rotation("keycloak");
}
