//! Whether every instance is ready for the next step, on positive evidence.
//!
//! Nothing here infers from silence. An application with fewer live instances than declared, an
//! instance that has not said which list it holds, a report that cannot be read and an application
//! that nobody declared each keep a gate shut, and each is named.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use keyswap_core::{Revision, SecretId};
use keyswap_store::InstanceReport;
use serde::{Deserialize, Serialize};

use super::confirmation::Gate;
use super::evidence::Attested;
use super::policy::{Application, Timestamp};

/// What was seen of the instances at one moment.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Fleet {
    /// The reports of the instances that live.
    pub live: Vec<InstanceReport>,
    /// Live instances whose report cannot be read.
    pub unreadable: Vec<UnreadableReport>,
}

/// A live instance whose report cannot be read, so that nobody knows what it holds.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct UnreadableReport {
    /// The instance.
    pub instance: String,
    /// Why.
    pub reason: String,
}

/// One reason why a gate is shut.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Missing {
    /// Fewer instances live than were declared.
    Instances {
        /// The application.
        application: String,
        /// How many are expected.
        expected: u32,
        /// How many live.
        live: u32,
    },
    /// An instance does not hold the list yet.
    Revision {
        /// The application.
        application: String,
        /// The instance.
        instance: String,
        /// The revision that it holds; `None` if it has not read any.
        holds: Option<Revision>,
        /// The revision that it should hold.
        wanted: Revision,
    },
    /// An instance used the outgoing secret within the quiet period, or has not attested otherwise.
    InUse {
        /// The application.
        application: String,
        /// The instance.
        instance: String,
        /// For how long it has been attested as unused, in milliseconds.
        quiet_ms: u64,
        /// For how long it must be, in milliseconds.
        wanted_ms: u64,
    },
    /// An instance of an application that was not declared.
    Undeclared {
        /// The application.
        application: String,
        /// The instance.
        instance: String,
    },
    /// An application that cannot report, and for which no person has spoken.
    Confirmation {
        /// The application.
        application: String,
        /// What is to be confirmed.
        gate: Gate,
    },
    /// A change that had no answer may still arrive and bring the outgoing secret back into force.
    InFlight {
        /// For how long, in milliseconds.
        left_ms: u64,
    },
    /// A secret that goes is out of force at the server, and could be put back: people whose programs
    /// nobody knows of have that time to notice.
    Observation {
        /// For how long it has been out of force, in milliseconds.
        observed_ms: u64,
        /// For how long it is to be, before it is taken away, in milliseconds.
        wanted_ms: u64,
    },
    /// It is none of the times in which the rotation may change something at the server.
    Window {
        /// These times.
        windows: String,
        /// When the next one begins, if that can be told.
        opens: Option<Timestamp>,
    },
    /// An instance that is not waited for, at a person's word. It keeps no gate shut, and is named beside
    /// those that do.
    LeftOut {
        /// The application.
        application: String,
        /// The instance.
        instance: String,
        /// Whose word that is.
        by: String,
    },
    /// A report that cannot be read.
    Unreadable {
        /// The instance; earlier versions did not keep that.
        #[serde(default)]
        instance: String,
        /// Which, and why.
        what: String,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instances { application, expected, live: 0 } => write!(
                f,
                "{application}: 0 of {expected} expected instances report (start it; if there is no \
                 such application any more, take it out of the configuration)"
            ),
            Self::Instances { application, expected, live } => {
                write!(f, "{application}: {live} of {expected} expected instances report")
            }
            Self::Revision { application, instance, holds: Some(holds), wanted } => write!(
                f,
                "{application}/{instance} holds revision {holds} of the list, {wanted} is wanted"
            ),
            Self::Revision { application, instance, holds: None, .. } => {
                write!(f, "{application}/{instance} has not read the list")
            }
            Self::InUse { application, instance, quiet_ms, wanted_ms } => write!(
                f,
                "{application}/{instance}: the outgoing secret is unused for {}, {} is wanted",
                seconds(*quiet_ms),
                seconds(*wanted_ms)
            ),
            Self::Undeclared { application, instance } => write!(
                f,
                "{application}/{instance} uses this client and is not declared: add the application \
                 to the configuration, or stop it"
            ),
            Self::Confirmation { application, gate } => {
                write!(f, "{application}: it cannot report, and nobody has confirmed that {gate}")
            }
            Self::InFlight { left_ms } => write!(
                f,
                "a change that was sent had no answer and may still arrive for {}",
                seconds(*left_ms)
            ),
            Self::Observation { observed_ms, wanted_ms } => write!(
                f,
                "the secret that goes is deactivated for {} of {}, in which it can be put back",
                seconds(*observed_ms),
                seconds(*wanted_ms)
            ),
            Self::Window { windows, opens } => {
                write!(f, "what is changed at the server is held to {windows}")?;
                opens.iter().try_for_each(|opens| write!(f, ", which opens at {opens}"))
            }
            Self::LeftOut { application, instance, by } => {
                write!(f, "{application}/{instance} is not waited for: {by} said so")
            }
            Self::Unreadable { what, .. } => write!(f, "{what}"),
        }
    }
}

impl Missing {
    /// What is waited for, by name: for how long it has been is no part of it, since that changes with each
    /// look and is no news.
    #[must_use]
    pub fn who(&self) -> String {
        match self {
            Self::InUse { application, instance, .. } => format!("{application}/{instance} in use"),
            Self::InFlight { .. } => "in flight".to_owned(),
            Self::Observation { .. } => "observation".to_owned(),
            other => other.to_string(),
        }
    }

    /// The instance that is the reason, if it is one.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        match self {
            Self::Revision { instance, .. }
            | Self::InUse { instance, .. }
            | Self::Undeclared { instance, .. }
            | Self::LeftOut { instance, .. }
            | Self::Unreadable { instance, .. } => Some(instance),
            _ => None,
        }
    }

    /// Whether one instance is the reason, so that it would be gone without that.
    pub(super) fn is_of_an_instance(&self) -> bool {
        matches!(
            self,
            Self::Revision { .. }
                | Self::InUse { .. }
                | Self::Undeclared { .. }
                | Self::Unreadable { .. }
        )
    }

    pub(super) fn observation(observed: Duration, wanted: Duration) -> Self {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self::Observation { observed_ms: milliseconds(observed), wanted_ms: milliseconds(wanted) }
    }
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}

/// Who does not hold `wanted` or a later revision yet. Empty: every instance that lives has adopted it,
/// and every application that can report has as many as declared.
#[must_use]
pub fn not_adopted(applications: &[Application], fleet: &Fleet, wanted: Revision) -> Vec<Missing> {
    let mut missing = denominator(applications, fleet);
    missing.extend(fleet.live.iter().filter(|report| report.revision < Some(wanted)).map(
        |report| Missing::Revision {
            application: report.application.clone(),
            instance: report.instance.clone(),
            holds: report.revision,
            wanted,
        },
    ));
    missing
}

/// What keeps both gates shut: a denominator that is not known.
fn denominator(applications: &[Application], fleet: &Fleet) -> Vec<Missing> {
    let mut missing = Vec::new();
    for application in applications.iter().filter(|application| !application.manual) {
        let live =
            fleet.live.iter().filter(|report| report.application == application.name).count();
        let live = u32::try_from(live).unwrap_or(u32::MAX);
        // Even a declaration of none asks for one: no instance at all is never evidence.
        let expected = application.instances.max(1);
        if live < expected {
            let application = application.name.clone();
            missing.push(Missing::Instances { application, expected, live });
        }
    }
    for report in &fleet.live {
        if !applications.iter().any(|application| application.name == report.application) {
            missing.push(Missing::Undeclared {
                application: report.application.clone(),
                instance: report.instance.clone(),
            });
        }
    }
    missing.extend(fleet.unreadable.iter().map(|one| Missing::Unreadable {
        instance: one.instance.clone(),
        what: one.reason.clone(),
    }));
    missing
}

/// What the rotator has seen of each instance's use of the outgoing secret, on its own clock.
///
/// "Unused for a time" means two reports of the same instance at least that far apart with the same
/// count, so neither a skewed clock nor a reporter that hangs can pass for it. It is not journaled:
/// after a resume the evidence is gathered anew.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Quiet {
    seen: BTreeMap<(String, String), Use>,
    looked: Option<Timestamp>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Use {
    used: u64,
    /// When a report with this count was seen first, and its number.
    since: Timestamp,
    since_sequence: u64,
    /// The last report, and the latest time by which it certainly had not been written.
    sequence: u64,
    attested: Timestamp,
}

impl Quiet {
    /// Takes in what the instances report, and says who may still use what is `outgoing`. Empty: nobody has
    /// used any of it for `quiet`, and everybody holds `wanted` or a later revision. The reports were read at some time
    /// after the look was `begun`.
    #[must_use]
    pub fn not_drained(
        &mut self,
        applications: &[Application],
        fleet: &Fleet,
        (wanted, outgoing, quiet): (Revision, &[&SecretId], Duration),
        (begun, now): (Timestamp, Timestamp),
    ) -> Vec<Missing> {
        let mut missing = not_adopted(applications, fleet, wanted);
        // A report that is new now was written after the last look was begun, not necessarily just now.
        let earliest = self.looked.unwrap_or(now);
        for report in &fleet.live {
            let quiet_for = self.observe(report, outgoing, earliest, now);
            if report.revision >= Some(wanted) && quiet_for < quiet {
                missing.push(Missing::InUse {
                    application: report.application.clone(),
                    instance: report.instance.clone(),
                    quiet_ms: u64::try_from(quiet_for.as_millis()).unwrap_or(u64::MAX),
                    wanted_ms: u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX),
                });
            }
        }
        self.looked = Some(begun);
        missing
    }

    /// What each instance that lives attested, for the record.
    pub(super) fn attested(&self, fleet: &Fleet) -> Vec<Attested> {
        let mut attested = Vec::with_capacity(fleet.live.len());
        attested.extend(fleet.live.iter().filter_map(|report| {
            let key = (report.application.clone(), report.instance.clone());
            let seen = self.seen.get(&key)?;
            Some(Attested {
                application: key.0,
                instance: key.1,
                used: seen.used,
                from: seen.since,
                from_sequence: seen.since_sequence,
                until: seen.attested,
                until_sequence: seen.sequence,
            })
        }));
        attested
    }

    /// For [`Rotation::canonical`](super::Rotation::canonical): what matters of the times of these looks,
    /// and of the one that is being taken, is whether one is the quiet period before another.
    pub(super) fn make_canonical<'a>(
        &'a mut self,
        looking: Option<&'a mut Timestamp>,
        quiet: Duration,
        (mut now, mut at): (Timestamp, Timestamp),
    ) {
        let before = |time: Timestamp, by: Duration| {
            let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            Timestamp::from_milliseconds(time.milliseconds().saturating_sub(by))
        };
        let last = self.looked.unwrap_or(now);
        let mut times: Vec<&mut Timestamp> = self.looked.iter_mut().chain(looking).collect();
        for Use { used, since, since_sequence, sequence, attested } in self.seen.values_mut() {
            (*used, *since_sequence, *sequence) = (0, 0, 0);
            if attested.since(*since) >= quiet {
                (*since, *attested) = (before(last, quiet), last);
            } else {
                // A report that comes is attested by the last look, whenever the one before it was.
                *since = (*since).max(before(last, quiet));
                *attested = *since;
            }
            times.extend([since, attested]);
        }
        times.sort_unstable_by(|one, other| other.cmp(one));
        for time in times {
            at = before(at, now.since(*time).min(quiet));
            now = *time;
            *time = at;
        }
    }

    fn observe(
        &mut self,
        report: &InstanceReport,
        outgoing: &[&SecretId],
        earliest: Timestamp,
        now: Timestamp,
    ) -> Duration {
        let of = |id: &&SecretId| report.usage.as_ref().and_then(|usage| usage.of(id));
        // Each count only grows, so their sum stays the same if each of them does.
        let used = outgoing.iter().filter_map(of).map(|usage| usage.used()).sum();
        let key = (report.application.clone(), report.instance.clone());
        let sequence = report.sequence;
        let fresh = Use { used, since: now, since_sequence: sequence, sequence, attested: now };
        let seen = self.seen.entry(key).or_insert_with(|| fresh.clone());
        if seen.used != used || report.sequence < seen.sequence {
            *seen = fresh;
        } else if report.sequence > seen.sequence {
            seen.sequence = report.sequence;
            seen.attested = earliest.max(seen.attested);
        }
        seen.attested.since(seen.since)
    }
}
