//! `keyswap plan`: what `keyswap rotate` would do, step by step, without doing it.

mod json;
mod numbers;
mod text;

use std::time::Duration;

use clap::Args;
use keyswap_admin::authority::SlotId;
use keyswap_admin::rotation::ChangeWindows;
use keyswap_admin::{Planned, RotationPolicy, Rotator, several};

use super::verify::Looked;
use crate::arguments::{Chosen, Configured, HoldAt, duration, said, windows};
use crate::authority::{ConfiguredAuthority, Purpose, Shared};
use crate::configuration::{Configuration, OfClient};
use crate::exit::Failure;
use crate::outcomes::tell_each;
use crate::store::ConfiguredStore;

const EXAMPLES: &str = "\
Examples:
  keyswap plan
  keyswap plan --json | jq .plan.at_least_ms
  keyswap plan --client billing --window 'Sat 02:00-04:00 Europe/Berlin'

Nothing is changed, at the server or in the store; the server is asked for tokens. The requests are those that
`keyswap rotate` would send, with NEW-SECRET and PRESENT-SECRET where the secrets would be. What keeps a rotation from
beginning is what `keyswap verify` finds, and decides about the exit code as it does there.
The last line names the plan: `keyswap rotate --plan HASH` refuses if anything has moved that it rests on.";

/// How many clients are looked at at once.
const AT_ONCE: usize = 4;

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Plan {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    with: Given,
    /// Print one JSON object a client
    #[arg(long)]
    json: bool,
}

/// What can be said to `plan` as to `rotate`.
#[derive(Args, Debug)]
struct Given {
    /// As with `rotate --hold-at`
    #[arg(long, value_enum, value_name = "STATE", conflicts_with = "compromised")]
    hold_at: Option<HoldAt>,
    /// As with `rotate --remove`
    #[arg(long, value_name = "NAME", conflicts_with = "all", value_parser = said)]
    remove: Option<String>,
    /// As with `rotate --compromised`
    #[arg(long)]
    compromised: bool,
    /// As with `rotate --deadline`
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "compromised")]
    deadline: Option<Duration>,
    /// As with `rotate --window`
    #[arg(long, value_name = "WINDOW", value_parser = windows, conflicts_with = "compromised")]
    window: Option<ChangeWindows>,
    /// As with `rotate --patience`
    #[arg(long, value_parser = duration)]
    patience: Option<Duration>,
}

/// How a rotation is to be made, beside what is configured.
#[derive(Clone, Debug, Default)]
pub(super) struct How {
    pub(super) hold: bool,
    pub(super) remove: Option<SlotId>,
    pub(super) compromised: Option<Duration>,
    pub(super) window: Option<ChangeWindows>,
    pub(super) patience: Option<Duration>,
}

impl From<Given> for How {
    fn from(given: Given) -> Self {
        let Given { hold_at, remove, compromised, deadline, window, patience } = given;
        Self {
            hold: hold_at.is_some(),
            remove: remove.map(SlotId::new),
            compromised: compromised.then(|| deadline.unwrap_or(Duration::from_secs(60))),
            window,
            patience,
        }
    }
}

impl How {
    /// The policy of a rotation that begins.
    pub(super) fn policy(&self, client: &OfClient<'_>, window: Duration) -> RotationPolicy {
        let policy = client.rotation_policy(window).hold_at_drained(self.hold);
        match &self.window {
            Some(windows) => policy.change_windows(windows.clone()),
            None => policy,
        }
    }

    pub(super) fn patience(&self, client: &OfClient<'_>) -> Option<Duration> {
        self.patience.or(client.patience())
    }

    fn rotator(
        &self,
        client: &OfClient<'_>,
        rotator: Rotator<ConfiguredAuthority, ConfiguredStore>,
    ) -> Rotator<ConfiguredAuthority, ConfiguredStore> {
        let mut rotator = rotator;
        if let Some(patience) = self.patience(client) {
            rotator = rotator.patience(patience);
        }
        if let Some(patience) = self.compromised {
            rotator = rotator.compromised(patience);
        }
        match &self.remove {
            Some(slot) => rotator.removing_first(slot.clone()),
            None => rotator,
        }
    }
}

pub(crate) async fn run(options: Plan) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    configuration.check_filled_in()?;
    let clients = configuration.chosen(&options.chosen)?;
    let several = clients.len() > 1;
    let how = How::from(options.with);
    let width = crate::window::width();
    let mut outcomes = Vec::with_capacity(clients.len());
    for (position, outlook) in look(&configuration, &clients, &how).await.iter().enumerate() {
        match options.json {
            true => println!("{}", json::of(outlook)),
            false => {
                let between = if position > 0 { "\n" } else { "" };
                print!("{between}{}", text::of(outlook, several, width));
            }
        }
        outcomes.push(Some(outlook.looked.outcome().map(|()| String::new())));
    }
    tell_each(&clients, outcomes, "", "are not as a rotation needs them")
}

/// What a rotation of one client would do.
pub(super) struct Outlook {
    pub(super) client: String,
    pub(super) looked: Looked,
    /// `None` if the store or the server could not even be looked at.
    pub(super) planned: Option<Planned>,
    pub(super) numbers: Vec<numbers::Number>,
}

impl Outlook {
    /// Whether a rotation would begin.
    pub(super) fn begins(&self) -> bool {
        self.planned.as_ref().is_some_and(|planned| planned.outline.is_some())
    }

    /// The plan, as it is shown before a rotation begins.
    pub(super) fn text(&self) -> String {
        text::of(self, false, crate::window::width())
    }
}

/// Looks at each of these clients.
pub(super) async fn look(
    configuration: &Configuration,
    clients: &[OfClient<'_>],
    how: &How,
) -> Vec<Outlook> {
    let server = Shared::to(Purpose::Looks, configuration).await;
    let one = async |client: &OfClient<'_>| {
        let mut numbers = Vec::new();
        let plan = async |rotator: Rotator<_, _>, window, kind| {
            numbers = numbers::of(client, how, (window, kind));
            let planned = how.rotator(client, rotator).plan(&how.policy(client, window)).await;
            (planned.findings.clone(), Some(planned))
        };
        let (looked, planned) = Looked::with(client, server.as_ref(), plan).await;
        Ok::<_, Failure>(Outlook { client: client.id().to_owned(), looked, planned, numbers })
    };
    several(AT_ONCE, clients, one, |_| false).await.into_iter().flatten().flatten().collect()
}
