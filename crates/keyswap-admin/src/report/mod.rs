//! What is on record of one rotation, put together for a person who was not there: an auditor, the next
//! operator, whoever asks why the old secret was taken away.
//!
//! All of it comes from the [history](keyswap_store::SecretStore::history), whose lines hold each other's
//! hashes, and of a rotation that is under way from its journal too. Reading is pure: the same lines give the
//! same report. Nothing in it is secret.

mod over_time;
mod read;

use keyswap_core::SecretId;
use keyswap_store::HistoryHead;
use serde::{Deserialize, Serialize};

use crate::rotation::{
    Application, Broken, Compromised, Confirmation, Direction, Gap, Proof, Readmitted, Removal,
    State, StuckReason, Timestamp, Unused, Uses, Word,
};

pub use over_time::{Interval, Line, Sums};
pub use read::NothingOnRecord;

/// What is on record of one rotation.
///
/// ```
/// use keyswap_admin::report::RotationReport;
/// use keyswap_admin::rotation::Timestamp;
/// use keyswap_admin::Status;
/// use keyswap_store::SecretStore;
///
/// async fn tell<S: SecretStore>(store: &S) -> Result<(), Box<dyn std::error::Error>> {
///     let (history, status) = (store.history().await?, Status::read(store).await?);
///     let now = (status.record.as_ref(), &status.instances[..]);
///     let report = RotationReport::of(&history, now, None, Timestamp::now())?;
///     println!("{} took the place of {}", report.new, report.old);
///     for interval in report.over_time().iter().flat_map(|line| &line.intervals) {
///         println!("{}: {} with the old secret", interval.state, interval.old.used());
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RotationReport {
    /// The client whose secret it is.
    pub client: String,
    /// The secret that the rotation found.
    pub old: SecretId,
    /// The secret that it brought: no other rotation has the same, so it names the rotation.
    pub new: SecretId,
    /// What became of it.
    pub outcome: Outcome,
    /// When this was put together.
    pub at: Timestamp,
    /// Each state that it was in, in order.
    pub states: Vec<Period>,
    /// Who asked for what, what was confirmed, and on what it rests that a secret was taken away.
    pub account: Account,
    /// What the instances had done with the two secrets as each state was entered, and of a rotation that is
    /// under way now. Lines of earlier versions hold nothing of that.
    pub uses: Vec<Uses>,
    /// The numbers of its first and its last record in the history.
    pub records: (u64, u64),
    /// Its last record.
    pub head: HistoryHead,
}

/// What became of a rotation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Every instance holds the new secret alone.
    Done,
    /// The old secret is in force as before.
    RolledBack,
    /// A person has to look.
    Stuck(StuckReason),
    /// It has not come to its end.
    UnderWay,
}

/// A state that a rotation was in.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Period {
    /// The state.
    pub state: State,
    /// On which way.
    pub direction: Direction,
    /// What is true in it, in words for a person.
    pub meaning: String,
    /// When it was entered.
    pub from: Timestamp,
    /// When the next one was entered; of the last state of a rotation that is under way the time of the report,
    /// and `None` for the state in which it ended.
    pub until: Option<Timestamp>,
    /// The process that entered it.
    pub holder: String,
}

/// The account that a rotation gives of itself; see [`Record::account`](crate::rotation::Record::account).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Account {
    /// Who asked for what, in order.
    pub asked: Vec<Word>,
    /// On which way it is, or ended.
    pub direction: Direction,
    /// For whom it waited.
    pub applications: Vec<Application>,
    /// What persons said: for applications that cannot report, and of instances that were not waited for.
    pub confirmations: Vec<Confirmation>,
    /// Who was left out when a gate opened, at a person's word.
    pub left_out: Vec<Broken>,
    /// That the old secret was compromised, and who was left behind for it.
    pub compromised: Option<Compromised>,
    /// What the instances attested.
    pub unused: Option<Unused>,
    /// What the server said before the outgoing secret was taken away.
    pub negative_test: Option<Proof>,
    /// How often the change was sent, or was about to be.
    pub sends: u32,
    /// When programs may have had no secret that the server takes.
    pub gaps: Vec<Gap>,
    /// Retired secrets that the server was found to hold.
    pub readmitted: Vec<Readmitted>,
    /// What was removed at the server to make room.
    pub removed_first: Option<Removal>,
}

impl RotationReport {
    /// When it began.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.states.first().map_or(self.at, |first| first.from)
    }

    /// When it ended; of one that has not, the time of the report.
    #[must_use]
    pub fn ended(&self) -> Timestamp {
        self.states.last().map_or(self.at, |last| last.until.unwrap_or(last.from))
    }

    /// Whether it has come to its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.outcome, Outcome::Done | Outcome::RolledBack)
    }

    /// The secret that goes, and the one that stays, on the way that it went last.
    #[must_use]
    pub fn source_and_target(&self) -> (&SecretId, &SecretId) {
        match self.account.direction {
            Direction::Forward => (&self.old, &self.new),
            Direction::Back => (&self.new, &self.old),
        }
    }
}
