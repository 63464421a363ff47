//! `--compromised`: who may lose access when an old secret is to be dead soon.

use std::time::Duration;

use keyswap_admin::Status;
use keyswap_admin::rotation::Missing;

use super::Which;
use crate::arguments::{Hurry, Rotating};
use crate::configuration::Configuration;
use crate::exit::Failure;
use crate::in_words::exactly;
use crate::question::{agreed, is_somebody_there};
use crate::store::open_store;

/// With a compromised secret: says who is not ready now, before anything is done, and asks where there is
/// somebody to ask.
pub(crate) async fn tell_who_may_break(
    configuration: &Configuration,
    options: &Rotating,
    hurry: &Hurry,
    which: Which,
) -> Result<(), Failure> {
    let Some(patience) = hurry.patience() else { return Ok(()) };
    let clients = which.of(configuration, &options.chosen).await?;
    let mut ids = Vec::new();
    for client in &clients {
        // What cannot be read is told by the rotation itself.
        let Ok(store) = open_store(client) else { continue };
        let Ok(status) = Status::read(&store).await else { continue };
        ids.push(client.id());
        if options.json {
            continue;
        }
        let missing = status.not_ready(&client.applications());
        eprintln!("{}", who_may_break(client.id(), patience, &missing));
    }
    let question = format!("take the old secret of {} out of force?", ids.join(", "));
    if !hurry.yes && is_somebody_there() && !ids.is_empty() {
        agreed(&question).await?;
    }
    Ok(())
}

/// Lines without the end of the last one.
fn who_may_break(id: &str, patience: Duration, missing: &[Missing]) -> String {
    let patience = exactly(patience);
    let mut lines = vec![format!(
        "client {id}: the old secret goes, at the latest when programs had {patience} to take up both. \
         Who does not hold the new one by then loses access."
    )];
    if missing.is_empty() {
        lines.push(format!("client {id}: every declared program is there and up to date"));
    }
    lines.extend(missing.iter().map(|one| format!("client {id}: not ready now: {one}")));
    lines.join("\n")
}
