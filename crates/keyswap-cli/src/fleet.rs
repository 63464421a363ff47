//! The instances of a client as a person can take them in, three or three thousand: the worst first, and those
//! that are alike in one row.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use keyswap_admin::Status;
use keyswap_admin::rotation::{State, Timestamp};
use keyswap_core::{Revision, SecretId, SecretUsage};
use keyswap_store::{Instance, InstanceReport};

/// What is the matter with an instance, the worst first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Concern {
    /// It lives, and nobody knows what it holds.
    Unreadable,
    /// It lives, and has read no list.
    ReadNothing,
    /// It holds an earlier list than the published one.
    Behind,
    /// It leads with the secret that goes.
    LeadsWithOld,
    /// It is as it should be.
    Ready,
    /// It does not run any more.
    Gone,
}

impl Concern {
    /// In a word or two.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::ReadNothing => "no list yet",
            Self::Behind => "behind",
            Self::LeadsWithOld => "uses the old",
            Self::Ready => "ready",
            Self::Gone => "gone",
        }
    }

    /// Whether a rotation waits for such an instance.
    pub(crate) fn is_bad(self) -> bool {
        self < Self::Ready
    }
}

/// One row.
#[derive(Debug)]
pub(crate) enum Row<'a> {
    /// An instance by itself.
    One(Concern, &'a Instance),
    /// Instances that are alike.
    Alike(Alike<'a>),
    /// All further ones, for which there is no room.
    Rest(usize),
}

/// Instances of one application with the same concern, the same list and the same leading secret.
#[derive(Debug)]
pub(crate) struct Alike<'a> {
    pub(crate) concern: Concern,
    /// `None` if their reports cannot be read.
    pub(crate) application: Option<&'a str>,
    pub(crate) count: usize,
    pub(crate) revision: Option<Revision>,
    /// What they did with each secret, all together, the leading one first.
    pub(crate) usage: Vec<SecretUsage>,
    /// When the oldest of their reports was made, by the clock of its instance.
    pub(crate) reported: Timestamp,
}

/// An application: how many of its instances live, and of these how many are as they should be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Application {
    pub(crate) live: usize,
    pub(crate) ready: usize,
    pub(crate) refused: u64,
    /// The least number of instances that is declared, if the rotation knows of it.
    pub(crate) expected: Option<u32>,
    /// Whether a person speaks for it.
    pub(crate) manual: bool,
}

type Key<'a> = (Concern, Option<&'a str>, Option<Revision>, Option<&'a SecretId>);

fn leads(report: &InstanceReport) -> Option<&SecretId> {
    report.usage.as_ref()?.secrets.first().map(|usage| &usage.id)
}

fn refused(instance: &Instance) -> u64 {
    let usage = instance.report.as_ref().ok().and_then(|report| report.usage.as_ref());
    usage.into_iter().flat_map(|usage| &usage.secrets).map(|secret| secret.refused).sum()
}

/// The secret that instances should have stopped to lead with.
fn outgoing(status: &Status) -> Option<&SecretId> {
    let record = status.record.as_ref()?;
    let state = match (record.state, record.stuck) {
        (State::Stuck, Some((state, _))) => state,
        (state, _) => state,
    };
    let promoted = matches!(
        state,
        State::Promoted
            | State::Drained
            | State::Deactivating
            | State::Deactivated
            | State::Retiring
            | State::Retired
            | State::Removing
    );
    promoted.then(|| record.id(record.source()))
}

/// What is the matter with this one.
pub(crate) fn concern(status: &Status, instance: &Instance) -> Concern {
    let published = status.published.as_ref().map(|document| document.revision);
    let Ok(report) = &instance.report else {
        return if instance.live { Concern::Unreadable } else { Concern::Gone };
    };
    match report.revision {
        _ if !instance.live => Concern::Gone,
        None => Concern::ReadNothing,
        held if held < published => Concern::Behind,
        _ if leads(report).is_some() && leads(report) == outgoing(status) => Concern::LeadsWithOld,
        _ => Concern::Ready,
    }
}

/// At most `most` rows for all instances, at least one, the worst first: of those with the same concern, those that
/// were refused most.
pub(crate) fn rows(status: &Status, most: usize) -> Vec<Row<'_>> {
    let mut groups: BTreeMap<Key<'_>, Vec<&Instance>> = BTreeMap::new();
    for instance in &status.instances {
        let concern = concern(status, instance);
        let report = instance.report.as_ref().ok();
        let application = report.map(|report| report.application.as_str());
        let revision = report.and_then(|report| report.revision);
        let key = (concern, application, revision, report.and_then(leads));
        groups.entry(key).or_default().push(instance);
    }
    let most = most.max(1);
    let (kept, mut rest) = (if groups.len() > most { most - 1 } else { most }, 0);
    let mut spare = most.saturating_sub(groups.len());
    let mut rows = Vec::new();
    for (position, (key, mut instances)) in groups.into_iter().enumerate() {
        if position >= kept {
            rest += instances.len();
            continue;
        }
        instances.sort_by(|one, other| {
            refused(other).cmp(&refused(one)).then_with(|| one.instance.cmp(&other.instance))
        });
        let more = instances.len() - 1;
        let alone = match more <= spare {
            true => instances.len(),
            // One by one they say nothing if all is well with them.
            false if !key.0.is_bad() => 0,
            false => spare,
        };
        spare -= alone.min(more);
        let alike = instances.split_off(alone);
        rows.extend(instances.into_iter().map(|instance| Row::One(key.0, instance)));
        if !alike.is_empty() {
            rows.push(Row::Alike(sum(key, &alike)));
        }
    }
    if rest > 0 {
        rows.push(Row::Rest(rest));
    }
    rows
}

fn sum<'a>((concern, application, revision, _): Key<'a>, instances: &[&Instance]) -> Alike<'a> {
    let mut usage: Vec<SecretUsage> = Vec::new();
    let mut reported = u64::MAX;
    for report in instances.iter().filter_map(|instance| instance.report.as_ref().ok()) {
        reported = reported.min(report.reported_at_ms);
        for secret in report.usage.iter().flat_map(|usage| &usage.secrets) {
            match usage.iter_mut().find(|sum| sum.id == secret.id) {
                Some(sum) => {
                    sum.accepted = sum.accepted.saturating_add(secret.accepted);
                    sum.refused = sum.refused.saturating_add(secret.refused);
                    sum.inconclusive = sum.inconclusive.saturating_add(secret.inconclusive);
                }
                None => usage.push(secret.clone()),
            }
        }
    }
    let reported = Timestamp::from_milliseconds(reported);
    Alike { concern, application, count: instances.len(), revision, usage, reported }
}

/// Each application that was declared or has instances, by name.
pub(crate) fn applications(status: &Status) -> BTreeMap<&str, Application> {
    let mut applications: BTreeMap<&str, Application> = BTreeMap::new();
    let declared = status.record.iter().filter(|record| !record.is_over());
    for one in declared.flat_map(|record| &record.policy.applications) {
        let application = applications.entry(&one.name).or_default();
        application.expected = Some(one.instances.max(1));
        application.manual = one.manual;
    }
    for instance in status.instances.iter().filter(|instance| instance.live) {
        let Ok(report) = &instance.report else { continue };
        let application = match applications.entry(&report.application) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Application::default()),
        };
        application.live += 1;
        application.ready += usize::from(!concern(status, instance).is_bad());
        application.refused = application.refused.saturating_add(refused(instance));
    }
    applications
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{gone, instance, status};

    fn shown(status: &Status, most: usize) -> Vec<String> {
        let one = |row: &Row<'_>| match row {
            Row::One(concern, instance) => format!("{} {}", concern.name(), instance.instance),
            Row::Alike(alike) => format!("{} {} of them", alike.concern.name(), alike.count),
            Row::Rest(rest) => format!("{rest} more"),
        };
        rows(status, most).iter().map(one).collect()
    }

    #[test]
    fn three_instances_have_a_row_each_and_the_worst_is_first() {
        let status = status(
            State::Promoted,
            vec![
                instance("shop", "i-1", Some(2), &[("s-new", 5, 0), ("s-old", 2, 0)]),
                instance("shop", "i-2", Some(1), &[("s-old", 2, 0), ("s-new", 0, 0)]),
                instance("shop", "i-3", Some(2), &[("s-old", 9, 0), ("s-new", 1, 0)]),
                Instance::new("i-4", true, Err("torn".to_owned())),
                gone(instance("shop", "i-5", Some(2), &[])),
                instance("shop", "i-6", None, &[]),
            ],
        );
        let expected = [
            "unreadable i-4",
            "no list yet i-6",
            "behind i-2",
            "uses the old i-3",
            "ready i-1",
            "gone i-5",
        ];
        assert_eq!(shown(&status, 20), expected);
        assert_eq!(applications(&status)["shop"].ready, 1);
        assert_eq!(applications(&status)["shop"].live, 4);
    }

    #[test]
    fn of_three_thousand_the_bad_ones_are_named_and_the_others_are_one_row() {
        let mut instances: Vec<_> = (0..2990)
            .map(|one| instance("shop", &format!("i-{one:04}"), Some(2), &[("s-new", 5, 1)]))
            .collect();
        for one in 0..10 {
            let usage = [("s-old", 5, one)];
            instances.push(instance("shop", &format!("late-{one}"), Some(1), &usage));
        }
        let status = status(State::Promoted, instances);
        let all = shown(&status, 20);
        assert_eq!(all.len(), 11);
        assert_eq!(
            (&*all[0], &*all[10]),
            ("behind late-9", "ready 2990 of them"),
            "refused most first"
        );
        let few = shown(&status, 4);
        assert_eq!(
            few,
            ["behind late-9", "behind late-8", "behind 8 of them", "ready 2990 of them"]
        );
        assert_eq!(shown(&status, 2), ["behind 10 of them", "ready 2990 of them"]);
        assert_eq!(shown(&status, 1), ["3000 more"]);
        let Some(Row::Alike(ready)) = rows(&status, 4).pop() else { panic!("one row") };
        assert_eq!((ready.usage[0].accepted, ready.usage[0].refused), (5 * 2990, 2990));
    }

    #[test]
    fn there_are_never_more_rows_than_asked_for_and_no_instance_is_forgotten() {
        for count in [0, 1, 7, 300] {
            let one = |one: usize| {
                let revision = (!one.is_multiple_of(5)).then_some(one as u64 % 3);
                instance(
                    &format!("app-{}", one % 7),
                    &format!("i-{one}"),
                    revision,
                    &[("s-old", 1, 0)],
                )
            };
            let status = status(State::Promoted, (0..count).map(one).collect());
            for most in 1..40 {
                let rows = rows(&status, most);
                assert!(rows.len() <= most, "{} rows for {most}", rows.len());
                let told = rows.iter().map(|row| match row {
                    Row::One(..) => 1,
                    Row::Alike(alike) => alike.count,
                    Row::Rest(rest) => *rest,
                });
                assert_eq!(told.sum::<usize>(), count, "{most} rows");
            }
        }
    }
}
