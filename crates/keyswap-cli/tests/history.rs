//! What is on record of a rotation, and that nobody changes it unseen.

mod common;

use common::{CLIENT, Embedded, Output, Programs, Site, set_mode};

fn write(site: &Site, name: &str, text: &[u8]) {
    let path = site.client_directory().join(name);
    std::fs::write(&path, text).unwrap();
    set_mode(&path, 0o600);
}

fn read(site: &Site, name: &str) -> Vec<u8> {
    std::fs::read(site.client_directory().join(name)).unwrap()
}

fn verify(site: &Site) -> Output {
    site.command(&["history", "verify"]).run()
}

/// A site after one rotation, and the lines of its history.
fn rotated() -> (Embedded, Vec<Vec<u8>>) {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let programs = Programs::start(site, CLIENT, 1, 20);
    let asked = ["rotate", "--by", "ada", "--reason", "ticket 4711"];
    site.command(&asked).run().ends_with(0);
    programs.stop();
    let text = read(site, "history.jsonl");
    let lines = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    (embedded, lines)
}

#[test]
fn the_history_tells_who_wanted_what_and_on_what_it_rests() {
    let (embedded, lines) = rotated();
    let site = &embedded.site;
    let shown = site.command(&["history"]).run();
    let shown = &shown.ends_with(0).stdout;
    let numbered = format!("client {CLIENT}");
    for text in [
        numbered.as_str(),
        "11 entries",
        "ada asked to rotate: ticket 4711",
        "1 instances attested that",
        "billing/i-",
        "and then, by 20",
        "retiring",
    ] {
        assert!(shown.contains(text), "{text:?} is not in {shown}");
    }
    assert_eq!(site.command(&["history", "show"]).run().stdout, *shown);
    let json = site.command(&["history", "show", "--json"]).run();
    let records = json.ends_with(0).json_lines();
    assert_eq!(records.len(), lines.len());
    assert_eq!((&records[0]["number"], &records[10]["number"]), (&1.into(), &11.into()));
    let account = &records[10]["record"]["account"];
    assert_eq!(account["asked"][0]["asker"]["by"], "ada");
    assert_eq!(account["negative_test"]["refused"], account["unused"]["secret"]);
}

#[test]
fn a_history_that_is_as_it_was_written_verifies_and_one_that_is_not_ends_with_6() {
    let (embedded, lines) = rotated();
    let site = &embedded.site;
    let verified = verify(site);
    let said = &verified.ends_with(0).stdout;
    assert!(
        said.contains("client billing: 11 entries, all as written; the last hash is "),
        "{said}"
    );
    let count = lines.len();
    let mut cases: Vec<(Vec<Vec<u8>>, usize)> = Vec::new();
    for line in 0..count {
        // Somewhere in it; which byte is chosen by the line.
        let at = (line * 37 + 11) % lines[line].len();
        let mut flipped = lines.clone();
        flipped[line][at] ^= 1;
        cases.push((flipped, line + 1));
    }
    for line in [0, 5, count - 1] {
        let mut dropped = lines.clone();
        dropped.remove(line);
        cases.push((dropped, line + 1));
    }
    let mut swapped = lines.clone();
    swapped.swap(3, 7);
    cases.push((swapped, 4));
    cases.push(([&lines[..], &lines[4..5]].concat(), count + 1));
    cases.push(([&lines[..], &[b"{\"number\":12".to_vec()]].concat(), count + 1));
    let mut cut_off = lines.clone();
    cut_off[count - 1].truncate(30);
    cases.push((cut_off, count));
    for (changed, wrong) in cases {
        write(site, "history.jsonl", &changed.concat());
        let output = verify(site);
        output.says(6, &["history.jsonl", "; "]);
        let named = output.stderr.contains(&format!("line {wrong}: "))
            || output.stderr.contains(&format!("it ends after line {},", wrong - 1));
        assert!(named, "line {wrong} is wrong: {output:#?}");
    }
    write(site, "history.jsonl", &lines.concat());
    verify(site).ends_with(0);
}

#[test]
fn a_history_that_was_cut_off_with_its_head_is_missed_by_the_journal() {
    let (embedded, lines) = rotated();
    let site = &embedded.site;
    let head = read(site, "history.head");
    // Another history, whole in itself: that of the first rotation's first half.
    let hash = site.command(&["history", "--json"]).run().json_lines()[4]["hash"].clone();
    write(site, "history.jsonl", &lines[..5].concat());
    write(site, "history.head", format!("{{\"number\":5,\"hash\":{hash}}}").as_bytes());
    let texts = ["ends after line 5, and had 11 lines when the journal was written", "a backup"];
    verify(site).says(6, &texts);
    write(site, "history.jsonl", b"");
    std::fs::remove_file(site.client_directory().join("history.head")).unwrap();
    verify(site).says(6, &["ends after line 0, and had 11 lines"]);
    write(site, "history.head", &head);
    write(site, "history.jsonl", &lines.concat());
    verify(site).ends_with(0);
}
