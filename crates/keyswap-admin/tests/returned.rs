//! A retired secret that the server is found to hold in mid-rotation: it is published before anything else, and
//! a person's word leads on from there. Step by step; whole rotations with it are in `protocol.rs`.

use std::time::Duration;

use keyswap_admin::authority::{ChangeAnswer, Probe, ReadBack};
use keyswap_admin::rotation::{
    Effect, Ending, Event, Fleet, Missing, Record, Rotation, StuckReason, Timestamp, WayBack, Which,
};
use keyswap_admin::{Application, RotationPolicy, State};
use keyswap_core::{Revision, Secret, SecretId, SecretList};
use keyswap_store::InstanceReport;

const MIDWAY: StuckReason = StuckReason::RetiredSecretPublishedMidway;

fn secret(id: &str) -> Secret {
    Secret::new(id.parse().unwrap(), format!("value-of-{id}")).unwrap()
}

fn list<const N: usize>(ids: [&str; N]) -> SecretList {
    SecretList::new(ids.map(secret)).unwrap()
}

/// A rotation that stands in this state, with these secrets retired by earlier ones, the latest last.
fn rotation_in(state: State, retired: &[&str]) -> Rotation {
    let policy = RotationPolicy::new([Application::new("app")])
        .propagation_window(Duration::from_secs(1))
        .quiet_period(Duration::from_secs(1));
    let begun = Timestamp::from_milliseconds(0);
    let record =
        Record::begin("client", policy, secret("old"), secret("new"), Revision::new(1), begun);
    let mut journal: serde_json::Value = serde_json::from_slice(&record.to_json()).unwrap();
    let kept = |id: &&str| {
        let value = format!("value-of-{id}");
        serde_json::json!({ "secret": { "id": id, "value": value }, "until": 3_600_000 })
    };
    journal["retired"] = retired.iter().map(kept).collect();
    journal["state"] = serde_json::to_value(state).unwrap();
    journal["entered"].as_array_mut().unwrap().push(serde_json::json!({ "state": state, "at": 1 }));
    Rotation::new(Record::parse(journal.to_string().as_bytes()).unwrap())
}

fn at(rotation: &mut Rotation, second: u64, event: Event) -> Effect {
    rotation.step(event, Timestamp::from_milliseconds(second * 1_000))
}

fn holds(id: &str) -> Event {
    Event::ReadBack(ReadBack::Holds(id.parse().unwrap()))
}

/// The process ends, and another one takes the journal up.
fn next_process(rotation: &Rotation) -> Rotation {
    Rotation::new(Record::parse(&rotation.record().to_json()).unwrap())
}

fn published(effect: &Effect) -> (&SecretList, Revision) {
    match effect {
        Effect::Publish { list, replaces, .. } => (list, *replaces),
        other => panic!("something comes before the programs can sign in: {other:?}"),
    }
}

fn stuck_for(effect: &Effect) -> StuckReason {
    match effect {
        Effect::Stop(Ending::Stuck(reason)) => *reason,
        other => panic!("{other:?}"),
    }
}

/// Where it ends, and after how long, if the server takes no secret that is known.
fn nothing_is_taken(
    rotation: &mut Rotation,
    second: u64,
    mut effect: Effect,
) -> (Effect, Duration) {
    let mut waited = Duration::ZERO;
    loop {
        let event = match effect {
            Effect::Probe(which) => Event::Probed(which, Probe::Refused),
            Effect::ProbeRetired(id) => Event::ProbedRetired(id, Probe::Refused),
            Effect::ReadBack => Event::ReadBack(ReadBack::Unavailable("it cannot".into())),
            Effect::Observe => Event::Fleet(Fleet::default()),
            Effect::Write => Event::Written,
            Effect::Wait(time, _) => {
                waited += time;
                Event::Waited
            }
            end => return (end, waited),
        };
        let now = Timestamp::from_milliseconds(second * 1_000).after(waited);
        effect = rotation.step(event, now);
    }
}

/// It was found to be held, and is published; a person is asked.
fn stuck_in(state: State) -> Rotation {
    let mut rotation = rotation_in(state, &["gone"]);
    at(&mut rotation, 10, holds("gone"));
    let effect = at(&mut rotation, 10, Event::Written);
    assert_eq!(*published(&effect).0, list(["gone", "new", "old"]), "{state}");
    at(&mut rotation, 10, Event::Published(Revision::new(7)));
    assert_eq!(stuck_for(&at(&mut rotation, 10, Event::Written)), MIDWAY, "{state}");
    assert_eq!(rotation.record().revision, Revision::new(7));
    rotation
}

#[test]
fn what_is_found_is_in_the_journal_and_then_published_by_whoever_comes_whatever_is_wanted() {
    let states = [State::CuttingOver, State::CutOver, State::Promoted, State::Drained];
    for state in states.into_iter().chain([State::Retiring]) {
        let wants = [Event::TakenUp, Event::RollbackWanted, Event::RetireWanted];
        for wanted in wants.into_iter().chain([Event::CompromisedWanted(Duration::ZERO)]) {
            let mut rotation = rotation_in(state, &["gone"]);
            let effect = at(&mut rotation, 10, holds("gone"));
            assert!(matches!(effect, Effect::Write), "{state}: {effect:?}");
            let mut rotation = next_process(&rotation);
            let effect = at(&mut rotation, 20, wanted);
            assert_eq!(published(&effect), (&list(["gone", "new", "old"]), Revision::new(1)));
            let Effect::Publish { instead_of, .. } = effect else { unreachable!() };
            // What an earlier process may have published last.
            for own in [&list(["new", "old"]), &list(["old", "new"]), &list(["new"])] {
                assert!(instead_of.contains(own), "{state}: {own:?}");
            }
            at(&mut rotation, 20, Event::Published(Revision::new(5)));
            assert_eq!(stuck_for(&at(&mut rotation, 20, Event::Written)), MIDWAY);
            assert_eq!(rotation.record().change.sends, 0, "nothing is sent without a word");
        }
    }
}

#[test]
fn a_word_sends_the_secret_of_the_rotation_and_the_returned_one_stays_in_the_list_until_unused() {
    let mut rotation = next_process(&stuck_in(State::Promoted));
    for event in [Event::TakenUp, Event::Written, holds("gone")] {
        at(&mut rotation, 20, event);
    }
    assert_eq!(rotation.record().state, State::CuttingOver);
    assert_eq!(rotation.record().id(rotation.record().target()).as_str(), "new");
    // The answer is lost: what the server still holds is no news, and the same is sent again.
    at(&mut rotation, 20, Event::Answered(ChangeAnswer::Unknown("lost".into())));
    assert!(matches!(at(&mut rotation, 20, holds("gone")), Effect::Wait(..)));
    assert!(matches!(at(&mut rotation, 22, holds("gone")), Effect::Send));
    at(&mut rotation, 22, Event::Answered(ChangeAnswer::Applied));
    for second in 23..40 {
        at(&mut rotation, second, Event::Probed(Which::New, Probe::Accepted));
    }
    assert_eq!(rotation.record().state, State::Confirmed);
    let effect = at(&mut rotation, 40, Event::Written);
    assert_eq!(*published(&effect).0, list(["new", "old", "gone"]));
    at(&mut rotation, 40, Event::Published(Revision::new(8)));
    assert_eq!(rotation.record().state, State::Promoted);

    // It comes once more: the list holds it, and a person is asked once more.
    at(&mut rotation, 41, holds("gone"));
    assert_eq!(*published(&at(&mut rotation, 41, Event::Written)).0, list(["gone", "new", "old"]));
}

#[test]
fn a_rollback_from_there_sets_the_old_one_and_never_withdraws() {
    // In the first of these nothing was sent, and the server does not hold the old secret all the same.
    for state in [State::CuttingOver, State::CutOver, State::Promoted, State::Drained] {
        let mut rotation = next_process(&stuck_in(state));
        assert_eq!(rotation.record().way_back(), WayBack::SetBack, "{state}");
        let mut effect = at(&mut rotation, 20, Event::RollbackWanted);
        for event in [Event::Written, holds("gone")] {
            effect = at(&mut rotation, 20, event);
        }
        assert!(matches!(effect, Effect::Send), "{state}: {effect:?}");
        assert_eq!(rotation.record().id(rotation.record().target()).as_str(), "old");
    }
}

#[test]
fn there_is_no_way_back_once_programs_held_the_new_secret_alone_and_the_rotation_goes_on() {
    let stuck = stuck_in(State::Retiring);
    let mut rotation = next_process(&stuck);
    assert_eq!(rotation.record().way_back(), WayBack::TooLate);
    let effect = at(&mut rotation, 20, Event::RollbackWanted);
    assert!(matches!(effect, Effect::Stop(Ending::NoWayBack(WayBack::TooLate))), "{effect:?}");
    let mut rotation = next_process(&stuck);
    let mut effect = Effect::Write;
    for event in [Event::TakenUp, Event::Written, holds("gone")] {
        effect = at(&mut rotation, 20, event);
    }
    assert!(matches!(effect, Effect::Send), "{effect:?}");
    assert_eq!(rotation.record().way_back(), WayBack::TooLate);
}

#[test]
fn what_nobody_knows_is_left_alone_and_so_is_the_list_of_somebody_else() {
    let mut rotation = next_process(&stuck_in(State::Promoted));
    for event in [Event::TakenUp, Event::Written, Event::ReadBack(ReadBack::Other)] {
        at(&mut rotation, 20, event);
    }
    let effect = at(&mut rotation, 20, Event::Written);
    assert_eq!(stuck_for(&effect), StuckReason::ForeignSecret);
    assert_eq!(rotation.record().change.sends, 0);

    let mut rotation = rotation_in(State::Promoted, &["gone"]);
    for event in [holds("gone"), Event::Written, Event::ForeignList] {
        at(&mut rotation, 20, event);
    }
    assert_eq!(stuck_for(&at(&mut rotation, 20, Event::Written)), StuckReason::ForeignList);
    // Once the list is put right, that comes first.
    let mut rotation = next_process(&rotation);
    at(&mut rotation, 30, Event::TakenUp);
    let effect = at(&mut rotation, 30, Event::Written);
    assert_eq!(*published(&effect).0, list(["gone", "new", "old"]));
}

/// Where the server does not say what it holds, and has taken neither secret for longer than the window.
fn neither_is_taken(state: State, retired: &[&str]) -> (Rotation, Effect) {
    let mut rotation = rotation_in(state, retired);
    let (mut event, mut second) = (Event::TakenUp, 10);
    while second < 100 {
        event = match at(&mut rotation, second, event) {
            Effect::Probe(which) => Event::Probed(which, Probe::Refused),
            Effect::ReadBack => Event::ReadBack(ReadBack::Unavailable("it cannot".into())),
            Effect::Observe => Event::Fleet(Fleet::default()),
            Effect::Wait(..) => {
                second += 1;
                Event::Waited
            }
            effect => return (rotation, effect),
        };
    }
    panic!("it asks for ever");
}

#[test]
fn a_server_that_does_not_say_what_it_holds_is_asked_with_each_retired_secret() {
    let said = |id: &str, answer| Event::ProbedRetired(id.parse::<SecretId>().unwrap(), answer);
    let asked = |effect: &Effect| match effect {
        Effect::ProbeRetired(id) => id.to_string(),
        other => panic!("{other:?}"),
    };
    for state in [State::CuttingOver, State::CutOver, State::Promoted, State::Drained] {
        let (mut rotation, effect) = neither_is_taken(state, &["gone", "later"]);
        assert_eq!(asked(&effect), "later", "{state}");
        let effect = at(&mut rotation, 100, said("later", Probe::Refused));
        assert_eq!(asked(&effect), "gone");
        let mut other = rotation.clone();
        at(&mut rotation, 100, said("gone", Probe::Accepted));
        let effect = at(&mut rotation, 100, Event::Written);
        assert_eq!(*published(&effect).0, list(["gone", "new", "old"]), "{state}");

        // Its nodes may be taking up a change just then, and each request met another one.
        let effect = at(&mut other, 100, said("gone", Probe::Refused));
        assert!(matches!(effect, Effect::Wait(..)), "{state}: {effect:?}");
        // And if it takes none of them for a window, it is somebody else's.
        let (effect, waited) = nothing_is_taken(&mut other, 100, effect);
        assert_eq!(stuck_for(&effect), StuckReason::ForeignSecret, "{state}");
        assert!(waited > Duration::from_secs(1), "{state}: after {waited:?}");
        assert!(other.record().readmitted.is_empty());
    }
    // Of many, only some are tried.
    let (mut rotation, mut effect) =
        neither_is_taken(State::CutOver, &["one", "two", "three", "four", "five", "six"]);
    let mut tried = Vec::new();
    while let Effect::ProbeRetired(id) = &effect {
        tried.push(id.to_string());
        effect = at(&mut rotation, 100, said(tried.last().unwrap(), Probe::Refused));
    }
    assert_eq!(tried, ["six", "five", "four", "three"]);
    let (_, effect) = neither_is_taken(State::CutOver, &[]);
    assert!(matches!(effect, Effect::Write), "{effect:?}");
}

#[test]
fn a_second_retired_secret_is_published_in_front_of_the_first_one() {
    let mut rotation = rotation_in(State::Promoted, &["gone", "later"]);
    for event in [holds("gone"), Event::Written, Event::Published(Revision::new(7))] {
        at(&mut rotation, 10, event);
    }
    let mut rotation = next_process(&rotation);
    for event in [Event::TakenUp, Event::Written, holds("later")] {
        at(&mut rotation, 20, event);
    }
    let effect = at(&mut rotation, 20, Event::Written);
    assert_eq!(*published(&effect).0, list(["later", "gone", "new", "old"]));
    // The next process still knows which.
    let rotation = next_process(&rotation);
    let ids: Vec<_> = rotation.record().readmitted.iter().map(|one| one.secret.as_str()).collect();
    assert_eq!(ids, ["later", "gone"]);
}

/// Everybody holds the list with the target in front, and has used each secret this often.
fn fleet(sequence: u64, used: [(&str, u64); 3]) -> Event {
    let of = |(id, accepted)| serde_json::json!({ "id": id, "accepted": accepted, "refused": 0 });
    let usage = serde_json::json!({
        "revision": 9, "secrets": used.map(of), "promotions": 0,
    });
    let mut report = InstanceReport::new("app", "one");
    report.sequence = sequence;
    report.revision = Some(Revision::new(9));
    report.usage = Some(serde_json::from_value(usage).unwrap());
    Event::Fleet(Fleet { live: vec![report], unreadable: Vec::new() })
}

/// It returned at second 10, and by second 20 the rotation has led programs to its own secret.
fn promoted_after_it_returned() -> Rotation {
    let rotation = stuck_in(State::Promoted);
    let mut journal: serde_json::Value =
        serde_json::from_slice(&rotation.record().to_json()).unwrap();
    journal["state"] = "promoted".into();
    journal.as_object_mut().unwrap().remove("stuck");
    journal["entered"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({ "state": "promoted", "at": 20_000 }));
    Rotation::new(Record::parse(journal.to_string().as_bytes()).unwrap())
}

#[test]
fn the_returned_one_is_retired_when_it_is_unused_as_well_and_can_return_no_more() {
    let mut rotation = promoted_after_it_returned();
    let bound = rotation.record().policy.in_flight_bound.as_secs();
    at(&mut rotation, 20, Event::TakenUp);
    let mut gone_used = 5;
    for second in 20..30 {
        // Nobody uses the old one. As long as somebody uses the returned one, both stay.
        gone_used += u64::from(second < 25);
        let used = [("new", second), ("old", 3), ("gone", gone_used)];
        if rotation.record().state == State::Promoted {
            at(&mut rotation, second, fleet(second, used));
            let effect = at(&mut rotation, second, Event::Probed(Which::New, Probe::Accepted));
            assert!(second >= 25 || matches!(effect, Effect::Wait(..)), "{second}: {effect:?}");
            assert!(second >= 25 || rotation.record().state == State::Promoted, "{second}");
        }
    }
    assert_eq!(rotation.record().state, State::Drained);
    let unused = rotation.record().evidence.unused.as_ref().unwrap();
    assert_eq!((unused.secret.as_str(), unused.beside[0].as_str()), ("old", "gone"));
    assert_eq!(unused.instances[0].used, 3 + 10);

    // The server says that it holds the new one alone; what brought the other one may do so once more.
    let proofs = |rotation: &mut Rotation, second| {
        at(rotation, second, Event::Written);
        at(rotation, second, Event::Probed(Which::New, Probe::Accepted));
        at(rotation, second, Event::Probed(Which::Old, Probe::Refused))
    };
    let effect = proofs(&mut rotation, 31);
    assert!(
        matches!(&effect, Effect::Wait(_, missing) if matches!(missing[..], [Missing::InFlight { .. }])),
        "{effect:?}"
    );
    let effect = proofs(&mut rotation, 10 + bound + 2);
    assert!(matches!(effect, Effect::ReadBack), "{effect:?}");
    at(&mut rotation, 10 + bound + 2, holds("new"));
    assert_eq!(rotation.record().state, State::Retiring);
    let effect = at(&mut rotation, 10 + bound + 2, Event::Written);
    assert_eq!(*published(&effect).0, list(["new"]));
}
