//! Every early call fails in every way it can: each alone, and each with each other.

use std::fmt;
use std::time::Duration;

use super::client::{Client, Kind};
use super::manner::{Limits, Manner};
use super::peer::{Peer, Role};
use super::runs::{Ends, Outcome, run_in};
use super::simulation::Failure;
use super::{Call, Fault, Injector, World};
use crate::config::Config;

/// How many occurrences of each call fail alone, and how many in pairs.
const ALONE: u64 = 200;
const IN_PAIRS: u64 = 5;

/// One scenario: a few peers that differ, and how they are served.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    peers: &'static [(Kind, u64)],
    /// The buffers of the sockets.
    buffers: (usize, usize),
    high_watermark: usize,
    manner: Manner,
    idle: Option<Duration>,
}

const SCENARIOS: [Scenario; 4] = [
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
        manner: Manner::PLAIN,
        idle: None,
    },
    // Input that is left and shown again, and pauses.
    Scenario {
        peers: &[(Kind::Fair, 100), (Kind::Greedy, 300), (Kind::Urgent, 50), (Kind::Deaf, 80)],
        buffers: (10, 200),
        high_watermark: 30,
        manner: Manner { piece: 7, pauses: 200, ..Manner::PLAIN },
        idle: None,
    },
    // The server closes first.
    Scenario {
        peers: &[(Kind::Fair, 300), (Kind::Vanishing, 300), (Kind::Slow, 50)],
        buffers: (30, 100),
        high_watermark: 1000,
        manner: Manner { enough: 100, ..Manner::PLAIN },
        idle: None,
    },
    // The idle timeout ends some.
    Scenario {
        peers: &[(Kind::Silent, 0), (Kind::Fair, 40), (Kind::Silent, 0), (Kind::Vanishing, 200)],
        buffers: (300, 300),
        high_watermark: 1000,
        manner: Manner::PLAIN,
        idle: Some(Duration::from_secs(60)),
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
    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// What was violated.
    pub fn run(&self) -> Result<Outcome, Failure> {
        let scenario = SCENARIOS[self.scenario];
        let mut world = World::new(9);
        world.buffers = scenario.buffers;
        world.outlasts = scenario.idle.is_some();
        world.faults = Injector::plan(&self.faults);
        for &(kind, length) in scenario.peers {
            let mut client = Client::of(kind, length, &mut world.random);
            client.may_be_left = scenario.manner.enough < u64::MAX;
            world.peers.push(Peer::new(Role::Client(client)));
        }
        let high = scenario.high_watermark;
        let config = Config::new().watermarks(high, high / 4).idle_timeout(scenario.idle);
        let limits = Limits {
            high_watermark: high,
            output_limit: usize::MAX,
            low_ceiling: false,
            idle: scenario.idle,
        };
        run_in(world, config, limits, scenario.manner, Ends::default())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scenario {}", self.scenario)
    }
}

/// Every way in which the first `occurrences` of each call can go wrong.
fn faults(occurrences: u64) -> impl Iterator<Item = Fault> {
    Call::ALL.into_iter().flat_map(move |call| {
        call.fates()
            .into_iter()
            .flat_map(move |fate| (1..=occurrences).map(move |nth| Fault { call, nth, fate }))
    })
}

/// Each fault alone, over the first occurrences of each call, in each scenario.
pub fn alone() -> impl Iterator<Item = Case> {
    (0..SCENARIOS.len())
        .flat_map(|scenario| faults(ALONE).map(move |fault| Case { scenario, faults: vec![fault] }))
}

/// Each two faults together, over the very first occurrences, in each scenario.
pub fn in_pairs() -> impl Iterator<Item = Case> {
    (0..SCENARIOS.len()).flat_map(|scenario| {
        faults(IN_PAIRS).enumerate().flat_map(move |(at, one)| {
            let others = faults(IN_PAIRS).skip(at + 1);
            let others = others.filter(move |other| (other.call, other.nth) != (one.call, one.nth));
            others.map(move |other| Case { scenario, faults: vec![one, other] })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect_all(cases: impl Iterator<Item = Case>) -> usize {
        let mut met = 0;
        for case in cases {
            match case.run() {
                Ok(outcome) => met += usize::from(!outcome.faults.is_empty()),
                Err(failure) => panic!("{case:?}: {failure:?}"),
            }
        }
        met
    }

    /// The command `simulations systematic` runs them all.
    #[test]
    fn each_early_call_can_fail_in_each_of_its_ways() {
        let met = expect_all(alone().filter(|case| case.faults[0].nth <= 12));
        println!("{met} runs met their fault");
        assert!(met > 1000, "only {met}");
    }

    #[test]
    fn first_calls_can_fail_in_pairs() {
        let met = expect_all(in_pairs().filter(|case| case.faults.iter().all(|one| one.nth == 2)));
        println!("{met} runs met a fault");
        assert!(met > 200, "only {met}");
    }
}
