//! The seconds of a run, and for a short run the parts of each second.

use super::interval::Interval;
use super::outages::Outage;
use super::units::to_f64;

/// A run over time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Series {
    pub(crate) seconds: Vec<Interval>,
    /// The parts of each second, unless the run was too long for them.
    pub(crate) slices: Vec<Interval>,
}

/// As many slices are kept at the most: those of a minute.
const SLICES: usize = 600;

impl Series {
    pub(crate) fn slice(&mut self, slice: Interval) {
        // All of them or none.
        if slice.second >= 60 {
            self.slices = Vec::new();
        } else if self.slices.len() < SLICES {
            self.slices.push(slice);
        }
    }

    /// Adds a run that was made after this one. Its seconds are numbered on.
    pub(crate) fn append(&mut self, later: Self) {
        let first = self.seconds.last().map_or(0, |last| last.second + 1);
        let shift = |one: Interval| {
            let (second, from_s) = (first + one.second, to_f64(first) + one.from_s);
            Interval { second, from_s, ..one }
        };
        self.seconds.extend(later.seconds.into_iter().map(shift));
        later.slices.into_iter().map(shift).for_each(|slice| self.slice(slice));
    }

    /// When nothing was answered, as exactly as this can tell.
    pub(crate) fn outages(&self, asked_rate: Option<f64>) -> Vec<Outage> {
        let finest = if self.slices.is_empty() { &self.seconds } else { &self.slices };
        Outage::of(finest, asked_rate)
    }
}
