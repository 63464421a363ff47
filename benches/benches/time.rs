//! Time a call, by criterion: for a look at one variant. `performance` gives the ratios.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use criterion::Criterion;
use keyswap_benches::{Group, Variant, groups};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    for group in groups() {
        measure(&mut criterion, group);
    }
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, group: Group) {
    let mut benchmarks = criterion.benchmark_group(group.title);
    for mut variant in group.variants {
        benchmarks.bench_function(variant.name(), |bencher| {
            bencher.iter_custom(|calls| time(&mut variant, calls));
        });
    }
    benchmarks.finish();
}

fn time(variant: &mut Variant, calls: u64) -> Duration {
    let start = Instant::now();
    variant.run(calls);
    start.elapsed()
}
