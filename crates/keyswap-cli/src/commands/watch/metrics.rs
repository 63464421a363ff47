//! What `watch` tells Prometheus: what the stores hold and the instances report, as text, a pure function of the last look
//! at each. So no series stays behind what it was about.

use std::collections::BTreeMap;

use keyswap_admin::Status;
use keyswap_admin::rotation::{Direction, Timestamp};
use keyswap_core::SecretId;

use crate::fleet::{applications, concern};

/// What was seen of one client at the last look.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// `None` as long as the store was never read.
    seen: Option<Samples>,
    /// Whether the last look saw something.
    up: bool,
}

/// The values of each metric, by its labels.
type Samples = BTreeMap<&'static str, Vec<(String, f64)>>;

const UP: &str = "keyswap_watch_up";
const UNDER_WAY: &str = "keyswap_rotation_under_way";
const STATE: &str = "keyswap_rotation_state";
const ENTERED: &str = "keyswap_rotation_state_entered_timestamp_seconds";
const MISSING: &str = "keyswap_rotation_missing";
const REVISION: &str = "keyswap_published_revision";
const BROUGHT: &str = "keyswap_published_secret_age_seconds";
const INSTANCES: &str = "keyswap_instances";
const LATE: &str = "keyswap_instances_late";
const ATTEMPTS: &str = "keyswap_instance_attempts";

/// All are gauges: what instances have counted goes with them.
const METRICS: [(&str, &str); 10] = [
    (UP, "1 if the last look at the client's store succeeded, else 0."),
    (UNDER_WAY, "1 while a rotation has not come to its end, else 0."),
    (STATE, "1 for the state of the last rotation."),
    (ENTERED, "When the rotation entered that state, in seconds since 1970."),
    (MISSING, "How many instances, applications and people the rotation waits for."),
    (REVISION, "The revision of the published list."),
    (BROUGHT, "The time since the rotation began that brought the preferred secret, if on record."),
    (INSTANCES, "Live instances, by the revision that they hold."),
    (LATE, "Live instances that are not as they should be."),
    (ATTEMPTS, "Attempts of the live instances since they started, as they report them."),
];

impl Look {
    /// What this look saw.
    pub(super) fn of(
        client: &str,
        status: &Status,
        missing: usize,
        brought: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let mut samples = Samples::new();
        let mut add = |metric, labels: &[(&str, &str)], value: f64| {
            let all = [("client_id", client)].into_iter().chain(labels.iter().copied());
            let all: Vec<_> =
                all.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
            samples.entry(metric).or_default().push((all.join(","), value));
        };
        let under_way = status.record.as_ref().is_some_and(|record| !record.is_over());
        add(UNDER_WAY, &[], f64::from(u8::from(under_way)));
        add(MISSING, &[], missing as f64);
        match &status.record {
            None => add(STATE, &[("state", "none"), ("direction", "forward")], 1.0),
            Some(record) => {
                let direction = match record.direction() {
                    Direction::Forward => "forward",
                    Direction::Back => "back",
                };
                add(STATE, &[("state", record.state.name()), ("direction", direction)], 1.0);
                add(ENTERED, &[], record.since().milliseconds() as f64 / 1e3);
            }
        }
        if let Some(document) = &status.published {
            add(REVISION, &[], document.revision.number() as f64);
        }
        if let Some(brought) = brought {
            add(BROUGHT, &[], now.since(brought).as_secs_f64());
        }
        let mut held: BTreeMap<(&str, String), usize> = BTreeMap::new();
        let mut attempts: BTreeMap<(&SecretId, &str), u64> = BTreeMap::new();
        let mut unreadable = 0;
        for instance in status.instances.iter().filter(|instance| instance.live) {
            let Ok(report) = &instance.report else {
                unreadable += usize::from(concern(status, instance).is_bad());
                continue;
            };
            let revision = report.revision.map_or("none".to_owned(), |held| held.to_string());
            *held.entry((&report.application, revision)).or_default() += 1;
            for secret in report.usage.iter().flat_map(|usage| &usage.secrets) {
                let counted = [
                    ("accepted", secret.accepted),
                    ("refused", secret.refused),
                    ("inconclusive", secret.inconclusive),
                ];
                for (verdict, count) in counted {
                    let sum = attempts.entry((&secret.id, verdict)).or_default();
                    *sum = sum.saturating_add(count);
                }
            }
        }
        for ((application, revision), count) in held {
            let labels = [("application", application), ("revision", revision.as_str())];
            add(INSTANCES, &labels, count as f64);
        }
        for (name, one) in applications(status) {
            add(LATE, &[("application", name)], (one.live - one.ready) as f64);
        }
        // Which application they are of, nobody knows.
        add(LATE, &[("application", "")], f64::from(unreadable as u32));
        for ((secret, verdict), count) in attempts {
            let labels = [("secret_id", secret.as_str()), ("verdict", verdict)];
            add(ATTEMPTS, &labels, count as f64);
        }
        Self { seen: Some(samples), up: true }
    }

    /// Whether the last look saw something.
    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    /// A look failed: what is not known any more is not told, but that.
    pub(super) fn failed(&mut self) {
        *self = Self::default();
    }
}

/// All of it, in the text format of Prometheus (version 0.0.4).
pub(super) fn text<'a>(looks: impl Iterator<Item = (&'a str, &'a Look)> + Clone) -> String {
    let mut text = String::new();
    for (metric, help) in METRICS {
        text.push_str(&format!("# HELP {metric} {help}\n# TYPE {metric} gauge\n"));
        if metric == UP {
            for (client, look) in looks.clone() {
                let (client, up) = (escaped(client), u8::from(look.up));
                text.push_str(&format!("{metric}{{client_id=\"{client}\"}} {up}\n"));
            }
        }
        let seen = looks.clone().filter_map(|(_, look)| look.seen.as_ref()?.get(metric));
        for (labels, value) in seen.flatten() {
            text.push_str(&format!("{metric}{{{labels}}} {value}\n"));
        }
    }
    text
}

/// A label's value.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use keyswap_admin::rotation::State;

    use super::*;
    use crate::example::{BEGAN, SINCE, gone, instance, status};

    #[test]
    fn the_state_of_the_rotation_and_of_the_fleet_are_told_with_ids_alone() {
        let used = [("s-new", 5, 0), ("s-old", 2, 3)];
        let instances = vec![
            instance("shop", "i-1", Some(2), &used),
            instance("shop", "i-2", Some(2), &used),
            instance("shop", "i-3", Some(1), &[("s-old", 7, 1)]),
            gone(instance("shop", "i-4", Some(1), &used)),
        ];
        let status = status(State::Promoted, instances);
        let at = Timestamp::from_milliseconds;
        let look = Look::of("billing", &status, 1, Some(at(BEGAN)), at(BEGAN + 90_000));
        let told = text([("billing", &look)].into_iter());
        for line in [
            "keyswap_watch_up{client_id=\"billing\"} 1",
            "keyswap_rotation_under_way{client_id=\"billing\"} 1",
            "keyswap_rotation_state{client_id=\"billing\",state=\"promoted\",direction=\"forward\"} 1",
            &format!(
                "keyswap_rotation_state_entered_timestamp_seconds{{client_id=\"billing\"}} {}",
                SINCE / 1000
            ),
            "keyswap_rotation_missing{client_id=\"billing\"} 1",
            "keyswap_published_revision{client_id=\"billing\"} 2",
            "keyswap_published_secret_age_seconds{client_id=\"billing\"} 90",
            "keyswap_instances{client_id=\"billing\",application=\"shop\",revision=\"1\"} 1",
            "keyswap_instances{client_id=\"billing\",application=\"shop\",revision=\"2\"} 2",
            "keyswap_instances_late{client_id=\"billing\",application=\"shop\"} 1",
            "keyswap_instance_attempts{client_id=\"billing\",secret_id=\"s-old\",verdict=\"refused\"} 7",
        ] {
            assert!(told.lines().any(|one| one == line), "{line} is not in\n{told}");
        }
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn a_store_that_cannot_be_read_is_told_of_and_nothing_old_in_its_place() {
        let status = status(State::Staged, Vec::new());
        let now = Timestamp::from_milliseconds(SINCE);
        let mut look = Look::of("bil\"ling", &status, 0, None, now);
        look.failed();
        let told = text([("bil\"ling", &look)].into_iter());
        let samples: Vec<_> = told.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, ["keyswap_watch_up{client_id=\"bil\\\"ling\"} 0"]);
    }
}
