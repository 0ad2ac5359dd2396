//! The one source of chance in a simulation: the same seed, the same choices.

/// SplitMix64: small, fast, and good enough to sample schedules with.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    #[expect(clippy::cast_possible_truncation, reason = "the result is below a usize")]
    pub(crate) const fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A number from `low` to `high`, both included; small ones and the ends are the likeliest,
    /// since that is where faults hide.
    pub(crate) fn size(&mut self, low: usize, high: usize) -> usize {
        match self.below(8) {
            0 => low,
            1 => high,
            2..=4 => low + self.below((high - low).min(16) + 1),
            _ => low + self.below(high - low + 1),
        }
    }

    /// Whether something happens that happens `times` times in a thousand.
    pub(crate) const fn chance(&mut self, times: usize) -> bool {
        self.below(1000) < times
    }

    /// One of several.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
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
