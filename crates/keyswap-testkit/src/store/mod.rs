//! What every secret store must do, as one suite of rules: for the stores of keyswap, and for your own.
//!
//! With the feature `store`. Each rule works on clients of its own, and one that is broken does not stop
//! the others.
//!
//! ```
//! use std::time::Duration;
//!
//! use keyswap_store::FileStore;
//! use keyswap_testkit::store::conformance;
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path().join("store");
//! // Each call gives a handle of its own, as another process would have. A short lease keeps the rules
//! // short that wait for its end.
//! let open = async |client: &str| {
//!     let store = FileStore::create(&directory, client).expect("a directory that can be made");
//!     store.lease(Duration::from_millis(500)).poll(Duration::from_millis(100))
//! };
//! let report = conformance(open).await;
//! assert!(report.is_met(), "{report}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod history;
mod instances;
mod leases;
mod lists;
mod watching;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyswap_core::{Secret, SecretDocument, SecretList};
use keyswap_store::{SecretStore, StoreError};
use tokio::time::{Instant, sleep, timeout};

/// Far beyond what a slow machine needs.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Whether a rule is met; or what was seen instead.
type Outcome = Result<(), String>;

/// Returns from a rule with what was seen, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($seen:tt)+) => {
        if !$condition {
            return Err(format!($($seen)+));
        }
    };
}
use ensure;

/// Runs every rule against a store. `open` gives a handle for a client of that id, in a store that it
/// shares with all other handles.
///
/// The rules about lost leases wait until a lease has ended that nobody renews: give the handles a short
/// one, half a second for a store on the same machine. A rule that has not come to an end after a minute
/// is broken.
pub async fn conformance<S: SecretStore>(open: impl AsyncFn(&str) -> S) -> ConformanceReport {
    let mut report = ConformanceReport { rules: Vec::new() };
    let subject = Subject { open: &open, run: run_id() };
    macro_rules! rules {
        ($($module:ident: $($rule:ident),+;)+) => {$($(
            let checked = timeout(PATIENCE, $module::$rule(&subject)).await;
            let outcome = checked.unwrap_or_else(|_| Err("it came to no end".to_owned()));
            report.rules.push(Rule { name: stringify!($rule), outcome });
        )+)+};
    }
    rules! {
        lists:
            a_list_is_imported_once,
            of_many_imports_one_wins,
            a_published_list_is_read_by_everybody_at_once,
            a_publication_over_another_revision_writes_nothing,
            a_publication_needs_a_list_to_replace,
            of_many_publications_one_wins,
            every_allowed_character_comes_back,
            the_largest_list_comes_back,
            clients_do_not_see_each_other;
        watching:
            a_watch_tells_of_each_publication,
            a_watch_loses_nothing_between_two_looks,
            a_watch_that_was_given_up_and_taken_up_loses_nothing;
        leases:
            a_lease_is_held_by_one_and_names_its_holder,
            a_lease_that_is_dropped_is_free,
            a_lease_that_is_renewed_stays,
            a_lease_is_kept_while_a_write_is_left_alone,
            a_lease_that_was_lost_writes_nothing,
            a_lease_of_another_client_writes_nothing,
            a_journal_comes_back_byte_by_byte,
            a_large_journal_comes_back,
            a_hold_is_seen_by_everybody_and_needs_no_lease;
        instances:
            an_instance_is_live_from_its_registration_on,
            a_report_replaces_the_one_before,
            an_instance_that_leaves_is_not_live,
            instances_are_listed_in_the_order_of_their_ids,
            an_id_that_is_none_is_refused;
        history:
            records_come_back_in_order,
            a_history_outlives_its_lease,
            of_concurrent_records_none_is_lost;
    }
    report
}

/// What came of each rule.
#[derive(Clone, Debug)]
#[must_use = "a report says by itself what is broken"]
pub struct ConformanceReport {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    name: &'static str,
    outcome: Outcome,
}

impl ConformanceReport {
    /// Whether every rule is met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.broken().next().is_none()
    }

    /// How many rules there are.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// The rules that are broken, each with what was seen.
    pub fn broken(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.rules
            .iter()
            .filter_map(|rule| Some((rule.name, rule.outcome.as_ref().err()?.as_str())))
    }
}

impl fmt::Display for ConformanceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in &self.rules {
            let name = rule.name.replace('_', " ");
            match &rule.outcome {
                Ok(()) => writeln!(f, "ok      {name}")?,
                Err(seen) => writeln!(f, "BROKEN  {name}: {seen}")?,
            }
        }
        let broken = self.broken().count();
        write!(f, "{} rules, {broken} broken", self.rules.len())
    }
}

/// Clients with names that no other rule, and no other run against the same store, uses.
struct Subject<'a, O> {
    open: &'a O,
    run: u64,
}

impl<S: SecretStore, O: AsyncFn(&str) -> S> Subject<'_, O> {
    /// A handle of its own for the client of this rule.
    async fn open(&self, rule: &str) -> S {
        (self.open)(&format!("{rule}-{:x}", self.run)).await
    }

    /// As [`open`](Self::open), with a first list published.
    async fn with_list(&self, rule: &str) -> Result<S, String> {
        let store = self.open(rule).await;
        let list = list(&["first"]);
        store.import(&list).await.map_err(unexpected("the first import"))?;
        Ok(store)
    }
}

fn run_id() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or_default()
}

fn unexpected(what: &str) -> impl FnOnce(StoreError) -> String {
    move |error| format!("{what} failed: {error}")
}

fn list(ids: &[&str]) -> SecretList {
    let secrets = ids.iter().map(|id| secret(id, &format!("conformance-value-of-{id}")));
    SecretList::new(secrets).expect("a short list of different ids")
}

fn secret(id: &str, value: &str) -> Secret {
    Secret::new(id.parse().expect("an id of allowed characters"), value).expect("an allowed value")
}

/// The published document, which must be there.
async fn published<S: SecretStore>(store: &S) -> Result<SecretDocument, String> {
    let document = store.published().await.map_err(unexpected("reading the list"))?;
    document.ok_or_else(|| "there is no list, although one was published".to_owned())
}

/// Waits until `look` gives something.
async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, String>,
) -> Result<T, String> {
    let until = Instant::now() + PATIENCE / 2;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        ensure!(Instant::now() < until, "waited in vain: {what}");
        sleep(BETWEEN_LOOKS).await;
    }
}
