//! `keyswap demo --chaos`: the rotation in processes of their own, `keyswap rotate` and `keyswap resume`,
//! that are killed in every state, at a server that fails around the change.
//!
//! A process tells each state that it enters, and with `--step` waits there for a word. So a kill meets
//! the state that it is meant for, also one that lasts a millisecond; and some are let go on, and killed
//! when what they do has left a trace outside of them.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use keyswap_admin::authority::Probe;
use keyswap_admin::rotation::{Direction, Record, State};
use keyswap_admin::{Authority, Progress, Status};
use keyswap_core::Revision;
use keyswap_store::SecretStore;
use keyswap_testkit::{Endpoint, Fault, Times};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{AUDIENCE, CLIENT, Demo, MANAGEMENT_CLIENT, Rotated, World, applications};
use crate::commands::write_private;
use crate::exit::Failure;
use crate::in_words::exactly;

/// How long an answer takes that nobody is there to get any more.
const SLOW: Duration = Duration::from_secs(60);
/// SIGKILL, which no process can do anything about.
const KILLED: i32 = 9;

/// What the rotation met.
#[derive(Default)]
pub(super) struct Chaos {
    /// How often a process was killed, by the state that the journal told of afterwards.
    pub(super) kills: BTreeMap<usize, (State, u64)>,
    pub(super) faults: Vec<(&'static str, u64)>,
}

impl Chaos {
    fn killed_in(&mut self, state: State) {
        let position = State::PATH.iter().position(|one| *one == state);
        self.kills.entry(position.unwrap_or(State::PATH.len())).or_insert((state, 0)).1 += 1;
    }
}

/// When a process that waits in a state is killed.
enum Aim {
    /// There and then.
    Here,
    /// When it has published a list, at the latest in the next state.
    Published,
    /// When a fault has met its request.
    Fault,
    Never,
}

/// Rotates as often as asked.
pub(super) async fn rotate(
    world: &World,
    options: &Demo,
    directory: &Path,
) -> Result<(Rotated, Chaos), Failure> {
    let rotator = Rotator { world, options, configuration: configure(world, options, directory)? };
    let mut rotated = Rotated { states: Vec::new(), old_refused: true };
    let mut chaos = Chaos::default();
    for round in 0..options.rotations {
        if options.rotations > 1 && !options.json {
            println!("rotation {} of {}", round + 1, options.rotations);
        }
        let old = world.present().await?;
        let record = rotator.killed_and_resumed(round, &mut chaos).await?;
        for pair in record.entered.windows(2) {
            rotated.add(pair[0].state, pair[1].at.since(pair[0].at));
        }
        rotated.old_refused &= world.authority(options)?.probe(&old).await == Probe::Refused;
    }
    chaos.faults =
        world.server.faults().iter().map(|(fault, times)| (name(fault), *times)).collect();
    Ok((rotated, chaos))
}

/// What a user would write for this server, and the secret beside it.
fn configure(world: &World, options: &Demo, directory: &Path) -> Result<PathBuf, Failure> {
    let window = exactly(options.window);
    let mut text = format!(
        r#"[client]
id = "{CLIENT}"

[authority]
kind = "auth0"
url = "{}"
audience = "{AUDIENCE}"
management_client_id = "{MANAGEMENT_CLIENT}"
management_secret = {{ file = "management-secret" }}

[store]
directory = "."

[policy]
propagation_window = "{window}"
quiet_period = "{window}"
in_flight_bound = "{window}"
"#,
        world.server.url()
    );
    for (name, instances) in applications(options) {
        text += &format!("\n[[application]]\nname = \"{name}\"\ninstances = {instances}\n");
    }
    write_private(&directory.join("management-secret"), world.management.expose().as_bytes())?;
    let configuration = directory.join("keyswap.toml");
    write_private(&configuration, text.as_bytes())?;
    Ok(configuration)
}

struct Rotator<'a> {
    world: &'a World,
    options: &'a Demo,
    configuration: PathBuf,
}

impl Rotator<'_> {
    /// One rotation, by as many processes as it takes. Gives its journal.
    async fn killed_and_resumed(&self, round: u32, chaos: &mut Chaos) -> Result<Record, Failure> {
        // How often a process stood in each state.
        let mut visits = BTreeMap::new();
        let mut command = "rotate";
        loop {
            let mut process = Process::start(&self.configuration, command)?;
            let ended = self.watch(&mut process, round, &mut visits).await?;
            let record = Status::read(&self.world.store).await?.record;
            let record = record.ok_or_else(|| Failure::failed("the rotation left no journal"))?;
            let state = record.state;
            if ended.signal() == Some(KILLED) {
                chaos.killed_in(state);
                if self.options.json {
                    println!("{}", json!({ "event": "killed", "state": state }));
                } else {
                    eprintln!("  killed in state {state}");
                }
            } else if !ended.success() {
                return Err(Failure::failed(format!(
                    "`keyswap {command}` ended with {ended} in state {state}"
                )));
            }
            if record.is_over() {
                return Ok(record);
            }
            command = "resume";
        }
    }

    /// Lets a process go on from state to state until it ends or is killed.
    async fn watch(
        &self,
        process: &mut Process,
        round: u32,
        visits: &mut BTreeMap<&'static str, u32>,
    ) -> Result<ExitStatus, Failure> {
        while let Some(line) = process.line().await? {
            let Some(said) = self.show(&line) else { continue };
            let visit = visits.entry(said.name()).or_default();
            *visit += 1;
            match self.aim(said, *visit, round) {
                Aim::Never => process.go_on().await,
                Aim::Here => return process.kill().await,
                Aim::Published => {
                    let before = self.revision().await?;
                    process.go_on().await;
                    while !process.has_ended()? && self.revision().await? == before {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    return process.kill().await;
                }
                Aim::Fault => {
                    let before = self.world.server.counts().faults;
                    process.go_on().await;
                    while !process.has_ended()? && self.world.server.counts().faults == before {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    return process.kill().await;
                }
            }
        }
        process.wait().await
    }

    /// Each state is killed in once. Where a list is published, also when it is out and the journal does
    /// not say so yet; and where the secret changes, also while the request is at the server.
    fn aim(&self, state: State, visit: u32, round: u32) -> Aim {
        let server = &self.world.server;
        let endpoint = Endpoint::UpdateClient;
        match (state, visit) {
            (_, 1) => Aim::Here,
            (State::Generated | State::Confirmed | State::Retiring, 2) => Aim::Published,
            (State::CuttingOver, 2) => {
                server.inject(Fault::Latency { endpoint, delay: SLOW }, Times::ONCE);
                Aim::Fault
            }
            (State::CuttingOver, 3) => {
                let second = Some(Duration::from_secs(1));
                for fault in [
                    Fault::ServerError { endpoint: Endpoint::ReadClient, status: 500 },
                    Fault::RateLimited { endpoint, retry_after: second, reset_after: None },
                    Fault::ServerError { endpoint, status: 503 },
                    Fault::AnswerLostBeforeChange,
                    match round % 3 {
                        0 => Fault::AnswerLostAfterChange,
                        1 => Fault::LateChange { after: self.options.window / 2 },
                        _ => Fault::ServerErrorAfterChange { status: 500 },
                    },
                ] {
                    server.inject(fault, Times::ONCE);
                }
                Aim::Never
            }
            _ => Aim::Never,
        }
    }

    async fn revision(&self) -> Result<Option<Revision>, Failure> {
        Ok(self.world.store.published().await?.map(|document| document.revision))
    }

    /// Passes on what a process said, and gives the state that it waits in, if it does.
    fn show(&self, line: &str) -> Option<State> {
        // A process that was killed may leave half a line.
        let said: Said = serde_json::from_str(line).ok()?;
        if self.options.json {
            println!("{line}");
        }
        let after = |milliseconds: Option<u64>| milliseconds.map(Duration::from_millis);
        let (progress, state) = match said {
            Said::Entered { state, direction, after_ms } => {
                let (after, hurries, regenerates) = (after(after_ms), false, false);
                (Progress::Entered { state, direction, after, hurries, regenerates }, Some(state))
            }
            Said::TakenUp { state, direction } => {
                (Progress::TakenUp { state, direction }, Some(state))
            }
            Said::Note { text } => (Progress::Note(text), None),
            Said::Other => return None,
        };
        if !self.options.json {
            eprintln!("{progress}");
        }
        state
    }
}

/// What the demo makes of the lines that `--json` prints.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Said {
    Entered {
        state: State,
        direction: Direction,
        after_ms: Option<u64>,
    },
    TakenUp {
        state: State,
        direction: Direction,
    },
    Note {
        text: String,
    },
    #[serde(other)]
    Other,
}

/// `keyswap rotate` or `keyswap resume`.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(configuration: &Path, command: &str) -> Result<Self, Failure> {
        let failed =
            |error| Failure::failed(format!("`keyswap {command}` could not be started: {error}"));
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args([command, "--json", "--step", "--config"])
            .arg(configuration)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| Failure::failed("it cannot be heard"))?;
        Ok(Self { child, input, lines: BufReader::new(output).lines() })
    }

    async fn line(&mut self) -> Result<Option<String>, Failure> {
        self.lines.next_line().await.map_err(lost)
    }

    async fn go_on(&mut self) {
        if let Some(input) = &mut self.input {
            // One that has ended is seen by what it ended with.
            let _ = input.write_all(b"\n").await;
        }
    }

    async fn kill(&mut self) -> Result<ExitStatus, Failure> {
        self.child.start_kill().map_err(lost)?;
        self.wait().await
    }

    async fn wait(&mut self) -> Result<ExitStatus, Failure> {
        self.child.wait().await.map_err(lost)
    }

    fn has_ended(&mut self) -> Result<bool, Failure> {
        self.child.try_wait().map_err(lost).map(|status| status.is_some())
    }
}

fn lost(error: std::io::Error) -> Failure {
    Failure::failed(format!("the rotating process was lost sight of: {error}"))
}

/// As the table has it.
fn name(fault: &Fault) -> &'static str {
    match fault {
        Fault::Latency { .. } => "slow answer, and killed meanwhile",
        Fault::RateLimited { .. } => "429 with Retry-After",
        Fault::ServerError { endpoint: Endpoint::ReadClient, .. } => "500 when asked what it holds",
        Fault::ServerError { .. } => "503 to the change",
        Fault::AnswerLostBeforeChange => "no answer, change not made",
        Fault::AnswerLostAfterChange => "no answer, change made",
        Fault::LateChange { .. } => "no answer, change made later",
        Fault::ServerErrorAfterChange { .. } => "500, change made",
        _ => "another",
    }
}
