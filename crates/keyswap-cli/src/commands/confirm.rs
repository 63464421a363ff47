//! `keyswap confirm`: a person's word for an application that cannot report.

use keyswap_admin::RotateErrorKind;
use keyswap_store::SecretStore;

use super::open_store;
use crate::arguments::Confirm;
use crate::configuration::Configuration;
use crate::exit::Failure;

pub(crate) async fn run(options: Confirm) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    let several = configuration.chosen(&options.chosen)?;
    let application = &options.application;
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
            Err(error) => return Err(error.into()),
        }
    }
    if confirmed == 0 {
        return Err(Failure::failed(format!(
            "no rotation of any client waits for a word for {application}; nothing was written"
        )));
    }
    Ok(())
}
