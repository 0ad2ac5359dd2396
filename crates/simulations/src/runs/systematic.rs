//! Every early call fails in every way it can: each alone, and each with each other.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use edgeloop::sim::internals::{
    Call, Client, Follower, Injector, Kind, Peer, Role, Service, World,
};
use edgeloop::sim::{Failure, Fault, Random};
use edgeloop::{Config, Stop};

use crate::runs::ends::{DRAIN, Ends};
use crate::runs::manner::{Limits, Manner};
use crate::runs::{Outcome, datagrams, proxy, run_in, unix};

/// How many occurrences of each call fail alone, and how many in pairs.
const ALONE: u64 = 200;
const IN_PAIRS: u64 = 5;

/// One scenario: a few peers that differ, and how they are served.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    peers: &'static [(Kind, u64)],
    /// The buffers of the sockets.
    buffers: (usize, usize),
    /// The loop's own.
    read_buffer: usize,
    high_watermark: usize,
    manner: Manner,
    idle: Option<Duration>,
    /// How many services the loop connects to, whose peers are those of the list in turn.
    services: u16,
    /// The most connections at a time.
    cap: Option<usize>,
    /// The loop is stopped after so long.
    stops: Option<Duration>,
    /// A proxy serves, and not an echo. It has peers of its own.
    proxies: bool,
    /// All sockets are Unix sockets.
    unix: bool,
}

/// What most scenarios have in common.
const ORDINARY: Scenario = Scenario {
    peers: &[],
    buffers: (300, 300),
    read_buffer: 64 * 1024,
    high_watermark: 1000,
    manner: Manner::PLAIN,
    idle: None,
    services: 0,
    cap: None,
    stops: None,
    proxies: false,
    unix: false,
};

const SCENARIOS: [Scenario; 11] = [
    // Streams that pass on through pipes.
    Scenario {
        peers: &[
            (Kind::Greedy, 600),
            (Kind::Slow, 300),
            (Kind::Urgent, 300),
            (Kind::Resetting, 300),
            (Kind::Subscriber, 100),
        ],
        buffers: (50, 150),
        read_buffer: 20,
        high_watermark: 40,
        manner: Manner { echoes: true, ..Manner::PLAIN },
        ..ORDINARY
    },
    // Everybody at once, and every buffer too small.
    Scenario {
        peers: &[
            (Kind::Fair, 200),
            (Kind::Slow, 200),
            (Kind::Greedy, 200),
            (Kind::Urgent, 200),
            (Kind::Resetting, 200),
            (Kind::Subscriber, 100),
        ],
        buffers: (20, 60),
        high_watermark: 64,
        ..ORDINARY
    },
    // Input that is left and shown again, and pauses.
    Scenario {
        peers: &[(Kind::Fair, 100), (Kind::Greedy, 300), (Kind::Urgent, 50), (Kind::Deaf, 80)],
        buffers: (10, 200),
        high_watermark: 30,
        manner: Manner { piece: 7, pauses: 200, ..Manner::PLAIN },
        ..ORDINARY
    },
    // The server closes first.
    Scenario {
        peers: &[(Kind::Fair, 300), (Kind::Vanishing, 300), (Kind::Slow, 50)],
        buffers: (30, 100),
        manner: Manner { enough: 100, ..Manner::PLAIN },
        ..ORDINARY
    },
    // The idle timeout ends some.
    Scenario {
        peers: &[(Kind::Silent, 0), (Kind::Fair, 40), (Kind::Silent, 0), (Kind::Vanishing, 200)],
        idle: Some(Duration::from_secs(60)),
        ..ORDINARY
    },
    // Servers that the loop connects to, at its start and from its callbacks.
    Scenario {
        peers: &[(Kind::Fair, 100), (Kind::Greedy, 60), (Kind::Resetting, 50)],
        manner: Manner { dials: 200, ..Manner::PLAIN },
        services: 3,
        ..ORDINARY
    },
    // Too few slots, so that most wait in the backlog.
    Scenario {
        peers: &[
            (Kind::Fair, 30),
            (Kind::Silent, 0),
            (Kind::Fair, 30),
            (Kind::Slow, 30),
            (Kind::Greedy, 30),
            (Kind::Fair, 30),
        ],
        idle: Some(Duration::from_secs(5)),
        cap: Some(2),
        ..ORDINARY
    },
    // A stop in the midst of it.
    Scenario {
        peers: &[(Kind::Fair, 500), (Kind::Silent, 0), (Kind::Slow, 100), (Kind::Vanishing, 100)],
        buffers: (20, 60),
        stops: Some(Duration::from_micros(300)),
        ..ORDINARY
    },
    // Pairs that are relayed to each other, in part through pipes.
    Scenario {
        buffers: (30, 100),
        read_buffer: 20,
        high_watermark: 40,
        manner: Manner { echoes: true, ..Manner::PLAIN },
        proxies: true,
        ..ORDINARY
    },
    // Unix sockets, with a file that an earlier server has left.
    Scenario {
        peers: &[(Kind::Fair, 200), (Kind::Greedy, 200), (Kind::Urgent, 100), (Kind::Deaf, 50)],
        buffers: (20, 100),
        high_watermark: 64,
        services: 2,
        unix: true,
        ..ORDINARY
    },
    // Datagrams beside a stream, at sockets that are bound from the start and later.
    Scenario {
        peers: &[(Kind::Fair, 100), (Kind::Greedy, 100)],
        buffers: (20, 100),
        manner: Manner { datagrams: 2, rebinds: 30, sprays: 200, ..Manner::PLAIN },
        ..ORDINARY
    },
];

/// A run of one of the scenarios with these faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    scenario: usize,
    /// What goes wrong in it.
    pub faults: Vec<Fault>,
}

impl Case {
    /// Runs it to its end, and tells the follower what happens.
    ///
    /// # Errors
    ///
    /// What was violated.
    pub fn run(&self, follower: Option<Follower>) -> Result<Outcome, Failure> {
        let scenario = SCENARIOS[self.scenario];
        let mut world = World::new(9);
        world.follower = follower;
        world.buffers = scenario.buffers;
        world.outlasts = scenario.idle.is_some();
        world.faults = Injector::plan(&self.faults);
        let peer = move |number: usize, random: &mut Random| {
            let (kind, length) = scenario.peers[number % scenario.peers.len()];
            let mut client = Client::of(kind, length, random);
            client.may_be_left = scenario.manner.enough < u64::MAX;
            Peer::new(Role::Client(client))
        };
        for number in 0..scenario.peers.len() {
            let peer = peer(number, &mut world.random);
            world.peers.push(peer);
        }
        for number in 0..scenario.services {
            let tcp = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 5000 + number)).into();
            let address = if scenario.unix { unix::address(&format!("{number}")) } else { tcp };
            let mut random = Random::new(number.into());
            let answer = move |number| peer(number, &mut random);
            world.services.push(Service::new(address, answer));
        }
        if scenario.unix {
            unix::listen_on_stale(&mut world);
        }
        if scenario.manner.datagrams > 0 {
            datagrams::furnish_plainly(&mut world);
        }
        let high = scenario.high_watermark;
        let config = Config::new()
            .read_buffer(scenario.read_buffer)
            .high_watermark(high)
            .low_watermark(high / 4)
            .idle_timeout(scenario.idle)
            .max_connections(scenario.cap);
        let drain = Stop::Drain(Some(DRAIN));
        let ends = Ends { early: scenario.stops.map(|after| (after, drain)), ..Ends::default() };
        let limits = Limits {
            high_watermark: high,
            low_watermark: high / 4,
            output_limit: usize::MAX,
            low_ceiling: false,
            idle: scenario.idle,
            short_linger: false,
            short_write: false,
            scarce: false,
        };
        if scenario.proxies {
            return proxy::run_few(world, config, limits, ends);
        }
        run_in(world, config, limits, scenario.manner, ends)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scenario {}", self.scenario)
    }
}

/// Every way in which the first `occurrences` of each call that this scenario can make can go
/// wrong.
fn faults(scenario: usize, occurrences: u64) -> impl Iterator<Item = Fault> {
    let Scenario { manner: Manner { echoes, datagrams, .. }, unix, .. } = SCENARIOS[scenario];
    let made = move |call: &Call| match call {
        Call::Pipe | Call::SpliceIn | Call::SpliceOut => echoes,
        Call::ConnectUnix | Call::Stat | Call::Unlink | Call::SetAccess | Call::Lock => unix,
        Call::Connect | Call::Handshake => !unix,
        Call::ReceiveDatagram | Call::SendDatagram => datagrams > 0,
        _ => true,
    };
    Call::ALL.into_iter().filter(made).flat_map(move |call| {
        call.fates()
            .into_iter()
            .flat_map(move |fate| (1..=occurrences).map(move |nth| Fault { call, nth, fate }))
    })
}

/// Each fault alone, over the first occurrences of each call, in each scenario.
pub fn alone() -> impl Iterator<Item = Case> {
    (0..SCENARIOS.len()).flat_map(|scenario| {
        faults(scenario, ALONE).map(move |fault| Case { scenario, faults: vec![fault] })
    })
}

/// Each two faults together, over the very first occurrences, in each scenario.
pub fn in_pairs() -> impl Iterator<Item = Case> {
    (0..SCENARIOS.len()).flat_map(|scenario| {
        faults(scenario, IN_PAIRS).enumerate().flat_map(move |(at, one)| {
            let others = faults(scenario, IN_PAIRS).skip(at + 1);
            let others = others.filter(move |other| (other.call, other.nth) != (one.call, one.nth));
            others.map(move |other| Case { scenario, faults: vec![one, other] })
        })
    })
}
