//! `keyswap confirm`: a person's word for an application that cannot report.

use keyswap_store::SecretStore;

use super::open_store;
use crate::arguments::Confirm;
use crate::configuration::Configuration;
use crate::exit::Failure;

pub(crate) async fn run(options: Confirm) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    let store = open_store(&configuration)?;
    let applications = Some(configuration.applications());
    let application = &options.application;
    let gate =
        keyswap_admin::confirm(&store, applications, application, &options.by, &options.reason)
            .await?;
    println!(
        "client {}: {} confirms for {application} that {gate}. Go on with `keyswap resume`",
        store.client(),
        options.by
    );
    Ok(())
}
