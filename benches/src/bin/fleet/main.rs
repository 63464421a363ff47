//! What a fleet costs a store, and how long a new list takes to reach all of it: the tables of
//! `docs/scale.md`, to standard output, or with `--into FILE` into that page.
//!
//! This process publishes and reads the reports, as a rotator does; the instances are other ones. Run it by
//! `benches/fleet.sh`, which says where etcd is.
#![forbid(unsafe_code)]

mod etcd;
mod figures;
mod file;
mod followers;
mod metrics;
mod page;
mod reports;
mod simulation;

use std::error::Error;

use keyswap_core::{Secret, SecretList};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const CLIENT: &str = "billing";
const APPLICATION: &str = "billing-app";
const USAGE: &str = "\
usage: benches/fleet.sh file [PROCESSES]        one directory, a process an instance (50)
       benches/fleet.sh etcd [INSTANCES]        three nodes of etcd, followers in one process (1000)
       benches/fleet.sh reports [INSTANCES]     a rotator's look at that many reports in etcd (100000)
       benches/fleet.sh smoke                   all of that with few, for a test
with --into FILE the tables go into that page";

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let into = match arguments.iter().position(|argument| argument == "--into") {
        Some(at) if at + 1 < arguments.len() => arguments.drain(at..at + 2).nth(1),
        _ => None,
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = runtime.block_on(async {
        let tables = match arguments.as_slice() {
            ["member", store] => return file::member(store).await,
            ["followers", endpoints, count] => {
                return followers::run(endpoints, count.parse()?).await;
            }
            ["look", endpoints] => return reports::look(endpoints).await,
            ["file"] => file::measure(50, 40).await?,
            ["file", count] => file::measure(count.parse()?, 40).await?,
            ["etcd"] => etcd::measure(1000, etcd::Length::WHOLE).await?,
            ["etcd", count] => etcd::measure(count.parse()?, etcd::Length::WHOLE).await?,
            ["reports"] => reports::measure(20_000).await?,
            ["reports", count] => reports::measure(count.parse()?).await?,
            ["smoke"] => {
                let mut tables = file::measure(3, 2).await?;
                tables.extend(etcd::measure(50, etcd::Length::SMOKE).await?);
                tables.extend(reports::measure(50).await?);
                tables
            }
            _ => return Err(USAGE.into()),
        };
        page::put(&tables, into.as_deref())
    });
    runtime.shutdown_background();
    outcome
}

/// A list of two secrets, as in a rotation, each time other ones.
fn list(number: u64) -> Outcome<SecretList> {
    Ok(SecretList::new([secret(number)?, secret(number + 1)?])?)
}

/// A list of one of them, as at rest.
fn list_of_one(number: u64) -> Outcome<SecretList> {
    Ok(SecretList::new([secret(number)?])?)
}

fn secret(number: u64) -> Outcome<Secret> {
    Ok(Secret::new(format!("s{number}").parse()?, format!("value-{number:034}"))?)
}
