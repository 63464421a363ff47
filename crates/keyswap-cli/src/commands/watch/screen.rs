//! What fits a terminal: a pure function from what the store holds to lines of at most its width, as many as it
//! has rows. ASCII alone, so that any locale shows it.

use std::time::Duration;

use console::{measure_text_width, truncate_str};
use keyswap_admin::Status;
use keyswap_admin::rotation::{Missing, Timestamp};
use keyswap_core::SecretUsage;

use crate::commands::status::{Age, summary};
use crate::fleet::{Alike, Concern, Row, applications, rows};
use crate::in_words::in_seconds;

/// What is drawn.
pub(super) struct View<'a> {
    pub(super) client: &'a str,
    pub(super) place: &'a str,
    pub(super) status: &'a Status,
    /// For whom the rotation waits, each since when.
    pub(super) missing: &'a [(Missing, Timestamp)],
    pub(super) ages: &'a [Age],
    pub(super) now: Timestamp,
}

/// How it is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paper {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) colours: bool,
}

/// From this width on, an instance takes one line.
const WIDE: usize = 72;

/// The lines: never more than the rows of the paper, never wider than it.
pub(super) fn draw(view: &View<'_>, paper: Paper) -> Vec<String> {
    let columns = paper.columns.max(1);
    let (rows_left, mut lines) = (paper.rows.max(1), Vec::new());
    let summary = summary(view.client, view.place, view.status, view.ages, view.now);
    for (position, line) in summary.lines().enumerate() {
        let wrapped = wrap(line, columns, 10);
        let bold = position == 0;
        lines.extend(wrapped.into_iter().map(|line| if bold { paper.bold(&line) } else { line }));
    }
    // The instances have half of the place at least.
    shorten(&mut lines, (rows_left / 2).max(2), columns);
    let missing = waiting(view, paper, rows_left);
    lines.extend(missing);
    lines.extend(fleet(view, paper, rows_left.saturating_sub(lines.len())));
    shorten(&mut lines, rows_left, columns);
    lines
}

/// Cuts lines off behind this many, and says so.
fn shorten(lines: &mut Vec<String>, most: usize, columns: usize) {
    let more = lines.len().saturating_sub(most);
    if more > 0 {
        lines.truncate(most - 1);
        lines.push(fit(&format!("... {} more lines", more + 1), columns));
    }
}

/// What somebody else wrote moves no cursor.
fn fit(line: &str, columns: usize) -> String {
    let line: String =
        line.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    truncate_str(&line, columns, if columns > 3 { "..." } else { "" }).into_owned()
}

/// Breaks a line between words; further lines are indented by so much, if there is room for that.
fn wrap(line: &str, columns: usize, indent: usize) -> Vec<String> {
    let indent = if columns > 3 * indent { indent } else { 0 };
    let (mut lines, mut current) = (Vec::new(), String::new());
    let leading: String = line.chars().take_while(|letter| *letter == ' ').collect();
    current.push_str(&fit(&leading, columns / 2));
    let mut empty = true;
    // The column behind the first word stays where it is.
    for word in line.trim_start().split_inclusive(' ') {
        let width = measure_text_width(word.trim_end());
        if !empty && measure_text_width(&current) + width > columns {
            lines.push(std::mem::take(&mut current).trim_end().to_owned());
            current.push_str(&" ".repeat(indent));
        }
        current.push_str(word);
        empty = false;
    }
    lines.push(current.trim_end().to_owned());
    lines.into_iter().map(|line| fit(&line, columns)).collect()
}

fn waiting(view: &View<'_>, paper: Paper, rows: usize) -> Vec<String> {
    if view.missing.is_empty() {
        return Vec::new();
    }
    let most = (rows / 5).max(1);
    let mut lines = Vec::new();
    for (missing, since) in view.missing.iter().take(most) {
        let time = view.now.since(*since);
        let text = match time < Duration::from_secs(1) {
            true => format!("waits     {missing}"),
            false => format!("waits     {missing} ({})", in_seconds(time)),
        };
        lines.push(fit(&text, paper.columns));
    }
    let more = view.missing.len().saturating_sub(most);
    if more > 0 {
        lines.push(fit(&format!("          and {more} more"), paper.columns));
    }
    lines
}

fn fleet(view: &View<'_>, paper: Paper, rows_left: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    if view.status.instances.is_empty() {
        lines.push(fit("no instance reports", paper.columns));
        return lines;
    }
    let applications = applications(view.status);
    let most = (rows_left / 3).max(1);
    for (name, one) in applications.iter().take(most) {
        let live = match one.expected {
            Some(expected) => format!("{} of {expected} live", one.live),
            None => format!("{} live", one.live),
        };
        let manual = if one.manual { ", a person speaks for it" } else { "" };
        let refused = match one.refused {
            0 => String::new(),
            refused => format!(", {refused} refused"),
        };
        let text = format!("{name}: {live}, {} ready{refused}{manual}", one.ready);
        let short =
            one.expected.is_some_and(|expected| !one.manual && one.live < expected as usize);
        lines.push(paper.mark(fit(&text, paper.columns), short || one.ready < one.live));
    }
    if applications.len() > most {
        let more = applications.len() - most;
        lines.push(fit(&format!("and {more} more applications"), paper.columns));
    }
    lines.push(String::new());
    let each = if paper.columns >= WIDE { 1 } else { 2 };
    let room = rows_left.saturating_sub(lines.len()) / each;
    for row in rows(view.status, room.max(1)) {
        lines.extend(of_row(&row, paper));
    }
    lines
}

fn of_row(row: &Row<'_>, paper: Paper) -> Vec<String> {
    let (concern, who, revision, usage) = match row {
        Row::Rest(rest) => return vec![fit(&format!("and {rest} more instances"), paper.columns)],
        Row::One(concern, instance) => match &instance.report {
            Ok(report) => (
                *concern,
                format!("{}/{}", report.application, report.instance),
                report.revision,
                report.usage.as_ref().map(|usage| usage.secrets.as_slice()).unwrap_or_default(),
            ),
            Err(reason) => {
                let text = format!("{:<13} {}: {reason}", concern.name(), instance.instance);
                return vec![paper.mark(fit(&text, paper.columns), concern.is_bad())];
            }
        },
        Row::Alike(Alike { concern, application, count, revision, usage, .. }) => (
            *concern,
            format!("{}: {count} instances", application.unwrap_or("unreadable")),
            *revision,
            usage.as_slice(),
        ),
    };
    let revision = revision.map_or("-".to_owned(), |revision| revision.to_string());
    let used = used(usage);
    let bad = concern.is_bad();
    if paper.columns >= WIDE {
        let who = fit(&who, 36);
        let text = format!("{:<13} {who:<36} rev {revision:<5} {used}", concern.name());
        return vec![paper.mark(fit(&text, paper.columns), bad)];
    }
    let first = format!("{} {who}", short(concern));
    let second = format!("     rev {revision}  {used}");
    vec![paper.mark(fit(&first, paper.columns), bad), fit(&second, paper.columns)]
}

/// In four letters.
fn short(concern: Concern) -> &'static str {
    match concern {
        Concern::Unreadable => "?   ",
        Concern::ReadNothing => "none",
        Concern::Behind => "late",
        Concern::LeadsWithOld => "old ",
        Concern::Ready => "ok  ",
        Concern::Gone => "gone",
    }
}

/// What was done with each secret, the leading one first.
fn used(usage: &[SecretUsage]) -> String {
    let one = |secret: &SecretUsage| match secret.refused {
        0 => format!("{}: {}", secret.id, secret.accepted),
        refused => format!("{}: {} ({refused} refused)", secret.id, secret.accepted),
    };
    usage.iter().map(one).collect::<Vec<_>>().join("  ")
}

impl Paper {
    fn bold(self, line: &str) -> String {
        if self.colours { format!("\u{1b}[1m{line}\u{1b}[0m") } else { line.to_owned() }
    }

    /// What a rotation waits for stands out.
    fn mark(self, line: String, bad: bool) -> String {
        if self.colours && bad { format!("\u{1b}[33m{line}\u{1b}[0m") } else { line }
    }
}

#[cfg(test)]
mod tests {
    use keyswap_admin::rotation::State;
    use keyswap_store::Instance;

    use super::*;
    use crate::example::{SINCE, gone, instance, status};

    fn drawn(status: &Status, rows: usize, columns: usize) -> Vec<String> {
        let now = Timestamp::from_milliseconds(SINCE + 12_000);
        let since = Timestamp::from_milliseconds(SINCE + 4_000);
        let missing = status.waits_for(&mut Default::default(), now);
        let missing: Vec<_> = missing.into_iter().map(|one| (one, since)).collect();
        let ages = [Age::new("s-new".parse().unwrap(), Some(since))];
        let view = View {
            client: "billing",
            place: "the file store at /var/lib/keyswap",
            status,
            missing: &missing,
            ages: &ages,
            now,
        };
        draw(&view, Paper { rows, columns, colours: false })
    }

    fn three() -> Status {
        status(
            State::Promoted,
            vec![
                instance("shop", "i-1", Some(2), &[("s-new", 1204, 3), ("s-old", 2, 0)]),
                instance("shop", "i-2", Some(1), &[("s-old", 7, 0)]),
                gone(instance("shop", "i-3", Some(2), &[("s-old", 1, 0)])),
            ],
        )
    }

    #[test]
    fn three_instances_are_shown_with_what_they_hold_and_who_is_waited_for() {
        let text = drawn(&three(), 24, 100).join("\n");
        for part in [
            "client billing, the file store at /var/lib/keyswap",
            "rotation  promoted for 12s: s-new takes the place of s-old",
            "secrets   s-new for 8s",
            "waits     shop: 2 of 3 expected instances report (8s)",
            "shop: 2 of 3 live, 1 ready, 3 refused",
            "behind        shop/i-2",
            "rev 1     s-old: 7",
            "ready         shop/i-1",
            "s-new: 1204 (3 refused)  s-old: 2",
            "gone          shop/i-3",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(
            text.find("behind").unwrap() < text.find("ready  ").unwrap(),
            "the worst first\n{text}"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_there_are_no_more_than_it_has_rows() {
        let many: Vec<Instance> = (0..3000)
            .map(|one| {
                let revision = if u64::is_multiple_of(one, 100) { 1 } else { 2 };
                instance(
                    &format!("app-{}", one % 9),
                    &format!("i-{one:016x}"),
                    Some(revision),
                    &[("s-new", one, 1)],
                )
            })
            .collect();
        let mut stuck = status(State::Stuck, Vec::new());
        if let Some(record) = &mut stuck.record {
            record.stuck =
                Some((State::CutOver, keyswap_admin::rotation::StuckReason::ForeignSecret));
        }
        for status in [three(), status(State::Promoted, many), stuck] {
            for (rows, columns) in
                [(24, 80), (24, 40), (50, 132), (10, 40), (5, 20), (2, 10), (1, 1)]
            {
                let lines = drawn(&status, rows, columns);
                assert!(lines.len() <= rows, "{} lines for {rows}: {lines:#?}", lines.len());
                for line in &lines {
                    assert!(measure_text_width(line) <= columns, "wider than {columns}: {line:?}");
                    assert!(line.is_ascii(), "{line:?}");
                }
            }
        }
    }

    #[test]
    fn of_three_thousand_instances_those_that_are_waited_for_are_named() {
        let mut instances: Vec<Instance> = (0..2999)
            .map(|one| instance("shop", &format!("i-{one:04}"), Some(2), &[("s-new", 5, 0)]))
            .collect();
        instances.push(instance("shop", "late", Some(1), &[("s-old", 5, 0)]));
        for (rows, columns) in [(24, 80), (24, 40)] {
            let text = drawn(&status(State::Staged, instances.clone()), rows, columns).join("\n");
            for part in ["shop/late", "3000 of 3 live, 2999 ready", "shop: 2999 instances"] {
                assert!(text.contains(part), "{part:?} is not in\n{text}");
            }
        }
    }

    #[test]
    fn the_page_on_watching_shows_three_and_three_thousand_instances_as_they_are_drawn() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/watch.md");
        let page = std::fs::read_to_string(page).unwrap();
        let mut many: Vec<Instance> = (0..2985)
            .map(|one| instance("shop", &format!("shop-{one:04}"), Some(2), &[("s-new", 40, 0)]))
            .collect();
        for one in 0..14 {
            many.push(instance("shop", &format!("late-{one:02}"), Some(1), &[("s-old", 37, 0)]));
        }
        many.push(instance("shop", "refused", Some(2), &[("s-old", 5, 212)]));
        let many = status(State::Promoted, many);
        for (status, rows) in [(three(), 24), (many, 16)] {
            let drawn = drawn(&status, rows, 100).join("\n");
            assert!(page.contains(&format!("```text\n{drawn}\n```")), "it has not\n{drawn}");
        }
    }

    #[test]
    fn what_an_instance_is_called_moves_no_cursor() {
        let hostile = instance("shop\u{1b}[2J", "i-1\r\n\u{7}", Some(2), &[("s-new", 1, 0)]);
        let lines = drawn(&status(State::Promoted, vec![hostile]), 24, 100);
        assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("shop?[2J/i-1???")), "{lines:#?}");
    }

    #[test]
    fn colours_are_there_only_if_they_are_wanted() {
        let status = three();
        let ages = [];
        let now = Timestamp::from_milliseconds(SINCE);
        let view =
            View { client: "billing", place: "x", status: &status, missing: &[], ages: &ages, now };
        let with = |colours| draw(&view, Paper { rows: 24, columns: 80, colours }).join("\n");
        assert!(with(true).contains("\u{1b}[33mbehind") && !with(false).contains('\u{1b}'));
    }
}
