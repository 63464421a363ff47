//! A window of 40 columns, a locale without UTF-8, and who wants no colours.

mod common;

use common::{AtTerminal, Command, Embedded, Programs, Vault};

#[test]
fn what_a_rotation_shows_can_be_read_in_40_columns_and_in_ascii() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let _programs = Programs::start(site, "billing", 2, 10);
    for locale in ["C", "C.UTF-8"] {
        let shown_by = |arguments: &[&str]| {
            let command = site.command(arguments).environment("LC_ALL", locale);
            let shown = command.at_terminal(40).ends_with(0);
            assert!(locale != "C" || shown.is_ascii(), "{arguments:?}: {shown}");
            AtTerminal::fits(40, &shown);
            shown
        };
        let verified = shown_by(&["verify"]);
        assert!(verified.contains("ok       server"), "{verified}");
        let rotated = shown_by(&["rotate", "--yes", "--by", "ada", "--reason", "ticket 4711"]);
        assert!(rotated.contains("staged") && rotated.contains("is retired"), "{rotated}");
        assert_eq!(rotated.contains('⠁'), locale != "C", "{rotated}");
        let history = shown_by(&["history"]);
        assert!(history.contains("state: generated\r\n"), "{history}");
        assert!(history.contains("what is on record: ada asked to\r\n"), "{history}");
        let status = shown_by(&["status"]);
        assert!(status.contains("live: yes\r\n"), "{status}");
    }
    // Where nobody looks, a row stays a line.
    let history = site.command(&["history"]).environment("LC_ALL", "C").run();
    assert!(history.stdout.is_ascii() && history.stdout.contains("ada asked to rotate"));
}

#[test]
fn the_demo_can_be_read_in_40_columns_and_in_ascii() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    let arguments = ["demo", "--instances", "1", "--rate", "20", "--window", "200ms"];
    let demo = Command::new(&vault, &arguments).environment("LC_ALL", "C");
    let shown = demo.at_terminal(40).ends_with(0);
    assert!(shown.is_ascii() && shown.contains("| failed "), "{shown}");
    AtTerminal::fits(40, &shown);
}

/// Whether it changes the look of its letters: ESC, `[`, numbers, `m`.
fn has_colours(text: &str) -> bool {
    let codes = text.split("\u{1b}[").skip(1);
    codes.into_iter().any(|code| {
        code.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ';')
            .starts_with('m')
    })
}

#[test]
fn there_are_no_colours_for_who_wants_none_and_where_there_is_no_terminal() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    for (no_color, colours) in [("", true), ("1", false)] {
        let shown = |command: &str| {
            let command = site.command(&[command]).environment("RUST_LOG", "debug");
            command.environment("TERM", "xterm").environment("NO_COLOR", no_color).at_terminal(80)
        };
        for command in ["watch", "verify"] {
            assert_eq!(has_colours(&shown(command).ends_with(0)), colours, "{command}");
        }
    }
    let verify = site.command(&["verify"]).environment("RUST_LOG", "debug");
    let piped = verify.environment("CLICOLOR_FORCE", "1").run();
    assert!(!piped.stderr.is_empty() && !piped.stderr.contains('\u{1b}'), "{piped:#?}");
}
