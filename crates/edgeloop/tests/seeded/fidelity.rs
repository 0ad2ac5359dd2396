//! The model of a connection against the kernel that this test runs on.

use edgeloop::sim::internals::chosen_seeds;
use simulations::compare;

#[test]
fn the_model_agrees_with_the_kernel() {
    // Scripts about full buffers mostly wait for timers of TCP: several go at a time.
    const THREADS: usize = 4;
    let seeds = chosen_seeds(0..2_000);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let seeds = seeds.clone().skip(thread).step_by(THREADS);
            scope.spawn(|| seeds.for_each(expect_agreement));
        }
    });
}

fn expect_agreement(seed: u64) {
    if let Err(difference) = compare(seed) {
        panic!(
            "seed {seed}: {difference}\nreplay with: EDGELOOP_SEEDS={seed}..{} cargo test -p \
             edgeloop --test seeded agrees_with_the_kernel",
            seed + 1
        );
    }
}
