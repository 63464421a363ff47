//! `keyswap hold`: a person's "not now".

use keyswap_admin::rotation::Timestamp;
use keyswap_admin::{hold, release_hold};
use keyswap_store::SecretStore;

use super::open_store;
use crate::arguments::Hold;
use crate::configuration::{Configuration, OfClient};
use crate::exit::Failure;

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
