//! The page: one file that needs nothing else, reads well on paper, on a telephone and in the dark, and has no
//! script.

use std::fmt::Write;

use keyswap_admin::report::{Line, Outcome, RotationReport};
use keyswap_admin::rotation::State;

use super::evidence::evidence;
use super::strips::{columns, strip};
use super::text::Escaped;
use super::timeline::{Row, kind, outcome, rows};
use crate::in_words::{count, lasted, number};

const STYLE: &str = include_str!("style.css");

/// How many applications and instances have a strip of their own.
const MOST_LINES: usize = 130;

/// Draws the page. `whole` says whether the history was found to be as it was written, to its end.
pub(super) fn page(report: &RotationReport, whole: &Result<(), String>) -> String {
    let lines = report.over_time();
    let mut page = String::with_capacity(64 * 1024);
    head(&mut page, report);
    figures(&mut page, report);
    timeline(&mut page, report);
    uses(&mut page, report, &lines);
    evidence(&mut page, report);
    on_record(&mut page, report, whole);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn head(page: &mut String, report: &RotationReport) {
    let client = Escaped(&report.client);
    let (source, target) = report.source_and_target();
    let (word, class) = outcome(report);
    let takes = if report.is_over() { "took" } else { "takes" };
    let (began, ended) = (report.began(), report.ended());
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         img-src data:\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>Rotation of {client}: {word}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n\
         <p class=\"over\">Rotation of a client secret</p>\n<h1>{client}</h1>\n\
         <p><span class=\"pill {class}\">{word}</span> <code>{}</code> {takes} the place of <code>{}</code></p>\n\
         <p class=\"quiet small\">from {began} to {ended}{}</p>\n",
        Escaped(target),
        Escaped(source),
        if report.is_over() { "" } else { ", when this was written" },
    );
    if let Outcome::Stuck(reason) = report.outcome {
        let _ = writeln!(page, "<p class=\"bad\">{}</p>", Escaped(sentence(&reason.to_string())));
    }
    page.push_str("</header>\n");
}

/// With a capital letter in front and a full stop behind.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{}{}{end}", first.unwrap_or_default(), letters.as_str())
}

fn figures(page: &mut String, report: &RotationReport) {
    let sums = report.sums();
    let is_counted = report
        .uses
        .iter()
        .flat_map(|uses| &uses.applications)
        .any(|application| application.saved.is_some());
    let known = |known: bool, value: u64| match known {
        true => number(value),
        false => "not on record".to_owned(),
    };
    let has_uses = report.uses.len() > 1;
    let live = report.uses.iter().map(keyswap_admin::rotation::Uses::live).max().unwrap_or(0);
    let mut figures = vec![
        ("took", lasted(report.ended().since(report.began()))),
        ("instances", known(!report.uses.is_empty(), live)),
        ("requests accepted", known(has_uses, sums.accepted())),
        ("refused first, then saved", known(has_uses && is_counted, sums.saved)),
        ("ended with a refusal", known(has_uses && is_counted, sums.failed)),
    ];
    if let Some(unused) = &report.account.unused {
        let quiet = std::time::Duration::from_millis(unused.quiet_ms);
        figures.push(("unused before it went, at least", lasted(quiet)));
    }
    page.push_str("<dl class=\"figures\">\n");
    for (name, value) in figures {
        let _ = writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    page.push_str("</dl>\n");
}

fn timeline(page: &mut String, report: &RotationReport) {
    page.push_str(
        "<section>\n<h2>Where the time went</h2>\n<p class=\"quiet small\">Each state is in the journal before the \
         act that it announces.</p>\n<p class=\"legend\"><span><i style=\"background:var(--wait)\"></i>looking and \
         waiting</span><span><i class=\"i-new\"></i>changing something at the server</span><span><i \
         class=\"i-old\"></i>on the way back</span></p>\n<ol class=\"states\">\n",
    );
    for row in rows(report) {
        let _ = match row {
            Row::LeftOut(left_out) => writeln!(
                page,
                "<li><span class=\"n\"></span><span class=\"quiet\">and {left_out} more</span></li>"
            ),
            Row::State { number, period, left, width } => {
                let ends = matches!(period.state, State::Done | State::RolledBack);
                let time = match period.until {
                    Some(until) => lasted(until.since(period.from)),
                    None => "end".to_owned(),
                };
                // What is as short as can be shown stays within the track.
                let left = (100.0 * left).min(99.5);
                let width = if ends { 0.0 } else { 100.0 * width };
                writeln!(
                    page,
                    "<li><span class=\"n\">{number}</span><span class=\"what\"><b>{}</b><span>{}</span></span>\
                     <span class=\"track\"><i class=\"{}\" style=\"left:{left:.2}%;width:{width:.2}%\"></i></span>\
                     <span class=\"time\" title=\"since {}\">{time}</span></li>",
                    period.state,
                    Escaped(&period.meaning),
                    kind(period),
                    period.from,
                )
            }
        };
    }
    page.push_str("</ol>\n</section>\n");
}

fn uses(page: &mut String, report: &RotationReport, lines: &[Line]) {
    page.push_str("<section>\n<h2>Who used which secret</h2>\n");
    if lines.is_empty() {
        page.push_str(
            "<p class=\"quiet\">Nothing is on record of that: no instance reported, or an earlier version of \
             keyswap made this rotation.</p>\n</section>\n",
        );
        return;
    }
    page.push_str(
        "<p class=\"quiet small\">A column for each state above: which share of the accepted requests came with the \
         old secret and which with the new one, as it was last reported. An instance reports within 5 seconds what \
         the rotation waits for, and other use less often, so a use may show in a later column, and the first one \
         may hold some of before.</p>\n<p class=\"legend\"><span><i class=\"i-old\"></i>old secret</span><span><i \
         class=\"i-new\"></i>new secret</span><span><i class=\"i-refused\"></i>refused attempts</span><span><i \
         class=\"i-none\"></i>no use on record</span></p>\n",
    );
    // Of a rotation that is over, nothing is on record of what came after.
    let shown: Vec<Line> = lines
        .iter()
        .filter(|line| line.instance.is_none() || only_instance(lines, line).is_none())
        .take(MOST_LINES)
        .map(|line| trimmed(line, report))
        .collect();
    let Some(states) = shown.first().map(|line| line.intervals.len()) else { return };
    page.push_str(
        "<div class=\"uses head\"><span></span><span class=\"scale\" aria-hidden=\"true\">",
    );
    let together = states.div_ceil(columns(states).max(1)).max(1);
    for column in 0..columns(states) {
        let _ = write!(page, "<span>{}</span>", column * together + 1);
    }
    page.push_str("</span><span class=\"sums\">accepted: old / new</span></div>\n");
    for line in &shown {
        let (class, who) = match &line.instance {
            None => {
                let only = only_instance(lines, line);
                let only = only.map(|only| format!("<br><code>{}</code>", Escaped(only)));
                let name = Escaped(&line.application);
                ("uses", format!("<b class=\"name\">{name}</b>{}", only.unwrap_or_default()))
            }
            Some(instance) => ("uses one", format!("<code>{}</code>", Escaped(instance))),
        };
        let sums = line.sums;
        let mut remarks = Vec::new();
        for (figure, what) in
            [(sums.refused(), "refused"), (sums.saved, "saved"), (sums.failed, "ended refused")]
        {
            if figure > 0 {
                remarks.push(format!("{} {what}", number(figure)));
            }
        }
        let _ = writeln!(
            page,
            "<div class=\"{class}\"><span class=\"who\">{who}</span>{}<span class=\"sums\">{} / {}{}{}</span></div>",
            strip(line),
            number(sums.old.accepted),
            number(sums.new.accepted),
            if remarks.is_empty() { "" } else { "<br>" },
            remarks.join(", "),
        );
    }
    left_out(page, report, lines);
    page.push_str("</section>\n");
}

/// The instance of the application of this line, if it has had but one: then they share a strip.
fn only_instance<'a>(lines: &'a [Line], line: &Line) -> Option<&'a str> {
    let of_it = lines.iter().filter(|one| one.application == line.application);
    let mut instances = of_it.filter_map(|one| one.instance.as_deref());
    instances.next().filter(|_| instances.next().is_none())
}

/// Without the state in which it ended, in which nothing is counted any more.
fn trimmed(line: &Line, report: &RotationReport) -> Line {
    let mut line = line.clone();
    if report.is_over() && line.intervals.len() > 1 {
        line.intervals.pop();
    }
    line
}

fn left_out(page: &mut String, report: &RotationReport, lines: &[Line]) {
    let mut remarks = Vec::new();
    if lines.len() > MOST_LINES {
        remarks.push(format!(
            "{} more are in --format json",
            number((lines.len() - MOST_LINES) as u64)
        ));
    }
    let most = report.uses.iter().map(keyswap_admin::rotation::Uses::live).max().unwrap_or(0);
    if most > keyswap_admin::rotation::Uses::MOST as u64 {
        remarks.push(format!(
            "of more than {} instances at once, the history keeps what each application did",
            keyswap_admin::rotation::Uses::MOST
        ));
    }
    let applications =
        report.uses.iter().map(|uses| uses.applications_left_out).max().unwrap_or_default();
    if applications > 0 {
        remarks.push(format!("{} are not on record", count(applications, "further application")));
    }
    for remark in remarks {
        let _ = writeln!(page, "<p class=\"quiet small\">{}</p>", sentence(&remark));
    }
}

fn on_record(page: &mut String, report: &RotationReport, whole: &Result<(), String>) {
    let (first, last) = report.records;
    let _ = write!(
        page,
        "<footer>\n<p>From records {first} to {last} of the history, the last of which has the hash <code>{}</code>. ",
        Escaped(&report.head.hash)
    );
    let _ = match whole {
        Ok(()) => write!(
            page,
            "Each record holds the hash of the one before: all are as they were written, to the end that the store \
             and the journal know of."
        ),
        Err(reason) => {
            write!(page, "<span class=\"bad\">{}</span>", Escaped(sentence(reason)))
        }
    };
    let _ = write!(
        page,
        "</p>\n<p>Written by keyswap {} at {}. Secrets are named by their ids alone.</p>\n</footer>\n",
        env!("CARGO_PKG_VERSION"),
        report.at
    );
}
