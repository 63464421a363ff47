//! `keyswap authorities`: what each kind of authorization server can do.

use comfy_table::Table;
use keyswap_admin::authority::{Capabilities, known};
use serde_json::{Value, json};

use crate::arguments;
use crate::presenter::milliseconds;

/// What a program says itself.
const PROGRAM_SAYS: &str = "declared";

pub(crate) fn run(options: &arguments::Authorities) {
    if options.json {
        known().iter().map(as_json).for_each(|line| println!("{line}"));
        println!("{}", json!({ "kind": "exec", "needs": PROGRAM_NEEDS }));
        return;
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    let rows: Vec<_> = known().iter().map(row).chain([row_of_exec()]).collect();
    table.set_header(&HEADER[..NEEDS]);
    rows.iter().for_each(|row| {
        table.add_row(&row[..NEEDS]);
    });
    println!("{table}\n\nThe management call needs");
    rows.iter().for_each(|row| println!("  {:8} {}", row[0], row[NEEDS]));
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
        of.slots.to_string(),
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
        "propagation_window_ms": milliseconds(of.propagation_window),
        "needs": of.needs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../docs/providers.md");

    /// The kinds that a configuration can name, as its parser lists them.
    fn kinds() -> Vec<String> {
        let refused = toml::from_str::<crate::configuration::AuthorityTable>("kind = \"other\"");
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
