//! What the load generator did to the figures itself.

use super::monitor::Watched;
use super::plan::{Load, Plan};
use super::record::{Lags, Lateness};
use crate::results::{Generator, QUANTILES, Times, micros, to_f64};

/// A thread that waits for a processor for more than this share of a closed loop is its limit, too.
const WAITED: f64 = 0.1;

impl Generator {
    pub(crate) fn of(
        plan: &Plan,
        latency: &Times,
        lateness: &Lateness,
        watched: Option<&Watched>,
    ) -> Self {
        let is_closed = matches!(plan.load, Load::Closed);
        let (busy, waited) = (watched.and_then(|it| it.busy), watched.and_then(|it| it.waited));
        let limits = |share: Option<f64>, bound| share.is_some_and(|share| share > bound);
        let mut lags = lateness.lags.clone();
        if let Some(watched) = watched {
            // In the closed loop each lag fell on all that was in flight; with a schedule the sends
            // that it delayed are counted, and it fell on one that was awaited, too.
            let each = if is_closed { plan.active.saturating_mul(plan.pipeline) as u64 } else { 1 };
            lags.add_times(&watched.lags, each);
        }
        Self {
            sends: lateness.sends,
            missed: lateness.missed,
            lag_us: micros(lateness.lag),
            stall_us: watched.map(|it| micros(it.stall)),
            waited_us: watched.map(|it| micros(it.wait)),
            busy,
            waited,
            receive_drops: None,
            is_bottleneck: is_closed && (limits(busy, Self::BUSY) || limits(waited, WAITED)),
            marked: marked(latency, &lags),
        }
    }
}

/// The figures that may come from lags: of at least half their length, on as many messages as lie
/// beyond them.
fn marked(latency: &Times, lags: &Lags) -> Vec<String> {
    let is_marked = |nanos: u64, beyond: f64| to_f64(lags.as_long_as(nanos / 2)) >= beyond.max(1.0);
    let beyond = |quantile: f64| (1.0 - quantile) * to_f64(latency.samples());
    let quantiles = QUANTILES.into_iter().filter(|&(quantile, _)| {
        let figure = latency.quantile(quantile);
        figure.is_some_and(|figure| is_marked(figure.nanos, beyond(quantile)))
    });
    let max = latency.max().filter(|max| is_marked(max.nanos, 1.0)).map(|_| "max");
    quantiles.map(|(_, name)| name).chain(max).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_lags_have_made_are_marked_and_no_others() {
        // 1,000 a second for 10 s; the sender is stopped for 60 ms.
        let (mut latency, mut lateness) = (Times::default(), Lateness::default());
        for message in 0..10_000_u64 {
            let lag = 60_u64.saturating_sub(message) * 1_000_000;
            latency.record(lag + 100_000);
            lateness.sent(lag, 1);
        }
        let marks = marked(&latency, &lateness.lags);
        assert_eq!(marks, ["p99_9", "p99_99", "max"]);
        assert!(marked(&latency, &Lags::default()).is_empty());
    }
}
