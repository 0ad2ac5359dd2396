//! The seconds of a run in as many columns as a page has room for.

use std::collections::BTreeMap;

use super::merge::add_measured;
use crate::bench::results::Interval;

/// The most columns: on a phone each is two or three dots wide.
const MOST: u64 = 120;

/// How many seconds a column may have.
const WIDTHS: [u64; 10] = [1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600];

/// The seconds of a run, gathered into columns.
pub(super) struct Columns {
    /// How many seconds each of them has.
    pub(super) width: u64,
    /// With the number of its first second. Those in which nothing was told of are left out.
    pub(super) columns: Vec<Interval>,
}

impl Columns {
    pub(super) fn of(intervals: &[Interval]) -> Self {
        let last = intervals.iter().map(|interval| interval.second).max().unwrap_or(0);
        let least = (last / MOST).saturating_add(1);
        let wide = || least.div_ceil(3600).saturating_mul(3600);
        let width = WIDTHS.into_iter().find(|&width| width >= least).unwrap_or_else(wide);
        let mut columns: BTreeMap<u64, Interval> = BTreeMap::new();
        for interval in intervals {
            let first = interval.second / width * width;
            if let Some(column) = columns.get_mut(&first) {
                add_measured(column, interval);
                (column.alive, column.in_flight) = (interval.alive, interval.in_flight);
            } else {
                columns.insert(first, Interval { second: first, ..interval.clone() });
            }
        }
        Self { width, columns: columns.into_values().collect() }
    }

    /// The second behind the last.
    pub(super) fn end(&self) -> u64 {
        self.columns.last().map_or(1, |column| column.second.saturating_add(self.width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn columns(seconds: impl IntoIterator<Item = u64>) -> Columns {
        let interval =
            |second| Interval { second, messages: 1, alive: second, ..samples::second() };
        Columns::of(&seconds.into_iter().map(interval).collect::<Vec<_>>())
    }

    #[test]
    fn a_short_run_has_a_column_for_each_second_and_a_long_one_for_several() {
        for (seconds, width, count) in
            [(0, 1, 0), (1, 1, 1), (120, 1, 120), (121, 2, 61), (3600, 30, 120), (86_400, 1800, 48)]
        {
            let columns = columns(0..seconds);
            assert_eq!((columns.width, columns.columns.len()), (width, count), "{seconds}");
            let messages: u64 = columns.columns.iter().map(|column| column.messages).sum();
            assert_eq!(messages, seconds);
        }
    }

    #[test]
    fn a_column_ends_as_its_last_second_does() {
        let columns = columns(0..=120);
        assert_eq!((columns.columns[0].second, columns.columns[0].alive), (0, 1));
        assert_eq!((columns.columns[60].second, columns.columns[60].alive), (120, 120));
        assert_eq!(columns.end(), 122);
    }

    #[test]
    fn seconds_that_no_run_has_make_no_more_columns() {
        let columns = columns([3, u64::MAX]);
        assert_eq!(columns.columns.len(), 2);
        assert_eq!(columns.end(), u64::MAX);
    }
}
