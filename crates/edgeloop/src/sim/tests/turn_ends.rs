//! The call at the end of a turn, for whoever does one thing for all that the turn has brought.

use super::*;
use crate::api::id::ConnectionId;

/// Keeps what it is told until the end of the turn, and then replies to all.
#[derive(Default)]
struct Log {
    /// Who waits for a reply.
    written: Vec<ConnectionId>,
    /// What happened, with the turn in which it did.
    happened: Rc<RefCell<Vec<(u64, &'static str)>>>,
    /// How often it asks again.
    again: usize,
    /// What it does for a connection that has ended.
    asks_at_the_end: bool,
    connects_to: Option<SocketAddr>,
}

impl Log {
    fn note(&self, cx: &mut impl LoopContext, what: &'static str) {
        self.happened.borrow_mut().push((cx.metrics().turns, what));
    }
}

impl Handler for Log {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        self.note(cx, "opened");
        Action::Continue
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        for _ in input.take_all() {
            self.written.push(cx.id());
            cx.at_end_of_turn();
        }
        self.note(cx, "data");
        Action::Continue
    }

    fn turn_ended(&mut self, cx: &mut impl LoopContext) {
        self.note(cx, "end");
        for id in self.written.drain(..) {
            assert!(cx.send_to(id, b"ok").is_accepted());
        }
        if self.again > 0 {
            self.again -= 1;
            (0..3).for_each(|_| cx.at_end_of_turn());
        }
        if let Some(to) = self.connects_to.take() {
            cx.connect(to.into(), ()).expect("it can be begun");
        }
    }

    fn closed(&mut self, cx: &mut impl Context, (): (), _: &Closed) {
        self.note(cx, "closed");
        if self.asks_at_the_end {
            self.asks_at_the_end = false;
            cx.at_end_of_turn();
        }
    }
}

fn run(simulation: Simulation, log: Log) -> Vec<(u64, &'static str)> {
    let happened = Rc::clone(&log.happened);
    simulation.run(log).unwrap_or_else(|failure| panic!("{failure}"));
    happened.take()
}

#[test]
fn c45_the_replies_of_a_turn_are_made_at_its_end_and_leave_in_it() {
    let (log, calls) = (Log::default(), Rc::new(RefCell::new(Vec::new())));
    let (happened, sees) = (Rc::clone(&log.happened), Rc::clone(&calls));
    let peer = |_| Script::new().wait(SECOND).send("!!!").expect("okokok").finish().expect_end();
    let simulation = Simulation::new(1).calm().buffers(1000..=1000);
    let simulation = (0..20).map(peer).fold(simulation, Simulation::peer);
    let simulation = simulation.trace(move |_, what| {
        if what.starts_with("send(") {
            // The turn in which the last callback was made.
            let turn = happened.borrow().last().map(|last| last.0);
            sees.borrow_mut().push(turn);
        } else if what.starts_with("epoll_wait") {
            sees.borrow_mut().push(None);
        }
    });
    let happened = run(simulation, log);
    let ends: Vec<_> = happened.iter().filter(|it| it.1 == "end").map(|it| it.0).collect();
    assert!(ends.len() < 20, "one for each: {ends:?}");
    assert!(ends.windows(2).all(|two| two[0] < two[1]), "twice in a turn: {ends:?}");
    for (turn, _) in happened.iter().filter(|it| it.1 == "data") {
        assert!(ends.contains(turn), "no end of turn {turn}");
    }
    // One call for each, and none without the end of its turn before it.
    let sent: Vec<_> = calls.borrow().iter().flatten().copied().collect();
    assert_eq!(sent.len(), 20);
    assert!(sent.iter().all(|turn| ends.contains(turn)));
}

#[test]
fn whoever_asks_at_the_end_is_called_in_the_next_turn_and_nobody_else_is() {
    let peer = Script::new().send("!").expect("ok").wait(SECOND).finish().expect_end();
    let log = Log { again: 3, ..Log::default() };
    let happened = run(Simulation::new(1).calm().peer(peer), log);
    let ends: Vec<_> = happened.iter().filter(|it| it.1 == "end").map(|it| it.0).collect();
    assert_eq!(ends.len(), 4);
    assert!(ends.windows(2).all(|two| two[1] == two[0] + 1), "{ends:?}");
}

#[test]
fn what_an_ended_connection_leaves_to_be_done_is_done_in_its_turn() {
    let service = SocketAddr::from(([10, 0, 0, 1], 80));
    let log = Log { asks_at_the_end: true, connects_to: Some(service), ..Log::default() };
    let peer = Script::new().wait(SECOND).finish().expect_end();
    let simulation = Simulation::new(1).calm().peer(peer);
    let served = |_| Script::new().wait(SECOND).finish().expect_end();
    let happened = run(simulation.service(service, served), log);
    let told: Vec<_> = happened.iter().map(|it| it.1).collect();
    assert_eq!(told, ["opened", "closed", "end", "opened", "closed"]);
    assert_eq!(happened[1].0, happened[2].0, "in the turn of the end");
}
