//! Relays that are taken apart when streams have ended already: what is kept of their input goes to
//! the handler before anything is closed (C46).

use std::time::Duration;

use edgeloop::sim::{Failure, Script, Simulation, check};
use edgeloop::{Action, Closed, Config, ConnectionId, Context, Handler, Input, Origin, Reason};

use crate::relay::{bytes, upstream};

/// More than goes to a server that does not read, and all of it fits what is kept.
const ALL: usize = 9000;

/// What a client has said when its stream ends is relayed to a server, until that has taken a
/// second. Then the rest is sent by hand.
#[derive(Default)]
struct Impatient {
    /// Between the end of the relay and the next sight of the client's input.
    paused: Option<Duration>,
    client: Option<ConnectionId>,
    server: Option<ConnectionId>,
    /// How often the end of the client's stream was told, and how much of it was shown then.
    shown: Vec<usize>,
    relayed: Option<u64>,
    ends: Vec<(bool, Closed)>,
}

const APART: u32 = 0;
const RESUMES: u32 = 1;

impl Handler for Impatient {
    /// Whether it is the connection to the server.
    type Session = bool;

    fn session(&mut self, _: &Origin) -> Option<bool> {
        Some(false)
    }

    fn opened(&mut self, cx: &mut impl Context<bool>, is_server: &mut bool) -> Action {
        if *is_server {
            return Action::Continue;
        }
        self.client = Some(cx.id());
        self.server = cx.connect(upstream().into(), true).ok();
        Action::Continue
    }

    fn data(&mut self, _: &mut impl Context<bool>, _: &mut bool, _: &mut Input<'_>) -> Action {
        Action::Continue
    }

    fn end(
        &mut self,
        cx: &mut impl Context<bool>,
        is_server: &mut bool,
        input: &mut Input<'_>,
    ) -> Action {
        let (client, server) = self.client.zip(self.server).expect("both");
        if *is_server {
            return Action::Continue;
        }
        self.shown.push(input.len());
        if self.relayed.is_none() {
            cx.relay(client, server);
            cx.relay(server, client);
            cx.set_timer(APART, Some(Duration::from_secs(1)));
        } else {
            let sent = cx.send_to(server, input.take_all());
            assert!(sent.is_accepted(), "{sent:?}");
            cx.finish(server);
        }
        Action::Continue
    }

    fn timer(&mut self, cx: &mut impl Context<bool>, _: &mut bool, key: u32) -> Action {
        if key == RESUMES {
            assert_eq!(self.shown.len(), 1, "it is paused");
            cx.resume(cx.id());
            return Action::Continue;
        }
        if self.paused.is_some() {
            cx.pause(cx.id());
            cx.set_timer(RESUMES, self.paused);
        }
        self.relayed = cx.unrelay(cx.id());
        Action::Continue
    }

    fn closed(&mut self, _: &mut impl Context<bool>, is_server: bool, closed: &Closed) {
        self.ends.push((is_server, closed.clone()));
    }
}

/// A mark that is soon met, and room for the rest behind it.
fn marks() -> Config {
    Config::new().read_buffer(1000).high_watermark(500).low_watermark(100).output_limit(20_000)
}

/// Runs one client, which expects this, against this server. All that it has said was relayed or is
/// shown, in two parts.
fn run(
    simulation: Simulation,
    paused: Option<Duration>,
    server: Script,
    heard: &str,
) -> Result<Impatient, Failure> {
    let client = Script::new().send(bytes(1, ALL)).finish().expect(heard).expect_end();
    let report = simulation
        .config(marks())
        .buffers(1000..=1500)
        .service(upstream(), move |_| server.clone().may_end())
        .peer(client)
        .run(Impatient { paused, ..Impatient::default() })?;
    let handler = report.handler;
    let relayed = usize::try_from(handler.relayed.expect("it was relayed")).expect("few");
    assert!((1..ALL).contains(&relayed), "{relayed} bytes");
    assert_eq!(handler.shown, [ALL, ALL - relayed]);
    assert!(handler.ends.iter().all(|(_, closed)| closed.discarded == 0), "{:?}", handler.ends);
    Ok(handler)
}

#[test]
fn c46_input_of_a_relay_that_is_taken_apart_behind_both_ends_is_shown_before_the_close() {
    for paused in [None, Some(Duration::from_secs(1))] {
        check(0..30, |simulation| {
            let server = Script::new().finish().wait(Duration::from_secs(5));
            let handler = run(simulation, paused, server.expect(bytes(1, ALL)).expect_end(), "")?;
            assert!(handler.ends.iter().all(|(_, closed)| closed.is_clean()), "{:?}", handler.ends);
            Ok(())
        });
    }
}

#[test]
fn c46_input_of_a_relay_that_is_taken_apart_behind_the_sources_end_is_shown() {
    check(0..30, |simulation| {
        let server = Script::new().wait(Duration::from_secs(5)).expect(bytes(1, ALL));
        run(simulation, None, server.expect_end().send("thanks").finish(), "thanks").map(drop)
    });
}

#[test]
fn c46_what_is_kept_behind_the_end_is_shown_though_the_connection_breaks() {
    check(0..30, |simulation| {
        // It resets while the rest of what it has said waits for the handler.
        let client = Script::new().send(bytes(1, ALL)).finish().wait(Duration::from_secs(2));
        let server = Script::new().wait(Duration::from_secs(8)).expect(bytes(1, ALL));
        let report = simulation
            .config(marks())
            .buffers(1000..=1500)
            .service(upstream(), move |_| server.clone().expect_end().may_end())
            .peer(client.reset().may_end())
            .run(Impatient { paused: Some(Duration::from_secs(4)), ..Impatient::default() })?;
        let handler = report.handler;
        let relayed = usize::try_from(handler.relayed.expect("it was relayed")).expect("few");
        assert_eq!(handler.shown, [ALL, ALL - relayed]);
        let client = handler.ends.iter().find(|(server, _)| !server).expect("one");
        assert_eq!((client.1.reason, client.1.discarded), (Reason::Failed, 0), "{client:?}");
        Ok(())
    });
}
