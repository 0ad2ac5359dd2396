//! A line protocol: cut lines, a minute's patience, half-closed clients, urgent bytes, long lines.

use std::net::SocketAddr;
use std::time::Duration;

use edgeloop::sim::{Ending, Faults, Random, Script, Simulation, check};
use edgeloop::{Action, Address, Config, Context, Handler, Input, Origin, Reason, Sent};

const PATIENCE: Duration = Duration::from_secs(60);

/// Answers each line in capitals. `QUIT` ends the connection, and so does a minute without a line.
struct Shout;

impl Handler for Shout {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        cx.set_timer(0, Some(PATIENCE));
        Action::Continue
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        while let Ok(Some(line)) = input.take_until(b"\n", usize::MAX) {
            if line == b"QUIT\n" {
                return Action::Close;
            }
            match cx.send(&line.to_ascii_uppercase()) {
                Sent::Written | Sent::Queued => {}
                Sent::AboveMark => break,
                Sent::Refused => return Action::Reset,
                Sent::Gone => return Action::Continue,
            }
        }
        cx.set_timer(0, Some(PATIENCE));
        Action::Continue
    }

    fn timer(&mut self, cx: &mut impl Context, (): &mut (), _: u32) -> Action {
        let _ = cx.send(b"BYE\n");
        Action::Close
    }
}

/// Some lines of chance.
fn lines(random: &mut Random) -> Vec<u8> {
    let mut lines = Vec::new();
    for _ in 0..random.size(1, 20) {
        let length = random.size(0, 300);
        lines.extend((0..length).map(|_| random.pick(b"abcXYZ 019")));
        lines.push(b'\n');
    }
    lines
}

#[test]
fn every_line_is_answered_however_it_comes() {
    check(0..60, |mut simulation| {
        for _ in 0..3 {
            let asked = lines(simulation.random());
            let script = Script::new().send(&asked).expect(asked.to_ascii_uppercase());
            simulation = simulation.peer(script);
        }
        let report = simulation.faults(Faults::passing()).run(Shout)?;
        assert!(report.peers.iter().all(|peer| peer.reason() == Some(Reason::Finished)));
        Ok(())
    });
}

#[test]
fn a_broken_connection_has_answered_a_beginning_of_what_was_asked() {
    let (mut broken, mut done) = (0, 0);
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed);
        let asked = lines(simulation.random());
        let answer = asked.to_ascii_uppercase();
        let report = simulation
            .peer(Script::new().send(&asked).expect(&answer))
            .faults(Faults::passing().breaking(10))
            .run(Shout)
            .expect("a connection may break, and nothing else");
        let peer = &report.peers[0];
        assert!(answer.starts_with(&peer.received));
        match peer.ending {
            Ending::Done => done += 1,
            Ending::Broken => broken += 1,
            other => panic!("it ended with {other:?}"),
        }
    }
    assert!(broken > 0 && done > 0, "{broken} broken, {done} done");
}

#[test]
fn a_client_that_asks_nothing_is_told_goodbye_after_a_minute() {
    check(0..50, |simulation| {
        let report = simulation
            .peer(
                Script::new()
                    .name("slow")
                    .patience(Duration::from_secs(2))
                    .wait(Duration::from_secs(50))
                    .send("a\n")
                    .expect("A\n")
                    .expect_silence(Duration::from_secs(59))
                    .expect("BYE\n")
                    .expect_end(),
            )
            .run(Shout)?;
        assert_eq!(report.peer("slow").reason(), Some(Reason::Closed));
        assert!(report.elapsed >= Duration::from_secs(110), "{:?}", report.elapsed);
        Ok(())
    });
}

#[test]
fn a_half_closed_client_gets_its_answers_and_then_the_end() {
    check(0..50, |simulation| {
        let script = Script::new().send("a\nb\nc\n").finish().expect("A\nB\nC\n").expect_end();
        let report = simulation.faults(Faults::passing()).peer(script).run(Shout)?;
        assert_eq!(report.peers[0].reason(), Some(Reason::Finished));
        Ok(())
    });
}

#[test]
fn who_quits_is_closed_and_may_leave_the_connection_half_open() {
    check(0..50, |simulation| {
        let quits = || Script::new().send("a\nQUIT\n").expect("A\n").expect_end();
        let report = simulation
            .peer(quits())
            .peer(quits().send("too late\n"))
            .peer(quits().name("stays").vanish())
            .run(Shout)?;
        assert_eq!(report.peer("stays").ending, Ending::Vanished);
        assert!(report.peers.iter().all(|peer| peer.reason() == Some(Reason::Closed)));
        Ok(())
    });
}

#[test]
fn an_urgent_byte_stands_where_it_was_sent() {
    check(0..100, |simulation| {
        let script = Script::new().send("ab").send_urgent(b'c').send("d\n").expect("ABCD\n");
        simulation.faults(Faults::passing()).peer(script).run(Shout).map(drop)
    });
}

#[test]
fn a_line_without_end_reaches_the_limit() {
    check(0..50, |simulation| {
        let report = simulation
            .config(Config::new().input_limit(1000))
            .peer(Script::new().name("endless").may_end().send([b'x'; 5000]).receive(1))
            .run(Shout)?;
        assert_eq!(report.peer("endless").reason(), Some(Reason::InputLimit));
        Ok(())
    });
}

#[test]
fn a_client_that_resets_costs_nobody_else_anything() {
    check(0..100, |simulation| {
        let report = simulation
            .faults(Faults::passing())
            .peer(Script::new().name("rude").send("some words\n").reset())
            .peer(Script::new().name("kind").send("a\n").expect("A\n"))
            .run(Shout)?;
        assert_eq!(report.peer("kind").reason(), Some(Reason::Finished));
        // If the reset overtakes the accept, it is seen all the same.
        let rude = report.peer("rude").closed.as_ref().expect("it had a session");
        assert_eq!(rude.reason, Reason::Failed);
        Ok(())
    });
}

#[test]
fn with_few_descriptors_everybody_is_served_in_turn() {
    check(0..50, |mut simulation| {
        for _ in 0..12 {
            simulation = simulation.peer(Script::new().send("a\n").expect("A\n"));
        }
        let report = simulation.descriptors(9).run(Shout)?;
        assert_eq!(report.metrics.accepted, 12);
        assert!(report.metrics.cap_reached > 0 || report.metrics.accept_pauses > 0);
        Ok(())
    });
}

#[test]
fn each_client_finds_the_listener_that_it_asks_for() {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    check(0..20, |simulation| {
        let report = simulation
            .listen(address(1))
            .listen(address(2))
            .peer(Script::new().send("a\n").expect("A\n"))
            .peer(Script::new().connect_to(address(2)).send("b\n").expect("B\n"))
            .run(Doors::default())?;
        let mut ports = report.handler.ports;
        ports.sort_unstable();
        assert_eq!(ports, [1, 2]);
        Ok(())
    });
}

/// The same, and remembers where its clients came in.
#[derive(Default)]
struct Doors {
    ports: Vec<u16>,
}

impl Handler for Doors {
    type Session = ();

    fn session(&mut self, origin: &Origin) -> Option<()> {
        self.ports.extend(origin.listener.as_ref().and_then(Address::port));
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        Shout.data(cx, &mut (), input)
    }
}
