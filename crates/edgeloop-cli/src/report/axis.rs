//! The axes of a chart: where a value lies on them, and which values are named.

use crate::results::{show, to_f64};

/// A value that is named on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// Where: 0 is the beginning of the axis, 1 its end.
    pub(super) at: f64,
    pub(super) label: String,
    /// Whether it is left out where there is little room.
    pub(super) minor: bool,
}

/// From which value to which, and how they are spread.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    pub(super) ticks: Vec<Tick>,
}

impl Axis {
    /// Where a value lies: from 0 to 1, or beyond if it is off the axis.
    pub(super) fn at(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// The value that lies there.
    pub(super) fn value(&self, at: f64) -> f64 {
        if self.logarithmic {
            self.low * (self.high / self.low).powf(at)
        } else {
            self.low + (self.high - self.low) * at
        }
    }

    /// From 0 to a value or a bit more.
    pub(super) fn from_zero(top: f64, label: impl Fn(f64) -> String) -> Self {
        let top = if top > 0.0 { top } else { 1.0 };
        let step = round_up(top / 4.0);
        let count = (top / step - 1e-9).ceil();
        let mut axis = Self { low: 0.0, high: step * count, logarithmic: false, ticks: Vec::new() };
        let mut number = 0.0;
        while number <= count {
            axis.name(step * number, label(step * number), false);
            number += 1.0;
        }
        axis
    }

    /// Times in microseconds, from one to another or a bit more; logarithmic.
    pub(super) fn times(shortest: f64, longest: f64) -> Self {
        let shortest = shortest.max(0.001);
        let longest = longest.max(shortest * 2.0);
        let low = round_down(shortest);
        let high = round_up(longest);
        let mut axis = Self { low, high, logarithmic: true, ticks: Vec::new() };
        let decades = (high / low).log10();
        let mut decade = 10_f64.powf(low.log10().floor());
        let mut odd = false;
        while decade <= high * 1.001 {
            for factor in [1.0, 2.0, 5.0] {
                let value = decade * factor;
                // Between the powers of ten, where these are few.
                let named = factor < 1.5 || decades < 3.0;
                if named && (low * 0.999..high * 1.001).contains(&value) {
                    let crowded = factor > 1.5 && decades > 1.5 || decades > 7.0 && odd;
                    axis.name(value, duration(value), crowded);
                }
            }
            (decade, odd) = (decade * 10.0, !odd);
        }
        axis
    }

    /// Percentiles up to that of so many samples, as one part in how many lies beyond: the 90th at
    /// 10, the 99th at 100, each nine as far from the last as the others.
    pub(super) fn nines(samples: u64) -> Self {
        let high = to_f64(samples.max(10));
        let mut axis = Self { low: 1.0, high, logarithmic: true, ticks: Vec::new() };
        axis.name(2.0, percent(2.0), true);
        let (mut beyond, mut number) = (10.0, 1);
        while beyond <= high * 1.001 {
            axis.name(beyond, percent(beyond), number > 2 && number % 2 == 1);
            (beyond, number) = (beyond * 10.0, number + 1);
        }
        axis
    }

    /// Seconds of a run.
    pub(super) fn seconds(end: f64) -> Self {
        const STEPS: [f64; 16] = [
            0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0,
            1800.0, 3600.0,
        ];
        let high = if end > 0.0 { end } else { 1.0 };
        let mut axis = Self { low: 0.0, high, logarithmic: false, ticks: Vec::new() };
        let enough = |step: &f64| high / step < 8.999;
        let hours = || (high / (8.0 * 3600.0)).ceil() * 3600.0;
        let step = STEPS.into_iter().find(enough).unwrap_or_else(hours);
        let count = (high / step + 1e-6).floor();
        let mut number = 0.0;
        while number <= count {
            let value = step * number;
            let label = match step {
                step if step >= 3600.0 => format!("{:.0} h", value / 3600.0),
                step if step >= 60.0 => format!("{:.0} min", value / 60.0),
                _ => seconds(value),
            };
            axis.name(value, label, number % 2.0 == 1.0 && count > 4.0);
            number += 1.0;
        }
        axis
    }

    fn name(&mut self, value: f64, label: String, minor: bool) {
        let at = self.at(value);
        self.ticks.push(Tick { at, label, minor });
    }
}

/// The next value up that is 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let fits = |factor: &f64| decade * factor >= value * (1.0 - 1e-9);
    decade * factors.into_iter().find(fits).unwrap_or(10.0)
}

/// The next value down that is 1, 2 or 5 times a power of ten.
fn round_down(value: f64) -> f64 {
    1.0 / round_up(1.0 / value)
}

/// A round time in microseconds: `500 ns`, `20 µs`, `1 s`.
fn duration(micros: f64) -> String {
    let units = [(1.0, 1000.0, "ns"), (1e3, 1.0, "µs"), (1e6, 1e-3, "ms")];
    let unit = units.into_iter().find(|(end, ..)| micros * 1000.0 < end * 999.9);
    let (_, factor, unit) = unit.unwrap_or((0.0, 1e-6, "s"));
    format!("{:.0} {unit}", micros * factor)
}

/// Seconds, with their tenths if there are any: `3 s`, `3.1 s`.
pub(super) fn seconds(seconds: f64) -> String {
    let text = format!("{seconds:.1}");
    format!("{} s", text.strip_suffix(".0").unwrap_or(&text))
}

/// The percentile beyond which one part in so many lies: `50 %`, `99.9 %`.
pub(super) fn percent(beyond: f64) -> String {
    let share = 100.0 * (1.0 - 1.0 / beyond);
    // As many digits as tell it from 100, and no zeros behind them.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    let digits = if beyond < 10.5 { 1 } else { 1 + (beyond * 1.001).log10().floor() as usize };
    let shown = format!("{share:.digits$}");
    format!("{} %", shown.trim_end_matches('0').trim_end_matches('.'))
}

/// A rate on an axis, without the digits that it does not need: `0`, `0.5`, `2,000`.
pub(super) fn rate(rate: f64) -> String {
    let shown = show::rate(rate);
    if shown.contains('.') {
        return shown.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[track_caller]
    fn expect_in_order(axis: &Axis) {
        assert!(axis.ticks.iter().all(|tick| (-1e-9..=1.0 + 1e-9).contains(&tick.at)), "{axis:?}");
        assert!(axis.ticks.is_sorted_by(|one, other| one.at < other.at), "{axis:?}");
        assert!((1..=13).contains(&axis.ticks.len()), "{axis:?}");
    }

    #[test]
    fn an_axis_from_zero_has_round_steps_and_room_for_the_top() {
        let axis = Axis::from_zero(2080.0, rate);
        assert_eq!(labels(&axis), ["0", "1,000", "2,000", "3,000"]);
        assert_eq!((axis.at(0.0), axis.at(1500.0), axis.value(0.5)), (0.0, 0.5, 1500.0));
        assert_eq!(labels(&Axis::from_zero(2000.0, rate)), ["0", "500", "1,000", "1,500", "2,000"]);
        assert_eq!(labels(&Axis::from_zero(0.4, rate)), ["0", "0.1", "0.2", "0.3", "0.4"]);
        for top in [0.0, 0.001, 1.0, 3.0, 7.7, 1e6, 1e12, 1.8e19] {
            let axis = Axis::from_zero(top, rate);
            expect_in_order(&axis);
            assert!(axis.at(top) <= 1.0 + 1e-9, "{top}");
        }
    }

    #[test]
    fn times_are_named_at_round_values() {
        assert_eq!(labels(&Axis::times(27.8, 118_751.0)), ["100 µs", "1 ms", "10 ms", "100 ms"]);
        let short = Axis::times(120.0, 800.0);
        assert_eq!(labels(&short), ["100 µs", "200 µs", "500 µs", "1 ms"]);
        assert!((short.at(100.0)).abs() < 1e-9 && (short.at(1000.0) - 1.0).abs() < 1e-9);
        assert_eq!(labels(&Axis::times(0.0, 0.0)), ["1 ns", "2 ns"]);
        assert_eq!(labels(&Axis::times(2e5, 3e6)), ["200 ms", "500 ms", "1 s", "2 s", "5 s"]);
        for (shortest, longest) in [(0.001, 3.6e9), (5.0, 5.0), (999.0, 1001.0), (1e3, 1e6)] {
            let axis = Axis::times(shortest, longest);
            expect_in_order(&axis);
            assert!(axis.at(shortest) >= -1e-9 && axis.at(longest) <= 1.0 + 1e-9, "{shortest}");
        }
    }

    #[test]
    fn each_nine_is_as_far_from_the_last_as_the_others() {
        let axis = Axis::nines(100_000);
        let named = ["50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"];
        assert_eq!(labels(&axis), named);
        for pair in axis.ticks[1..].windows(2) {
            assert!((pair[1].at - pair[0].at - 0.2).abs() < 1e-9, "{axis:?}");
        }
        assert_eq!(labels(&Axis::nines(23_544)), &named[..5]);
        for samples in [0, 1, 10, 11, 1_000_000_000, u64::MAX] {
            let axis = Axis::nines(samples);
            assert!(axis.ticks.is_sorted_by(|one, other| one.at < other.at), "{axis:?}");
        }
        assert_eq!((percent(1.0), percent(4.0)), ("0 %".to_owned(), "75 %".to_owned()));
    }

    #[test]
    fn seconds_are_named_in_the_unit_that_suits() {
        assert_eq!(
            labels(&Axis::seconds(3.0)),
            ["0 s", "0.5 s", "1 s", "1.5 s", "2 s", "2.5 s", "3 s"]
        );
        assert_eq!(labels(&Axis::seconds(0.3)), ["0 s", "0.1 s", "0.2 s", "0.3 s"]);
        let twelve = ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s", "12 s"];
        assert_eq!(labels(&Axis::seconds(12.0)), twelve);
        assert_eq!(labels(&Axis::seconds(600.0))[..3], ["0 min", "2 min", "4 min"]);
        assert_eq!(labels(&Axis::seconds(28_800.0))[..2], ["0 h", "1 h"]);
        for end in [0.0, 0.1, 1.0, 1.3, 9.0, 120.0, 3600.0, 86_400.0, 1.8e19] {
            expect_in_order(&Axis::seconds(end));
        }
    }
}
