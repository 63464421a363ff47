//! What the tests saw at the servers, gathered for the tables at the end of `tests/real/run`.

use std::fs::OpenOptions;
use std::io::Write;

use keyswap_core::Verdict;

use crate::Tally;

/// The status of an answer, and how a profile reads it.
pub type Answer = (u16, Verdict);

/// A server, and what was tried there.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its name.
    pub server: &'a str,
    /// The version that runs.
    pub version: &'a str,
    /// In which way it was rotated, or asked.
    pub how: &'a str,
}

impl Seen<'_> {
    /// Notes so many rotations, and what became of the sign-ins meanwhile.
    pub fn rotated(self, rotations: u64, tally: &Tally) {
        let Tally { requests, saved_by_fallback, failures } = tally;
        self.row(&format!(
            "{rotations} | {requests} | {saved_by_fallback} | {} |  | ",
            failures.len()
        ));
    }

    /// Notes how many of these answers, each with its name, what is expected and what was found, were read as something
    /// else than they are, and fails if one was.
    ///
    /// # Panics
    ///
    /// When one was.
    #[track_caller]
    pub fn answers(self, read: &[(&str, Answer, Answer)]) {
        let mismatches: Vec<_> =
            read.iter().filter(|(_, expected, found)| expected != found).collect();
        self.row(&format!(" |  |  |  | {} | {}", read.len(), mismatches.len()));
        assert!(mismatches.is_empty(), "expected, found: {mismatches:#?}");
    }

    fn row(self, figures: &str) {
        let Self { server, version, how } = self;
        note("rotations", &format!("| {server} | {version} | {how} | {figures} |\n"));
    }
}

/// Notes a table of its own, with its heading.
pub fn table(text: &str) {
    note("tables", text);
}

/// Adds to what the run shows at its end. Without a run it is shown by the test itself.
fn note(kind: &str, text: &str) {
    print!("{text}");
    let Some(directory) = std::env::var_os("KEYSWAP_SEEN") else { return };
    let path = std::path::Path::new(&directory).join(kind);
    // One write: other tests add to it as well.
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
