//! `keyswap resume`: goes on with a rotation that has not come to its end.

use clap::Args;

use crate::arguments::{Hurry, Rotating, said};
use crate::configuration::Configuration;
use crate::exit::Failure;
use crate::interruption::Stop;
use crate::rotating::{Wanted, Which, tell_who_may_break, with_rotator};

#[derive(Args, Debug)]
pub(crate) struct Resume {
    #[command(flatten)]
    rotating: Rotating,
    /// Why; only with --compromised
    #[arg(long, value_name = "TEXT", value_parser = said, requires = "compromised")]
    reason: Option<String>,
    /// Who says so
    #[arg(long, env = "USER", value_name = "NAME", value_parser = said)]
    by: Option<String>,
    #[command(flatten)]
    hurry: Hurry,
}

pub(crate) async fn run(options: Resume, stop: Stop) -> Result<(), Failure> {
    let Resume { rotating, reason, by, hurry } = options;
    let configuration = Configuration::load(&rotating.configured.config)?;
    // Of a compromised secret, that nothing was done about it is no success.
    if rotating.chosen.all && !hurry.compromised {
        configuration.check_filled_in()?;
        if Which::UnderWay.of(&configuration, &rotating.chosen).await?.is_empty() {
            eprintln!("no client has a rotation that has not come to its end: nothing to do");
            return Ok(());
        }
    }
    tell_who_may_break(&configuration, &rotating, &hurry, Which::UnderWay).await?;
    let wanted = Wanted { reason, by, ..Wanted::default() }.hurried(hurry);
    with_rotator(
        &configuration,
        &rotating,
        &wanted,
        (Which::UnderWay, stop),
        async |rotator, client, _| rotator.resume(Some(client.applications())).await,
    )
    .await
}
