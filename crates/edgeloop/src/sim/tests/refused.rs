//! Memory that the system refuses for what is queued or kept.

use super::*;

/// The system refuses memory when it is asked for the first time, and so many times in all.
fn refusing(times: u64) -> Simulation {
    let fault = |nth| Fault { call: Call::Memory, nth, fate: Fate::Fails(Errno::NOMEM) };
    let faults = (1..=times).map(fault).collect();
    Simulation::in_check(1, Some(faults), Rc::default()).calm()
}

/// A peer that reads late, so that its echo is queued.
fn late_reader() -> Script {
    let all = vec![b'x'; 5000];
    Script::new().send(all.clone()).wait(SECOND).expect(all).finish().expect_end()
}

#[test]
fn c11_refused_memory_pauses_reading_until_it_is_granted_and_loses_nothing() {
    for times in [1, 2, 5] {
        let config = Config::new().read_buffer(100);
        let simulation = refusing(times).buffers(1000..=1000).config(config);
        let report = run(simulation.peer(late_reader()), Probe::new());
        let metrics = report.metrics;
        assert_eq!((metrics.memory_refusals, metrics.bytes_dropped), (1, 0), "{times} times");
        assert_eq!(report.handler.told("memory refused"), 1, "{times} times");
        assert_eq!(report.handler.closed[0].reason, Reason::Finished);
    }
}

#[test]
fn c11_refused_memory_for_kept_input_loses_nothing_and_a_timer_ends_the_pause() {
    // Nothing is queued that could be released: only time shows that there is memory again.
    let probe = Probe::new().data(|cx, input| {
        if input.len() < 10 {
            return Action::Continue;
        }
        cx.send(input.take_all()).or_reset()
    });
    let script = Script::new().send("hello").wait(SECOND).send("world").expect("helloworld");
    let report = run(refusing(2).peer(script.finish().expect_end()), probe);
    assert_eq!((report.metrics.memory_refusals, report.metrics.bytes_dropped), (1, 0));
    assert!(report.elapsed < 3 * SECOND, "after {:?}", report.elapsed);
}

#[test]
fn c11_without_memory_nobody_is_accepted_and_then_everybody() {
    let peers = (0..100).map(|_| Script::new().exchange("hello", "hello").wait(SECOND).finish());
    let report = run(peers.fold(refusing(1), Simulation::peer), Probe::new());
    assert_eq!(report.metrics.accepted, 100);
    assert_eq!((report.metrics.memory_refusals, report.metrics.accept_pauses), (1, 1));
}
