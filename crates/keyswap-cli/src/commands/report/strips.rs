//! Who used which secret when, as a strip: a column for each state, filled by the shares of the two secrets.

use std::fmt::Write;

use keyswap_admin::report::{Interval, Line};

use super::text::Escaped;
use crate::in_words::number;

const COLUMN: f64 = 10.0;
const HEIGHT: f64 = 24.0;
/// How many columns fit; beyond that neighbours share one.
const MOST: usize = 60;

/// How many columns a strip of so many states has.
pub(super) fn columns(states: usize) -> usize {
    states.div_ceil(states.div_ceil(MOST).max(1))
}

/// The strip of an application or an instance. It has no text, so it may be stretched.
pub(super) fn strip(line: &Line) -> String {
    let states = line.intervals.len();
    let together = states.div_ceil(MOST).max(1);
    let width = COLUMN * columns(states) as f64;
    let mut svg = format!(
        "<svg class=\"strip\" viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{}\">",
        Escaped(in_words(line))
    );
    for (position, column) in line.intervals.chunks(together).enumerate() {
        draw(&mut svg, position as f64 * COLUMN, position * together, column);
    }
    svg.push_str("</svg>");
    svg
}

fn in_words(line: &Line) -> String {
    format!(
        "requests accepted with the old secret: {}, with the new one: {}; refused attempts: {}",
        number(line.sums.old.accepted),
        number(line.sums.new.accepted),
        number(line.sums.refused())
    )
}

fn draw(svg: &mut String, x: f64, first: usize, column: &[Interval]) {
    let sum = |of: fn(&Interval) -> u64| column.iter().map(of).fold(0, u64::saturating_add);
    let (old, new) = (sum(|one| one.old.accepted), sum(|one| one.new.accepted));
    let refused = sum(|one| one.old.refused.saturating_add(one.new.refused));
    let names: Vec<_> = column.iter().map(|one| one.state.name()).collect();
    let (x, width) = (x + 0.6, COLUMN - 1.2);
    let _ = write!(
        svg,
        "<g><title>{} {}: {}</title>",
        first + 1,
        names.join(", "),
        match column.iter().any(|one| one.known) {
            true => format!(
                "{} with the old secret, {} with the new one, {} refused",
                number(old),
                number(new),
                number(refused)
            ),
            false => "nothing on record".to_owned(),
        }
    );
    let used = old.saturating_add(new);
    let mut rectangle = |class: &str, y: f64, height: f64| {
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        );
    };
    // Refusals have a lane of their own, so that they show beside any share.
    let lane = HEIGHT - 5.0;
    if used == 0 {
        rectangle("f-none", lane - 1.5, 1.5);
    } else {
        let of_new = lane * new as f64 / used as f64;
        // A single use among thousands shows as well.
        let of_new = match (old, new) {
            (0, _) | (_, 0) => of_new,
            _ => of_new.clamp(1.5, lane - 1.5),
        };
        if old > 0 {
            rectangle("f-old", 0.0, lane - of_new);
        }
        if new > 0 {
            rectangle("f-new", lane - of_new, of_new);
        }
    }
    if refused > 0 {
        rectangle("f-refused", HEIGHT - 3.5, 3.5);
    }
    svg.push_str("</g>");
}
