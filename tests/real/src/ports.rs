//! Ports for servers that are told theirs.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use rand::RngExt;

/// The ports that the kernel gives to whoever wants any: outgoing connections, and listeners that ask for port 0. Those are
/// its own when it does not tell.
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;
/// What is below this may be the port of a service of this machine.
const LOWEST: u16 = 10_000;

/// Where to look next. None is given twice: that of a server which is down for a while looks free.
static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// The first of `count` free ports in a row, none of which the kernel gives to anybody who did not ask for that very one.
///
/// A server that is down for a while gets such a port back. Any other one may be taken meanwhile, for as long as it takes:
/// by a connection of another test; and even by one to the server itself, which the kernel may give the very port that it is to
/// reach, so that it is connected to itself.
pub(crate) fn free_ports(count: u16) -> u16 {
    let told = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let ephemeral = told.ok().as_deref().and_then(parse).unwrap_or(EPHEMERAL);
    let candidates = beside(&ephemeral, count);
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        // Another run at the same time begins elsewhere.
        let first = next
            .filter(|next| candidates.contains(next))
            .unwrap_or_else(|| rand::rng().random_range(candidates.clone()));
        *next = Some(first + count);
        if (first..first + count).all(free) {
            return first;
        }
    }
}

// "32768\t60999"
fn parse(range: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = range.split_whitespace().map(str::parse);
    Some(ends.next()?.ok()?..=ends.next()?.ok()?)
}

/// Which ports may be the first of `count` outside of that range: where there are more of them.
fn beside(ephemeral: &RangeInclusive<u16>, count: u16) -> RangeInclusive<u16> {
    let (low, high) = (*ephemeral.start(), *ephemeral.end());
    let below = LOWEST..=low.saturating_sub(count);
    let above = high.saturating_add(1)..=u16::MAX - count;
    let widest = if below.len() >= above.len() { below } else { above };
    // A machine that gives all of them away.
    if widest.is_empty() { LOWEST..=u16::MAX - count } else { widest }
}
