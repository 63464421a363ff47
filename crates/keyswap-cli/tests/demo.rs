//! The demo: what it ends with, in each of its forms, and that no secret shows.

mod common;

use common::{Command, Output, STATES, Vault};
use serde_json::Value;

fn demo(vault: &Vault, arguments: &[&str]) -> Output {
    let arguments = [&["demo", "--window", "500ms", "--rate", "50"], arguments].concat();
    Command::new(vault, &arguments).run()
}

fn no_vault() -> (tempfile::TempDir, Vault) {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    (directory, vault)
}

/// The number in the row of the final table that begins so.
#[track_caller]
fn number(output: &Output, row: &str) -> u64 {
    let line = output
        .stdout
        .lines()
        .find(|line| line.trim_matches(['│', ' ']).starts_with(row))
        .unwrap_or_else(|| panic!("no row {row:?} in {output:#?}"));
    line.split(|character: char| !character.is_ascii_digit())
        .rfind(|part| !part.is_empty())
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn the_secret_changes_and_no_request_fails() {
    let (_directory, vault) = no_vault();
    let output = demo(&vault, &[]);
    output.ends_with(0);
    assert!(number(&output, "requests") > 50, "{output:#?}");
    assert_eq!(number(&output, "failed"), 0, "{output:#?}");
    assert!(number(&output, "refused first, saved by the fallback") > 0, "{output:#?}");
    let refused = output.stdout.lines().find(|line| line.contains("old secret refused")).unwrap();
    assert!(refused.contains("yes"), "{refused}");
    for state in ["generated", "staged", "adopted", "cutting_over", "cut_over", "promoted", "done"]
    {
        assert!(output.stderr.lines().any(|line| line.starts_with(state)), "{state}: {output:#?}");
    }
}

#[test]
fn it_changes_as_often_as_asked() {
    let (_directory, vault) = no_vault();
    let output = demo(&vault, &["--rotations", "2"]);
    output.ends_with(0);
    assert!(output.stdout.contains("rotation 2 of 2"), "{output:#?}");
    assert_eq!(number(&output, "failed"), 0, "{output:#?}");
    let ended = output.stderr.lines().filter(|line| line.starts_with("done")).count();
    assert_eq!(ended, 2, "{output:#?}");
}

#[test]
fn with_chaos_each_state_is_killed_in_the_server_fails_and_no_request_does() {
    let (directory, vault) = no_vault();
    let kept = directory.path().join("kept");
    let output = demo(&vault, &["--chaos", "--directory", kept.to_str().unwrap()]);
    output.ends_with(0);
    assert!(number(&output, "requests") > 50, "{output:#?}");
    assert_eq!(number(&output, "failed"), 0, "{output:#?}");
    assert!(number(&output, "refused first, saved by the fallback") > 0, "{output:#?}");
    let kills = to_the_end().map(|state| number(&output, &format!("in {state} ")));
    let kills: Vec<_> = kills.collect();
    assert!(kills.iter().all(|kills| *kills > 0), "{output:#?}");
    let total: u64 = kills.iter().sum();
    assert_eq!(number(&output, "rotating process killed"), total, "{output:#?}");
    assert_eq!(number(&output, "faults of the server"), 6, "{output:#?}");
    for fault in [
        "slow answer, and killed meanwhile",
        "500 when asked what it holds",
        "429 with Retry-After",
        "503 to the change",
        "no answer, change not made",
        "no answer, change made ",
    ] {
        assert_eq!(number(&output, fault), 1, "{fault}: {output:#?}");
    }
    let refused = output.stdout.lines().find(|line| line.contains("old secret refused")).unwrap();
    assert!(refused.contains("yes"), "{refused}");
    // What is kept can be looked at with the commands that were killed.
    let status = Command::new(&vault, &["status", "--config"]).argument(kept.join("keyswap.toml"));
    let status = status.run();
    assert!(status.ends_with(0).stdout.contains("done"), "{status:#?}");
}

#[test]
fn with_chaos_and_json_each_rotation_says_where_it_was_killed_and_goes_on() {
    let (_directory, vault) = no_vault();
    let output = demo(&vault, &["--chaos", "--json", "--rotations", "2", "--instances", "2"]);
    output.ends_with(0);
    assert_eq!(output.stderr, "", "nothing else is said");
    let lines = output.json_lines();
    let (last, before) = lines.split_last().unwrap();
    assert_eq!((&last["event"], &last["failed"]), (&"demo".into(), &0.into()), "{last}");
    assert_eq!(last["old_secret_refused"], true);
    for state in to_the_end() {
        let killed = before.iter().filter(|one| one["event"] == "killed" && one["state"] == state);
        let killed = killed.count();
        assert!(killed >= 2, "killed in {state} {killed} times: {before:#?}");
        assert_eq!(last["killed"][state], killed, "{state}: {last}");
    }
    let is_end = |one: &Value| one["event"] == "killed" && one["state"] == "done";
    let rotations: Vec<_> = before.split_inclusive(is_end).collect();
    assert_eq!(rotations.len(), 2, "{before:#?}");
    for (rotation, state) in rotations.iter().flat_map(|one| to_the_end().map(move |s| (one, s))) {
        let count = |name: &str| {
            rotation.iter().filter(|one| one["event"] == name && one["state"] == state).count()
        };
        // One that dies between the journal and the line that tells of it leaves that to the next.
        let told = count("entered") == 1 || count("entered") == 0 && count("killed") > 0;
        assert!(told, "{state}: {rotation:#?}");
    }
    // Who was killed is followed by another, which takes up where it was, unless there is nothing left.
    let told = before.iter().filter(|one| ["killed", "taken_up"].contains(&event(one)));
    let told: Vec<_> = told.collect();
    for (killed, then) in told.iter().zip(&told[1..]).filter(|(one, _)| event(one) == "killed") {
        let (expected, state) = match killed["state"] == "done" {
            true => ("killed", "generated".into()),
            false => ("taken_up", killed["state"].clone()),
        };
        assert_eq!((event(then), &then["state"]), (expected, &state), "{told:#?}");
    }
    assert_eq!(last["faults"]["no answer, change made later"], 1, "{last}");
    assert_eq!(last["faults"]["no answer, change not made"], 2, "{last}");
}

fn to_the_end() -> impl Iterator<Item = &'static str> {
    STATES.into_iter().chain(["done"])
}

fn event(line: &Value) -> &str {
    line["event"].as_str().unwrap()
}

#[test]
fn the_ordinary_way_fails_requests_and_says_so() {
    let (_directory, vault) = no_vault();
    let output = demo(&vault, &["--without-fallback"]);
    output.says(1, &["requests failed"]);
    assert!(number(&output, "failed") > 0, "{output:#?}");
    assert!(number(&output, "status 401") > 0, "what they got is shown: {output:#?}");
    let failed =
        format!("{} of {} requests", number(&output, "failed"), number(&output, "requests"));
    assert!(output.paragraph().contains(&failed), "{output:#?}");
}

#[test]
fn with_json_each_line_is_an_object() {
    let (_directory, vault) = no_vault();
    let output = demo(&vault, &["--json", "--instances", "2"]);
    output.ends_with(0);
    assert_eq!(output.stderr, "", "nothing else is said");
    let lines = output.json_lines();
    assert!(lines.iter().all(|line| line["event"].is_string()), "{lines:#?}");
    let entered: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "entered")
        .map(|line| line["state"].as_str().unwrap())
        .collect();
    let expected = [
        "generated",
        "staged",
        "adopted",
        "cutting_over",
        "cut_over",
        "confirmed",
        "promoted",
        "drained",
        "retiring",
        "retired",
        "done",
    ];
    assert_eq!(entered, expected);
    let last = lines.last().unwrap();
    assert_eq!(last["event"], "demo");
    assert_eq!(last["failed"], 0);
    assert_eq!(last["old_secret_refused"], true);
    assert!(last["requests"].as_u64().unwrap() > 50, "{last}");
    assert!(last["attempts"].as_u64() > last["requests"].as_u64(), "{last}");
}

#[test]
fn no_output_shows_a_secret_whatever_is_logged() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let vault = Vault::new(directory.path());
    let output =
        Command::new(&vault, &["demo", "--window", "500ms", "--rate", "20", "--directory"])
            .argument(&kept)
            .environment("RUST_LOG", "trace")
            .run();
    // The run has looked for secrets in the directory all the while, and searched what was said.
    output.ends_with(0);
    for part in [" TRACE ", " DEBUG ", "keyswap_tower", "keyswap_store", "hyper_util"] {
        assert!(output.stderr.contains(part), "everything is logged, also {part:?}");
    }
    assert!(!output.stderr.contains('\u{1b}'), "no colours in a file");
    assert_eq!(vault.len(), 2, "the old secret and the new one stand in the kept store");
    vault.search_files();
    for text in [&output.stdout, &output.stderr] {
        // The management client's secret is in no file: look for anything that has the form of one.
        let runs = text.split(|character: char| !character.is_ascii_alphanumeric());
        let suspects: Vec<_> = runs
            .filter(|run| run.len() == 64 && !run.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .collect();
        assert_eq!(suspects, Vec::<&str>::new());
        for (position, _) in text.match_indices("client_secret") {
            let behind = text[position..].trim_start_matches("client_secret").chars().take(40);
            let behind: String = behind.collect();
            let value = behind.trim_start_matches(['"', '\\', ':', '=', ' ']);
            assert!(
                value.is_empty() || !value.starts_with(|first: char| first.is_ascii_alphanumeric()),
                "client_secret{behind}"
            );
        }
    }
    // The kept store is one that can be looked at afterwards, and that another demo leaves alone.
    assert!(kept.join("demo-client").join("history.jsonl").exists());
    let again = Command::new(&vault, &["demo", "--directory"]).argument(&kept).run();
    again.says(1, &["kept holds the store of an earlier demo", "another --directory"]);
}

#[test]
fn a_directory_that_is_in_use_is_not_taken() {
    let (directory, vault) = no_vault();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = Command::new(&vault, &["demo", "--directory"]).argument(&file).run();
    output.says(1, &["file", "not a directory", "name a directory"]);
    let output = Command::new(&vault, &["demo", "--rate", "0"]).run();
    output.ends_with(2);
    let output = Command::new(&vault, &["demo", "--chaos", "--without-fallback"]).run();
    output.ends_with(2);
    assert!(output.stderr.contains("cannot be used with"), "{output:#?}");
    let output = Command::new(&vault, &["demo", "--window", "soon"]).run();
    output.ends_with(2);
    assert!(output.stderr.contains("300ms, 3s, 5m"), "{output:#?}");
}
