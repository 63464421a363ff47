//! A person's word that one gate may open without one instance: what it opens, and what it does not.

use std::time::Duration;

use keyswap_admin::rotation::{
    Effect, Event, Fleet, Gate, Missing, NothingToConfirm, Record, Rotation, Timestamp,
    UnreadableReport,
};
use keyswap_admin::{Application, RotationPolicy, State};
use keyswap_core::{Revision, Secret};
use keyswap_store::{Hold, InstanceReport};

fn secret(id: &str) -> Secret {
    Secret::new(id.parse().unwrap(), format!("value-of-{id}")).unwrap()
}

/// A rotation that stands in this state since its beginning; its list is of revision 2.
fn rotation_in(state: State) -> Rotation {
    let policy = RotationPolicy::new([Application::new("app").instances(2)])
        .propagation_window(Duration::from_secs(1))
        .quiet_period(Duration::from_secs(1));
    let now = Timestamp::from_milliseconds(0);
    let record =
        Record::begin("client", policy, secret("old"), secret("new"), Revision::new(2), now);
    let mut journal: serde_json::Value = serde_json::from_slice(&record.to_json()).unwrap();
    journal["state"] = serde_json::to_value(state).unwrap();
    Rotation::new(Record::parse(journal.to_string().as_bytes()).unwrap())
}

fn report(application: &str, name: &str, revision: u64, sequence: u64) -> InstanceReport {
    let usage = serde_json::json!({
        "revision": revision,
        "secrets": [{ "id": "old", "accepted": if name == "busy" { sequence } else { 1 }, "refused": 0 }],
        "promotions": 0,
    });
    let mut report = InstanceReport::new(application, name);
    report.sequence = sequence;
    report.revision = Some(Revision::new(revision));
    report.usage = Some(serde_json::from_value(usage).unwrap());
    report
}

fn fleet(live: Vec<InstanceReport>) -> Fleet {
    Fleet { live, unreadable: Vec::new() }
}

/// One that is ready, and one that never takes up another list.
fn one_is_deaf() -> Fleet {
    fleet(vec![report("app", "ready", 2, 1), report("app", "deaf", 1, 1)])
}

fn leave_out(
    rotation: &Rotation,
    (application, instance): (&str, &str),
    fleet: &Fleet,
) -> Result<(Rotation, Gate), NothingToConfirm> {
    let mut record = rotation.record().clone();
    let (said, now) = (("ada", "it is being replaced"), Timestamp::from_milliseconds(500));
    let gate = record.leave_out((application, instance), fleet, said, now)?;
    Ok((Rotation::new(Record::parse(&record.to_json()).unwrap()), gate))
}

fn at(rotation: &mut Rotation, second: u64, event: Event) -> Effect {
    rotation.step(event, Timestamp::from_milliseconds(second * 1_000))
}

fn names(effect: &Effect) -> Vec<String> {
    match effect {
        Effect::Wait(_, missing) => missing.iter().map(ToString::to_string).collect(),
        other => panic!("the gate is open: {other:?}"),
    }
}

#[test]
fn a_gate_opens_without_the_instance_that_a_person_left_out_and_names_it() {
    let mut rotation = rotation_in(State::Staged);
    let waits = at(&mut rotation, 1, Event::Fleet(one_is_deaf()));
    assert!(names(&waits)[0].contains("app/deaf holds revision 1"), "{waits:?}");

    let (mut rotation, gate) = leave_out(&rotation, ("app", "deaf"), &one_is_deaf()).unwrap();
    assert_eq!((gate, rotation.record().left_out().count()), (Gate::Adopted, 1));
    assert!(rotation.record().left_out_at_gates.is_empty(), "nobody is left behind yet");
    at(&mut rotation, 2, Event::Fleet(one_is_deaf()));
    assert_eq!(rotation.record().state, State::Adopted);
    let left = &rotation.record().left_out_at_gates[0];
    assert_eq!(left.at, Timestamp::from_milliseconds(2_000));
    assert!(matches!(&left.missing, Missing::Revision { instance, .. } if instance == "deaf"));
    let account = rotation.record().account();
    assert_eq!(account["left_out"][0]["missing"]["instance"], "deaf", "{account}");
    assert_eq!(account["confirmations"][0]["instance"], "deaf");
    assert_eq!(account["confirmations"][0]["reason"], "it is being replaced");
}

#[test]
fn a_word_is_for_one_instance_and_for_no_other() {
    let (mut rotation, _) =
        leave_out(&rotation_in(State::Staged), ("app", "deaf"), &one_is_deaf()).unwrap();
    let mut more = one_is_deaf();
    more.live.push(report("app", "another", 1, 1));
    let waits = names(&at(&mut rotation, 2, Event::Fleet(more)));
    assert_eq!(waits.len(), 2, "{waits:?}");
    assert!(waits[0].contains("app/another holds revision 1"), "{waits:?}");
    assert_eq!(waits[1], "app/deaf is not waited for: ada said so");
    // One that starts anew has another name; one that is gone leaves too few.
    let replaced = fleet(vec![report("app", "ready", 2, 1), report("app", "deaf2", 1, 1)]);
    assert!(names(&at(&mut rotation, 3, Event::Fleet(replaced)))[0].contains("deaf2"));
    let gone = fleet(vec![report("app", "ready", 2, 1)]);
    assert!(names(&at(&mut rotation, 4, Event::Fleet(gone)))[0].contains("1 of 2"));
    assert_eq!(rotation.record().state, State::Staged);
}

#[test]
fn a_word_is_for_one_gate_and_one_direction() {
    let (rotation, _) =
        leave_out(&rotation_in(State::Staged), ("app", "deaf"), &one_is_deaf()).unwrap();
    let journal = |state: State| {
        let mut journal: serde_json::Value =
            serde_json::from_slice(&rotation.record().to_json()).unwrap();
        journal["state"] = serde_json::to_value(state).unwrap();
        journal
    };
    for state in [State::Promoted, State::Retired] {
        let record = Record::parse(journal(state).to_string().as_bytes()).unwrap();
        assert_eq!(record.left_out().count(), 0, "{state}");
        let mut later = Rotation::new(record);
        at(&mut later, 3, Event::Fleet(one_is_deaf()));
        assert_eq!(later.record().state, state);
        // With a word for that gate as well, it opens.
        let (mut later, _) = leave_out(&later, ("app", "deaf"), &one_is_deaf()).unwrap();
        for second in 4..8 {
            let mut fleet = one_is_deaf();
            fleet.live.iter_mut().for_each(|report| report.sequence = second);
            at(&mut later, second, Event::Fleet(fleet));
        }
        assert_ne!(later.record().state, state, "it opened");
    }
    let mut back = journal(State::Promoted);
    back["confirmations"][0]["gate"] = "drained".into();
    back["rollback"] = serde_json::json!({
        "from": "promoted", "at": 1, "forward": { "sends": 1, "last_sent": 0, "unresolved": false }
    });
    let record = Record::parse(back.to_string().as_bytes()).unwrap();
    assert_eq!(record.left_out().count(), 0);
}

#[test]
fn one_that_is_in_use_does_not_attest_and_one_that_nobody_declared_or_can_read_is_left_out_as_well()
{
    let live = |sequence| {
        let quiet = ["ready", "other"].map(|name| report("app", name, 2, sequence));
        let busy = [report("app", "busy", 2, sequence), report("ghost", "g-1", 1, 1)];
        let reason = "instances/odd.json: it is no report".to_owned();
        let unreadable = vec![UnreadableReport { instance: "odd".to_owned(), reason }];
        Fleet { live: quiet.into_iter().chain(busy).collect(), unreadable }
    };
    let mut rotation = rotation_in(State::Promoted);
    for (application, instance) in [("app", "busy"), ("ghost", "g-1"), ("app", "odd")] {
        let shut = rotation.clone();
        for second in 2..6 {
            at(&mut rotation, second, Event::Fleet(live(second)));
        }
        assert_eq!(rotation.record().state, State::Promoted, "{instance} is waited for");
        let (next, gate) = leave_out(&shut, (application, instance), &live(1)).unwrap();
        assert_eq!(gate, Gate::Drained);
        rotation = next;
    }
    for second in 2..6 {
        if rotation.record().state == State::Promoted {
            at(&mut rotation, second, Event::Fleet(live(second)));
        }
    }
    assert_eq!(rotation.record().state, State::Drained);
    let attested = &rotation.record().evidence.unused.as_ref().unwrap().instances;
    let attested: Vec<_> = attested.iter().map(|one| one.instance.as_str()).collect();
    assert_eq!(attested, ["ready", "other"]);
    assert!(rotation.record().left_out_at_gates.len() >= 3);
}

#[test]
fn what_is_not_waited_for_is_not_left_out() {
    let refused = |state, meant: (&str, &str)| {
        leave_out(&rotation_in(state), meant, &one_is_deaf()).unwrap_err()
    };
    let deaf = ("app", "deaf");
    assert_eq!(refused(State::Adopted, deaf), NothingToConfirm::NoGate(State::Adopted));
    let not_there = NothingToConfirm::NotThere("gone".to_owned());
    assert_eq!(refused(State::Staged, ("app", "gone")), not_there);
    assert_eq!(
        refused(State::Staged, ("printer", "deaf")),
        NothingToConfirm::OfAnother("app".to_owned())
    );
    let ready = NothingToConfirm::IsReady("ready".to_owned());
    assert_eq!(refused(State::Staged, ("app", "ready")), ready);
    let (rotation, _) = leave_out(&rotation_in(State::Staged), deaf, &one_is_deaf()).unwrap();
    let again = leave_out(&rotation, deaf, &one_is_deaf()).unwrap_err();
    assert_eq!(again, NothingToConfirm::LeftOut("deaf".to_owned()));
}

#[test]
fn under_a_hold_nobody_is_left_out() {
    let (mut rotation, _) =
        leave_out(&rotation_in(State::Staged), ("app", "deaf"), &one_is_deaf()).unwrap();
    let before = rotation.clone();
    rotation.note_hold(Some(Hold::new("ada", "a freeze", 0, None)));
    let effect = at(&mut rotation, 2, Event::Fleet(one_is_deaf()));
    assert!(matches!(effect, Effect::Stop(_)), "{effect:?}");
    assert_eq!(rotation.record(), before.record());
}
