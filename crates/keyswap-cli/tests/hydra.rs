//! The command at an Ory Hydra, with rotated secrets and without.

mod common;

use common::{CLIENT, Embedded, dev_server_is_ready_for_a_rotation};
use keyswap_testkit::Provider;

#[test]
fn rotated_secrets_are_made_use_of_where_the_server_has_them() {
    let embedded = Embedded::hydra(Provider::HydraWithRotatedSecrets);
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    let output = site.command(&["rotate"]).run();
    output.ends_with(0);
    let path = "generated adding added staged adopted confirmed promoted drained retiring retired \
                removing done";
    assert_eq!(site.course(), path);
    let published = site.published();
    assert!(published.len() == 1 && embedded.server().accepts(CLIENT, &published[0]));
    assert_eq!(embedded.server().accepted_secrets(CLIENT), 1);
    for secret in [&published[0], &site.first_secret()] {
        assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret));
    }
    site.vault.search_files();
}

#[test]
fn a_version_without_them_is_refused_where_they_are_demanded_before_anything_is_changed() {
    let embedded = Embedded::hydra(Provider::Hydra);
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    let refused = site.command(&["rotate"]).run();
    refused.says(2, &["has no call that keeps the old secret", "update Hydra"]);
    assert_eq!(site.state(), None);
    assert_eq!(embedded.server().counts().changes, 0);
}

#[test]
fn dev_server_is_like_hydra_on_demand() {
    dev_server_is_ready_for_a_rotation("hydra");
}
