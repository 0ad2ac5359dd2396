//! Promises of the loop that no run by chance is sure to come to, each brought about by itself.

mod busy;
mod ceiling;
#[cfg(feature = "udp")]
mod datagrams;
mod deadlines;
mod endless;
mod ends;
mod first_read;
mod half_close;
mod joining;
mod limits;
mod listening;
mod own_time;
mod parsing;
mod splicing;
mod poking;
mod pulling;
mod refused;
mod sharing;
mod spin;
mod stopping;
mod timers;
mod traces;
mod turn_ends;
mod unix_files;
mod vectored;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use crate::api::closed::{Closed, Reason};
use crate::api::config::Config;
use crate::api::handler::{Action, Context, Handler, LoopContext, Origin, Sent, Stop};
use crate::api::id::ConnectionId;
use crate::api::input::Input;
use crate::api::notice::Notice;
use crate::sim::{Call, Fate, Fault, PeerReport, Report, Script, Simulation};

const SECOND: Duration = Duration::from_secs(1);

type Callback = Box<dyn FnMut(&mut dyn Context) -> Action>;
type OfLoop = Box<dyn FnMut(&mut dyn LoopContext)>;
type Ended = Box<dyn FnMut(&mut dyn Context, &Closed)>;
type WithKey = Box<dyn FnMut(&mut dyn Context, u32) -> Action>;
type WithInput = Box<dyn FnMut(&mut dyn Context, &mut Input<'_>) -> Action>;

/// A handler made of closures, that keeps what it is told. It echoes where nothing else is said.
struct Probe {
    opened: Callback,
    data: WithInput,
    /// Whether its own stream stays open behind the peer's end.
    stays: bool,
    timer: WithKey,
    wake_up: OfLoop,
    notified: OfLoop,
    poked: Callback,
    /// Whether what streams may pass unseen, and what did, with what became of it.
    echoes: bool,
    /// How often its output drained.
    drained: usize,
    ended: Ended,
    closed: Vec<Closed>,
    notices: Vec<String>,
}

impl Probe {
    fn new() -> Self {
        Self {
            opened: Box::new(|_| Action::Continue),
            data: Box::new(|cx, input| cx.send(input.take_all()).or_reset()),
            stays: false,
            timer: Box::new(|_, _| Action::Continue),
            wake_up: Box::new(|_| {}),
            notified: Box::new(|_| {}),
            poked: Box::new(|_| Action::Continue),
            echoes: false,
            drained: 0,
            ended: Box::new(|_, _| {}),
            closed: Vec::new(),
            notices: Vec::new(),
        }
    }

    fn opened(mut self, call: impl FnMut(&mut dyn Context) -> Action + 'static) -> Self {
        self.opened = Box::new(call);
        self
    }

    fn data(
        mut self,
        call: impl FnMut(&mut dyn Context, &mut Input<'_>) -> Action + 'static,
    ) -> Self {
        self.data = Box::new(call);
        self
    }

    fn timer(mut self, call: impl FnMut(&mut dyn Context, u32) -> Action + 'static) -> Self {
        self.timer = Box::new(call);
        self
    }

    fn wake_up(mut self, call: impl FnMut(&mut dyn LoopContext) + 'static) -> Self {
        self.wake_up = Box::new(call);
        self
    }

    fn notified(mut self, call: impl FnMut(&mut dyn LoopContext) + 'static) -> Self {
        self.notified = Box::new(call);
        self
    }

    fn poked(mut self, call: impl FnMut(&mut dyn Context) -> Action + 'static) -> Self {
        self.poked = Box::new(call);
        self
    }

    fn closed(mut self, call: impl FnMut(&mut dyn Context, &Closed) + 'static) -> Self {
        self.ended = Box::new(call);
        self
    }

    fn echoes(mut self) -> Self {
        self.echoes = true;
        self
    }

    fn told(&self, words: &str) -> usize {
        self.notices.iter().filter(|notice| notice.contains(words)).count()
    }
}

impl Handler for Probe {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        (self.opened)(cx)
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        if self.echoes && input.streams() {
            let sent = cx.send(input.take_all());
            cx.relay(cx.id(), cx.id());
            return sent.or_reset();
        }
        (self.data)(cx, input)
    }

    fn end(&mut self, _: &mut impl Context, (): &mut (), _: &mut Input<'_>) -> Action {
        if self.stays { Action::Continue } else { Action::Close }
    }

    fn drained(&mut self, _: &mut impl Context, (): &mut ()) -> Action {
        self.drained += 1;
        Action::Continue
    }

    fn timer(&mut self, cx: &mut impl Context, (): &mut (), key: u32) -> Action {
        (self.timer)(cx, key)
    }

    fn poked(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        (self.poked)(cx)
    }

    fn notified(&mut self, cx: &mut impl LoopContext) {
        (self.notified)(cx);
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext) {
        (self.wake_up)(cx);
    }

    fn closed(&mut self, cx: &mut impl Context, (): (), closed: &Closed) {
        (self.ended)(cx, closed);
        self.closed.push(closed.clone());
    }

    fn notice(&mut self, notice: &Notice) {
        self.notices.push(notice.to_string());
    }
}

fn run(simulation: Simulation, probe: Probe) -> Report<Probe> {
    simulation.run(probe).unwrap_or_else(|failure| panic!("{failure}"))
}

/// A run in which this call fails so, the first time or a later one, and nothing else does.
fn failing(call: Call, nth: u64, error: Errno) -> Simulation {
    let fault = Fault { call, nth, fate: Fate::Fails(error) };
    Simulation::in_check(1, Some(vec![fault]), Rc::default())
}

fn caller(name: &str) -> Script {
    Script::new().name(name).send("hello").expect("hello").finish().expect_end()
}

#[test]
fn the_cap_is_told_of_each_time_that_it_is_reached_and_no_more() {
    // The others come while the first one is there, and wait.
    let first = Script::new().send("1").expect("1").wait(10 * SECOND).finish().expect_end();
    let later = |_| Script::new().wait(SECOND).send("x").expect("x").finish().expect_end();
    let others = (0..4).map(later);
    let config = Config::new().max_connections(Some(1));
    let simulation = others.fold(Simulation::new(1).config(config).peer(first), Simulation::peer);
    let report = run(simulation, Probe::new());
    assert_eq!((report.metrics.accepted, report.metrics.closed), (5, 5));
    // Once for each that came in, because somebody may wait behind it.
    assert_eq!(report.metrics.cap_reached, 5);
    assert_eq!(report.handler.told("connection limit"), 5);
}

#[test]
fn connecting_counts_towards_the_cap_and_no_earlier() {
    for (cap, allowed) in [(2, true), (1, false)] {
        let service: SocketAddr = "10.0.0.1:80".parse().expect("an address");
        let begun = Rc::new(RefCell::new(None));
        let seen = Rc::clone(&begun);
        let probe = Probe::new().opened(move |cx| {
            if seen.borrow().is_none() {
                let answer = cx.connect(service.into(), ()).map_err(|error| error.to_string());
                *seen.borrow_mut() = Some(answer.map(|_| ()));
            }
            Action::Continue
        });
        let simulation = Simulation::new(1)
            .config(Config::new().max_connections(Some(cap)))
            .service(service, |_| Script::new().close())
            .peer(caller("the first"));
        run(simulation, probe);
        let begun = begun.take().expect("the first was opened");
        assert_eq!(begun.is_ok(), allowed, "{begun:?}");
        assert!(allowed || begun.expect_err("the cap").contains("connection limit 1 reached"));
    }
}

#[test]
fn what_is_readable_when_a_send_fails_is_read_and_then_the_connection_ends() {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let hears = Rc::clone(&heard);
    let probe = Probe::new()
        .opened(|cx| {
            cx.set_timer(0, Some(SECOND));
            Action::Pause
        })
        .timer(|cx, _| {
            assert_eq!(cx.send(b"?"), Sent::Gone);
            cx.resume(cx.id());
            Action::Continue
        })
        .data(move |_, input| {
            hears.borrow_mut().extend_from_slice(input.take_all());
            Action::Continue
        });
    let report = run(
        failing(Call::Send, 1, Errno::HOSTUNREACH)
            .calm()
            .buffers(1000..=1000)
            .peer(Script::new().may_end().send("last words")),
        probe,
    );
    assert_eq!(heard.take(), b"last words");
    let [closed] = &report.handler.closed[..] else { panic!("one end") };
    assert_eq!((closed.reason, closed.dropped), (Reason::Failed, 1));
    assert_eq!(closed.errno, Some(Errno::HOSTUNREACH.raw_os_error()));
    assert_eq!(report.metrics.aborted, 1);
}

#[test]
fn closing_a_connection_that_has_failed_does_not_hide_that() {
    let probe = Probe::new().opened(|cx| {
        assert_eq!(cx.send(b"hello"), Sent::Gone);
        Action::Close
    });
    let report = run(failing(Call::Send, 1, Errno::PIPE).peer(Script::new().may_end()), probe);
    let [closed] = &report.handler.closed[..] else { panic!("one end") };
    assert_eq!((closed.reason, closed.dropped), (Reason::Failed, 5));
    assert_eq!(closed.errno, Some(Errno::PIPE.raw_os_error()));
    assert_eq!(report.metrics.aborted, 1);
}

#[test]
fn who_ended_first_can_be_told_by_the_reason() {
    let report = run(
        Simulation::new(1)
            .peer(caller("it does").name("it does"))
            .peer(Script::new().send("bye").expect_end().finish()),
        Probe::new().data(|cx, input| match input.take_all() {
            b"bye" => Action::Close,
            bytes => cx.send(bytes).or_reset(),
        }),
    );
    let reasons: Vec<_> = report.peers.iter().map(PeerReport::reason).collect();
    assert_eq!(reasons, [Some(Reason::Finished), Some(Reason::Closed)]);
    assert_eq!(report.metrics.aborted, 0);
}

#[test]
fn output_may_be_queued_up_to_its_limit_and_not_a_byte_more() {
    const LIMIT: usize = 5000;
    let probe = Probe::new().opened(|cx| {
        assert_eq!(cx.send(&[1; 200]), Sent::AboveMark);
        let left = LIMIT - cx.queued(cx.id());
        assert_eq!(cx.send(&vec![2; left + 1]), Sent::Refused);
        assert_eq!(cx.send(&vec![2; left]), Sent::AboveMark);
        assert_eq!(cx.send(&[3]), Sent::Refused);
        assert_eq!(cx.queued(cx.id()), LIMIT);
        Action::Close
    });
    let config =
        Config::new().high_watermark(1).low_watermark(0).read_buffer(100).output_limit(LIMIT);
    let simulation = Simulation::new(1)
        .buffers(100..=100)
        .config(config)
        .peer(Script::new().receive(LIMIT + 100).expect_end().finish());
    assert_eq!(run(simulation, probe).metrics.refused, 2);
}

#[test]
fn c13_what_is_queued_is_written_within_the_budget_of_a_turn() {
    const MUCH: usize = 4000;
    let writes = Rc::new(RefCell::new(vec![0]));
    let written = Rc::clone(&writes);
    // While nobody reads, nothing but the buffers' 2000 bytes can be written; then all that is
    // left.
    let simulation = Simulation::new(1)
        .calm()
        .buffers(1000..=1000)
        .config(Config::new().turn_bytes(100).turn_accepts(1).turn_jobs(1))
        .peer(Script::new().wait(SECOND).receive(MUCH).finish().expect_end())
        .trace(move |at, what| {
            let turns = &mut *written.borrow_mut();
            if what.starts_with("epoll_wait") {
                turns.push(0);
            }
            let answer = what.rsplit_once(": ").and_then(|(_, count)| count.parse::<usize>().ok());
            if what.starts_with("send(") && at >= SECOND {
                *turns.last_mut().expect("a turn") += answer.unwrap_or(0);
            }
        });
    let probe = Probe::new().opened(|cx| {
        assert_eq!(cx.send(&[7; MUCH]), Sent::Queued);
        Action::Continue
    });
    let report = run(simulation, probe);
    let late: usize = writes.borrow().iter().sum();
    assert!(late >= 1000, "{late} bytes were written after a second");
    // Turns that find no event tell nothing, so that several may stand together here.
    assert!(report.metrics.turns >= late as u64 / 100, "{} turns", report.metrics.turns);
}

#[test]
fn who_has_taken_all_may_be_idle_for_as_long_as_anybody() {
    let config = Config::new().idle_timeout(Some(SECOND));
    // Longer than the idle timeout there is output that it doesn't take.
    let simulation = Simulation::new(1)
        .calm()
        .buffers(100..=100)
        .config(config)
        .peer(Script::new().wait(5 * SECOND).receive(1000).expect_end().finish());
    let probe = Probe::new().opened(|cx| {
        assert_eq!(cx.send(&[7; 1000]), Sent::Queued);
        Action::Continue
    });
    let report = run(simulation, probe);
    assert_eq!(report.handler.closed[0].reason, Reason::IdleTimeout);
    let (least, most) = (6 * SECOND, 6 * SECOND + Duration::from_millis(10));
    assert!((least..most).contains(&report.elapsed), "after {:?}", report.elapsed);
}

#[test]
fn the_idle_end_in_order_unless_they_are_owed_what_they_do_not_take() {
    let config = Config::new().idle_timeout(Some(SECOND)).write_timeout(None);
    for (output, aborted) in [(100, 0), (5000, 1)] {
        let script = Script::new().may_end().wait(10 * SECOND).receive(output).expect_end();
        let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config.clone());
        let report = run(
            simulation.peer(script),
            Probe::new().opened(move |cx| {
                let sent = cx.send(&vec![7; output]);
                assert_eq!(sent, if aborted == 0 { Sent::Written } else { Sent::Queued });
                Action::Continue
            }),
        );
        let closed = &report.handler.closed[0];
        assert_eq!((closed.reason, report.metrics.aborted), (Reason::IdleTimeout, aborted));
        assert_eq!(closed.dropped > 0, aborted == 1, "{closed:?}");
    }
}

#[test]
fn each_of_several_listeners_accepts() {
    let addresses: Vec<SocketAddr> =
        (1..4).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
    let mut simulation = Simulation::new(1);
    for &address in &addresses {
        simulation = simulation.listen(address).peer(caller("a caller").connect_to(address));
    }
    assert_eq!(run(simulation, Probe::new()).metrics.accepted, 3);
}

#[test]
fn c25_a_shorter_backlog_than_was_asked_for_is_told() {
    for (longest, told) in [(None, 0), (Some(4095), 1), (Some(4096), 0), (Some(4097), 0)] {
        let mut simulation = Simulation::new(1).peer(caller("a caller"));
        simulation.world.longest_backlog = longest;
        let report = run(simulation, Probe::new());
        assert_eq!(report.handler.told("net.core.somaxconn"), told, "{longest:?}");
    }
}

#[test]
fn c22_a_listener_that_can_accept_no_more_ends_alone_and_is_told_of() {
    let one = SocketAddr::from(([127, 0, 0, 1], 1));
    let two = SocketAddr::from(([127, 0, 0, 1], 2));
    let simulation = failing(Call::Accept, 1, Errno::INVAL)
        .listen(one)
        .listen(two)
        .peer(Script::new().connect_to(one).may_end())
        .peer(caller("a caller").connect_to(two).may_end());
    let report = run(simulation, Probe::new());
    assert_eq!(report.handler.told("failed: Invalid argument"), 1);
}

#[test]
fn c22_errors_of_single_connections_are_counted_and_skipped() {
    let simulation = failing(Call::Accept, 1, Errno::PROTO).peer(caller("a caller").may_end());
    let report = run(simulation, Probe::new());
    assert_eq!(report.metrics.accept_errors, 1);
}

#[test]
fn c06_what_comes_behind_the_servers_end_is_discarded_up_to_a_limit() {
    for (sent, limit, reset) in [(3000, 5000, false), (5000, 3000, true)] {
        let config = Config::new()
            .linger_timeout(5 * SECOND)
            .linger_limit(limit)
            .read_buffer(100)
            .turn_bytes(100)
            .turn_accepts(1)
            .turn_jobs(1);
        let begins = Script::new().may_end().send("bye").send(vec![7; sent]);
        let script = if reset { begins } else { begins.expect_end().finish() };
        let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config);
        let probe = Probe::new().data(|_, input| {
            let _ = input.take_all();
            Action::Close
        });
        let metrics = run(simulation.peer(script), probe).metrics;
        let discarded = usize::try_from(metrics.bytes_discarded).expect("few");
        if reset {
            assert!((limit..limit + 100).contains(&discarded), "{discarded} bytes");
        } else {
            assert_eq!(metrics.bytes_in + metrics.bytes_discarded, 3 + sent as u64);
        }
    }
}

#[test]
fn c10_reading_goes_on_above_the_mark_where_that_is_asked_for_and_nowhere_else() {
    for reads in [false, true] {
        // The server owes it much, and it reads nothing for a second.
        let config = Config::new().high_watermark(1).low_watermark(0).read_above_mark(reads);
        let heard = Rc::new(RefCell::new(Vec::new()));
        let hears = Rc::clone(&heard);
        let probe = Probe::new()
            .opened(|cx| {
                assert_eq!(cx.send(&[7; 5000]), Sent::AboveMark);
                Action::Continue
            })
            .data(move |cx, input| {
                hears.borrow_mut().push(cx.queued(cx.id()) > 0);
                let _ = input.take_all();
                Action::Continue
            });
        let script = Script::new().send("hello").wait(SECOND).receive(5000).finish().expect_end();
        let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config);
        let report = run(simulation.peer(script), probe);
        assert_eq!(heard.take(), [reads], "whether output was queued when it was heard");
        assert_eq!(report.handler.drained, 1);
    }
}

#[test]
fn what_was_left_is_shown_again_when_reading_is_resumed_though_nothing_new_comes() {
    let mut shown = 0;
    let probe = Probe::new()
        .data(move |cx, input| {
            shown += 1;
            if shown == 1 {
                cx.set_timer(0, Some(SECOND));
                return Action::Pause;
            }
            cx.send(input.take_all()).or_reset()
        })
        .timer(|cx, _| {
            cx.resume(cx.id());
            Action::Continue
        });
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).peer(caller("a caller"));
    assert_eq!(run(simulation, probe).peers[0].received, b"hello");
}

#[test]
fn c07_a_reset_behind_the_peers_end_ends_a_connection_that_stayed() {
    let mut probe = Probe::new();
    probe.stays = true;
    let script = Script::new().send("hello").expect("hello").finish().wait(SECOND).reset();
    let report = run(Simulation::new(1).peer(script), probe);
    let closed = &report.handler.closed[0];
    assert_eq!(closed.reason, Reason::Failed);
    assert!(report.elapsed < 2 * SECOND, "after {:?}", report.elapsed);
}

#[test]
fn c07_an_end_behind_a_failed_send_is_no_orderly_end() {
    let mut probe = Probe::new().data(|cx, input| {
        assert_eq!(cx.send(input.take_all()), Sent::Gone);
        Action::Continue
    });
    // It would keep the connection, and the error would never be told.
    probe.stays = true;
    let script = Script::new().may_end().send("x").finish().wait(SECOND).expect_end();
    let report = run(failing(Call::Send, 1, Errno::PIPE).peer(script), probe);
    let closed = &report.handler.closed[0];
    assert_eq!((closed.reason, closed.dropped), (Reason::Failed, 1));
    assert_eq!(closed.errno, Some(Errno::PIPE.raw_os_error()));
    assert!(report.elapsed < 2 * SECOND, "after {:?}", report.elapsed);
}

#[test]
fn c12_what_was_left_of_much_input_takes_no_more_than_it_needs() {
    const MUCH: usize = 3000;
    // The share of kept input is a quarter of this, less than all of them have ever left.
    let config = Config::new().buffer_limit(crate::api::config::MIN_BUFFER_LIMIT);
    let script = |number: u32| {
        let one = Script::new().connect_after(number * SECOND);
        one.send([7; MUCH]).expect("all but ten").wait(100 * SECOND).finish().expect_end()
    };
    let simulation = Simulation::new(1).buffers(500..=500).config(config);
    let probe = Probe::new().data(|cx, input| {
        if input.len() < MUCH {
            return Action::Continue;
        }
        let _ = input.take(MUCH - 10);
        cx.send(b"all but ten").or_reset()
    });
    let report = run((0..40).map(script).fold(simulation, Simulation::peer), probe);
    let ends = report.handler.closed.iter().map(|closed| closed.reason);
    assert!(
        ends.clone().all(|reason| reason == Reason::Finished),
        "{:?}",
        ends.collect::<Vec<_>>()
    );
}
