//! One directory, and a process for each instance.

use std::process::Stdio;
use std::time::Duration;

use keyswap_core::{FallbackPolicy, Revision};
use keyswap_store::{FileStore, SecretStore, join};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::figures::{Times, clock, load, memory, ms};
use crate::page::Table;
use crate::{APPLICATION, CLIENT, Outcome, list};

/// Of the table `file`.
pub(crate) const COLUMNS: &[&str] = &[
    "processes",
    "lists",
    "adopted, p50",
    "p99",
    "the last of a list, p50",
    "the very last",
    "of that publish itself, p50",
    "longest",
    "reports seen, p50",
    "memory a process",
    "p99 below 100 ms",
    "load",
];

/// So that each list finds a fleet at rest.
const BETWEEN: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Publish to adopted, p99.
const GOAL: Duration = Duration::from_millis(100);

pub(crate) async fn measure(processes: usize, lists: u32) -> Outcome<Vec<Table>> {
    let place = tempfile::tempdir()?;
    let directory = place.path().join("store");
    let store = FileStore::create(&directory, CLIENT)?;
    store.import(&list(1)?).await?;
    let mut members = Vec::new();
    for _ in 0..processes {
        members.push(Member::start(directory.to_str().ok_or("a path that is not UTF-8")?)?);
    }
    let mut memories = Vec::new();
    for member in &mut members {
        memories.push(member.number("ready").await?);
    }
    let lease = store.acquire("the benchmark").await?;
    let (mut revision, mut all, mut last, mut reported) =
        (Revision::new(1), Vec::new(), Vec::new(), Vec::new());
    let mut publishing = Vec::new();
    for number in 0..lists {
        tokio::time::sleep(BETWEEN).await;
        let next = list(u64::from(number) + 2)?;
        let began = clock();
        revision = store.publish(&lease, revision, &next, None).await?;
        publishing.push(Duration::from_nanos(clock() - began));
        while !all_report(&store, revision, processes).await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        reported.push(Duration::from_nanos(clock() - began));
        let mut times = Vec::new();
        for member in &mut members {
            let at = member.number(&format!("adopted {revision} ")).await?;
            times.push(Duration::from_nanos(at.saturating_sub(began)));
        }
        last.push(times.iter().max().copied().unwrap_or_default());
        all.extend(times);
    }
    let (all, last, reported) = (Times::new(all), Times::new(last), Times::new(reported));
    let publishing = Times::new(publishing);
    let (p99, memory) = (all.quantile(0.99), memories.iter().sum::<u64>() / memories.len() as u64);
    let mut table = Table::new("file", COLUMNS);
    table.row(&[
        processes.to_string(),
        lists.to_string(),
        ms(all.median()),
        ms(p99),
        ms(last.median()),
        ms(last.max()),
        ms(publishing.median()),
        ms(publishing.max()),
        ms(reported.median()),
        format!("{:.1} MB", memory as f64 / 1e6),
        (if p99 < GOAL { "met" } else { "**not met**" }).to_owned(),
        load(),
    ]);
    Ok(vec![table])
}

/// What the gate `Adopted` asks for.
pub(crate) async fn all_report<S: SecretStore>(
    store: &S,
    revision: Revision,
    expected: usize,
) -> Outcome<bool> {
    let instances = store.instances().await?;
    let holds = |instance: &keyswap_store::Instance| {
        instance.report.as_ref().is_ok_and(|report| report.revision >= Some(revision))
    };
    Ok(instances.len() == expected && instances.iter().all(holds))
}

/// One instance, until standard input ends.
pub(crate) async fn member(directory: &str) -> Outcome<()> {
    let store = FileStore::open(directory, CLIENT)?;
    let (ring, member) = join(store, APPLICATION, FallbackPolicy::default()).await?;
    tokio::spawn(member);
    let mut changes = ring.subscribe();
    println!("ready {}", memory("VmRSS")?);
    tokio::spawn(async move {
        while let Some(revision) = changes.changed().await {
            println!("adopted {revision} {}", clock());
        }
    });
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

struct Member {
    said: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Member {
    fn start(directory: &str) -> Outcome<Self> {
        let (process, said) = start(&["member", directory])?;
        Ok(Self { said, _process: process })
    }

    async fn number(&mut self, what: &str) -> Outcome<u64> {
        number(&mut self.said, what).await
    }
}

/// This program again, in another process.
pub(crate) fn start(arguments: &[&str]) -> Outcome<(Child, Lines<BufReader<ChildStdout>>)> {
    let mut process = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let said = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
    Ok((process, said))
}

/// The number after these words, in the next line that begins with them.
async fn number(said: &mut Lines<BufReader<ChildStdout>>, what: &str) -> Outcome<u64> {
    loop {
        let line = said.next_line().await?.ok_or("an instance ended")?;
        if let Some(number) = line.strip_prefix(what) {
            return Ok(number.trim().parse()?);
        }
    }
}
