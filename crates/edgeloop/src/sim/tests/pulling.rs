//! Handlers that are asked for more where there is room for it.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;
use crate::api::config::MIN_BUFFER_LIMIT;
use crate::api::id::ConnectionId;

/// A probe that is asked for more.
struct Pulling {
    probe: Probe,
    writable: Callback,
}

impl Pulling {
    fn new(probe: Probe, writable: impl FnMut(&mut dyn Context) -> Action + 'static) -> Self {
        Self { probe, writable: Box::new(writable) }
    }
}

impl Handler for Pulling {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, session: &mut ()) -> Action {
        Handler::opened(&mut self.probe, cx, session)
    }

    fn data(&mut self, cx: &mut impl Context, session: &mut (), input: &mut Input<'_>) -> Action {
        Handler::data(&mut self.probe, cx, session, input)
    }

    fn writable(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        (self.writable)(cx)
    }

    fn drained(&mut self, cx: &mut impl Context, session: &mut ()) -> Action {
        Handler::drained(&mut self.probe, cx, session)
    }

    fn closed(&mut self, cx: &mut impl Context, (): (), closed: &Closed) {
        Handler::closed(&mut self.probe, cx, (), closed);
    }
}

fn run(simulation: Simulation, pulling: Pulling) -> Report<Pulling> {
    simulation.run(pulling).unwrap_or_else(|failure| panic!("{failure}"))
}

/// A probe that asks as soon as a connection is open.
fn asks_at_once() -> Probe {
    Probe::new().opened(|cx| {
        cx.pull(cx.id());
        Action::Continue
    })
}

/// Sends the next piece of the bytes from 0 to `all`, and asks again until that was the last.
fn sends(mut sent: usize, all: usize, piece: usize) -> impl FnMut(&mut dyn Context) -> Action {
    move |cx| {
        let bytes = stream(sent, all.min(sent + piece));
        assert!(cx.send(&bytes).is_accepted());
        sent += bytes.len();
        if sent == all {
            return Action::Close;
        }
        cx.pull(cx.id());
        Action::Continue
    }
}

/// Bytes that tell where they stand.
fn stream(from: usize, to: usize) -> Vec<u8> {
    (0..=250).cycle().skip(from % 251).take(to - from).collect()
}

#[test]
fn a_stream_is_made_as_its_peer_takes_it_whatever_its_speed() {
    let low = 2000;
    let config = Config::new()
        .high_watermark(5000)
        .low_watermark(low)
        .turn_bytes(20_000)
        .turn_accepts(64)
        .turn_jobs(100);
    for (buffer, piece) in [(1, 700), (100, 10_000), (3000, 1), (3000, 700), (500_000, 30_000)] {
        let all = if buffer == 1 || piece == 1 { 4_000 } else { 60_000 };
        let most = Rc::new(Cell::new(0));
        let held = Rc::clone(&most);
        let mut send = sends(0, all, piece);
        let handler = Pulling::new(asks_at_once(), move |cx| {
            let action = send(cx);
            held.set(held.get().max(cx.queued(cx.id())));
            action
        });
        let (first, rest) = (stream(0, all / 2), stream(all / 2, all));
        let reads = Script::new().expect(first).wait(SECOND).expect(rest).expect_end();
        let simulation = Simulation::new(3).buffers(buffer..=buffer).config(config.clone());
        let report = run(simulation.peer(reads.finish()), handler);
        // What is joined leaves by itself when it comes to the high watermark.
        let allowed = low + piece + 5000;
        assert!(most.get() <= allowed, "{} of {allowed} bytes were queued", most.get());
        assert_eq!(report.handler.probe.drained, 0, "asked, and told that it drained");
        assert_eq!(report.handler.probe.closed[0].reason, Reason::Closed);
    }
}

#[test]
fn c13_a_fast_reader_gets_a_budgets_worth_a_turn_and_a_neighbours_echo_comes_in_between() {
    const PIECE: usize = 1000;
    let budget = 10_000;
    let turns = Rc::new(RefCell::new(BTreeMap::<u64, usize>::new()));
    let seen = Rc::clone(&turns);
    let echoes = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&echoes);
    let probe = Probe::new().data(move |cx, input| {
        if input.take_all() == b"stream" {
            cx.pull(cx.id());
            return Action::Continue;
        }
        heard.borrow_mut().push(cx.metrics().turns);
        cx.send(b"pong").or_reset()
    });
    let mut send = sends(0, 400_000, PIECE);
    let handler = Pulling::new(probe, move |cx| {
        *seen.borrow_mut().entry(cx.metrics().turns).or_default() += PIECE;
        send(cx)
    });
    let streams = Script::new().send("stream").receive(400_000).expect_end().finish();
    let echoed = |script: Script, _| script.exchange("ping", "pong");
    let neighbour = (0..5).fold(Script::new(), echoed).finish().expect_end();
    let config = Config::new().turn_bytes(budget).turn_accepts(64).turn_jobs(1000);
    let simulation = Simulation::new(1).calm().buffers(600_000..=600_000).config(config);
    run(simulation.peer(streams).peer(neighbour), handler);
    let turns = turns.borrow();
    let most = turns.values().max().expect("it was asked");
    assert_eq!(*most, budget, "of what it sends in a turn");
    assert!(turns.len() <= 400_000 / budget + 2, "{} turns", turns.len());
    let echoes = echoes.borrow();
    assert_eq!(echoes.len(), 5);
    // The way there and back takes some time, and a turn very little.
    let between = echoes.windows(2).map(|two| two[1] - two[0]).max();
    assert!(between <= Some(8), "{between:?} turns for an echo");
    assert!(echoes.last() < turns.keys().last(), "the stream went first");
}

#[test]
fn c13_whoever_asks_again_and_sends_nothing_is_asked_once_a_turn() {
    let turns = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&turns);
    let handler = Pulling::new(asks_at_once(), move |cx| {
        seen.borrow_mut().push(cx.metrics().turns);
        if seen.borrow().len() < 5000 {
            cx.pull(cx.id());
        }
        Action::Continue
    });
    let echoed = |script: Script, _| script.exchange("ping", "ping");
    let peer = (0..20).fold(Script::new(), echoed).wait(SECOND).finish().expect_end();
    run(Simulation::new(1).calm().peer(peer), handler);
    let turns = turns.borrow();
    assert_eq!(turns.len(), 5000);
    assert!(turns.windows(2).all(|two| two[0] < two[1]), "twice in a turn");
}

#[test]
fn c13_many_that_send_little_share_the_jobs_of_a_turn() {
    let turns = Rc::new(RefCell::new(BTreeMap::<u64, usize>::new()));
    let seen = Rc::clone(&turns);
    let mut left = BTreeMap::<ConnectionId, usize>::new();
    let handler = Pulling::new(asks_at_once(), move |cx| {
        *seen.borrow_mut().entry(cx.metrics().turns).or_default() += 1;
        let left = left.entry(cx.id()).or_insert(100);
        *left -= 1;
        if *left == 0 {
            return Action::Close;
        }
        cx.pull(cx.id());
        cx.send(b"x").or_reset()
    });
    let config = Config::new().turn_bytes(10_000).turn_accepts(64).turn_jobs(30);
    let peer = |_| Script::new().receive(99).expect_end().finish();
    let simulation = (0..10).map(peer).fold(Simulation::new(1).config(config), Simulation::peer);
    run(simulation, handler);
    assert!(turns.borrow().values().all(|&asked| asked <= 30), "{turns:?}");
}

#[test]
fn an_outbound_connection_is_asked_once_it_is_made() {
    let service = SocketAddr::from(([10, 0, 0, 1], 80));
    let order = Rc::new(RefCell::new(Vec::new()));
    let (opens, asks) = (Rc::clone(&order), Rc::clone(&order));
    let mut dials = true;
    let probe = Probe::new().opened(move |cx| {
        opens.borrow_mut().push("opened");
        if std::mem::take(&mut dials) {
            let id = cx.connect(service.into(), ()).expect("it can be begun");
            cx.pull(id);
        }
        Action::Continue
    });
    let handler = Pulling::new(probe, move |cx| {
        asks.borrow_mut().push("asked");
        let _ = cx.send(b"hello");
        Action::Close
    });
    let simulation = Simulation::new(1)
        .latency(SECOND..=SECOND)
        .service(service, |_| Script::new().expect("hello").expect_end().finish())
        .peer(Script::new().wait(5 * SECOND).finish().expect_end());
    run(simulation, handler);
    assert_eq!(*order.borrow(), ["opened", "opened", "asked"]);
}

#[test]
fn asking_twice_is_one_call_and_a_paused_connection_is_asked_as_well() {
    let probe = Probe::new().opened(|cx| {
        (0..3).for_each(|_| cx.pull(cx.id()));
        Action::Pause
    });
    let handler = Pulling::new(probe, |cx| cx.send(b"once").or_reset());
    let peer = Script::new().expect("once").expect_silence(SECOND).reset();
    run(Simulation::new(1).at(10 * SECOND, |handle| handle.stop(Stop::Now)).peer(peer), handler);
}

#[test]
fn above_the_mark_where_reading_goes_on_nobody_is_asked_before_the_queue_has_fallen() {
    let config = Config::new().read_above_mark(true).high_watermark(1000).low_watermark(100);
    let probe = Probe::new().data(|cx, input| {
        let _ = input.take_all();
        assert_eq!(cx.send(&[b'x'; 2000]), Sent::AboveMark);
        cx.pull(cx.id());
        Action::Continue
    });
    let handler = Pulling::new(probe, |cx| {
        assert!(cx.queued(cx.id()) <= 100, "{} are queued", cx.queued(cx.id()));
        let _ = cx.send(b"end");
        Action::Close
    });
    let peer = Script::new().send("go").wait(SECOND).receive(2000).expect("end").expect_end();
    let simulation = Simulation::new(1).calm().buffers(500..=500).config(config);
    let report = run(simulation.peer(peer.finish()), handler);
    assert_eq!(report.handler.probe.drained, 0);
}

#[test]
fn nobody_is_asked_behind_an_end_or_for_what_a_relay_fills() {
    type End = fn(&mut dyn Context);
    let ends: [End; 6] = [
        |cx| cx.close(cx.id()),
        |cx| cx.finish(cx.id()),
        |cx| cx.reset(cx.id()),
        |cx| cx.flush_then_reset(cx.id()),
        |cx| cx.relay(cx.id(), cx.id()),
        |_| {},
    ];
    for (number, end) in ends.into_iter().enumerate() {
        for pulls_first in [true, false] {
            let asked = Rc::new(Cell::new(0));
            let counts = Rc::clone(&asked);
            let probe = Probe::new().opened(move |cx| {
                // More than the socket takes, so that there is something to wait for.
                let _ = cx.send(&[b'x'; 40_000]);
                if pulls_first {
                    cx.pull(cx.id());
                }
                end(cx);
                cx.pull(cx.id());
                Action::Continue
            });
            let handler = Pulling::new(probe, move |_| {
                counts.set(counts.get() + 1);
                Action::Continue
            });
            let peer = Script::new().may_end().wait(SECOND).receive(40_000).finish().expect_end();
            let simulation = Simulation::new(1).calm().buffers(1000..=1000);
            let report = simulation
                .at(10 * SECOND, |handle| handle.stop(Stop::Now))
                .peer(peer)
                .run(handler)
                .unwrap_or_else(|failure| panic!("{failure}"));
            let expected = i32::from(number == 5);
            assert_eq!(asked.get(), expected, "end {number}, {:?}", report.handler.probe.closed);
        }
    }
}

#[test]
fn c11_streams_wait_for_memory_instead_of_being_refused() {
    const ALL: usize = 70_000;
    // A socket takes 1,000 bytes, and the queues of all may hold six pieces.
    let config = Config::new().buffer_limit(MIN_BUFFER_LIMIT).write_timeout(None);
    let mut streams = BTreeMap::<ConnectionId, usize>::new();
    let held = Rc::new(Cell::new(0));
    let most = Rc::clone(&held);
    let handler = Pulling::new(asks_at_once(), move |cx| {
        let sent = streams.entry(cx.id()).or_default();
        let action = sends(*sent, ALL, 30_000)(cx);
        *sent = ALL.min(*sent + 30_000);
        most.set(most.get().max(cx.metrics().output_held));
        action
    });
    let peer = |number: u32| {
        let wait = SECOND / 100 * (number % 7);
        Script::new().wait(wait).expect(stream(0, ALL)).expect_end().finish()
    };
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config);
    let simulation = (0..25).map(peer).fold(simulation, Simulation::peer);
    let report = run(simulation, handler);
    assert_eq!(report.metrics.refused, 0);
    assert!(report.metrics.memory_pauses > 0, "memory was never short");
    assert!(held.get() <= MIN_BUFFER_LIMIT / 4 * 3, "{} bytes were held", held.get());
    let reasons: Vec<_> = report.handler.probe.closed.iter().map(|it| it.reason).collect();
    assert_eq!(reasons, [Reason::Closed; 25]);
}
