//! The command at a server like FusionAuth.

mod common;

use common::{CLIENT, Embedded, dev_server_is_ready_for_a_rotation};

#[test]
fn rotate_reaches_its_end_and_what_is_wrong_is_said_before_it_begins() {
    let embedded = Embedded::fusionauth();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    for (right, wrong, code, says) in [
        ("management-secret", "client-secret", 4, "GET and PATCH on /api/application"),
        ("app-1", "app-2", 1, "does not know the application"),
        ("30663132", "00000000", 1, "the tenant (`tenant_id`)"),
    ] {
        site.configure(right, wrong);
        site.command(&["rotate"]).run().says(code, &[says]);
        site.configure(wrong, right);
    }
    assert_eq!(site.state(), None);

    let output = site.command(&["rotate"]).run();
    output.ends_with(0);
    let path = "generated staged adopted cutting_over cut_over confirmed promoted drained retiring retired done";
    assert_eq!(site.history().join(" "), path);
    let published = site.published();
    assert!(published.len() == 1 && embedded.server().accepts(CLIENT, &published[0]));
    assert!(!embedded.server().accepts_anywhere(CLIENT, &site.first_secret()));
    site.vault.search_files();
}

#[test]
fn dev_server_is_like_fusionauth_on_demand() {
    dev_server_is_ready_for_a_rotation("fusionauth");
}
