//! Time a call, on one thread and on two.
//!
//! It is the processor time of the thread: what others do on the machine meanwhile counts less than it
//! would on the clock, and the calls here never wait.

use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::rounds::Rounds;
use crate::{Group, Variant};

const ROUNDS: usize = 41;
const CALLS_A_TURN: u64 = 10_000;

/// Nanoseconds a call, for each variant of a group.
#[must_use]
pub fn one_thread(group: &mut Group) -> Rounds {
    for variant in &mut group.variants {
        variant.run(CALLS_A_TURN);
    }
    Rounds::take(ROUNDS, group.variants.len(), |number| {
        turn(&mut group.variants[number], CALLS_A_TURN).0
    })
}

/// Short, so that most turns are over before the scheduler interrupts them.
const CALLS_ON_TWO: u64 = 3_000;
/// Turns that are tried until one was not disturbed.
const TRIES: usize = 20;
/// A turn counts if both threads ran for this share of its time: otherwise they ran one after the other,
/// and did not disturb each other as two threads do.
const AT_ONCE: f64 = 0.9;

/// How many times as long a call takes each of two threads at the same time, for each variant of a group:
/// what sharing the ring, the header value or the lock costs. Each thread has a core of its own.
///
/// # Panics
///
/// When there are no two cores.
#[must_use]
pub fn two_threads(group: &mut Group) -> Rounds {
    let pinned = || {
        pin(0);
        Rounds::take(ROUNDS, group.variants.len(), |number| {
            let variant = &mut group.variants[number];
            let alone = best(|| turn(variant, CALLS_ON_TWO));
            best(|| together(variant)) / alone
        })
    };
    thread::scope(|scope| scope.spawn(pinned).join().expect("no call fails"))
}

/// The first turn that was hardly disturbed, or the least disturbed one.
fn best(mut turn: impl FnMut() -> (f64, f64)) -> f64 {
    let mut least = turn();
    for _ in 1..TRIES {
        if least.1 >= AT_ONCE {
            break;
        }
        let next = turn();
        if next.1 > least.1 {
            least = next;
        }
    }
    least.0
}

fn together(first: &mut Variant) -> (f64, f64) {
    let mut second = first.fork();
    let arrived = AtomicUsize::new(0);
    let start_turn = |variant: &mut Variant| {
        variant.run(CALLS_ON_TWO / 10);
        arrived.fetch_add(1, Ordering::AcqRel);
        // Whoever slept until the other came would start late.
        while arrived.load(Ordering::Acquire) < 2 {
            hint::spin_loop();
        }
        turn(variant, CALLS_ON_TWO)
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            pin(1);
            start_turn(&mut second)
        });
        let own = start_turn(first);
        let other = other.join().expect("no call fails");
        ((own.0 + other.0) / 2.0, own.1.min(other.1))
    })
}

/// Nanoseconds a call, and the share of the turn in which the thread ran.
fn turn(variant: &mut Variant, calls: u64) -> (f64, f64) {
    let clock = Instant::now();
    let start = thread_nanoseconds();
    variant.run(calls);
    let ran = (thread_nanoseconds() - start) as f64;
    (ran / calls as f64, ran / clock.elapsed().as_nanos() as f64)
}

fn thread_nanoseconds() -> i64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

/// Processor time of all threads of this program.
pub(crate) fn process_nanoseconds() -> i64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// This thread, and those that it starts, run on this core alone.
pub(crate) fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).expect("this program may use the first two cores");
}
