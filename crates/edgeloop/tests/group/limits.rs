//! What is promised for the process holds for all loops together.

use std::time::Duration;

use edgeloop::{Config, MIN_BUFFER_LIMIT, Spread, Stop};
use testkit::{PATIENCE, Peer, eventually_some, holds_for};

use crate::vocabulary::{Event, start};

#[test]
fn c52_the_cap_is_that_of_the_process_and_an_end_on_any_loop_lets_a_waiter_in() {
    for spread in [Spread::Least, Spread::ReusePort, Spread::Exclusive] {
        let group = start(3, spread, Config::new().max_connections(Some(6)));
        let mut peers: Vec<_> = (0..6).map(|_| Peer::connect(group.address)).collect();
        peers.iter().for_each(|peer| peer.expect_echo(b"in"));
        let waiters: Vec<_> = (0..20).map(|_| Peer::connect(group.address)).collect();
        waiters.iter().for_each(|waiter| waiter.send(b"let me in"));
        group.next(|event| matches!(event, Event::Capped).then_some(()));
        let open = || group.handle.metrics(PATIENCE).expect("they answer").total.connections;
        holds_for(Duration::from_millis(50), "nobody is let in", || {
            open() <= 6
                && waiters.iter().all(|waiter| !waiter.hears_within(Duration::from_millis(1)))
        });
        // Each that ends lets one in, whichever loops they are of.
        let mut left = waiters;
        while !left.is_empty() {
            peers.pop();
            let next = eventually_some("somebody is let in", || {
                left.iter().position(|waiter| waiter.hears_within(Duration::from_millis(1)))
            });
            let waiter = left.swap_remove(next);
            waiter.expect(b"let me in");
            assert!(open() <= 6);
            peers.push(waiter);
        }
        let metrics = group.stop(Stop::Now);
        assert!(metrics.total.cap_reached >= 1, "{spread:?}");
    }
}

#[test]
fn c52_the_ceiling_of_queued_bytes_is_that_of_all_loops() {
    const LOOPS: usize = 4;
    let ceiling = MIN_BUFFER_LIMIT * LOOPS;
    let config = Config::new().buffer_limit(ceiling).write_timeout(None).send_buffer(Some(4096));
    let group = start(LOOPS, Spread::Least, config);
    // They send and don't read, more than the ceiling and what the kernel holds for them.
    let peers: Vec<_> = (0..64).map(|_| Peer::narrow(group.address)).collect();
    let piece = vec![b'x'; 64 * 1024];
    let mut held = 0;
    for _ in 0..20 {
        peers.iter().for_each(|peer| _ = peer.send_what_fits(&piece));
        let metrics = group.handle.metrics(PATIENCE).expect("they answer");
        let of = |own: &edgeloop::Metrics| own.output_held + own.input_held;
        assert!(of(&metrics.total) <= ceiling);
        held = held.max(of(&metrics.total));
    }
    assert!(held > ceiling / 4, "there was something to bound: {held}");
    group.stop(Stop::Now);
}
