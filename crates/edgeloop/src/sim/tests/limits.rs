//! Limits of single connections, beside others that go by those of the loop.

use super::*;
use crate::api::bounds::Limits;
use crate::sim::clock::START;

/// When each connection was closed, in simulated time, and why; the first has limits of its own,
/// from its opening on.
fn ends(config: Config, limits: Limits, sends: usize, peer: &Script) -> [(Duration, Reason); 2] {
    let closed = Rc::new(RefCell::new(Vec::new()));
    let mut first = None;
    let sees = Rc::clone(&closed);
    let probe = Probe::new()
        .opened(move |cx| {
            let first = *first.get_or_insert(cx.id());
            if cx.id() == first {
                cx.set_limits(first, limits).expect("sound limits");
            }
            if sends > 0 {
                assert_eq!(cx.send(&vec![7; sends]), Sent::Queued);
            }
            Action::Continue
        })
        .closed(move |cx, closed| {
            sees.borrow_mut().push((closed.id, cx.now().since(START), closed.reason));
        });
    let config = config.linger_timeout(SECOND / 1000).linger_limit(1000);
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config);
    let second = peer.clone().connect_after(SECOND / 1000);
    run(simulation.peer(peer.clone()).peer(second), probe);
    let mut closed = closed.take();
    closed.sort_by_key(|&(id, ..)| id.slot());
    [0, 1].map(|nth| (closed[nth].1, closed[nth].2))
}

#[track_caller]
fn is_about(at: Duration, seconds: u32) {
    let expected = seconds * SECOND;
    assert!((expected..expected + SECOND / 2).contains(&at), "{at:?} is not {expected:?}");
}

#[test]
fn c30_an_idle_timeout_of_its_own_is_shorter_or_longer_than_that_of_others_or_none() {
    let config = Config::new().idle_timeout(Some(10 * SECOND));
    for (own, expected) in [(Some(4 * SECOND), 4), (Some(30 * SECOND), 30), (None, 100)] {
        let peer = Script::new().may_end().wait(100 * SECOND).reset();
        let ends = ends(config.clone(), Limits::new().idle_timeout(own), 0, &peer);
        is_about(ends[0].0, expected);
        is_about(ends[1].0, 10);
        let reason = if own.is_some() { Reason::IdleTimeout } else { Reason::Failed };
        assert_eq!((ends[0].1, ends[1].1), (reason, Reason::IdleTimeout));
    }
}

#[test]
fn c30_a_write_timeout_of_its_own_is_shorter_or_longer_than_that_of_others_or_none() {
    let config = Config::new().write_timeout(Some(16 * SECOND));
    for (own, expected) in [(Some(8 * SECOND), 8), (Some(32 * SECOND), 32), (None, 100)] {
        let peer = Script::new().may_end().wait(100 * SECOND).reset();
        let ends = ends(config.clone(), Limits::new().write_timeout(own), 5000, &peer);
        is_about(ends[0].0, expected);
        is_about(ends[1].0, 16);
        let reason = if own.is_some() { Reason::WriteTimeout } else { Reason::Failed };
        assert_eq!((ends[0].1, ends[1].1), (reason, Reason::WriteTimeout));
    }
}

#[test]
fn c30_a_shorter_idle_timeout_holds_at_once_and_counts_from_the_last_byte() {
    let ended = Rc::new(RefCell::new(Duration::ZERO));
    let sees = Rc::clone(&ended);
    let probe = Probe::new()
        .opened(|cx| {
            cx.set_timer(0, Some(5 * SECOND));
            Action::Continue
        })
        .timer(|cx, _| {
            let short = Limits::new().idle_timeout(Some(7 * SECOND));
            cx.set_limits(cx.id(), short).expect("sound limits");
            Action::Continue
        })
        .closed(move |cx, _| *sees.borrow_mut() = cx.now().since(START));
    let config = Config::new().idle_timeout(Some(60 * SECOND));
    let peer = Script::new().expect_end().finish();
    run(Simulation::new(1).calm().config(config).peer(peer), probe);
    is_about(ended.take(), 7);
}

/// What becomes of such sends on a connection with limits of its own, and on another one.
fn sent(limits: Limits, sizes: &'static [usize]) -> [Vec<Sent>; 2] {
    let sent = Rc::new(RefCell::new([Vec::new(), Vec::new()]));
    let notes = Rc::clone(&sent);
    let mut nth = 0;
    let probe = Probe::new().opened(move |cx| {
        if nth == 0 {
            cx.set_limits(cx.id(), limits).expect("sound limits");
        }
        for &size in sizes {
            notes.borrow_mut()[nth].push(cx.send(&vec![7; size]));
            cx.flush(cx.id());
        }
        nth += 1;
        Action::Close
    });
    let config = Config::new().read_buffer(100);
    let peer = || Script::new().may_end().receive(100).reset();
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config);
    let second = peer().connect_after(SECOND);
    run(simulation.peer(peer().connect_after(SECOND / 2)).peer(second), probe);
    sent.take()
}

#[test]
fn c10_a_high_watermark_of_its_own() {
    let limits = Limits::new().high_watermark(300).low_watermark(100);
    let [own, other] = sent(limits, &[1000, 300, 300]);
    assert_eq!(own, [Sent::Written, Sent::Queued, Sent::AboveMark]);
    assert_eq!(other, [Sent::Written, Sent::Queued, Sent::Queued]);
}

#[test]
fn c10_an_output_limit_of_its_own_holds_for_what_the_socket_would_take_too() {
    let limits = Limits::new().high_watermark(300).low_watermark(100).output_limit(500);
    let [own, other] = sent(limits, &[501, 400, 400]);
    assert!(own[0] == Sent::Refused && own[1..].iter().all(|sent| sent.is_accepted()), "{own:?}");
    assert!(other.iter().all(|sent| sent.is_accepted()), "{other:?}");
    let wider = Limits::new().output_limit(3 << 20);
    let [own, other] = sent(wider, &[2 << 20]);
    assert_eq!((own, other), (vec![Sent::AboveMark], vec![Sent::Refused]));
}

#[test]
fn an_input_limit_of_its_own() {
    let mut first = true;
    let probe = Probe::new()
        .opened(move |cx| {
            if std::mem::take(&mut first) {
                cx.set_limits(cx.id(), Limits::new().input_limit(8)).expect("sound limits");
            }
            Action::Continue
        })
        .data(|_, _| Action::Continue);
    let peer = Script::new().send("12345678").may_end().wait(10 * SECOND).finish().expect_end();
    let second = peer.clone().connect_after(SECOND);
    let report = run(Simulation::new(1).calm().peer(peer).peer(second), probe);
    assert_eq!(report.peers[0].reason(), Some(Reason::InputLimit));
    assert_eq!(report.peers[1].reason(), Some(Reason::Finished));
}

#[test]
fn c10_marks_that_change_while_output_waits_hold_at_once() {
    // The queue is below the high watermark, then above the one that is set, then at the low one.
    let mut steps = [(1000, 100), (10_000, 9000)].into_iter();
    let heard = Rc::new(RefCell::new(0));
    let hears = Rc::clone(&heard);
    let probe = Probe::new()
        .opened(|cx| {
            assert_eq!(cx.send(&[7; 8000]), Sent::Queued);
            cx.set_timer(0, Some(SECOND));
            Action::Continue
        })
        .data(move |_, input| {
            *hears.borrow_mut() += input.take_all().len();
            Action::Continue
        })
        .timer(move |cx, _| {
            let Some((high, low)) = steps.next() else { return Action::Close };
            let limits = Limits::new().high_watermark(high).low_watermark(low);
            cx.set_limits(cx.id(), limits).expect("sound limits");
            cx.set_timer(0, Some(2 * SECOND));
            Action::Continue
        });
    // It is read when the loop reads above no mark: in the beginning and at the end.
    let drained = Rc::clone(&heard);
    let peer = Script::new().may_end().send("a").wait(2 * SECOND).send("b").wait(SECOND / 2);
    let peer = peer.wait(10 * SECOND);
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).peer(peer);
    let simulation = simulation.at(2 * SECOND + SECOND / 2, move |_| {
        assert_eq!(*drained.borrow(), 1, "read, though the queue is above the new watermark");
    });
    let report = run(simulation, probe);
    assert_eq!((*heard.borrow(), report.handler.drained), (2, 1));
}

#[test]
fn contradictions_are_refused_and_change_nothing() {
    let probe = Probe::new().opened(|cx| {
        let id = cx.id();
        let wrong = [
            (Limits::new().low_watermark(100_000), "low watermark of 100000 bytes is above"),
            (Limits::new().high_watermark(1), "low watermark of 16384 bytes is above the high"),
            (Limits::new().output_limit(65_536), "no room for a read of 65536 above the high"),
        ];
        for (limits, words) in wrong {
            let limits = limits.idle_timeout(Some(SECOND));
            let error = cx.set_limits(id, limits).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
        Action::Continue
    });
    let peer = Script::new().expect_silence(5 * SECOND).exchange("still", "still").finish();
    let report = run(Simulation::new(1).calm().peer(peer.expect_end()), probe);
    assert_eq!(report.peers[0].reason(), Some(Reason::Finished));
}

#[test]
fn limits_end_with_their_connection() {
    let mut first = true;
    let probe = Probe::new()
        .opened(move |cx| {
            if std::mem::take(&mut first) {
                let limits = Limits::new().idle_timeout(Some(SECOND)).input_limit(1);
                cx.set_limits(cx.id(), limits).expect("sound limits");
            }
            Action::Continue
        })
        .data(|cx, input| {
            if input.len() < 5 {
                return Action::Continue;
            }
            cx.send(input.take_all()).or_reset()
        });
    let peer = Script::new().expect_end().finish();
    // It gets the same slot.
    let second = Script::new().connect_after(3 * SECOND).send("h").wait(5 * SECOND).send("ello");
    let second = second.expect("hello").finish().expect_end();
    let report = run(Simulation::new(1).calm().peer(peer).peer(second), probe);
    let slots: Vec<_> = report.handler.closed.iter().map(|closed| closed.id.slot()).collect();
    assert_eq!(slots, [0, 0]);
    assert_eq!(report.peers[1].reason(), Some(Reason::Finished));
}

/// An outbound connection can be given limits as soon as it is asked for.
#[test]
fn an_outbound_connection_has_limits_of_its_own() {
    let service: SocketAddr = "10.0.0.1:80".parse().expect("an address");
    let mut client = true;
    let probe = Probe::new().opened(move |cx| {
        if std::mem::take(&mut client) {
            let upstream = cx.connect(service.into(), ()).expect("a socket");
            let short = Limits::new().idle_timeout(Some(SECOND));
            cx.set_limits(upstream, short).expect("sound limits");
        }
        Action::Continue
    });
    let peer = Script::new().wait(5 * SECOND).exchange("still", "still").finish().expect_end();
    let upstream = |_| Script::new().expect_end().finish();
    let simulation = Simulation::new(1).calm().service(service, upstream).peer(peer);
    let report = run(simulation, probe);
    assert_eq!(report.handler.closed[0].reason, Reason::IdleTimeout);
    assert_eq!(report.peers[0].reason(), Some(Reason::Finished));
}

/// A calm run in which so little input may be left.
fn limited(bytes: usize) -> Simulation {
    Simulation::new(1).calm().buffers(1000..=1000).config(Config::new().input_limit(bytes))
}

#[test]
fn only_a_handler_that_waits_for_more_reaches_the_limit_of_its_input() {
    for (answer, reason) in
        [(Action::Continue, Reason::InputLimit), (Action::Pause, Reason::Finished)]
    {
        let mut probe = Probe::new().data(move |cx, input| {
            if input.len() < 100 {
                return Action::Continue;
            }
            if cx.now() > START.after(SECOND) {
                let _ = input.take_all();
                return Action::Continue;
            }
            cx.set_timer(0, Some(2 * SECOND));
            answer
        });
        probe = probe.timer(|cx, _| {
            cx.resume(cx.id());
            Action::Continue
        });
        let script = Script::new().may_end().send([7; 150]).wait(10 * SECOND).finish().expect_end();
        let report = run(limited(100).peer(script), probe);
        assert_eq!(report.handler.closed[0].reason, reason, "{answer:?}");
    }
}

#[test]
fn whoever_is_not_read_for_its_output_has_not_reached_the_limit_of_its_input() {
    let mut shown = 0;
    let probe = Probe::new().data(move |cx, input| {
        shown += 1;
        if shown == 1 {
            assert_eq!(cx.send(&[7; 5000]), Sent::AboveMark);
            return Action::Continue;
        }
        cx.send(input.take_all()).or_reset()
    });
    let config = Config::new().high_watermark(100).low_watermark(10).input_limit(5);
    let script = Script::new().send("hello").wait(SECOND).receive(5000).expect("hello").close();
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config).peer(script);
    assert_eq!(run(simulation, probe).peers[0].reason(), Some(Reason::Finished));
}
