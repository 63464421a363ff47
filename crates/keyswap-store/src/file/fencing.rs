//! Tests: two holders of one lease, the first stopped between any two steps of its write.

use std::path::Path;
use std::time::{Duration, Instant};

use keyswap_core::{Revision, Secret, SecretList};
use tempfile::TempDir;

use super::lock::Writing;
use super::place::Place;
use super::replace::{self, Durable, Staged};
use super::section::Section;
use super::{FileStore, permissions};
use crate::{SecretStore, StoreError};

const DOING: &str = "test";
/// The time that [`FileStore::lease`] makes of it: the shortest.
const TERM: Duration = Duration::from_millis(100);

fn place() -> (TempDir, Place) {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::create(directory.path().join("store"), "billing").unwrap().lease(TERM);
    let place = Place::clone(&store.place);
    (directory, place)
}

fn let_the_lease_end() {
    std::thread::sleep(TERM + Duration::from_millis(20));
}

fn ring(place: &Place) -> Option<String> {
    let text = permissions::read(&place.ring(), DOING).unwrap()?;
    Some(String::from_utf8(text.to_vec()).unwrap())
}

/// What a write of one holder consists of.
struct Write<'a> {
    writing: Writing<'a>,
    staged: Option<Staged<'a>>,
    section: Option<Section>,
    refused: Option<StoreError>,
}

const STEPS: usize = 4;

impl<'a> Write<'a> {
    fn step(&mut self, step: usize, ring: &'a Path) {
        if self.refused.is_some() {
            return;
        }
        match step {
            0 => self.staged = Some(replace::stage(ring, b"first", Durable::Yes, DOING).unwrap()),
            1 => match self.writing.section(DOING) {
                Ok(section) => self.section = Some(section),
                Err(error) => {
                    self.staged = None;
                    self.refused = Some(error);
                }
            },
            2 => self.staged.take().unwrap().commit().unwrap(),
            _ => self.section = None,
        }
    }
}

#[test]
fn a_holder_that_was_stopped_at_any_step_of_a_write_never_writes_over_the_next_one() {
    // The second holder comes after so many steps of the first.
    let rounds = (0..=STEPS).map(|stopped_after| {
        std::thread::spawn(move || {
            let (_directory, place) = place();
            let first = place.acquire("the first", DOING).unwrap();
            let path = place.ring();
            let mut write =
                Write { writing: first.writing(), staged: None, section: None, refused: None };
            (0..stopped_after).for_each(|step| write.step(step, &path));
            let_the_lease_end();

            let second = place.acquire("the second", DOING);
            let in_the_section = (2..STEPS).contains(&stopped_after);
            if in_the_section {
                let error = second.unwrap_err();
                assert!(error.is_held(), "{error}");
                let text = error.to_string();
                assert!(text.contains("the first (process"), "{text}");
                assert!(text.contains("in the middle of a write"), "{text}");
                (stopped_after..STEPS).for_each(|step| write.step(step, &path));
                assert_eq!(ring(&place).as_deref(), Some("first"));
                // Now it can be taken.
                let second = place.acquire("the second", DOING).unwrap();
                assert!(write.writing.section(DOING).unwrap_err().is_lease_lost());
                assert!(second.epoch() > first.epoch());
                return;
            }
            let second = second.unwrap();
            assert!(second.epoch() > first.epoch());
            let staged = replace::stage(&path, b"second", Durable::Yes, DOING).unwrap();
            let section = second.writing().section(DOING).unwrap();
            staged.commit().unwrap();
            drop(section);
            let before = std::fs::read(place.lock()).unwrap();
            (stopped_after..STEPS).for_each(|step| write.step(step, &path));
            assert_eq!(ring(&place).as_deref(), Some("second"), "after {stopped_after} steps");
            if stopped_after < STEPS {
                let refused = write.refused.as_ref().unwrap();
                assert!(refused.is_lease_lost(), "{refused}");
                assert!(refused.to_string().contains("the second took over"), "{refused}");
            }
            assert!(write.writing.renew(DOING).unwrap_err().is_lease_lost());
            assert_eq!(
                std::fs::read(place.lock()).unwrap(),
                before,
                "the lock file is the second's"
            );
            // Nobody takes it from the second, however little of its time this machine left.
            second.writing().renew(DOING).unwrap();
        })
    });
    let rounds: Vec<_> = rounds.collect();
    rounds.into_iter().for_each(|round| round.join().unwrap());
}

#[test]
fn a_lease_is_not_taken_over_before_its_time_and_renewing_puts_that_off() {
    let (_directory, place) = place();
    let first = place.acquire("the first", DOING).unwrap();
    for _ in 0..8 {
        let asked = Instant::now();
        if first.writing().renew(DOING).unwrap() > TERM / 2 {
            match place.acquire("the second", DOING) {
                Err(error) => assert!(error.to_string().contains("that works in 1 s"), "{error}"),
                Ok(_second) => {
                    assert!(asked.elapsed() >= TERM / 2, "taken over within its time");
                    // This machine was slower than the lease, which nobody is wrong to take over then.
                    let lost = first.writing().renew(DOING).expect_err("two hold it");
                    assert!(lost.is_lease_lost(), "{lost}");
                    return;
                }
            }
        }
        std::thread::sleep(TERM / 3);
    }
    let_the_lease_end();
    place.acquire("the second", DOING).unwrap();
}

#[test]
fn a_lease_whose_time_is_over_and_that_nobody_took_goes_on() {
    let (_directory, place) = place();
    let first = place.acquire("the first", DOING).unwrap();
    let taken_until = until(&place);
    let_the_lease_end();
    drop(first.writing().section(DOING).unwrap());
    assert!(first.writing().renew(DOING).unwrap() <= TERM);
    // By what is written: on a slow machine nothing may be left of it by now.
    assert!(until(&place) >= taken_until + TERM, "it was not put off");
    drop(first.writing().section(DOING).unwrap());
}

/// What the lock file says.
fn record(place: &Place) -> serde_json::Value {
    let text = std::fs::read_to_string(place.lock()).unwrap();
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

/// Until when nobody takes over, since this machine was started.
fn until(place: &Place) -> Duration {
    Duration::from_millis(record(place)["until_uptime_ms"].as_u64().unwrap())
}

/// As if it had been taken so many milliseconds earlier or later by the wall clock.
fn jump(place: &Place, by: i64) {
    let mut record = record(place);
    let since = record["since_ms"].as_i64().unwrap();
    record["since_ms"] = (since + by).into();
    // In place: it is still the same file.
    let file = std::fs::File::options().write(true).open(place.lock()).unwrap();
    let line = format!("{record}\n");
    std::os::unix::fs::FileExt::write_all_at(&file, line.as_bytes(), 0).unwrap();
    file.set_len(line.len() as u64).unwrap();
}

#[test]
fn a_wall_clock_that_jumps_neither_ends_a_lease_nor_prolongs_it() {
    const HOUR: i64 = 3_600_000;
    for by in [HOUR, -24 * HOUR] {
        let (_directory, mut place) = place();
        place.term = Duration::from_secs(20);
        let first = place.acquire("the first", DOING).unwrap();
        jump(&place, by);
        assert!(place.acquire("the second", DOING).unwrap_err().is_held());
        drop(first.writing().section(DOING).unwrap());
        drop(first);

        place.term = TERM;
        let first = place.acquire("the first", DOING).unwrap();
        jump(&place, by);
        let_the_lease_end();
        place.acquire("the second", DOING).unwrap();
        assert!(first.writing().section(DOING).unwrap_err().is_lease_lost());
    }
}

#[test]
fn the_lease_of_an_earlier_version_without_a_time_lasts_as_long_as_its_process() {
    let (_directory, place) = place();
    place.make(DOING).unwrap();
    let old = std::fs::File::create(place.lock()).unwrap();
    let line = br#"{"epoch":4,"holder":"old","process":1,"since_ms":0}"#;
    std::os::unix::fs::FileExt::write_all_at(&old, line, 0).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(place.lock(), private).unwrap();
    old.lock().unwrap();
    assert!(place.acquire("new", DOING).unwrap_err().is_held());
    drop(old);
    assert_eq!(place.acquire("new", DOING).unwrap().epoch(), 5);
}

#[test]
fn of_many_that_take_over_at_once_exactly_one_has_the_lease() {
    let (_directory, place) = place();
    let stopped = place.acquire("the stopped one", DOING).unwrap();
    for _ in 0..5 {
        let_the_lease_end();
        let takers: Vec<_> = (0..8)
            .map(|_| {
                let place = place.clone();
                std::thread::spawn(move || place.acquire("a taker", DOING))
            })
            .collect();
        let taken: Vec<_> = takers.into_iter().map(|taker| taker.join().unwrap()).collect();
        let mut winners = Vec::new();
        for taken in taken {
            match taken {
                Ok(lock) => winners.push(lock),
                Err(error) => assert!(error.is_held(), "{error}"),
            }
        }
        // On a machine that is slower than the lease, a winner may have been taken over from already.
        let able = winners.iter().filter(|lock| lock.writing().section(DOING).is_ok()).count();
        assert_eq!(able, 1, "of {} winners", winners.len());
        assert!(stopped.writing().section(DOING).unwrap_err().is_lease_lost());
    }
}

#[tokio::test]
async fn every_write_of_a_holder_that_was_taken_over_is_refused_and_leaves_nothing() {
    let (_directory, place) = place();
    let root = place.root.clone();
    let open = |term| FileStore::open(&root, "billing").unwrap().lease(term);
    // However slow the machine is, the new one has its lease to the end.
    let (old, new) = (open(TERM), open(Duration::from_secs(600)));
    let list = |id: &str| {
        SecretList::new([Secret::new(id.parse().unwrap(), format!("value-of-{id}")).unwrap()])
            .unwrap()
    };
    old.import(&list("a")).await.unwrap();
    let lost = old.acquire("the old one").await.unwrap();
    old.save_journal(&lost, b"journal of the old one").await.unwrap();
    let_the_lease_end();
    let lease = new.acquire("the new one").await.unwrap();
    let record = serde_json::json!({"state": "x"});
    new.append_history(&lease, &record).await.unwrap();
    let before = files(&place.directory);

    let one = Revision::new(1);
    let refused = [
        old.publish(&lost, one, &list("b"), None).await.map(drop),
        old.save_journal(&lost, b"late").await,
        old.append_history(&lost, &record).await.map(drop),
        old.renew(&lost).await.map(drop),
    ];
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(error.is_lease_lost(), "{error}");
        let text = error.to_string();
        assert!(text.contains("the new one took over with epoch 3 (ours is 2)"), "{text}");
        assert!(text.contains("nothing was written") && text.contains("keyswap resume"), "{text}");
    }
    drop(lost);
    assert_eq!(files(&place.directory), before);
    // The old one's end is not the end of the new lease.
    assert!(old.acquire("a third").await.unwrap_err().is_held());
    new.publish(&lease, one, &list("b"), None).await.unwrap();
}

fn files(directory: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap_or_default()))
        .collect();
    files.sort();
    files
}
