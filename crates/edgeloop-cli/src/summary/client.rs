//! What the load generator says of itself.

use std::fmt::Write;

use crate::results::{Generator, show};

/// What this client did that figures with a mark may come from.
pub(crate) fn marks(generator: &Generator) -> Option<String> {
    if generator.marked.is_empty() {
        return None;
    }
    let (stall, wait) = (generator.stall_us.unwrap_or(0.0), generator.waited_us.unwrap_or(0.0));
    let causes = [
        ("it was stopped for up to", stall),
        ("it waited for a processor for up to", wait),
        ("it sent messages late by up to", generator.lag_us),
    ];
    // What is shorter than a tenth of the longest has no part in it.
    let longest = causes.iter().map(|cause| cause.1).fold(0.0, f64::max);
    let causes = causes.iter().filter(|cause| cause.1 > 0.0 && cause.1 >= longest / 10.0);
    let causes: Vec<_> =
        causes.map(|(what, micros)| format!("{what} {}", show::time(*micros))).collect();
    Some(causes.join(", "))
}

/// That this client was the limit of a closed loop, if it was.
pub(crate) fn bottleneck(generator: &Generator) -> Option<String> {
    if !generator.is_bottleneck {
        return None;
    }
    let percent = |share: Option<f64>| format!("{:.0} %", share.unwrap_or(0.0) * 100.0);
    Some(if generator.busy > Some(Generator::BUSY) {
        format!(
            "this client was the limit, not the service: one of its threads was busy for {} of the \
             time; use more threads (-t) or machines",
            percent(generator.busy)
        )
    } else {
        format!(
            "this client waited for a processor for {} of the time, so the service may be faster than \
             this; use a machine with free processors",
            percent(generator.waited)
        )
    })
}

/// That this machine itself has dropped answers, if it has.
pub(crate) fn drops(generator: &Generator) -> Option<String> {
    let drops = generator.receive_drops.filter(|&drops| drops > 0)?;
    Some(format!(
        "{} dropped by this machine's own receive buffers, in the whole run: they look like losses \
         of the service; use more sockets (-c), or raise net.core.rmem_default",
        show::counted(drops, "datagram")
    ))
}

/// What the client saw of itself, in a line.
pub(super) fn line(generator: &Generator) -> String {
    let share = |share: Option<f64>| {
        share.map_or_else(|| "unknown".to_owned(), |share| format!("{:.0} %", share * 100.0))
    };
    let time = |time: Option<f64>| time.map_or_else(|| "unknown".to_owned(), show::time);
    let mut text = format!(
        "busiest thread {} busy, waited for a processor {} of the time; longest stop {}, longest wait {}",
        share(generator.busy),
        share(generator.waited),
        time(generator.stall_us),
        time(generator.waited_us)
    );
    if generator.sends > 0 {
        let _ = write!(
            text,
            "; {} of {} over 1 ms late, the latest by {}",
            show::count(generator.missed),
            show::counted(generator.sends, "send"),
            show::time(generator.lag_us)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples::results;

    #[test]
    fn a_client_that_was_the_limit_says_so() {
        let mut generator = results().generator;
        assert_eq!(bottleneck(&generator), None);
        generator.is_bottleneck = true;
        (generator.busy, generator.waited) = (Some(0.97), Some(0.02));
        let said = bottleneck(&generator).expect("it was");
        assert!(said.contains("was busy for 97 % of the time; use more threads"), "{said}");
        (generator.busy, generator.waited) = (Some(0.5), Some(0.18));
        let said = bottleneck(&generator).expect("it was");
        assert!(said.contains("waited for a processor for 18 % of the time, so"), "{said}");
    }

    #[test]
    fn causes_of_a_mark_are_those_that_are_as_long_as_the_longest() {
        let mut generator = results().generator;
        assert_eq!(marks(&generator), None);
        generator.marked = vec!["max".to_owned()];
        (generator.stall_us, generator.waited_us, generator.lag_us) = (None, Some(900.0), 10_000.0);
        assert_eq!(marks(&generator).as_deref(), Some("it sent messages late by up to 10.0 ms"));
        generator.waited_us = Some(1000.0);
        let said = marks(&generator).expect("a mark");
        assert!(said.starts_with("it waited for a processor for up to 1.00 ms, it sent"), "{said}");
    }
}
