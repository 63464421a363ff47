//! `keyswap rollback`: takes a rotation back to where it began.

use clap::Args;
use keyswap_admin::Status;
use keyswap_admin::rotation::WayBack;

use crate::arguments::{Asked, Rotating};
use crate::configuration::Configuration;
use crate::exit::Failure;
use crate::interruption::Stop;
use crate::question::{agreed, is_somebody_there};
use crate::rotating::{Wanted, Which, failure, with_rotator};
use crate::store::open_store;

#[derive(Args, Debug)]
pub(crate) struct Rollback {
    #[command(flatten)]
    rotating: Rotating,
    #[command(flatten)]
    asked: Asked,
    /// Go back although this person put a hold on the rotations; needs a reason
    #[arg(long, value_name = "NAME", requires = "reason")]
    despite_hold_of: Option<String>,
    /// Do not ask; without a terminal nobody is asked
    #[arg(long)]
    yes: bool,
}

/// Says what it will do before anything is done, and asks where there is somebody to ask.
pub(crate) async fn run(options: Rollback, stop: Stop) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.rotating.configured.config)?;
    let mut records = Vec::new();
    for client in configuration.chosen(&options.rotating.chosen)? {
        // What cannot be read is told by the rollback itself, beside what comes of the others.
        let status = match open_store(&client) {
            Ok(store) => Status::read(&store).await.map_err(failure),
            Err(error) => Err(error),
        };
        if let Ok(Status { record: Some(record), .. }) = status
            && matches!(record.way_back(), WayBack::Withdraw | WayBack::SetBack | WayBack::UnderWay)
        {
            records.push(record);
        }
    }
    if !options.rotating.json {
        for record in &records {
            let way = record.way_back();
            eprintln!("client {}, state {}: {way}", record.client, record.state);
        }
    }
    let question = match records.as_slice() {
        [record] => format!("roll back the rotation of client {}?", record.client),
        records => format!("roll back the rotations of these {} clients?", records.len()),
    };
    let asks = is_somebody_there() && !options.yes && !records.is_empty();
    if asks {
        agreed(&question).await?;
    }
    let wanted = Wanted { despite_hold_of: options.despite_hold_of, ..options.asked.into() };
    with_rotator(
        &configuration,
        &options.rotating,
        &wanted,
        (Which::UnderWay, stop),
        async |rotator, client, _| rotator.rollback(Some(client.applications())).await,
    )
    .await
}
