//! Two servers compared: alive at once on one core, loaded in turn, the reference twice.
//!
//! The processor's speed drifts by a quarter within seconds. Slices of some ten milliseconds, a
//! ratio for each cycle of slices, and the median of those are what drift can't touch.

use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::client::{self, Client, Done, Holder, Rounds, Until};
use crate::failure::named;
use crate::interrupt;
use crate::servers::{Contestant, Server};
use crate::shapes::Shape;
use crate::statistics::{Estimate, median, ratios};

/// Within these bounds two processes of the reference must lie of each other.
pub(crate) const NULL: (f64, f64) = (0.985, 1.015);

/// How often a run is made whose null lies outside.
const ATTEMPTS: u32 = 3;

/// Slices of each server that are not counted.
const WARM_UP: u32 = 3;

/// How often all servers of a run are started anew. Where its pages happen to lie makes a process
/// dearer or cheaper by a hundredth for as long as it lives, however often it is measured.
const LIVES: u32 = 5;

/// So many cycles each life has, however long they take.
const FEWEST: u32 = 2;

/// One side of a pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    pub(crate) server: Contestant,
    /// Whether it has the shape's idle connections besides.
    pub(crate) idle: bool,
}

/// What is compared under what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) of: Side,
    pub(crate) against: Side,
    pub(crate) shape: &'static Shape,
}

/// What stands for the other side when a server among idle connections is compared with itself
/// without them.
pub(crate) const ITSELF: &str = "itself";

impl Pair {
    /// What the second side is called in tables.
    pub(crate) fn against_name(&self) -> &'static str {
        if self.of.idle != self.against.idle { ITSELF } else { self.against.server.name() }
    }
}

/// How a pair is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// As many as there is time for.
    pub(crate) cycles: u32,
    /// For all cycles of a run. A server whose round takes seconds gets fewer than others.
    pub(crate) time: Option<Duration>,
    /// Instead of the shape's own.
    pub(crate) slice: Option<Duration>,
    pub(crate) read_buffer: usize,
}

/// What a pair has come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) shape: String,
    pub(crate) of: String,
    pub(crate) against: String,
    /// What the costs are for.
    pub(crate) unit: String,
    /// Those that there was time for.
    pub(crate) cycles: u32,
    pub(crate) slice_ms: f64,
    pub(crate) read_buffer: usize,
    /// How many runs it took until the null held, or all that were made.
    pub(crate) attempts: u32,
    /// Whether the null of the last run lies within the bounds. If not, the ratio says nothing.
    pub(crate) is_valid: bool,
    /// Processor time of the one by that of the other.
    pub(crate) ratio: Option<Estimate>,
    /// The same of two processes of the reference.
    pub(crate) null: Option<Estimate>,
    pub(crate) first: Cost,
    pub(crate) second: Cost,
    /// Why there is nothing, if nothing could be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

#[cfg(test)]
impl Measured {
    /// A pair against bare epoll whose ratio is this, and whose null holds.
    pub(crate) fn for_test(of: &str, shape: &str, median: f64) -> Self {
        let ratio = |median: f64| Estimate { median, low: median - 0.004, high: median + 0.004 };
        Self {
            shape: shape.to_owned(),
            of: of.to_owned(),
            against: crate::servers::BARE.to_owned(),
            unit: "message".to_owned(),
            cycles: 150,
            slice_ms: 25.0,
            read_buffer: 32_768,
            attempts: 1,
            is_valid: true,
            ratio: Some(ratio(median)),
            null: Some(ratio(1.0)),
            first: Cost::default(),
            second: Cost::default(),
            failure: None,
        }
    }
}

/// What one server has used. The processor's speed is in it: only ratios can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Median of the processor time for a unit.
    pub(crate) nanoseconds: f64,
    /// Median of the rate; the client saturates together with the best servers.
    pub(crate) units_per_second: f64,
    /// Of the whole run.
    pub(crate) units: u64,
    /// How long a round took, where a shape has rounds; on one connection, a message there and
    /// back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) round: Option<Round>,
}

/// Percentiles of the rounds of all slices, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Round {
    pub(crate) fn of(rounds: &Rounds) -> Self {
        let microseconds = |quantile| rounds.value_at_quantile(quantile) as f64 / 1000.0;
        Self { p50: microseconds(0.5), p99: microseconds(0.99) }
    }
}

impl Measured {
    fn empty(pair: &Pair, settings: &Settings) -> Self {
        Self {
            shape: pair.shape.name.to_owned(),
            of: pair.of.server.name().to_owned(),
            against: pair.against_name().to_owned(),
            unit: pair.shape.unit.to_owned(),
            cycles: settings.cycles,
            slice_ms: settings.slice.unwrap_or(pair.shape.slice).as_secs_f64() * 1000.0,
            read_buffer: settings.read_buffer,
            attempts: 0,
            is_valid: false,
            ratio: None,
            null: None,
            first: Cost::default(),
            second: Cost::default(),
            failure: None,
        }
    }

    /// The ratio, if it says something.
    pub(crate) fn valid_ratio(&self) -> Option<Estimate> {
        self.ratio.filter(|_| self.is_valid)
    }

    /// Whether two are of the same comparison.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.shape, &self.of, &self.against) == (&other.shape, &other.of, &other.against)
    }
}

/// Measures a pair, again if the null does not hold. Calls `tick` after each cycle.
///
/// # Errors
///
/// Only when it was interrupted: what else goes wrong is a part of the result.
pub(crate) fn measure(
    pair: &Pair,
    settings: &Settings,
    tick: &mut dyn FnMut(u32, u32),
) -> io::Result<Measured> {
    let mut measured = Measured::empty(pair, settings);
    for attempt in 1..=ATTEMPTS {
        measured.attempts = attempt;
        let run = run(pair, settings, &mut |cycle| tick(attempt, cycle));
        interrupt::check()?;
        match run {
            Ok(run) => {
                run.sum_up(&mut measured);
                if measured.is_valid {
                    break;
                }
            }
            Err(error) => {
                measured.failure = Some(error.to_string());
                break;
            }
        }
    }
    Ok(measured)
}

/// A server with its client.
struct Lane {
    // In this order they are dropped: connections end before their server does.
    client: Box<dyn Client>,
    _idle: Option<Holder>,
    server: Server,
}

impl Lane {
    fn start(side: Side, shape: &Shape, settings: &Settings) -> io::Result<Self> {
        let server =
            side.server.start_over(shape.transport, shape.load.service(), settings.read_buffer)?;
        let named = |error: io::Error| named(server.name(), &error);
        let idle = (side.idle && shape.idle > 0)
            .then(|| Holder::start(server.address(), shape.idle).map_err(named))
            .transpose()?;
        let client = client::connect(shape, server.address()).map_err(named)?;
        Ok(Self { client, _idle: idle, server })
    }

    fn verify(&mut self) -> io::Result<()> {
        self.client.verify().map_err(|error| named(self.server.name(), &error))
    }

    /// Loads the server for so long, and notes what came of it.
    fn slice(&mut self, length: Duration, taken: &mut Taken) -> io::Result<()> {
        let mut go = || {
            let before = self.server.process().settle()?;
            let done =
                self.client.drive(Until::Time(Instant::now() + length), &mut taken.rounds)?;
            self.client.acknowledge()?;
            let after = self.server.process().settle()?;
            taken.note(&done, after.run - before.run)
        };
        go().map_err(|error| named(self.server.name(), &error))
    }
}

/// What the slices of one side have taken, one after the other.
struct Taken {
    nanoseconds: Vec<f64>,
    rates: Vec<f64>,
    units: u64,
    rounds: Rounds,
}

impl Taken {
    fn new() -> io::Result<Self> {
        let (nanoseconds, rates, rounds) = (Vec::new(), Vec::new(), client::rounds()?);
        Ok(Self { nanoseconds, rates, units: 0, rounds })
    }

    fn note(&mut self, done: &Done, used: u64) -> io::Result<()> {
        if done.units == 0 {
            return Err(io::Error::other("nothing was done in a slice"));
        }
        let units = done.units as f64;
        self.nanoseconds.push(used as f64 / units);
        self.rates.push(units / done.time.as_secs_f64());
        self.units += done.units;
        Ok(())
    }

    fn cost(&self) -> Cost {
        Cost {
            nanoseconds: median(&self.nanoseconds),
            units_per_second: median(&self.rates),
            units: self.units,
            round: (!self.rounds.is_empty()).then(|| Round::of(&self.rounds)),
        }
    }
}

/// The orders of a cycle's slices, one cycle after the other: each is followed by its reverse, and
/// in all of them together every server stands as often in each place and next to each other. On
/// one connection, one that stood always in the middle was 2 % cheaper.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]];

/// The one, the other, and the other again.
struct Run {
    taken: [Taken; 3],
    /// How many there were.
    cycles: u32,
}

fn run(pair: &Pair, settings: &Settings, tick: &mut dyn FnMut(u32)) -> io::Result<Run> {
    let mut run = Run { taken: [Taken::new()?, Taken::new()?, Taken::new()?], cycles: 0 };
    for life in 1..=LIVES {
        // As many as there are left, spread over the lives that are left.
        let cycles = (settings.cycles - run.cycles) / (LIVES - life + 1);
        run.live(pair, settings, cycles, tick)?;
    }
    Ok(run)
}

/// Whether a life that has had so many cycles, in so long, has another one.
fn goes_on(had: u32, of: u32, spent: Duration, time: Option<Duration>) -> bool {
    let in_time = time.is_none_or(|time| spent < time / LIVES);
    had < of && (in_time || had < FEWEST)
}

impl Run {
    /// Up to so many cycles, between a start and an end of all servers.
    fn live(
        &mut self,
        pair: &Pair,
        settings: &Settings,
        cycles: u32,
        tick: &mut dyn FnMut(u32),
    ) -> io::Result<()> {
        let start = |side| Lane::start(side, pair.shape, settings);
        let mut lanes = [start(pair.of)?, start(pair.against)?, start(pair.against)?];
        lanes.iter_mut().try_for_each(Lane::verify)?;
        let slice = settings.slice.unwrap_or(pair.shape.slice);
        let mut forgotten = Taken::new()?;
        for _ in 0..WARM_UP {
            lanes.iter_mut().try_for_each(|lane| lane.slice(slice, &mut forgotten))?;
        }
        let (first, begin) = (self.cycles, Instant::now());
        while goes_on(self.cycles - first, cycles, begin.elapsed(), settings.time) {
            interrupt::check()?;
            for index in ORDERS[self.cycles as usize % ORDERS.len()] {
                lanes[index].slice(slice, &mut self.taken[index])?;
            }
            self.cycles += 1;
            tick(self.cycles);
        }
        lanes.iter_mut().try_for_each(Lane::verify)
    }

    fn sum_up(&self, measured: &mut Measured) {
        let [of, against, again] = &self.taken;
        measured.cycles = self.cycles;
        measured.ratio = Estimate::of(&ratios(&of.nanoseconds, &against.nanoseconds));
        measured.null = Estimate::of(&ratios(&again.nanoseconds, &against.nanoseconds));
        measured.is_valid = measured.null.is_some_and(|null| null_holds(null.median));
        measured.first = of.cost();
        measured.second = against.cost();
    }
}

/// Whether two processes of one server lie so close to each other that a ratio says something.
fn null_holds(null: f64) -> bool {
    (NULL.0..=NULL.1).contains(&null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_has_the_cycles_that_there_is_time_for_and_two_at_least() {
        let minute = Some(Duration::from_secs(60));
        let seconds = Duration::from_secs;
        assert!(goes_on(29, 30, seconds(11), minute));
        assert!(!goes_on(30, 30, seconds(11), minute));
        assert!(!goes_on(29, 30, seconds(12), minute), "a fifth of the time is over");
        assert!(goes_on(1, 30, seconds(100), minute));
        assert!(!goes_on(2, 30, seconds(100), minute));
        assert!(goes_on(29, 30, seconds(100), None));
        assert!(!goes_on(1, 1, seconds(0), minute));
    }

    #[test]
    fn every_server_stands_everywhere_as_often() {
        for server in 0..3 {
            for place in 0..3 {
                let often = ORDERS.iter().filter(|order| order[place] == server).count();
                assert_eq!(often, 2, "{server} at {place}");
            }
        }
        for both in ORDERS.chunks(2) {
            let mut reversed = both[1];
            reversed.reverse();
            assert_eq!(both[0], reversed);
        }
    }

    #[test]
    fn a_null_outside_its_bounds_does_not_hold() {
        for (null, holds) in
            [(0.984, false), (0.985, true), (1.0, true), (1.015, true), (1.016, false)]
        {
            assert_eq!(null_holds(null), holds, "{null}");
        }
        assert!(!null_holds(f64::NAN));
    }
}
