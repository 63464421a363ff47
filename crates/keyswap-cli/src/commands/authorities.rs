//! `keyswap authorities`: what each kind of authorization server can do.

use clap::Args;
use comfy_table::ContentArrangement;
use keyswap_admin::authority::{Capabilities, known};
use serde_json::{Value, json};

use crate::presenter::milliseconds;
use crate::window;

const EXAMPLE: &str = "\
Example:
  keyswap authorities --json | grep '\"kind\":\"okta\"'

`kind` is what [authority] in keyswap.toml names. A kind that holds one secret, and whose server chooses its
value, has a gap at each rotation (`keyswap rotate --accept-gap`). A kind `exec` is whatever your program says.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Authorities {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// What a program says itself.
const PROGRAM_SAYS: &str = "declared";

pub(crate) fn run(options: &Authorities) {
    if options.json {
        known().iter().map(as_json).for_each(|line| println!("{line}"));
        println!("{}", json!({ "kind": "exec", "needs": PROGRAM_NEEDS }));
        return;
    }
    let rows: Vec<_> = known().iter().map(row).chain([row_of_exec()]).collect();
    print!("{}", text(&rows, window::width(), window::speaks_utf8()));
}

/// Of the table: cells are broken that would make it wider.
const WIDTH: u16 = 110;
/// In fewer columns a table is a heap of broken words.
const NARROW: usize = 80;

fn text(rows: &[[String; 8]], width: usize, in_utf8: bool) -> String {
    if width < NARROW {
        return window::listed(&HEADER, rows, width);
    }
    let mut table = window::table(in_utf8);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(&HEADER[..NEEDS]);
    for row in rows {
        table.add_row(&row[..NEEDS]);
    }
    let needs = |row: &[String; 8]| format!("  {:8} {}\n", row[0], row[NEEDS]);
    let needs: String = rows.iter().map(needs).collect();
    format!("{table}\n\nThe management call needs\n{needs}")
}

/// The column that is too wide for a terminal.
const NEEDS: usize = 7;
const HEADER: [&str; 8] = [
    "kind",
    "secrets",
    "value chosen by",
    "value",
    "read back",
    "deactivation",
    "propagation",
    "the management call needs",
];
const PROGRAM_NEEDS: &str = "a program of yours, see docs/exec.md";

fn row(of: &Capabilities) -> [String; 8] {
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    [
        of.name.to_owned(),
        if of.removes_newest {
            of.slots.to_string()
        } else {
            format!("{}, newest stays", of.slots)
        },
        chooser(of).to_owned(),
        if of.chosen_by_caller { of.value.to_string() } else { "the server's".to_owned() },
        yes(of.read_back),
        yes(of.deactivation),
        format!("up to {} s", of.propagation_window.as_secs_f64()),
        of.needs.to_owned(),
    ]
}

fn row_of_exec() -> [String; 8] {
    let mut row = [const { String::new() }; 8];
    row.fill(PROGRAM_SAYS.to_owned());
    row[0] = "exec".to_owned();
    row[NEEDS] = PROGRAM_NEEDS.to_owned();
    row
}

/// Who chooses the value of a new secret.
fn chooser(of: &Capabilities) -> &'static str {
    match (of.chosen_by_caller, of.has_gap()) {
        (true, _) => "keyswap",
        (false, false) => "server",
        (false, true) => "server, with a gap",
    }
}

fn as_json(of: &Capabilities) -> Value {
    json!({
        "kind": of.name,
        "secrets": of.slots,
        "value_chosen_by": if of.chosen_by_caller { "caller" } else { "server" },
        "gap": of.has_gap(),
        "value": {
            "shortest": of.value.shortest,
            "longest": of.value.longest,
            "characters": of.value.characters,
        },
        "read_back": of.read_back,
        "deactivation": of.deactivation,
        "removes_newest": of.removes_newest,
        "propagation_window_ms": milliseconds(of.propagation_window),
        "needs": of.needs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_window_gets_a_list_and_a_locale_without_utf_8_plain_lines() {
        let rows: Vec<_> = known().iter().map(row).chain([row_of_exec()]).collect();
        let list = text(&rows, 40, true);
        for one in known() {
            assert!(list.contains(&format!("{}\n  secrets: {}", one.name, one.slots)), "{list}");
        }
        assert!(list.contains("exec\n  secrets: declared"), "{list}");
        let (plain, drawn) = (text(&rows, 100, false), text(&rows, 100, true));
        assert!(plain.is_ascii() && !drawn.is_ascii(), "{plain}");
    }

    const PAGE: &str = include_str!("../../../../docs/providers.md");

    /// The kinds that a configuration can name, as its parser lists them.
    fn kinds() -> Vec<String> {
        let refused = toml::from_str::<crate::authority::AuthorityTable>("kind = \"other\"");
        let message = refused.unwrap_err().message().to_owned();
        let (_, expected) = message.split_once("expected ").expect("a list of what is expected");
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_kind_that_a_configuration_can_name_is_in_the_table_and_no_other() {
        let mut named: Vec<_> = known().iter().map(|one| one.name.to_owned()).collect();
        named.push("exec".to_owned());
        named.sort();
        // One kind may be several servers.
        named.dedup();
        let mut kinds = kinds();
        kinds.sort();
        assert_eq!(named, kinds);
    }

    #[test]
    fn the_table_of_the_page_is_what_the_command_prints() {
        let line = |row: &[String]| format!("| {} |", row.join(" | "));
        let mut expected = vec![line(&HEADER.map(str::to_owned))];
        expected.push(format!("|{}", " --- |".repeat(HEADER.len())));
        for one in known() {
            expected.push(line(&row(&one)));
        }
        expected.push(line(&row_of_exec()));
        let found: Vec<_> = PAGE
            .lines()
            .skip_while(|line| *line != expected[0])
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(found, expected, "docs/providers.md should have:\n{}", expected.join("\n"));
    }
}
