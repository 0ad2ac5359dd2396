//! Sessions that are called from elsewhere (C47), and the word that draining begins.

use std::cell::Cell;
use std::collections::HashMap;

use super::*;
use crate::api::id::ConnectionId;
use crate::api::receive::Receive;

/// Calls the sessions of others by the names that these gave themselves, and says what was said.
#[derive(Default)]
struct Desk {
    names: HashMap<Vec<u8>, ConnectionId>,
    /// How often each is called at once.
    times: usize,
    called: HashMap<ConnectionId, u64>,
    drains: u64,
}

/// What a session keeps: its name.
type Name = Vec<u8>;

impl Handler for Desk {
    type Session = Name;

    fn session(&mut self, _: &Origin) -> Option<Name> {
        Some(Vec::new())
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        name: &mut Name,
        input: &mut Input<'_>,
    ) -> Action {
        while let Ok(Some(word)) = input.take_until(b" ", 100) {
            if name.is_empty() {
                *name = word.to_vec();
                self.names.insert(word.to_vec(), cx.id());
            } else {
                let id = self.names[word];
                (0..self.times).for_each(|_| cx.poke(id));
            }
        }
        Action::Continue
    }

    fn poked(&mut self, cx: &mut impl Context<Self::Session>, name: &mut Name) -> Action {
        *self.called.entry(cx.id()).or_default() += 1;
        cx.send(name).or_reset()
    }

    fn draining(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        self.drains += 1;
        for id in cx.connections() {
            assert!(cx.send_to(id, b"bye").is_accepted());
            cx.close(id);
        }
    }
}

#[test]
fn c47_a_session_is_called_from_anothers_callback_as_often_as_asked() {
    let desk = Desk { times: 3, ..Desk::default() };
    let config = Config::new().turn_bytes(1000).turn_accepts(10).turn_jobs(2);
    let report = Simulation::new(1)
        .config(config)
        .peer(Script::new().send("ann ").expect("ann ann ann ").finish().expect_end())
        .peer(Script::new().send("bob ").wait(SECOND).send("ann ").wait(SECOND).finish())
        .run(desk)
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(report.handler.called.values().sum::<u64>(), 3);
    assert_eq!(report.metrics.stale, 0);
}

/// Where nobody answers.
fn silent() -> SocketAddr {
    "10.0.0.9:80".parse().expect("an address")
}

/// Starts a connection when it is told to, and calls its session at once.
#[derive(Default)]
struct Starts {
    poked: Vec<(ConnectionId, u32)>,
    started: Option<ConnectionId>,
    closed: Option<u32>,
}

impl Handler for Starts {
    type Session = u32;

    fn session(&mut self, _: &Origin) -> Option<u32> {
        None
    }

    fn data(&mut self, _: &mut impl Context<u32>, _: &mut u32, _: &mut Input<'_>) -> Action {
        Action::Reset
    }

    fn poked(&mut self, cx: &mut impl Context<u32>, session: &mut u32) -> Action {
        self.poked.push((cx.id(), *session));
        *session += 1;
        Action::Continue
    }

    fn closed(&mut self, _: &mut impl Context<u32>, session: u32, _: &Closed) {
        self.closed = Some(session);
    }
}

impl Receive<u32> for Starts {
    fn posted(&mut self, cx: &mut impl LoopContext<u32>, session: u32) {
        let id = cx.connect(silent().into(), session).expect("it can be tried");
        cx.poke(id);
        cx.poke(id);
        self.started = Some(id);
    }
}

#[test]
fn c47_a_session_is_called_in_the_turn_in_which_its_connection_was_started() {
    let simulation = Simulation::new(1).service(silent(), |_| Script::new().never_answers());
    let report = simulation.run_with(Starts::default(), |start| {
        let sender = start.sender::<u32>();
        start.at(SECOND, move |_| sender.post(7).expect("room"));
    });
    let starts = report.unwrap_or_else(|failure| panic!("{failure}")).handler;
    let id = starts.started.expect("it was started");
    assert_eq!((starts.poked, starts.closed), (vec![(id, 7), (id, 8)], Some(9)));
}

#[test]
fn c47_whoever_is_gone_is_not_called_and_that_is_counted() {
    let desk = Desk { times: 3, ..Desk::default() };
    let report = Simulation::new(1)
        .peer(Script::new().send("ann ").finish().expect_end())
        .peer(Script::new().send("bob ").wait(SECOND).send("ann ").wait(SECOND).finish())
        .run(desk)
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((report.handler.called.len(), report.metrics.stale), (0, 3));
}

#[test]
fn c47_another_thread_has_a_session_called_behind_what_it_sent() {
    let first = Rc::new(Cell::new(None));
    let sees = Rc::clone(&first);
    let probe = Probe::new().opened(move |cx| {
        sees.set(Some(cx.id()));
        Action::Continue
    });
    let peer = Script::new().expect("sent, then poked").wait(SECOND).finish().expect_end();
    let simulation = Simulation::new(1).peer(peer).at(SECOND, move |handle| {
        let id = first.get().expect("it is open");
        handle.send(id, *b"sent, ").expect("room");
        handle.poke(id).expect("room");
    });
    run(simulation, probe.poked(|cx| cx.send(b"then poked").or_reset()));
}

#[test]
fn c37_a_handler_is_told_once_that_the_loop_begins_to_drain() {
    let report = Simulation::new(1)
        .peer(Script::new().send("ann ").expect("bye").expect_end())
        .at(SECOND, |handle| {
            handle.stop(Stop::Drain(Some(10 * SECOND)));
            handle.stop(Stop::Drain(Some(5 * SECOND)));
        })
        .run(Desk::default())
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((report.handler.drains, report.metrics.cut_off), (1, 0));
}
