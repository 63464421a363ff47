//! The file store does what every store must, and the suite that says so finds each flaw.

#[path = "common/flawed.rs"]
mod flawed;

use std::time::Duration;

use flawed::{Flaw, FlawedStore};
use keyswap_store::FileStore;
use keyswap_testkit::store::conformance;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn the_file_store_does_what_every_store_must() {
    let directory = TempDir::new().unwrap();
    let report = conformance(async |client: &str| open(&directory, client)).await;
    println!("{report}");
    assert!(report.is_met(), "{report}");
}

#[test]
fn each_flaw_of_a_store_breaks_the_rule_about_it() {
    let flaws = [
        (Flaw::ImportsAgain, "a_list_is_imported_once"),
        (Flaw::PublishesOverAnyRevision, "a_publication_over_another_revision_writes_nothing"),
        (Flaw::ForgetsHowOftenToAttest, "a_published_list_is_read_by_everybody_at_once"),
        (Flaw::ReadsFromACache, "a_published_list_is_read_by_everybody_at_once"),
        (Flaw::TrimsValues, "every_allowed_character_comes_back"),
        (Flaw::GivesNoHints, "a_watch_tells_of_each_publication"),
        (Flaw::LosesHints, "a_watch_loses_nothing_between_two_looks"),
        (Flaw::NamesNoHolder, "a_lease_is_held_by_one_and_names_its_holder"),
        (Flaw::KeepsOnlyBetweenWrites, "a_lease_is_kept_while_a_write_is_left_alone"),
        (Flaw::TakesALostLeaseBack, "a_lease_that_was_lost_writes_nothing"),
        (Flaw::WritesWithoutALease, "a_lease_of_another_client_writes_nothing"),
        (Flaw::CutsJournals, "a_large_journal_comes_back"),
        (Flaw::KeepsHoldsToItself, "a_hold_is_seen_by_everybody_and_needs_no_lease"),
        (Flaw::RegistersAsDead, "an_instance_is_live_from_its_registration_on"),
        (Flaw::ForgetsReports, "a_report_replaces_the_one_before"),
        (Flaw::ListsBackwards, "instances_are_listed_in_the_order_of_their_ids"),
        (Flaw::TakesAnyId, "an_id_that_is_none_is_refused"),
        (Flaw::ReadsHistoryBackwards, "records_come_back_in_order"),
        (Flaw::ForgetsRecords, "of_concurrent_records_none_is_lost"),
    ];
    let check = |flaw, rule: &str| {
        let directory = TempDir::new().unwrap();
        let open = async |client: &str| FlawedStore::new(open(&directory, client), flaw);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let report = runtime.block_on(conformance(open));
        let broken: Vec<_> = report.broken().map(|(rule, _)| rule).collect();
        assert!(broken.contains(&rule), "{flaw:?} was not found by {rule}: {report}");
        // A suite that says of everything that it is broken says nothing.
        assert!(broken.len() <= 8, "{flaw:?} breaks {broken:?}");
    };
    // They wait most of the time.
    std::thread::scope(|scope| {
        for (flaw, rule) in flaws {
            scope.spawn(move || check(flaw, rule));
        }
    });
}

fn open(directory: &TempDir, client: &str) -> FileStore {
    let store = FileStore::create(directory.path().join("store"), client).unwrap();
    store.lease(Duration::from_millis(500)).poll(Duration::from_millis(100))
}
