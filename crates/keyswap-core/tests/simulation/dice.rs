//! Chance that comes out the same each time: every draw is a function of what it is drawn for.

/// Mixes numbers into one that looks random.
pub(crate) fn hash(parts: &[u64]) -> u64 {
    parts.iter().fold(0x51_7c_c1_b7_27_22_0a_95, |mixed, part| {
        let mut mixed = (mixed ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// A draw from 0 (included) to 1 (excluded).
pub(crate) fn share(parts: &[u64]) -> f64 {
    (hash(parts) >> 11) as f64 / (1u64 << 53) as f64
}
