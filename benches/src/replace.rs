//! How long it takes to replace a list that many threads read.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use keyswap_core::{SecretList, SecretRing};

use crate::layers::keyswap::list;
use crate::rounds::percentile;

const LONGEST: Duration = Duration::from_secs(4);
const WRITES: usize = 2000;
/// A list is replaced now and then: the writer sleeps, as whatever waits for a change does.
const PAUSE: Duration = Duration::from_micros(200);

/// What replacing a list took, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Replaced {
    /// How often it was.
    pub writes: usize,
    /// The median.
    pub p50: f64,
    /// Of a hundred, one takes longer.
    pub p99: f64,
}

/// `SecretRing::replace`, while this many threads take snapshots without a pause.
#[must_use]
pub fn ring(readers: usize) -> Replaced {
    let ring = SecretRing::new(list(2));
    measure(readers, || drop(black_box(ring.snapshot())), |list| _ = ring.replace(list))
}

/// The same with a list in an `RwLock` of the standard library.
#[must_use]
pub fn rw_lock(readers: usize) -> Replaced {
    let shared = RwLock::new(Arc::new(list(2)));
    measure(
        readers,
        || drop(black_box(Arc::clone(&shared.read().expect("no writer panicked")))),
        |list| {
            let list = Arc::new(list);
            *shared.write().expect("no writer panicked") = list;
        },
    )
}

fn measure(readers: usize, read: impl Fn() + Sync, replace: impl Fn(SecretList)) -> Replaced {
    let over = AtomicBool::new(false);
    let begun = Barrier::new(readers + 1);
    let mut times = Vec::with_capacity(WRITES);
    thread::scope(|scope| {
        for _ in 0..readers {
            scope.spawn(|| {
                begun.wait();
                while !over.load(Ordering::Relaxed) {
                    read();
                }
            });
        }
        begun.wait();
        let lists = [list(3), list(2)];
        let start = Instant::now();
        while times.len() < WRITES && start.elapsed() < LONGEST {
            let next = lists[times.len() % 2].clone();
            let before = Instant::now();
            replace(next);
            times.push(before.elapsed().as_secs_f64() * 1e6);
            thread::sleep(PAUSE);
        }
        over.store(true, Ordering::Relaxed);
    });
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    Replaced { writes: times.len(), p50, p99 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_is_a_change() {
        let ring = SecretRing::new(list(2));
        let first = ring.snapshot().revision();
        let second = ring.replace(list(3));
        let third = ring.replace(list(2));
        assert!(first < second && second < third);
    }

    #[test]
    fn all_writes_are_timed() {
        for replaced in [ring(1), rw_lock(1)] {
            assert!(replaced.writes > 0 && replaced.p50 <= replaced.p99, "{replaced:?}");
        }
    }
}
