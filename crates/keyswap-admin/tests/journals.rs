//! Journals as this and earlier versions wrote them, one for each state: each is read, goes on to its end, and
//! goes back where that is possible.
//!
//! `tests/journals/VERSION-STATE.json` stays as it is; a new version of the format adds its own.

use std::collections::BTreeMap;
use std::time::Duration;

use keyswap_admin::State;
use keyswap_admin::authority::{AddAnswer, ChangeAnswer, Probe, ReadBack};
use keyswap_admin::rotation::{
    Direction, Effect, Ending, Event, Fleet, Record, Rotation, StuckReason, Timestamp, WayBack,
};
use keyswap_core::{FallbackPolicy, Revision, Secret, SecretId, SecretList, SecretRing};
use keyswap_store::{Hold, InstanceReport};

fn journals() -> BTreeMap<String, Record> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/journals");
    let read = std::fs::read_dir(directory).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let record = Record::parse(&std::fs::read(&path).unwrap());
        (name.clone(), record.unwrap_or_else(|error| panic!("{name}: {error}")))
    });
    read.collect()
}

/// A server with one node that does what it is asked, a store, and two instances that are quick.
struct World {
    now: Timestamp,
    server: SecretId,
    published: (Revision, SecretList),
    reports: Vec<InstanceReport>,
}

impl World {
    /// As it is when the process that wrote this ends: the list is the one that the journal names last.
    fn of(record: &Record) -> Self {
        let state = record.stuck.map_or(record.state, |(state, _)| state);
        let (mut list, mut server) = match (state, record.direction()) {
            (state, Direction::Back) => Self::on_the_way_back(state, record),
            (state, Direction::Forward) => Self::on_the_way_forward(state, record),
        };
        if let Some(found) = record.readmitted.first() {
            // The server holds what an earlier rotation retired.
            let kept = record.retired.iter().map(|kept| &kept.secret);
            server = kept.clone().find(|kept| *kept.id() == found.secret).unwrap().clone();
            if found.published {
                let (old, new) = (record.old.clone(), record.new.secret().unwrap().clone());
                list = vec![server.clone(), new, old];
            }
        }
        Self {
            now: record.latest().after(Duration::from_secs(60)),
            server: server.id().clone(),
            published: (record.revision, SecretList::new(list).unwrap()),
            reports: ["i-one", "i-two"].map(|name| InstanceReport::new("billing", name)).into(),
        }
    }

    fn on_the_way_back(state: State, record: &Record) -> (Vec<Secret>, Secret) {
        let (old, new) = (record.old.clone(), record.new.secret().unwrap().clone());
        match state {
            State::Generated => (vec![old], new),
            State::Withdrawing => (vec![old.clone(), new], old),
            State::Adopted | State::CuttingOver => (vec![new.clone(), old], new),
            State::CutOver | State::Confirmed => (vec![new, old.clone()], old),
            State::Promoted | State::Drained | State::Retiring => (vec![old.clone(), new], old),
            _ => (vec![old.clone()], old),
        }
    }

    fn on_the_way_forward(state: State, record: &Record) -> (Vec<Secret>, Secret) {
        let old = record.old.clone();
        let Some(new) = record.new.secret().cloned() else {
            // The server was asked for a value, and chose one that nobody heard.
            let chosen = Secret::new("unheard".parse().unwrap(), "value-of-unheard").unwrap();
            return (vec![old], chosen);
        };
        match state {
            State::Generated => (vec![old.clone()], old),
            State::Staged | State::Adopted | State::CuttingOver => (vec![old.clone(), new], old),
            State::CutOver | State::Confirmed => (vec![old, new.clone()], new),
            State::Promoted | State::Drained | State::Retiring => (vec![new.clone(), old], new),
            _ => (vec![new.clone()], new),
        }
    }

    fn perform(&mut self, effect: Effect, record: &Record) -> Result<Event, Ending> {
        self.now = self.now.after(Duration::from_millis(5));
        Ok(match effect {
            Effect::Write => Event::Written,
            Effect::Publish { list, replaces, instead_of, .. } => {
                let (revision, published) = &self.published;
                if *revision > replaces && *published == list {
                    Event::Published(*revision)
                } else if *revision == replaces || instead_of.contains(published) {
                    self.published = (revision.next(), list);
                    Event::Published(self.published.0)
                } else {
                    Event::ForeignList
                }
            }
            Effect::Observe => {
                let (revision, list) = self.published.clone();
                let policy = FallbackPolicy::default();
                let usage = SecretRing::with_policy(list, revision, policy).usage();
                for report in &mut self.reports {
                    *report = report.next(usage.clone());
                }
                Event::Fleet(Fleet { live: self.reports.clone(), unreadable: Vec::new() })
            }
            Effect::Send => {
                self.server = record.id(record.target()).clone();
                Event::Answered(ChangeAnswer::Applied)
            }
            Effect::Add => {
                let id = record.new.id().clone();
                self.server = id.clone();
                let value = format!("value-of-{id}");
                Event::Added(AddAnswer::Replaced(Secret::new(id, value).unwrap()))
            }
            Effect::ReadBack => Event::ReadBack(ReadBack::Holds(self.server.clone())),
            Effect::Probe(which) => {
                let secret = record.secret(which).unwrap();
                let held = *secret.id() == self.server;
                Event::Probed(which, if held { Probe::Accepted } else { Probe::Refused })
            }
            Effect::Wait(time, _) | Effect::BackOff(time) => {
                self.now = self.now.after(time);
                Event::Waited
            }
            Effect::Stop(ending) => return Err(ending),
            other => panic!("unknown effect {other:?}"),
        })
    }

    /// Takes the journal up with this event, and goes on until it stops, with what persons have to say
    /// on the way. What is written reads back as
    /// it was.
    fn take_up(&mut self, record: &Record, event: &Event) -> (Ending, Record) {
        let mut written = record.clone();
        let mut rotation = Rotation::new(record.clone());
        let wanted = event;
        let mut event = event.clone();
        for _ in 0..10_000 {
            let effect = rotation.step(event, self.now);
            if written != *rotation.record() {
                written = Record::parse(&rotation.record().to_json()).unwrap();
                assert_eq!(written, *rotation.record());
            }
            event = match self.perform(effect, rotation.record()) {
                Ok(event) => event,
                Err(Ending::AwaitsConfirmation(_)) => {
                    let mut record = rotation.record().clone();
                    record.confirm("printer", "ada", "looked", self.now).unwrap();
                    rotation = Rotation::new(record);
                    Event::TakenUp
                }
                Err(Ending::AwaitsRetirement) => Event::RetireWanted,
                // A person is called, and says that it may go on.
                Err(Ending::Stuck(
                    StuckReason::RetiredSecretPublished | StuckReason::RetiredSecretPublishedMidway,
                )) => wanted.clone(),
                Err(ending) => return (ending, rotation.record().clone()),
            };
        }
        panic!("it does not end: {:?}", rotation.record());
    }
}

#[test]
fn there_is_a_journal_of_each_version_in_each_state() {
    let states: Vec<_> = journals().into_values().map(|record| record.state).collect();
    for state in State::PATH.into_iter().chain([State::Withdrawing, State::RolledBack]) {
        assert!(states.contains(&state), "{state}");
    }
    for name in journals().keys() {
        let found = name.split_once('-').unwrap().0;
        assert!(["1", "2", "3"].contains(&found), "{name}");
    }
}

#[test]
fn a_journal_of_each_version_goes_on_to_its_end() {
    for (name, record) in journals() {
        let mut world = World::of(&record);
        let (ending, ended) = world.take_up(&record, &Event::TakenUp);
        let stays = match record.direction() {
            Direction::Forward => {
                assert!(matches!(ending, Ending::Done), "{name}: {ending:?}");
                ended.new.secret().unwrap()
            }
            Direction::Back => {
                assert!(matches!(ending, Ending::RolledBack), "{name}: {ending:?}");
                &record.old
            }
        };
        assert!(ended.is_over(), "{name}");
        assert_eq!(world.server, *stays.id(), "{name}");
        assert_eq!(world.published.1, SecretList::new([stays.clone()]).unwrap(), "{name}");
    }
}

#[test]
fn a_journal_of_each_version_goes_back_where_there_is_a_way() {
    let expected = [
        ("1-generated", WayBack::Withdraw),
        ("1-staged", WayBack::Withdraw),
        ("1-adopted", WayBack::Withdraw),
        ("1-adopted-after-a-refusal", WayBack::Withdraw),
        ("1-cutting-over-sent", WayBack::SetBack),
        ("1-cutting-over-throttled", WayBack::Withdraw),
        ("1-cutting-over-unresolved", WayBack::SetBack),
        ("1-cut-over", WayBack::SetBack),
        ("1-confirmed", WayBack::SetBack),
        ("1-promoted", WayBack::SetBack),
        // The list with the new secret alone may have been published already.
        ("1-drained", WayBack::TooLate),
        ("1-stuck-in-drained", WayBack::TooLate),
        ("1-retired", WayBack::TooLate),
        ("1-done", WayBack::Done),
        ("1-stuck-foreign-secret", WayBack::SetBack),
        ("2-staged-confirmed", WayBack::Withdraw),
        ("2-withdrawing", WayBack::UnderWay),
        ("2-rolled-back-withdrawn", WayBack::RolledBack),
        ("2-drained-held", WayBack::SetBack),
        ("2-retiring", WayBack::TooLate),
        ("2-back-adopted", WayBack::UnderWay),
        ("2-back-cutting-over", WayBack::UnderWay),
        ("2-back-stuck-foreign-secret", WayBack::UnderWay),
        ("2-back-cut-over", WayBack::UnderWay),
        ("2-back-confirmed", WayBack::UnderWay),
        ("2-back-promoted", WayBack::UnderWay),
        ("2-back-drained", WayBack::UnderWay),
        ("2-back-retiring", WayBack::UnderWay),
        ("2-back-retired", WayBack::UnderWay),
        ("2-back-rolled-back", WayBack::RolledBack),
        ("3-drained-doubted", WayBack::SetBack),
        ("3-drained-attested", WayBack::SetBack),
        ("3-promoted-compromised", WayBack::SetBack),
        ("3-retiring-proved", WayBack::TooLate),
        ("3-gap-adding", WayBack::OldIsGone),
        ("3-gap-promoted", WayBack::OldIsGone),
        ("3-back-generated-returned", WayBack::UnderWay),
        ("3-back-stuck-returned", WayBack::UnderWay),
        ("3-promoted-readmitted-due", WayBack::SetBack),
        ("3-stuck-readmitted", WayBack::SetBack),
    ];
    let journals = journals();
    assert_eq!(journals.len(), expected.len(), "each is expected to do something");
    for (name, way) in expected {
        let record = &journals[name];
        assert_eq!(record.way_back(), way, "{name}");
        let mut world = World::of(record);
        let before = (world.server.clone(), world.published.clone());
        let (ending, ended) = world.take_up(record, &Event::RollbackWanted);
        if matches!(
            way,
            WayBack::TooLate | WayBack::OldIsGone | WayBack::Done | WayBack::RolledBack
        ) {
            assert!(matches!(ending, Ending::NoWayBack(no) if no == way), "{name}: {ending:?}");
            assert_eq!((&world.server, &world.published), (&before.0, &before.1), "{name}");
            assert_eq!(ended, *record, "{name}: nothing is written");
            continue;
        }
        assert!(matches!(ending, Ending::RolledBack), "{name}: {ending:?}");
        assert_eq!(world.server, *record.old.id(), "{name}");
        assert_eq!(world.published.1, SecretList::new([record.old.clone()]).unwrap(), "{name}");
        let sent = ended.rollback.unwrap().forward.sends > 0;
        let kept = ended.retired.iter().any(|kept| kept.secret.id() == record.new.id());
        assert_eq!(kept, sent, "{name}: a value that was sent is recognised later");
        // And there is nothing left to do, in either direction.
        for event in [Event::TakenUp, Event::RollbackWanted] {
            let (ending, again) = world.take_up(&ended, &event);
            assert!(
                matches!(ending, Ending::RolledBack | Ending::NoWayBack(WayBack::RolledBack)),
                "{name}: {ending:?}"
            );
            assert_eq!(again, ended, "{name}");
        }
    }
}

/// As a process writes them that is stopped after each write, from each state and in each direction.
#[test]
fn a_process_that_is_stopped_after_any_write_of_a_rollback_is_followed_by_one_that_goes_back_on() {
    for (name, record) in journals() {
        // What has to be published comes before what a person wants, and that is asked after it.
        let due = record.readmitted.iter().any(|one| !one.published);
        if due || !matches!(record.way_back(), WayBack::Withdraw | WayBack::SetBack) {
            continue;
        }
        for stop_after in 1.. {
            let mut world = World::of(&record);
            let mut rotation = Rotation::new(record.clone());
            let mut event = Event::RollbackWanted;
            let (mut writes, mut over) = (0, false);
            while writes < stop_after && !over {
                let before = rotation.record().clone();
                let effect = rotation.step(event.clone(), world.now);
                writes += u32::from(*rotation.record() != before);
                if writes < stop_after {
                    match world.perform(effect, rotation.record()) {
                        Ok(happened) => event = happened,
                        Err(_) => over = true,
                    }
                }
            }
            if over {
                break;
            }
            let (ending, ended) = world.take_up(rotation.record(), &Event::TakenUp);
            assert!(matches!(ending, Ending::RolledBack), "{name} {stop_after}: {ending:?}");
            assert_eq!(ended.state, State::RolledBack);
            assert_eq!(world.server, *record.old.id(), "{name} {stop_after}");
        }
    }
}

#[test]
fn a_stuck_journal_says_why_and_keeps_both_secrets() {
    let record = &journals()["1-stuck-foreign-secret"];
    assert_eq!(record.stuck, Some((State::CuttingOver, StuckReason::ForeignSecret)));
    let mut ids: Vec<_> = record.known().iter().map(|secret| secret.id().to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["s-new", "s-old"]);
}

/// Earlier versions did not say it.
#[test]
fn a_journal_of_a_rotation_that_was_stuck_is_doubted() {
    for (name, record) in journals() {
        let was_stuck = !name.starts_with("3-")
            && record.entered.iter().any(|entered| entered.state == State::Stuck);
        let said = name == "3-drained-doubted";
        assert_eq!(record.doubted, was_stuck || said, "{name}");
    }
}

/// What a process attested and proved before it was killed is not gathered anew by the next one, and is
/// never taken for evidence of the way back.
#[test]
fn the_evidence_in_a_journal_outlives_its_process_and_not_a_rollback() {
    for (name, proved) in [("3-drained-attested", false), ("3-retiring-proved", true)] {
        let record = &journals()[name];
        let attested = record.evidence.unused.clone().unwrap();
        assert_eq!(attested.instances[0].used, 9);
        assert_eq!(record.evidence.proof.is_some(), proved, "{name}");
        let (ending, ended) = World::of(record).take_up(record, &Event::TakenUp);
        assert!(matches!(ending, Ending::Done), "{name}: {ending:?}");
        assert_eq!(ended.evidence.unused.as_ref(), Some(&attested));
        assert_eq!(ended.evidence.words, record.evidence.words);
        let account = ended.account();
        assert_eq!(account["asked"][0]["asker"]["reason"], "ticket \"4711\"");
        assert_eq!(account["unused"]["instances"][1][1], "i-two");
        assert_eq!(account["negative_test"]["refused"], record.old.id().as_str());
        let refused = ended.evidence.proof.unwrap().refused_by;
        assert!(refused >= World::of(record).now, "the last test counts, not the one before it");
        assert!(!account.to_string().contains("value"), "{account}");
    }
    let record = &journals()["3-drained-attested"];
    let (_, ended) = World::of(record).take_up(record, &Event::RollbackWanted);
    let evidence = ended.evidence;
    assert_eq!(evidence.unused.unwrap().secret, *record.new.id());
    assert_eq!(evidence.proof.unwrap().refused, *record.new.id());
}

/// From each state, whenever it is put: what is begun is looked at to its end, nothing is changed, and the
/// rotation comes to its end once the hold is over.
#[test]
fn a_hold_that_is_put_at_any_time_stops_a_rotation_before_its_next_act_and_costs_nothing() {
    let (mut stops, mut at_once) = (0, 0);
    for (name, record) in journals() {
        // Programs can do nothing meanwhile, so a hold does not prolong that.
        if record.is_over() || record.is_in_a_gap() {
            continue;
        }
        // Most steps of a rotation are looks that are like each other.
        for put_after in (0..8).chain((3..14).map(|power| 1 << power)) {
            let mut world = World::of(&record);
            let mut rotation = Rotation::new(record.clone());
            let mut event = Event::TakenUp;
            let mut ending = None;
            let (mut steps, mut sent, mut state_at_put) = (0, false, record.state);
            while ending.is_none() {
                if steps == put_after {
                    rotation.note_hold(Some(Hold::new("ada", "a freeze", 0, None)));
                    state_at_put = rotation.record().state;
                }
                steps += 1;
                let effect = rotation.step(event.clone(), world.now);
                let acts = matches!(effect, Effect::Publish { .. } | Effect::Send);
                assert!(!acts || steps <= put_after, "{name} {put_after}: {effect:?}");
                sent |= matches!(effect, Effect::Send);
                match world.perform(effect, rotation.record()) {
                    Ok(happened) => event = happened,
                    Err(stopped) => ending = Some(stopped),
                }
            }
            if !matches!(ending, Some(Ending::Held(_))) {
                // It came to another end before, and a later hold changes nothing about that.
                break;
            }
            stops += 1;
            at_once += u32::from(put_after == 0);
            assert!(put_after > 0 || *rotation.record() == record, "{name}: nothing is written");
            let state = rotation.record().state;
            let retiring = state == State::Retiring && state_at_put != State::Retiring;
            assert!(!retiring, "{name} {put_after}: there is a way back still");
            let meant = state == State::CuttingOver && state_at_put != State::CuttingOver;
            assert!(
                !meant || sent,
                "{name} {put_after}: the journal tells of no change never sent"
            );
            let both = [record.old.id(), record.new.id()];
            let held: Vec<_> = world.published.1.ids().collect();
            let begun = rotation.record().state == State::Generated;
            let gone = matches!(rotation.record().state, State::Retiring | State::Retired)
                || rotation.record().is_over();
            assert!(begun || gone || both.iter().all(|id| held.contains(id)), "{name} {put_after}");
            let (ending, _) = world.take_up(rotation.record(), &Event::TakenUp);
            let over = matches!(ending, Ending::Done | Ending::RolledBack);
            assert!(over, "{name} {put_after}: {ending:?}");
        }
    }
    assert!(at_once >= 25 && stops > 100, "{at_once} {stops}");
}

#[test]
fn a_hold_that_is_over_holds_nothing() {
    let record = &journals()["1-staged"];
    let mut rotation = Rotation::new(record.clone());
    let now = record.latest().after(Duration::from_secs(60));
    rotation.note_hold(Some(Hold::new("ada", "a freeze", 0, Some(now.milliseconds() + 1))));
    assert!(matches!(rotation.step(Event::TakenUp, now), Effect::Stop(Ending::Held(_))));
    let then = now.after(Duration::from_millis(1));
    assert!(matches!(rotation.step(Event::TakenUp, then), Effect::Observe));
}
