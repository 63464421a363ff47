//! `keyswap hold`: a person's "not now".

use std::time::Duration;

use clap::Args;
use keyswap_admin::rotation::Timestamp;
use keyswap_admin::{hold, release_hold};
use keyswap_store::SecretStore;

use crate::arguments::{Chosen, Configured, duration, moment, said};
use crate::configuration::{Configuration, OfClient};
use crate::exit::Failure;
use crate::store::open_store;

#[derive(Args, Debug)]
pub(crate) struct Hold {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    chosen: Chosen,
    /// Why; whoever wants to rotate is told
    #[arg(long, value_name = "TEXT", value_parser = said, required_unless_present = "release")]
    reason: Option<String>,
    /// Who says so
    #[arg(long, env = "USER", value_name = "NAME", value_parser = said)]
    by: Option<String>,
    /// Until when: 2026-12-01T08:00:00Z, or with another offset
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "lasts")]
    until: Option<Timestamp>,
    /// For how long
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasts: Option<Duration>,
    /// Take the hold away
    #[arg(long, conflicts_with_all = ["reason", "until", "lasts"])]
    release: bool,
}

pub(crate) async fn run(options: Hold) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    for client in &configuration.chosen(&options.chosen)? {
        one(client, &options).await?;
    }
    Ok(())
}

async fn one(client: &OfClient<'_>, options: &Hold) -> Result<(), Failure> {
    let store = open_store(client)?;
    let client = store.client().to_owned();
    if options.release {
        let until_now = match release_hold(&store).await? {
            Some(hold) => format!("the hold of {} is released ({})", hold.by, hold.reason),
            None => "there is no hold any more".to_owned(),
        };
        println!("client {client}: {until_now}. Go on with `keyswap resume` or `keyswap rotate`");
        return Ok(());
    }
    let (Some(reason), Some(by)) = (&options.reason, &options.by) else {
        return Err(Failure::usage("a hold needs `--reason TEXT` and `--by NAME`"));
    };
    let now = Timestamp::now();
    let until = options.until.or(options.lasts.map(|time| now.after(time)));
    if until.is_some_and(|until| until <= now) {
        return Err(Failure::usage("--until is over already: give a time that is to come"));
    }
    let put = hold(&store, by, reason, until)
        .await
        .map_err(|error| Failure::from(error).followed_by("; `keyswap hold --release` ends it"))?;
    let until = match put.until_ms {
        Some(until) => format!("until {}", Timestamp::from_milliseconds(until)),
        None => "until `keyswap hold --release`".to_owned(),
    };
    println!(
        "client {client}: no rotation begins or goes on {until}. One that is under way stops before its \
         next act, with every secret kept"
    );
    Ok(())
}
