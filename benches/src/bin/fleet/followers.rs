//! Many instances in one process, each with a connection, a watch, a lease and a ring of its own, as if it
//! were a process of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyswap_core::{Attempts, FallbackPolicy, Revision, SecretRing, Verdict};
use keyswap_store::{EtcdStore, InstanceReport, SecretStore, join};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::figures::{Times, clock, memory};
use crate::{APPLICATION, CLIENT, Outcome};

/// The client that operations are measured with.
pub(crate) const ANOTHER: &str = "another";
/// How many join at once: a deployment starts its programs one after the other.
const AT_ONCE: usize = 32;
const TRIES: u32 = 10;
/// Ten thousand reports at once take the nodes longer than a quarter of the default: see docs/scale.md.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn store(endpoints: &str) -> Outcome<EtcdStore> {
    Ok(EtcdStore::builder(endpoints.split(','), CLIENT).timeout(TIMEOUT).build()?)
}

/// Says what was adopted when, and does what standard input asks for, until that ends.
pub(crate) async fn run(endpoints: &str, count: usize) -> Outcome<()> {
    // Programs are on other hosts than their store: what they need must not keep it from its work.
    rustix::process::nice(15)?;
    let (before, began) = (memory("VmRSS")?, Instant::now());
    let (adopted, events) = mpsc::unbounded_channel();
    let mut rings = Vec::with_capacity(count);
    let mut joining = JoinSet::new();
    for _ in 0..count {
        if joining.len() == AT_ONCE
            && let Some(joined) = joining.join_next().await
        {
            rings.push(joined??);
        }
        joining.spawn(member(store(endpoints)?, adopted.clone()));
    }
    while let Some(joined) = joining.join_next().await {
        rings.push(joined??);
    }
    println!("ready {} {}", began.elapsed().as_millis(), memory("VmRSS")?.saturating_sub(before));
    tokio::spawn(tell(events, count));
    let mut watches = Vec::new();
    let mut asked = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = asked.next_line().await? {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["use"] => {
                for ring in &rings {
                    tokio::spawn(use_it(ring.clone()));
                }
            }
            ["watch", times] => {
                for _ in 0..times.parse()? {
                    watches.push(store(endpoints)?.another(ANOTHER)?.watch().await?);
                }
            }
            ["reads", times] => reads(endpoints, times.parse()?).await?,
            ["writes", times] => writes(endpoints, times.parse()?).await?,
            _ => return Err(format!("nobody knows {line:?}").into()),
        }
        println!("done");
    }
    Ok(())
}

async fn member(
    store: EtcdStore,
    adopted: mpsc::UnboundedSender<(Revision, u64)>,
) -> Outcome<SecretRing> {
    let mut tries = 0;
    let (ring, member) = loop {
        match join(store.clone(), APPLICATION, FallbackPolicy::default()).await {
            Ok(joined) => break joined,
            // Whatever starts programs starts one again that ended.
            Err(error) if tries < TRIES => {
                eprintln!("one more try: {error}");
                tries += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    let mut changes = ring.subscribe();
    tokio::spawn(member);
    tokio::spawn(async move {
        let mut last = Revision::new(1);
        while let Some(revision) = changes.changed().await {
            // The order of the list changes as well.
            if revision > last {
                let _ = adopted.send((revision, clock()));
                last = revision;
            }
        }
    });
    Ok(ring)
}

/// One line a list that all have adopted: when, in nanoseconds of the machine's clock.
async fn tell(mut events: mpsc::UnboundedReceiver<(Revision, u64)>, count: usize) {
    let mut times = Vec::with_capacity(count);
    while let Some((revision, at)) = events.recv().await {
        times.push(Duration::from_nanos(at));
        if times.len() == count {
            let of = Times::new(std::mem::take(&mut times));
            let at = [of.median(), of.quantile(0.99), of.max()].map(|time| time.as_nanos());
            println!("adopted {revision} {} {} {}", at[0], at[1], at[2]);
        }
    }
}

/// A request a second, which the server accepts.
async fn use_it(ring: SecretRing) {
    loop {
        let _ = Attempts::begin(&ring).0.conclude(Verdict::Accepted, Instant::now());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The list is read so many times, by as many at once as join at once.
async fn reads(endpoints: &str, times: usize) -> Outcome<()> {
    let mut reading = JoinSet::new();
    for _ in 0..AT_ONCE {
        let store = store(endpoints)?;
        reading.spawn(async move {
            for _ in 0..times / AT_ONCE {
                store.published().await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(read) = reading.join_next().await {
        read??;
    }
    Ok(())
}

/// So many reports, of instances of another client.
async fn writes(endpoints: &str, times: usize) -> Outcome<()> {
    let mut writing = JoinSet::new();
    let usage = Arc::new(SecretRing::new(crate::list(1)?).usage());
    for writer in 0..AT_ONCE {
        let (store, usage) = (store(endpoints)?.another(ANOTHER)?, Arc::clone(&usage));
        writing.spawn(async move {
            let mut report = InstanceReport::new(APPLICATION, format!("w-{writer}"));
            let registration = store.register(&report).await?;
            for _ in 0..times / AT_ONCE {
                report = report.next((*usage).clone());
                store.report(&registration, &report).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    Ok(())
}
