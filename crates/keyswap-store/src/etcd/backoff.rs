//! How long to wait before asking again.

use std::time::Duration;

pub(super) use crate::report::chance;

const FIRST: Duration = Duration::from_millis(50);
/// The longest wait of what goes on by itself, a watch or the keeping of a lease. It is reached when a store
/// is away for as long: a store that comes back has all its programs again in that time, and 10,000 of them
/// ask it a thousand times a second meanwhile, not five thousand times, which kept it from coming back.
pub(super) const LONGEST: Duration = Duration::from_secs(15);

/// The wait after so many failures in a row: doubled each time up to `longest`, of which half is up to
/// `chance` (0 to 1), so that a fleet that lost its store does not come back all at once.
pub(super) fn wait(failures: u32, longest: Duration, chance: f64) -> Duration {
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(failures.min(16)));
    let whole = doubled.min(longest);
    whole.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_never_hot_and_never_long(failures in any::<u32>(), chance in 0.0..=1.0) {
            let wait = wait(failures, LONGEST, chance);
            prop_assert!(wait >= FIRST / 2 && wait <= LONGEST, "{wait:?}");
        }

        #[test]
        fn waits_grow(failures in 0_u32..5, chance in 0.0..=1.0) {
            prop_assert!(wait(failures + 1, LONGEST, chance) > wait(failures, LONGEST, chance));
        }
    }
}
