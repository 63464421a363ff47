//! `keyswap rotate`, and what takes its journal up: `resume`, `retire`, `rollback`.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, PoisonError};

use keyswap_admin::rotation::{Missing, Record, StuckReason, WayBack};
use keyswap_admin::{Authority, Finished, Progress, RotateError, RotateErrorKind, Rotator, Status};
use keyswap_store::{FileStore, SecretStore};

use super::open_store;
use crate::arguments::{Asked, Begin, Retire, Rollback, Rotate};
use crate::authority::ConfiguredAuthority;
use crate::configuration::Configuration;
use crate::exit::Failure;
use crate::presenter;

pub(crate) async fn rotate(options: Begin) -> Result<(), Failure> {
    let hold = options.hold_at.is_some();
    with_rotator(options.rotate, Some(options.asked), async |rotator, configuration, window| {
        let policy = configuration.rotation_policy(window).hold_at_drained(hold);
        rotator.run(policy).await
    })
    .await
}

pub(crate) async fn resume(options: Rotate) -> Result<(), Failure> {
    with_rotator(options, None, async |rotator, configuration, _| {
        rotator.resume(Some(configuration.applications())).await
    })
    .await
}

pub(crate) async fn retire(options: Retire) -> Result<(), Failure> {
    with_rotator(options.rotate, Some(options.asked), async |rotator, configuration, _| {
        rotator.retire(Some(configuration.applications())).await
    })
    .await
}

/// Says what it will do before anything is done, and asks where there is somebody to ask.
pub(crate) async fn rollback(options: Rollback) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.rotate.configured.config)?;
    let store = open_store(&configuration)?;
    if let Some(record) = Status::read(&store).await.map_err(failure)?.record
        && matches!(record.way_back(), WayBack::Withdraw | WayBack::SetBack | WayBack::UnderWay)
    {
        if !options.rotate.json {
            let way = record.way_back();
            eprintln!("client {}, state {}: {way}", record.client, record.state);
        }
        let somebody = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if somebody && !options.yes && !agreed(&record).await {
            return Err(Failure::failed("nothing was changed; the rotation is as it was"));
        }
    }
    let despite = options.despite_hold_of;
    with_rotator_despite(
        options.rotate,
        Some(options.asked),
        despite,
        async |rotator, configuration, _| {
            rotator.rollback(Some(configuration.applications())).await
        },
    )
    .await
}

/// Whether the person at the terminal wants that.
async fn agreed(record: &Record) -> bool {
    eprint!("roll back the rotation of client {}? [y/N] ", record.client);
    let _ = std::io::stderr().flush();
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    matches!(answer.await, Ok(Ok(answer)) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

async fn with_rotator(
    options: Rotate,
    asked: Option<Asked>,
    act: impl AsyncFnOnce(
        &Rotator<ConfiguredAuthority, FileStore>,
        &Configuration,
        std::time::Duration,
    ) -> Result<Finished, RotateError>,
) -> Result<(), Failure> {
    with_rotator_despite(options, asked, None, act).await
}

async fn with_rotator_despite(
    options: Rotate,
    asked: Option<Asked>,
    despite_hold_of: Option<String>,
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
        if options.step && matches!(progress, Progress::Entered { .. } | Progress::TakenUp { .. }) {
            // Nothing else goes on in this process meanwhile. It also goes on when nobody is there any more.
            let _ = std::io::stdin().read_line(&mut String::new());
        }
    });
    if let Some(patience) = options.patience.or(configuration.policy.patience) {
        rotator = rotator.patience(patience);
    }
    let Asked { by, reason } = asked.unwrap_or(Asked { by: None, reason: None });
    if let Some(by) = by {
        rotator = rotator.asked_by(by);
    }
    if let Some(reason) = reason {
        rotator = rotator.reason(reason);
    }
    if let Some(person) = despite_hold_of {
        rotator = rotator.despite_hold_of(person);
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
            Err(failure(error))
        }
    }
}

fn failure(error: RotateError) -> Failure {
    let way_out = way_out(error.kind());
    Failure::from(error).followed_by(&way_out)
}

/// The command that leads on.
fn way_out(kind: &RotateErrorKind) -> String {
    match kind {
        RotateErrorKind::Unfinished => " with `keyswap resume`",
        RotateErrorKind::Waiting(missing) if !missing.is_empty() => ": `keyswap resume`",
        RotateErrorKind::AwaitsConfirmation(missing) => {
            let first = missing.iter().find_map(|one| match one {
                Missing::Confirmation { application, .. } => Some(application.as_str()),
                _ => None,
            });
            let application = first.unwrap_or("APPLICATION");
            return format!(
                ": `keyswap confirm {application} --reason TEXT`, and then `keyswap resume`"
            );
        }
        RotateErrorKind::Held(_) => ": `keyswap hold --release` ends the hold",
        RotateErrorKind::AwaitsRetirement => ": `keyswap retire` or `keyswap rollback`",
        RotateErrorKind::NotDrained => ". Go on with `keyswap resume`",
        RotateErrorKind::NoWayBack(WayBack::TooLate) => {
            ". The commands are `keyswap resume` and `keyswap rotate`"
        }
        RotateErrorKind::JournalUnreadable => ". Then go on with `keyswap resume`",
        RotateErrorKind::NoWayBack(WayBack::Done) => ". The command is `keyswap rotate`",
        RotateErrorKind::OutcomeUnknown
        | RotateErrorKind::Stuck(StuckReason::ForeignList)
        | RotateErrorKind::NoWayBack(WayBack::ForeignList) => ". The command is `keyswap resume`",
        RotateErrorKind::Stuck(_) => {
            ". The commands are `keyswap resume` and, as long as programs hold both secrets, \
             `keyswap rollback`"
        }
        _ => "",
    }
    .to_owned()
}
