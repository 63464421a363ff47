//! `keyswap demo`: a secret changes at a server that holds only one, while programs go on signing in.
//!
//! The server is embedded, the programs are processes of their own that know nothing but a store, and
//! the rotation is the one that `keyswap rotate` makes.

mod chaos;
pub(crate) mod instance;
mod report;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use keyswap_admin::authority::Probe;
use keyswap_admin::rotation::State;
use keyswap_admin::{Application, Auth0, Authority, RotationPolicy, Rotator};
use keyswap_core::{Generator, Secret, SecretList, SecretRing};
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::{AuthorizationServer, Client};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::arguments::duration;
use crate::exit::Failure;
use crate::presenter::Presenter;
use crate::temporary::Temporary;
use crate::window::{broken, speaks_utf8, window};
use instance::{Tally, Way};
use report::Report;

const CLIENT: &str = "demo-client";
const MANAGEMENT_CLIENT: &str = "demo-rotator";
const AUDIENCE: &str = "https://api.example/";
const NODES: usize = 3;
const APPLICATIONS: [&str; 3] = ["billing", "orders", "reports"];

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Programs that sign in, each a process of its own
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    instances: u32,
    /// Sign-ins a second of each program
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// How long the server's nodes take to agree after a change
    #[arg(long, default_value = "3s", value_parser = duration)]
    window: Duration,
    /// How often the secret is rotated
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rotations: u32,
    /// Kill the rotating process in every state, and let the server fail around the change
    #[arg(long)]
    chaos: bool,
    /// Sign in the ordinary way, with one secret and no fallback, to see what fails then
    #[arg(long, conflicts_with = "chaos")]
    without_fallback: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Keep the store of the demo in this directory, to look at afterwards
    #[arg(long)]
    directory: Option<PathBuf>,
}

pub(crate) async fn run(options: Demo) -> Result<(), Failure> {
    let place = Place::new(options.directory.clone())?;
    let world = World::start(&options, place.path()).await?;
    if !options.json {
        let begins = format!(
            "{NODES} nodes of a server that holds one secret a client, and take up to {:?} to agree;\n\
             {} programs, each signing in {} times a second{}",
            options.window,
            options.instances,
            options.rate,
            if options.without_fallback { " with one secret and no fallback" } else { "" }
        );
        println!("{}", broken(&begins));
        if options.chaos {
            let chaos = "the rotating process is killed in every state, and the server fails around the change";
            println!("{}", broken(chaos));
        }
    }
    let programs = Programs::start(&options, place.path(), &world).await?;
    let rotated = if options.without_fallback {
        world.change_the_ordinary_way(&options, &programs).await.map(|rotated| (rotated, None))
    } else if options.chaos {
        let rotated = chaos::rotate(&world, &options, place.path()).await;
        rotated.map(|(rotated, chaos)| (rotated, Some(chaos)))
    } else {
        world.rotate(&options).await.map(|rotated| (rotated, None))
    };
    let tally = programs.stop().await?;
    let (rotated, chaos) = rotated?;
    world.server.shutdown().await;
    let report = Report { tally, rotated, chaos, fallback: !options.without_fallback };
    if options.json {
        println!("{}", report.as_json());
    } else {
        println!("\n{}", report.as_table(window(), speaks_utf8()));
    }
    if report.tally.failed > 0 {
        return Err(Failure::failed(format!(
            "{} of {} requests failed",
            report.tally.failed, report.tally.requests
        )));
    }
    if !report.rotated.old_refused {
        return Err(Failure::failed("the server still accepts the old secret"));
    }
    Ok(())
}

/// The directory of the demo: one of its own that goes with it, or the one that was asked for.
enum Place {
    Temporary(Temporary),
    Kept(PathBuf),
}

impl Place {
    fn new(asked: Option<PathBuf>) -> Result<Self, Failure> {
        Ok(match asked {
            Some(directory) => Self::Kept(directory),
            None => Self::Temporary(Temporary::new("demo")?),
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(temporary) => temporary.path(),
            Self::Kept(path) => path,
        }
    }
}

/// What became of the rotations.
struct Rotated {
    /// How long each state lasted, of all rotations together.
    states: Vec<(State, Duration)>,
    old_refused: bool,
}

impl Rotated {
    fn add(&mut self, state: State, duration: Duration) {
        match self.states.iter_mut().find(|(known, _)| *known == state) {
            Some((_, total)) => *total += duration,
            None => self.states.push((state, duration)),
        }
    }
}

/// The server, the store, and the way to change the secret.
struct World {
    server: AuthorizationServer,
    store: FileStore,
    management: Secret,
}

impl World {
    async fn start(options: &Demo, directory: &Path) -> Result<Self, Failure> {
        let generate =
            || Generator::default().generate().map_err(|error| Failure::failed(error.to_string()));
        let (first, management) = (generate()?, generate()?);
        let server = AuthorizationServer::builder()
            .nodes(NODES)
            .propagation_window(options.window)
            .client(Client::new(CLIENT, first.expose()).grant(AUDIENCE))
            .management_client(Client::management(MANAGEMENT_CLIENT, management.expose()))
            .start()
            .await
            .map_err(|error| Failure::failed(error.to_string()))?;
        let store = FileStore::create(directory, CLIENT)?;
        let list = SecretList::new([first]).map_err(|error| Failure::failed(error.to_string()))?;
        store.import(&list).await.map_err(|error| match error.is_already_exists() {
            true => Failure::failed(format!(
                "{} holds the store of an earlier demo: name another --directory, or remove it",
                directory.display()
            )),
            false => error.into(),
        })?;
        Ok(Self { server, store, management })
    }

    fn authority(&self, options: &Demo) -> Result<Auth0, Failure> {
        let base = self.server.url();
        let base = base.parse().map_err(|_| Failure::failed("the server's address is not one"))?;
        let list = SecretList::new([self.management.clone()])
            .map_err(|error| Failure::failed(error.to_string()))?;
        Ok(Auth0::builder(base, CLIENT)
            .management(MANAGEMENT_CLIENT, SecretRing::new(list))
            .management_audience(self.server.management_audience())
            .audience(AUDIENCE)
            .propagation_window(options.window)
            .build()?)
    }

    /// What `keyswap rotate` does, as often as asked.
    async fn rotate(&self, options: &Demo) -> Result<Rotated, Failure> {
        let applications = applications(options)
            .into_iter()
            .map(|(name, instances)| Application::new(name).instances(instances));
        let policy = RotationPolicy::new(applications)
            .quiet_period(options.window)
            .poll_every(Duration::from_millis(100));
        let mut rotated = Rotated { states: Vec::new(), old_refused: true };
        for round in 1..=options.rotations {
            if options.rotations > 1 && !options.json {
                println!("rotation {round} of {}", options.rotations);
            }
            let old = self.present().await?;
            let presenter = Arc::new(Presenter::new(options.json));
            let shown = Arc::clone(&presenter);
            let client = self.store.client().to_owned();
            let rotator = Rotator::new(self.authority(options)?, self.store.clone())
                .on_progress(move |progress| shown.show(&client, &progress));
            let finished = rotator.run(policy.clone()).await;
            presenter.clear();
            for (state, duration) in finished?.states {
                rotated.add(state, duration);
            }
            rotated.old_refused &= self.authority(options)?.probe(&old).await == Probe::Refused;
        }
        Ok(rotated)
    }

    /// What people do without keyswap: change the secret at the server, then give the new one to every
    /// program, as fast as a machine can.
    async fn change_the_ordinary_way(
        &self,
        options: &Demo,
        programs: &Programs,
    ) -> Result<Rotated, Failure> {
        let authority = self.authority(options)?;
        let mut old = self.present().await?;
        for _ in 0..options.rotations {
            programs.until_all_registered(&self.store).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            old = self.present().await?;
            let new = Generator::default()
                .generate()
                .map_err(|error| Failure::failed(error.to_string()))?;
            let list = SecretList::new([new.clone()])
                .map_err(|error| Failure::failed(error.to_string()))?;
            let published = self.store.published().await?;
            let revision = published.map(|document| document.revision).unwrap_or_default();
            let _ = authority.set_secret(&new).await;
            let lease = self.store.acquire("keyswap demo").await?;
            self.store.publish(&lease, revision, &list, None).await?;
            self.store.release(lease).await?;
            self.server.until_settled(CLIENT).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let old_refused = authority.probe(&old).await == Probe::Refused;
        Ok(Rotated { states: Vec::new(), old_refused })
    }

    async fn present(&self) -> Result<Secret, Failure> {
        let published = self.store.published().await?;
        published
            .map(|document| document.list.preferred().clone())
            .ok_or_else(|| Failure::failed("the demo's store lost its list"))
    }
}

/// How many instances each application has: the programs are dealt out in turn.
fn applications(options: &Demo) -> Vec<(&'static str, u32)> {
    let names = APPLICATIONS.len() as u32;
    APPLICATIONS
        .iter()
        .zip(0u32..)
        .map(|(name, position)| (*name, (options.instances + names - 1 - position) / names))
        .filter(|(_, instances)| *instances > 0)
        .collect()
}

/// The programs that sign in, each a process of its own.
struct Programs {
    children: Vec<Child>,
}

impl Programs {
    async fn start(options: &Demo, directory: &Path, world: &World) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::failed(format!("keyswap cannot find itself: {error}")))?;
        let mut children = Vec::new();
        for number in 0..options.instances as usize {
            let way = match number % 2 {
                _ if options.without_fallback => Way::Ordinary,
                0 => Way::Middleware,
                _ => Way::Layer,
            };
            let way = clap::ValueEnum::to_possible_value(&way)
                .map(|value| value.get_name().to_owned())
                .unwrap_or_default();
            let child = Command::new(&program)
                .arg("demo-instance")
                .arg("--store")
                .arg(directory)
                .args(["--client", CLIENT, "--audience", AUDIENCE, "--way", &way])
                .args(["--application", APPLICATIONS[number % APPLICATIONS.len()]])
                .args(["--token-endpoint", &world.server.token_endpoint()])
                .args(["--rate", &options.rate.to_string()])
                .args(["--window", &format!("{}ms", options.window.as_millis().max(1))])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .map_err(|error| {
                    Failure::failed(format!("a program could not be started: {error}"))
                })?;
            children.push(child);
        }
        let programs = Self { children };
        programs.until_all_registered(&world.store).await?;
        Ok(programs)
    }

    /// Waits until each program has read the list, so that the load covers the whole of what follows.
    async fn until_all_registered(&self, store: &FileStore) -> Result<(), Failure> {
        let end = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let instances = store.instances().await?;
            let ready = |report: &keyswap_store::InstanceReport| report.revision.is_some();
            let count = instances
                .iter()
                .filter(|instance| instance.live && instance.report.as_ref().is_ok_and(ready))
                .count();
            if count >= self.children.len() {
                return Ok(());
            }
            if tokio::time::Instant::now() > end {
                return Err(Failure::failed(format!(
                    "{count} of {} programs started within 30 s",
                    self.children.len()
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the load, and adds up what the programs counted.
    async fn stop(self) -> Result<Tally, Failure> {
        let mut total = Tally::default();
        let mut children = self.children;
        for child in &mut children {
            // The end of its standard input ends a program.
            drop(child.stdin.take());
        }
        for mut child in children {
            let mut said = String::new();
            if let Some(mut stdout) = child.stdout.take() {
                stdout.read_to_string(&mut said).await.map_err(|error| {
                    Failure::failed(format!("a program cannot be heard: {error}"))
                })?;
            }
            let ended = child.wait().await;
            let tally: Tally = serde_json::from_str(&said).map_err(|_| {
                Failure::failed(format!("a program ended without its tally: {ended:?}"))
            })?;
            total.add(&tally);
        }
        Ok(total)
    }
}
