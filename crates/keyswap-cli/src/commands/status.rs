//! `keyswap status`: where the rotation stands, and what each instance holds.

use std::time::Duration;

use comfy_table::Table;
use keyswap_admin::rotation::{Direction, Record, Timestamp};
use keyswap_admin::{Status, several};
use keyswap_core::SecretId;
use keyswap_store::{Hold, Instance, SecretStore, StoreError};
use serde_json::{Value, json};

use super::open_store;
use super::rotate::tell_each;
use crate::arguments;
use crate::configuration::{Configuration, OfClient};
use crate::exit::Failure;
use crate::presenter::milliseconds;

/// A secret that ends by itself in less than this should be rotated.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many stores are read at once: one that is away takes its time to say so.
const AT_ONCE: usize = 8;

pub(crate) async fn run(options: arguments::Status) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    let clients = configuration.chosen(&options.chosen)?;
    let read = async |client: &OfClient<'_>| shown(client, options.json).await;
    let outcomes = several(AT_ONCE, &clients, read, |_| false).await;
    let between = if options.json { "" } else { "\n" };
    tell_each(&clients, outcomes, between, "cannot be read")
}

/// What is printed for one client.
async fn shown(configured: &OfClient<'_>, json: bool) -> Result<String, Failure> {
    let store = open_store(configured)?;
    let status = Status::read(&store).await?;
    let aws = store.is_in_step().await.map(in_aws);
    let (client, place, now) = (store.client(), store.describe(), Timestamp::now());
    if json {
        let mut line = as_json(client, &place, &status, now);
        if let Some(aws) = aws {
            line["aws"] = aws.into();
        }
        return Ok(format!("{line}\n"));
    }
    let mut text = as_text(client, &place, &status, now);
    if let Some(aws) = aws {
        text.push_str(&format!("aws       {aws}\n"));
    }
    if configured.configuration.store.identity().is_some() {
        let open = store.in_the_open().await?;
        let names: Vec<_> = open.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        if !names.is_empty() {
            text.push_str(&format!(
                "sealed    not yet: {}; the next write seals it, and `keyswap seal` does at once\n",
                names.join(", ")
            ));
        }
    }
    Ok(text)
}

/// What AWS Secrets Manager holds, beside what is published.
fn in_aws(in_step: Result<bool, StoreError>) -> String {
    match in_step {
        Ok(true) => "the labels are as published".to_owned(),
        Ok(false) => "the labels are not as published: the next publication moves them".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn as_text(client: &str, place: &str, status: &Status, now: Timestamp) -> String {
    let mut text = format!("client {client}, {place}\n");
    match &status.published {
        Some(document) => {
            text.push_str(&format!(
                "list      revision {}: {:?}\n",
                document.revision, document.list
            ));
        }
        None => {
            text.push_str("list      none yet: put the present secret in with `keyswap init`\n")
        }
    }
    for (id, at) in expiries(status) {
        text.push_str(&format!("expires   {id} at {at}, {}\n", until(at, now)));
    }
    match &status.record {
        None => text.push_str("rotation  none yet\n"),
        Some(record) => {
            let takes = if record.is_over() { "took" } else { "takes" };
            let back = match record.direction() {
                Direction::Forward => "",
                Direction::Back => " on the way back",
            };
            text.push_str(&format!(
                "rotation  {}{back} for {}: {} {takes} the place of {}\n",
                record.state,
                since(record, now),
                record.id(record.target()),
                record.id(record.source())
            ));
            for one in record.broken() {
                let may = if record.hurries() { "left behind" } else { "was left behind" };
                text.push_str(&format!("          {may} at {}: {}\n", one.at, one.missing));
            }
            if let Some(gap) = record.gaps().last().filter(|_| record.is_in_a_gap()) {
                let from = gap.from;
                text.push_str(&format!(
                    "          programs may be without a secret since {from}\n"
                ));
            }
            for one in &record.left_out_at_gates {
                text.push_str(&format!(
                    "          left out at {}, at a person's word: {}\n",
                    one.at, one.missing
                ));
            }
            for one in record.left_out() {
                text.push_str(&format!(
                    "          {}/{} is not waited for: {} said so, {}\n",
                    one.application,
                    one.instance.as_deref().unwrap_or_default(),
                    one.by,
                    one.reason
                ));
            }
            if let Some((_, reason)) = record.stuck {
                text.push_str(&format!("          {reason}\n"));
            } else if let Some(leads_on) = leads_on(record) {
                text.push_str(&format!("          {leads_on}\n"));
            }
        }
    }
    if let Some(hold) = hold_in_force(status, now) {
        let until = match hold.until_ms {
            Some(until) => format!("until {}", Timestamp::from_milliseconds(until)),
            None => "until `keyswap hold --release`".to_owned(),
        };
        text.push_str(&format!("hold      by {}, {until}: {}\n", hold.by, hold.reason));
    }
    if status.instances.is_empty() {
        text.push_str("instances none\n");
        return text;
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["instance", "live", "revision", "reported", "secrets: accepted / refused"]);
    for instance in &status.instances {
        table.add_row(row(instance, now));
    }
    text.push_str(&format!("{table}\n"));
    text
}

/// When secrets of the published list end by themselves, as the server said when they were rotated last.
fn expiries(status: &Status) -> Vec<(SecretId, Timestamp)> {
    let (Some(document), Some(record)) = (&status.published, &status.record) else {
        return Vec::new();
    };
    let of = |id: &SecretId| Some((id.clone(), record.expires(id)?));
    document.list.ids().filter_map(of).collect()
}

/// How much time is left until then, and what to do if that is little.
fn until(at: Timestamp, now: Timestamp) -> String {
    let left = at.since(now);
    match (left.is_zero(), left.as_secs() / (24 * 60 * 60)) {
        (true, _) => "which is over: rotate now".to_owned(),
        (false, days) if left < SOON => format!("in {days} days: rotate before that"),
        (false, days) => format!("in {days} days"),
    }
}

fn hold_in_force(status: &Status, now: Timestamp) -> Option<&Hold> {
    status.hold.as_ref().filter(|hold| hold.is_in_force(now.milliseconds()))
}

/// What a person can do now.
fn leads_on(record: &Record) -> Option<String> {
    if record.is_over() {
        return None;
    }
    let gate = record.gate().filter(|_| !record.hurries());
    let unconfirmed = gate.map(|gate| (gate, record.unconfirmed(gate)));
    Some(match unconfirmed {
        Some((gate, applications)) if !applications.is_empty() => format!(
            "say with `keyswap confirm APPLICATION --reason TEXT` that {gate}, for: {}; then go on with \
             `keyswap resume`",
            applications.join(", ")
        ),
        _ if record.holds_at_drained() => {
            "it holds: go on with `keyswap retire`, or back with `keyswap rollback`".to_owned()
        }
        _ => "go on with `keyswap resume`, if nobody is at it".to_owned(),
    })
}

fn since(record: &Record, now: Timestamp) -> String {
    in_words(now.since(record.since()))
}

/// In whole seconds.
fn in_words(duration: Duration) -> String {
    let seconds = Duration::from_secs(duration.as_secs());
    jiff::fmt::friendly::SpanPrinter::new().unsigned_duration_to_string(&seconds)
}

fn row(instance: &Instance, now: Timestamp) -> [String; 5] {
    let live = if instance.live { "yes" } else { "no" }.to_owned();
    match &instance.report {
        Err(reason) => {
            [instance.instance.clone(), live, "?".to_owned(), "?".to_owned(), reason.clone()]
        }
        Ok(report) => [
            format!("{}/{}", report.application, report.instance),
            live,
            report.revision.map_or("not read yet".to_owned(), |revision| revision.to_string()),
            // By the clock of the instance, which may be ahead.
            format!(
                "{} ago",
                in_words(now.since(Timestamp::from_milliseconds(report.reported_at_ms)))
            ),
            report
                .usage
                .iter()
                .flat_map(|usage| &usage.secrets)
                .map(|secret| format!("{}: {} / {}", secret.id, secret.accepted, secret.refused))
                .collect::<Vec<_>>()
                .join("\n"),
        ],
    }
}

fn as_json(client: &str, place: &str, status: &Status, now: Timestamp) -> Value {
    let rotation = status.record.as_ref().map(|record| {
        json!({
            "state": record.state,
            "for_ms": milliseconds(now.since(record.since())),
            "old": record.old.id(),
            "new": record.new.id(),
            "over": record.is_over(),
            "direction": record.direction(),
            "confirmations": record.confirmations,
            "left_out": record.left_out_at_gates,
            "compromised": record.compromised,
            "gaps": record.gaps(),
            "stuck": record.stuck.map(|(_, reason)| reason),
            "entered": record.entered,
        })
    });
    let list = status.published.as_ref().map(|document| {
        json!({ "revision": document.revision, "secrets": document.list.ids().collect::<Vec<_>>() })
    });
    let instances: Vec<_> = status
        .instances
        .iter()
        .map(|instance| {
            json!({
                "instance": instance.instance,
                "live": instance.live,
                "report": instance.report.as_ref().ok(),
                "unreadable": instance.report.as_ref().err(),
            })
        })
        .collect();
    let hold = hold_in_force(status, now);
    let expires: Vec<_> = expiries(status)
        .into_iter()
        .map(|(id, at)| json!({ "secret": id, "at_ms": at.milliseconds() }))
        .collect();
    json!({
        "client": client, "store": place, "list": list, "rotation": rotation, "hold": hold,
        "instances": instances, "expires": expires,
    })
}
