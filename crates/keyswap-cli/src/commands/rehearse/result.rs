//! What came of a rehearsal: a row a kind of thing that happened, as a table and as JSON.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::LineStyle;
use keyswap_admin::rotation::State;
use serde_json::{Value, json};

use super::scenario::{Part, Scenario};
use crate::demo::instance::Tally;
use crate::in_words::{count, number};
use crate::window;

/// How a rotation ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    Finished,
    RolledBack,
    /// It was to be taken back where there is no way, and went on to its end.
    NoWayBack,
    /// A person has to look; why.
    Stopped(String),
}

/// One rotation that was rehearsed.
#[derive(Clone, Debug)]
pub(super) struct Played {
    pub(super) scenario: Scenario,
    /// Whether the rotator died.
    pub(super) died: bool,
    /// The state of the journal then.
    pub(super) met: Option<State>,
    pub(super) ended: Ended,
    /// Why it stopped for a person on the way, who looked and took it up again.
    pub(super) person: Option<String>,
    pub(super) tally: Tally,
    /// How many of the requests that failed did so in a gap that cannot be avoided at such a server.
    pub(super) in_gap: u64,
    /// What is not as it should be at the end.
    pub(super) wrong: Option<String>,
}

/// What a server cannot give.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// An answer that is lost may take something with it that nobody can say again.
    pub(super) may_stop: bool,
}

impl Played {
    /// What is not as the protocol promises.
    fn broken(&self, limits: Limits) -> Option<String> {
        let stopped_rightly = limits.may_stop && self.scenario.loses_an_answer();
        match &self.ended {
            Ended::Stopped(reason) if !stopped_rightly => Some(reason.clone()),
            // What failed after it has stopped waits for a person.
            Ended::Stopped(_) => None,
            _ if self.person.is_some() && !stopped_rightly => self.person.clone(),
            _ if self.wrong.is_some() => self.wrong.clone(),
            _ if self.tally.requests == 0 => Some("no program made a request".to_owned()),
            _ if self.outside() > 0 => {
                let failures: Vec<_> = self.tally.failures.keys().map(String::as_str).collect();
                let requests = self.tally.requests;
                Some(format!(
                    "{} of {requests} token requests failed: {}",
                    self.outside(),
                    failures.join("; ")
                ))
            }
            _ => None,
        }
    }

    fn outside(&self) -> u64 {
        self.tally.failed.saturating_sub(self.in_gap)
    }
}

/// Rotations to which the same happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) scenario: String,
    pub(super) rotations: u64,
    finished: u64,
    rolled_back: u64,
    no_way_back: u64,
    stopped: u64,
    /// How many of those that ended otherwise waited for a person on the way.
    person: u64,
    requests: u64,
    failed: u64,
    in_gap: u64,
    saved: u64,
    /// What is not as the protocol promises, and how often.
    pub(super) broken: BTreeMap<String, u64>,
    /// Why it stopped for a person, where the protocol says so.
    pub(super) for_a_person: BTreeSet<String>,
}

impl Row {
    fn outcome(&self) -> String {
        let counted = [
            (self.finished, "finished"),
            (self.rolled_back, "rolled back"),
            (self.no_way_back, "no way back, finished"),
            (self.stopped, "stopped for a person"),
        ];
        let named: Vec<_> = counted
            .iter()
            .filter(|(times, _)| *times > 0)
            .map(|(times, what)| match *times == self.rotations {
                true => (*what).to_owned(),
                false => format!("{times} {what}"),
            })
            .collect();
        let person = match self.person {
            0 => String::new(),
            times => format!(", {times} after a person had looked"),
        };
        let mark = if self.broken.is_empty() { "" } else { "NOT AS PROMISED: " };
        format!("{mark}{}{person}", named.join(", "))
    }
}

/// The rows, in the order of what they are about.
pub(super) fn rows(played: &[Played], limits: Limits) -> Vec<Row> {
    let mut rows: BTreeMap<(Part, usize), Row> = BTreeMap::new();
    for one in played {
        let scenario = match one.scenario {
            // How often an act is done that changes nothing varies: it was over before.
            Scenario::Crash(_) if !one.died => Scenario::Undisturbed,
            other => other,
        };
        let key = (scenario.part(), scenario.place(one.met));
        let row = rows.entry(key).or_default();
        row.scenario = scenario.label(one.met);
        row.person += u64::from(one.person.is_some());
        row.rotations += 1;
        match one.ended {
            Ended::Finished => row.finished += 1,
            Ended::RolledBack => row.rolled_back += 1,
            Ended::NoWayBack => row.no_way_back += 1,
            Ended::Stopped(_) => row.stopped += 1,
        }
        row.requests += one.tally.requests;
        row.failed += one.outside();
        row.in_gap += one.in_gap;
        row.saved += one.tally.saved;
        match (one.broken(limits), &one.ended, &one.person) {
            (Some(reason), ..) => *row.broken.entry(reason).or_default() += 1,
            (None, Ended::Stopped(reason), _) | (None, _, Some(reason)) => {
                row.for_a_person.insert(reason.clone());
            }
            (None, _, None) => {}
        }
    }
    rows.into_values().collect()
}

/// The rows and their sum.
pub(super) fn table(rows: &[Row], utf8: bool) -> String {
    let gap = rows.iter().any(|row| row.in_gap > 0);
    let mut table = window::table(utf8);
    // There are many rows, each a line.
    table.style_mut().row_separator = LineStyle::none();
    let mut header = vec!["what happened", "rotations", "ended", "requests", "failed", "saved"];
    if gap {
        header.insert(5, "in the gap");
    }
    table.set_header(header);
    for row in rows {
        let counts = [row.requests, row.failed, row.saved].map(|count| count.to_string());
        let [requests, failed, saved] = counts;
        let mut cells =
            vec![row.scenario.clone(), row.rotations.to_string(), row.outcome(), requests, failed];
        if gap {
            cells.push(row.in_gap.to_string());
        }
        cells.push(saved);
        table.add_row(cells);
    }
    table.to_string()
}

/// One object.
pub(super) fn as_json(client: &str, kind: &str, rows: &[Row], manual: &[&str]) -> Value {
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
    let each: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "scenario": row.scenario,
                "as_promised": row.broken.is_empty(),
                "rotations": row.rotations,
                "finished": row.finished,
                "rolled_back": row.rolled_back,
                "no_way_back": row.no_way_back,
                "stopped": row.stopped,
                "after_a_person_had_looked": row.person,
                "requests": row.requests,
                "failed": row.failed,
                "failed_in_the_gap": row.in_gap,
                "saved": row.saved,
                "reasons": row.broken.keys().chain(&row.for_a_person).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "event": "rehearsed",
        "client": client,
        "kind": kind,
        "as_promised": is_as_promised(rows),
        "rotations": sum(|row| row.rotations),
        "requests": sum(|row| row.requests),
        "failed": sum(|row| row.failed),
        "failed_in_the_gap": sum(|row| row.in_gap),
        "saved": sum(|row| row.saved),
        "manual": manual,
        "scenarios": each,
    })
}

pub(super) fn is_as_promised(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.broken.is_empty())
}

/// In one line.
pub(super) fn sum(rows: &[Row]) -> String {
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
    let gap = sum(|row| row.in_gap);
    let in_gap = match gap {
        0 => String::new(),
        gap => format!(", and {gap} in a gap that cannot be avoided at such a server"),
    };
    format!(
        "{}, {}: failed {}{in_gap}, saved by the fallback {}",
        count(sum(|row| row.rotations), "rotation"),
        count(sum(|row| row.requests), "token request"),
        number(sum(|row| row.failed)),
        number(sum(|row| row.saved))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::rehearse::scenario::Mishap;

    fn played(scenario: Scenario, ended: Ended, failed: u64) -> Played {
        let tally = Tally { requests: 100, failed, saved: 3, ..Tally::default() };
        Played {
            scenario,
            died: true,
            met: None,
            ended,
            person: None,
            tally,
            in_gap: 0,
            wrong: None,
        }
    }

    fn only(one: Played, limits: Limits) -> Row {
        rows(&[one], limits).remove(0)
    }

    #[test]
    fn rotations_to_which_the_same_happened_are_one_row_and_the_undisturbed_one_is_first() {
        let back = |state| Scenario::Back(state);
        let rows = rows(
            &[
                played(back(State::Staged), Ended::RolledBack, 0),
                played(back(State::Retired), Ended::NoWayBack, 0),
                played(back(State::Staged), Ended::RolledBack, 0),
                played(Scenario::Undisturbed, Ended::Finished, 0),
            ],
            Limits::default(),
        );
        let named: Vec<_> = rows.iter().map(|row| (row.scenario.as_str(), row.rotations)).collect();
        let expected =
            [("undisturbed", 1), ("taken back from staged", 2), ("taken back from retired", 1)];
        assert_eq!(named, expected);
        assert!(is_as_promised(&rows));
        let table = table(&rows, true);
        assert!(table.contains("no way back, finished"), "{table}");
        assert!(!table.contains("gap"), "{table}");
    }

    #[test]
    fn a_request_that_failed_is_not_as_promised_and_the_row_says_so() {
        let row = only(played(Scenario::Restart, Ended::Finished, 2), Limits::default());
        assert!(!is_as_promised(std::slice::from_ref(&row)));
        let table = table(std::slice::from_ref(&row), true);
        assert!(table.contains("NOT AS PROMISED"), "{table}");
        assert!(row.broken.keys().any(|reason| reason.contains("2 of 100")), "{row:?}");
        assert_eq!(as_json("billing", "auth0", &[row], &[])["as_promised"], false);
    }

    #[test]
    fn what_fails_in_a_gap_is_counted_apart() {
        let mut one = played(Scenario::Undisturbed, Ended::Finished, 7);
        one.in_gap = 7;
        let row = only(one, Limits::default());
        assert!(is_as_promised(std::slice::from_ref(&row)));
        assert!(table(std::slice::from_ref(&row), true).contains("in the gap"));
        let json = as_json("billing", "zitadel", &[row], &[]);
        assert_eq!((&json["failed"], &json["failed_in_the_gap"]), (&json!(0), &json!(7)));
    }

    #[test]
    fn a_rotation_may_stop_for_a_person_only_where_the_protocol_says_so() {
        let stopped = || Ended::Stopped("its token is lost".to_owned());
        let lost = Scenario::Answer(Mishap::AppliedAndLost);
        for (scenario, may_stop, promised) in [
            (lost, true, true),
            (lost, false, false),
            (Scenario::Undisturbed, true, false),
            (Scenario::Answer(Mishap::TurnedAway), true, false),
        ] {
            let row = only(played(scenario, stopped(), 0), Limits { may_stop });
            assert_eq!(row.broken.is_empty(), promised, "{scenario:?}, {may_stop}");
            let json = as_json("billing", "registration", &[row], &[]);
            assert_eq!(json["scenarios"][0]["reasons"], json!(["its token is lost"]));
        }
    }

    #[test]
    fn no_request_at_all_proves_nothing() {
        let mut one = played(Scenario::Undisturbed, Ended::Finished, 0);
        one.tally.requests = 0;
        assert!(!only(one, Limits::default()).broken.is_empty());
    }
}
