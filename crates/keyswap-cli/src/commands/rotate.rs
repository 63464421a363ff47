//! `keyswap rotate` and `keyswap resume`.

use std::sync::{Arc, PoisonError};

use keyswap_admin::{Authority, Finished, RotateError, RotateErrorKind, Rotator};
use keyswap_store::{FileStore, SecretStore};

use super::open_store;
use crate::arguments::Rotate;
use crate::authority::ConfiguredAuthority;
use crate::configuration::Configuration;
use crate::exit::Failure;
use crate::presenter;

pub(crate) async fn rotate(options: Rotate) -> Result<(), Failure> {
    with_rotator(options, async |rotator, configuration, window| {
        rotator.run(configuration.rotation_policy(window)).await
    })
    .await
}

pub(crate) async fn resume(options: Rotate) -> Result<(), Failure> {
    with_rotator(options, async |rotator, configuration, _| {
        rotator.resume(Some(configuration.applications())).await
    })
    .await
}

async fn with_rotator(
    options: Rotate,
    act: impl AsyncFnOnce(
        &Rotator<ConfiguredAuthority, FileStore>,
        &Configuration,
        std::time::Duration,
    ) -> Result<Finished, RotateError>,
) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    configuration.check_filled_in()?;
    let store = open_store(&configuration)?;
    let authority = ConfiguredAuthority::new(&configuration)?;
    let window = authority.capabilities().propagation_window;
    let client = store.client().to_owned();
    let presenter = presenter::shared(options.json);
    let shown = Arc::clone(&presenter);
    let mut rotator = Rotator::new(authority, store).on_progress(move |progress| {
        shown.lock().unwrap_or_else(PoisonError::into_inner).show(&progress);
    });
    if let Some(patience) = options.patience.or(configuration.policy.patience) {
        rotator = rotator.patience(patience);
    }
    let finished = act(&rotator, &configuration, window).await;
    let presenter = presenter.lock().unwrap_or_else(PoisonError::into_inner);
    match finished {
        Ok(finished) => {
            presenter.finish(&client, &finished);
            Ok(())
        }
        Err(error) => {
            presenter.clear();
            let way_out = match error.kind() {
                RotateErrorKind::Unfinished => " with `keyswap resume`",
                RotateErrorKind::Waiting(missing) if !missing.is_empty() => ": `keyswap resume`",
                RotateErrorKind::OutcomeUnknown | RotateErrorKind::Stuck(_) => {
                    ". The command is `keyswap resume`"
                }
                _ => "",
            };
            let failure = Failure::from(error);
            Err(failure.followed_by(way_out))
        }
    }
}
