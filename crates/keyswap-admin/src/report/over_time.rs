//! Who used which secret when: the differences between what the instances had reported at two moments.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::RotationReport;
use crate::rotation::{Counts, State, Timestamp, Use, Uses};

/// What one instance, or all of an application, did with the two secrets from state to state.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Line {
    /// The application.
    pub application: String,
    /// The instance; `None`: all instances of the application.
    pub instance: Option<String>,
    /// One for each state of the rotation, in order.
    pub intervals: Vec<Interval>,
    /// All of them together.
    pub sums: Sums,
}

/// What was done with the two secrets while a rotation was in one state, as far as that had been reported when
/// it left the state.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Interval {
    /// The state.
    pub state: State,
    /// When it was entered.
    pub from: Timestamp,
    /// Whether anything was reported at both ends of it, so that the numbers say something.
    pub known: bool,
    /// How many instances reported at its end.
    pub instances: u64,
    /// With the secret that the rotation found.
    pub old: Counts,
    /// With the secret that it brings.
    pub new: Counts,
    /// Requests that were refused at first, and accepted in the end.
    pub saved: u64,
    /// Requests that ended with a refusal.
    pub failed: u64,
}

/// The sums of intervals.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sums {
    /// With the secret that the rotation found.
    pub old: Counts,
    /// With the secret that it brings.
    pub new: Counts,
    /// Requests that were refused at first, and accepted in the end.
    pub saved: u64,
    /// Requests that ended with a refusal.
    pub failed: u64,
}

impl Sums {
    fn add(&mut self, interval: &Interval) {
        self.old = self.old.plus(interval.old);
        self.new = self.new.plus(interval.new);
        self.saved = self.saved.saturating_add(interval.saved);
        self.failed = self.failed.saturating_add(interval.failed);
    }

    /// Requests that the server accepted.
    #[must_use]
    pub fn accepted(self) -> u64 {
        self.old.accepted.saturating_add(self.new.accepted)
    }

    /// Attempts that the server refused.
    #[must_use]
    pub fn refused(self) -> u64 {
        self.old.refused.saturating_add(self.new.refused)
    }
}

type Name = (String, Option<String>);

impl RotationReport {
    /// What each application did with the two secrets from state to state; behind each, what each of its
    /// instances did, where that is on record.
    ///
    /// The numbers are differences of what was last reported when a state was entered and when it was left. An
    /// instance reports within 5 seconds what a rotation waits for, and the use of its preferred secret less
    /// often, so a use may show in a later state than it was made in; and the first state may hold some of
    /// before the rotation.
    #[must_use]
    pub fn over_time(&self) -> Vec<Line> {
        let looks: BTreeMap<Timestamp, Look<'_>> =
            self.uses.iter().map(|uses| (uses.at, Look::of(uses))).collect();
        let named = |name: fn(&Use) -> bool| {
            let rows = looks.values().flat_map(|look| look.rows.iter());
            let rows = rows.filter(move |(_, row)| name(row));
            rows.map(|(name, _)| name.clone()).collect::<BTreeSet<Name>>()
        };
        let instances = named(|row| row.instance.is_some()).into_iter();
        let instances: Vec<Line> = instances.map(|name| self.line(name, &looks, &[])).collect();
        let applications = named(|row| row.instance.is_none()).into_iter();
        let mut lines: Vec<Line> =
            applications.map(|name| self.line(name, &looks, &instances)).collect();
        lines.extend(instances);
        lines.sort_by(|one, other| {
            (&one.application, &one.instance).cmp(&(&other.application, &other.instance))
        });
        lines
    }

    /// What all applications did together.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        let lines = self.over_time();
        let applications = lines.iter().filter(|line| line.instance.is_none());
        applications.flat_map(|line| &line.intervals).for_each(|one| sums.add(one));
        sums
    }

    /// `instances` are the lines of all instances, if it is an application.
    fn line(&self, name: Name, looks: &BTreeMap<Timestamp, Look<'_>>, instances: &[Line]) -> Line {
        let ends = self.states.iter().skip(1).map(|next| next.from).chain([self.at]);
        let of_it = instances.iter().filter(|line| line.application == name.0);
        let of_it: Vec<&Line> = of_it.collect();
        // Where a look is missing, what was done since the one before it is told of at the next one.
        let mut before = None;
        let mut intervals = Vec::with_capacity(self.states.len());
        let mut sums = Sums::default();
        for (position, (state, end)) in self.states.iter().zip(ends).enumerate() {
            before = looks.get(&state.from).or(before);
            let mut interval = Interval::none(state.state, state.from);
            if let (Some(before), Some(after)) = (before, looks.get(&end)) {
                match after.has_instances && before.has_instances && name.1.is_none() {
                    // Of instances that came and went, the sums of an application say nothing.
                    true => of_it.iter().for_each(|line| interval.add(&line.intervals[position])),
                    false => interval.take(before.rows.get(&name), after.rows.get(&name)),
                }
            }
            sums.add(&interval);
            intervals.push(interval);
        }
        let (application, instance) = name;
        Line { application, instance, intervals, sums }
    }
}

/// What was found at one moment.
struct Look<'a> {
    rows: BTreeMap<Name, &'a Use>,
    has_instances: bool,
}

impl<'a> Look<'a> {
    fn of(uses: &'a Uses) -> Self {
        let rows = uses.applications.iter().chain(&uses.instances);
        let name = |row: &Use| (row.application.clone(), row.instance.clone());
        Self {
            rows: rows.map(|row| (name(row), row)).collect(),
            has_instances: !uses.instances.is_empty(),
        }
    }
}

impl Interval {
    fn none(state: State, from: Timestamp) -> Self {
        let (old, new) = (Counts::default(), Counts::default());
        Self { state, from, known: false, instances: 0, old, new, saved: 0, failed: 0 }
    }

    /// What one or several had done before and after.
    fn take(&mut self, before: Option<&&Use>, after: Option<&&Use>) {
        let Some(after) = after else { return };
        // Who was not there began in between, with nothing counted.
        let nothing = Use::default();
        let before = before.copied().unwrap_or(&nothing);
        let counts = |after: Option<Counts>, before: Option<Counts>| {
            after.map(|after| after.since(before.unwrap_or_default())).unwrap_or_default()
        };
        let number = |after: Option<u64>, before: Option<u64>| {
            after.unwrap_or(0).saturating_sub(before.unwrap_or(0))
        };
        self.known = true;
        self.instances = after.instances;
        self.old = counts(after.old, before.old);
        self.new = counts(after.new, before.new);
        self.saved = number(after.saved, before.saved);
        self.failed = number(after.failed, before.failed);
    }

    fn add(&mut self, other: &Self) {
        self.known |= other.known;
        self.instances += other.instances;
        self.old = self.old.plus(other.old);
        self.new = self.new.plus(other.new);
        self.saved = self.saved.saturating_add(other.saved);
        self.failed = self.failed.saturating_add(other.failed);
    }
}
