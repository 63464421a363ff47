//! `keyswap status`: where the rotation stands, and what the instances hold.

use std::time::Duration;

use clap::Args;
use keyswap_admin::rotation::{Direction, Record, Timestamp};
use keyswap_admin::several;
use keyswap_core::{SecretId, SecretUsage};
use keyswap_store::{HistoryEntry, Hold, Instance, SecretStore, StoreError};
use serde_json::{Value, json};

use crate::arguments::{Chosen, Configured};
use crate::configuration::{Configuration, OfClient};
use crate::exit::Failure;
use crate::fleet::{self, Alike, Concern, Row};
use crate::in_words::in_seconds;
use crate::outcomes::tell_each;
use crate::presenter::milliseconds;
use crate::store::open_store;
use crate::window::{self, speaks_utf8, window};

#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    chosen: Chosen,
    /// Print one JSON object a client
    #[arg(long)]
    json: bool,
}

/// A secret that ends by itself in less than this should be rotated.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many stores are read at once: one that is away takes its time to say so.
const AT_ONCE: usize = 8;

pub(crate) async fn run(options: Status) -> Result<(), Failure> {
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
    let status = keyswap_admin::Status::read(&store).await?;
    let aws = store.is_in_step().await.map(in_aws);
    let (client, place, now) = (store.client(), store.describe(), Timestamp::now());
    let ages = ages(&store, &status).await;
    if json {
        let mut line = as_json(client, &place, &status, now);
        line["secrets"] =
            ages.iter().map(|age| json!({ "id": age.id, "since": age.since })).collect();
        if let Some(aws) = aws {
            line["aws"] = aws.into();
        }
        return Ok(format!("{line}\n"));
    }
    let mut text = summary(client, &place, &status, &ages, now);
    text.push_str(&instances(&status, now));
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
    Ok(format!("{}\n", window::broken(&text)))
}

/// What AWS Secrets Manager holds, beside what is published.
fn in_aws(in_step: Result<bool, StoreError>) -> String {
    match in_step {
        Ok(true) => "the labels are as published".to_owned(),
        Ok(false) => "the labels are not as published: the next publication moves them".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// A secret of the published list, and when the rotation began that brought it; `None` if that is not on record.
pub(super) struct Age {
    id: SecretId,
    pub(super) since: Option<Timestamp>,
}

impl Age {
    pub(super) fn new(id: SecretId, since: Option<Timestamp>) -> Self {
        Self { id, since }
    }

    fn in_words(&self, now: Timestamp) -> String {
        let Some(since) = self.since else { return format!("{} of unknown age", self.id) };
        format!("{} for {}", self.id, in_seconds(now.since(since)))
    }
}

/// Since when each secret of the published list is there.
pub(super) async fn ages<S: SecretStore>(store: &S, status: &keyswap_admin::Status) -> Vec<Age> {
    let Some(document) = &status.published else { return Vec::new() };
    let since = |id: &SecretId, history: &[HistoryEntry]| Some(status.brought_at(id, history)?.0);
    let mut ages: Vec<_> =
        document.list.ids().map(|id| Age::new(id.clone(), since(id, &[]))).collect();
    if ages.iter().any(|age| age.since.is_none()) {
        // One that cannot be read is for `keyswap history` to say.
        let history = store.history().await.unwrap_or_default();
        for age in ages.iter_mut().filter(|age| age.since.is_none()) {
            age.since = since(&age.id, &history);
        }
    }
    ages
}

/// Where the rotation stands: each line has a name in front.
pub(super) fn summary(
    client: &str,
    place: &str,
    status: &keyswap_admin::Status,
    ages: &[Age],
    now: Timestamp,
) -> String {
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
    if !ages.is_empty() {
        let ages: Vec<_> = ages.iter().map(|age| age.in_words(now)).collect();
        text.push_str(&format!("secrets   {}\n", ages.join(", ")));
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
    text
}

/// How many rows the instances have at most; `--json` has each.
const MOST_ROWS: usize = 40;

/// The instances, the worst first; of many, those that are alike in one row.
fn instances(status: &keyswap_admin::Status, now: Timestamp) -> String {
    if status.instances.is_empty() {
        return "instances none\n".to_owned();
    }
    let mut text = String::new();
    let rows = fleet::rows(status, MOST_ROWS);
    if rows.len() < status.instances.len() {
        let of_each = fleet::applications(status).into_iter();
        for (name, one) in of_each {
            let (live, ready) = (one.live, one.ready);
            text.push_str(&format!("instances {name}: {live} live, {ready} of them ready\n"));
        }
    }
    let header = ["instance", "live", "revision", "reported", "secrets: accepted / refused"];
    let rows = rows.iter().map(|one| match one {
        Row::One(_, instance) => row(instance, now),
        Row::Alike(alike) => row_of_alike(alike, now),
        Row::Rest(rest) => {
            let empty = String::new;
            [format!("and {rest} more: --json"), empty(), empty(), empty(), empty()]
        }
    });
    let rows: Vec<_> = rows.collect();
    text.push_str(&window::rows(&header, &rows, window(), speaks_utf8()));
    text
}

fn row_of_alike(alike: &Alike<'_>, now: Timestamp) -> [String; 5] {
    let live = if alike.concern == Concern::Gone { "no" } else { "yes" };
    let Some(application) = alike.application else {
        let unknown = || "?".to_owned();
        return [
            format!("{} instances", alike.count),
            live.to_owned(),
            unknown(),
            unknown(),
            "their reports cannot be read".to_owned(),
        ];
    };
    [
        format!("{application}: {} instances", alike.count),
        live.to_owned(),
        alike.revision.map_or("not read yet".to_owned(), |revision| revision.to_string()),
        format!("{} ago or less", in_seconds(now.since(alike.reported))),
        used(&alike.usage),
    ]
}

fn used(usage: &[SecretUsage]) -> String {
    let one =
        |secret: &SecretUsage| format!("{}: {} / {}", secret.id, secret.accepted, secret.refused);
    usage.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// When secrets of the published list end by themselves, as the server said when they were rotated last.
fn expiries(status: &keyswap_admin::Status) -> Vec<(SecretId, Timestamp)> {
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

fn hold_in_force(status: &keyswap_admin::Status, now: Timestamp) -> Option<&Hold> {
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
    in_seconds(now.since(record.since()))
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
                in_seconds(now.since(Timestamp::from_milliseconds(report.reported_at_ms)))
            ),
            report.usage.as_ref().map(|usage| used(&usage.secrets)).unwrap_or_default(),
        ],
    }
}

fn as_json(client: &str, place: &str, status: &keyswap_admin::Status, now: Timestamp) -> Value {
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
