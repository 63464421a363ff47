//! What the demo ends with.

use std::time::Duration;

use comfy_table::Table;
use keyswap_admin::rotation::State;
use serde_json::json;

use super::instance::Tally;
use crate::presenter::states_as_json;

pub(super) struct Report {
    pub(super) tally: Tally,
    pub(super) states: Vec<(State, Duration)>,
    pub(super) old_refused: bool,
    pub(super) fallback: bool,
}

impl Report {
    pub(super) fn as_table(&self) -> String {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
        let tally = &self.tally;
        table.add_row(["requests", &tally.requests.to_string()]);
        table.add_row(["failed", &tally.failed.to_string()]);
        for (what, count) in &tally.failures {
            table.add_row([&format!("  {what}"), &count.to_string()]);
        }
        if self.fallback {
            table.add_row(["refused first, saved by the fallback", &tally.saved.to_string()]);
            table.add_row([
                "attempts a request",
                &format!("{:.4}", tally.attempts as f64 / tally.requests.max(1) as f64),
            ]);
            table.add_row(["promoted on the way", &tally.promoted.to_string()]);
        }
        let refused = if self.old_refused { "yes" } else { "NO" };
        table.add_row(["old secret refused at the end", refused]);
        for (state, duration) in &self.states {
            table.add_row([
                &format!("time in {state}"),
                &format!("{:.1} s", duration.as_secs_f64()),
            ]);
        }
        table.to_string()
    }

    pub(super) fn as_json(&self) -> serde_json::Value {
        json!({
            "event": "demo",
            "requests": self.tally.requests,
            "failed": self.tally.failed,
            "failures": self.tally.failures,
            "saved": self.tally.saved,
            "attempts": self.tally.attempts,
            "promoted": self.tally.promoted,
            "old_secret_refused": self.old_refused,
            "states_ms": states_as_json(&self.states),
        })
    }
}
