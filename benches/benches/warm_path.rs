//! Time a call: criterion's figures, then ratios to the bare service from variants that take turns.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use criterion::Criterion;
use keyswap_benches::{Variant, fallback, warm_path};

const CALLS_A_TURN: u64 = 20_000;
const ROUNDS: usize = 51;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    measure(&mut criterion, "warm_path", warm_path());
    measure(&mut criterion, "fallback", fallback());
    criterion.final_summary();
    // `cargo bench` gives this flag; `cargo test --benches` only asks whether everything runs.
    if std::env::args().any(|argument| argument == "--bench") {
        ratios("Warm path: the first attempt is accepted", warm_path());
        ratios("Fallback: refused once, then accepted", fallback());
    }
}

fn measure(criterion: &mut Criterion, group: &str, variants: Vec<Variant>) {
    let mut group = criterion.benchmark_group(group);
    for mut variant in variants {
        group.bench_function(variant.name(), |bencher| {
            bencher.iter_custom(|calls| time(&mut variant, calls));
        });
    }
    group.finish();
}

/// The clock of a virtual machine drifts: variants that take turns feel it all alike, and each turn is
/// compared with the turn of the bare service in the same round.
fn ratios(title: &str, mut variants: Vec<Variant>) {
    let mut rounds: Vec<Vec<f64>> = vec![Vec::with_capacity(ROUNDS); variants.len()];
    for _ in 0..ROUNDS {
        for (variant, rounds) in variants.iter_mut().zip(&mut rounds) {
            rounds.push(time(variant, CALLS_A_TURN).as_secs_f64() / CALLS_A_TURN as f64 * 1e9);
        }
    }
    println!("\n{title} ({ROUNDS} rounds of {CALLS_A_TURN} calls, medians)\n");
    println!("| variant | ns a call | over bare, ns | ratio to bare |");
    println!("| --- | --- | --- | --- |");
    let bare = rounds[0].clone();
    for (variant, rounds) in variants.iter().zip(rounds) {
        let pairs = || rounds.iter().zip(&bare);
        let over = median(pairs().map(|(own, bare)| own - bare).collect());
        let ratio = median(pairs().map(|(own, bare)| own / bare).collect());
        let name = variant.name();
        println!("| {name} | {:.1} | {over:.1} | {ratio:.2} |", median(rounds.clone()));
    }
}

fn time(variant: &mut Variant, calls: u64) -> Duration {
    let start = Instant::now();
    variant.run(calls);
    start.elapsed()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
