//! The one source of chance in a simulation: the same seed, the same choices.

use std::time::Duration;

/// A source of chance that always says the same for the same seed: SplitMix64, small, fast, and
/// good enough to sample schedules with. Not for secrets.
///
/// # Examples
///
/// ```
/// let mut random = edgeloop::sim::Random::new(7);
/// let size = random.below(100);
/// assert!(size < 100);
/// ```
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// One that starts from this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    ///
    /// # Panics
    ///
    /// When `end` is 0.
    #[expect(clippy::cast_possible_truncation, reason = "the result is below a usize")]
    pub const fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "there is no number below 0");
        // The high half of a product: no division, and as even.
        ((self.next() as u128 * end as u128) >> 64) as usize
    }

    /// A number from `low` to `high`, both included; small ones and the ends are the likeliest,
    /// since that is where faults hide.
    ///
    /// # Panics
    ///
    /// When `low` is above `high`.
    pub fn size(&mut self, low: usize, high: usize) -> usize {
        match self.below(8) {
            0 => low,
            1 => high,
            2..=4 => low + self.below((high - low).min(16) + 1),
            _ => low + self.below(high - low + 1),
        }
    }

    /// Whether something happens that happens `times` times in a thousand.
    pub const fn chance(&mut self, times: usize) -> bool {
        self.below(1000) < times
    }

    /// A part of this time.
    pub(crate) fn share(&mut self, time: Duration) -> Duration {
        Duration::from_nanos(self.below(usize::try_from(time.as_nanos()).unwrap_or(1) + 1) as u64)
    }

    /// So many bytes of any value.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[7]).collect()
    }

    /// One of several.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_choices_and_stays_in_bounds() {
        let choices = |seed| {
            let mut random = Random::new(seed);
            (0..1000).map(|_| random.size(3, 70)).collect::<Vec<_>>()
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
        assert!(choices(7).iter().all(|size| (3..=70).contains(size)));
        assert!(choices(7).contains(&3) && choices(7).contains(&70));
    }
}
