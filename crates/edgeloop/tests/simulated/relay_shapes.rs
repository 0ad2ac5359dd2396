//! Relays of every shape: to itself, in a ring, one way, begun late, ended and begun again; with
//! little memory, with deadlines, and where connections break (C46).

use std::time::Duration;

use edgeloop::sim::{Faults, Random, Script, check};
use edgeloop::{
    Action, Closed, Config, ConnectionId, Context, Handler, Input, LoopContext, Origin, Reason,
};

use super::relay::{bytes, pairs, relays, upstream};

/// Relays each of so many clients to the next one, and the last to the first.
struct Ring {
    size: usize,
    clients: Vec<ConnectionId>,
    /// Whether the relays are ended and begun again every now and then.
    restless: bool,
    joined: bool,
    /// How often they still are.
    rests: u32,
    ends: Vec<Closed>,
}

fn ring(size: usize, restless: bool) -> Ring {
    Ring { size, clients: Vec::new(), restless, joined: false, rests: 1000, ends: Vec::new() }
}

impl Ring {
    fn join(&mut self, cx: &mut impl LoopContext) {
        for (index, &client) in self.clients.iter().enumerate() {
            cx.relay(client, self.clients[(index + 1) % self.size]);
        }
        self.joined = true;
    }
}

impl Handler for Ring {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, _: &mut ()) -> Action {
        self.clients.push(cx.id());
        if self.clients.len() == self.size {
            self.join(cx);
            if self.restless {
                cx.wake_at(Some(cx.now().after(Duration::from_millis(1))));
            }
        }
        Action::Continue
    }

    fn data(&mut self, _: &mut impl Context, _: &mut (), _: &mut Input<'_>) -> Action {
        Action::Continue
    }

    fn end(&mut self, _: &mut impl Context, _: &mut (), _: &mut Input<'_>) -> Action {
        Action::Continue
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext) {
        self.rests -= 1;
        if self.joined {
            for &client in &self.clients {
                let relayed = cx.relayed(client);
                assert_eq!(cx.unrelay(client), Some(relayed));
            }
            self.joined = false;
        } else {
            self.join(cx);
        }
        if self.rests > 0 {
            cx.wake_at(Some(cx.now().after(Duration::from_millis(2))));
        }
    }

    fn closed(&mut self, _: &mut impl Context, (): (), closed: &Closed) {
        self.ends.push(closed.clone());
    }
}

/// Small buffers of every kind.
fn narrow(seed: u64) -> Config {
    let mut random = Random::new(seed);
    let high = random.size(1, 3000);
    let read_buffer = random.size(1, 2000);
    Config::new()
        .read_buffer(read_buffer)
        .high_watermark(high)
        .low_watermark(random.size(0, high - 1))
        .output_limit(high + read_buffer)
        .turn_bytes(random.size(1, 3000))
        .turn_accepts(random.size(1, 4))
        .turn_jobs(random.size(1, 8))
        .pipes(random.pick(&[0, 1, 16]))
        .event_batch(random.size(1, 8))
}

#[test]
fn c46_a_connection_relayed_to_itself_gets_back_what_it_has_sent() {
    check(0..100, |simulation| {
        let seed = simulation.seed();
        let sent = bytes(seed, 6000);
        let client = Script::new().exchange(&sent, &sent).finish().expect_end();
        let simulation = simulation.faults(Faults::passing()).buffers(7000..=9000);
        let report = simulation.config(narrow(seed)).peer(client).run(ring(1, false))?;
        assert!(report.handler.ends[0].is_clean(), "{:?}", report.handler.ends);
        assert_eq!(report.handler.ends[0].relayed, 6000);
        Ok(())
    });
}

#[test]
fn c46_in_a_ring_each_gets_what_the_one_before_has_sent() {
    for restless in [false, true] {
        check(0..60, |simulation| {
            let seed = simulation.seed();
            // Each sends all before it reads.
            let simulation = simulation.faults(Faults::passing()).buffers(3000..=5000);
            let simulation = simulation.config(narrow(seed));
            // They connect in this order.
            let client = |index: u64| {
                let [mine, other] = [index, (index + 2) % 3].map(|index| bytes(index, 2900));
                let client = Script::new().wait(Duration::from_secs(1)).send(mine);
                let client = client.wait(Duration::from_secs(10)).finish();
                let after = Duration::from_millis(100 * index);
                client.expect(other).expect_end().connect_after(after)
            };
            let simulation = (0..3).fold(simulation, |simulation, it| simulation.peer(client(it)));
            let report = simulation.run(ring(3, restless))?;
            for closed in report.handler.ends {
                assert!(closed.is_clean(), "{closed:?}");
                assert_eq!(closed.relayed, 2900);
            }
            Ok(())
        });
    }
}

#[test]
fn c46_a_connection_that_is_never_made_is_a_reset_for_the_one_relayed_to_it() {
    check(0..50, |simulation| {
        let report = simulation
            .service(upstream(), |_| Script::new().never_answers())
            .peer(Script::new().send("question").finish().expect_reset())
            .run(relays(true))?;
        assert_eq!(report.peers[0].reason(), Some(Reason::RelayEnded));
        Ok(())
    });
}

/// Relays its client to itself from the `end` callback, with all that came left until then.
struct Late;

impl Handler for Late {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn data(&mut self, _: &mut impl Context, _: &mut (), _: &mut Input<'_>) -> Action {
        Action::Continue
    }

    fn end(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
        input.skip(5);
        cx.relay(cx.id(), cx.id());
        Action::Continue
    }
}

#[test]
fn c46_what_is_left_at_the_end_of_a_stream_goes_before_the_end() {
    check(0..100, |simulation| {
        let seed = simulation.seed();
        let sent = bytes(seed, 5005);
        let client = Script::new().send(&sent).finish().expect(&sent[5..]).expect_end();
        let simulation = simulation.config(narrow(seed)).buffers(500..=3000);
        simulation.faults(Faults::passing()).peer(client).run(Late).map(drop)
    });
}

/// Fills the server's queue by itself, before it relays its client to it.
struct Talks;

impl Handler for Talks {
    /// Whether it is the client.
    type Session = bool;

    fn session(&mut self, _: &Origin) -> Option<bool> {
        Some(true)
    }

    fn opened(&mut self, cx: &mut impl Context<Self::Session>, is_client: &mut bool) -> Action {
        if *is_client {
            let Ok(server) = cx.connect(upstream().into(), false) else { return Action::Reset };
            assert!(cx.send_to(server, &vec![b'h'; 2500]).is_accepted());
            cx.relay(cx.id(), server);
            cx.relay(server, cx.id());
        }
        Action::Continue
    }

    fn data(
        &mut self,
        _: &mut impl Context<Self::Session>,
        _: &mut bool,
        _: &mut Input<'_>,
    ) -> Action {
        Action::Reset
    }
}

#[test]
fn c46_a_source_waits_while_its_target_is_owed_much_by_the_handler() {
    check(0..100, |simulation| {
        let config = Config::new()
            .read_buffer(1000)
            .high_watermark(1500)
            .low_watermark(100)
            .output_limit(2500);
        let sent = bytes(1, 3000);
        let all = [vec![b'h'; 2500], sent.clone()].concat();
        simulation
            .config(config)
            .buffers(400..=1000)
            .faults(Faults::passing())
            .service(upstream(), move |_| Script::new().expect(&all).expect_end().finish())
            .peer(Script::new().send(sent).finish().expect_end())
            .run(Talks)
            .map(drop)
    });
}

#[test]
fn c46_little_memory_and_deadlines_slow_honest_streams_and_end_none() {
    check(0..40, |simulation| {
        let seed = simulation.seed();
        let config = Config::new()
            .high_watermark(16_000)
            .low_watermark(1000)
            .buffer_limit(edgeloop::MIN_BUFFER_LIMIT)
            .pipes(usize::from(seed.is_multiple_of(2)))
            .idle_timeout(Some(Duration::from_secs(20)))
            .write_timeout(Some(Duration::from_secs(20)));
        let pour = |it: u64| bytes(it, 60_000);
        let mut simulation = simulation.config(config).faults(Faults::passing());
        simulation = simulation.buffers(1000..=4000).service(upstream(), move |_| {
            Script::new().expect(pour(1)).send(pour(2)).finish().expect_end()
        });
        for _ in 0..14 {
            let client = Script::new().send(pour(1)).wait(Duration::from_secs(5));
            simulation = simulation.peer(client.expect(pour(2)).expect_end().finish());
        }
        let report = simulation.run(relays(seed % 4 < 2))?;
        for (is_server, closed) in report.handler.ends {
            assert!(closed.is_clean(), "server: {is_server}: {closed:?}");
        }
        Ok(())
    });
}

#[test]
fn c46_every_byte_is_accounted_for_whatever_breaks() {
    for early in [false, true] {
        check(0..300, |simulation| {
            let seed = simulation.seed();
            let simulation = simulation.faults(Faults::passing().breaking(20));
            let (simulation, _) = pairs(simulation, seed, true);
            let report = simulation.run(relays(early))?;
            let ends = &report.handler.ends;
            let [relayed, dropped, discarded] = ends.iter().fold([0; 3], |sum, (_, closed)| {
                [sum[0] + closed.relayed, sum[1] + closed.dropped, sum[2] + closed.discarded]
            });
            let metrics = &report.metrics;
            assert_eq!(metrics.bytes_in + metrics.bytes_discarded, relayed + discarded, "{ends:?}");
            assert_eq!(relayed, metrics.bytes_out + dropped, "{ends:?}");
            Ok(())
        });
    }
}
