//! Deadlines: none is lost, and none ends anybody whom the kernel could speak for.

use super::*;
use crate::sim::clock::START;
use crate::sim::world::Holds;

/// A calm run in which the server's send buffer holds 1,000 bytes and the peer's receive buffer as
/// many.
fn narrow(config: Config) -> Simulation {
    Simulation::new(1).calm().buffers(1000..=1000).config(config)
}

/// Says when it was called, in simulated time.
fn notes(at: &Rc<RefCell<Vec<Duration>>>) -> impl FnMut(&mut dyn Context, u32) -> Action + 'static {
    let at = Rc::clone(at);
    move |cx, _| {
        at.borrow_mut().push(cx.now().since(START));
        Action::Continue
    }
}

#[test]
fn c41_a_timeout_that_is_due_with_the_write_timeout_is_called() {
    let called = Rc::default();
    let probe = Probe::new()
        .opened(|cx| {
            assert_eq!(cx.send(&[7; 5000]), Sent::Queued);
            // Just when the peer would be given up, which is a tick behind the write timeout,
            // because the first look at it was rounded up to one.
            let at = START.after(60 * SECOND + SECOND / 1000);
            cx.set_timer(0, Some(at.since(cx.now())));
            Action::Continue
        })
        .timer(notes(&called));
    // It takes so little that the kernel tells of no room, but it does take.
    let sips = Script::new().wait(55 * SECOND).receive(100).wait(9 * SECOND);
    let peer = sips.receive(4900).finish().expect_end();
    run(narrow(Config::new()).peer(peer), probe);
    let called = called.take();
    assert_eq!(called.len(), 1, "{called:?}");
    assert!((60 * SECOND..61 * SECOND).contains(&called[0]), "{called:?}");
}

#[test]
fn c30_a_stalled_peer_is_given_up_when_the_write_timeout_has_passed() {
    // What is queued when the peer's window has just closed can be sent in part a moment later.
    for takes in [0, 10, 300] {
        let probe = Probe::new().opened(|cx| {
            assert_eq!(cx.send(&[7; 5000]), Sent::Queued);
            Action::Continue
        });
        let peer = Script::new().may_end().receive(takes).wait(300 * SECOND);
        let report = run(narrow(Config::new().write_timeout(Some(16 * SECOND))).peer(peer), probe);
        let closed = &report.handler.closed[0];
        assert_eq!(closed.reason, Reason::WriteTimeout);
    }
}

#[test]
fn c30_the_write_timeout_is_late_by_an_eighth_at_most() {
    let ended = Rc::new(RefCell::new(Duration::ZERO));
    let sees = Rc::clone(&ended);
    let probe = Probe::new().opened(|cx| {
        assert_eq!(cx.send(&[7; 5000]), Sent::Queued);
        Action::Continue
    });
    // It takes some for the last time a second after the queue began, and no edge tells of that.
    let peer = Script::new().may_end().wait(SECOND).receive(200).wait(300 * SECOND);
    let config = Config::new().write_timeout(Some(16 * SECOND));
    let simulation = narrow(config).peer(peer).trace(move |at, what| {
        if what.starts_with("close(") && sees.borrow().is_zero() {
            *sees.borrow_mut() = at;
        }
    });
    let report = run(simulation, probe);
    assert_eq!(report.handler.closed[0].reason, Reason::WriteTimeout);
    let ended = ended.take();
    assert!((17 * SECOND..19 * SECOND + SECOND / 10).contains(&ended), "after {ended:?}");
}

#[test]
fn c07_a_paused_connection_whose_output_fails_ends_at_once() {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let hears = Rc::clone(&heard);
    let probe = Probe::new()
        .opened(|cx| {
            cx.set_timer(0, Some(SECOND));
            Action::Pause
        })
        .timer(|cx, _| {
            assert_eq!(cx.send(b"?"), Sent::Gone);
            Action::Continue
        })
        .data(move |_, input| {
            hears.borrow_mut().extend_from_slice(input.take_all());
            Action::Pause
        });
    let simulation = failing(Call::Send, 1, Errno::PIPE).calm().buffers(1000..=1000);
    let peer = Script::new().may_end().send("last words").wait(5000 * SECOND);
    let report = run(simulation.config(Config::new().read_buffer(4)).peer(peer), probe);
    assert_eq!(heard.take(), b"last words", "what waits is read, in spite of the pause");
    assert_eq!(report.peers[0].reason(), Some(Reason::Failed));
    let closed = &report.handler.closed[0];
    assert_eq!(closed.errno, Some(Errno::PIPE.raw_os_error()));
}

#[test]
fn c07_a_paused_connection_is_told_of_its_failure_before_long() {
    let ended = Rc::new(RefCell::new(Duration::ZERO));
    let sees = Rc::clone(&ended);
    let mut first = true;
    let probe = Probe::new().opened(move |cx| {
        if std::mem::take(&mut first) {
            assert_eq!(cx.send(&[7; 5000]), Sent::Queued);
        }
        if cx.queued(cx.id()) > 0 { Action::Pause } else { Action::Continue }
    });
    let peer = Script::new().may_end().wait(SECOND).reset();
    // The run goes on for long after that.
    let other = Script::new().connect_after(SECOND / 2).may_end().wait(50 * SECOND).reset();
    let simulation = narrow(Config::new()).peer(peer).peer(other).trace(move |at, what| {
        if what.starts_with("close(") && sees.borrow().is_zero() {
            *sees.borrow_mut() = at;
        }
    });
    run(simulation, probe);
    let ended = ended.take();
    assert!((SECOND..2 * SECOND).contains(&ended), "after {ended:?}");
}

#[test]
fn c39_nobody_who_is_paused_is_idle_or_quiet() {
    for drains in [false, true] {
        let config = Config::new().idle_timeout(Some(5 * SECOND));
        let begun = Rc::new(RefCell::new(false));
        let probe = Probe::new()
            .data(move |cx, input| {
                if !std::mem::replace(&mut begun.borrow_mut(), true) {
                    // What it has asked for takes its time elsewhere.
                    cx.set_timer(0, Some(20 * SECOND));
                    if drains {
                        cx.stop(Stop::Drain(None));
                    }
                    return Action::Pause;
                }
                cx.send(input.take_all()).or_reset()
            })
            .timer(|cx, _| {
                cx.resume(cx.id());
                Action::Continue
            });
        let peer = Script::new().send("hello").expect("hello").wait(3 * SECOND / 10);
        let peer = peer.send("bye").expect("bye").wait(100 * SECOND).expect_end().finish();
        let report = run(narrow(config).peer(peer), probe);
        let reason = if drains { Reason::DrainQuiet } else { Reason::IdleTimeout };
        assert_eq!(report.peers[0].reason(), Some(reason), "its time begins when it is read again");
    }
}

#[test]
fn c39_a_drain_has_its_whole_time_though_the_process_was_stopped_before_it_began() {
    let late = Rc::new(RefCell::new(0));
    // At each of the first calls and waits.
    for skips in 0..30 {
        let was_late = Rc::new(RefCell::new(false));
        let (sees, mut stops) = (Rc::clone(&was_late), true);
        let probe = Probe::new().data(move |cx, input| {
            if std::mem::take(&mut stops) {
                *sees.borrow_mut() = cx.clock().since(cx.now()) > 30 * SECOND;
                cx.stop(Stop::Drain(Some(10 * SECOND)));
            }
            cx.send(input.take_all()).or_reset()
        });
        let peer = Script::new().may_end().send("a").expect("a").send("b").expect("b");
        let mut simulation = Simulation::new(1).calm().peer(peer.finish().expect_end());
        simulation.world.holds = Holds::once(skips, 75 * SECOND);
        let report = run(simulation, probe);
        if was_late.take() {
            *late.borrow_mut() += 1;
            assert_eq!(report.metrics.cut_off, 0, "stopped behind {skips} calls");
        }
    }
    assert!(late.take() > 0, "it was never stopped in the turn in which the drain began");
}

/// Found by seeds: mail that was posted while the process was stopped was not looked for before its
/// connection was closed as idle.
#[test]
fn c39_whoever_has_mail_is_not_idle_though_no_event_has_told_of_it() {
    let idle = 5 * SECOND;
    for skips in 0..40 {
        let wanted = Rc::new(RefCell::new(None));
        let (seen, known) = (Rc::clone(&wanted), Rc::clone(&wanted));
        let posted = Rc::new(RefCell::new(false));
        let posts = Rc::clone(&posted);
        // The second that is opened waits for mail.
        let mut opened = 0;
        let probe = Probe::new().opened(move |cx| {
            opened += 1;
            if opened == 2 {
                seen.replace(Some(cx.id()));
            }
            Action::Continue
        });
        let speaks = Script::new().may_end().wait(idle - SECOND / 2).send("x");
        let waits = Script::new().connect_after(SECOND / 1000).may_end().wait(4 * idle);
        let mut simulation = Simulation::new(1)
            .calm()
            .config(Config::new().idle_timeout(Some(idle)).event_batch(1))
            .peer(speaks)
            .peer(waits)
            .at(idle - SECOND / 5, move |handle| {
                // It may be stopped before that.
                if let Some(id) = *known.borrow() {
                    handle.send(id, &b"mail"[..]).expect("there is room");
                    posts.replace(true);
                }
            });
        // It goes on a little behind the timeout, which shows no hold-up.
        simulation.world.holds = Holds::once(skips, idle + SECOND / 25);
        let report = run(simulation, probe);
        let mail: &[u8] = if posted.take() { b"mail" } else { b"" };
        assert_eq!(report.peers[1].received, mail, "stopped behind {skips} calls");
    }
}
