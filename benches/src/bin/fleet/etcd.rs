//! Three nodes of etcd, and followers.

use std::time::Duration;

use keyswap_core::Revision;
use keyswap_real_tests::Etcd;
use keyswap_store::{EtcdStore, SecretStore};
use tokio::io::{AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::Instant;

use crate::figures::{Times, clock, kb, load, ms};
use crate::file::{all_report, start};
use crate::metrics::Counted;
use crate::page::Table;
use crate::simulation::{self, Costs, Fleet};
use crate::{Outcome, followers, list, list_of_one};

/// Of the table of publications.
pub(crate) const ADOPTED: &[&str] = &[
    "followers",
    "lists",
    "adopted: p50",
    "p99",
    "the last",
    "the last, worst list",
    "all reports seen",
    "one look of a rotator",
    "all joined in",
    "p99 below 500 ms",
    "load",
];

/// Of the table of what happens in a second.
pub(crate) const A_SECOND: &[&str] =
    &["", "keys written", "entries of the log", "keep-alives", "reads", "etcd's processor time"];

/// Of the table of what an instance needs.
pub(crate) const MEMORY: &[&str] =
    &["an instance, in the program", "in all nodes together", "in the database of one node"];

/// Of the table of processor times.
pub(crate) const COSTS: &[&str] = &["processor time of all nodes for", "microseconds"];

/// Of the table of a simulation.
pub(crate) const SIMULATED: &[&str] = &[
    "followers",
    "reports spread over",
    "adopted: p50",
    "p99",
    "the last",
    "all reports written",
    "the longest that one request waits",
];

/// How often a rotator looks, unless its policy says otherwise.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Publish to adopted, p99, with 1,000 followers.
const GOAL: Duration = Duration::from_millis(500);
const FLEETS: [usize; 3] = [1_000, 10_000, 100_000];

/// How long nothing has to be written for it to count as settled.
const LOOK_AFTER: Duration = Duration::from_millis(700);

/// The largest fleet beside which the cost of one operation is measured.
const COSTS_BESIDE: usize = 2_000;

/// What a watch costs is measured with so many lists.
const LISTS_TOLD: usize = 8;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    lists: u64,
    rest: Duration,
    /// Operations whose processor time is measured.
    operations: usize,
}

impl Length {
    pub(crate) const WHOLE: Self =
        Self { lists: 7, rest: Duration::from_secs(30), operations: 8_000 };
    pub(crate) const SMOKE: Self = Self { lists: 1, rest: Duration::from_secs(1), operations: 320 };
}

/// What one list took, from the call of publish on.
struct Publication {
    p50: Duration,
    p99: Duration,
    max: Duration,
    /// Until a rotator that looks every second saw that all had reported.
    seen: Duration,
    /// One look of it.
    look: Duration,
}

pub(crate) async fn measure(count: usize, length: Length) -> Outcome<Vec<Table>> {
    let etcd = Etcd::start().await;
    let endpoints = etcd.endpoints().join(",");
    let store = followers::store(&endpoints)?;
    store.import(&list(1)?).await?;
    let empty = Counted::read(&etcd).await?;
    let mut instances = Instances::start(&endpoints, count)?;
    let [joined, memory] = instances.numbers("ready ").await?;
    let full = Counted::read(&etcd).await?;

    let lease = store.acquire("the benchmark").await?;
    let (mut revision, mut published) = (Revision::new(1), Vec::new());
    for number in 2..2 + length.lists {
        settle(&etcd, count).await?;
        store.renew(&lease).await?;
        let next = list(number)?;
        let began = clock();
        revision = store.publish(&lease, revision, &next, None).await?;
        let mut look;
        loop {
            let looked = Instant::now();
            let all = all_report(&store, revision, count).await?;
            look = looked.elapsed();
            if all {
                break;
            }
            tokio::time::sleep(LOOK_EVERY.saturating_sub(look)).await;
        }
        let seen = Duration::from_nanos(clock() - began);
        let times = instances.numbers(&format!("adopted {revision} ")).await?;
        let [p50, p99, max] = times.map(|at| Duration::from_nanos(at.saturating_sub(began)));
        published.push(Publication { p50, p99, max, seen, look });
    }
    store.release(lease).await?;
    let load_at_publish = load();

    // One secret: at rest.
    let lease = store.acquire("the benchmark").await?;
    revision = store.publish(&lease, revision, &list_of_one(1)?, None).await?;
    store.release(lease).await?;
    settle(&etcd, count).await?;
    let rest = over(&etcd, length.rest).await?;
    // A first report of the first use, and then none for minutes.
    instances.ask("use").await?;
    settle(&etcd, count).await?;
    let busy = over(&etcd, length.rest).await?;
    let lease = store.acquire("the benchmark").await?;
    revision = store.publish(&lease, revision, &list(1)?, None).await?;
    store.release(lease).await?;
    let rotating = over(&etcd, length.rest).await?;
    // What is measured next would be lost among the reports of a rotation.
    let lease = store.acquire("the benchmark").await?;
    store.publish(&lease, revision, &list_of_one(1)?, None).await?;
    store.release(lease).await?;
    settle(&etcd, count).await?;
    // Beside what a larger fleet does at rest, one operation is not to be told from noise.
    let costs = match count {
        ..=COSTS_BESIDE => Some(costs(&etcd, &store, &mut instances, length).await?),
        _ => None,
    };

    let seconds = length.rest.as_secs_f64();
    let (grown, per) = (full.since(empty), count as f64);
    let name = format!("etcd {count}");
    let mut tables = vec![
        adopted(&name, count, &published, joined, load_at_publish),
        at_rest(
            &name,
            [
                ("at rest, unused", rest),
                ("at rest, one request a second each", busy),
                ("the same, from the begin of a rotation on", rotating),
            ],
            seconds,
        ),
        memories(&name, memory as f64 / per, grown.memory / per, grown.database / per),
    ];
    if let Some(costs) = costs {
        tables.extend([costs_of(&name, costs), simulated(&name, costs)]);
    }
    Ok(tables)
}

fn adopted(name: &str, count: usize, all: &[Publication], joined: u64, load: String) -> Table {
    let of = |time: fn(&Publication) -> Duration| Times::new(all.iter().map(time).collect());
    let p99 = of(|one| one.p99);
    let verdict = match count {
        1000 if p99.median() < GOAL => "met",
        1000 => "**not met**",
        _ => "",
    };
    let mut table = Table::new(format!("{name} adopted"), ADOPTED);
    table.row(&[
        count.to_string(),
        all.len().to_string(),
        ms(of(|one| one.p50).median()),
        ms(p99.median()),
        ms(of(|one| one.max).median()),
        ms(of(|one| one.max).max()),
        ms(of(|one| one.seen).median()),
        ms(of(|one| one.look).median()),
        format!("{:.1} s", joined as f64 / 1e3),
        verdict.to_owned(),
        load,
    ]);
    table
}

fn at_rest(name: &str, measured: [(&str, Counted); 3], seconds: f64) -> Table {
    let mut table = Table::new(format!("{name} a second"), A_SECOND);
    for (what, counted) in measured {
        let a_second = |number: f64| format!("{:.1}", number / seconds);
        table.row(&[
            what.to_owned(),
            a_second(counted.puts),
            a_second(counted.proposals),
            a_second(counted.keep_alives),
            a_second(counted.reads),
            format!("{:.0} %", counted.seconds / seconds * 100.0),
        ]);
    }
    table
}

fn memories(name: &str, instance: f64, etcd: f64, database: f64) -> Table {
    let mut table = Table::new(format!("{name} memory"), MEMORY);
    table.row(&[kb(instance), kb(etcd), kb(database)]);
    table
}

fn costs_of(name: &str, costs: Costs) -> Table {
    let mut table = Table::new(format!("{name} costs"), COSTS);
    for (what, seconds) in
        [("one read", costs.read), ("one report", costs.report), ("telling one watch", costs.event)]
    {
        table.row(&[what.to_owned(), format!("{:.0}", seconds * 1e6)]);
    }
    table
}

fn simulated(name: &str, costs: Costs) -> Table {
    let mut table = Table::new(format!("{name} simulated"), SIMULATED);
    for instances in FLEETS {
        for spread in [0.0, 10.0] {
            let ran = simulation::publish(Fleet { instances, nodes: 3, cores: 2.0, spread }, costs);
            let seconds = |time: f64| format!("{time:.2} s");
            table.row(&[
                instances.to_string(),
                if spread > 0.0 { format!("{spread} s") } else { "none".to_owned() },
                seconds(ran.p50),
                seconds(ran.p99),
                seconds(ran.last),
                seconds(ran.reported),
                seconds(ran.longest_wait),
            ]);
        }
    }
    table
}

/// Waits until no more is written than by so many instances at rest.
async fn settle(etcd: &Etcd, count: usize) -> Outcome<()> {
    // One that is in use reports once in 433 s on average.
    let at_rest = count as f64 * LOOK_AFTER.as_secs_f64() / 200.0;
    let mut before = Counted::read(etcd).await?.puts;
    loop {
        tokio::time::sleep(LOOK_AFTER).await;
        let now = Counted::read(etcd).await?.puts;
        if now - before <= at_rest.floor() {
            return Ok(());
        }
        before = now;
    }
}

async fn over(etcd: &Etcd, time: Duration) -> Outcome<Counted> {
    let before = Counted::read(etcd).await?;
    tokio::time::sleep(time).await;
    Ok(Counted::read(etcd).await?.since(before))
}

/// The processor time that an operation takes, of all nodes together.
async fn costs(
    etcd: &Etcd,
    store: &EtcdStore,
    instances: &mut Instances,
    Length { rest, operations, .. }: Length,
) -> Outcome<Costs> {
    let idle = over(etcd, rest / 3).await?.seconds / (rest / 3).as_secs_f64();
    let spent = async |before: Counted, began: Instant| -> Outcome<f64> {
        let spent = Counted::read(etcd).await?.since(before).seconds;
        Ok((spent - idle * began.elapsed().as_secs_f64()).max(0.0) / operations as f64)
    };
    let begin = async || Outcome::Ok((Counted::read(etcd).await?, Instant::now()));

    let (before, began) = begin().await?;
    instances.ask(&format!("reads {operations}")).await?;
    let read = spent(before, began).await?;
    let (before, began) = begin().await?;
    instances.ask(&format!("writes {operations}")).await?;
    let report = spent(before, began).await?;

    let watches = operations / LISTS_TOLD;
    let another = store.another(followers::ANOTHER)?;
    let mut revision = another.import(&list(1)?).await?;
    instances.ask(&format!("watch {watches}")).await?;
    let lease = another.acquire("the benchmark").await?;
    let (before, began) = begin().await?;
    for number in 2..2 + LISTS_TOLD as u64 {
        revision = another.publish(&lease, revision, &list(number)?, None).await?;
        tokio::time::sleep(rest / 60).await;
    }
    let event = spent(before, began).await?;
    another.release(lease).await?;
    Ok(Costs { read, report, event })
}

/// The process of the followers.
struct Instances {
    said: Lines<BufReader<ChildStdout>>,
    asked: ChildStdin,
    _process: Child,
}

impl Instances {
    fn start(endpoints: &str, count: usize) -> Outcome<Self> {
        let (mut process, said) = start(&["followers", endpoints, &count.to_string()])?;
        let asked = process.stdin.take().ok_or("no input")?;
        Ok(Self { said, asked, _process: process })
    }

    /// The numbers after these words, in the next line that begins with them.
    async fn numbers<const N: usize>(&mut self, what: &str) -> Outcome<[u64; N]> {
        loop {
            let line = self.said.next_line().await?.ok_or("the followers ended")?;
            let Some(numbers) = line.strip_prefix(what) else { continue };
            let numbers: Vec<u64> = numbers.split(' ').map(str::parse).collect::<Result<_, _>>()?;
            return numbers.try_into().map_err(|_| format!("{line:?} has other numbers").into());
        }
    }

    async fn ask(&mut self, what: &str) -> Outcome<()> {
        self.asked.write_all(format!("{what}\n").as_bytes()).await?;
        loop {
            let line = self.said.next_line().await?.ok_or("the followers ended")?;
            if line == "done" {
                return Ok(());
            }
        }
    }
}
