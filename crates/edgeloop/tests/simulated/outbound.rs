//! Outbound connections with several addresses, and the loop's wake-up, on a simulated clock.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use edgeloop::sim::{Faults, Script, Simulation, Start, check};
use edgeloop::{
    Action, Address, Closed, Config, Context, Handler, Input, LoopContext, Origin, Reason, Sent,
    Target, Time,
};

const SECOND: Duration = Duration::from_secs(1);

fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 80))
}

/// Asks a question, and notes who answered what.
#[derive(Default)]
struct Asks {
    answer: Vec<u8>,
    from: Option<Address>,
    closed: Vec<Closed>,
}

impl Handler for Asks {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        self.from = cx.peer_address(cx.id()).ok();
        cx.send(b"question").or_reset()
    }

    fn data(&mut self, _: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        self.answer.extend_from_slice(input.take_all());
        Action::Continue
    }

    fn closed(&mut self, _: &mut impl Context, (): (), closed: &Closed) {
        self.closed.push(closed.clone());
    }
}

/// Asks the first of three servers that answers.
fn asks_three(start: &mut Start<'_, Asks>) {
    let target = Target::new(server(1)).or(server(2)).or(server(3)).timeout(Some(SECOND));
    start.connect(target, ());
}

/// The first of three servers is silent, the second is not there.
fn first_is_silent(simulation: Simulation) -> Simulation {
    simulation.service(server(1), |_| Script::new().never_answers())
}

#[test]
fn the_third_address_is_reached_when_the_first_is_silent_and_the_second_refuses() {
    check(0..100, |simulation| {
        let answers = || Script::new().may_end().expect("question").send("answer").close();
        let report = first_is_silent(simulation)
            .faults(Faults::passing())
            .service(server(3), move |_| answers())
            .run_with(Asks::default(), asks_three)?;
        let [closed] = &report.handler.closed[..] else { panic!("one end") };
        if closed.is_clean() {
            assert_eq!(closed.attempts, [], "it was made");
            assert_eq!(report.handler.answer, b"answer");
            assert!(report.handler.from.is_none_or(|from| from == server(3).into()));
            assert!(report.elapsed >= SECOND, "it took {:?}", report.elapsed);
        } else {
            assert!(!report.faults.is_empty(), "{closed:?}");
        }
        Ok(())
    });
}

#[test]
fn when_all_fail_there_is_one_end_with_the_reason_of_the_last() {
    check(0..50, |simulation| {
        let report = first_is_silent(simulation).run_with(Asks::default(), asks_three)?;
        let [closed] = &report.handler.closed[..] else { panic!("one end") };
        assert_eq!(closed.reason, Reason::ConnectFailed);
        let addresses: Vec<_> =
            closed.attempts.iter().map(|attempt| attempt.address.clone()).collect();
        assert_eq!(addresses, [server(1), server(2), server(3)].map(Address::from));
        assert_eq!(closed.attempts[0].error().kind(), ErrorKind::TimedOut);
        assert_eq!(report.metrics.connected, 0);
        Ok(())
    });
}

/// Sends a tick at each of these times, counted from when it was opened.
struct Ticks {
    every: Duration,
    left: u32,
    next: Time,
    late: Duration,
    peer: Option<edgeloop::ConnectionId>,
}

impl Ticks {
    fn new(every: Duration, count: u32) -> Self {
        Self { every, left: count, next: Time::NEVER, late: Duration::ZERO, peer: None }
    }
}

impl Handler for Ticks {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        self.peer = Some(cx.id());
        self.next = cx.now().after(self.every);
        cx.wake_at(Some(self.next));
        Action::Continue
    }

    fn data(&mut self, _: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        let _ = input.take_all();
        Action::Continue
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext) {
        assert!(cx.now() >= self.next, "never early");
        self.late = self.late.max(cx.now().since(self.next));
        if let Some(peer) = self.peer {
            assert_ne!(cx.send_to(peer, b"."), Sent::Refused);
        }
        self.left -= 1;
        if self.left > 0 {
            self.next = self.next.after(self.every);
            cx.wake_at(Some(self.next));
        }
    }
}

#[test]
fn wake_ups_come_on_time_however_close_they_are() {
    for every in [Duration::from_nanos(1), Duration::from_micros(7), 3 * SECOND] {
        check(0..20, |simulation| {
            let report = simulation
                .faults(Faults::passing())
                .peer(Script::new().expect([b'.'; 100]).close())
                .run(Ticks::new(every, 100))?;
            assert_eq!(report.handler.left, 0);
            assert!(report.elapsed >= 100 * every, "it took {:?}", report.elapsed);
            Ok(())
        });
    }
}

#[test]
fn polling_before_a_wake_up_is_not_spinning() {
    check(0..20, |simulation| {
        let before = Duration::from_micros(200);
        let report = simulation
            .config(Config::new().busy_poll(before))
            .faults(Faults::passing())
            .peer(Script::new().expect([b'.'; 10]).close())
            .run(Ticks::new(Duration::from_millis(1), 10))?;
        assert!(report.metrics.turns > 500, "{} turns", report.metrics.turns);
        Ok(())
    });
}
