//! How a record is written down, and read by whichever process comes next.

use std::borrow::Cow;
use std::{fmt, io};

use keyswap_core::{Revision, Secret, SecretId};
use keyswap_store::HistoryHead;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::back::Rollback;
use super::compromised::{Broken, Compromised};
use super::confirmation::Confirmation;
use super::evidence::Evidence;
use super::plan::Plan;
use super::policy::{RotationPolicy, Timestamp};
use super::readmitted::Readmitted;
use super::record::{Change, Entered, Record, RetiredSecret};
use super::state::{State, StuckReason};
use crate::authority::NewSecret;

/// The version that is written. Each earlier one is read: `tests/journals` holds some of each.
const VERSION: u64 = 3;

impl Record {
    /// Reads a journal.
    ///
    /// # Errors
    ///
    /// [`JournalError`] if it is of another version or damaged; it repeats nothing of it.
    pub fn parse(text: &[u8]) -> Result<Self, JournalError> {
        let header: Header =
            serde_json::from_slice(text).map_err(|error| JournalError::damaged(&error))?;
        if !(1..=VERSION).contains(&header.keyswap_journal) {
            return Err(JournalError(Fault::Version(header.keyswap_journal)));
        }
        let mut wire: Wire<'_> =
            serde_json::from_slice(text).map_err(|error| JournalError::damaged(&error))?;
        if wire.keyswap_journal == 1 {
            wire.take_over_from_version_1();
        }
        let asked = |state| matches!(state, State::Generated | State::MakingRoom | State::Adding);
        let (stuck, turned) =
            (wire.stuck.map(|(state, _)| state), wire.rollback.map(|back| back.from));
        let states = [Some(wire.state), stuck, turned];
        let chosen_by_the_server = wire.plan.adds() || wire.plan.regenerates();
        let awaited = chosen_by_the_server && states.into_iter().flatten().any(asked);
        if wire.new.value.is_none() && !awaited {
            return Err(JournalError(Fault::NoValue));
        }
        if wire.keyswap_journal < 3 {
            // Since then it is said, and not read off the states.
            wire.doubted = wire.entered.iter().any(|entered| entered.state == State::Stuck);
        }
        let secret = |wire: WireSecret| {
            Secret::new(wire.id, wire.value.as_str()).map_err(|_| JournalError(Fault::Secret))
        };
        Ok(Self {
            client: wire.client,
            policy: wire.policy,
            state: wire.state,
            entered: wire.entered,
            old: secret(wire.old)?,
            new: match wire.new {
                WireNew { id, value: Some(value) } => secret(WireSecret { id, value })?.into(),
                WireNew { id, value: None } => NewSecret::Awaited(id),
            },
            plan: wire.plan,
            revision: wire.revision,
            change: wire.change,
            stuck: wire.stuck,
            doubted: wire.doubted,
            rollback: wire.rollback,
            confirmations: wire.confirmations,
            left_out_at_gates: wire.left_out_at_gates,
            compromised: wire.compromised,
            evidence: wire.evidence.into_owned(),
            retired: wire
                .retired
                .into_iter()
                .map(|kept| Ok(RetiredSecret { secret: secret(kept.secret)?, until: kept.until }))
                .collect::<Result<_, _>>()?,
            readmitted: wire.readmitted,
            history: wire.history,
        })
    }

    /// Writes the journal. The buffer is wiped when it is dropped.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let secret = |secret: &Secret| WireSecret {
            id: secret.id().clone(),
            value: Zeroizing::new(secret.expose().to_owned()),
        };
        let wire = Wire {
            keyswap_journal: VERSION,
            client: self.client.clone(),
            state: self.state,
            old: secret(&self.old),
            new: WireNew {
                id: self.new.id().clone(),
                value: self.new.secret().map(|new| Zeroizing::new(new.expose().to_owned())),
            },
            plan: self.plan.clone(),
            revision: self.revision,
            change: self.change,
            stuck: self.stuck,
            doubted: self.doubted,
            rollback: self.rollback,
            confirmations: self.confirmations.clone(),
            left_out_at_gates: self.left_out_at_gates.clone(),
            compromised: self.compromised.clone(),
            evidence: Cow::Borrowed(&self.evidence),
            retired: self
                .retired
                .iter()
                .map(|kept| WireRetired { secret: secret(&kept.secret), until: kept.until })
                .collect(),
            readmitted: self.readmitted.clone(),
            history: self.history.clone(),
            entered: self.entered.clone(),
            policy: self.policy.clone(),
        };
        // As large as it will be: growing would leave a copy of the secrets behind, and all of it is wiped.
        let mut length = Length(1);
        let measured = serde_json::to_writer_pretty(&mut length, &wire);
        let mut text = Zeroizing::new(Vec::with_capacity(length.0));
        // Neither the writer nor these types can fail.
        if measured.and_then(|()| serde_json::to_writer_pretty(&mut *text, &wire)).is_ok() {
            text.push(b'\n');
        }
        text
    }
}

/// Counts what is written, and keeps nothing of it.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Deserialize)]
struct Header {
    keyswap_journal: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    keyswap_journal: u64,
    client: String,
    state: State,
    old: WireSecret,
    new: WireNew,
    #[serde(default, skip_serializing_if = "Plan::is_replace")]
    plan: Plan,
    revision: Revision,
    change: Change,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stuck: Option<(State, StuckReason)>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    doubted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollback: Option<Rollback>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    confirmations: Vec<Confirmation>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out_at_gates: Vec<Broken>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compromised: Option<Compromised>,
    #[serde(default, skip_serializing_if = "Evidence::is_empty")]
    evidence: Cow<'a, Evidence>,
    #[serde(default)]
    retired: Vec<WireRetired>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    readmitted: Vec<Readmitted>,
    #[serde(default)]
    history: Option<HistoryHead>,
    entered: Vec<Entered>,
    policy: RotationPolicy,
}

impl Wire<'_> {
    /// In version 1 a rotation in state `drained` may have published the new secret alone, which a
    /// later one says in the journal before it does.
    fn take_over_from_version_1(&mut self) {
        let state = match &mut self.stuck {
            Some((state, _)) if self.state == State::Stuck => state,
            _ => &mut self.state,
        };
        if *state == State::Drained {
            *state = State::Retiring;
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireSecret {
    id: SecretId,
    value: Zeroizing<String>,
}

/// Without a value while the server has not said it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireNew {
    id: SecretId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Zeroizing<String>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireRetired {
    secret: WireSecret,
    until: Timestamp,
}

/// Why a rotation journal cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JournalError(Fault);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Fault {
    Version(u64),
    Damaged { line: usize, column: usize },
    Secret,
    NoValue,
}

impl JournalError {
    fn damaged(error: &serde_json::Error) -> Self {
        // serde's own text may repeat a value.
        Self(Fault::Damaged { line: error.line(), column: error.column() })
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Fault::Version(found) => write!(
                f,
                "the rotation journal is of version {found}; this program knows the versions up to \
                 {VERSION}: use a newer keyswap. The journal and the list stay as they are, with every \
                 secret in them"
            ),
            Fault::Damaged { line, column } => write!(
                f,
                "the rotation journal is damaged at line {line}, column {column}: keep the file, it may \
                 hold the only copy of a secret, and restore it from a backup"
            ),
            Fault::NoValue => f.write_str(
                "the rotation journal does not hold the value of the new secret, which the server may hold \
                 already: keep the file, and restore it from a backup",
            ),
            Fault::Secret => f.write_str(
                "the rotation journal holds a value that is not a secret: keep the file, it may hold the \
                 only copy of another one, and restore it from a backup",
            ),
        }
    }
}

impl std::error::Error for JournalError {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rotation::Application;

    fn record() -> Record {
        let secret = |id: &str, value: &str| Secret::new(id.parse().unwrap(), value).unwrap();
        let policy = RotationPolicy::new([Application::new("billing").instances(3)])
            .propagation_window(Duration::from_millis(1500));
        Record::begin(
            "client-1",
            policy,
            secret("old", "old-\"hunter2\u{a0}"),
            secret("new", "new-hunter3"),
            Revision::new(7),
            Timestamp::from_milliseconds(5),
        )
    }

    #[test]
    fn a_journal_reads_back_as_it_was_written() {
        let mut record = record();
        record.stuck = Some((State::CuttingOver, StuckReason::ForeignSecret));
        record.doubted = true;
        record.retire_source(Timestamp::from_milliseconds(9));
        record.change =
            Change { sends: 2, last_sent: Timestamp::from_milliseconds(8), unresolved: true };
        record.rollback = Some(Rollback {
            from: State::CutOver,
            at: Timestamp::from_milliseconds(10),
            forward: record.change,
            stuck: Some(StuckReason::ForeignSecret),
        });
        record.policy.applications.push(Application::new("printer").manual());
        record.policy.change_windows = Some("Sat 22:00-02:00 Europe/Berlin".parse().unwrap());
        record = record.compromised_within(Duration::from_secs(60));
        record.state = State::Promoted;
        let now = Timestamp::from_milliseconds(11);
        record.confirm("printer", "ada", "saw \"it\" sign in\n", now).unwrap();
        let text = record.to_json();
        assert_eq!(text.capacity(), text.len(), "it did not grow, and nothing is left over");
        let read = Record::parse(&text).unwrap();
        assert_eq!((read.old.id(), read.new.id()), (record.old.id(), record.new.id()));
        assert_eq!(read, record);
    }

    #[test]
    fn debug_and_errors_show_no_secret() {
        let record = record();
        assert!(!format!("{record:?}").contains("hunter"));
        let text = String::from_utf8(record.to_json().to_vec()).unwrap();
        for damaged in [
            text.replace("\"id\": \"old\"", "\"id\": 3"),
            text.replace("\"value\": \"new-hunter3\"", "\"value\": [\"new-hunter3\"]"),
            text.replace("\"state\": \"generated\"", "\"state\": \"new-hunter3\""),
            text[..text.len() / 2].to_owned(),
        ] {
            let error = Record::parse(damaged.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("damaged at line"), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter"), "{error}");
        }
        let later = text.replace("\"keyswap_journal\": 3", "\"keyswap_journal\": 9");
        assert!(Record::parse(later.as_bytes()).unwrap_err().to_string().contains("version 9"));
    }
}
