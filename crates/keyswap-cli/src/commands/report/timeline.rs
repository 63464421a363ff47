//! The states of a rotation along its time: where each bar begins and how long it is, and a picture of that by
//! itself.

use std::fmt::Write;

use keyswap_admin::report::{Outcome, Period, RotationReport};
use keyswap_admin::rotation::{Direction, State};

use super::text::Escaped;
use crate::in_words::lasted;

/// How many states are drawn; of a rotation that was stuck and resumed a hundred times, those in the middle
/// are left out.
const MOST: usize = 60;

/// A row of the timeline.
pub(super) enum Row<'a> {
    /// A state, with its number, where its bar begins and how long it is, both in shares of the whole.
    State { number: usize, period: &'a Period, left: f64, width: f64 },
    /// So many states are left out here.
    LeftOut(usize),
}

/// The rows, in order. The bars lie within 0 and 1 and are never longer than that.
pub(super) fn rows(report: &RotationReport) -> Vec<Row<'_>> {
    let (began, whole) = (report.began(), report.ended().since(report.began()));
    let share = |time: std::time::Duration| match whole.is_zero() {
        true => 0.0,
        false => (time.as_secs_f64() / whole.as_secs_f64()).clamp(0.0, 1.0),
    };
    let states = report.states.iter().enumerate();
    let middle = report.states.len().saturating_sub(MOST);
    let mut rows = Vec::with_capacity(report.states.len().min(MOST) + 1);
    for (position, period) in states {
        if (MOST / 2..MOST / 2 + middle).contains(&position) {
            if position == MOST / 2 {
                rows.push(Row::LeftOut(middle));
            }
            continue;
        }
        let left = share(period.from.since(began));
        let end = share(period.until.unwrap_or(period.from).since(began));
        rows.push(Row::State { number: position + 1, period, left, width: (end - left).max(0.0) });
    }
    rows
}

/// What kind of state it is, by which it has its colour.
pub(super) fn kind(period: &Period) -> &'static str {
    match (period.state, period.direction) {
        (State::Stuck, _) => "stuck",
        (_, Direction::Back) => "back",
        (
            State::MakingRoom
            | State::Adding
            | State::CuttingOver
            | State::Deactivating
            | State::Removing,
            Direction::Forward,
        ) => "act",
        _ => "wait",
    }
}

/// What became of the rotation: in a word, and whether that is good, open or bad.
pub(super) fn outcome(report: &RotationReport) -> (&'static str, &'static str) {
    match report.outcome {
        Outcome::Done => ("done", "good"),
        Outcome::RolledBack => ("rolled back", "warn"),
        Outcome::Stuck(_) => ("a person has to look", "bad"),
        _ => ("under way", "warn"),
    }
}

const WIDTH: f64 = 960.0;
const BARS: (f64, f64) = (190.0, 840.0);
const ROW: f64 = 30.0;
const TOP: f64 = 96.0;

/// The timeline as a picture that needs nothing else, light or dark as its reader is.
pub(super) fn svg(report: &RotationReport) -> String {
    let rows = rows(report);
    let height = TOP + ROW * rows.len() as f64 + 34.0;
    let (source, target) = report.source_and_target();
    let (word, _) = outcome(report);
    let time = lasted(report.ended().since(report.began()));
    let client = Escaped(&report.client);
    let title = format!("Rotation of {client}: {word}, {time}");
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\" rx=\"12\"/>\n\
         <text class=\"head\" x=\"24\" y=\"38\">{title}</text>\n\
         <text class=\"quiet\" x=\"24\" y=\"60\">{} takes the place of {}, from {} on</text>\n",
        Escaped(target),
        Escaped(source),
        report.began(),
    );
    let (from, to) = BARS;
    for (position, row) in rows.iter().enumerate() {
        let y = TOP + ROW * position as f64;
        let (text, middle) = (y + 19.0, y + 9.0);
        let _ = match row {
            Row::LeftOut(count) => {
                writeln!(svg, "<text class=\"quiet\" x=\"52\" y=\"{text}\">and {count} more</text>")
            }
            Row::State { number, period, left, width } => {
                let x = from + left * (to - from);
                let width = (width * (to - from)).max(3.0).min(to - x + 3.0);
                let time = period.until.map(|until| lasted(until.since(period.from)));
                writeln!(
                    svg,
                    "<g><title>{}: {}</title><line x1=\"24\" x2=\"936\" y1=\"{y}\" y2=\"{y}\"/>\
                     <text class=\"quiet\" x=\"44\" y=\"{text}\" text-anchor=\"end\">{number}</text>\
                     <text x=\"54\" y=\"{text}\">{}</text>\
                     <rect class=\"{}\" x=\"{x:.1}\" y=\"{middle}\" width=\"{width:.1}\" height=\"12\" rx=\"4\"/>\
                     <text x=\"936\" y=\"{text}\" text-anchor=\"end\">{}</text></g>",
                    period.state,
                    Escaped(&period.meaning),
                    period.state,
                    kind(period),
                    time.as_deref().unwrap_or("end"),
                )
            }
        };
    }
    svg.push_str("</svg>\n");
    svg
}

const STYLE: &str = "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif;\
fill:#23272f}.head{font-size:18px;font-weight:600}.quiet{fill:#6a707c}.paper{fill:#fff}line{stroke:#e4e1da}\
.wait{fill:#8fa3bf}.act{fill:#2b7f79}.back{fill:#c89b4e}.stuck{fill:#b5523b}\
@media(prefers-color-scheme:dark){text{fill:#e3e5e9}.quiet{fill:#969ca8}.paper{fill:#1d2026}line{stroke:#31353d}\
.wait{fill:#6d819e}.act{fill:#55aea6}.back{fill:#d2ab66}.stuck{fill:#db7f68}}";
