//! What the command says of itself: help, completions, manual pages.

mod common;

use std::path::Path;

use common::{Command, Output, Vault};

/// What each command's help is, as of the last time somebody looked at it: `KEYSWAP_BLESS=1 cargo test -p keyswap-cli
/// --test help` writes it anew.
const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt");

fn run(vault: &Vault, arguments: &[&str]) -> Output {
    // The defaults that help shows come from the environment.
    let command = Command::new(vault, arguments).environment("COLUMNS", "100");
    command.environment("USER", "ada").environment("KEYSWAP_CONFIG", "keyswap.toml").run()
}

/// The command line is refused, with these words.
fn refused(vault: &Vault, arguments: &[&str], words: &[&str]) {
    let output = run(vault, arguments);
    let said = &output.ends_with(2).stderr;
    assert!(words.iter().all(|word| said.contains(word)), "{words:?} are not all in {said}");
}

/// The commands, as the help of all of them lists these.
fn commands(help: &str) -> Vec<&str> {
    let listed = help.split_once("Commands:\n").expect("a list of commands").1;
    let names = listed.lines().take_while(|line| !line.is_empty());
    let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

#[test]
fn the_help_of_every_command_is_as_it_was_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    let all = run(&vault, &["--help"]);
    let mut text = format!("$ keyswap --help\n{}", all.ends_with(0).stdout);
    let names = commands(&all.stdout);
    assert!(names.len() > 15 && names.contains(&"rotate"), "{names:?}");
    for name in names {
        let help = run(&vault, &[name, "--help"]);
        assert!(help.ends_with(0).stderr.is_empty());
        text.push_str(&format!("\n$ keyswap {name} --help\n{}", help.stdout));
    }
    if std::env::var_os("KEYSWAP_BLESS").is_some() {
        std::fs::write(SNAPSHOT, &text).unwrap();
    }
    let before = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    let differs = text.lines().zip(before.lines()).find(|(now, then)| now != then);
    assert!(
        text == before,
        "the help changed, first at {differs:?}: look at it, and write tests/help.txt anew with KEYSWAP_BLESS=1"
    );
}

#[test]
fn a_command_or_an_option_that_is_not_known_is_told_with_the_nearest_one() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    refused(&vault, &["rotat"], &["unrecognized subcommand 'rotat'", "'rotate'"]);
    refused(&vault, &["rotate", "--paticence", "1m"], &["'--paticence'", "'--patience'"]);
}

#[test]
fn a_shell_is_given_every_command_and_option() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&vault, &["completions", shell]);
        let script = &script.ends_with(0).stdout;
        for word in ["rotate", "compromised", "dev-server", "history"] {
            assert!(script.contains(word), "{shell} is not given {word}");
        }
    }
    refused(&vault, &["completions", "tcsh"], &["'tcsh'", "bash"]);
}

#[test]
fn each_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    let pages = directory.path().join("man1");
    let man = || Command::new(&vault, &["man"]).argument(&pages).run();
    man().says(1, &["man1", "make that directory first"]);
    std::fs::create_dir(&pages).unwrap();
    man().ends_with(0);
    let all = run(&vault, &["--help"]);
    for name in commands(&all.stdout) {
        let page = pages.join(format!("keyswap-{name}.1"));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains(".SH SYNOPSIS"), "{name}");
    }
    assert!(Path::new(&pages.join("keyswap.1")).exists());
}
