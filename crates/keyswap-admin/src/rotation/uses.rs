//! What the instances had done with the two secrets at one moment, for the history: it shows later who used
//! which of them when, in bounded size.

use std::collections::BTreeMap;

use keyswap_core::{Revision, SecretId, SecretUsage};
use keyswap_store::{Instance, InstanceReport};
use serde::{Deserialize, Serialize};

use super::policy::Timestamp;

/// What the instances that lived at one moment had done with the two secrets of a rotation, as each had
/// reported last. No secret is in it.
///
/// It is in the history beside each state that a rotation enters. Up to [`MOST`](Self::MOST) instances have a
/// row each; where there are more, applications alone have one, so that no line grows with the fleet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Uses {
    /// When it was looked, on the rotator's clock.
    pub at: Timestamp,
    /// Each application that has instances, by name: the sums of what these reported.
    pub applications: Vec<Use>,
    /// Each instance; none if there are more than [`MOST`](Self::MOST).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Use>,
    /// How many applications have no row, since there are more than [`MOST`](Self::MOST).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub applications_left_out: u64,
    /// How many instances lived whose report could not be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreadable: u64,
}

/// What one instance, or all of an application, had done with the two secrets since it started.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Use {
    /// The application.
    pub application: String,
    /// The instance; `None`: all instances of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// How many instances that is.
    pub instances: u64,
    /// The revision of the list that it held; of several instances the lowest. `None` if one had read none.
    pub revision: Option<Revision>,
    /// Of the secret that the rotation found; `None` if no list in use held it.
    pub old: Option<Counts>,
    /// Of the secret that it brings; likewise.
    pub new: Option<Counts>,
    /// Requests that were refused at first, and accepted in the end; `None` if nobody counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<u64>,
    /// Requests that ended with a refusal; `None` if nobody counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<u64>,
}

/// Attempts with one secret, by what came of them. Written as three numbers, in this order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "[u64; 3]", into = "[u64; 3]")]
#[non_exhaustive]
pub struct Counts {
    /// Requests that the server authenticated with it.
    pub accepted: u64,
    /// Attempts that the server refused.
    pub refused: u64,
    /// Attempts that said nothing of the secret.
    pub inconclusive: u64,
}

impl From<[u64; 3]> for Counts {
    fn from([accepted, refused, inconclusive]: [u64; 3]) -> Self {
        Self { accepted, refused, inconclusive }
    }
}

impl From<Counts> for [u64; 3] {
    fn from(counts: Counts) -> Self {
        [counts.accepted, counts.refused, counts.inconclusive]
    }
}

impl From<&SecretUsage> for Counts {
    fn from(usage: &SecretUsage) -> Self {
        [usage.accepted, usage.refused, usage.inconclusive].into()
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Uses {
    /// How many rows there are at most of each kind.
    pub const MOST: usize = 64;

    /// What these instances had done with the secrets `old` and `new`, for the history.
    #[must_use]
    pub fn of(instances: &[Instance], (old, new): (&SecretId, &SecretId), at: Timestamp) -> Self {
        let live = instances.iter().filter(|instance| instance.live);
        let (mut rows, mut unreadable) = (Vec::new(), 0);
        for instance in live {
            match &instance.report {
                Ok(report) => rows.push(Use::of(report, old, new)),
                Err(_) => unreadable += 1,
            }
        }
        let mut applications: BTreeMap<&str, Use> = BTreeMap::new();
        for row in &rows {
            match applications.get_mut(row.application.as_str()) {
                Some(sum) => sum.add(row),
                None => {
                    let sum = Use { instance: None, ..row.clone() };
                    applications.insert(&row.application, sum);
                }
            }
        }
        let left_out = applications.len().saturating_sub(Self::MOST);
        let applications = applications.into_values().take(Self::MOST).collect();
        rows.sort_by(|one, other| {
            (&one.application, &one.instance).cmp(&(&other.application, &other.instance))
        });
        if rows.len() > Self::MOST {
            rows.clear();
        }
        let applications_left_out = u64::try_from(left_out).unwrap_or(u64::MAX);
        Self { at, applications, instances: rows, applications_left_out, unreadable }
    }

    /// How many instances it tells of.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.applications.iter().map(|application| application.instances).sum()
    }
}

impl Use {
    fn of(report: &InstanceReport, old: &SecretId, new: &SecretId) -> Self {
        let usage = report.usage.as_ref();
        let of = |id| usage.and_then(|usage| usage.of(id)).map(Counts::from);
        Self {
            application: report.application.clone(),
            instance: Some(report.instance.clone()),
            instances: 1,
            revision: report.revision,
            old: of(old),
            new: of(new),
            saved: usage.and_then(|usage| usage.saved),
            failed: usage.and_then(|usage| usage.failed),
        }
    }

    fn add(&mut self, other: &Self) {
        let sum = |one: &mut Option<u64>, other: Option<u64>| {
            *one = match (*one, other) {
                (Some(one), Some(other)) => Some(one.saturating_add(other)),
                (one, other) => one.or(other),
            };
        };
        self.instances += other.instances;
        // Of an option, none is the lowest.
        self.revision = self.revision.min(other.revision);
        for (one, other) in [(&mut self.old, other.old), (&mut self.new, other.new)] {
            *one = match (*one, other) {
                (Some(one), Some(other)) => Some(one.plus(other)),
                (one, other) => one.or(other),
            };
        }
        sum(&mut self.saved, other.saved);
        sum(&mut self.failed, other.failed);
    }
}

impl Counts {
    /// Each number of the two added.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            accepted: self.accepted.saturating_add(other.accepted),
            refused: self.refused.saturating_add(other.refused),
            inconclusive: self.inconclusive.saturating_add(other.inconclusive),
        }
    }

    /// How much each number has grown since `before`; a count that went back has not grown.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            accepted: self.accepted.saturating_sub(before.accepted),
            refused: self.refused.saturating_sub(before.refused),
            inconclusive: self.inconclusive.saturating_sub(before.inconclusive),
        }
    }

    /// All attempts.
    #[must_use]
    pub fn used(self) -> u64 {
        self.accepted.saturating_add(self.refused).saturating_add(self.inconclusive)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn instance(application: &str, name: &str, old: u64, new: u64) -> Instance {
        let usage = json!({
            "revision": 2, "promotions": 0, "saved": 1, "failed": 0,
            "secrets": [
                { "id": "old", "accepted": old, "refused": 1 },
                { "id": "new", "accepted": new, "refused": 0 },
            ],
        });
        let report = InstanceReport::new(application, name);
        let report = report.next(serde_json::from_value(usage).unwrap());
        Instance::new(name, true, Ok(report))
    }

    fn uses(instances: &[Instance]) -> Uses {
        let ids = (&"old".parse().unwrap(), &"new".parse().unwrap());
        Uses::of(instances, ids, Timestamp::from_milliseconds(7))
    }

    #[test]
    fn instances_are_rows_and_applications_are_their_sums() {
        let mut gone = instance("shop", "i-9", 1000, 0);
        gone.live = false;
        let broken = Instance::new("i-8", true, Err("torn".to_owned()));
        let silent = Instance::new("i-3", true, Ok(InstanceReport::new("shop", "i-3")));
        let seen = uses(&[
            instance("shop", "i-2", 5, 0),
            instance("shop", "i-1", 7, 2),
            instance("billing", "i-4", 1, 1),
            silent,
            gone,
            broken,
        ]);
        let rows: Vec<_> = seen.instances.iter().map(|row| row.instance.as_deref()).collect();
        assert_eq!(rows, [Some("i-4"), Some("i-1"), Some("i-2"), Some("i-3")]);
        let shop = &seen.applications[1];
        assert_eq!((shop.application.as_str(), shop.instances), ("shop", 3));
        assert_eq!(shop.old, Some([12, 2, 0].into()));
        assert_eq!(shop.new, Some([2, 0, 0].into()));
        assert_eq!((shop.saved, shop.failed), (Some(2), Some(0)));
        assert_eq!(shop.revision, None, "one has read no list");
        assert_eq!((seen.live(), seen.unreadable), (4, 1));
        let text = serde_json::to_string(&seen).unwrap();
        assert!(text.contains(r#""old":[12,2,0]"#), "{text}");
        assert_eq!(serde_json::from_str::<Uses>(&text).unwrap(), seen);
    }

    #[test]
    fn a_line_of_the_history_does_not_grow_with_the_fleet() {
        let of = |count: usize, applications: usize| {
            let name = |number: usize| format!("application-{:04}", number % applications);
            let one = |number| instance(&name(number), &format!("i-{number:016x}"), u64::MAX, 9);
            let instances: Vec<_> = (0..count).map(one).collect();
            uses(&instances)
        };
        let all = of(Uses::MOST, 3);
        assert_eq!((all.instances.len(), all.applications.len()), (Uses::MOST, 3));
        let many = of(3000, 3);
        assert_eq!((many.instances.len(), many.applications.len()), (0, 3));
        assert_eq!(many.live(), 3000);
        let wild = of(3000, 1000);
        assert_eq!((wild.applications.len(), wild.applications_left_out), (64, 936));
        for uses in [all, many, wild] {
            let length = serde_json::to_vec(&uses).unwrap().len();
            assert!(length < 20_000, "{length}");
        }
    }
}
