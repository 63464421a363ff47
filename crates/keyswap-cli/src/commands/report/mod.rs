//! `keyswap report`: what is on record of a rotation, as a page, a picture or JSON.

mod evidence;
mod page;
mod strips;
#[cfg(test)]
mod tests;
mod text;
mod timeline;

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use keyswap_admin::report::RotationReport;
use keyswap_admin::rotation::Timestamp;
use keyswap_admin::{Status, verify_history};
use keyswap_core::SecretId;
use keyswap_store::{SecretStore, StoreErrorKind};
use serde_json::json;

use crate::arguments::Configured;
use crate::configuration::Configuration;
use crate::exit::{Code, Failure};
use crate::store::open_store;

const EXAMPLES: &str = "\
Examples:
  keyswap report --out rotation.html
  keyswap report --rotation s-1f0c9a7e --out rotation.html
  keyswap report --format json | grep -o '\"negative_test\":{[^}]*}'

The page is one file: it loads nothing, needs no JavaScript, and holds no secret. It shows the states with their
times, who used which secret meanwhile, on what it rests that the old one was taken away, and who said what.
A rotation is named by the id of the secret that it brought, which `keyswap history` shows.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) configured: Configured,
    /// Of several clients in the configuration, this one
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// The rotation that brought this secret (default: the last one, also while it is under way)
    #[arg(long, value_name = "SECRET")]
    rotation: Option<SecretId>,
    /// What it is written as
    #[arg(long, value_enum, default_value_t = Format::Html)]
    format: Format,
    /// Write it to this file, in place of one that is there (default: standard output, if that is no terminal)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// A page for a browser
    Html,
    /// A picture of the states and their times alone
    Svg,
    /// All of it, for programs
    Json,
}

pub(crate) async fn run(options: Report) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    let client = match &options.client {
        Some(id) => configuration.client(id)?,
        None => configuration
            .only()
            .map_err(|failure| failure.followed_by(": choose one with --client ID"))?,
    };
    if options.out.is_none() && options.format != Format::Json && std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "this is not for a terminal to show: name a file with --out, or send it on",
        ));
    }
    let store = open_store(&client)?;
    let changed = |message: String| Failure::new(Code::Person, message);
    // The status last: it is not behind the history then.
    let history = store.history().await.map_err(|error| match error.kind() {
        StoreErrorKind::Invalid => changed(error.to_string()),
        _ => error.into(),
    })?;
    let whole = verify_history(&store).await.map(drop).map_err(|error| error.to_string());
    let status = Status::read(&store).await?;
    let (present, wanted) = ((status.record.as_ref(), &status.instances[..]), &options.rotation);
    let report = RotationReport::of(&history, present, wanted.as_ref(), Timestamp::now())
        .map_err(|error| Failure::failed(format!("client {}: {error}", client.id())))?;
    let text = match options.format {
        Format::Html => page::page(&report, &whole),
        Format::Svg => timeline::svg(&report),
        Format::Json => {
            let mut value = json!(report);
            value["over_time"] = json!(report.over_time());
            value["sums"] = json!(report.sums());
            value["whole"] = json!(whole.is_ok());
            format!("{value}\n")
        }
    };
    match &options.out {
        Some(path) => write(path, &text),
        None => print(&text),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        let way_out = match error.kind() {
            ErrorKind::NotFound => "; make its directory first",
            ErrorKind::IsADirectory => "; name a file in it",
            _ => "",
        };
        Failure::failed(format!("{} cannot be written: {error}{way_out}", path.display()))
    })
}

/// Whoever reads it may stop reading.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}
