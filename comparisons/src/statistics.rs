//! Medians and their intervals: no assumption is made about how the noise is distributed.

use serde::{Deserialize, Serialize};

/// A median, and an interval that holds the true one with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Estimate {
    /// Of samples in any order. `None` when there are fewer than six, since no interval of order
    /// statistics then reaches 95 %.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let (low, high) = ranks(samples.len())?;
        let mut sorted = samples.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        Some(Self { median: median_of_sorted(&sorted), low: sorted[low], high: sorted[high] })
    }

    /// This one divided by another that is independent of it, with an interval that is wide enough
    /// for both ends.
    pub(crate) fn over(self, other: Self) -> Self {
        Self {
            median: self.median / other.median,
            low: self.low / other.high,
            high: self.high / other.low,
        }
    }
}

/// The median of any samples; 0 for none.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    median_of_sorted(&sorted)
}

fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Which of so many sorted samples bound the 95 % interval of the median, counted from 0.
///
/// Each sample lies below the median with probability 1/2, so their number below it is binomial.
/// The lower rank is the highest for which at most 2.5 % lie outside on its side; the upper one
/// mirrors it.
fn ranks(samples: usize) -> Option<(usize, usize)> {
    let n = f64::from(u32::try_from(samples).ok()?);
    // The logarithm of C(n, i) / 2^n, for i = 0: whole binomials would overflow.
    let mut logarithm = -n * std::f64::consts::LN_2;
    let (mut below, mut rank) = (0.0, 0);
    let mut i = 0.0;
    loop {
        below += logarithm.exp();
        if below > 0.025 || rank >= samples {
            break;
        }
        rank += 1;
        logarithm += ((n - i) / (i + 1.0)).ln();
        i += 1.0;
    }
    // The loop ends at the first rank whose tail is too heavy: the one before it bounds.
    let low = rank.checked_sub(1)?;
    Some((low, samples - 1 - low))
}

/// Of each cycle, what one server took for a unit by what the other took.
pub(crate) fn ratios(of: &[f64], against: &[f64]) -> Vec<f64> {
    of.iter().zip(against).map(|(of, against)| of / against).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_both() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_ranks_are_those_of_the_tables() {
        // Tables of the sign test's interval count from 1: n = 6 has 1 and 6, n = 10 has 2 and 9,
        // n = 20 has 6 and 15, n = 100 has 40 and 61.
        assert_eq!(ranks(5), None);
        assert_eq!(ranks(6), Some((0, 5)));
        assert_eq!(ranks(10), Some((1, 8)));
        assert_eq!(ranks(20), Some((5, 14)));
        assert_eq!(ranks(100), Some((39, 60)));
        assert_eq!(ranks(0), None);
    }

    #[test]
    fn many_samples_do_not_underflow() {
        let (low, high) = ranks(10_000).expect("an interval");
        assert_eq!(low + high, 9_999);
        // n / 2 - 0.98 * sqrt(n), to within one.
        assert!((4900..=4902).contains(&low), "{low}");
    }

    #[test]
    fn an_estimate_does_not_depend_on_the_order() {
        let rising: Vec<f64> = (0..100).map(f64::from).collect();
        let falling: Vec<f64> = rising.iter().rev().copied().collect();
        let estimate = Estimate::of(&rising).expect("enough samples");
        assert_eq!(estimate, Estimate { median: 49.5, low: 39.0, high: 60.0 });
        assert_eq!(Estimate::of(&falling), Some(estimate));
        assert_eq!(Estimate::of(&rising[..5]), None);
    }

    #[test]
    fn drift_that_touches_both_of_a_cycle_cancels_out() {
        let speed = [1.0, 1.3, 0.8, 1.1, 1.25, 0.9, 1.0];
        let of: Vec<f64> = speed.iter().map(|speed| speed * 1.1).collect();
        for ratio in ratios(&of, &speed) {
            assert!((ratio - 1.1).abs() < 1e-12);
        }
    }

    #[test]
    fn a_quotient_of_estimates_is_as_wide_as_both() {
        let one = Estimate { median: 1.2, low: 1.1, high: 1.3 };
        let other = Estimate { median: 1.0, low: 0.9, high: 1.1 };
        let quotient = one.over(other);
        assert!((quotient.median - 1.2).abs() < 1e-12);
        assert!((quotient.low - 1.0).abs() < 1e-12);
        assert!((quotient.high - 1.3 / 0.9).abs() < 1e-12);
    }
}
