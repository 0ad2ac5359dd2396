//! The seconds of a run in as many columns as a page has room for, or tenths of them for a short
//! run.

use std::collections::BTreeMap;

use super::merge::add_measured;
use crate::results::{Interval, Results, to_f64};

/// The most columns: on a phone each is two or three dots wide.
const MOST: u64 = 120;

/// How many tenths of a second a column may have.
const WIDTHS: [u64; 13] = [1, 2, 5, 10, 20, 50, 100, 300, 600, 3000, 6000, 18_000, 36_000];

/// The tenths of a second.
const SECOND: u64 = 10;

/// The seconds of a run, gathered into columns.
pub(super) struct Columns {
    /// How many tenths of a second each of them has.
    width: u64,
    /// Each with its beginning. Those in which nothing was told of are left out.
    pub(super) columns: Vec<Interval>,
}

impl Columns {
    /// Columns of whole seconds.
    pub(super) fn of(seconds: &[Interval]) -> Self {
        Self::gather(seconds, SECOND)
    }

    /// Columns as narrow as the results tell of.
    pub(super) fn finest(results: &Results) -> Self {
        match results.slices.as_slice() {
            [] => Self::of(&results.intervals),
            slices => Self::gather(slices, 1),
        }
    }

    fn gather(intervals: &[Interval], narrowest: u64) -> Self {
        let last = intervals.iter().map(Interval::tenth).max().unwrap_or(0);
        let least = (last / MOST).saturating_add(1).max(narrowest);
        let wide = || least.div_ceil(36_000).saturating_mul(36_000);
        let width = WIDTHS.into_iter().find(|&width| width >= least).unwrap_or_else(wide);
        let mut columns: BTreeMap<u64, Interval> = BTreeMap::new();
        for interval in intervals {
            let first = interval.tenth() / width * width;
            if let Some(column) = columns.get_mut(&first) {
                add_measured(column, interval);
                column.seconds += interval.seconds;
                (column.alive, column.in_flight) = (interval.alive, interval.in_flight);
            } else {
                let (second, from_s) = (first / SECOND, to_f64(first) / to_f64(SECOND));
                columns.insert(first, Interval { second, from_s, ..interval.clone() });
            }
        }
        Self { width, columns: columns.into_values().collect() }
    }

    /// How many seconds a column has.
    pub(super) fn width(&self) -> f64 {
        to_f64(self.width) / to_f64(SECOND)
    }

    /// From when to when a column goes.
    pub(super) fn ends(&self, column: &Interval) -> (f64, f64) {
        let next = column.tenth().saturating_add(self.width);
        (column.from_s, to_f64(next) / to_f64(SECOND))
    }

    /// Whether nothing lies between a column and the one behind it.
    pub(super) fn touch(&self, column: &Interval, next: &Interval) -> bool {
        next.tenth() <= column.tenth().saturating_add(self.width)
    }

    /// When the last one ends.
    pub(super) fn end(&self) -> f64 {
        self.columns.last().map_or(1.0, |column| self.ends(column).1)
    }

    /// Whether most of them have too few messages for a 99th percentile.
    pub(super) fn are_sparse(&self) -> bool {
        let answered = || self.columns.iter().filter(|column| column.max_us.is_some());
        let sparse = answered().filter(|column| column.p99_us.is_none()).count();
        2 * sparse > answered().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples;

    fn second(second: u64) -> Interval {
        let from_s = to_f64(second);
        Interval { second, from_s, messages: 1, alive: second, ..samples::second() }
    }

    fn columns(seconds: impl IntoIterator<Item = u64>) -> Columns {
        Columns::of(&seconds.into_iter().map(second).collect::<Vec<_>>())
    }

    #[track_caller]
    fn expect(columns: &Columns, width: f64, count: usize) {
        assert!((columns.width() - width).abs() < 1e-9, "{}", columns.width());
        assert_eq!(columns.columns.len(), count);
    }

    #[test]
    fn a_run_has_a_column_for_each_second_and_a_long_one_for_several() {
        for (seconds, width, count) in [
            (0, 1.0, 0),
            (1, 1.0, 1),
            (120, 1.0, 120),
            (121, 2.0, 61),
            (3600, 30.0, 120),
            (86_400, 1800.0, 48),
        ] {
            let columns = columns(0..seconds);
            expect(&columns, width, count);
            let messages: u64 = columns.columns.iter().map(|column| column.messages).sum();
            let measured: f64 = columns.columns.iter().map(|column| column.seconds).sum();
            assert!(messages == seconds && (measured - to_f64(seconds)).abs() < 1e-6);
        }
    }

    #[test]
    fn a_short_run_has_columns_finer_than_a_second() {
        let slice = |tenth: u64| Interval {
            second: tenth / 10,
            from_s: to_f64(tenth) / 10.0,
            seconds: 0.1,
            messages: 1,
            ..samples::second()
        };
        for (tenths, width, count) in
            [(12, 0.1, 12), (120, 0.1, 120), (121, 0.2, 61), (600, 0.5, 120)]
        {
            let mut results = samples::open(&[10], &[]);
            results.slices = (0..tenths).map(slice).collect();
            let columns = Columns::finest(&results);
            expect(&columns, width, count);
            assert!((columns.end() - (to_f64(tenths) / 10.0 / width).ceil() * width).abs() < 1e-9);
            let (one, two) = (&columns.columns[3], &columns.columns[4]);
            assert!(columns.touch(one, two) && !columns.touch(one, &columns.columns[5]));
        }
        let results = samples::open(&[10], &[]);
        expect(&Columns::finest(&results), 1.0, 2);
    }

    #[test]
    fn a_column_ends_as_its_last_second_does() {
        let columns = columns(0..=120);
        assert_eq!((columns.columns[0].second, columns.columns[0].alive), (0, 1));
        assert_eq!((columns.columns[60].second, columns.columns[60].alive), (120, 120));
        assert!((columns.end() - 122.0).abs() < 1e-9);
    }

    #[test]
    fn seconds_that_no_run_has_make_no_more_columns() {
        assert_eq!(columns([3, u64::MAX]).columns.len(), 2);
        let odd = Interval { from_s: f64::MAX, ..second(3) };
        assert_eq!(odd.tenth(), 39);
    }
}
