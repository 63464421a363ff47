//! The command at a server that a program of one's own administers.

mod common;

use std::path::Path;

use common::{Command, Embedded, Output, Vault};

/// A server in a directory, which this program administers.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../keyswap-admin/tests/exec/server.sh");

struct World {
    embedded: Embedded,
}

impl World {
    /// With this in `[authority]` behind `kind`, and the program beside the configuration.
    fn new(authority: &str) -> Self {
        let embedded = Embedded::start();
        let site = &embedded.site;
        for part in ["state", "state/slots", "state/inactive"] {
            std::fs::create_dir(site.path(part)).unwrap();
        }
        std::fs::write(site.path("state/slots/only"), site.first_secret()).unwrap();
        std::os::unix::fs::symlink(PROGRAM, site.path("our-server")).unwrap();
        let text = std::fs::read_to_string(site.configuration()).unwrap();
        let (start, end) = ("kind = \"auth0\"", "\n[store]");
        let before = &text[text.find(start).unwrap()..text.find(end).unwrap()];
        site.configure(before, &format!("kind = \"exec\"\n{authority}\n"));
        site.import();
        embedded.idle_instance();
        Self { embedded }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.embedded.site.command(arguments).run()
    }

    fn held(&self) -> String {
        std::fs::read_to_string(self.embedded.site.path("state/slots/only")).unwrap()
    }
}

#[test]
fn a_program_beside_the_configuration_is_run_there_and_rotates() {
    // The argument is relative as well.
    let world = World::new("command = [\"./our-server\", \"state\", \"one-own\"]");
    let site = &world.embedded.site;
    let output = world.run(&["rotate"]);
    output.ends_with(0);
    assert!(output.stderr.contains("./our-server: asked to set_secret"), "{output:#?}");
    assert_eq!(site.published(), [world.held()]);
    assert_ne!(world.held(), site.first_secret());
    let holds = Path::new("state/slots/only");
    std::fs::remove_file(site.path(holds.to_str().unwrap())).unwrap();
    site.vault.search_files();
}

#[test]
fn what_is_wrong_with_the_program_is_said_before_anything_is_changed() {
    for (authority, code, named) in [
        ("command = []", 2, "names no program"),
        ("command = [\"./no-server\"]", 2, "it cannot be started (No such file"),
        ("command = [\"./state\"]", 2, "it cannot be started (Permission denied"),
        ("command = [\"true\"]", 1, "answered nothing"),
        ("command = [\"false\"]", 1, "it ended with exit status: 1"),
        ("command = [\"cat\"]", 1, "missing field `outcome`"),
        ("command = [\"true\"]\nenvironment = [\"NOT_SET_HERE\"]", 2, "NOT_SET_HERE is not set"),
        ("command = [\"true\"]\ntimeout = \"1h\"", 2, "100ms to 5m"),
        ("command = \"true\"", 2, "invalid type"),
        ("command = [\"true\"]\nurl = \"https://auth.example\"", 2, "unknown field `url`"),
        (
            "command = [\"sh\", \"-c\", \"echo '{\\\"keyswap\\\":1,\\\"outcome\\\":\\\"error\\\",\
             \\\"error\\\":\\\"permission\\\",\\\"reason\\\":\\\"ask ada\\\"}'\"]",
            4,
            "permission: ask ada",
        ),
    ] {
        let world = World::new("command = [\"./our-server\", \"state\", \"one-own\"]");
        let site = &world.embedded.site;
        site.configure("command = [\"./our-server\", \"state\", \"one-own\"]", authority);
        world.run(&["rotate"]).says(code, &[named]);
        assert_eq!((site.state(), world.held()), (None, site.first_secret()));
    }
}

#[test]
fn the_table_of_authorities_is_printed_for_people_and_for_programs() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    let run = |arguments: &[&str]| Command::new(&vault, arguments).run();
    let table = run(&["authorities"]);
    let table = &table.ends_with(0).stdout;
    for part in ["okta", "14 to 100", "server, with a", "declared"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 110), "{table}");
    let lines = run(&["authorities", "--json"]);
    let lines = lines.ends_with(0).json_lines();
    let okta = lines.iter().find(|line| line["kind"] == "okta").unwrap();
    assert_eq!((okta["secrets"].as_u64(), okta["deactivation"].as_bool()), (Some(2), Some(true)));
    // What the help shows finds a line.
    let help = run(&["authorities", "--help"]);
    let help = &help.ends_with(0).stdout;
    assert!(help.contains(r#"keyswap authorities --json | grep '"kind":"okta"'"#), "{help}");
    assert!(lines.iter().any(|line| line.to_string().contains(r#""kind":"okta""#)));
}
