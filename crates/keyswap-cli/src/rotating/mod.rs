//! What `rotate`, `resume`, `retire` and `rollback` have in common: the rotations of the chosen clients go on, and what
//! they do is shown.

mod hurry;
mod way_out;

use std::sync::Arc;
use std::time::Duration;

use keyswap_admin::authority::SlotId;
use keyswap_admin::rotation::Record;
use keyswap_admin::{
    Authority, Fingerprint, Finished, Progress, RotateError, Rotator, Status, several,
};
use keyswap_store::SecretStore;

pub(crate) use self::hurry::tell_who_may_break;
pub(crate) use self::way_out::{failure, way_out};
use crate::arguments::{Asked, Chosen, Hurry, Rotating};
use crate::authority::{self, ConfiguredAuthority};
use crate::configuration::{Configuration, OfClient};
use crate::exit::{Code, Failure};
use crate::interruption::Stop;
use crate::outcomes::together;
use crate::presenter::{Presenter, Shared, with};
use crate::store::{ConfiguredStore, open_store};

/// Whom a command means by all clients.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Which {
    /// Each of them.
    Chosen,
    /// Those with a rotation that has not come to its end.
    UnderWay,
}

impl Which {
    /// The clients that are chosen. Of all of them, those are left out that are not meant.
    pub(crate) async fn of<'a>(
        self,
        configuration: &'a Configuration,
        chosen: &Chosen,
    ) -> Result<Vec<OfClient<'a>>, Failure> {
        let clients = configuration.chosen(chosen)?;
        Ok(match self {
            Self::UnderWay if chosen.all => under_way(clients).await,
            _ => clients,
        })
    }
}

/// The clients whose rotation has not come to its end, and those of which that cannot be told.
async fn under_way<'a>(clients: Vec<OfClient<'a>>) -> Vec<OfClient<'a>> {
    let mut found = Vec::new();
    for client in clients {
        let Ok(store) = open_store(&client) else {
            found.push(client);
            continue;
        };
        match Status::read(&store).await {
            Ok(Status { record, .. }) if record.as_ref().is_none_or(Record::is_over) => {}
            _ => found.push(client),
        }
    }
    found
}

/// What the person who runs the command says beside what is to be done.
#[derive(Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) by: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) despite_hold_of: Option<String>,
    pub(crate) compromised: Option<Duration>,
    pub(crate) accepts_gap: bool,
    pub(crate) remove: Option<SlotId>,
    pub(crate) planned: Option<Fingerprint>,
}

impl Wanted {
    pub(crate) fn hurried(self, hurry: Hurry) -> Self {
        let compromised = hurry.patience();
        Self { despite_hold_of: hurry.despite_hold_of, compromised, ..self }
    }

    /// Tells a rotator.
    fn tell<A: Authority, S: SecretStore>(&self, mut rotator: Rotator<A, S>) -> Rotator<A, S> {
        let Self { by, reason, despite_hold_of, compromised, accepts_gap, remove, planned } =
            self.clone();
        if let Some(plan) = planned {
            rotator = rotator.as_planned(plan);
        }
        if let Some(slot) = remove {
            rotator = rotator.removing_first(slot);
        }
        if let Some(patience) = compromised {
            rotator = rotator.compromised(patience);
        }
        if let Some(by) = by {
            rotator = rotator.asked_by(by);
        }
        if let Some(reason) = reason {
            if accepts_gap {
                rotator = rotator.accept_gap(reason.as_str());
            }
            rotator = rotator.reason(reason);
        }
        if let Some(person) = despite_hold_of {
            rotator = rotator.despite_hold_of(person);
        }
        rotator
    }
}

impl From<Asked> for Wanted {
    fn from(Asked { by, reason }: Asked) -> Self {
        Self { by, reason, ..Self::default() }
    }
}

/// Does this for each client that is chosen, for some at once.
pub(crate) async fn with_rotator(
    configuration: &Configuration,
    options: &Rotating,
    wanted: &Wanted,
    (which, stop): (Which, Stop),
    act: impl AsyncFn(
        &Rotator<ConfiguredAuthority, ConfiguredStore>,
        &OfClient<'_>,
        Duration,
    ) -> Result<Finished, RotateError>,
) -> Result<(), Failure> {
    configuration.check_filled_in()?;
    let clients = which.of(configuration, &options.chosen).await?;
    if clients.is_empty() {
        return Err(Failure::failed("no client has a rotation that has not come to its end"));
    }
    clients.iter().try_for_each(OfClient::check_management)?;
    let server = authority::Shared::new(configuration).await?;
    stop.heeded();
    let step = options.step;
    let one = async |client: &OfClient<'_>, presenter: &Shared| {
        let store = open_store(client)?;
        let authority = server.authority(client)?;
        let window = authority.capabilities().propagation_window;
        let (shown, id) = (Arc::clone(presenter), client.id().to_owned());
        let rotator = Rotator::new(authority, store).stopping_when(stop.asked());
        let mut rotator = rotator.on_progress(move |progress| {
            with(&shown, |shown| shown.show(&id, &progress));
            if step && matches!(progress, Progress::Entered { .. } | Progress::TakenUp { .. }) {
                // Nothing else goes on in this process meanwhile. It also goes on when nobody is there any
                // more.
                let _ = std::io::stdin().read_line(&mut String::new());
            }
        });
        if let Some(patience) = options.patience.or(client.patience()) {
            rotator = rotator.patience(patience);
        }
        let rotator = wanted.tell(rotator);
        act(&rotator, client, window).await.map_err(failure)
    };
    let presenter = Presenter::new(options.json);
    if let [client] = clients.as_slice() {
        let presenter = presenter.shared();
        let finished = one(client, &presenter).await;
        return with(&presenter, |presenter| match finished {
            Ok(finished) => {
                presenter.finish(client.id(), &finished);
                Ok(())
            }
            Err(failure) => {
                presenter.clear();
                Err(failure)
            }
        });
    }
    let presenter = presenter.of_several(clients.len()).shared();
    let told = async |client: &OfClient<'_>| {
        let finished = one(client, &presenter).await;
        with(&presenter, |presenter| match &finished {
            Ok(finished) => presenter.finish(client.id(), finished),
            Err(failure) => presenter.fail(client.id(), failure),
        });
        finished.map(drop)
    };
    let stops = |failure: &Failure| {
        stop.is_asked() || options.stop_on_failure && failure.code() != Code::Waiting
    };
    let outcomes = several(options.at_once.into(), &clients, told, stops).await;
    with(&presenter, |presenter| presenter.clear());
    together(&clients, &outcomes, "did not come to their end")
}
