//! `keyswap history`: what was done, by whom and why, and whether the record of it is whole.

use clap::{Args, Subcommand};
use keyswap_admin::rotation::Timestamp;
use keyswap_admin::verify_history;
use keyswap_store::{HistoryEntry, SecretStore};
use serde_json::{Value, json};

use crate::arguments::{Chosen, Configured};
use crate::configuration::{Configuration, OfClient};
use crate::exit::{Code, Failure};
use crate::store::open_store;
use crate::window::{self, speaks_utf8, window};

#[derive(Args, Debug)]
pub(crate) struct History {
    #[command(subcommand)]
    act: Option<Act>,
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    chosen: Chosen,
    /// Print one JSON object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Print each record, oldest first
    Show,
    /// Check that every record is as it was written and none is missing; exit code 6 if not
    Verify,
}

pub(crate) async fn run(options: History) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    for client in &configuration.chosen(&options.chosen)? {
        match options.act {
            None | Some(Act::Show) => show(client, &options).await?,
            Some(Act::Verify) => verify(client, &options).await?,
        }
    }
    Ok(())
}

async fn show(client: &OfClient<'_>, options: &History) -> Result<(), Failure> {
    let store = open_store(client)?;
    let entries = store.history().await.map_err(|error| {
        let changed = *error.kind() == keyswap_store::StoreErrorKind::Invalid;
        if changed { Failure::new(Code::Person, error.to_string()) } else { error.into() }
    })?;
    if options.json {
        for entry in &entries {
            println!("{}", as_json(entry));
        }
        return Ok(());
    }
    let (client, place) = (store.client(), store.describe());
    let head = format!("client {client}, {place}: {} entries", entries.len());
    println!("{}", window::broken(&head));
    if entries.is_empty() {
        return Ok(());
    }
    let header = ["", "when", "state", "secrets", "what is on record"];
    let in_utf8 = speaks_utf8();
    let rows: Vec<_> = entries.iter().map(|entry| row(entry, in_utf8)).collect();
    print!("{}", window::rows(&header, &rows, window(), in_utf8));
    Ok(())
}

async fn verify(client: &OfClient<'_>, options: &History) -> Result<(), Failure> {
    let store = open_store(client)?;
    let entries = verify_history(&store).await?;
    let head = entries.last().map(|entry| &entry.head);
    if options.json {
        println!(
            "{}",
            json!({ "client": store.client(), "entries": entries.len(), "whole": true, "head": head })
        );
        return Ok(());
    }
    let end = head.map(|head| format!("; the last hash is {}", head.hash)).unwrap_or_default();
    let whole =
        format!("client {}: {} entries, all as written{end}", store.client(), entries.len());
    println!("{}", window::broken(&whole));
    Ok(())
}

fn as_json(entry: &HistoryEntry) -> Value {
    json!({ "number": entry.head.number, "hash": entry.head.hash, "record": entry.record })
}

fn row(entry: &HistoryEntry, in_utf8: bool) -> [String; 5] {
    let record = &entry.record;
    let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let secrets = match (record["old"].as_str(), record["new"].as_str()) {
        (Some(old), Some(new)) => format!("{old} {} {new}", if in_utf8 { "→" } else { "->" }),
        _ => String::new(),
    };
    let number = entry.head.number.to_string();
    [number, time(&record["at"]), text("state"), secrets, remarks(record).join("\n")]
}

/// What a person asked for, confirmed or has to know, and on what a rotation that is over rests.
fn remarks(record: &Value) -> Vec<String> {
    let mut remarks = Vec::new();
    for word in record["asked"].as_array().into_iter().flatten() {
        let asker = &word["asker"];
        let who = asker["by"].as_str().or(asker["holder"].as_str()).unwrap_or("somebody");
        let why = asker["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
        let wish = word["wish"].as_str().unwrap_or_default().replace('_', " ");
        remarks.push(format!("{who} asked to {wish}{why}"));
    }
    let confirmed = &record["confirmed"];
    if let (Some(by), Some(application)) =
        (confirmed["by"].as_str(), confirmed["application"].as_str())
    {
        let reason = confirmed["reason"].as_str().unwrap_or_default();
        remarks.push(format!("{by} confirmed for {application}: {reason}"));
    }
    if let Some(stuck) = record["stuck"].as_str() {
        remarks.push(format!("stuck: {}", stuck.replace('_', " ")));
    }
    let account = &record["account"];
    for gap in account["gaps"].as_array().into_iter().flatten() {
        let (from, until) = (time(&gap["from"]), time(&gap["until"]));
        remarks.push(format!("token requests may have failed from {from} to {until}"));
    }
    let unused = &account["unused"];
    if let Some(instances) = unused["instances"].as_array() {
        let secret = unused["secret"].as_str().unwrap_or_default();
        let seconds = unused["quiet_ms"].as_u64().unwrap_or(0) / 1000;
        remarks.push(format!(
            "{} instances attested that {secret} was unused for {seconds} s or more",
            instances.len()
        ));
        for row in instances.iter().take(MOST_NAMED) {
            let name = |column: usize| row[column].as_str().unwrap_or_default();
            remarks.push(format!(
                "  {}/{}: {} uses, reports {} to {}, {} to {}",
                name(0),
                name(1),
                row[2],
                row[4],
                row[6],
                time(&row[3]),
                time(&row[5])
            ));
        }
        if instances.len() > MOST_NAMED {
            remarks.push(format!("  and {} more: --json", instances.len() - MOST_NAMED));
        }
    }
    let proof = &account["negative_test"];
    if let (Some(accepted), Some(refused)) = (proof["accepted"].as_str(), proof["refused"].as_str())
    {
        remarks.push(format!(
            "the server accepted {accepted} and then, by {}, refused {refused}",
            time(&proof["refused_by"])
        ));
    }
    remarks
}

/// How many instances one record names for a person.
const MOST_NAMED: usize = 5;

fn time(milliseconds: &Value) -> String {
    let time = milliseconds.as_u64().map(Timestamp::from_milliseconds);
    time.map(|time| time.to_string()).unwrap_or_default()
}
