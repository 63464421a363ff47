//! From the lines of a history to the report of one rotation.

use std::fmt;

use keyswap_core::SecretId;
use keyswap_store::{HistoryEntry, Instance};
use serde::Deserialize;
use serde_json::Value;

use super::{Account, Outcome, Period, RotationReport};
use crate::progress::meaning;
use crate::rotation::{Direction, Record, State, StuckReason, Timestamp, Uses, Wish};

/// Why there is no report.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NothingOnRecord {
    /// No rotation has begun yet.
    NoRotation,
    /// No rotation brought a secret of this id; there were these, the last one first.
    NoSuch(SecretId, Vec<SecretId>),
    /// A line of the history is not one that this version writes.
    Unreadable(u64),
}

/// How many rotations one error names.
const MOST_NAMED: usize = 5;

impl fmt::Display for NothingOnRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRotation => {
                f.write_str("no rotation is on record yet: `keyswap rotate` begins one")
            }
            Self::NoSuch(id, known) => {
                let named: Vec<_> =
                    known.iter().take(MOST_NAMED).map(ToString::to_string).collect();
                write!(
                    f,
                    "no rotation on record brought the secret {id}. The last ones brought {}; \
                     `keyswap history` shows all",
                    named.join(", ")
                )
            }
            Self::Unreadable(number) => write!(
                f,
                "record {number} of the history is not one that this version of keyswap knows: a newer one \
                 may have written it, use that"
            ),
        }
    }
}

impl std::error::Error for NothingOnRecord {}

/// What a line that tells of a state holds. Others tell of a person's word, which is in the account as well.
#[derive(Deserialize)]
struct Entered {
    at: Timestamp,
    client: String,
    #[serde(default)]
    holder: String,
    state: State,
    old: SecretId,
    new: SecretId,
    #[serde(default)]
    stuck: Option<StuckReason>,
    #[serde(default)]
    rolled_back_from: Option<State>,
    #[serde(default)]
    uses: Option<Uses>,
    #[serde(default)]
    account: Option<Value>,
}

impl Entered {
    fn read(entry: &HistoryEntry) -> Result<Option<Self>, NothingOnRecord> {
        if entry.record["old"].is_null() {
            return Ok(None);
        }
        let read = Self::deserialize(&entry.record);
        read.map(Some).map_err(|_| NothingOnRecord::Unreadable(entry.head.number))
    }

    fn ends(&self) -> bool {
        matches!(self.state, State::Done | State::RolledBack)
    }
}

/// The lines of one rotation.
struct Lines<'a> {
    entered: Vec<Entered>,
    first: &'a HistoryEntry,
    last: &'a HistoryEntry,
}

impl Lines<'_> {
    fn brought(&self) -> Option<&SecretId> {
        self.entered.last().map(|last| &last.new)
    }
}

fn rotations(history: &[HistoryEntry]) -> Result<Vec<Lines<'_>>, NothingOnRecord> {
    let mut rotations: Vec<Lines<'_>> = Vec::new();
    let mut begins = true;
    for entry in history {
        let entered = Entered::read(entry)?;
        let ends = entered.as_ref().is_some_and(Entered::ends);
        match rotations.last_mut().filter(|_| !begins) {
            Some(lines) => {
                lines.entered.extend(entered);
                lines.last = entry;
            }
            None => {
                let Some(entered) = entered else { continue };
                rotations.push(Lines { entered: vec![entered], first: entry, last: entry });
            }
        }
        begins = ends || rotations.is_empty();
    }
    Ok(rotations)
}

impl RotationReport {
    /// Puts together what is on record of one rotation: of the one that brought the secret `wanted`, or of the
    /// last one. `history`, the journal and the instances are what the store of the client holds at the time
    /// `now`; the last two count only for a rotation that is under way.
    ///
    /// # Errors
    ///
    /// [`NothingOnRecord`] if there is no such rotation, or a line is of a newer version.
    pub fn of(
        history: &[HistoryEntry],
        (journal, instances): (Option<&Record>, &[Instance]),
        wanted: Option<&SecretId>,
        now: Timestamp,
    ) -> Result<Self, NothingOnRecord> {
        let mut rotations = rotations(history)?;
        let found = match wanted {
            None => rotations.pop(),
            Some(id) => {
                // An id may come back if a retired secret does: the last time counts.
                let at = rotations.iter().rposition(|lines| lines.brought() == Some(id));
                at.map(|at| rotations.swap_remove(at))
            }
        };
        let Some(lines) = found else {
            let known = rotations.iter().rev().filter_map(|lines| lines.brought().cloned());
            return Err(match wanted {
                Some(id) if !rotations.is_empty() => {
                    NothingOnRecord::NoSuch(id.clone(), known.collect())
                }
                _ => NothingOnRecord::NoRotation,
            });
        };
        let Some(last) = lines.entered.last() else { return Err(NothingOnRecord::NoRotation) };
        let (over, number) = (last.ends(), lines.last.head.number);
        // The journal has it before the last line of the history does.
        let began = lines.entered.first().map(|first| first.at);
        let record =
            journal.filter(|record| record.entered.first().map(|entered| entered.at) == began);
        let account = match (&last.account, record) {
            (Some(account), _) => account_of(account.clone(), number)?,
            (None, Some(record)) => account_of(record.account(), number)?,
            (None, None) => Account::default(),
        };
        let states = periods(&lines.entered, &account, (over, now));
        let mut uses: Vec<Uses> =
            lines.entered.iter().filter_map(|entered| entered.uses.clone()).collect();
        if let Some(record) = record.filter(|_| !over) {
            let secrets = (record.old.id(), record.new.id());
            uses.push(Uses::of(instances, secrets, now));
        }
        Ok(Self {
            client: last.client.clone(),
            old: last.old.clone(),
            new: last.new.clone(),
            outcome: outcome(last, record),
            at: now,
            states,
            account,
            uses,
            records: (lines.first.head.number, number),
            head: lines.last.head.clone(),
        })
    }
}

fn outcome(last: &Entered, record: Option<&Record>) -> Outcome {
    let stuck = last.stuck.or_else(|| record?.stuck.map(|(_, reason)| reason));
    match (last.state, stuck) {
        (State::Done, _) => Outcome::Done,
        (State::RolledBack, _) => Outcome::RolledBack,
        (State::Stuck, Some(reason)) => Outcome::Stuck(reason),
        _ => Outcome::UnderWay,
    }
}

fn account_of(mut account: Value, number: u64) -> Result<Account, NothingOnRecord> {
    // Which column of its rows is what: for readers without this type.
    if let Some(unused) = account.get_mut("unused").and_then(Value::as_object_mut) {
        unused.remove("columns");
    }
    serde_json::from_value(account).map_err(|_| NothingOnRecord::Unreadable(number))
}

fn periods(entered: &[Entered], account: &Account, (over, now): (bool, Timestamp)) -> Vec<Period> {
    let hurries = account.compromised.is_some();
    let regenerates = account.asked.iter().any(|word| word.wish == Wish::AcceptAGap);
    let ends = entered.iter().skip(1).map(|next| Some(next.at)).chain([(!over).then_some(now)]);
    let period = |(entered, until): (&Entered, Option<Timestamp>)| {
        let direction = match entered.rolled_back_from {
            Some(_) => Direction::Back,
            None => Direction::Forward,
        };
        let hurries = hurries && direction == Direction::Forward;
        Period {
            state: entered.state,
            direction,
            meaning: meaning(entered.state, direction, hurries, regenerates).to_owned(),
            from: entered.at,
            // A clock that was set back between two processes makes no state end before it began.
            until: until.map(|until| until.max(entered.at)),
            holder: entered.holder.clone(),
        }
    };
    entered.iter().zip(ends).map(period).collect()
}
