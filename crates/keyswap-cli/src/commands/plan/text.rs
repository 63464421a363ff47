//! A plan for a person: pure text, for any width from 40 columns on.

use std::time::Duration;

use keyswap_admin::rotation::{Act, Gate, Which};
use keyswap_admin::{Declared, Level, Outline, PlannedStep};

use super::Outlook;
use super::json::named;
use super::numbers::{Number, name};
use crate::in_words::rounded;
use crate::window::paragraph;

/// The whole plan of a client, which is one of several.
pub(super) fn of(outlook: &Outlook, several: bool, width: usize) -> String {
    let mut text = Text { text: String::new(), width };
    text.line(0, &format!("client {}", outlook.client));
    for line in outlook.looked.lines().filter(|line| line.level != Level::Ok) {
        let word = if line.level == Level::Error { "error" } else { "warning" };
        text.line(0, &format!("{word}: {}: {}", line.subject, line.text));
    }
    let Some(planned) = &outlook.planned else { return text.text };
    text.heading("Programs");
    planned.applications.iter().for_each(|one| text.line(0, &program(one)));
    let Some(outline) = &planned.outline else {
        text.heading("Steps");
        text.line(0, "none: a rotation does not begin as this is");
        return text.text;
    };
    text.heading("Numbers");
    for Number { name, time, from } in &outlook.numbers {
        text.line(0, &format!("{name}: {} ({from})", rounded(*time)));
    }
    if let Some(windows) = &outline.policy.change_windows {
        text.line(0, &format!("window for changes at the server: {windows}"));
    }
    text.heading("Steps");
    for (position, step) in outline.steps.iter().enumerate() {
        let before = position.checked_sub(1).map(|before| &outline.steps[before]);
        write_step(&mut text, outline, (position + 1, step), before);
    }
    if let Some(stops) = &outline.stops {
        text.line(0, &format!("It stops here for a person: {stops}"));
    }
    text.heading("How long");
    text.line(0, &how_long(outline));
    text.heading("What may fail");
    for one in &outline.exposures {
        text.line(0, &format!("- {one}"));
    }
    if !outline.missing.is_empty() {
        text.line(0, "- who is waited for, as things are, stands above at each `warning`");
    }
    if outline.exposures.is_empty() && outline.missing.is_empty() {
        text.line(0, "no request, of programs that are declared and report");
    }
    text.heading("Nothing was changed. To do this, and nothing else");
    let client = if several { format!(" --client {}", outlook.client) } else { String::new() };
    text.line(0, &format!("keyswap rotate{client} --plan {}", outline.fingerprint));
    text.text
}

fn program(application: &Declared) -> String {
    let Declared { name, expected, manual, live, .. } = application;
    let mut held: Vec<(String, usize)> = Vec::new();
    for (_, revision) in live {
        let what = revision.map_or("no list".to_owned(), |one| format!("revision {one}"));
        match held.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += 1,
            None => held.push((what, 1)),
        }
    }
    let held: Vec<_> = held.iter().map(|(what, count)| format!("{count} with {what}")).collect();
    let held = if held.is_empty() { String::new() } else { format!(": {}", held.join(", ")) };
    match (manual, expected) {
        (true, _) => format!("{name}: it cannot report, and a person confirms for it"),
        (false, 0) => format!("{name}: not declared, and it reports{held}"),
        (false, _) => format!("{name}: {} of {expected} instances report{held}", live.len()),
    }
}

fn write_step(
    text: &mut Text,
    outline: &Outline,
    (number, step): (usize, &PlannedStep),
    before: Option<&PlannedStep>,
) {
    text.line(0, &format!("{number}. {}: {}", step.state, step.what));
    for (act, times, requests) in &step.acts {
        text.line(3, &format!("- {}{}", doing(outline, act, step.gate), often(act, *times)));
        for request in requests {
            text.line(5, &format!("{} {}", request.method, request.to));
            request.body.iter().for_each(|body| text.line(7, body));
        }
    }
    if step.lasts >= Duration::from_secs(1) || !step.waits.is_empty() {
        let waits: Vec<_> = step.waits.iter().map(|wait| format!("the {}", name(*wait))).collect();
        let of = if waits.is_empty() { String::new() } else { format!(": {}", waits.join(", ")) };
        text.line(3, &format!("takes {} at least{of}", rounded(step.lasts)));
    }
    let is_news = before.is_none_or(|before| before.way_back != step.way_back);
    if is_news {
        text.line(3, &format!("way back: {}", step.way_back));
    }
}

fn doing(outline: &Outline, act: &Act, gate: Option<Gate>) -> String {
    let secret = |which: &Which| named(outline, *which);
    match act {
        Act::Publish(ids) => {
            let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            format!("publish the list [{}]", ids.join(", "))
        }
        Act::Observe => match gate {
            Some(gate) => format!("wait until each instance reports that {gate}"),
            None => "look at the instances".to_owned(),
        },
        Act::Probe(which) => format!("prove {} by a token request", secret(which)),
        Act::ReadBack => "ask the server which secret it holds".to_owned(),
        Act::List => "ask the server which secrets it has".to_owned(),
        Act::Set(which) => format!("CHANGE at the server: set {}", secret(which)),
        Act::Add => "CHANGE at the server: add NEW".to_owned(),
        Act::Regenerate => "CHANGE at the server: have it choose NEW".to_owned(),
        Act::SetActive(slot, true) => format!("CHANGE at the server: activate {slot}"),
        Act::SetActive(slot, false) => format!("CHANGE at the server: deactivate {slot}"),
        Act::Remove(slot, _) => format!("CHANGE at the server: remove {slot}"),
        Act::Confirmation(application) => {
            format!("stop until somebody says so: keyswap confirm {application} --reason TEXT")
        }
        Act::Retirement => "stop until somebody says so: keyswap retire".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A gate is looked at again and again, as often as it takes.
fn often(act: &Act, times: u32) -> String {
    match act {
        Act::Probe(_) if times > 1 => format!(", {times} times"),
        _ => String::new(),
    }
}

fn how_long(outline: &Outline) -> String {
    let at_least = rounded(outline.at_least);
    let patience = rounded(outline.patience);
    let at_most = match outline.at_most {
        Some(at_most) => format!(
            "At most {}: no state lasts longer than the patience of {patience}; after that it ends with exit code \
             3, and `keyswap resume` goes on",
            rounded(at_most.max(outline.at_least))
        ),
        None => format!(
            "How long persons take is theirs; everything else waits for the patience of {patience} at most, and \
             ends with exit code 3 then"
        ),
    };
    format!(
        "At least {at_least}, if each program is ready at once and each answer takes no time. {at_most}. Not in \
         that: a request takes up to 30 s, and a server that asks to wait is waited for up to ten times, up to 6 \
         minutes each."
    )
}

struct Text {
    text: String,
    width: usize,
}

impl Text {
    fn heading(&mut self, heading: &str) {
        self.text.push('\n');
        self.line(0, &format!("{heading}:"));
    }

    fn line(&mut self, indent: usize, line: &str) {
        paragraph(&mut self.text, indent, line, self.width);
    }
}
