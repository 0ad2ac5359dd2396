//! From outside the loop: mail, notifications, and stopping in the middle of traffic.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use edgeloop::sim::{Ending, Faults, Script, check};
use edgeloop::{Action, ConnectionId, Context, Handler, Input, LoopContext, Origin, Reason, Stop};

/// Echoes, and tells others which connections there are.
#[derive(Default)]
struct Echo {
    ids: Rc<RefCell<Vec<ConnectionId>>>,
    notified: u32,
}

impl Handler for Echo {
    type Session = ();

    fn session(&mut self, origin: &Origin) -> Option<()> {
        self.ids.borrow_mut().push(origin.id);
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        cx.send(input.take_all()).or_reset()
    }

    fn notified(&mut self, _: &mut impl LoopContext) {
        self.notified += 1;
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn another_thread_sends_closes_and_notifies() {
    check(0..50, |simulation| {
        let handler = Echo::default();
        let ids = Rc::clone(&handler.ids);
        let report = simulation
            .faults(Faults::passing())
            .peer(Script::new().expect_silence(9 * SECOND).expect("news").expect_end())
            .at(5 * SECOND, edgeloop::Handle::notify)
            .at(10 * SECOND, move |handle| {
                let id = ids.borrow()[0];
                handle.send(id, *b"news").expect("room in the mailbox");
                handle.close(id).expect("room in the mailbox");
            })
            .run(handler)?;
        assert_eq!(report.handler.notified, 1);
        assert_eq!(report.peers[0].reason(), Some(Reason::Closed));
        Ok(())
    });
}

#[test]
fn a_drain_serves_who_is_there_and_refuses_who_comes_later() {
    check(0..50, |simulation| {
        let report = simulation
            .at(10 * SECOND, |handle| handle.stop(Stop::Drain(None)))
            .peer(
                Script::new()
                    .name("busy")
                    .wait(9 * SECOND)
                    .send("one")
                    .expect("one")
                    .wait(SECOND + SECOND / 2)
                    .send("two")
                    .expect("two"),
            )
            .peer(Script::new().name("quiet").patience(12 * SECOND).expect_end())
            .peer(Script::new().name("late").connect_after(11 * SECOND).expect_refused())
            .run(Echo::default())?;
        assert_eq!(report.peer("busy").reason(), Some(Reason::Finished));
        assert_eq!(report.peer("quiet").reason(), Some(Reason::DrainQuiet));
        assert_eq!(report.peer("late").closed, None);
        Ok(())
    });
}

#[test]
fn a_stop_at_once_cuts_off_in_the_middle_and_the_peers_see_it() {
    let mut cut = 0;
    for seed in 0..50 {
        let said = [b'x'; 20_000];
        let report = edgeloop::sim::Simulation::new(seed)
            .at(SECOND, |handle| handle.stop(Stop::Now))
            .peer(Script::new().name("idle").may_end().receive(1))
            .peer(Script::new().name("reset").expect_reset())
            .peer(Script::new().connect_after(SECOND).may_end().send(said).expect(said))
            .run(Echo::default())
            .expect("all may end");
        assert_eq!(report.peer("idle").reason(), Some(Reason::CutOff));
        assert_eq!(report.peer("idle").ending, Ending::Cut);
        cut += u32::from(report.peers[2].ending == Ending::Cut);
    }
    assert!(cut > 0);
}

#[test]
fn a_handler_that_stops_its_loop_leaves_no_peer_waiting() {
    struct Once;
    impl Handler for Once {
        type Session = ();
        fn session(&mut self, _: &Origin) -> Option<()> {
            Some(())
        }
        fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
            let sent = cx.send(input.take_all());
            cx.stop(Stop::Drain(Some(10 * SECOND)));
            sent.or_reset()
        }
    }
    check(0..50, |simulation| {
        simulation
            .peer(Script::new().send("a").expect("a").expect_end())
            .peer(Script::new().connect_after(SECOND * 10).expect_refused())
            .run(Once)
            .map(drop)
    });
}
