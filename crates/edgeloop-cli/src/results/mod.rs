//! What runs have come to: the data that is written as JSON (docs/BENCH.md) and read again, and the
//! figures that are made of it.
//!
//! `bench` makes results, and `report` reads them. Everything that is shown of a run is made from
//! them, so that no two figures can differ. Nothing in here knows how a run is made.

// The lowest first.
mod units;
mod lines;
mod lists;
pub(crate) mod show;
mod times;
pub(crate) mod histogram;
mod quantiles;
mod datagrams;
mod interval;
mod outages;
mod series;
mod steps;
mod search;
mod repeats;
mod run;
pub(crate) mod compare;
#[cfg(test)]
pub(crate) mod samples;

pub(crate) use datagrams::Datagrams;
pub(crate) use interval::{BANDS, Interval};
pub(crate) use outages::Outage;
pub(crate) use quantiles::Quantiles;
pub(crate) use repeats::{FIGURES, Table, shown, spreads};
pub(crate) use run::{
    Cost, Ends, FAILED, Generator, Late, Machine, Options, Results, SCHEMA, Verify, Warmup,
};
pub(crate) use search::{Ended, Found, Step};
pub(crate) use series::Series;
pub(crate) use steps::{MOST_STEPS, StepResults};
pub(crate) use times::{Estimate, LONGEST, QUANTILES, Times, needed};
pub(crate) use units::{micros, nanos, to_f64};
