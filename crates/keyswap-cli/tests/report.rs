//! `keyswap report`: what is on record of a rotation, as a page, a picture and JSON.

mod common;

use common::{CLIENT, Embedded, Output, Programs, Site};
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/report.md");

fn report(site: &Site, arguments: &[&str]) -> Output {
    site.command(&[&["report"], arguments].concat()).run()
}

fn json(site: &Site, arguments: &[&str]) -> Value {
    report(site, &[arguments, &["--format", "json"]].concat()).ends_with(0).json_lines().remove(0)
}

fn states(report: &Value) -> Vec<&str> {
    report["states"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect()
}

#[test]
fn a_rotation_is_told_of_while_it_is_under_way_and_when_it_is_over_and_any_earlier_one_by_its_secret()
 {
    let embedded = Embedded::start();
    let site = &embedded.site;
    report(site, &[]).ends_with(1);
    site.import();
    report(site, &[]).says(1, &["client billing", "no rotation is on record", "`keyswap rotate`"]);
    let programs = Programs::start(site, CLIENT, 2, 40);
    let held = site.command(&[
        "rotate",
        "--hold-at",
        "drained",
        "--by",
        "ada",
        "--reason",
        "ticket <4711>",
    ]);
    held.run().ends_with(3);
    let under_way = json(site, &[]);
    assert_eq!(
        (&under_way["outcome"], states(&under_way).last()),
        (&"under_way".into(), Some(&"drained"))
    );
    assert_eq!(under_way["account"]["unused"]["instances"].as_array().unwrap().len(), 2);
    assert!(report(site, &[]).ends_with(0).stdout.contains("under way"));
    site.command(&["retire"]).run().ends_with(0);
    site.command(&["rotate"]).run().ends_with(0);
    programs.stop();

    // By its secret, the first one is as it was, and over.
    let first = under_way["new"].as_str().unwrap();
    let over = json(site, &["--rotation", first]);
    assert_eq!(over["outcome"], "done");
    assert_eq!(over["account"]["asked"][0]["asker"]["reason"], "ticket <4711>");
    assert_eq!(over["whole"], true);
    let sums = &over["sums"];
    let count = |name: &str| sums["old"][0].as_u64().unwrap() + sums[name][0].as_u64().unwrap();
    assert!(
        sums["old"][0].as_u64().unwrap() > 0 && count("new") > sums["old"][0].as_u64().unwrap(),
        "{sums}"
    );
    assert_eq!(sums["failed"], 0);
    let lines = over["over_time"].as_array().unwrap();
    assert_eq!(lines.len(), 3, "the application and its two instances: {lines:#?}");
    let last = json(site, &[]);
    assert_eq!((&last["old"], last["new"] == over["new"]), (&over["new"], false));
    report(site, &["--rotation", "s-none"])
        .says(1, &["the secret s-none", first, "`keyswap history`"]);

    // One file, with everything of that in it and no secret.
    let path = site.path("rotation.html");
    site.command(&["report", "--rotation", first, "--out"]).argument(&path).run().ends_with(0);
    let page = std::fs::read_to_string(&path).unwrap();
    site.vault.search("the page", &page);
    for part in
        ["<!DOCTYPE html>", "ticket &lt;4711&gt;", "2 instances attested", "cutting_over", first]
    {
        assert!(page.contains(part), "{part:?} is not in {page}");
    }
    // The commands of the page about it.
    let shown: Vec<_> = PAGE.lines().filter(|line| line.starts_with("keyswap report ")).collect();
    assert_eq!(shown.len(), 3);
    for line in shown {
        let arguments: Vec<_> = line.split_whitespace().skip(1).collect();
        site.command(&arguments).directory(&site.path("")).run().ends_with(0);
        let written = std::fs::read_to_string(site.path(arguments.last().unwrap())).unwrap();
        assert!(written.contains(last["new"].as_str().unwrap()), "{line}: {written}");
    }
    let svg = report(site, &["--format", "svg"]).ends_with(0).stdout.clone();
    assert!(svg.starts_with("<svg ") && svg.contains("cutting_over"), "{svg}");
    site.vault.search_files();
}

#[test]
fn a_history_that_was_changed_is_no_evidence() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let programs = Programs::start(site, CLIENT, 1, 40);
    site.command(&["rotate"]).run().ends_with(0);
    programs.stop();
    let path = site.client_directory().join("history.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"state\":\"adopted\"", "\"state\":\"drained\"")).unwrap();
    report(site, &[]).says(6, &["history.jsonl", "line 3"]);
    // Cut off with its head, it is whole in itself, and the journal knows that more was there.
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let hash = serde_json::from_str::<Value>(lines[5]).unwrap()["previous"].clone();
    std::fs::write(&path, lines[..5].concat()).unwrap();
    let head = site.client_directory().join("history.head");
    std::fs::write(head, format!("{{\"number\":5,\"hash\":{hash}}}")).unwrap();
    let page = report(site, &[]);
    assert!(
        page.ends_with(0).stdout.contains("had 11 lines when the journal was written"),
        "{page:#?}"
    );
    assert_eq!(json(site, &[])["whole"], false);
}

#[test]
fn one_client_is_told_of_and_what_cannot_be_written_is_named() {
    let embedded = Embedded::of_several(&["billing", "orders"]);
    let site = &embedded.site;
    report(site, &[]).says(2, &["several clients (billing, orders)", "--client ID"]);
    report(site, &["--client", "stock"]).says(2, &["no client stock", "billing, orders"]);
    report(site, &["--client", "orders"]).says(1, &["client orders", "no rotation is on record"]);
    site.command(&["rotate", "--client", "orders", "--patience", "1ms"]).run();
    let nowhere = site.path("missing/rotation.html");
    let output = site.command(&["report", "--client", "orders", "--out"]).argument(&nowhere).run();
    output.says(1, &[nowhere.to_str().unwrap(), "make its directory first"]);
    let output =
        site.command(&["report", "--client", "orders", "--out"]).argument(site.store()).run();
    output.says(1, &["name a file in it"]);
}
