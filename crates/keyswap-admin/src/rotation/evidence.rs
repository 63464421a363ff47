//! What a rotation keeps to show why each of its steps was right. Nothing in it is secret.

use std::time::Duration;

use keyswap_core::{Revision, SecretId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::back::Direction;
use super::policy::Timestamp;
use super::record::Record;

/// Who asked for something, why, and on what the rotation rests that took a secret away.
///
/// It is in the journal from the moment on at which it was decided, so that no crash can lose it, and as
/// a whole in the history when the rotation is over.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Evidence {
    /// What persons asked for, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
    /// What the instances attested when the outgoing secret was found to be unused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused: Option<Unused>,
    /// What the server said before the outgoing secret was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// What a person wants of a rotation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Wish {
    /// That it begins.
    Rotate,
    /// That it goes back.
    RollBack,
    /// That the outgoing secret is retired, where it holds for that.
    Retire,
    /// That it begins although nobody has a secret that the server takes for a while, where that cannot be
    /// avoided.
    AcceptAGap,
    /// That nobody is waited for much longer, since the old secret is compromised.
    Hurry,
}

/// Who asks, and why.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Asker {
    /// The person, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Whose hold on the rotations is overridden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub despite_hold_of: Option<String>,
    /// The process that does it.
    pub holder: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A person's word.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// What is wanted.
    pub wish: Wish,
    /// By whom.
    pub asker: Asker,
    /// When.
    pub at: Timestamp,
}

/// That nobody uses a secret any more.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Unused {
    /// The secret.
    pub secret: SecretId,
    /// Retired secrets that had returned, and went together with it: counted as if they were one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<SecretId>,
    /// The list that each instance holds, or a later one.
    pub revision: Revision,
    /// For how long each instance had not used it, at least, in milliseconds.
    pub quiet_ms: u64,
    /// What each live instance attested.
    pub instances: Vec<Attested>,
}

/// Two reports of one instance with the same count, a quiet period or more apart.
///
/// Written as a row of a table, since there may be thousands: application, instance, count, then time and
/// number of the first report and of the last.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(from = "Row", into = "Row")]
#[non_exhaustive]
pub struct Attested {
    /// The application.
    pub application: String,
    /// The instance.
    pub instance: String,
    /// How often it used the secret since it started, in both reports.
    pub used: u64,
    /// When the first of them had been written for certain.
    pub from: Timestamp,
    /// The number of that report.
    pub from_sequence: u64,
    /// When the last of them had certainly not been written yet.
    pub until: Timestamp,
    /// The number of that report.
    pub until_sequence: u64,
}

type Row = (String, String, u64, Timestamp, u64, Timestamp, u64);

impl From<Row> for Attested {
    fn from(row: Row) -> Self {
        let (application, instance, used, from, from_sequence, until, until_sequence) = row;
        Self { application, instance, used, from, from_sequence, until, until_sequence }
    }
}

impl From<Attested> for Row {
    fn from(one: Attested) -> Self {
        let Attested { application, instance, used, .. } = one;
        let Attested { from, from_sequence, until, until_sequence, .. } = one;
        (application, instance, used, from, from_sequence, until, until_sequence)
    }
}

/// The negative test: the server took the secret that stays, and then refused the one that goes.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Proof {
    /// The secret that the server accepted.
    pub accepted: SecretId,
    /// When the token request was begun that it accepted; `None` if the server listed that secret as one
    /// in force instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_after: Option<Timestamp>,
    /// The secret that the server refused after that.
    pub refused: SecretId,
    /// When the refusal had come.
    pub refused_by: Timestamp,
}

impl Unused {
    pub(super) fn new(
        secret: SecretId,
        revision: Revision,
        quiet: Duration,
        instances: Vec<Attested>,
    ) -> Self {
        let quiet_ms = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
        Self { secret, beside: Vec::new(), revision, quiet_ms, instances }
    }
}

impl Evidence {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Forgets what was said of the secret that goes: from now on it is the other one.
    pub(super) fn turn_back(&mut self) {
        self.unused = None;
        self.proof = None;
    }
}

impl Record {
    /// Notes who asked for the rotation to begin.
    #[must_use]
    pub fn asked_by(mut self, asker: Asker) -> Self {
        self.note_word(Wish::Rotate, asker, self.since());
        self
    }

    pub(super) fn note_word(&mut self, wish: Wish, asker: Asker, at: Timestamp) {
        self.evidence.words.push(Word { wish, asker, at });
    }

    /// What persons asked for since the state before the present one was entered.
    #[must_use]
    pub fn words_that_led_here(&self) -> &[Word] {
        let before = match self.entered.as_slice() {
            [.., before, _] => Some(before.at),
            _ => None,
        };
        let words = &self.evidence.words;
        &words[words.partition_point(|word| Some(word.at) <= before)..]
    }

    /// The whole record of a rotation, without its secrets: who and why, each state with its time, and on
    /// what it rests that the outgoing secret was taken away.
    #[must_use]
    pub fn account(&self) -> Value {
        let Evidence { words, unused, proof } = &self.evidence;
        let mut account = json!({
            "asked": words,
            "direction": self.direction(),
            "entered": self.entered,
            "applications": self.policy.applications,
            "confirmations": self.confirmations,
            "left_out": self.left_out_at_gates,
            "compromised": self.compromised,
            "unused": unused.as_ref().map(|unused| json!({
                "secret": unused.secret,
                "beside": unused.beside,
                "revision": unused.revision,
                "quiet_ms": unused.quiet_ms,
                "columns": COLUMNS,
                "instances": unused.instances,
            })),
            "negative_test": proof,
            "sends": self.change.sends,
        });
        if !self.gaps().is_empty() {
            account["gaps"] = json!(self.gaps());
        }
        if !self.readmitted.is_empty() {
            account["readmitted"] = json!(self.readmitted);
        }
        if let Some(removal) = self.removal() {
            account["removed_first"] = json!(removal);
        }
        if let (Direction::Back, Some(rollback)) = (self.direction(), self.rollback) {
            account["rolled_back_from"] = json!(rollback.from);
        }
        account
    }
}

/// What the columns of [`Attested`] are in the history.
const COLUMNS: [&str; 7] =
    ["application", "instance", "used", "from", "from_sequence", "until", "until_sequence"];
