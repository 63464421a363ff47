//! `--accept-gap`: what fails where a server chooses the value of the only secret that it holds.

use keyswap_admin::authority::Capabilities;
use keyswap_admin::{Authority, Status};

use super::Rotate;
use crate::authority::Shared;
use crate::configuration::Configuration;
use crate::exit::Failure;
use crate::question::{agreed, is_somebody_there};
use crate::store::open_store;

/// Says what will fail and for how long, before anything is done, and asks where there is somebody to ask.
pub(super) async fn tell_what_fails(
    configuration: &Configuration,
    options: &Rotate,
) -> Result<(), Failure> {
    configuration.check_filled_in()?;
    let server = Shared::new(configuration).await?;
    let mut ids = Vec::new();
    for client in configuration.chosen(&options.rotating.chosen)? {
        let capabilities = server.authority(&client)?.capabilities();
        // The rotation itself refuses to accept a gap that there is not, and tells what cannot be read.
        let Ok(store) = open_store(&client) else { continue };
        let Ok(status) = Status::read(&store).await else { continue };
        if !capabilities.has_gap() {
            continue;
        }
        let id = client.id();
        ids.push(id);
        if options.rotating.json {
            continue;
        }
        eprintln!("{}", what_fails(id, &capabilities));
        for one in status.not_ready(&client.applications()) {
            eprintln!("client {id}: not ready now: {one}");
        }
    }
    let question = format!("change the secret of {} with that gap?", ids.join(", "));
    // A compromised secret is asked about once, with what that means.
    let asks = !options.hurry.compromised && !options.hurry.yes && !ids.is_empty();
    if asks && is_somebody_there() {
        agreed(&question).await?;
    }
    Ok(())
}

fn what_fails(id: &str, capabilities: &Capabilities) -> String {
    format!(
        "client {id}: {capabilities} chooses the new secret, and refuses the old one from then on. Every \
         token request of a program fails until that program has taken up the new list, which is published \
         as soon as the server has said the secret: about a second with a program that follows the store \
         with a keyswap layer, and as long as it is left alone with any other. If the server's answer is \
         lost, it takes as long as it takes to ask again. There is no way back. Access tokens that programs \
         hold stay as they are."
    )
}
