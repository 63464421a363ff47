//! The command at a server where a client manages its own registration (RFC 7592).

mod common;

use common::{
    CLIENT, Command, Embedded, LikeVendor, Vault, dev_server_is_ready_for_a_rotation, shown,
};
use keyswap_testkit::{Fault, Times};

fn rotate(embedded: &Embedded) -> Command {
    embedded.site.command(&["rotate", "--accept-gap", "--reason", "a quiet night"])
}

/// `keyswap init --registration-token-file` with this token.
fn store_token(embedded: &Embedded, token: &str) {
    let file = embedded.site.path("registration-token");
    std::fs::write(&file, token).unwrap();
    let arguments = ["init", "--registration-token-file", file.to_str().unwrap()];
    let output = embedded.site.command(&arguments).run();
    let stdout = &output.ends_with(0).stdout;
    assert!(stdout.contains("is in the store") && !stdout.contains(token), "{stdout}");
}

#[test]
fn a_rotation_begins_once_the_token_is_stored_and_goes_on_with_another_one_when_it_got_lost() {
    let embedded = Embedded::registration();
    let site = &embedded.site;
    let quiet = "quiet_period = \"250ms\"";
    site.configure(quiet, &format!("{quiet}\nin_flight_bound = \"1s\""));
    site.import();
    embedded.idle_instance();
    rotate(&embedded).run().says(2, &["`keyswap init --registration-token-file FILE`"]);
    assert_eq!(site.state(), None);
    store_token(&embedded, &std::fs::read_to_string(site.path("management-secret")).unwrap());

    let output = rotate(&embedded).run();
    output.ends_with(0);
    assert!(output.stderr.contains("registration chooses the new secret"), "{output:#?}");
    let path =
        "generated adding added staged adopted confirmed promoted drained retiring retired done";
    assert_eq!(site.history().join(" "), path);
    let published = site.published();
    assert!(published.len() == 1 && embedded.server().accepts(CLIENT, &published[0]));

    embedded.server().inject(Fault::AnswerLostAfterChange, Times::ONCE);
    let lost = rotate(&embedded).run();
    let reasons = ["does not take the registration access token", "nobody was told"];
    lost.says(4, &reasons).says(4, &["--registration-token-file FILE", "`keyswap resume`"]);
    store_token(&embedded, &embedded.server().issue_registration_token());
    let resumed = site.command(&["resume"]).run();
    resumed.ends_with(0);
    for secret in [&published[0], &site.published()[0]] {
        for output in [&output, &lost, &resumed] {
            assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret));
        }
    }
    let token = ["init", "--registration-token-file", "/dev/null"];
    site.command(&token).run().ends_with(2);
}

#[test]
fn dev_server_lets_a_client_manage_its_registration_on_demand() {
    dev_server_is_ready_for_a_rotation("registration");
}

#[test]
fn a_dev_server_that_is_started_again_takes_the_token_that_is_in_the_store_by_then() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    let server = LikeVendor::start(&vault, "registration", directory.path());
    let [secret, token, _] = &server.next[..] else { panic!("{:?}", server.next) };
    shown(&vault, secret).run().ends_with(0);
    // As if rotations had brought another one.
    let file = directory.path().join("registration-token");
    std::fs::write(&file, "another-token-of-this-client").unwrap();
    shown(&vault, token).run().ends_with(0);
    std::fs::remove_file(&file).unwrap();
    server.end();

    let server = LikeVendor::start(&vault, "registration", directory.path());
    let [rotate] = &server.next[..] else { panic!("{:?}", server.next) };
    let output = shown(&vault, rotate).argument("--patience").argument("1s").run();
    output.says(3, &["billing: 0 of 1 expected instances"]);
    assert!(!file.exists(), "the token is in the store alone");
    server.end();
}
