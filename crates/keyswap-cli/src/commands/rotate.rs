//! `keyswap rotate`, and what takes its journal up: `resume`, `retire`, `rollback`.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use keyswap_admin::authority::SlotId;
use keyswap_admin::rotation::{Missing, Record, StuckReason, WayBack};
use keyswap_admin::{
    Authority, Finished, Progress, RotateError, RotateErrorKind, Rotator, Status, several,
};

use super::open_store;
use crate::arguments::{Asked, Begin, Hurry, Resume, Retire, Rollback, Rotate};
use crate::authority::{self, ConfiguredAuthority};
use crate::configuration::{Configuration, OfClient};
use crate::exit::{Code, Failure};
use crate::presenter::{Presenter, Shared, with};
use crate::store::ConfiguredStore;

pub(crate) async fn rotate(options: Begin) -> Result<(), Failure> {
    let hold = options.hold_at.is_some();
    if options.accept_gap {
        tell_what_fails(&options).await?;
    }
    tell_who_may_break(&options.rotate, &options.hurry, Which::Chosen).await?;
    let yes = options.hurry.yes;
    let remove = options.remove.as_ref();
    let question = remove.map(|name| format!("remove the secret {name} at the server?"));
    if let Some(question) = question.filter(|_| !yes && is_somebody_there())
        && !agrees(&question).await
    {
        return Err(Failure::failed("nothing was changed; all is as it was"));
    }
    let remove = options.remove.map(SlotId::new);
    let wanted = Wanted { remove, accepts_gap: options.accept_gap, ..Wanted::from(options.asked) };
    let wanted = wanted.hurried(options.hurry);
    with_rotator(options.rotate, wanted, Which::Chosen, async |rotator, client, window| {
        let policy = client.rotation_policy(window).hold_at_drained(hold);
        rotator.run(policy).await
    })
    .await
}

/// Where the server chooses the value of the only secret that it holds: says what will fail and for how long,
/// before anything is done, and asks where there is somebody to ask.
async fn tell_what_fails(options: &Begin) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.rotate.configured.config)?;
    configuration.check_filled_in()?;
    let server = authority::Shared::new(&configuration).await?;
    let mut ids = Vec::new();
    for client in configuration.chosen(&options.rotate.chosen)? {
        let capabilities = server.authority(&client)?.capabilities();
        // The rotation itself refuses to accept a gap that there is not, and tells what cannot be read.
        let Ok(store) = open_store(&client) else { continue };
        let Ok(status) = Status::read(&store).await else { continue };
        if !capabilities.has_gap() {
            continue;
        }
        let id = client.id();
        ids.push(id);
        if options.rotate.json {
            continue;
        }
        eprintln!(
            "client {id}: {capabilities} chooses the new secret, and refuses the old one from then on. Every \
             token request of a program fails until that program has taken up the new list, which is published \
             as soon as the server has said the secret: about a second with a program that follows the store \
             with a keyswap layer, and as long as it is left alone with any other. If the server's answer is \
             lost, it takes as long as it takes to ask again. There is no way back. Access tokens that programs \
             hold stay as they are."
        );
        for one in status.not_ready(&client.applications()) {
            eprintln!("client {id}: not ready now: {one}");
        }
    }
    let question = format!("change the secret of {} with that gap?", ids.join(", "));
    // A compromised secret is asked about once, with what that means.
    let asks = !options.hurry.compromised && !options.hurry.yes && !ids.is_empty();
    if asks && is_somebody_there() && !agrees(&question).await {
        return Err(Failure::failed("nothing was changed; all is as it was"));
    }
    Ok(())
}

pub(crate) async fn resume(options: Resume) -> Result<(), Failure> {
    let Resume { rotate, reason, by, hurry } = options;
    tell_who_may_break(&rotate, &hurry, Which::UnderWay).await?;
    let wanted = Wanted { reason, by, ..Wanted::default() }.hurried(hurry);
    with_rotator(rotate, wanted, Which::UnderWay, async |rotator, client, _| {
        rotator.resume(Some(client.applications())).await
    })
    .await
}

/// With a compromised secret: says who is not ready now, before anything is done, and asks where there is
/// somebody to ask.
async fn tell_who_may_break(options: &Rotate, hurry: &Hurry, which: Which) -> Result<(), Failure> {
    let Some(patience) = hurry.patience() else { return Ok(()) };
    let configuration = Configuration::load(&options.configured.config)?;
    let mut clients = configuration.chosen(&options.chosen)?;
    if options.chosen.all && which == Which::UnderWay {
        clients = under_way(clients).await;
    }
    let patience = jiff::fmt::friendly::SpanPrinter::new().unsigned_duration_to_string(&patience);
    let mut ids = Vec::new();
    for client in &clients {
        // What cannot be read is told by the rotation itself.
        let Ok(store) = open_store(client) else { continue };
        let Ok(status) = Status::read(&store).await else { continue };
        ids.push(client.id());
        if options.json {
            continue;
        }
        let id = client.id();
        eprintln!(
            "client {id}: the old secret goes, at the latest when programs had {patience} to take up both. \
             Who does not hold the new one by then loses access."
        );
        let missing = status.not_ready(&client.applications());
        if missing.is_empty() {
            eprintln!("client {id}: every declared program is there and up to date");
        }
        for one in missing {
            eprintln!("client {id}: not ready now: {one}");
        }
    }
    let question = format!("take the old secret of {} out of force?", ids.join(", "));
    if !hurry.yes && is_somebody_there() && !ids.is_empty() && !agrees(&question).await {
        return Err(Failure::failed("nothing was changed; all is as it was"));
    }
    Ok(())
}

pub(crate) async fn retire(options: Retire) -> Result<(), Failure> {
    with_rotator(
        options.rotate,
        options.asked.into(),
        Which::UnderWay,
        async |rotator, client, _| rotator.retire(Some(client.applications())).await,
    )
    .await
}

/// Says what it will do before anything is done, and asks where there is somebody to ask.
pub(crate) async fn rollback(options: Rollback) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.rotate.configured.config)?;
    let mut records = Vec::new();
    for client in configuration.chosen(&options.rotate.chosen)? {
        // What cannot be read is told by the rollback itself, beside what comes of the others.
        let status = match open_store(&client) {
            Ok(store) => Status::read(&store).await.map_err(failure),
            Err(error) => Err(error),
        };
        if let Ok(Status { record: Some(record), .. }) = status
            && matches!(record.way_back(), WayBack::Withdraw | WayBack::SetBack | WayBack::UnderWay)
        {
            records.push(record);
        }
    }
    if !options.rotate.json {
        for record in &records {
            let way = record.way_back();
            eprintln!("client {}, state {}: {way}", record.client, record.state);
        }
    }
    let question = match records.as_slice() {
        [record] => format!("roll back the rotation of client {}?", record.client),
        records => format!("roll back the rotations of these {} clients?", records.len()),
    };
    let asks = is_somebody_there() && !options.yes && !records.is_empty();
    if asks && !agrees(&question).await {
        return Err(Failure::failed("nothing was changed; all is as it was"));
    }
    let wanted = Wanted { despite_hold_of: options.despite_hold_of, ..options.asked.into() };
    with_rotator(options.rotate, wanted, Which::UnderWay, async |rotator, client, _| {
        rotator.rollback(Some(client.applications())).await
    })
    .await
}

pub(super) fn is_somebody_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Whether the person at the terminal wants that.
pub(super) async fn agrees(question: &str) -> bool {
    eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    matches!(answer.await, Ok(Ok(answer)) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Whom a command means by all clients.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Which {
    /// Each of them.
    Chosen,
    /// Those with a rotation that has not come to its end.
    UnderWay,
}

/// What the person who runs the command says beside what is to be done.
#[derive(Clone, Default)]
struct Wanted {
    by: Option<String>,
    reason: Option<String>,
    despite_hold_of: Option<String>,
    compromised: Option<Duration>,
    accepts_gap: bool,
    remove: Option<SlotId>,
}

impl Wanted {
    fn hurried(self, hurry: Hurry) -> Self {
        let compromised = hurry.patience();
        Self { despite_hold_of: hurry.despite_hold_of, compromised, ..self }
    }
}

impl From<Asked> for Wanted {
    fn from(Asked { by, reason }: Asked) -> Self {
        Self { by, reason, ..Self::default() }
    }
}

/// Does this for each client that is chosen, for some at once.
async fn with_rotator(
    options: Rotate,
    wanted: Wanted,
    which: Which,
    act: impl AsyncFn(
        &Rotator<ConfiguredAuthority, ConfiguredStore>,
        &OfClient<'_>,
        Duration,
    ) -> Result<Finished, RotateError>,
) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    configuration.check_filled_in()?;
    let mut clients = configuration.chosen(&options.chosen)?;
    if options.chosen.all && which == Which::UnderWay {
        clients = under_way(clients).await;
        if clients.is_empty() {
            return Err(Failure::failed("no client has a rotation that has not come to its end"));
        }
    }
    clients.iter().try_for_each(OfClient::check_management)?;
    let server = authority::Shared::new(&configuration).await?;
    let one = async |client: &OfClient<'_>, presenter: &Shared| {
        let store = open_store(client)?;
        let authority = server.authority(client)?;
        let window = authority.capabilities().propagation_window;
        let (shown, id) = (Arc::clone(presenter), client.id().to_owned());
        let mut rotator = Rotator::new(authority, store).on_progress(move |progress| {
            with(&shown, |shown| shown.show(&id, &progress));
            if options.step
                && matches!(progress, Progress::Entered { .. } | Progress::TakenUp { .. })
            {
                // Nothing else goes on in this process meanwhile. It also goes on when nobody is there any
                // more.
                let _ = std::io::stdin().read_line(&mut String::new());
            }
        });
        if let Some(patience) = options.patience.or(client.patience()) {
            rotator = rotator.patience(patience);
        }
        let Wanted { by, reason, despite_hold_of, compromised, accepts_gap, remove } =
            wanted.clone();
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
    let stops = |failure: &Failure| options.stop_on_failure && failure.code() != Code::Waiting;
    let outcomes = several(options.at_once.into(), &clients, told, stops).await;
    with(&presenter, |presenter| presenter.clear());
    together(&clients, &outcomes, "did not come to their end")
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

/// `None` is one that was not begun.
type Outcome = Option<Result<(), Failure>>;

/// Prints what was found out of each client, with `between` before each but the first. Of several, one that failed
/// hides none of the others; `failed` says what those did.
pub(super) fn tell_each(
    clients: &[OfClient<'_>],
    outcomes: Vec<Option<Result<String, Failure>>>,
    between: &str,
    failed: &str,
) -> Result<(), Failure> {
    let several = clients.len() > 1;
    let mut ends: Vec<Outcome> = Vec::with_capacity(outcomes.len());
    for (client, outcome) in clients.iter().zip(outcomes) {
        ends.push(outcome.map(|outcome| match outcome {
            Ok(text) => {
                let between = if ends.is_empty() { "" } else { between };
                print!("{between}{text}");
                Ok(())
            }
            Err(failure) => {
                if several {
                    eprintln!("{}: {failure}", client.id());
                }
                Err(failure)
            }
        }));
    }
    match ends.as_mut_slice() {
        [Some(one)] => std::mem::replace(one, Ok(())),
        _ => together(clients, &ends, failed),
    }
}

/// What came of several clients: the worst decides. `failed` says what those did that failed.
fn together(clients: &[OfClient<'_>], outcomes: &[Outcome], failed: &str) -> Result<(), Failure> {
    let failures = || outcomes.iter().flatten().filter_map(|outcome| outcome.as_ref().err());
    let Some(worst) = failures().map(Failure::code).max_by_key(|code| code.severity()) else {
        return Ok(());
    };
    let ids = |wanted: fn(&Outcome) -> bool| {
        let of = clients.iter().zip(outcomes).filter(|(_, outcome)| wanted(outcome));
        of.map(|(client, _)| client.id()).collect::<Vec<_>>().join(", ")
    };
    let mut message = format!(
        "{} of {} clients {failed}: {}",
        failures().count(),
        clients.len(),
        ids(|outcome| matches!(outcome, Some(Err(_))))
    );
    if outcomes.iter().any(Option::is_none) {
        message.push_str("; not begun after that: ");
        message.push_str(&ids(|outcome| outcome.is_none()));
    }
    message.push_str(". What each needs stands above");
    Err(Failure::new(worst, message))
}

fn failure(error: RotateError) -> Failure {
    let way_out = way_out(error.kind());
    Failure::from(error).followed_by(&way_out)
}

/// The command that leads on.
pub(super) fn way_out(kind: &RotateErrorKind) -> String {
    match kind {
        RotateErrorKind::GapNotAccepted => ": `keyswap rotate --accept-gap --reason TEXT`",
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
        RotateErrorKind::GoesBack => {
            ": `keyswap resume`, and then `keyswap rotate --compromised --reason TEXT`"
        }
        RotateErrorKind::NotDrained => ". Go on with `keyswap resume`",
        RotateErrorKind::NoWayBack(WayBack::TooLate) => {
            ". The commands are `keyswap resume` and `keyswap rotate`"
        }
        RotateErrorKind::JournalUnreadable => ". Then go on with `keyswap resume`",
        RotateErrorKind::NoWayBack(WayBack::Done) => ". The command is `keyswap rotate`",
        RotateErrorKind::OutcomeUnknown
        | RotateErrorKind::Stuck(
            StuckReason::ForeignList
            | StuckReason::RetiredSecretPublished
            | StuckReason::ValueUnknown,
        )
        | RotateErrorKind::NoWayBack(WayBack::ForeignList | WayBack::OldIsGone) => {
            ". The command is `keyswap resume`"
        }
        RotateErrorKind::Stuck(_) => {
            ". The commands are `keyswap resume` and, as long as programs hold both secrets, \
             `keyswap rollback`"
        }
        _ => "",
    }
    .to_owned()
}
