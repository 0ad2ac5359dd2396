//! A second of a run, or a part of one, with its own figures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::datagrams::Datagrams;
use super::lists;
use super::times::{Estimate, Times};
use super::units::{micros, to_f64};

/// A second of the run, or a tenth of one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// In which second of the measured time it lies, and when it begins.
    pub(crate) second: u64,
    pub(crate) from_s: f64,
    /// How much of it was measured.
    pub(crate) seconds: f64,
    /// Messages that were answered, and those of them that were within the measured time.
    pub(crate) messages: u64,
    pub(crate) in_time: u64,
    pub(crate) unanswered: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) errors: u64,
    pub(crate) alive: u64,
    pub(crate) in_flight: u64,
    /// Of all messages of this second, those that were given up in it above the others.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p95_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
    #[serde(deserialize_with = "lists::at_most::<_, _, 20>")]
    pub(crate) lower_bounds: Vec<String>,
    /// Of those that were answered in it.
    pub(crate) answered_p50_us: Option<f64>,
    pub(crate) answered_p99_us: Option<f64>,
    pub(crate) answered_max_us: Option<f64>,
    /// How many times lay in each band of the heat map: the number of the band, and how many.
    #[serde(deserialize_with = "lists::at_most::<_, _, 200>")]
    pub(crate) bands: Vec<(u32, u64)>,
    /// None where there are connections. Older files lack it.
    #[serde(default)]
    pub(crate) datagrams: Option<Datagrams>,
}

/// How many bands of the heat map double the time. Band 0 begins at a nanosecond.
pub(crate) const BANDS: f64 = 4.0;

impl Interval {
    /// An interval in which messages took these times. What was counted is yet to be filled in.
    pub(crate) fn timed(latency: &Times) -> Self {
        let mut bands: BTreeMap<u32, u64> = BTreeMap::new();
        for value in latency.answered().iter_recorded() {
            *bands.entry(band(value.value_iterated_to())).or_default() += value.count_at_value();
        }
        let figure = |estimate: Option<Estimate>| estimate.map(|figure| micros(figure.nanos));
        let answered = latency.answered();
        Self {
            p50_us: figure(latency.quantile(0.5)),
            p95_us: figure(latency.quantile(0.95)),
            p99_us: figure(latency.quantile(0.99)),
            max_us: figure(latency.max()),
            lower_bounds: latency.lower_bounds(),
            answered_p50_us: latency.answered_quantile(0.5).map(micros),
            answered_p99_us: latency.answered_quantile(0.99).map(micros),
            answered_max_us: (!answered.is_empty()).then(|| micros(answered.max())),
            bands: bands.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Messages a second that were answered in the part of it that was measured; None if none was.
    pub(crate) fn rate(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| to_f64(self.in_time) / self.seconds)
    }

    /// Which tenth of a second of the measured time it is or begins with.
    pub(crate) fn tenth(&self) -> u64 {
        let part = (self.from_s - to_f64(self.second)) * 10.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 9")]
        let part = part.round().clamp(0.0, 9.0) as u64;
        self.second.saturating_mul(10).saturating_add(part)
    }

    /// When it ends.
    pub(crate) fn to_s(&self) -> f64 {
        self.from_s + self.seconds
    }
}

/// The band of the heat map in which a time lies.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
fn band(nanos: u64) -> u32 {
    (to_f64(nanos.max(1)).log2() * BANDS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_a_band() {
        let mut times = Times::default();
        (1..=200).for_each(|sample| times.record(sample * 10_000));
        let interval = Interval::timed(&times);
        assert_eq!(interval.bands.iter().map(|band| band.1).sum::<u64>(), 200);
        // Four to a doubling: 10 µs lie in band 4 log2(10,000).
        assert_eq!((band(1), band(2), band(10_000)), (0, 4, 53));
    }
}
