//! The page and the picture as text: what hostile names do to them, and how large they get.

use keyswap_admin::report::RotationReport;
use keyswap_admin::rotation::Timestamp;
use keyswap_store::{HistoryEntry, HistoryHead};
use serde_json::{Value, json};

use super::page::page;
use super::timeline::svg;

const HOSTILE: &str = "<script>alert('x')</script>\u{202e}\"&amp;";

/// A rotation with so many instances of applications of this name, from the lines of its history.
fn rotated(application: &str, instances: usize, states: usize) -> RotationReport {
    let states =
        ["generated", "staged", "adopted", "cutting_over", "cut_over", "confirmed", "promoted"]
            .into_iter()
            .cycle()
            .take(states)
            .chain(["drained", "retiring", "retired", "done"]);
    let line = |(position, state): (usize, &str)| {
        let (at, used) = (1000 * position as u64, position as u64);
        let row = |instance: Option<String>| {
            let count = if instance.is_none() { instances } else { 1 };
            json!({
                "application": application, "instance": instance, "instances": count, "revision": 3,
                "old": [3 * used, used, 0], "new": [2 * used, 0, 0], "saved": used, "failed": 0,
            })
        };
        let of_each = instances.min(64);
        let rows: Vec<Value> = match of_each == instances {
            true => (0..instances).map(|one| row(Some(format!("<i-{one:03}>")))).collect(),
            false => Vec::new(),
        };
        let mut record = json!({
            "at": at, "client": application, "holder": application, "state": state, "old": "s-old",
            "new": "s-new", "revision": 3,
            "uses": { "at": at, "applications": [row(None)], "instances": rows },
        });
        if state == "done" {
            let attested: Vec<Value> = (0..instances)
                .map(|one| json!([application, format!("<i-{one:03}>"), 7, 1000, 1, 6000, 3]))
                .collect();
            record["account"] = json!({
                "asked": [{ "wish": "rotate", "at": 0, "asker": { "by": HOSTILE, "holder": "x", "reason": HOSTILE } }],
                "confirmations": [
                    { "application": HOSTILE, "gate": "drained", "by": HOSTILE, "reason": HOSTILE, "at": 9 },
                    { "application": HOSTILE, "instance": HOSTILE, "gate": "adopted", "by": HOSTILE,
                      "reason": HOSTILE, "at": 9 },
                ],
                "left_out": [{ "at": 3, "missing": {
                    "reason": "undeclared", "application": HOSTILE, "instance": HOSTILE } }],
                "unused": { "secret": "s-old", "revision": 3, "quiet_ms": 5000, "instances": attested },
                "negative_test": { "accepted": "s-new", "accepted_after": 7000, "refused": "s-old", "refused_by": 7100 },
                "sends": 1,
            });
        }
        let number = position as u64 + 1;
        HistoryEntry::new(HistoryHead { number, hash: format!("{number:064x}") }, record)
    };
    let history: Vec<_> = states.enumerate().map(line).collect();
    let now = Timestamp::from_milliseconds(1_000_000);
    RotationReport::of(&history, (None, &[]), None, now).unwrap()
}

/// Every tag and attribute of a page that has none of somebody else's making.
fn markup(text: &str) -> Vec<&str> {
    let tags = text.split('<').skip(1).map(|rest| rest.split('>').next().unwrap());
    tags.map(|tag| tag.split([' ', '\n', '/']).next().unwrap()).collect()
}

#[test]
fn names_and_reasons_are_text_and_never_markup() {
    let report = rotated(HOSTILE, 3, 7);
    for text in [page(&report, &Err(HOSTILE.to_owned())), svg(&report)] {
        assert!(!text.contains("<script") && !text.contains("alert('"), "{text}");
        assert!(text.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"), "{text}");
        assert!(!text.contains('\u{202e}') && !text.contains("<i-"), "{text}");
        let harmless = rotated("shop", 3, 7);
        let as_usual = match text.starts_with("<!DOCTYPE") {
            true => page(&harmless, &Err("x".to_owned())),
            false => svg(&harmless),
        };
        assert_eq!(markup(&text), markup(&as_usual), "the same elements, whatever the names");
    }
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    let report = rotated("shop", 3, 7);
    for text in [page(&report, &Ok(())), svg(&report)] {
        for forbidden in
            ["<script", "src=", "url(", "@import", "http:", "https:", "onload", "<link rel=\"style"]
        {
            let found = text.replace("http://www.w3.org/2000/svg", "").contains(forbidden);
            assert!(!found, "{forbidden} is in {text}");
        }
    }
}

#[test]
fn the_evidence_for_retirement_and_whose_word_it_rests_on_are_there() {
    let text = page(&rotated("shop", 3, 7), &Ok(()));
    for part in [
        "3 instances attested that <code>s-old</code> was unused for 5.0 s or more",
        "and then, by 1970-01-01T00:00:07Z, refused <code>s-old</code>",
        "which cannot report, that it uses the outgoing secret no more",
        "is not waited for, for it to report that it holds both secrets",
        "Left out at 1970-01-01T00:00:00Z, at a person's word",
        "all are as they were written",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let broken = page(&rotated("shop", 3, 7), &Err("the history was changed: line 3".to_owned()));
    assert!(broken.contains("The history was changed: line 3."), "{broken}");
    assert!(!broken.contains("all are as they were written"));
}

#[test]
fn a_page_stays_of_a_size_that_a_person_reads() {
    let few = page(&rotated("shop", 3, 7), &Ok(()));
    assert!(few.len() < 40_000, "{}", few.len());
    for (instances, states) in [(64, 7), (3000, 7), (3, 500)] {
        let report = rotated("shop", instances, states);
        let (page, svg) = (page(&report, &Ok(())), svg(&report));
        assert!(page.len() < 400_000 && svg.len() < 40_000, "{}, {}", page.len(), svg.len());
    }
    let many = page(&rotated("shop", 3000, 7), &Ok(()));
    assert!(many.contains("And 2,900 more") && many.contains("Of more than 64 instances at once"));
}

#[test]
fn bars_lie_within_the_time_and_one_after_the_other() {
    let report = rotated("shop", 1, 7);
    let mut end = 0.0;
    for row in super::timeline::rows(&report) {
        let super::timeline::Row::State { left, width, .. } = row else {
            panic!("none is left out")
        };
        assert!(left >= end - 1e-9 && left + width <= 1.0 + 1e-9, "{left} {width}");
        end = left + width;
    }
    assert!((end - 1.0_f64).abs() < 1e-9);
}
