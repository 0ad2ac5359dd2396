//! Whoever waits in the backlog when the loop begins to drain.

use super::*;

#[test]
fn c37_a_drain_accepts_who_waits_in_the_backlog() {
    let mut behind_the_stop = 0;
    for seed in 0..50 {
        let config = Config::new().turn_bytes(1000).turn_accepts(1).turn_jobs(10);
        let peers = (0..10).map(|_| Script::new().may_end().send("hello").expect("hello"));
        let simulation = peers.fold(Simulation::new(seed).config(config), Simulation::peer);
        let probe = Probe::new().opened(|cx| {
            cx.stop(Stop::Drain(Some(60 * SECOND)));
            Action::Continue
        });
        let report = run(simulation, probe);
        let served = report.peers.iter().filter(|peer| peer.received == b"hello").count();
        assert_eq!(report.metrics.accepted, served as u64, "seed {seed}");
        // One is accepted in the turn that asks for the stop.
        behind_the_stop += served - 1;
    }
    assert!(behind_the_stop >= 50, "{behind_the_stop} were accepted after the stop");
}

#[test]
fn c37_want_of_descriptors_during_a_drain_costs_nobody_in_the_backlog() {
    let hello = || Script::new().send("hello").expect("hello").finish().expect_end();
    let stops = |cx: &mut dyn Context| {
        cx.stop(Stop::Drain(Some(60 * SECOND)));
        Action::Continue
    };
    // The first is accepted, the second finds no descriptor.
    let peers = (0..3).map(|_| hello());
    let config = Config::new().turn_bytes(1000).turn_accepts(1).turn_jobs(10);
    let simulation = failing(Call::Accept, 2, Errno::MFILE).config(config);
    let report = run(peers.fold(simulation, Simulation::peer), Probe::new().opened(stops));
    assert_eq!((report.metrics.accepted, report.metrics.accept_pauses), (3, 1));
    // It ends all the same where descriptors are never free again, and nobody is left.
    let simulation = failing(Call::Accept, 1, Errno::MFILE).peer(hello().may_end());
    let simulation = simulation.at(SECOND / 1000, |handle| handle.stop(Stop::Drain(None)));
    assert!(run(simulation, Probe::new()).elapsed < 10 * SECOND);
}
