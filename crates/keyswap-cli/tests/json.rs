//! What `--json` prints, field by field, compared with the page that documents it.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{CLIENT, Command, Embedded, Programs, eventually};
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/json.md");

/// A field of a table: its type in words, and what it is.
type Fields<'a> = BTreeMap<&'a str, (&'a str, &'a str)>;

/// The tables of the page, by the heading that each stands under, and the fields that were seen.
struct Page<'a> {
    tables: BTreeMap<String, Fields<'a>>,
    seen: BTreeSet<(String, String)>,
}

fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().replace(' ', "-")
}

impl Page<'static> {
    fn read() -> Self {
        let mut tables = BTreeMap::<String, Fields<'_>>::new();
        let mut heading = String::new();
        for line in PAGE.lines() {
            if line.starts_with('#') {
                heading = anchor(line);
            } else if let Some(row) = line.strip_prefix("| `") {
                let (field, rest) = row.split_once("` | ").unwrap();
                let (kind, what) = rest.split_once(" | ").unwrap();
                tables.entry(heading.clone()).or_default().insert(field, (kind, what));
            }
        }
        Self { tables, seen: BTreeSet::new() }
    }

    /// Each field of this object is in the table, with its type.
    #[track_caller]
    fn documents(&mut self, table: &str, object: &Value) {
        let fields = self.tables.get(table).unwrap_or_else(|| panic!("there is no table {table}"));
        let fields = fields.clone();
        for (name, value) in object.as_object().unwrap_or_else(|| panic!("{table}: {object}")) {
            let Some((kind, _)) = fields.get(name.as_str()) else {
                panic!("{table} does not document {name:?}: {object}")
            };
            let fits = kind.split(" or ").any(|kind| self.fits(kind, value));
            assert!(fits, "{table}: {name} is {value}, and {kind} is documented");
            self.seen.insert((table.to_owned(), name.clone()));
        }
    }

    fn fits(&mut self, kind: &str, value: &Value) -> bool {
        let of = |kind: &str| {
            kind.split_once("](#").map(|(_, rest)| rest.trim_end_matches(')').to_owned())
        };
        match kind {
            "string" => value.is_string(),
            "integer" => value.is_u64(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            "object" => value.is_object(),
            "array of integers" => {
                value.as_array().is_some_and(|all| all.iter().all(Value::is_u64))
            }
            "array of strings" => {
                value.as_array().is_some_and(|all| all.iter().all(Value::is_string))
            }
            "array of objects" => {
                value.as_array().is_some_and(|all| all.iter().all(Value::is_object))
            }
            _ if kind.starts_with("array of ") => {
                let Some(all) = value.as_array() else { return false };
                let table = of(kind).unwrap();
                all.iter().for_each(|each| self.documents(&table, each));
                true
            }
            _ if value.is_object() => {
                self.documents(&of(kind).unwrap_or_else(|| panic!("what is {kind:?}?")), value);
                true
            }
            _ => false,
        }
    }

    /// Each field of the page was seen, unless it says when alone it is there.
    fn was_seen(&self) {
        for (table, fields) in &self.tables {
            for (name, (_, what)) in fields {
                let seen = self.seen.contains(&(table.clone(), (*name).to_owned()));
                assert!(seen || what.starts_with("Only "), "{table}: nothing printed {name}");
            }
        }
    }
}

#[test]
fn each_field_of_every_command_is_documented_with_its_type_and_none_is_that_is_not_there() {
    let mut page = Page::read();
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let json = |arguments: &[&str]| {
        let output = site.command(&[arguments, &["--json"]].concat()).run();
        output.json_lines()
    };
    let mut all = |table: &str, lines: Vec<Value>| {
        assert!(!lines.is_empty(), "{table}: nothing was printed");
        lines.iter().for_each(|line| page.documents(table, line));
    };
    const ROTATE: &str = "rotate-resume-rollback-retire";
    // It takes no configuration.
    let authorities = Command::new(&site.vault, &["authorities", "--json"]).run();
    all("authorities", authorities.ends_with(0).json_lines());
    all("verify", json(&["verify"]));
    // For nobody, and so it says who is missing.
    all("plan", json(&["plan"]));
    all("status", json(&["status"]));
    let watching = site.command(&["watch", "--next", "--json"]).spawn();
    eventually("it is watched", || watching.stdout().contains("none").then_some(()));
    // One that is there and does not take the list, and then nobody at all.
    let programs = Programs::start(site, CLIENT, 1, 40);
    programs.signal("STOP");
    all(ROTATE, json(&["rotate", "--patience", "1ms"]));
    programs.kill();
    all(ROTATE, json(&["resume", "--patience", "1ms"]));
    let hold = ["hold", "--by", "ada", "--reason", "release freeze", "--for", "1h"];
    site.command(&hold).run().ends_with(0);
    eventually("the hold is told of", || {
        watching.stdout().contains("release freeze").then_some(())
    });
    all("status", json(&["status"]));
    site.command(&["hold", "--release"]).run().ends_with(0);
    let programs = Programs::start(site, CLIENT, 1, 40);
    all(ROTATE, json(&["resume"]));
    // With an instance.
    all("status", json(&["status"]));
    all("plan", json(&["plan"]));
    programs.stop();
    all("watch", watching.wait().ends_with(0).json_lines());
    all("history-show", json(&["history", "show"]));
    all("history-verify", json(&["history", "verify"]));
    let report = site.command(&["report", "--format", "json"]).run();
    all("report---format-json", report.ends_with(0).json_lines());
    all("rehearse", json(&["rehearse", "--only", "undisturbed"]));
    let demo = ["demo", "--instances", "1", "--rate", "20", "--window", "200ms", "--json"];
    let demo = Command::new(&site.vault, &demo).run().ends_with(0).json_lines();
    let (last, rotates) = demo.split_last().unwrap();
    all(ROTATE, rotates.to_vec());
    all("demo", vec![last.clone()]);
    page.was_seen();
}
