//! What a rotation would do, before it does anything.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use keyswap_core::{Revision, SecretId};
use serde::{Serialize, Serializer};

use crate::authority::Request;
use crate::finding::Findings;
use crate::rotation::{Act, Gate, Missing, RotationPolicy, State, Wait, WayBack};

/// What a look found, and what a rotation would do from there: the answer to [`Rotator::plan`](crate::Rotator::plan).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Planned {
    /// What [`Rotator::verify`](crate::Rotator::verify) finds.
    pub findings: Findings,
    /// The declared applications, and their instances that live; empty if the store cannot be read.
    pub applications: Vec<Declared>,
    /// What would be done; `None` if a rotation would not begin, which the findings tell why.
    pub outline: Option<Outline>,
}

/// An application that uses the client, as declared and as it is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Declared {
    /// The name.
    pub name: String,
    /// How many live instances are expected at least; 0 for one that was not declared.
    pub expected: u32,
    /// Whether it cannot report, so that a person speaks for it.
    pub manual: bool,
    /// The instances that live, with the revision that each holds.
    pub live: Vec<(String, Option<Revision>)>,
}

/// What a rotation would do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outline {
    /// What it rests on.
    pub fingerprint: Fingerprint,
    /// The published secret, which would be replaced. The new one goes by the id `NEW` here: it is made when the
    /// rotation begins.
    pub old: SecretId,
    /// The published revision.
    pub revision: Revision,
    /// The policy, with the propagation window that is in force.
    pub policy: RotationPolicy,
    /// What is done, in order.
    pub steps: Vec<PlannedStep>,
    /// Why it stops after the last step without having come to its end, if it does.
    pub stops: Option<String>,
    /// How long it lasts at least.
    pub at_least: Duration,
    /// How long the process lasts at most, if the server answers: then it has come to its end, or stopped with
    /// [`Waiting`](crate::RotateErrorKind::Waiting). `None` where a person's word is waited for.
    pub at_most: Option<Duration>,
    /// How long it waits in one state before it stops.
    pub patience: Duration,
    /// For whom it would wait, or whom it would leave behind, as things are now.
    pub missing: Vec<Missing>,
    /// Where requests may fail on the way, and why.
    pub exposures: Vec<Exposure>,
}

/// One state that a rotation goes through.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlannedStep {
    /// The state.
    pub state: State,
    /// What is true in that state, in words for a person.
    pub what: &'static str,
    /// What each instance is waited for to report there.
    pub gate: Option<Gate>,
    /// What is done there, how often, and the requests that the server gets for it each time.
    pub acts: Vec<(Act, u32, Vec<Request>)>,
    /// What is waited for there of the policy.
    pub waits: Vec<Wait>,
    /// How long it lasts at least.
    pub lasts: Duration,
    /// What going back from there does.
    pub way_back: WayBack,
}

/// Why requests may fail during a rotation.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Exposure {
    /// The server chooses the value of the only secret that it holds.
    Gap,
    /// The old secret is compromised: at the deadline, whoever does not hold the new one loses access.
    Deadline(Duration),
    /// Nobody sees what this application holds: if the person who speaks for it is wrong, its requests fail.
    Manual(String),
    /// A step lasts longer than the patience, so that the rotation does not get past it by itself.
    Patience(State, Duration),
    /// The secret that goes is removed to make room, and is in force now.
    Removal(String),
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap => f.write_str(
                "the server chooses the new secret, and refuses the old one from then on: each program's token \
                 requests fail until it has taken up the new list",
            ),
            Self::Deadline(time) => write!(
                f,
                "the old secret is compromised: whoever does not hold the new one {} s after both were \
                 published loses access",
                time.as_secs_f64()
            ),
            Self::Manual(application) => write!(
                f,
                "{application} cannot report: if the person who confirms for it is wrong, its requests fail"
            ),
            Self::Patience(state, lasts) => write!(
                f,
                "the state {state} lasts {} s at least, which is longer than the patience: the rotation stops \
                 there, and that wait begins anew when it is resumed. Give it more patience",
                lasts.as_secs()
            ),
            Self::Removal(slot) => write!(
                f,
                "{slot} goes at the server first, to make room: a program that uses it loses access"
            ),
        }
    }
}

/// Something that a plan rests on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ground {
    /// The published list.
    List,
    /// The rotations before: the journal.
    Journal,
    /// The client's secrets at the server.
    Server,
    /// The programs that report.
    Programs,
    /// What is configured, and what is asked for beside that.
    Configuration,
}

impl Ground {
    /// All of them, in the order of a [`Fingerprint`].
    pub const ALL: [Self; 5] =
        [Self::List, Self::Journal, Self::Server, Self::Programs, Self::Configuration];
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "the published list",
            Self::Journal => "the rotations before",
            Self::Server => "the client's secrets at the server",
            Self::Programs => "the programs that report",
            Self::Configuration => "the configuration, or what is asked for beside it",
        })
    }
}

/// What a plan rests on, in a form that can be written down and compared: eight hexadecimal digits of a SHA-256 for
/// each [`Ground`]. It says nothing of a secret.
///
/// ```
/// use keyswap_admin::{Fingerprint, Ground};
///
/// let planned: Fingerprint = "00000001-00000002-00000003-00000004-00000005".parse()?;
/// let now: Fingerprint = "00000009-00000002-00000003-00000004-00000005".parse()?;
/// assert_eq!(planned.moved(&now), [Ground::List]);
/// # Ok::<(), keyswap_admin::NotAFingerprint>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint([u32; Ground::ALL.len()]);

impl Fingerprint {
    /// Of these texts, one a ground.
    pub(crate) fn of(texts: [&str; Ground::ALL.len()]) -> Self {
        Self(texts.map(|text| {
            let hash = digest(&SHA256, text.as_bytes());
            hash.as_ref().iter().take(4).fold(0, |bits, byte| bits << 8 | u32::from(*byte))
        }))
    }

    /// What is different now.
    #[must_use]
    pub fn moved(&self, now: &Self) -> Vec<Ground> {
        let pairs = self.0.iter().zip(&now.0).zip(Ground::ALL);
        pairs.filter(|((then, now), _)| then != now).map(|(_, ground)| ground).collect()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, bits) in self.0.iter().enumerate() {
            let between = if position == 0 { "" } else { "-" };
            write!(f, "{between}{bits:08x}")?;
        }
        Ok(())
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is no [`Fingerprint`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotAFingerprint;

impl fmt::Display for NotAFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "it is what the last line of `keyswap plan` names: five groups of eight hexadecimal digits",
        )
    }
}

impl std::error::Error for NotAFingerprint {}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let mut groups = text.trim().split('-');
        let mut bits = [0; Ground::ALL.len()];
        for one in &mut bits {
            let group = groups.next().filter(|group| {
                group.len() == 8 && group.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
            let read = group.and_then(|group| u32::from_str_radix(group, 16).ok());
            *one = read.ok_or(NotAFingerprint)?;
        }
        groups.next().is_none().then_some(Self(bits)).ok_or(NotAFingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back_as_it_is_written_and_names_what_moved() {
        let planned = Fingerprint::of(["a", "b", "c", "d", "e"]);
        assert_eq!(planned.to_string().parse(), Ok(planned));
        assert_eq!(planned.moved(&planned), []);
        let now = Fingerprint::of(["a", "B", "c", "D", "e"]);
        assert_eq!(planned.moved(&now), [Ground::Journal, Ground::Programs]);
        for wrong in ["", "abc", "0-0-0-0-0", &format!("{planned}-00000000"), "+0000001-0-0-0-0"] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(NotAFingerprint), "{wrong}");
        }
    }
}
