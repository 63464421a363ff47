//! Allocations and bytes a call, from a counting allocator.
//!
//! With the name of a variant as its argument, it makes calls of that one alone and writes
//! `dhat-heap.json`, which shows *where* they are made.
#![forbid(unsafe_code)]

use dhat::{HeapStats, Profiler};
use keyswap_benches::{Variant, fallback, warm_path};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const WARM_UP: u64 = 100;
const CALLS: u64 = 2000;

fn main() {
    // `cargo bench` adds a flag of its own.
    let chosen = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if let Some(name) = chosen {
        let mut all = warm_path().into_iter().chain(fallback());
        let mut variant = all
            .find(|variant| variant.name() == name)
            .unwrap_or_else(|| panic!("there is no variant {name}"));
        variant.run(WARM_UP);
        let _written_when_dropped = Profiler::new_heap();
        variant.run(CALLS);
        return;
    }
    let _counting = Profiler::builder().testing().build();
    table("Warm path: the first attempt is accepted", warm_path());
    table("Fallback: refused once, then accepted", fallback());
}

fn table(title: &str, variants: Vec<Variant>) {
    println!("\n{title}\n");
    println!("| variant | allocations | bytes | allocations over bare | bytes over bare |");
    println!("| --- | --- | --- | --- | --- |");
    let mut bare = None;
    for mut variant in variants {
        let (allocations, bytes) = count(&mut variant);
        let (bare_allocations, bare_bytes) = *bare.get_or_insert((allocations, bytes));
        println!(
            "| {} | {allocations:.1} | {bytes:.0} | {:+.1} | {:+.0} |",
            variant.name(),
            allocations - bare_allocations,
            bytes - bare_bytes,
        );
    }
}

fn count(variant: &mut Variant) -> (f64, f64) {
    variant.run(WARM_UP);
    let before = HeapStats::get();
    variant.run(CALLS);
    let after = HeapStats::get();
    let per_call = |count: u64| count as f64 / CALLS as f64;
    (
        per_call(after.total_blocks - before.total_blocks),
        per_call(after.total_bytes - before.total_bytes),
    )
}
