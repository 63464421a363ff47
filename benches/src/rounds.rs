//! Figures that were taken in turns, and what is made of them.

/// A figure for each variant and round.
///
/// The clock of a virtual machine drifts, and other programs come and go. Variants that take turns feel
/// that alike, so each figure is compared with another one's *of the same round*.
#[derive(Debug)]
pub struct Rounds {
    variants: Vec<Vec<f64>>,
}

impl Rounds {
    /// Takes `N` figures of each variant in each round.
    pub(crate) fn take<const N: usize>(
        rounds: usize,
        variants: usize,
        mut turn: impl FnMut(usize) -> [f64; N],
    ) -> [Self; N] {
        let mut all = [(); N].map(|()| Self { variants: vec![Vec::new(); variants] });
        for _ in 0..rounds {
            for variant in 0..variants {
                for (rounds, figure) in all.iter_mut().zip(turn(variant)) {
                    rounds.variants[variant].push(figure);
                }
            }
        }
        all
    }

    /// The median of a variant.
    #[must_use]
    pub fn median(&self, variant: usize) -> f64 {
        median(self.variants[variant].clone())
    }

    /// The median of the ratios of one variant to another.
    #[must_use]
    pub fn ratio(&self, variant: usize, to: usize) -> f64 {
        let pairs = self.variants[variant].iter().zip(&self.variants[to]);
        median(pairs.map(|(own, other)| own / other).collect())
    }
}

/// Of the figures that are numbers: a round may have failed to give one.
fn median(mut values: Vec<f64>) -> f64 {
    values.retain(|value| !value.is_nan());
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that this share of all values does not exceed.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let position = (values.len() as f64 * share).ceil() as usize;
    values[position.clamp(1, values.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_compares_within_a_round_so_that_a_drift_of_all_is_not_seen() {
        let mut drift = 1.0;
        let [rounds] = Rounds::take(5, 2, |variant| {
            if variant == 0 {
                drift *= 2.0;
            }
            [drift * [1.0, 3.0][variant]]
        });
        assert_eq!(rounds.ratio(1, 0), 3.0);
        assert_eq!(rounds.median(0), 8.0);
    }

    #[test]
    fn a_round_without_a_figure_is_left_out() {
        let mut figures = [f64::NAN, 2.0, 4.0, f64::NAN, 3.0].into_iter();
        let [rounds] = Rounds::take(5, 1, |_| [figures.next().unwrap()]);
        assert_eq!(rounds.median(0), 3.0);
        let [none] = Rounds::take(1, 1, |_| [f64::NAN]);
        assert!(none.median(0).is_nan());
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.5), 100.0);
        assert_eq!(percentile(&mut values, 0.99), 198.0);
        assert_eq!(percentile(&mut [7.0], 0.99), 7.0);
    }
}
