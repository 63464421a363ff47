//! What is on record of a rotation, put together from the lines of a history.

use keyswap_admin::report::{Line, NothingOnRecord, Outcome, RotationReport};
use keyswap_admin::rotation::{Application, Direction, Record, RotationPolicy, State, Timestamp};
use keyswap_core::{Revision, Secret};
use keyswap_store::{HistoryEntry, HistoryHead, Instance, InstanceReport};
use serde_json::{Value, json};

fn history(lines: Vec<Value>) -> Vec<HistoryEntry> {
    let entry = |(position, line): (usize, Value)| {
        let number = position as u64 + 1;
        HistoryEntry::new(HistoryHead { number, hash: format!("{number:064x}") }, line)
    };
    lines.into_iter().enumerate().map(entry).collect()
}

fn line(at: u64, state: &str, (old, new): (&str, &str)) -> Value {
    json!({
        "at": at, "client": "client-1", "holder": "keyswap, process 7", "state": state, "old": old, "new": new,
        "revision": 2, "stuck": null,
    })
}

/// What an instance had done: of the old secret and of the new one accepted, then refused.
fn row(application: &str, instance: &str, [old, new, refused]: [u64; 3], saved: u64) -> Value {
    json!({
        "application": application, "instance": instance, "instances": 1, "revision": 2,
        "old": [old, refused, 0], "new": [new, 0, 0], "saved": saved, "failed": 0,
    })
}

/// The line of a state with these rows; each application has the sum of what it has.
fn with_uses(mut line: Value, rows: &[Value]) -> Value {
    let mut applications: Vec<Value> = Vec::new();
    for row in rows {
        let mut sum = row.clone();
        sum.as_object_mut().unwrap().remove("instance");
        applications.push(sum);
    }
    line["uses"] = json!({ "at": line["at"], "applications": applications, "instances": rows });
    line
}

/// Two rotations: one that was rolled back, and the next.
fn two() -> Vec<HistoryEntry> {
    let (first, second) = (("a", "b"), ("a", "c"));
    let mut back = line(40, "rolled_back", first);
    back["rolled_back_from"] = json!("staged");
    let mut end = line(900, "done", second);
    end["account"] = json!({
        "asked": [{ "wish": "rotate", "asker": { "by": "ada", "holder": "x", "reason": "ticket 4711" }, "at": 100 }],
        "direction": "forward",
        "confirmations": [{
            "application": "printer", "gate": "adopted", "by": "grace", "reason": "saw it", "at": 250
        }],
        "unused": {
            "secret": "a", "revision": 3, "quiet_ms": 500, "columns": ["application"],
            "instances": [["shop", "i-1", 12, 300, 4, 800, 6]]
        },
        "negative_test": { "accepted": "c", "accepted_after": 840, "refused": "a", "refused_by": 850 },
        "sends": 1,
        "of_a_later_version": true,
    });
    history(vec![
        line(10, "generated", first),
        line(20, "staged", first),
        back,
        line(100, "generated", second),
        with_uses(line(200, "staged", second), &[row("shop", "i-1", [10, 0, 0], 0)]),
        json!({ "at": 250, "client": "client-1", "state": "staged", "confirmed": { "application": "printer" } }),
        with_uses(
            line(300, "cutting_over", second),
            &[row("shop", "i-1", [12, 0, 0], 0), row("shop", "i-2", [4, 0, 0], 0)],
        ),
        with_uses(
            line(800, "retiring", second),
            &[row("shop", "i-1", [12, 9, 3], 3), row("shop", "i-2", [4, 8, 0], 0)],
        ),
        // The second one was started anew, under another name.
        with_uses(end, &[row("shop", "i-1", [12, 10, 3], 3), row("shop", "i-3", [0, 2, 0], 0)]),
    ])
}

fn of(history: &[HistoryEntry], wanted: Option<&str>) -> Result<RotationReport, NothingOnRecord> {
    let wanted = wanted.map(|id| id.parse().unwrap());
    let now = Timestamp::from_milliseconds(5000);
    RotationReport::of(history, (None, &[]), wanted.as_ref(), now)
}

fn old_new(line: &Line) -> Vec<(u64, u64)> {
    line.intervals.iter().map(|one| (one.old.accepted, one.new.accepted)).collect()
}

#[test]
fn the_last_rotation_is_told_of_and_any_other_by_the_secret_that_it_brought() {
    let history = two();
    let last = of(&history, None).unwrap();
    assert_eq!((last.old.as_str(), last.new.as_str()), ("a", "c"));
    assert_eq!((last.outcome, last.records), (Outcome::Done, (4, 9)));
    assert_eq!(last.head.number, 9);
    let lasted: Vec<_> = last
        .states
        .iter()
        .map(|one| (one.state, one.until.map(|until| until.since(one.from).as_millis())))
        .collect();
    let expected = [
        (State::Generated, Some(100)),
        (State::Staged, Some(100)),
        (State::CuttingOver, Some(500)),
        (State::Retiring, Some(100)),
        (State::Done, None),
    ];
    assert_eq!(lasted, expected);
    assert_eq!((last.began().milliseconds(), last.ended().milliseconds()), (100, 900));

    let first = of(&history, Some("b")).unwrap();
    assert_eq!((first.outcome, first.records), (Outcome::RolledBack, (1, 3)));
    assert_eq!(first.states[2].direction, Direction::Back);
    assert_eq!(of(&history, Some("c")).unwrap().records, last.records);
}

#[test]
fn a_rotation_that_is_not_on_record_is_told_from_none_at_all() {
    let missing = of(&two(), Some("z")).unwrap_err();
    let text = missing.to_string();
    assert!(text.contains("the secret z") && text.contains("brought c, b;"), "{text}");
    assert_eq!(of(&[], None).unwrap_err(), NothingOnRecord::NoRotation);
    assert_eq!(of(&[], Some("z")).unwrap_err(), NothingOnRecord::NoRotation);
    let mut newer = two();
    newer[4].record["state"] = json!("levitating");
    assert_eq!(of(&newer, None).unwrap_err(), NothingOnRecord::Unreadable(5));
}

#[test]
fn the_account_of_the_last_line_is_the_evidence() {
    let account = of(&two(), None).unwrap().account;
    assert_eq!(account.asked[0].asker.reason.as_deref(), Some("ticket 4711"));
    assert_eq!(account.confirmations[0].by, "grace");
    let unused = account.unused.unwrap();
    assert_eq!((unused.quiet_ms, unused.instances[0].used), (500, 12));
    assert_eq!(account.negative_test.unwrap().refused.as_str(), "a");
}

#[test]
fn uses_are_the_differences_between_two_looks_also_of_instances_that_come_and_go() {
    let report = of(&two(), None).unwrap();
    let lines = report.over_time();
    let names: Vec<_> = lines.iter().map(|line| line.instance.as_deref()).collect();
    assert_eq!(names, [None, Some("i-1"), Some("i-2"), Some("i-3")]);
    // Nothing was looked at before the first state, nor after the last one.
    let known: Vec<_> = lines[0].intervals.iter().map(|one| one.known).collect();
    assert_eq!(known, [false, true, true, true, false]);
    assert_eq!(old_new(&lines[1]), [(0, 0), (2, 0), (0, 9), (0, 1), (0, 0)]);
    assert_eq!(old_new(&lines[2]), [(0, 0), (4, 0), (0, 8), (0, 0), (0, 0)], "it began at 0");
    assert_eq!(old_new(&lines[3])[3], (0, 2));
    assert_eq!(old_new(&lines[0]), [(0, 0), (6, 0), (0, 17), (0, 3), (0, 0)], "all of them");
    let sums = report.sums();
    assert_eq!((sums.old.accepted, sums.new.accepted), (6, 20));
    assert_eq!((sums.refused(), sums.saved, sums.failed), (3, 3, 0));
}

#[test]
fn where_a_look_is_missing_what_was_done_since_is_told_of_at_the_next_one() {
    let mut history = two();
    history[6].record.as_object_mut().unwrap().remove("uses");
    let report = of(&history, None).unwrap();
    let lines = report.over_time();
    assert!(!lines[1].intervals[1].known);
    assert_eq!(old_new(&lines[1]), [(0, 0), (0, 0), (2, 9), (0, 1), (0, 0)]);
}

#[test]
fn a_rotation_that_is_under_way_is_told_of_with_its_journal_and_the_present_uses() {
    let secret = |id: &str| Secret::new(id.parse().unwrap(), format!("hunter2-{id}")).unwrap();
    let at = Timestamp::from_milliseconds;
    let policy =
        RotationPolicy::new([Application::new("shop"), Application::new("printer").manual()]);
    let mut record =
        Record::begin("client-1", policy, secret("a"), secret("c"), Revision::new(2), at(100));
    record.state = State::Staged;
    record.confirm("printer", "grace", "saw it", at(250)).unwrap();
    let history = history(vec![
        line(100, "generated", ("a", "c")),
        with_uses(line(200, "staged", ("a", "c")), &[row("shop", "i-1", [10, 0, 0], 0)]),
    ]);
    let usage = json!({
        "revision": 2, "promotions": 0,
        "secrets": [{ "id": "a", "accepted": 15, "refused": 0 }],
    });
    let report = InstanceReport::new("shop", "i-1").next(serde_json::from_value(usage).unwrap());
    let instances = [Instance::new("i-1", true, Ok(report))];
    let now = at(700);
    let report = RotationReport::of(&history, (Some(&record), &instances), None, now).unwrap();
    assert_eq!(report.outcome, Outcome::UnderWay);
    assert_eq!(report.states[1].until, Some(now));
    assert_eq!(report.account.confirmations[0].reason, "saw it");
    assert_eq!(old_new(&report.over_time()[1]), [(0, 0), (5, 0)]);
    let text = serde_json::to_string(&report).unwrap();
    assert!(!text.contains("hunter2"), "{text}");

    // The journal of another rotation says nothing of this one.
    let policy = RotationPolicy::new([Application::new("shop")]);
    let other =
        Record::begin("client-1", policy, secret("a"), secret("c"), Revision::new(2), at(101));
    let report = RotationReport::of(&history, (Some(&other), &instances), None, now).unwrap();
    assert!(report.account.confirmations.is_empty() && report.uses.len() == 1);
}

#[test]
fn a_stuck_rotation_says_why() {
    let mut stuck = line(300, "stuck", ("a", "c"));
    stuck["stuck"] = json!("foreign_secret");
    let history = history(vec![line(100, "generated", ("a", "c")), stuck]);
    let Outcome::Stuck(reason) = of(&history, None).unwrap().outcome else { panic!("it is stuck") };
    assert!(reason.to_string().contains("somebody else changed it"));
}
