//! A proxy: for each client a connection to a server behind it, that answers, refuses or breaks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use edgeloop::sim::{Ending, Faults, Script, check};
use edgeloop::{Action, Closed, Config, ConnectionId, Context, Handler, Input, Origin, Reason};

fn upstream() -> SocketAddr {
    "10.0.0.1:80".parse().expect("an address")
}

/// Passes bytes on, both ways, and ends.
#[derive(Default)]
struct Proxy {
    others: HashMap<ConnectionId, ConnectionId>,
}

impl Handler for Proxy {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        let id = cx.id();
        if self.others.contains_key(&id) {
            return Action::Continue;
        }
        let Ok(other) = cx.connect(upstream().into(), ()) else { return Action::Reset };
        self.others.extend([(id, other), (other, id)]);
        Action::Continue
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        match self.others.get(&cx.id()) {
            Some(&other) => cx.send_to(other, input.take_all()).or_reset(),
            None => Action::Reset,
        }
    }

    fn closed(&mut self, cx: &mut impl Context, (): (), closed: &Closed) {
        if let Some(other) = self.others.remove(&closed.id) {
            self.others.remove(&other);
            if closed.is_clean() { cx.close(other) } else { cx.reset(other) }
        }
    }
}

fn client(name: &str) -> Script {
    Script::new().name(name).send("question").expect("answer").expect_end()
}

#[test]
fn what_is_asked_and_answered_passes() {
    check(0..100, |simulation| {
        let report = simulation
            .faults(Faults::passing())
            .service(upstream(), |_| Script::new().expect("question").send("answer").close())
            .peer(client("one"))
            .peer(client("two"))
            .run(Proxy::default())?;
        assert_eq!(report.peers.len(), 4);
        assert!(report.peers.iter().all(|peer| peer.closed.as_ref().is_some_and(Closed::is_clean)));
        Ok(())
    });
}

#[test]
fn whatever_breaks_the_client_reads_a_beginning_of_the_answer() {
    let answer = [b'a'; 300];
    check(0..100, |simulation| {
        let report = simulation
            .faults(Faults::passing().breaking(20))
            .service(upstream(), move |_| {
                Script::new().may_end().expect("question").send(answer).close()
            })
            .peer(Script::new().name("client").may_end().send("question").expect(answer))
            .run(Proxy::default())?;
        assert!(answer.starts_with(&report.peer("client").received));
        Ok(())
    });
}

#[test]
fn each_connection_of_a_service_is_told_by_its_number() {
    check(0..20, |simulation| {
        let report = simulation
            .service(upstream(), |number| {
                Script::new()
                    .expect("question")
                    .send("answer")
                    .wait(Duration::from_secs(number as u64))
            })
            .peer(Script::new().send("question").expect("answer").finish())
            .peer(
                Script::new()
                    .connect_after(Duration::from_secs(9))
                    .send("question")
                    .expect("answer"),
            )
            .run(Proxy::default())?;
        assert_eq!(report.peer("10.0.0.1:80 #0").received, b"question");
        assert_eq!(report.peer("10.0.0.1:80 #1").reason(), Some(Reason::Closed));
        Ok(())
    });
}

#[test]
fn without_a_server_behind_it_the_client_is_reset() {
    check(0..20, |simulation| {
        simulation.peer(Script::new().expect_reset()).run(Proxy::default()).map(drop)
    });
}

#[test]
fn a_server_that_resets_resets_the_client() {
    check(0..50, |simulation| {
        let report = simulation
            .service(upstream(), |_| Script::new().name("server").receive(1).reset())
            .peer(Script::new().name("client").send("question").expect_reset())
            .run(Proxy::default())?;
        assert_eq!(report.peer("server").reason(), Some(Reason::Failed));
        assert_eq!(report.peer("client").reason(), Some(Reason::Reset));
        Ok(())
    });
}

#[test]
fn a_server_that_never_answers_is_given_up_in_time() {
    check(0..20, |simulation| {
        let report = simulation
            .config(Config::new().idle_timeout(Some(Duration::from_secs(600))))
            // What is asked has room, so that nothing is owed to it.
            .buffers(100..=100)
            .service(upstream(), |_| Script::new().vanish())
            .peer(client("client").may_end())
            .run(Proxy::default())?;
        assert_eq!(report.peer("client").ending, Ending::Cut);
        assert!(report.elapsed >= Duration::from_secs(600));
        Ok(())
    });
}

#[test]
fn a_server_that_never_answers_is_given_up_after_the_connect_timeout() {
    check(0..30, |simulation| {
        let report = simulation
            .config(Config::new().connect_timeout(Some(Duration::from_secs(3))))
            .faults(Faults::passing())
            .service(upstream(), |_| Script::new().name("nobody").never_answers())
            .peer(client("client").may_end())
            .run(Proxy::default())?;
        assert_eq!(report.peer("nobody").reason(), Some(Reason::ConnectTimeout));
        assert_eq!(report.peer("nobody").ending, Ending::Cut);
        assert_eq!(report.peer("client").reason(), Some(Reason::Reset));
        assert!(report.elapsed >= Duration::from_secs(3), "{:?}", report.elapsed);
        Ok(())
    });
}

#[test]
fn a_round_trip_takes_the_latency_twice() {
    let way = Duration::from_millis(20);
    check(0..30, |simulation| {
        let report = simulation
            .latency(way..=way)
            .service(upstream(), |_| Script::new().expect("question").send("answer"))
            .peer(client("client"))
            .run(Proxy::default())?;
        assert!(report.elapsed >= 4 * way, "{:?}", report.elapsed);
        Ok(())
    });
}
