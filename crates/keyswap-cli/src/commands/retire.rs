//! `keyswap retire`: retires the old secret of a rotation that stopped for a person before it.

use clap::Args;

use crate::arguments::{Asked, Rotating};
use crate::configuration::Configuration;
use crate::exit::Failure;
use crate::interruption::Stop;
use crate::rotating::{Which, with_rotator};

#[derive(Args, Debug)]
pub(crate) struct Retire {
    #[command(flatten)]
    rotating: Rotating,
    #[command(flatten)]
    asked: Asked,
}

pub(crate) async fn run(options: Retire, stop: Stop) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.rotating.configured.config)?;
    with_rotator(
        &configuration,
        &options.rotating,
        &options.asked.into(),
        (Which::UnderWay, stop),
        async |rotator, client, _| rotator.retire(Some(client.applications())).await,
    )
    .await
}
