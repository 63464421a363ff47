//! The rotation of a configuration is rehearsed, and nothing that the configuration names is touched.

mod common;

use std::net::TcpListener;
use std::path::PathBuf;

use common::page::{blocks, shell};
use common::{Command, Output, Vault, eventually};
use keyswap_store::{FileStore, SecretStore};
use serde_json::Value;
use tempfile::TempDir;

/// A configuration of somebody who has a server, which counts who comes.
struct Theirs {
    directory: TempDir,
    vault: Vault,
    server: TcpListener,
}

impl Theirs {
    fn new(authority: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let text = format!(
            "[client]\nid = \"billing \\\"1\\\"\"\n[store]\ndirectory = \"keyswap-store\"\n[authority]\n{}\n\
             [[application]]\nname = \"shop\"\ninstances = 2\n[[application]]\nname = \"reports\"\nmanual = true\n",
            authority.replace("URL", &url)
        );
        std::fs::write(directory.path().join("keyswap.toml"), text).unwrap();
        let vault = Vault::new(directory.path());
        Self { directory, vault, server }
    }

    fn rehearse(&self, arguments: &[&str]) -> Output {
        let command = Command::new(&self.vault, &[&["rehearse"], arguments].concat());
        command.directory(self.directory.path()).run()
    }

    /// Rehearses these parts, and gives what came of it.
    fn rehearsed(&self, parts: &[&str]) -> Value {
        let only: Vec<&str> = parts.iter().flat_map(|part| ["--only", part]).collect();
        let output = self.rehearse(&[&["--json"], only.as_slice()].concat());
        output.ends_with(0);
        let mut lines = output.json_lines();
        assert_eq!(lines.len(), 1, "{output:#?}");
        self.was_not_touched();
        lines.remove(0)
    }

    #[track_caller]
    fn was_not_touched(&self) {
        let came = self.server.accept().map(|(_, from)| from);
        assert!(came.is_err(), "their server got a request from {came:?}");
    }

    /// Every file, with what is in it.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut directories = vec![self.directory.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => directories.push(path),
                    false => files.push((path.clone(), std::fs::read(path).unwrap())),
                }
            }
        }
        files.sort();
        files
    }
}

/// The row of this name.
#[track_caller]
fn row<'a>(report: &'a Value, scenario: &str) -> &'a Value {
    let rows = report["scenarios"].as_array().unwrap();
    let found = rows.iter().find(|row| row["scenario"] == scenario);
    found.unwrap_or_else(|| panic!("no {scenario} in {report:#}"))
}

#[track_caller]
fn is_as_promised(report: &Value) {
    assert_eq!(report["as_promised"], true, "{report:#}");
    assert_eq!(report["failed"], 0, "{report:#}");
    let rows = report["scenarios"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["requests"].as_u64() > Some(0)), "{report:#}");
}

const AUTH0: &str = "kind = \"auth0\"\nurl = \"URL\"\naudience = \"https://api.theirs/\"\n\
    management_client_id = \"rotator\"\nmanagement_secret = { env = \"A_SECRET_THAT_IS_NOT_THERE\" }";

#[test]
fn at_a_server_with_one_secret_it_survives_every_answer_and_touches_neither_server_nor_store() {
    let theirs = Theirs::new(AUTH0);
    let store = theirs.directory.path().join("keyswap-store");
    let store = FileStore::create(store, "billing \"1\"").unwrap();
    let list = [keyswap_core::Generator::default().generate().unwrap()];
    let list = keyswap_core::SecretList::new(list).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store.import(&list)).unwrap();
    let before = theirs.files();
    let report = theirs.rehearsed(&["undisturbed", "answers", "restart"]);
    assert!(theirs.files() == before, "nothing of theirs is another");
    is_as_promised(&report);
    assert!(report["saved"].as_u64() > Some(0), "{report:#}");
    for scenario in ["undisturbed", "no answer, change made later", "429 with Retry-After"] {
        assert_eq!(row(&report, scenario)["finished"], 1, "{report:#}");
    }
    assert_eq!(report["manual"], serde_json::json!(["reports"]));
}

#[test]
fn at_a_server_with_two_secrets_it_goes_back_wherever_there_is_a_way() {
    let theirs = Theirs::new(
        "kind = \"okta\"\nurl = \"URL\"\nscope = \"read write\"\napi_token = { file = \"no-such-file\" }",
    );
    let report = theirs.rehearsed(&["back"]);
    is_as_promised(&report);
    assert_eq!(row(&report, "taken back from adding")["rolled_back"], 1, "{report:#}");
    assert_eq!(row(&report, "taken back from deactivated")["rolled_back"], 1, "{report:#}");
    assert_eq!(row(&report, "taken back from removing")["no_way_back"], 1, "{report:#}");
}

#[test]
fn at_a_server_with_a_gap_it_says_so_and_counts_what_fails_there_apart() {
    let theirs = Theirs::new(
        "kind = \"zitadel\"\nurl = \"URL\"\nproject_id = \"1\"\napplication_id = \"2\"\n\
         token = { file = \"no-such-file\" }",
    );
    let output = theirs.rehearse(&["--only", "undisturbed", "--only", "answers"]);
    let said = &output.ends_with(0).stdout;
    assert!(said.contains("requests fail in the gap at each rotation"), "{said}");
    assert!(said.contains("quiet period 10m 30s to 300ms (1/2100)"), "{said}");
    assert!(said.contains(": failed 0"), "{said}");
    assert!(said.contains("reports: of those that cannot report"), "{said}");
    assert!(said.trim_end().ends_with("What a rotation would do: `keyswap plan`"), "{said}");
    theirs.was_not_touched();
}

#[test]
fn a_rotator_that_dies_at_an_act_is_taken_up_in_whichever_state_that_was() {
    let theirs = Theirs::new(AUTH0);
    // All of them take a minute on a small machine.
    let output = theirs.rehearse(&["--json", "--only", "crash", "--every", "4"]);
    let report = output.ends_with(0).json_lines().remove(0);
    is_as_promised(&report);
    let rows = report["scenarios"].as_array().unwrap();
    let crashes = rows.iter().filter(|row| row["scenario"].as_str().unwrap().contains("crash in "));
    let finished: Vec<_> = crashes.filter(|row| row["finished"] == row["rotations"]).collect();
    assert!(finished.len() > 3, "{report:#}");
}

#[test]
fn a_server_that_nothing_here_is_like_is_refused_with_the_reason_and_the_way_out() {
    let exec = Theirs::new("kind = \"exec\"\ncommand = [\"./our-server\"]");
    exec.rehearse(&[]).says(2, &["\"exec\" cannot be rehearsed", "a server for tests"]);
    let cognito = Theirs::new(
        "kind = \"cognito\"\nuser_pool_id = \"eu-west-1_a\"\ndomain = \"URL\"\nscope = \"a/b\"",
    );
    cognito.rehearse(&[]).says(2, &["\"cognito\" cannot be rehearsed", "keyswap plan"]);
}

const PAGE: &str = include_str!("../../../docs/rehearse.md");

#[test]
fn the_page_shows_what_is_said_and_each_part_that_there_is() {
    let theirs = Theirs::new(AUTH0);
    let blocks = blocks(PAGE);
    let shown = blocks.iter().find(|block| block.language == "text").unwrap();
    let commands: Vec<_> = blocks.iter().filter(|block| block.language == "sh").collect();
    // The first of them is all of it, which takes a minute on a small machine.
    assert_eq!(commands[0].text, "keyswap rehearse\n");
    let ran = shell(&theirs.vault, theirs.directory.path(), &commands[1].text, &[]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let label =
        |line: &str| line.split("  ").next().map(str::trim_end).unwrap_or_default().to_owned();
    let shown: Vec<_> = shown.text.lines().map(label).collect();
    for line in ran.said.lines().filter(|line| line.starts_with(' ')) {
        assert!(shown.contains(&label(line)), "{line} is not on the page");
    }
    let help = theirs.rehearse(&["--help"]);
    let parts = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let parts: Vec<_> = parts.filter(|part| *part != "--only").collect();
    assert_eq!(parts.len(), 7);
    for part in parts {
        assert!(help.stdout.contains(&format!("- {part}:")), "{part} is not in {help:#?}");
    }
}

#[test]
fn a_rehearsal_removes_the_directory_of_one_that_was_killed() {
    let theirs = Theirs::new(AUTH0);
    let temporary = tempfile::tempdir().unwrap();
    let rehearse = || {
        let command = Command::new(&theirs.vault, &["rehearse", "--only", "undisturbed"]);
        command.directory(theirs.directory.path()).environment("TMPDIR", temporary.path())
    };
    // One that was killed before it had put anything into its directory left an empty one, which may stay.
    let left = || {
        let mut entries = std::fs::read_dir(temporary.path()).unwrap();
        entries.any(|entry| entry.unwrap().path().join("alive").exists())
    };
    let mut killed = rehearse().spawn();
    eventually("its directory is there", || left().then_some(()));
    killed.kill();
    drop(killed);
    assert!(left());
    rehearse().run().ends_with(0);
    assert!(!left());
}
