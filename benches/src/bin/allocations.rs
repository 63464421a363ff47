//! Allocations and bytes a call of each variant: a line each, with tabs between.
//!
//! With the name of a variant as its argument, it makes calls of that one alone and writes
//! `dhat-heap.json`, which shows *where* they are made.
#![forbid(unsafe_code)]

use dhat::Profiler;
use keyswap_benches::{CALLS, WARM_UP, allocations, variants};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() {
    if let Some(name) = std::env::args().nth(1) {
        let variant = variants().into_iter().find(|variant| variant.name() == name);
        let mut variant = variant.unwrap_or_else(|| panic!("there is no variant {name}"));
        variant.run(WARM_UP);
        let _written_when_dropped = Profiler::new_heap();
        variant.run(CALLS);
        return;
    }
    let _counting = Profiler::builder().testing().build();
    for mut variant in variants() {
        let (count, bytes) = allocations(&mut variant);
        println!("{}\t{count}\t{bytes}", variant.name());
    }
}
