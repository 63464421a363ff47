//! The commands that the README shows, in the order in which a reader types them.

mod common;

use common::{Command, DevServer, Programs};

const README: &str = include_str!("../../../README.md");
const CI: &str = include_str!("../../../.ci/run");

/// The lines of the README's shell blocks.
fn shown() -> Vec<&'static str> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in README.lines().map(str::trim) {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside && !line.is_empty() => lines.push(line),
            _ => {}
        }
    }
    lines
}

#[test]
fn every_command_of_the_readme_is_run_by_a_test_or_by_continuous_integration() {
    let ours = [
        "keyswap init --client-id THE-CLIENT-ID",
        "keyswap init --secret-file client-secret",
        "keyswap status",
        "keyswap rotate",
        "keyswap resume",
        "keyswap dev-server --directory keyswap-dev",
    ];
    for line in shown() {
        let in_ci = line.starts_with("cargo ")
            && CI.lines().any(|ci| ci.replace(" --locked", "").contains(line));
        assert!(in_ci || ours.contains(&line), "nothing runs {line:?}");
    }
    for line in ours {
        assert!(shown().contains(&line), "the README does not show {line:?} any more");
    }
}

#[test]
fn a_reader_who_types_the_commands_of_the_readme_gets_what_it_says() {
    // "keyswap dev-server --directory keyswap-dev", on a port of its own.
    let server = DevServer::start();
    let site = &server.site;
    let here = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        let arguments: Vec<_> = line.split(' ').skip(1).collect();
        Command::new(&site.vault, &arguments).directory(here.path()).run()
    };

    run("keyswap init --client-id THE-CLIENT-ID").ends_with(0);
    let written = std::fs::read_to_string(here.path().join("keyswap.toml")).unwrap();
    assert!(written.contains("id = \"THE-CLIENT-ID\""));
    // The reader fills it in; here with what belongs to the server of this test.
    let filled = std::fs::read_to_string(site.configuration()).unwrap();
    let filled = filled
        .replace("\"management-secret\"", &format!("{:?}", site.path("management-secret")))
        .replace("\"keyswap-store\"", &format!("{:?}", site.store()));
    std::fs::write(here.path().join("keyswap.toml"), filled).unwrap();
    std::fs::copy(site.path("client-secret"), here.path().join("client-secret")).unwrap();

    run("keyswap init --secret-file client-secret").ends_with(0);
    let programs = Programs::start(site, common::CLIENT, 1, 50);
    assert!(run("keyswap status").ends_with(0).stdout.contains("billing/"));
    run("keyswap rotate").ends_with(0);
    run("keyswap resume").says(1, &["nothing to resume"]);
    let (requests, failed, _) = programs.stop();
    assert!(requests > 0);
    assert_eq!(failed, 0);
    site.is_rotated_from(&site.first_secret());
}
