//! `keyswap confirm`: a person's word for an application that cannot report, or that one instance is not
//! waited for.

use clap::Args;
use keyswap_admin::{RotateErrorKind, Status};
use keyswap_store::SecretStore;

use crate::arguments::{Chosen, Configured, said};
use crate::configuration::{Configuration, OfClient};
use crate::exit::Failure;
use crate::nearest::hint;
use crate::question::{agrees, is_somebody_there};
use crate::store::open_store;

#[derive(Args, Debug)]
pub(crate) struct Confirm {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    chosen: Chosen,
    /// The application, which the configuration declares with `manual = true`; with --instance, any
    application: String,
    /// Do not wait for this instance, which `keyswap status` names, at the gate that the rotation stands
    /// before. It may lose access: it may not hold the secret that is set then, or still use the one that is
    /// taken away. No other instance is meant, and no other gate
    #[arg(long, value_name = "ID", value_parser = said)]
    instance: Option<String>,
    /// Do not ask; without a terminal nobody is asked
    #[arg(long, requires = "instance")]
    yes: bool,
    /// How you know; it is kept in the journal and the history
    #[arg(long, value_name = "TEXT", value_parser = said)]
    reason: String,
    /// Who says so
    #[arg(long, env = "USER", value_name = "NAME", value_parser = said)]
    by: String,
}

pub(crate) async fn run(options: Confirm) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    let several = configuration.chosen(&options.chosen)?;
    let application = &options.application;
    if let Some(instance) = &options.instance {
        return leave_out(&options, instance, &several).await;
    }
    let mut confirmed = 0;
    for client in &several {
        let store = open_store(client)?;
        let (applications, by) = (Some(client.applications()), &options.by);
        match keyswap_admin::confirm(&store, applications, application, by, &options.reason).await {
            Ok(gate) => {
                confirmed += 1;
                println!(
                    "client {}: {by} confirms for {application} that {gate}. Go on with `keyswap resume`",
                    store.client()
                );
            }
            // Of all clients, those are meant that wait for this application.
            Err(error)
                if options.chosen.all
                    && matches!(error.kind(), RotateErrorKind::NothingToConfirm) => {}
            Err(error) => {
                let undeclared = matches!(error.kind(), RotateErrorKind::NothingToConfirm);
                let hint = if undeclared { meant(application, &several) } else { String::new() };
                return Err(Failure::from(error).followed_by(&hint));
            }
        }
    }
    if confirmed == 0 {
        let hint = meant(application, &several);
        return Err(Failure::failed(format!(
            "no rotation of any client waits for a word for {application}; nothing was written{hint}"
        )));
    }
    Ok(())
}

/// Which of the declared applications may have been meant, if it is none of them.
fn meant(application: &str, several: &[OfClient<'_>]) -> String {
    let declared: Vec<_> = several.iter().flat_map(OfClient::applications).collect();
    match declared.iter().any(|one| one.name == application) {
        true => String::new(),
        false => hint(application, declared.iter().map(|one| one.name.as_str())),
    }
}

/// What may break is said before anything is written.
async fn leave_out(
    options: &Confirm,
    instance: &str,
    several: &[OfClient<'_>],
) -> Result<(), Failure> {
    // The name of an instance is random, so that it is one of one client.
    let [client] = several else {
        return Err(Failure::usage(
            "an instance is one of one client: name that with --client instead of --all",
        ));
    };
    let store = open_store(client)?;
    let (id, application, by) = (store.client(), &options.application, &options.by);
    let gate = Status::read(&store).await?.record.and_then(|record| record.gate_of_instances());
    if let Some(gate) = gate {
        eprintln!(
            "client {id}: the rotation will not wait until {application}/{instance} reports that {gate}. \
             {}.",
            sentence(gate.what_breaks())
        );
    }
    let question = format!("leave {application}/{instance} out?");
    if gate.is_some() && !options.yes && is_somebody_there() && !agrees(&question).await {
        return Err(Failure::failed("nothing was written; all is as it was"));
    }
    let meant = (application.as_str(), instance);
    let applications = Some(client.applications());
    let gate = keyswap_admin::leave_out(&store, applications, meant, by, &options.reason).await?;
    println!(
        "client {id}: {by} says that {application}/{instance} is not waited for, for it to report that \
         {gate}. Go on with `keyswap resume`"
    );
    Ok(())
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
