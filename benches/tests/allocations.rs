//! How many allocations a call may make: a test, since the counts are the same on every machine.
#![forbid(unsafe_code)]

use dhat::Profiler;
use keyswap_benches::{allocations, variants};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// What each variant makes today. Lower ours whenever the code gets better; a peer's count changes only
/// with its version. The goals are in `docs/performance.md`.
const AT_MOST: &[(&str, u32)] = &[
    ("bare", 2),
    ("set_header", 2),
    ("add_authorization", 2),
    ("follow_redirect", 7),
    ("format_each", 9),
    ("retry_two", 4),
    ("keyswap_one", 2),
    ("keyswap_two", 2),
    ("keyswap_eight", 2),
    ("post_bare", 2),
    ("form_each", 8),
    ("keyswap_post", 4),
    ("large_bare", 2),
    ("large_set_header", 2),
    ("large_keyswap", 2),
    ("stream_bare", 2),
    ("stream_set_header", 2),
    ("stream_keyswap", 4),
    ("fallback_bare_twice", 6),
    ("fallback_retry", 8),
    ("fallback_keyswap", 6),
    ("arc_swap_load", 0),
    ("arc_swap_load_full", 0),
    ("token_source", 0),
    ("oauth2_request", 31),
];

#[test]
fn no_call_allocates_more_often_than_is_recorded() {
    let _counting = Profiler::builder().testing().build();
    let mut variants = variants();
    let names: Vec<&str> = variants.iter().map(|variant| variant.name()).collect();
    let recorded: Vec<&str> = AT_MOST.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, recorded, "each variant has its line, in the order of the groups");
    let worse: Vec<String> = variants
        .iter_mut()
        .zip(AT_MOST)
        .filter_map(|(variant, (name, at_most))| {
            let (count, _) = allocations(variant);
            // A rare growth of something that is kept is no allocation of a call.
            let more = count > f64::from(*at_most) + 0.01;
            more.then(|| format!("{name}: {count}, at most {at_most}"))
        })
        .collect();
    assert!(worse.is_empty(), "more allocations a call than recorded: {worse:?}");
}
