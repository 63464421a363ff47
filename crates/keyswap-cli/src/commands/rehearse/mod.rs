//! `keyswap rehearse`: the rotation of the user's own configuration, again and again, at an embedded server that
//! behaves like theirs, with everything that may go wrong on the way.
//!
//! Nothing of the user's is touched: of the configuration only numbers and names are taken, their store is not
//! opened, their secrets are not read, and nothing is sent off the loopback.

mod program;
mod result;
mod rotation;
mod scenario;
mod setup;
mod world;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use keyswap_admin::authority::known;
use keyswap_admin::several;

use self::result::{Ended, Limits, Played};
use self::scenario::{Part, Scenario};
use self::setup::{NODES, Setup, WINDOW};
use self::world::{Course, play};
use crate::arguments::{Chosen, Configured};
use crate::configuration::{Configuration, OfClient};
use crate::exit::Failure;
use crate::in_words::exactly;
use crate::window::{progress_style, speaks_utf8};

const EXAMPLES: &str = "\
Examples:
  keyswap rehearse
  keyswap rehearse --only undisturbed --only answers --json

Nothing of yours is touched: your server gets no request, your store is not opened, no secret of yours is read.
Exit code 0 says that each rotation ended as the protocol promises, and that no token request failed.";

/// Rotations under way at once; most of their time they wait.
const AT_ONCE: usize = 6;
/// Programs of one rotation.
const MOST_PROGRAMS: u32 = 12;

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Rehearse {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    chosen: Chosen,
    /// Only this part of it; may be given again
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Of what happens, each so-manieth alone
    #[arg(long, hide = true, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    every: u16,
    /// Print one JSON object a client
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: Rehearse) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    let clients = configuration.chosen(&options.chosen)?;
    let mut broken = 0;
    for client in &clients {
        broken += rehearse(&options, client).await?;
    }
    match broken {
        0 => Ok(()),
        broken => Err(Failure::failed(format!(
            "{broken} of the things that happened did not end as the protocol promises, or requests failed; \
             your server and your programs were not touched. Please report this with the table above"
        ))),
    }
}

/// Rehearses for one client, and gives how many rows are not as promised.
async fn rehearse(options: &Rehearse, client: &OfClient<'_>) -> Result<usize, Failure> {
    let setup = Setup::of(client, MOST_PROGRAMS)?;
    let began = Instant::now();
    // What the others are made of; it is the first row as well.
    let (undisturbed, course) = Box::pin(play(&setup, Scenario::Undisturbed)).await?;
    if !options.json {
        print!("{}", head(client, &setup, &course));
    }
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    let mut all = match undisturbed.ended {
        Ended::Finished => scenario::all(&course.states, &course.acts),
        _ => Vec::new(),
    };
    all.retain(|scenario| wanted(scenario.part()));
    let all: Vec<_> = all.into_iter().step_by(usize::from(options.every)).collect();
    let bar = progress(all.len());
    let act = async |scenario: &Scenario| {
        let played = Box::pin(play(&setup, *scenario)).await.map(|(played, _)| played);
        bar.inc(1);
        played
    };
    let ended = several(AT_ONCE, &all, act, |_| true).await;
    bar.finish_and_clear();
    let mut played: Vec<Played> = ended.into_iter().flatten().collect::<Result<_, _>>()?;
    if wanted(Part::Undisturbed) || all.is_empty() {
        played.push(undisturbed);
    }
    let limits = Limits { may_stop: course.capabilities.has_gap() };
    let rows = result::rows(&played, limits);
    let applications = client.applications();
    let manual = setup::manual(&applications);
    let kind = course.capabilities.name;
    if options.json {
        println!("{}", result::as_json(client.id(), kind, &rows, &manual));
    } else {
        println!("{}", result::table(&rows, speaks_utf8()));
        println!("{}, in {:.0} s", result::sum(&rows), began.elapsed().as_secs_f64());
        for row in &rows {
            for (reason, times) in &row.broken {
                println!("{} ({times}): {reason}", row.scenario);
            }
        }
        for row in &rows {
            for reason in &row.for_a_person {
                println!("{}, as the protocol says: {reason}", row.scenario);
            }
        }
        print!("{}", tail(&manual));
    }
    Ok(rows.iter().filter(|row| !row.broken.is_empty()).count())
}

/// Shown at a terminal alone.
fn progress(rotations: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(rotations as u64);
    bar.set_style(progress_style("{spinner} {pos} of {len} rotations"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// What is rehearsed, and how it is not as it will be.
fn head(client: &OfClient<'_>, setup: &Setup, course: &Course) -> String {
    let declared: u64 = client.applications().iter().map(|one| u64::from(one.instances)).sum();
    let running: u64 = setup.applications.iter().map(|(_, count)| u64::from(*count)).sum();
    let of =
        if running < declared { format!(" of the {declared} declared") } else { String::new() };
    // What such a server has by itself, which is not what the embedded one was given.
    let usual = known().into_iter().find(|one| one.name == course.capabilities.name);
    let usual = usual.map_or(course.capabilities.propagation_window, |one| one.propagation_window);
    let real = client.rotation_policy(usual);
    let window = real.propagation_window.unwrap_or(usual);
    let mut text = format!(
        "client {}, at {}; its {NODES} nodes take up to {} to agree, and {running}{of} instances sign in all the \
         time\nwaits are shortened:",
        client.id(),
        setup.like(),
        exactly(WINDOW)
    );
    let waits = [
        ("propagation window", window),
        ("quiet period", real.quiet_period),
        ("in-flight bound", real.in_flight_bound),
    ];
    for (position, (name, wait)) in waits.into_iter().enumerate() {
        let between = if position == 0 { " " } else { ", " };
        text +=
            &format!("{between}{name} {} to {}{}", exactly(wait), exactly(WINDOW), factor(wait));
    }
    text += "\n";
    if setup.by_refresh_token() {
        text += "programs sign in with a refresh token, and with `ClientFirst` (docs/proxy.md: client_first): without \
                 that a refused secret is theirs to see\n";
    }
    if course.capabilities.has_gap() {
        text += "this server holds one secret and chooses its value itself: requests fail in the gap at each \
                 rotation, also in the real one\n";
    }
    text
}

/// By how much a wait is shorter here.
fn factor(wait: Duration) -> String {
    let factor = wait.as_secs_f64() / WINDOW.as_secs_f64();
    if factor > 1.0 { format!(" (1/{factor:.0})") } else { String::new() }
}

/// What a rehearsal cannot tell.
fn tail(manual: &[&str]) -> String {
    let mut text = String::new();
    if !manual.is_empty() {
        text += &format!(
            "{}: of those that cannot report, instances were made that can. The real rotation waits for `keyswap \
             confirm`\n",
            manual.join(", ")
        );
    }
    text += "This was not your server, nor your network, nor your programs. Whether your credentials, permissions and \
             instances are as a rotation needs them: `keyswap verify`. What a rotation would do: `keyswap plan`\n";
    text
}
