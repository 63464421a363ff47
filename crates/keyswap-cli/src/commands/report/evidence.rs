//! On what it rests that a secret was taken away, and what persons said.

use std::fmt::Write;
use std::time::Duration;

use keyswap_admin::report::{Outcome, RotationReport};
use keyswap_admin::rotation::{Asker, Attested, Direction, Unused, Wish};

use super::page::sentence;
use super::text::Escaped;
use crate::in_words::{count, lasted, number};

/// How many instances are named one by one.
const MOST_NAMED: usize = 100;

/// The two sections: the evidence, and the words of persons.
pub(super) fn evidence(page: &mut String, report: &RotationReport) {
    let (source, _) = report.source_and_target();
    let _ = write!(
        page,
        "<section>\n<h2>Why <code>{}</code> could be taken away</h2>\n<ul class=\"proof\">\n",
        Escaped(source)
    );
    attested(page, report);
    server(page, report);
    let account = &report.account;
    for one in &account.confirmations {
        let of = match &one.instance {
            None => format!(
                "{} confirmed for <span class=\"name\">{}</span>, which cannot report, that {}",
                name(&one.by),
                Escaped(&one.application),
                one.gate
            ),
            Some(instance) => format!(
                "{} said that <span class=\"name\">{}</span>/<code>{}</code> is not waited for, for it to report that {}",
                name(&one.by),
                Escaped(&one.application),
                Escaped(instance),
                one.gate
            ),
        };
        item(page, "word", &format!("{of} ({}): {}", one.at, said(&one.reason)));
    }
    for one in &account.left_out {
        item(
            page,
            "word",
            &format!("Left out at {}, at a person's word: {}", one.at, Escaped(&one.missing)),
        );
    }
    if let Some(compromised) = &account.compromised {
        item(
            page,
            "word",
            &format!(
                "The old secret was compromised: nobody was waited for after {}",
                compromised.deadline
            ),
        );
        for one in &compromised.broken {
            item(page, "word", &format!("Left behind at {}: {}", one.at, Escaped(&one.missing)));
        }
    }
    for gap in &account.gaps {
        let until = gap.until.map_or("now".to_owned(), |until| {
            format!("{until}, for {}", lasted(until.since(gap.from)))
        });
        item(
            page,
            "word",
            &format!(
                "Programs may have had no secret that the server takes from {} to {until}",
                gap.from
            ),
        );
    }
    for one in &account.readmitted {
        let id = Escaped(&one.secret);
        let text = format!(
            "The server was found at {} to hold <code>{id}</code>, which had been retired",
            one.at
        );
        item(page, "word", &text);
    }
    if let Some(removal) = &account.removed_first {
        let text = format!(
            "<code>{}</code> was removed at the server to make room",
            Escaped(&removal.slot)
        );
        item(page, "word", &text);
    }
    page.push_str("</ul>\n</section>\n");
    persons(page, report);
}

fn item(page: &mut String, class: &str, html: &str) {
    let _ = writeln!(page, "<li class=\"{class}\">{html}</li>");
}

fn name(by: &str) -> String {
    format!("<b class=\"name\">{}</b>", Escaped(by))
}

fn said(reason: &str) -> String {
    format!("<q class=\"name\">{}</q>", Escaped(reason))
}

fn attested(page: &mut String, report: &RotationReport) {
    let hurried =
        report.account.compromised.is_some() && report.account.direction == Direction::Forward;
    let Some(unused) = &report.account.unused else {
        let text = match report.outcome {
            Outcome::RolledBack => {
                "No instance attested anything: the server never had the secret that went, or nobody waited for that"
            }
            _ if hurried => {
                "No instance was asked to attest that it is unused: there was no time for a quiet period"
            }
            _ if report.is_over() => "Nothing is on record of what the instances attested",
            _ => "No instance has attested yet that it is unused",
        };
        return item(page, "no", text);
    };
    let _ = write!(
        page,
        "<li class=\"yes\">{} attested that <code>{}</code> was unused for {} or more: two reports that far apart, \
         with the same count, by an instance that held the list of revision {} or a later one",
        count(unused.instances.len() as u64, "instance"),
        Escaped(&unused.secret),
        lasted(Duration::from_millis(unused.quiet_ms)),
        unused.revision,
    );
    table(page, unused);
    page.push_str("</li>\n");
}

fn table(page: &mut String, unused: &Unused) {
    if unused.instances.is_empty() {
        return;
    }
    page.push_str(
        "<div class=\"rows\"><table>\n<tr><th>instance</th><th class=\"r\">uses in all</th><th class=\"r\">unused \
         for</th><th class=\"wide\">attested from</th><th class=\"wide\">to</th></tr>\n",
    );
    for one in unused.instances.iter().take(MOST_NAMED) {
        let Attested { application, instance, used, from, until, .. } = one;
        let _ = writeln!(
            page,
            "<tr><td><span class=\"name\">{}</span>/<code>{}</code></td><td class=\"r\">{}</td><td class=\"r\">{}\
             </td><td class=\"wide\">{from}</td><td class=\"wide\">{until}</td></tr>",
            Escaped(application),
            Escaped(instance),
            number(*used),
            lasted(until.since(*from)),
        );
    }
    page.push_str("</table></div>");
    if unused.instances.len() > MOST_NAMED {
        let more = (unused.instances.len() - MOST_NAMED) as u64;
        let _ = write!(
            page,
            "<p class=\"quiet small\">And {} more, which --format json has all.</p>",
            number(more)
        );
    }
}

fn server(page: &mut String, report: &RotationReport) {
    match &report.account.negative_test {
        Some(proof) => {
            let accepted = match proof.accepted_after {
                Some(after) => format!("accepted a request that was begun at {after} with"),
                None => "listed as in force".to_owned(),
            };
            item(
                page,
                "yes",
                &format!(
                    "The server {accepted} <code>{}</code>, and then, by {}, refused <code>{}</code>",
                    Escaped(&proof.accepted),
                    proof.refused_by,
                    Escaped(&proof.refused)
                ),
            );
        }
        None if report.is_over() => {
            item(page, "no", "Nothing is on record of what the server said before it went");
        }
        None => item(page, "no", "The server has not been asked yet whether it refuses it"),
    }
    if report.account.sends > 1 {
        let sends = number(u64::from(report.account.sends));
        item(
            page,
            "no",
            &format!("The change was sent {sends} times, each time with the same secret"),
        );
    }
}

fn persons(page: &mut String, report: &RotationReport) {
    let asked = &report.account.asked;
    if asked.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>Who asked for it</h2>\n<ul class=\"proof\">\n");
    for word in asked {
        let Asker { by, despite_hold_of, holder, reason } = &word.asker;
        let who = by.as_ref().map_or_else(
            || format!("Somebody (<span class=\"name\">{}</span>)", Escaped(holder)),
            |by| name(by),
        );
        let mut text = format!("{who} {} at {}", wish(word.wish), word.at);
        if let Some(other) = despite_hold_of {
            let _ = write!(text, ", despite the hold of {}", name(other));
        }
        if let Some(reason) = reason {
            let _ = write!(text, ": {}", said(reason));
        }
        item(page, "no", &text);
    }
    page.push_str("</ul>\n</section>\n");
}

fn wish(wish: Wish) -> String {
    match wish {
        Wish::Rotate => "asked for the rotation".to_owned(),
        Wish::RollBack => "asked to go back".to_owned(),
        Wish::Retire => "asked to retire the old secret".to_owned(),
        Wish::AcceptAGap => "accepted that requests fail on the way".to_owned(),
        Wish::Hurry => "said that the old secret is compromised".to_owned(),
        other => {
            let text = serde_json::to_value(other).ok();
            let text = text.as_ref().and_then(serde_json::Value::as_str).unwrap_or("something");
            sentence(text).trim_end_matches('.').replace('_', " ")
        }
    }
}
