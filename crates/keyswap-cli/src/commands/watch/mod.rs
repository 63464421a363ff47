//! `keyswap watch`: a rotation while it happens, for a person at a terminal, or a line for each change.

mod changes;
mod metrics;
mod monitoring;
mod screen;

use std::collections::BTreeMap;
use std::io::{ErrorKind, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use console::Term;
use keyswap_admin::Status;
use keyswap_admin::rotation::{Missing, Quiet, State, Timestamp};
use keyswap_core::SecretId;
use keyswap_store::SecretStore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::changes::Seen;
use self::metrics::Look;
use self::monitoring::{Monitoring, Place};
use self::screen::{Paper, View, draw};
use super::status::{Age, ages};
use crate::arguments::{Chosen, Configured};
use crate::configuration::{Configuration, OfClient};
use crate::exit::{Code, Failure};
use crate::store::{ConfiguredStore, open_store};
use crate::window::shows_colours;

const EXAMPLES: &str = "\
Examples:
  keyswap watch
  keyswap watch --next --json | grep '\"event\":\"entered\"'
  keyswap watch --all --monitoring 127.0.0.1:9464

Nothing is changed, and no rotation waits for a watcher: Ctrl-C ends the watching alone. Without a terminal each change
is a line. It ends when the rotation is over, with exit code 0, or when a person has to look, with 6; at once if none is
under way, unless --next says to wait for one.

With --monitoring it goes on from one rotation to the next until it is stopped; docs/monitoring.md has the metrics.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) configured: Configured,
    #[command(flatten)]
    chosen: Chosen,
    /// If no rotation is under way, wait for the next one
    #[arg(long)]
    next: bool,
    /// Print one JSON object a line for each change
    #[arg(long)]
    json: bool,
    /// Serve /metrics and /healthz at this address, in clear text and to anybody, and watch until stopped
    #[arg(long, value_name = "ADDRESS")]
    monitoring: Option<SocketAddr>,
}

/// Between two looks; a store that takes its time is asked less often.
const LOOK: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// So many times as long as a look took is the pause behind it.
const PAUSE: u32 = 10;

pub(crate) async fn run(options: Watch) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    let clients = configuration.chosen(&options.chosen)?;
    if let Some(address) = options.monitoring {
        return watch_on(address, &clients, options.json).await;
    }
    let [client] = &clients[..] else {
        return Err(Failure::usage(
            "one client is watched at a time: choose it with --client ID, or serve metrics of all with --monitoring",
        ));
    };
    let store = open_store(client)?;
    let form = Form::of(options.json);
    tokio::select! {
        outcome = Watching::new(store, form).run(options.next) => outcome,
        () = crate::interruption() => Err(Failure::new(
            Code::Interrupted,
            "no longer watched. The rotation goes on by itself, if somebody is at it; `keyswap status` says where it \
             stands",
        )),
    }
}

/// Watches these clients from one rotation to the next, as a service does, and serves what it sees.
async fn watch_on(
    address: SocketAddr,
    clients: &[OfClient<'_>],
    json: bool,
) -> Result<(), Failure> {
    let monitoring = Monitoring::listen(address, clients.iter().map(|client| client.id())).await?;
    let mut watching = JoinSet::new();
    for (client, place) in clients.iter().zip(monitoring.places()) {
        let form = if json { Form::Json } else { Form::Plain };
        let mut one = Watching::new(open_store(client)?, form);
        one.several = clients.len() > 1;
        one.place = Some(place);
        watching.spawn(one.run(true));
    }
    let interruption = crate::interruption();
    monitoring.say(json);
    let ended = async {
        while let Some(ended) = watching.join_next().await {
            // Nobody reads the lines any more, which is no reason to serve no metrics.
            ended.unwrap_or(Ok(()))?;
        }
        std::future::pending().await
    };
    tokio::select! {
        ended = ended => ended,
        () = monitoring.serve(interruption) => Ok(()),
    }
}

/// How it is shown.
enum Form {
    /// A screen that is drawn anew, in place of the one before.
    Screen { term: Term, drawn: usize },
    /// A line for each change.
    Plain,
    /// An object for each change.
    Json,
}

impl Form {
    fn of(json: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match (json, std::io::stdout().is_terminal() && !dumb) {
            (true, _) => Self::Json,
            (false, true) => Self::Screen { term: Term::stdout(), drawn: 0 },
            (false, false) => Self::Plain,
        }
    }
}

/// Waits for the next look after one that began then.
async fn pause(begun: Instant) {
    tokio::time::sleep((begun.elapsed() * PAUSE).clamp(LOOK.0, LOOK.1)).await;
}

struct Watching {
    store: ConfiguredStore,
    form: Form,
    seen: Seen,
    quiet: Quiet,
    /// For whom the rotation waits, each since when that was seen.
    missing: Vec<(Missing, Timestamp)>,
    ages: Vec<Age>,
    /// For which secrets these are.
    aged: Option<(usize, Vec<SecretId>)>,
    /// Whether lines name the client.
    several: bool,
    /// Where each look is told to Prometheus. Then it ends only when it is stopped.
    place: Option<Place>,
}

impl Watching {
    fn new(store: ConfiguredStore, form: Form) -> Self {
        Self {
            store,
            form,
            seen: Seen::default(),
            quiet: Quiet::default(),
            missing: Vec::new(),
            ages: Vec::new(),
            aged: None,
            several: false,
            place: None,
        }
    }

    async fn run(mut self, next: bool) -> Result<(), Failure> {
        let mut awaits_one = next;
        let mut first = true;
        loop {
            let begun = Instant::now();
            match Status::read(&self.store).await {
                Ok(status) => {
                    self.take(&status).await;
                    if let Some(place) = &self.place {
                        let (client, missing) = (self.store.client(), self.missing.len());
                        let brought = self.ages.first().and_then(|age| age.since);
                        place.put(Look::of(client, &status, missing, brought, Timestamp::now()));
                        let _ = self.show(&status)?;
                        first = false;
                        pause(begun).await;
                        continue;
                    }
                    let over = status.record.as_ref().is_none_or(|record| record.is_over());
                    awaits_one &= over;
                    if !self.show(&status)? {
                        return Ok(());
                    }
                    let stuck = status.record.as_ref().filter(|one| one.state == State::Stuck);
                    if let Some((_, reason)) = stuck.and_then(|record| record.stuck) {
                        let client = self.store.client();
                        let message = format!("client {client}: a person has to look: {reason}");
                        return Err(Failure::new(Code::Person, message));
                    }
                    if over && !awaits_one {
                        return Ok(());
                    }
                }
                // Whoever watches for hours is not sent away by a store that is away for a moment.
                Err(error) if first && self.place.is_none() => return Err(error.into()),
                Err(error) => {
                    if let Some(place) = &self.place {
                        place.failed();
                    }
                    if let Some(line) = self.seen.failed(&error.to_string()) {
                        self.print(&[line])?;
                    }
                }
            }
            first = false;
            pause(begun).await;
        }
    }

    /// Takes in a look.
    async fn take(&mut self, status: &Status) {
        let now = Timestamp::now();
        let missing = status.waits_for(&mut self.quiet, now);
        let before = std::mem::take(&mut self.missing).into_iter();
        let before: BTreeMap<_, _> = before.map(|(one, since)| (one.who(), since)).collect();
        let since = |missing: &Missing| before.get(&missing.who()).copied().unwrap_or(now);
        self.missing = missing
            .into_iter()
            .map(|one| {
                let since = since(&one);
                (one, since)
            })
            .collect();
        let entered = status.record.as_ref().map_or(0, |record| record.entered.len());
        let secrets = status.published.iter().flat_map(|document| document.list.ids().cloned());
        let aged = Some((entered.min(1), secrets.collect()));
        if self.aged != aged {
            self.aged = aged;
            self.ages = ages(&self.store, status).await;
        }
    }

    /// Shows what is new; false when nobody reads it any more.
    fn show(&mut self, status: &Status) -> Result<bool, Failure> {
        let now = Timestamp::now();
        let place = self.store.describe();
        let view = View {
            client: self.store.client(),
            place: &place,
            status,
            missing: &self.missing,
            ages: &self.ages,
            now,
        };
        let lines = match &self.form {
            Form::Screen { term, .. } => {
                let (rows, columns) = term.size_checked().unwrap_or((24, 80));
                let colours = shows_colours(&std::io::stdout());
                // The last row is for the cursor.
                let rows = usize::from(rows).saturating_sub(1).max(1);
                draw(&view, Paper { rows, columns: columns.into(), colours })
            }
            Form::Plain => {
                let mut lines = self.seen.plain(&view);
                if self.several {
                    lines
                        .iter_mut()
                        .for_each(|line| line.insert_str(0, &format!("{}: ", view.client)));
                }
                lines
            }
            Form::Json => self.seen.json(&view),
        };
        self.print(&lines)
    }

    fn print(&mut self, lines: &[String]) -> Result<bool, Failure> {
        let mut text = String::new();
        match &mut self.form {
            Form::Screen { drawn, .. } => {
                // Over the lines of before, and the rest of the screen is cleared behind the new ones.
                if *drawn > 0 {
                    text.push_str(&format!("\r\u{1b}[{drawn}A"));
                }
                for line in lines {
                    text.push_str(&format!("{line}\u{1b}[K\n"));
                }
                text.push_str("\u{1b}[J");
                *drawn = lines.len();
            }
            _ => lines.iter().for_each(|line| {
                text.push_str(line);
                text.push('\n');
            }),
        }
        let mut out = std::io::stdout();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                Err(Failure::failed(format!("standard output cannot be written: {error}")))
            }
        }
    }
}
