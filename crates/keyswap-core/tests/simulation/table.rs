//! The figures of many scenarios, by window and load.

use std::collections::BTreeMap;
use std::fmt;

use crate::run::Count;
use crate::world::{Balancing, Change, SECOND, Scenario};

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Row {
    /// Seconds.
    pub(crate) window: i64,
    load_in_tenths: u64,
}

impl Row {
    pub(crate) fn load(self) -> f64 {
        self.load_in_tenths as f64 / 10.0
    }

    /// Whether a program makes so many requests in the window that what it cannot know is not felt: a
    /// thousand, and of these at most a hundredth before the first answer could come.
    pub(crate) fn is_busy(self) -> bool {
        self.window >= 10 && self.window as f64 * self.load() >= 1_000.0
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) learnt: Count,
    pub(crate) oracle: Count,
    /// Of the best fixed leader, where it says something.
    pub(crate) fixed: Option<Count>,
    /// The attempts that learning may cost: for each change that a program sees eight requests, and
    /// those that are in flight until the first of them have come to an end. Where a program makes a
    /// handful of requests in the whole window no policy without foreknowledge can do without.
    pub(crate) learning: f64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.learnt += other.learnt;
        self.oracle += other.oracle;
        if let Some(fixed) = other.fixed {
            *self.fixed.get_or_insert_default() += fixed;
        }
        self.learning += other.learning;
    }

    /// Attempts by those of the oracle.
    pub(crate) fn ratio(&self) -> f64 {
        self.learnt.attempts as f64 / self.oracle.attempts as f64
    }

    /// Attempts by those of the best fixed leader.
    pub(crate) fn fixed_ratio(&self) -> Option<f64> {
        self.fixed.map(|fixed| self.learnt.attempts as f64 / fixed.attempts as f64)
    }
}

pub(crate) struct Table {
    balancing: Balancing,
    rows: BTreeMap<Row, Sums>,
}

impl Table {
    pub(crate) fn new(balancing: Balancing) -> Self {
        Self { balancing, rows: BTreeMap::new() }
    }

    pub(crate) fn add(
        &mut self,
        scenario: &Scenario,
        learnt: Count,
        oracle: Count,
        fixed: Option<Count>,
    ) {
        let row = Row {
            window: scenario.window / SECOND,
            load_in_tenths: (scenario.load * 10.0).round() as u64,
        };
        let changes = if scenario.change == Change::Forward { 1.0 } else { 2.0 };
        let in_flight = 0.1 * scenario.load;
        let learning = scenario.programs as f64 * changes * (8.0 + in_flight);
        self.rows.entry(row).or_default().add(&Sums { learnt, oracle, fixed, learning });
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = (&Row, &Sums)> {
        self.rows.iter()
    }

    pub(crate) fn total(&self) -> Sums {
        let mut total = Sums::default();
        self.rows.values().for_each(|sums| total.add(sums));
        total
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| {} | requests/s | requests | failed | attempts a request | most | oracle's | ratio | to the best fixed leader |",
            self.balancing
        )?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        let mut line = |window: String, load: String, sums: &Sums| {
            writeln!(
                f,
                "| {window} | {load} | {} | {} | {:.4} | {} | {:.4} | {:.4} | {} |",
                sums.learnt.requests,
                sums.learnt.failed,
                sums.learnt.mean(),
                sums.learnt.most,
                sums.oracle.mean(),
                sums.ratio(),
                sums.fixed_ratio().map(|ratio| format!("{ratio:.4}")).unwrap_or_default()
            )
        };
        for (row, sums) in &self.rows {
            line(format!("{} s", row.window), row.load().to_string(), sums)?;
        }
        line("all".to_owned(), String::new(), &self.total())
    }
}
