//! Random numbers that can be had again.

use std::hash::{BuildHasher, Hasher, RandomState};

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    /// Seeded afresh, or with `EDGELOOP_SEED`; what is printed replays the test that calls this.
    pub(super) fn new() -> Self {
        let seed = std::env::var("EDGELOOP_SEED").map_or_else(
            |_| RandomState::new().build_hasher().finish(),
            |seed| seed.parse().expect("EDGELOOP_SEED is a number"),
        );
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("wheel");
        println!("replay: EDGELOOP_SEED={seed} cargo test -p edgeloop --lib {test} -- --exact");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Below 2 to the power of `bits`, and of every magnitude about as often.
    pub(super) fn magnitude(&mut self, bits: u64) -> u64 {
        let bits = self.below(bits) + 1;
        self.below(1 << bits)
    }

    pub(super) fn id(&mut self, end: u32) -> u32 {
        u32::try_from(self.below(end.into())).expect("below a u32")
    }
}
