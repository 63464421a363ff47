//! A rotator's look at the reports of a large fleet.

use std::sync::Arc;
use std::time::Duration;

use keyswap_core::SecretRing;
use keyswap_real_tests::Etcd;
use keyswap_store::{EtcdStore, InstanceReport, SecretStore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::figures::{Times, load, memory, ms};
use crate::file::start;
use crate::page::Table;
use crate::{APPLICATION, CLIENT, Outcome, followers, list};

/// Of the table `reports`.
pub(crate) const COLUMNS: &[&str] = &[
    "reports",
    "one look, p50",
    "longest",
    "peak memory of the process",
    "of that, before it looked",
    "written in",
    "load",
];

const LASTING: Duration = Duration::from_secs(3600);
const LOOKS: usize = 5;
const AT_ONCE: usize = 64;

pub(crate) async fn measure(count: usize) -> Outcome<Vec<Table>> {
    let etcd = Etcd::start().await;
    let endpoints = etcd.endpoints().join(",");
    // Nobody keeps so many leases in one process: they are to last until the looks are over.
    let store = EtcdStore::builder(etcd.endpoints(), CLIENT).lease(LASTING).build()?;
    store.import(&list(1)?).await?;
    let began = Instant::now();
    let registered = register(&store, count).await?;
    let took = began.elapsed();
    // Another process, as a rotator is.
    let (_process, mut said) = start(&["look", &endpoints])?;
    let line = said.next_line().await?.ok_or("the rotator ended")?;
    let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let &[found, before, after, median, longest] = numbers.as_slice() else {
        return Err(format!("{line:?} has other numbers").into());
    };
    if found != registered.len() as u64 {
        return Err(format!("{found} of {count} instances were found").into());
    }
    let micros = |micros| ms(Duration::from_micros(micros));
    let mut table = Table::new("reports", COLUMNS);
    table.row(&[
        count.to_string(),
        micros(median),
        micros(longest),
        format!("{:.1} MB", after as f64 / 1e6),
        format!("{:.1} MB", before as f64 / 1e6),
        format!("{:.1} s", took.as_secs_f64()),
        load(),
    ]);
    Ok(vec![table])
}

/// Registers so many instances that have reported once.
async fn register(store: &EtcdStore, count: usize) -> Outcome<Vec<keyswap_store::Registration>> {
    let usage = Arc::new(SecretRing::new(list(1)?).usage());
    let (mut writing, mut registered) = (JoinSet::new(), Vec::with_capacity(count));
    for number in 0..count {
        if writing.len() == AT_ONCE
            && let Some(written) = writing.join_next().await
        {
            registered.push(written??);
        }
        let (store, usage) = (store.clone(), Arc::clone(&usage));
        writing.spawn(async move {
            let report = InstanceReport::new(APPLICATION, format!("i-{number:016x}"));
            let registration = store.register(&report.next((*usage).clone())).await?;
            Outcome::Ok(registration)
        });
    }
    while let Some(written) = writing.join_next().await {
        registered.push(written??);
    }
    Ok(registered)
}

/// How many there are, peak memory before and after, and the time of a look in microseconds.
pub(crate) async fn look(endpoints: &str) -> Outcome<()> {
    let store = followers::store(endpoints)?;
    store.published().await?;
    let before = memory("VmHWM")?;
    let (mut found, mut times) = (0, Vec::new());
    for _ in 0..LOOKS {
        let began = Instant::now();
        found = store.instances().await?.len();
        times.push(began.elapsed());
    }
    let times = Times::new(times);
    let (median, max) = (times.median().as_micros(), times.max().as_micros());
    println!("{found} {before} {} {median} {max}", memory("VmHWM")?);
    Ok(())
}
