//! What a rotation takes beyond what it waits for, and how much memory: a part of
//! `docs/performance.md`, written to standard output.
//!
//! Three processes. This one is the authorization server, `instances` is the programs, and `rotate` is
//! the rotating process, which says what it took.
#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use keyswap_admin::{Application, Auth0, RotationPolicy, Rotator};
use keyswap_core::{FallbackPolicy, Secret, SecretList, SecretRing};
use keyswap_store::{FileStore, Follow, InstanceReport, SecretStore, join};
use keyswap_testkit::{AuthorizationServer, Client};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

type Outcome<T> = Result<T, Box<dyn Error>>;

const CLIENT: &str = "billing";
const APPLICATION: &str = "billing-app";
const AUDIENCE: &str = "https://api.example/";
const FIRST: &str = "first-secret-of-the-benchmark-0123456789";
const MANAGEMENT: &str = "secret-of-the-rotator-0123456789";
const WINDOW: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(100);

const FEW: u32 = 3;
const MANY: u32 = 10_000;
const ROTATIONS: usize = 11;

/// Own time with the few instances, as a median.
const MOST_TIME: Duration = Duration::from_millis(250);
/// Peak memory with the many instances: 30 MB.
const MOST_MEMORY: u64 = 30_000_000;

fn main() -> Outcome<()> {
    // As the command has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = runtime.block_on(async {
        match arguments.as_slice() {
            [] => measure().await,
            ["instances", store, count] => instances(store, count.parse()?).await,
            ["rotate", store, url, count] => rotate(store, url, count.parse()?).await,
            _ => Err("usage: rotation".into()),
        }
    });
    runtime.shutdown_background();
    outcome
}

/// What a rotating process says of one rotation.
struct Rotation {
    whole: Duration,
    waited: Duration,
    /// In bytes.
    peak: u64,
}

impl Rotation {
    fn own(&self) -> Duration {
        self.whole.saturating_sub(self.waited)
    }
}

async fn measure() -> Outcome<()> {
    let mut few = rotations(FEW, ROTATIONS).await?;
    few.sort_by_key(Rotation::own);
    let (median, longest) = (few[few.len() / 2].own(), few[few.len() - 1].own());
    let least_memory = few.iter().map(|one| one.peak).max().unwrap_or_default();
    let many = rotations(MANY, 1).await?.remove(0);
    let is = |met: bool| if met { "met" } else { "**not met**" };
    let ms = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
    let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    println!(
        "\n## A rotation\n\n\
        `keyswap-admin`'s `Rotator` in a process of its own, with a `FileStore` on the machine's disk and the embedded\n\
        server on loopback; the instances are another process, and report through the store. **Own time** is from before\n\
        the client is made to the end, by the clock, less every pause that the step asked for, as long as it asked for\n\
        (`Finished::waited`): probes throughout the propagation window, gates, quiet period. A pause that lasts longer than\n\
        asked counts as own time. **Memory** is the process's peak resident set (`VmHWM`), with all its code.\n\n\
        | | goal | is | |\n| --- | --- | --- | --- |"
    );
    println!(
        "| own time, {FEW} instances, median of {ROTATIONS} rotations | {} | {} | {} |",
        ms(MOST_TIME),
        ms(median),
        is(median <= MOST_TIME)
    );
    println!("| the longest of them | | {} | |", ms(longest));
    println!(
        "| peak memory, {MANY} instances | {} | {} | {} |",
        mb(MOST_MEMORY),
        mb(many.peak),
        is(many.peak <= MOST_MEMORY)
    );
    println!("| peak memory, {FEW} instances | | {} | |", mb(least_memory));
    println!("| own time, {MANY} instances | | {} | |", ms(many.own()));
    Ok(())
}

/// So many rotations one after the other, each in a new process, with so many instances.
async fn rotations(count: u32, times: usize) -> Outcome<Vec<Rotation>> {
    let place = tempfile::tempdir()?;
    let store = place.path().join("store");
    let server = AuthorizationServer::builder()
        .nodes(3)
        .propagation_window(WINDOW)
        .client(Client::new(CLIENT, FIRST).grant(AUDIENCE))
        .management_client(Client::management("rotator", MANAGEMENT))
        .start()
        .await?;
    FileStore::create(&store, CLIENT)?.import(&list("first", FIRST)?).await?;
    let mut programs = start(&["instances", path(&store)?, &count.to_string()])?;
    let mut said = BufReader::new(programs.stdout.take().ok_or("no output")?).lines();
    said.next_line().await?.ok_or("the instances did not start")?;
    let mut measured = Vec::new();
    for _ in 0..times {
        let mut rotator = start(&["rotate", path(&store)?, &server.url(), &count.to_string()])?;
        let mut said = String::new();
        rotator.stdout.take().ok_or("no output")?.read_to_string(&mut said).await?;
        let status = rotator.wait().await?;
        let fields: Vec<u64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let &[whole, waited, peak] = fields.as_slice() else {
            return Err(format!("the rotation ended with {status}").into());
        };
        let (whole, waited) = (Duration::from_micros(whole), Duration::from_micros(waited));
        measured.push(Rotation { whole, waited, peak });
    }
    // The end of their standard input ends them.
    drop(programs.stdin.take());
    programs.wait().await?;
    server.shutdown().await;
    Ok(measured)
}

fn path(path: &Path) -> Outcome<&str> {
    Ok(path.to_str().ok_or("the directory for temporary files has no name in UTF-8")?)
}

fn start(arguments: &[&str]) -> Outcome<Child> {
    Ok(Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?)
}

fn list(id: &str, value: &str) -> Outcome<SecretList> {
    Ok(SecretList::new([Secret::new(id.parse()?, value)?])?)
}

/// The rotating process: microseconds in all and waited, peak memory in bytes.
async fn rotate(store: &str, url: &str, count: u32) -> Outcome<()> {
    let began = Instant::now();
    let management = SecretRing::new(list("management", MANAGEMENT)?);
    let authority = Auth0::builder(url.parse()?, CLIENT)
        .management("rotator", management)
        .audience(AUDIENCE)
        .propagation_window(WINDOW)
        .build()?;
    let policy = RotationPolicy::new([Application::new(APPLICATION).instances(count)])
        .quiet_period(WINDOW)
        .poll_every(POLL);
    // Somebody looks at the news, as with the command.
    let rotator = Rotator::new(authority, FileStore::open(store, CLIENT)?)
        .on_progress(|progress| drop(progress.to_string()));
    let finished = rotator.run(policy).await?;
    let whole = began.elapsed();
    println!("{} {} {}", whole.as_micros(), finished.waited.as_micros(), peak()?);
    Ok(())
}

/// The peak resident set of this process.
fn peak() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmHWM")?;
    Ok(kibibytes.trim().parse::<u64>()? * 1024)
}

/// The programs, until standard input ends.
async fn instances(store: &str, count: u32) -> Outcome<()> {
    let store = FileStore::open(store, CLIENT)?;
    if count <= FEW {
        for _ in 0..count {
            let (_, member) = join(store.clone(), APPLICATION, FallbackPolicy::default()).await?;
            tokio::spawn(member);
        }
        println!("ready");
    } else {
        // What each of them would write and hold: a file with its report, and a locked one. But they share
        // a ring and a watch of the store, of which a machine has not that many.
        let mut registered = Vec::new();
        for number in 0..count {
            let report = InstanceReport::new(APPLICATION, format!("i-{number:016x}"));
            registered.push((store.register(&report).await?, report));
        }
        let (ring, follow) = Follow::start(store.clone(), FallbackPolicy::default()).await?;
        tokio::spawn(follow.run());
        println!("ready");
        tokio::spawn(async move {
            loop {
                let usage = ring.usage();
                for (registration, report) in &mut registered {
                    *report = report.next(usage.clone());
                    if let Err(error) = store.report(registration, report).await {
                        eprintln!("{error}");
                    }
                }
                tokio::time::sleep(POLL).await;
            }
        });
    }
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}
