//! What the demo ends with.

use comfy_table::{ContentArrangement, Table};
use serde_json::{Map, json};

use super::Rotated;
use super::chaos::Chaos;
use super::instance::Tally;
use crate::presenter::states_as_json;

pub(super) struct Report {
    pub(super) tally: Tally,
    pub(super) rotated: Rotated,
    pub(super) chaos: Option<Chaos>,
    pub(super) fallback: bool,
}

impl Report {
    pub(super) fn as_table(&self, window: Option<usize>, in_utf8: bool) -> String {
        let mut table = Table::new();
        table.load_style(match in_utf8 {
            true => comfy_table::presets::UTF8_BORDERS_ONLY,
            false => comfy_table::presets::ASCII_BORDERS_ONLY,
        });
        if let Some(columns) = window {
            let columns = u16::try_from(columns).unwrap_or(u16::MAX);
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
        }
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
        if let Some(Chaos { kills, faults }) = &self.chaos {
            let total: u64 = kills.values().map(|(_, times)| times).sum();
            table.add_row(["rotating process killed", &total.to_string()]);
            for (state, times) in kills.values() {
                table.add_row([&format!("  in {state}"), &times.to_string()]);
            }
            let total: u64 = faults.iter().map(|(_, times)| times).sum();
            table.add_row(["faults of the server", &total.to_string()]);
            for (fault, times) in faults {
                table.add_row([&format!("  {fault}"), &times.to_string()]);
            }
        }
        let refused = if self.rotated.old_refused { "yes" } else { "NO" };
        table.add_row(["old secret refused at the end", refused]);
        for (state, duration) in &self.rotated.states {
            table.add_row([
                &format!("time in {state}"),
                &format!("{:.1} s", duration.as_secs_f64()),
            ]);
        }
        table.to_string()
    }

    pub(super) fn as_json(&self) -> serde_json::Value {
        let mut report = json!({
            "event": "demo",
            "requests": self.tally.requests,
            "failed": self.tally.failed,
            "failures": self.tally.failures,
            "saved": self.tally.saved,
            "attempts": self.tally.attempts,
            "promoted": self.tally.promoted,
            "old_secret_refused": self.rotated.old_refused,
            "states_ms": states_as_json(&self.rotated.states),
        });
        if let Some(Chaos { kills, faults }) = &self.chaos {
            let kills =
                kills.values().map(|(state, times)| (state.name().to_owned(), json!(times)));
            let faults = faults.iter().map(|(fault, times)| ((*fault).to_owned(), json!(times)));
            report["killed"] = kills.collect::<Map<_, _>>().into();
            report["faults"] = faults.collect::<Map<_, _>>().into();
        }
        report
    }
}
