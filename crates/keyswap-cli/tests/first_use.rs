//! The first use: from an empty directory to a finished rotation, by the quick start page alone.

mod common;

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Child;

use common::page::{Block, Ran, blocks, shell};
use common::{Command, Running, Vault, eventually};

const PAGE: &str = include_str!("../../../docs/quick-start.md");
/// Where `keyswap proxy` listens unless it is told otherwise, and the page with it.
const PROXY: &str = "http://127.0.0.1:4480";

/// The shell blocks under this heading.
fn under(heading: &str) -> Vec<String> {
    let of = |block: &Block| block.heading == heading && block.language == "sh";
    let found: Vec<_> = blocks(PAGE).into_iter().filter(of).map(|block| block.text).collect();
    assert!(!found.is_empty(), "the page has no {heading:?} any more");
    found
}

#[track_caller]
fn well(ran: &Ran) -> &str {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    &ran.said
}

/// What runs in a terminal of its own, until Ctrl-C; and the address that it says first. It listens at a free port, since
/// another test may be at that of the page; all else is as the page has it.
fn serve(vault: &Vault, directory: &Path, line: &str) -> (Running, String) {
    let words = line.split_whitespace().skip(1).chain(["--listen", "127.0.0.1:0"]);
    let mut served = Command::new(vault, &words.collect::<Vec<_>>()).directory(directory).spawn();
    let said = eventually("it serves", || {
        assert!(!served.ended(), "{}", served.stderr());
        Some(served.stdout()).filter(|said| said.contains("ready"))
    });
    let (_, rest) = said.split_once("http://").unwrap();
    let host = rest.split(|letter: char| !letter.is_ascii_digit() && !".:".contains(letter));
    (served, format!("http://{}", host.into_iter().next().unwrap()))
}

/// A program of the page, in the shell of its terminal, and what that shows.
struct Program {
    shell: Child,
    terminal: PathBuf,
}

impl Program {
    fn start(directory: &Path, text: &str) -> Self {
        let terminal = directory.join("terminal");
        let shown = File::create(&terminal).unwrap();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", text]).current_dir(directory).process_group(0);
        shell.stdout(shown.try_clone().unwrap()).stderr(shown);
        Self { shell: shell.spawn().unwrap(), terminal }
    }

    fn shows(&self) -> String {
        std::fs::read_to_string(&self.terminal).unwrap()
    }
}

impl Drop for Program {
    /// As a terminal that is closed, the shell and what runs in it. An interruption may be ignored below these tests.
    fn drop(&mut self) {
        let group = format!("-{}", self.shell.id());
        let _ = std::process::Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.shell.wait();
    }
}

#[test]
#[ignore = "the program of the page is curl, which not every machine with Rust has; .ci/run has it"]
fn a_first_use_by_the_page_alone_ends_with_a_rotation_and_no_failed_request() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let vault = Vault::new(here);
    let run = |directory: &str, text: &str| shell(&vault, &here.join(directory), text, &[]);

    let (server, _) = serve(&vault, here, &under("A server to try it on")[0]);
    assert!(well(&run("", &under("The present secret")[0])).contains("the present secret of"));
    let programs = under("A program");
    let [proxy, program] = programs.as_slice() else { panic!("{programs:?}") };
    let directory = here.join("keyswap-dev");
    let (proxy, address) = serve(&vault, &directory, proxy);
    assert!(program.contains(PROXY), "{program}");
    let program = Program::start(here, &program.replace(PROXY, &address));
    eventually("the program signs in", || program.shows().contains("...").then_some(()));

    let rotates = under("Look, and rotate");
    let said = run("keyswap-dev", &rotates[0]);
    assert!(well(&said).contains("accepts the published secret"));
    assert!(said.said.contains("billing/") && said.said.contains("is retired"), "{said:?}");
    let said = run("keyswap-dev", &rotates[1]);
    assert!(
        well(&said).contains("done for") && said.said.contains("my first rotation"),
        "{said:?}"
    );

    let tries = under("Things to try");
    let [back, refused] = tries.as_slice() else { panic!("{tries:?}") };
    let said = run("keyswap-dev", back);
    assert!(well(&said).contains("ended with 3") && said.said.contains("rolled back"), "{said:?}");

    let shows = program.shows();
    drop(program);
    vault.search("the terminal of the program", &shows);
    assert!(shows.chars().all(|letter| letter == '.'), "a request failed: {shows}");
    let said = run("", &refused.replace(PROXY, &address));
    let counted = |line: &str| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
    let counted: u64 = well(&said).lines().filter_map(counted).sum();
    assert!(counted > 0 && said.said.contains("verdict=\"refused\""), "{said:?}");
    for each in [proxy, server] {
        each.signal("INT");
        each.wait().ends_with(0);
    }
}

#[test]
fn the_same_at_auth0_goes_as_the_page_says() {
    let server = common::DevServer::start();
    let site = &server.site;
    let here = tempfile::tempdir().unwrap();
    for secret in ["client-secret", "management-secret"] {
        std::fs::copy(site.path(secret), here.path().join(secret)).unwrap();
    }
    let run = |text: &str| shell(&site.vault, here.path(), text, &[]);
    let heading = "The same at Auth0";
    let steps = under(heading);
    let [init, import, look, rotate] = steps.as_slice() else { panic!("{steps:?}") };

    assert!(well(&run(init)).contains("wrote keyswap.toml"));
    let toml = |block: &Block| block.heading == heading && block.language == "toml";
    let shown = blocks(PAGE).into_iter().find(toml).unwrap().text;
    // Filled in by the reader; here with what belongs to the server of this test, and without its waits.
    let filled = shown
        .replace("THE-CLIENT-ID", common::CLIENT)
        .replace("https://THE-TENANT.eu.auth0.com", site.url.trim_end_matches('/'))
        .replace("THE-MANAGEMENT-CLIENT-ID", common::MANAGEMENT_CLIENT)
        .replace("keyswap-store", site.store().to_str().unwrap());
    assert!(!filled.contains("THE-"), "{filled}");
    let quick = "[policy]\npropagation_window = \"250ms\"\nquiet_period = \"250ms\"\n";
    let quick = format!("{}\n{quick}", filled.replace("uses_every", "# uses_every"));
    std::fs::write(here.path().join("keyswap.toml"), filled).unwrap();
    well(&run(import));
    let programs = common::Programs::start(site, common::CLIENT, 1, 20);
    assert!(well(&run(look)).contains("billing/"));
    std::fs::write(here.path().join("keyswap.toml"), quick).unwrap();
    assert!(well(&run(rotate)).contains("ended with 3"));
    site.is_rotated_from(&site.first_secret());
    assert_eq!(programs.stop().1, 0);
}
