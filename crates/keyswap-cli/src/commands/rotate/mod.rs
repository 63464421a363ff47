//! `keyswap rotate`: a rotation from its beginning. What is decided and asked before stands here, and what makes it go on
//! is [`rotating`](crate::rotating).

mod age;
mod gap;

use std::time::Duration;

use clap::Args;
use keyswap_admin::Fingerprint;
use keyswap_admin::authority::SlotId;
use keyswap_admin::rotation::ChangeWindows;

use self::age::older_than;
use self::gap::tell_what_fails;
use super::plan::{self, How};
use crate::arguments::{self, Asked, HoldAt, Hurry, Rotating, fingerprint, said, windows};
use crate::configuration::Configuration;
use crate::exit::Failure;
use crate::interruption::Stop;
use crate::question::{agreed, is_somebody_there};
use crate::rotating::{Wanted, Which, tell_who_may_break, with_rotator};

#[derive(Args, Debug)]
pub(crate) struct Rotate {
    #[command(flatten)]
    rotating: Rotating,
    #[command(flatten)]
    asked: Asked,
    /// Stop with exit code 3 in this state, for a person to go on with `keyswap retire`
    #[arg(long, value_enum, value_name = "STATE", conflicts_with = "compromised")]
    hold_at: Option<HoldAt>,
    /// At a server that holds one secret and chooses its value itself: accept that token requests fail from
    /// its change on until programs have taken up the new value; needs a reason
    #[arg(long, requires = "reason")]
    accept_gap: bool,
    /// At a server that has as many secrets as it can: this one goes first, by the name that the server gives
    /// it; needs a reason
    #[arg(long, value_name = "NAME", requires = "reason", conflicts_with = "all", value_parser = said)]
    remove: Option<String>,
    /// Rotate only if what this plan rests on is as it was when `keyswap plan` named it; says what has moved
    #[arg(long, value_name = "HASH", value_parser = fingerprint, conflicts_with = "all")]
    plan: Option<Fingerprint>,
    /// Rotate only if the present secret is older, as the journal or the history tells: 90d, 12w, 36h. A younger
    /// one ends it with exit code 0; one of which nothing tells counts as older
    #[arg(long, value_name = "AGE", value_parser = arguments::age)]
    if_older_than: Option<Duration>,
    /// Change something at the server only in these times: "Sat 02:00-04:00 Europe/Berlin", "daily 22:00-02:00",
    /// several with a `;` between them; without a zone in UTC (default: `window` of the configuration, or at any
    /// time). What comes before the change is done at once
    #[arg(long, value_name = "WINDOW", value_parser = windows, conflicts_with = "compromised")]
    window: Option<ChangeWindows>,
    #[command(flatten)]
    hurry: Hurry,
}

pub(crate) async fn run(mut options: Rotate, stop: Stop) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.rotating.configured.config)?;
    if let Some(limit) = options.if_older_than {
        configuration.check_filled_in()?;
        let clients = configuration.chosen(&options.rotating.chosen)?;
        options.rotating.chosen.clients = older_than(limit, &clients, options.rotating.json).await;
        options.rotating.chosen.all = false;
        if options.rotating.chosen.clients.is_empty() {
            return Ok(());
        }
    }
    let how = How {
        hold: options.hold_at.is_some(),
        remove: options.remove.clone().map(SlotId::new),
        compromised: options.hurry.patience(),
        window: options.window.clone(),
        patience: options.rotating.patience,
    };
    show_plan(&configuration, &options, &how).await?;
    if options.accept_gap {
        tell_what_fails(&configuration, &options).await?;
    }
    tell_who_may_break(&configuration, &options.rotating, &options.hurry, Which::Chosen).await?;
    let yes = options.hurry.yes;
    let remove = options.remove.as_ref();
    let question = remove.map(|name| format!("remove the secret {name} at the server?"));
    if let Some(question) = question.filter(|_| !yes && is_somebody_there()) {
        agreed(&question).await?;
    }
    let (remove, planned) = (how.remove.clone(), options.plan);
    let accepts_gap = options.accept_gap;
    let wanted = Wanted { remove, planned, accepts_gap, ..Wanted::from(options.asked) };
    let wanted = wanted.hurried(options.hurry);
    let whom = (Which::Chosen, stop);
    with_rotator(
        &configuration,
        &options.rotating,
        &wanted,
        whom,
        async |rotator, client, window| rotator.run(how.policy(client, window)).await,
    )
    .await
}

/// Where there is somebody to ask: shows what will be done, and asks whether to begin. Who names a plan has seen it,
/// and what is asked for beside it is asked about by itself.
async fn show_plan(
    configuration: &Configuration,
    options: &Rotate,
    how: &How,
) -> Result<(), Failure> {
    let clients = configuration.chosen(&options.rotating.chosen)?;
    if options.plan.is_some() && clients.len() > 1 {
        return Err(Failure::usage(
            "a plan is one of one client: name that with --client, without another one",
        ));
    }
    let asks = options.plan.is_none() && !options.hurry.yes && !options.rotating.json;
    if !asks || !is_somebody_there() {
        return Ok(());
    }
    configuration.check_filled_in()?;
    let outlooks = plan::look(configuration, &clients, how).await;
    for outlook in &outlooks {
        eprintln!("{}", outlook.text());
    }
    // What does not begin says why by itself.
    let begins = outlooks.iter().any(plan::Outlook::begins);
    let asked_otherwise =
        options.accept_gap || options.hurry.compromised || options.remove.is_some();
    if begins && !asked_otherwise {
        agreed("begin?").await?;
    }
    Ok(())
}
