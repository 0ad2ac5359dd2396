//! Relays whose source waits: because its handler paused it, or because its target has much queued
//! (C46).

use std::time::Duration;

use edgeloop::sim::{Faults, Script, check};
use edgeloop::{
    Action, Config, ConnectionId, Context, Handler, Input, LoopContext, Origin, Reason,
};

use super::relay::{bytes, relays, upstream};

const SECOND: Duration = Duration::from_secs(1);

const PAUSE: u32 = 1;
const LOOK: u32 = 2;
const RESUME: u32 = 3;

/// Relays its client to a server, and pauses it from the first second to the thirtieth.
#[derive(Default)]
struct Pauses {
    /// How many bytes the client had sent to the server before the pause.
    before: u64,
    looked: bool,
}

impl Handler for Pauses {
    /// Whether it is the client.
    type Session = bool;

    fn session(&mut self, _: &Origin) -> Option<bool> {
        Some(true)
    }

    fn opened(&mut self, cx: &mut impl Context<bool>, is_client: &mut bool) -> Action {
        if *is_client {
            let Ok(server) = cx.connect(upstream().into(), false) else { return Action::Reset };
            cx.relay(cx.id(), server);
            cx.relay(server, cx.id());
            for (key, second) in [(PAUSE, 1), (LOOK, 25), (RESUME, 30)] {
                cx.set_timer(key, Some(second * SECOND));
            }
        }
        Action::Continue
    }

    fn data(&mut self, _: &mut impl Context<bool>, _: &mut bool, _: &mut Input<'_>) -> Action {
        Action::Reset
    }

    fn timer(&mut self, cx: &mut impl Context<bool>, _: &mut bool, key: u32) -> Action {
        match key {
            PAUSE => {
                cx.pause(cx.id());
                self.before = cx.relayed(cx.id());
            }
            LOOK => {
                assert_eq!(cx.relayed(cx.id()), self.before, "it was paused");
                self.looked = true;
            }
            _ => cx.resume(cx.id()),
        }
        Action::Continue
    }
}

#[test]
fn c46_a_source_that_its_handler_has_paused_is_not_read_and_neither_end_is_idle() {
    check(0..60, |simulation| {
        let seed = simulation.seed();
        let [first, rest] = [bytes(1, 3000), bytes(2, 2000)];
        let config = Config::new()
            .read_buffer(500)
            .high_watermark(600)
            .low_watermark(100)
            .output_limit(1100)
            .idle_timeout(Some(10 * SECOND))
            .pipes(usize::from(seed.is_multiple_of(2)));
        let slow = seed % 3 == 0;
        let client = Script::new().send(&first).wait(2 * SECOND).send(&rest).finish();
        let report = simulation
            .config(config)
            .buffers(400..=1000)
            .faults(Faults::passing())
            .service(upstream(), move |_| {
                let server = if slow {
                    // Its queue keeps the client from being read until some time in the pause.
                    Script::new().wait(5 * SECOND).expect(&first)
                } else {
                    Script::new().expect(&first).expect_silence(20 * SECOND)
                };
                server.expect(&rest).expect_end().finish()
            })
            .peer(client.expect_end())
            .run(Pauses::default())?;
        assert!(report.handler.looked && report.metrics.panics == 0);
        Ok(())
    });
}

/// Leaves what its client says until the client has ended its stream, relays it then behind much of
/// its own, and ends the stream to the client, or closes it.
struct Late {
    closes: bool,
}

impl Handler for Late {
    /// Whether it is the client.
    type Session = bool;

    fn session(&mut self, _: &Origin) -> Option<bool> {
        Some(true)
    }

    fn data(&mut self, _: &mut impl Context<bool>, _: &mut bool, _: &mut Input<'_>) -> Action {
        Action::Continue
    }

    fn end(
        &mut self,
        cx: &mut impl Context<bool>,
        is_client: &mut bool,
        _: &mut Input<'_>,
    ) -> Action {
        if *is_client {
            let Ok(server) = cx.connect(upstream().into(), false) else { return Action::Reset };
            assert!(cx.send_to(server, &vec![b'h'; 2500]).is_accepted());
            cx.relay(cx.id(), server);
            if self.closes {
                cx.close(cx.id());
            } else {
                // Both of its streams are at their ends now, and all that it has sent is still
                // kept.
                cx.finish(cx.id());
            }
        }
        Action::Continue
    }
}

#[test]
fn c46_what_is_kept_of_a_source_goes_on_though_both_of_its_streams_have_ended() {
    check(0..100, |simulation| {
        let sent = bytes(1, 3000);
        let all = [vec![b'h'; 2500], sent.clone()].concat();
        let config = Config::new()
            .read_buffer(1000)
            .high_watermark(1500)
            .low_watermark(100)
            .output_limit(2500);
        let report = simulation
            .config(config)
            .buffers(400..=1000)
            .faults(Faults::passing())
            .service(upstream(), move |_| {
                Script::new().wait(5 * SECOND).expect(&all).expect_end().finish()
            })
            .peer(Script::new().send(sent).finish().expect_end())
            .run(Late { closes: false })?;
        assert_eq!(report.peers[0].reason(), Some(Reason::Finished));
        Ok(())
    });
}

#[test]
fn c46_whoever_closes_a_source_at_the_end_of_its_stream_ends_its_target() {
    check(0..60, |simulation| {
        let sent = bytes(1, 3000);
        let report = simulation
            .faults(Faults::passing())
            .service(upstream(), |_| Script::new().wait(5 * SECOND).close())
            .peer(Script::new().send(sent).finish().expect_end())
            .run(Late { closes: true })?;
        let [client, server] = [&report.peers[0], &report.peers[1]];
        assert_eq!(client.reason(), Some(Reason::Finished));
        assert_eq!(server.reason(), Some(Reason::RelayEnded));
        Ok(())
    });
}

#[test]
fn c46_an_end_that_says_all_before_it_reads_is_read_meanwhile() {
    check(0..100, |simulation| {
        let [up, down] = [bytes(1, 4000), bytes(2, 4000)];
        let (pipes, early) = (simulation.seed() % 2, simulation.seed() % 3 == 0);
        let config = Config::new()
            .read_buffer(500)
            .high_watermark(600)
            .low_watermark(100)
            .output_limit(1100)
            .pipes(usize::from(pipes == 1));
        let client = Script::new().exchange(&up, &down).finish().expect_end();
        simulation
            .config(config)
            .buffers(400..=1000)
            .faults(Faults::passing())
            .service(upstream(), move |_| {
                Script::new().send(&down).expect(&up).expect_end().finish()
            })
            .peer(client)
            .run(relays(early))
            .map(drop)
    });
}

/// Joins its client and the server a second after the server was reached, when both have said all.
/// Closes the client in the same callback, or not.
struct Joins {
    closes: bool,
    server: Option<ConnectionId>,
}

impl Handler for Joins {
    /// Whether it is the client.
    type Session = bool;

    fn session(&mut self, _: &Origin) -> Option<bool> {
        Some(true)
    }

    fn opened(&mut self, cx: &mut impl Context<bool>, is_client: &mut bool) -> Action {
        if *is_client {
            cx.set_timer(0, Some(SECOND));
            self.server = cx.connect(upstream().into(), false).ok();
        }
        Action::Continue
    }

    fn data(&mut self, _: &mut impl Context<bool>, _: &mut bool, _: &mut Input<'_>) -> Action {
        Action::Continue
    }

    fn end(&mut self, _: &mut impl Context<bool>, _: &mut bool, _: &mut Input<'_>) -> Action {
        Action::Continue
    }

    fn timer(&mut self, cx: &mut impl Context<bool>, _: &mut bool, _: u32) -> Action {
        let (client, server) = (cx.id(), self.server.expect("it was reached"));
        cx.relay(client, server);
        if self.closes {
            return Action::Close;
        }
        cx.relay(server, client);
        Action::Continue
    }
}

#[test]
fn c46_two_that_have_both_said_all_before_they_are_joined_get_all() {
    check(0..60, |simulation| {
        let simulation = simulation.faults(Faults::passing());
        let seed = simulation.seed();
        let up = bytes(1, usize::from(seed % 3 > 0) * 3000);
        let [said, heard] = [bytes(2, 2000), up.clone()];
        let report = simulation
            .config(Config::new().read_buffer(500).high_watermark(1000).low_watermark(100))
            .service(upstream(), move |_| {
                Script::new().send(&said).finish().expect(&heard).expect_end()
            })
            .peer(Script::new().send(up).finish().expect(bytes(2, 2000)).expect_end())
            .run(Joins { closes: false, server: None })?;
        assert!(report.peers.iter().all(|peer| peer.reason() == Some(Reason::Finished)));
        Ok(())
    });
}

#[test]
fn c46_what_is_left_of_a_stream_goes_on_though_its_source_is_closed_in_the_same_callback() {
    check(0..60, |simulation| {
        let said = bytes(1, usize::from(simulation.seed() % 2 > 0) * 3000);
        let heard = said.clone();
        let report = simulation
            .faults(Faults::passing())
            .service(upstream(), move |_| Script::new().expect(&heard).expect_end().finish())
            .peer(Script::new().send(said).finish().expect_end())
            .run(Joins { closes: true, server: None })?;
        assert!(report.peers.iter().all(|peer| peer.reason() == Some(Reason::Finished)));
        Ok(())
    });
}

/// Relays its client to a server before that is reached, and looks at the end of each turn how much
/// of the server's stream was relayed in it.
#[derive(Default)]
struct Watches {
    server: Option<ConnectionId>,
    relayed: u64,
    most: u64,
}

impl Handler for Watches {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        if self.server.is_none() {
            let Ok(server) = cx.connect(upstream().into(), ()) else { return Action::Reset };
            cx.relay(cx.id(), server);
            cx.relay(server, cx.id());
            self.server = Some(server);
        }
        cx.at_end_of_turn();
        Action::Continue
    }

    fn data(&mut self, _: &mut impl Context, (): &mut (), _: &mut Input<'_>) -> Action {
        Action::Reset
    }

    fn turn_ended(&mut self, cx: &mut impl LoopContext) {
        let relayed = self.server.map_or(0, |server| cx.relayed(server));
        self.most = self.most.max(relayed - self.relayed.min(relayed));
        self.relayed = relayed;
        if relayed < 2000 {
            cx.at_end_of_turn();
        }
    }
}

#[test]
fn c13_a_source_that_is_relayed_before_it_is_connected_has_one_budget_in_its_first_turn() {
    check(0..200, |simulation| {
        let config = Config::new().read_buffer(100).turn_bytes(100).high_watermark(20_000);
        let said = bytes(1, 2000);
        let client = Script::new().expect(&said).expect_end().finish();
        let report = simulation
            .config(config)
            .service(upstream(), move |_| Script::new().send(&said).finish().expect_end())
            .peer(client)
            .run(Watches::default())?;
        assert!(report.handler.most <= 100, "{} bytes in one turn", report.handler.most);
        Ok(())
    });
}
