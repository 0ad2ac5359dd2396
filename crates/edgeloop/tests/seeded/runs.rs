//! Runs by seed, and runs that meet one budget each.

use std::time::Duration;

use edgeloop::sim::Failure;
use edgeloop::sim::internals::{Client, Kind, Peer, Role, Tally, World, chosen_seeds};
use edgeloop::{Config, Stop};
use simulations::{AtTheEnd, Outcome, run, run_plain};

#[test]
fn no_seed_loses_a_byte_or_leaks_or_stalls_or_spins() {
    let (mut tally, mut faults) = (Tally::default(), 0);
    for seed in chosen_seeds(0..500) {
        match run(seed, None, None) {
            Ok(outcome) => {
                tally.add(outcome.tally);
                faults += outcome.faults.len();
            }
            Err(violation) => panic!(
                "seed {seed}: {violation:?}\nreplay with: EDGELOOP_SEEDS={seed}..{} cargo test \
                 -p edgeloop --test seeded no_seed_loses",
                seed + 1
            ),
        }
    }
    println!("{tally:?}");
    assert!(faults > 0 && tally.jumps > 0);
}

/// A world of these peers, without faults, in which much happens in each wake-up.
fn crowd(seed: u64, peers: &[(Kind, usize, u64)]) -> World {
    let mut world = World::new(seed);
    world.burst = 500;
    for &(kind, count, length) in peers {
        for _ in 0..count {
            let client = Client::of(kind, length, &mut world.random);
            world.peers.push(Peer::new(Role::Client(client)));
        }
    }
    world
}

#[track_caller]
fn expect(outcome: Result<Outcome, Failure>, seed: u64) -> Tally {
    outcome.unwrap_or_else(|failure| panic!("seed {seed}: {failure:?}")).tally
}

/// Each run accounts for every byte; these are of peers that reset what is under way.
#[test]
fn c03_every_byte_is_accepted_or_counted_as_dropped() {
    for seed in 0..10 {
        let mut world = crowd(seed, &[(Kind::Resetting, 10, 1000), (Kind::Deaf, 10, 1000)]);
        world.buffers = (50, 500);
        let config = Config::new().read_buffer(50).high_watermark(500).low_watermark(100);
        expect(run_plain(world, config, None), seed);
    }
}

#[test]
fn c15_a_flood_does_not_keep_the_backlog_waiting() {
    for seed in 0..20 {
        let world = crowd(seed, &[(Kind::Greedy, 4, 3000), (Kind::Fair, 30, 10)]);
        let config = Config::new().turn_bytes(8).turn_accepts(2).turn_jobs(100);
        let tally = expect(run_plain(world, config, None), seed);
        assert!(tally.longest_backlog <= 1, "seed {seed}: {tally:?}");
        assert!(tally.most.accepts <= 2, "seed {seed}: {tally:?}");
    }
}

#[test]
fn c16_no_turn_closes_more_than_its_budget() {
    let mut most = 0;
    for seed in 0..20 {
        let world = crowd(seed, &[(Kind::Resetting, 60, 100)]);
        let config = Config::new().turn_bytes(1000).turn_accepts(1000).turn_jobs(4);
        let tally = expect(run_plain(world, config, None), seed);
        most = most.max(tally.most.closes);
    }
    assert_eq!(most, 4, "the budget was never met, or exceeded");
}

#[test]
fn c16_no_turn_reads_more_mail_than_its_budget() {
    let mut world = crowd(1, &[(Kind::Vanishing, 1, 0)]);
    world.buffers = (2000, 2000);
    world.peers[0].client().pushed = 100;
    let config = Config::new().turn_bytes(100_000).turn_accepts(10).turn_jobs(10);
    let letters: AtTheEnd = |handle, ids| {
        for _ in 0..100 {
            handle.send(ids[0].0, *b"x").expect("room in the mailbox");
        }
        handle.stop(Stop::Drain(Some(Duration::from_secs(10))));
    };
    let tally = expect(run_plain(world, config, Some(letters)), 1);
    assert_eq!(tally.most.bytes, 10, "{tally:?}");
}

#[test]
fn a_seed_always_runs_the_same_way() {
    for seed in [1, 2, 3] {
        assert_eq!(run(seed, None, None), run(seed, None, None));
    }
}
