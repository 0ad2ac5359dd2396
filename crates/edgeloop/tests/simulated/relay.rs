//! Two connections that are joined: whatever the network does, each end gets what the other has
//! sent, and its end (C46).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use edgeloop::sim::{Faults, Random, Script, Simulation, check};
use edgeloop::{Action, Closed, Config, ConnectionId, Context, Handler, Input, Origin, Reason};

pub(super) fn upstream() -> SocketAddr {
    "10.0.0.1:80".parse().expect("an address")
}

/// Joins each client with a connection to a server behind it.
#[derive(Default)]
pub(super) struct Relay {
    clients: HashMap<ConnectionId, ConnectionId>,
    /// Joins them before the connection to the server is made.
    early: bool,
    pub(super) ends: Vec<(bool, Closed)>,
}

impl Relay {
    fn join(&self, cx: &mut impl Context<bool>, client: ConnectionId, server: ConnectionId) {
        cx.relay(client, server);
        cx.relay(server, client);
    }
}

impl Handler for Relay {
    /// Whether it is the connection to the server.
    type Session = bool;

    fn session(&mut self, _: &Origin) -> Option<bool> {
        Some(false)
    }

    fn opened(&mut self, cx: &mut impl Context<Self::Session>, is_server: &mut bool) -> Action {
        let id = cx.id();
        if *is_server {
            let client = self.clients[&id];
            if !self.early {
                self.join(cx, client, id);
            }
            return Action::Continue;
        }
        let Ok(server) = cx.connect(upstream().into(), true) else { return Action::Reset };
        self.clients.insert(server, id);
        if self.early {
            self.join(cx, id, server);
        }
        Action::Continue
    }

    fn data(
        &mut self,
        _: &mut impl Context<Self::Session>,
        _: &mut bool,
        _: &mut Input<'_>,
    ) -> Action {
        // What comes before they are joined is left, and goes first.
        Action::Continue
    }

    fn end(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        _: &mut bool,
        _: &mut Input<'_>,
    ) -> Action {
        assert_eq!(cx.relayed(cx.id()), 0, "the end of a relayed stream is the loop's business");
        Action::Continue
    }

    fn closed(&mut self, cx: &mut impl Context<Self::Session>, is_server: bool, closed: &Closed) {
        if is_server && !self.early && closed.reason == Reason::ConnectFailed {
            // It was relayed with nobody yet.
            cx.reset(self.clients[&closed.id]);
        }
        self.ends.push((is_server, closed.clone()));
    }
}

pub(super) fn relays(early: bool) -> Relay {
    Relay { early, ..Relay::default() }
}

/// Bytes of a stream by its name.
pub(super) fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..count).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect()
}

/// What two ends say to each other in turn, by how many bytes each of them.
struct Talk {
    rounds: Vec<(usize, usize)>,
    /// Who ends its stream as soon as it has said all.
    eager: [bool; 2],
}

impl Talk {
    fn of(random: &mut Random) -> Self {
        let rounds = (0..random.size(1, 3)).map(|_| (random.size(0, 1500), random.size(0, 1500)));
        let rounds = rounds.collect();
        Self { rounds, eager: [random.chance(500), random.chance(500)] }
    }

    /// The part of the client, or of the server.
    fn script(&self, is_server: bool, random: &mut Random) -> Script {
        let [up, down]: [usize; 2] =
            self.rounds.iter().fold([0, 0], |[up, down], round| [up + round.0, down + round.1]);
        let (up, down) = (bytes(1, up), bytes(2, down));
        let (mut up, mut down) = (&up[..], &down[..]);
        let mut script = Script::new();
        for (index, round) in self.rounds.iter().enumerate() {
            let last = index + 1 == self.rounds.len();
            let (asked, answered);
            (asked, up) = up.split_at(round.0);
            (answered, down) = down.split_at(round.1);
            let eager = last && self.eager[usize::from(is_server)];
            if is_server {
                script = pieces(script.expect(asked), answered, random);
            } else {
                script = pieces(script, asked, random);
            }
            if eager {
                script = script.finish();
            }
            if !is_server {
                script = script.expect(answered);
            }
        }
        let [mine, other] = [usize::from(is_server), usize::from(!is_server)];
        match (self.eager[mine], self.eager[other]) {
            (true, _) => script.expect_end(),
            // The other one waits for this end.
            (false, false) if is_server => script.finish().expect_end(),
            (false, _) => script.expect_end().finish(),
        }
    }
}

/// Sends this in pieces and at times of chance.
fn pieces(mut script: Script, mut bytes: &[u8], random: &mut Random) -> Script {
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(random.size(1, bytes.len()));
        (script, bytes) = (script.send(piece), rest);
        if random.chance(100) {
            script = script.wait(Duration::from_micros(random.size(1, 3000) as u64));
        }
    }
    script
}

/// A run of several pairs with sizes and settings of chance, which the loop may end at any step or
/// not.
pub(super) fn pairs(simulation: Simulation, seed: u64, may_end: bool) -> (Simulation, usize) {
    let mut random = Random::new(seed);
    let high = random.size(1, 4000);
    let read_buffer = random.size(1, 2000);
    let config = Config::new()
        .read_buffer(read_buffer)
        .high_watermark(high)
        .low_watermark(random.size(0, high - 1))
        .output_limit(high + read_buffer + 4000)
        .turn_bytes(random.size(1, 3000))
        .turn_accepts(random.size(1, 4))
        .turn_jobs(random.size(1, 8))
        .pipes(random.pick(&[0, 1, 16]))
        .event_batch(random.size(1, 8));
    let count = random.size(1, 5);
    let of = move |script: Script| if may_end { script.may_end() } else { script };
    let talk = Talk::of(&mut random);
    let mut simulation = simulation.config(config).buffers(random.size(1, 3000)..=5000);
    for _ in 0..count {
        simulation = simulation.peer(of(talk.script(false, &mut random)));
    }
    let service = random.next();
    simulation = simulation.service(upstream(), move |number| {
        of(talk.script(true, &mut Random::new(service ^ number as u64)))
    });
    (simulation, count)
}

#[test]
fn c46_each_end_gets_what_the_other_has_sent_and_its_end_whatever_passes() {
    for early in [false, true] {
        check(0..100, |simulation| {
            let seed = simulation.seed();
            let (simulation, count) = pairs(simulation.faults(Faults::passing()), seed, false);
            let report = simulation.run(relays(early))?;
            let ends = report.handler.ends;
            assert_eq!(ends.len(), 2 * count);
            for (is_server, closed) in ends {
                assert!(closed.is_clean(), "server: {is_server}: {closed:?}");
            }
            Ok(())
        });
    }
}

#[test]
fn c46_bytes_are_counted_for_each_way() {
    let simulation = Simulation::new(1)
        .service(upstream(), |_| Script::new().expect("to the server").send("back").finish())
        .peer(Script::new().send("to the server").finish().expect("back").expect_end());
    let report = simulation.run(relays(false)).unwrap_or_else(|failure| panic!("{failure}"));
    let mut ends: Vec<_> =
        report.handler.ends.iter().map(|(server, closed)| (*server, closed.relayed)).collect();
    ends.sort_unstable();
    assert_eq!(ends, [(false, 13), (true, 4)]);
}

#[test]
fn c46_what_broke_at_one_end_is_a_reset_at_the_other_behind_what_it_is_owed() {
    for early in [false, true] {
        check(0..50, |simulation| {
            let report = simulation
                .service(upstream(), |_| {
                    let half = Script::new().may_end().expect("question").send("half of the ans");
                    half.wait(Duration::from_secs(1)).reset()
                })
                .peer(Script::new().send("question").expect("half of the ans").expect_reset())
                .run(relays(early))?;
            let client = report.handler.ends.iter().find(|(server, _)| !server).expect("one");
            assert_eq!(client.1.reason, Reason::RelayEnded, "{client:?}");
            Ok(())
        });
    }
}

#[test]
fn c46_a_client_that_breaks_takes_its_server_with_it() {
    check(0..50, |simulation| {
        let report = simulation
            .service(upstream(), |_| Script::new().expect("question").expect_reset())
            .peer(Script::new().may_end().send("question").wait(Duration::from_secs(1)).reset())
            .run(relays(false))?;
        let server = report.handler.ends.iter().find(|(server, _)| *server).expect("one");
        assert_eq!(server.1.reason, Reason::RelayEnded, "{server:?}");
        Ok(())
    });
}

#[test]
fn c46_a_slow_reader_slows_its_sender_and_bounds_what_is_held() {
    const ALL: usize = 300_000;
    // What is read beyond the mark and one read would be refused.
    let config = Config::new().read_buffer(4096).high_watermark(10_000).low_watermark(1000);
    let config = config.output_limit(15_000).pipes(0);
    let simulation = Simulation::new(1)
        .config(config)
        .calm()
        .buffers(2000..=2000)
        .service(upstream(), |_| Script::new().expect_end().send(bytes(3, ALL)).finish())
        .peer(Script::new().finish().wait(Duration::from_secs(30)).expect(bytes(3, ALL)));
    let report = simulation.run(relays(false)).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.handler.ends.iter().all(|(_, closed)| closed.is_clean()), "all came");
}

/// Ends the relay when the client has been silent for a second, and answers by itself from then on.
struct Takes(Relay);

impl Handler for Takes {
    type Session = bool;

    fn session(&mut self, origin: &Origin) -> Option<bool> {
        self.0.session(origin)
    }

    fn opened(&mut self, cx: &mut impl Context<Self::Session>, is_server: &mut bool) -> Action {
        if !*is_server {
            cx.set_timer(0, Some(Duration::from_secs(5)));
        }
        self.0.opened(cx, is_server)
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        is_server: &mut bool,
        input: &mut Input<'_>,
    ) -> Action {
        if *is_server || cx.relayed(cx.id()) == 0 {
            return Action::Continue;
        }
        let _ = input.take_all();
        cx.send(b"from the proxy").or_reset()
    }

    fn timer(&mut self, cx: &mut impl Context<Self::Session>, _: &mut bool, _: u32) -> Action {
        assert_eq!(cx.unrelay(cx.id()), Some(8));
        assert_eq!(cx.unrelay(cx.id()), None, "it is ended");
        Action::Continue
    }
}

#[test]
fn c46_a_relay_can_be_ended_and_nothing_is_lost() {
    check(0..50, |simulation| {
        let server = Script::new().expect("question").send("answer").wait(Duration::from_secs(60));
        let client = Script::new().exchange("question", "answer").wait(Duration::from_secs(10));
        simulation
            .service(upstream(), move |_| server.clone().may_end())
            .peer(client.exchange("and you?", "from the proxy").finish().may_end())
            .run(Takes(relays(false)))
            .map(drop)
    });
}
