//! The commands that the README shows, in the order in which a reader types them.

mod common;

use common::{Command, DevServer, Embedded, Programs};

const README: &str = include_str!("../../../README.md");
const CI: &str = include_str!("../../../.ci/run");

const CONFIRM: &str =
    "keyswap confirm printer --by ada --reason \"saw it sign in with the new list\"";

const HOLD: &str = "keyswap hold --by ada --for 4h --reason \"release freeze\"";
const COMPROMISED: [&str; 2] = [
    "keyswap rotate --compromised --reason \"it was in a log\"",
    "keyswap resume --compromised --reason \"it was in a log\"",
];
const BY_ITSELF: &str =
    "keyswap rotate --if-older-than 90d --window \"Sat 02:00-04:00 Europe/Berlin\"";
const GAP: &str = "keyswap rotate --accept-gap --reason \"a quiet night\"";
const SEVERAL: [&str; 3] =
    ["keyswap rotate --all --at-once 8", "keyswap resume --all", "keyswap status --client orders"];

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
        "keyswap verify",
        "keyswap plan",
        BY_ITSELF,
        "keyswap proxy",
        "keyswap rotate",
        "keyswap resume",
        "keyswap watch",
        "keyswap dev-server --directory keyswap-dev",
        "keyswap rollback",
        "keyswap rotate --hold-at drained",
        "keyswap retire",
        HOLD,
        "keyswap hold --release",
        COMPROMISED[0],
        COMPROMISED[1],
        "keyswap history",
        "keyswap history verify",
        "keyswap report --out rotation.html",
        CONFIRM,
        SEVERAL[0],
        SEVERAL[1],
        SEVERAL[2],
        GAP,
        "keyswap authorities",
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
        let (plain, quoted) = line.split_once('"').unwrap_or((line, ""));
        let mut arguments: Vec<_> = plain.split_whitespace().skip(1).collect();
        arguments.extend(quoted.strip_suffix('"'));
        Command::new(&site.vault, &arguments).directory(here.path()).run()
    };

    assert!(run("keyswap authorities").ends_with(0).stdout.contains("auth0"));
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
    assert!(run("keyswap verify").ends_with(0).stdout.contains("accepts the published secret"));
    assert!(run("keyswap plan").ends_with(0).stdout.contains("keyswap rotate --plan "));
    run("keyswap rotate").ends_with(0);
    // The secret is new.
    assert!(run(BY_ITSELF).ends_with(0).stdout.contains("younger than 90d"));
    run("keyswap resume").says(1, &["nothing to resume"]);
    assert!(run("keyswap watch").ends_with(0).stdout.contains(" done: s-"));
    site.is_rotated_from(&site.first_secret());

    run("keyswap rollback").says(1, &["is done", "`keyswap rotate`"]);
    let second = site.published();
    run("keyswap rotate --hold-at drained").says(3, &["`keyswap retire`", "`keyswap rollback`"]);
    run("keyswap rollback").ends_with(0);
    assert_eq!(site.published(), second);
    run("keyswap rotate --hold-at drained").ends_with(3);
    run("keyswap retire").ends_with(0);
    site.is_rotated_from(&second[0]);

    run(HOLD).ends_with(0);
    run("keyswap rotate").says(3, &["ada", "release freeze", "`keyswap hold --release`"]);
    run("keyswap hold --release").ends_with(0);

    let third = site.published();
    run(COMPROMISED[0]).ends_with(0);
    site.is_rotated_from(&third[0]);
    run(COMPROMISED[1]).says(1, &["nothing to resume"]);

    assert!(run("keyswap history").ends_with(0).stdout.contains("rolled_back"));
    assert!(run("keyswap history verify").ends_with(0).stdout.contains("all as written"));
    run("keyswap report --out rotation.html").ends_with(0);
    let page = std::fs::read_to_string(here.path().join("rotation.html")).unwrap();
    assert!(page.contains("compromised") && !page.contains("<script"), "{page}");

    let file = here.path().join("keyswap.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let printer = "[[application]]\nname = \"printer\"\nmanual = true\n";
    std::fs::write(file, format!("{text}\n{printer}")).unwrap();
    run("keyswap rotate").says(3, &["keyswap confirm printer"]);
    run(CONFIRM).ends_with(0);
    run("keyswap resume").says(3, &["keyswap confirm printer"]);
    run(CONFIRM).ends_with(0);
    run("keyswap resume").ends_with(0);
    let (requests, failed, _) = programs.stop();
    assert!(requests > 0);
    assert_eq!(failed, 0);
}

#[test]
fn a_reader_with_several_clients_gets_what_the_readme_says() {
    let embedded = Embedded::of_several(&["billing", "orders"]);
    let site = &embedded.site;
    let shown = README.split("```toml").find(|part| part.contains("[[client]]")).unwrap();
    let clients = shown.split("```").next().unwrap();
    let own = std::fs::read_to_string(site.configuration()).unwrap();
    // As it stands there, in front of what belongs to the server of this test.
    let server = &own[own.find("[authority]").unwrap()..];
    std::fs::write(site.configuration(), format!("{clients}\n{server}")).unwrap();
    let run = |line: &str| {
        let arguments: Vec<_> = line.split_whitespace().skip(1).collect();
        site.command(&arguments).run()
    };
    // Nobody runs an instance of these applications here.
    let waiting = run(&format!("{} --patience 1ms", SEVERAL[0]));
    waiting.says(3, &["2 of 2 clients", "billing, orders"]);
    assert!(waiting.stderr.contains("invoices: 0 of 3"), "{waiting:#?}");
    run(&format!("{} --patience 1ms", SEVERAL[1])).says(3, &["2 of 2 clients"]);
    assert!(run(SEVERAL[2]).ends_with(0).stdout.starts_with("client orders, "));
}

#[test]
fn a_reader_with_a_zitadel_accepts_the_gap_as_the_readme_says() {
    let embedded = Embedded::zitadel();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    let (command, reason) = GAP.split_once(" --reason ").unwrap();
    let arguments: Vec<_> = command.split_whitespace().skip(1).collect();
    let command = site.command(&arguments).argument("--reason").argument(reason.trim_matches('"'));
    command.run().ends_with(0);
    assert_eq!(site.state().as_deref(), Some("done"));
}
