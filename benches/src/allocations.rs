//! Allocations a call, counted by dhat's allocator.

use dhat::HeapStats;

use crate::Variant;

/// Calls that may fill what is kept between calls.
pub const WARM_UP: u64 = 100;
/// Calls that are counted.
pub const CALLS: u64 = 2000;

/// Allocations and bytes a call.
///
/// A `realloc` counts as one allocation of its new size.
///
/// # Panics
///
/// When [`dhat::Alloc`] is not the global allocator, or no [`dhat::Profiler`] runs.
pub fn allocations(variant: &mut Variant) -> (f64, f64) {
    variant.run(WARM_UP);
    let before = HeapStats::get();
    variant.run(CALLS);
    let after = HeapStats::get();
    let a_call = |count: u64| count as f64 / CALLS as f64;
    (
        a_call(after.total_blocks - before.total_blocks),
        a_call(after.total_bytes - before.total_bytes),
    )
}
