//! What passes through pipes, each case brought about by itself.

use super::*;

/// A peer that sends so much at once, and reads it all when it likes.
fn stream(bytes: usize) -> Script {
    Script::new().send(vec![b'x'; bytes]).expect(vec![b'x'; bytes]).finish().expect_end()
}

/// A loop with a read buffer of 100 bytes, in a world where all that is sent is there at once.
fn calm(simulation: Simulation, config: Config) -> Simulation {
    simulation.calm().buffers(10_000..=10_000).config(config.read_buffer(100))
}

/// How many bytes spliced through a pipe.
fn spliced(report: &Report<Probe>) -> u64 {
    report.metrics.bytes_spliced
}

#[test]
fn what_fills_the_buffer_passes_from_then_on() {
    let report =
        run(calm(Simulation::new(1), Config::new()).peer(stream(5000)), Probe::new().echoes());
    let spliced = spliced(&report);
    // All but the first buffer, and what a last receive may have found.
    assert!((4800..=4900).contains(&spliced), "{spliced}");
    assert_eq!((report.metrics.bytes_in, report.metrics.bytes_out), (5000, 5000));
}

#[test]
fn nothing_passes_of_a_handler_that_wants_to_see_it() {
    let report = run(calm(Simulation::new(1), Config::new()).peer(stream(5000)), Probe::new());
    assert_eq!(spliced(&report), 0);
}

#[test]
fn nothing_passes_where_there_are_no_pipes() {
    let simulation = calm(Simulation::new(1), Config::new().pipes(0)).peer(stream(5000));
    assert_eq!(spliced(&run(simulation, Probe::new().echoes())), 0);
}

#[test]
fn c07_the_error_that_a_splice_saw_is_told_at_the_end() {
    let simulation = failing(Call::SpliceIn, 1, Errno::TIMEDOUT);
    let peer = Script::new().may_end().send(vec![b'x'; 5000]);
    let report = run(calm(simulation, Config::new()).peer(peer), Probe::new().echoes());
    let [closed] = &report.handler.closed[..] else { panic!("one end") };
    assert_eq!((closed.reason, closed.dropped), (Reason::Failed, 4900), "{closed:?}");
    assert_eq!(closed.errno, Some(Errno::TIMEDOUT.raw_os_error()));
}

#[test]
fn c03_what_a_pipe_holds_when_its_connection_fails_is_counted() {
    // The peer's window is full, and then the connection breaks.
    let simulation = failing(Call::SpliceOut, 1, Errno::HOSTUNREACH);
    let peer = Script::new().may_end().send(vec![b'x'; 1000]);
    let report = run(calm(simulation, Config::new()).peer(peer), Probe::new().echoes());
    let [closed] = &report.handler.closed[..] else { panic!("one end") };
    assert_eq!((closed.reason, closed.dropped), (Reason::Failed, 900), "{closed:?}");
    assert_eq!(closed.relayed, 900);
}

/// A peer that comes after a second, when a pause is over, and streams.
fn later(bytes: usize) -> Script {
    let all = vec![b'x'; bytes];
    Script::new().wait(SECOND).exchange(&all, &all).finish().expect_end()
}

#[test]
fn where_splicing_is_forbidden_all_is_copied_and_it_is_seldom_tried() {
    for call in [Call::Pipe, Call::SpliceIn] {
        for error in [Errno::INVAL, Errno::PERM] {
            let fault = |nth| Fault { call, nth, fate: Fate::Fails(error) };
            let plan = Some((1..1000).map(fault).collect());
            let simulation = Simulation::in_check(1, plan, Rc::default());
            let peers = [stream(5000), later(5000)];
            let simulation =
                peers.into_iter().fold(calm(simulation, Config::new()), Simulation::peer);
            let report = run(simulation, Probe::new().echoes());
            assert_eq!(spliced(&report), 0, "{error}");
            assert_eq!(report.faults.len(), 2, "{call:?} {error}: once for each of them");
        }
    }
}

#[test]
fn c42_splicing_that_was_forbidden_for_a_moment_is_used_again() {
    for (call, error) in [(Call::Pipe, Errno::PERM), (Call::SpliceIn, Errno::INVAL)] {
        let simulation = calm(failing(call, 1, error), Config::new());
        let simulation = [stream(5000), later(5000)].into_iter().fold(simulation, Simulation::peer);
        let report = run(simulation, Probe::new().echoes());
        // All but the first buffer of the later one, and what a last receive may have found.
        let spliced = spliced(&report);
        assert!((4800..=4900).contains(&spliced), "{call:?}: {spliced}");
    }
}

#[test]
fn c42_want_of_descriptors_pauses_passing_and_no_longer() {
    for error in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
        let fault = |nth| Fault { call: Call::Pipe, nth, fate: Fate::Fails(error) };
        let simulation = Simulation::in_check(1, Some((1..3).map(fault).collect()), Rc::default());
        let peers = [stream(5000), stream(5000).connect_after(SECOND / 2), later(5000)];
        let simulation = peers.into_iter().fold(calm(simulation, Config::new()), Simulation::peer);
        let report = run(simulation, Probe::new().echoes());
        let spliced = spliced(&report);
        assert!((4800..=4900).contains(&spliced), "{error}: {spliced}");
    }
}

#[test]
fn want_of_memory_delays_passing_only() {
    for error in [Errno::NOMEM, Errno::INTR] {
        let simulation = failing(Call::SpliceIn, 1, error);
        let simulation = calm(simulation, Config::new()).peer(stream(5000));
        let report = run(simulation, Probe::new().echoes());
        let spliced = spliced(&report);
        assert!((4700..=4800).contains(&spliced), "{error}: {spliced}");
        assert_eq!(report.metrics.retries, 0);
    }
}
