//! Puts what threads tell of parts of a second together: into seconds, and into the whole.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::course::Tick;
use super::record::Measured;
use crate::results::Interval;

/// A second of a run, or a part of one, of all threads together.
#[derive(Debug, Default)]
pub(crate) struct Second {
    /// Which second it is or lies in, from 0 on, and when it begins.
    pub(crate) number: u64,
    pub(crate) from: Duration,
    /// How much of it was measured.
    pub(crate) span: Duration,
    pub(crate) measured: Measured,
    /// At its end.
    pub(crate) alive: usize,
    pub(crate) in_flight: usize,
}

impl Second {
    /// Its figures.
    pub(crate) fn interval(&self) -> Interval {
        let counts = &self.measured.counts;
        Interval {
            second: self.number,
            from_s: self.from.as_secs_f64(),
            seconds: self.span.as_secs_f64(),
            messages: counts.messages,
            in_time: counts.in_time,
            unanswered: counts.unanswered,
            bytes_sent: counts.bytes_sent,
            bytes_received: counts.bytes_received,
            errors: counts.errors.total(),
            alive: self.alive as u64,
            in_flight: self.in_flight as u64,
            datagrams: counts.datagrams,
            ..Interval::timed(&self.measured.latency)
        }
    }

    /// Adds the next one to it.
    pub(crate) fn add(&mut self, next: &Self) {
        if self.span.is_zero() {
            (self.number, self.from) = (next.number, next.from);
        }
        self.span += next.span;
        self.measured.add(&next.measured);
        (self.alive, self.in_flight) = (next.alive, next.in_flight);
    }
}

/// Is shown how a run goes.
pub(crate) trait Watcher {
    /// All threads have told of this part of a second.
    fn slice(&mut self, slice: &Second);

    /// All threads have told of this second.
    fn second(&mut self, second: &Second);

    /// Called several times a second.
    fn look(&mut self, moment: &Moment);

    /// Something has to be said.
    fn say(&mut self, line: &str);
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// For how long it has run, with all that comes before it is measured.
    pub(crate) elapsed: Duration,
    /// How many connections it opened before it began.
    pub(crate) opened: usize,
    /// How long ago its warm-up began. None as long as connections are opened.
    pub(crate) begun: Option<Duration>,
}

/// Where threads get empty measurements from, and where spent ones go.
pub(super) type Pool = Arc<Mutex<Vec<Measured>>>;

/// The seconds of a run, one after the other.
pub(super) struct Seconds<'a> {
    pub(super) watcher: &'a mut dyn Watcher,
    pool: &'a Pool,
    tick: Duration,
    /// The second that is not over yet.
    open: Option<Second>,
    total: Measured,
}

impl<'a> Seconds<'a> {
    /// Of ticks that have this length, a whole part of a second.
    pub(super) fn new(tick: Duration, watcher: &'a mut dyn Watcher, pool: &'a Pool) -> Self {
        Self { watcher, pool, tick, open: None, total: Measured::default() }
    }

    /// Adds what one thread tells of a tick to what others have told of it, if any have.
    pub(super) fn add_tick(
        &self,
        others: Option<Second>,
        tick: &Tick,
        measured: Measured,
    ) -> Second {
        let &Tick { number, span, alive, in_flight } = tick;
        let span = Duration::from_nanos(span);
        let Some(mut sum) = others else {
            let from = self.tick.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
            let number = from.as_secs();
            return Second { number, from, span, measured, alive, in_flight };
        };
        sum.measured.add(&measured);
        self.reuse(measured);
        sum.span = sum.span.max(span);
        sum.alive += alive;
        sum.in_flight += in_flight;
        sum
    }

    /// Adds a tick that all have told of; they come in their order.
    pub(super) fn add(&mut self, slice: Second) {
        const SECOND: Duration = Duration::from_secs(1);
        if self.tick < SECOND {
            self.watcher.slice(&slice);
        }
        let end = slice.from + self.tick;
        match &mut self.open {
            Some(second) if second.number == slice.number => {
                second.add(&slice);
                self.reuse(slice.measured);
            }
            _ => {
                self.close();
                let from = Duration::from_secs(slice.number);
                self.open = Some(Second { from, ..slice });
            }
        }
        if self.open.as_ref().is_some_and(|second| end >= second.from + SECOND) {
            self.close();
        }
    }

    /// All that was measured.
    pub(super) fn finish(mut self) -> Measured {
        self.close();
        self.total
    }

    fn close(&mut self) {
        let Some(second) = self.open.take() else { return };
        self.watcher.second(&second);
        self.total.add(&second.measured);
        self.reuse(second.measured);
    }

    /// Threads go on with it.
    fn reuse(&self, mut spent: Measured) {
        spent.clear();
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(spent);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Whole seconds and slices: number, messages, milliseconds measured.
    #[derive(Default)]
    struct Seen(Vec<(u64, u64, u128)>, Vec<(u128, u64)>);

    impl Watcher for Seen {
        fn slice(&mut self, slice: &Second) {
            self.1.push((slice.from.as_millis(), slice.measured.latency.samples()));
        }

        fn second(&mut self, second: &Second) {
            let samples = second.measured.latency.samples();
            assert_eq!(second.from, Duration::from_secs(second.number));
            self.0.push((second.number, samples, second.span.as_millis()));
        }

        fn look(&mut self, _: &Moment) {}

        fn say(&mut self, _: &str) {}
    }

    /// Ticks of so many milliseconds, each with a message of each of two threads; the last one is
    /// half a tick.
    fn seen(tick: u64, ticks: u64) -> (Seen, u64) {
        let (mut seen, pool) = (Seen::default(), Arc::new(Mutex::new(Vec::new())));
        let mut seconds = Seconds::new(Duration::from_millis(tick), &mut seen, &pool);
        for number in 0..ticks {
            let mut sum = None;
            for _ in 0..2 {
                let mut measured = Measured::default();
                measured.latency.record(1000);
                let span = tick * 1_000_000 / if number + 1 == ticks { 2 } else { 1 };
                let tick = Tick { number, span, alive: 1, in_flight: 2 };
                sum = Some(seconds.add_tick(sum, &tick, measured));
            }
            let sum = sum.expect("two were added");
            assert_eq!((sum.alive, sum.in_flight), (2, 4));
            seconds.add(sum);
        }
        let total = seconds.finish().latency.samples();
        // What threads gave comes back, and nothing else: none is lost, and none made.
        let pool = pool.lock().expect("no panic");
        assert!(pool.iter().all(Measured::is_empty) && pool.len() as u64 == 2 * ticks);
        (seen, total)
    }

    #[test]
    fn slices_make_up_seconds_and_seconds_the_whole() {
        let (seen, total) = seen(100, 25);
        assert_eq!(seen.0, [(0, 20, 1000), (1, 20, 1000), (2, 10, 450)]);
        assert_eq!((seen.1.len(), seen.1[24], total), (25, (2400, 2), 50));
    }

    #[test]
    fn ticks_of_a_second_have_no_slices() {
        let (seen, total) = seen(1000, 3);
        assert_eq!(seen.0, [(0, 2, 1000), (1, 2, 1000), (2, 2, 500)]);
        assert!(seen.1.is_empty() && total == 6);
    }
}
