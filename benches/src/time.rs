//! Time a call, on one thread and on two.
//!
//! It is the processor time of the thread: what others do on the machine meanwhile counts less than it
//! would on the clock, and the calls here never wait.

use std::hint;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

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
    let [times] = Rounds::take(ROUNDS, group.variants.len(), |number| {
        [turn(&mut group.variants[number], CALLS_A_TURN).ran / CALLS_A_TURN as f64]
    });
    times
}

/// Short, so that most turns are over before the scheduler interrupts them.
const CALLS_ON_TWO: u64 = 2_000;
const ROUNDS_ON_TWO: usize = 101;
/// A turn counts if its threads ran for this share of the time from the first one's start to the last one's
/// end: threads that run one after the other do not disturb each other as two do.
const UNDISTURBED: f64 = 0.85;
/// On a busy machine many turns are disturbed. A round without another one is left out.
const TRIES: usize = 60;

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
        let [ratios] = Rounds::take(ROUNDS_ON_TWO, group.variants.len(), |number| {
            let variant = &mut group.variants[number];
            let alone = undisturbed(|| vec![turn(variant, CALLS_ON_TWO)]);
            [undisturbed(|| together(variant)) / alone]
        });
        ratios
    };
    thread::scope(|scope| scope.spawn(pinned).join().expect("no call fails"))
}

/// Nanoseconds a call in the first turn that was not disturbed; not a number if there is none.
fn undisturbed(mut turn: impl FnMut() -> Vec<Turn>) -> f64 {
    for _ in 0..TRIES {
        let turns = turn();
        let threads = turns.len() as f64;
        let ran: f64 = turns.iter().map(|turn| turn.ran).sum();
        let start = turns.iter().map(|turn| turn.start).min();
        let end = turns.iter().map(|turn| turn.end).max();
        let span = start.zip(end).map_or(f64::MAX, |(start, end)| nanoseconds(end - start));
        if ran >= UNDISTURBED * span * threads {
            return ran / threads / CALLS_ON_TWO as f64;
        }
    }
    f64::NAN
}

fn together(first: &mut Variant) -> Vec<Turn> {
    let mut second = first.fork();
    let both = Barrier::new(2);
    let arrived = AtomicUsize::new(0);
    let start_turn = |variant: &mut Variant| {
        variant.run(CALLS_ON_TWO / 10);
        // Both are awake from here, with time left to run; whoever was woken up comes a bit later.
        both.wait();
        arrived.fetch_add(1, Ordering::AcqRel);
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
        vec![own, other.join().expect("no call fails")]
    })
}

struct Turn {
    /// Nanoseconds of processor time.
    ran: f64,
    start: Instant,
    end: Instant,
}

fn turn(variant: &mut Variant, calls: u64) -> Turn {
    let start = Instant::now();
    let before = processor_time(ClockId::ThreadCPUTime);
    variant.run(calls);
    let ran = nanoseconds(processor_time(ClockId::ThreadCPUTime) - before);
    Turn { ran, start, end: Instant::now() }
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// Of all threads of this program.
pub(crate) fn process_time() -> Duration {
    processor_time(ClockId::ProcessCPUTime)
}

fn processor_time(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).expect("it counts from zero")
}

/// This thread, and those that it starts, run on this core alone.
pub(crate) fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).expect("this program may use the first two cores");
}
