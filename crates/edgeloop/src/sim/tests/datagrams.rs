//! Calls on datagram sockets that fail again and again, and drains with datagrams that wait (C50).

use rustix::io::Errno;

use super::*;
use crate::api::time::Time;
use crate::sim::DatagramScript;
use crate::sim::clock::START;
use crate::sim::world::Outage;

/// Counts what it is shown.
#[derive(Default)]
struct Counts {
    shown: usize,
    /// Drains at the first.
    drains: bool,
}

impl Handler for Counts {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        None
    }

    fn data(&mut self, _: &mut impl Context, (): &mut (), _: &mut Input<'_>) -> Action {
        Action::Close
    }

    fn datagram(&mut self, cx: &mut impl LoopContext, _: &crate::Datagram<'_>) {
        self.shown += 1;
        if std::mem::take(&mut self.drains) {
            cx.stop(Stop::Drain(None));
        }
    }
}

fn bound(seed: u64) -> Simulation {
    Simulation::new(seed).bind_udp("127.0.0.1:3000".parse().expect("an address"))
}

fn failing(seed: u64, ends: Time) -> Simulation {
    let mut simulation = bound(seed);
    let outage = Outage { begins: START, ends, error: Errno::PERM, sends: false };
    simulation.world.datagrams.outage = Some(outage);
    simulation.correspondent(DatagramScript::new().send("hello").wait(SECOND))
}

#[test]
fn c50_calls_that_fail_again_and_again_are_left_alone_and_tried_again() {
    let report = failing(1, START.after(SECOND / 2)).run(Counts::default()).expect("a run");
    assert_eq!(report.handler.shown, 1);
    let errors = report.metrics.datagram_errors;
    assert!((32 * 4..=32 * 6).contains(&errors), "{errors} errors in half a second");
}

#[test]
fn c50_a_drain_gives_a_socket_up_on_which_every_call_fails() {
    let stop =
        |simulation: Simulation| simulation.at(SECOND, |handle| handle.stop(Stop::Drain(None)));
    let report = stop(failing(1, Time::NEVER)).run(Counts::default()).expect("it ends");
    assert_eq!(report.handler.shown, 0);
    assert!(report.elapsed < 3 * SECOND, "{:?}", report.elapsed);
}

#[test]
fn c50_a_drain_shows_all_that_waits_before_it_closes_the_socket() {
    for seed in 0..100 {
        let flood = (0..60).fold(DatagramScript::new(), |script, _| script.send("x"));
        // A turn has its share after the first batch, and the drain begins behind that.
        let simulation = bound(seed).config(Config::new().turn_bytes(10)).correspondent(flood);
        let mut simulation = simulation.at(SECOND, |_| ());
        // All of them are there before the first is received.
        let outage = Outage {
            begins: START,
            ends: START.after(SECOND / 2),
            error: Errno::NOMEM,
            sends: false,
        };
        simulation.world.datagrams.outage = Some(outage);
        let report = simulation.run(Counts { shown: 0, drains: true }).expect("a run");
        assert_eq!(report.handler.shown, 60, "seed {seed}");
    }
}

#[test]
fn c50_a_turn_shows_no_more_than_its_share_of_a_flood() {
    // The simulated kernel finds out who receives more in a turn.
    let flood = (0..600).fold(DatagramScript::new(), |script, _| script.send(""));
    let mut simulation =
        bound(1).datagram_buffers(2_000_000..=2_000_000).correspondent(flood).at(SECOND, |_| ());
    let ends = START.after(SECOND / 2);
    let outage = Outage { begins: START, ends, error: Errno::NOMEM, sends: false };
    simulation.world.datagrams.outage = Some(outage);
    let report = simulation.run(Counts::default()).expect("a run");
    assert_eq!(report.handler.shown, 600);
}
