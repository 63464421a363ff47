//! `keyswap verify`: the examples of its page, and that it leaves no trace.

mod common;

use common::{CLIENT, Embedded, Example, Output, examples, set_mode};

const PAGE: &str = include_str!("../../../docs/verify.md");

fn site_with_secret() -> Embedded {
    let embedded = Embedded::start();
    embedded.site.import();
    embedded
}

/// What the reader of the example has in front of him.
fn set_up(heading: &str) -> Embedded {
    match heading {
        "All is as it should be" | "For a program" => {
            let embedded = site_with_secret();
            embedded.idle_instance();
            embedded
        }
        "A program that is not there" => site_with_secret(),
        "A scope that is missing" => {
            let embedded = Embedded::with_scopes(&["read:clients", "read:client_keys"]);
            embedded.site.import();
            embedded.idle_instance();
            embedded
        }
        "Another secret at the server" => {
            let embedded = site_with_secret();
            embedded.idle_instance();
            embedded.server().set_secret(CLIENT, "set-by-somebody-else-0123456789");
            embedded
        }
        "No room for another secret" => {
            let embedded = Embedded::okta();
            embedded.site.import();
            embedded.idle_instance();
            let _ = embedded.server().add_secret(CLIENT, "somebody-elses-secret-012345");
            embedded
        }
        "A server that chooses the value" => {
            let embedded = Embedded::zitadel();
            embedded.site.import();
            embedded.idle_instance();
            embedded
        }
        "A rotation that is under way" => {
            let embedded = site_with_secret();
            embedded.site.command(&["rotate", "--patience", "1ms"]).run().ends_with(3);
            embedded.idle_instance();
            embedded
        }
        "A store that others can read" => {
            let embedded = site_with_secret();
            set_mode(&embedded.site.store(), 0o755);
            embedded
        }
        "The address of the dashboard" => {
            let embedded = site_with_secret();
            embedded.idle_instance();
            embedded.site.configure(&embedded.site.url, "https://manage.auth0.com");
            embedded
        }
        other => panic!("nothing sets up the example {other:?}"),
    }
}

/// Runs it, and sees that it changed nothing.
fn verify(embedded: &Embedded, arguments: &[&str]) -> Output {
    embedded.looks(&[&["verify"], arguments].concat())
}

#[test]
fn each_example_of_the_page_prints_what_the_page_shows_and_changes_nothing() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 10, "{}", examples.len());
    let mut differ = Vec::new();
    for Example { heading, command, printed: shown } in examples {
        let embedded = set_up(&heading);
        let mut arguments = command.split_whitespace();
        assert_eq!((arguments.next(), arguments.next()), (Some("keyswap"), Some("verify")));
        let arguments: Vec<_> = arguments.collect();
        let output = verify(&embedded, &arguments);
        let text = embedded.printed(&output);
        if text != shown {
            differ.push(format!("## {heading}\n{text}"));
        }
        set_mode(&embedded.site.store(), 0o700);
    }
    assert!(differ.is_empty(), "docs/verify.md should show:\n{}", differ.join("\n"));
}

#[test]
fn the_exit_code_is_the_one_that_a_rotation_would_end_with_and_the_worst_of_several() {
    for (heading, code) in [
        ("All is as it should be", 0),
        ("A program that is not there", 0),
        ("A server that chooses the value", 0),
        ("A scope that is missing", 4),
        ("Another secret at the server", 1),
        ("A store that others can read", 1),
        ("The address of the dashboard", 2),
    ] {
        let embedded = set_up(heading);
        verify(&embedded, &[]).ends_with(code);
        set_mode(&embedded.site.store(), 0o700);
    }
    let embedded = Embedded::of_several(&["billing", "orders"]);
    verify(&embedded, &["--all"]).ends_with(0);
    embedded.server().set_secret("orders", "set-by-somebody-else-0123456789");
    let output = verify(&embedded, &["--all"]);
    output.ends_with(1);
    assert!(
        output.stdout.contains("client billing\n") && output.stdout.contains("client orders\n")
    );
    assert!(
        output.stderr.contains("1 of 2 clients") && output.stderr.contains("orders"),
        "{output:#?}"
    );
    let json = verify(&embedded, &["--all", "--json"]).json_lines();
    assert_eq!(
        (json.len(), &json[0]["level"], &json[1]["level"]),
        (2, &"ok".into(), &"error".into())
    );
}

#[test]
fn a_hold_is_waited_for_and_a_journal_that_is_damaged_needs_a_person() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let hold = ["hold", "--by", "ada", "--reason", "release freeze"];
    site.command(&hold).run().ends_with(0);
    let held = verify(&embedded, &[]);
    held.says(3, &["rotation"]);
    assert!(held.stdout.contains("release freeze"), "{held:#?}");
    assert!(held.stdout.contains("`keyswap hold --release`"), "{held:#?}");
    std::fs::write(site.client_directory().join("rotation.json"), "{").unwrap();
    set_mode(&site.client_directory().join("rotation.json"), 0o600);
    verify(&embedded, &[]).says(6, &["rotation"]);
}

#[test]
fn what_cannot_be_opened_or_reached_hides_nothing_of_the_rest() {
    let mut embedded = site_with_secret();
    std::fs::rename(embedded.site.store(), embedded.site.path("elsewhere")).unwrap();
    let output = embedded.site.command(&["verify"]).run();
    output.says(1, &["store"]);
    assert!(output.stdout.contains("`keyswap init` makes it"), "{output:#?}");
    assert!(output.stdout.contains("takes the management credentials"), "{output:#?}");
    std::fs::rename(embedded.site.path("elsewhere"), embedded.site.store()).unwrap();
    embedded.die();
    let output = embedded.site.command(&["verify"]).run();
    output.says(1, &["server"]);
    assert!(output.stdout.contains("holds revision 1"), "{output:#?}");
    std::fs::remove_file(embedded.site.path("management-secret")).unwrap();
    let output = embedded.site.command(&["verify"]).run();
    output.says(2, &["server"]);
    assert!(output.stdout.contains("management-secret"), "{output:#?}");
}

#[test]
fn a_client_that_rotates_itself_is_looked_at_without_joining_its_store() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.configure(
        "management_secret = { file = \"management-secret\" }",
        "management_secret = { store = \"keyswap-store\" }",
    );
    site.configure("[client]\nid = \"billing\"", "[client]\nid = \"keyswap-rotator\"");
    let secret = site.path("management-secret");
    site.command(&["init", "--client-id", "keyswap-rotator", "--secret-file"])
        .argument(secret)
        .run()
        .ends_with(0);
    let output = verify(&embedded, &[]);
    output.ends_with(2);
    assert!(output.stdout.contains("declare [[client.application]] with name = \"keyswap\""));
    assert!(output.stdout.contains("accepts the published secret"), "{output:#?}");
}
