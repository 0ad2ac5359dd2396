//! Servers measured one after the other, each alone with the client: for what two of them on one core
//! would spoil.
//!
//! The processor's speed drifts meanwhile. So there are rounds, in each of which every server has its
//! turn, and ratios are taken within a round.

use std::io;

use crate::interrupt;
use crate::servers::Contestant;
use crate::statistics::Estimate;

/// What each server has come to in each round.
pub(crate) type Rounds<T> = Vec<(Contestant, Vec<T>)>;

/// Measures every server in every round; the order is reversed each time. Calls `tick` after each.
///
/// # Errors
///
/// The first that a measurement has, with the server's name.
pub(crate) fn measure<T>(
    servers: &[Contestant],
    rounds: u32,
    mut one: impl FnMut(&Contestant) -> io::Result<T>,
    tick: &mut dyn FnMut(&str),
) -> io::Result<Rounds<T>> {
    let mut all: Rounds<T> = servers.iter().map(|server| (*server, Vec::new())).collect();
    for round in 0..rounds {
        let mut order: Vec<_> = (0..all.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            interrupt::check()?;
            let (server, taken) = &mut all[index];
            let name = server.name();
            let measured = one(server)
                .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
            taken.push(measured);
            tick(name);
        }
    }
    Ok(all)
}

/// The median of a figure over the rounds.
pub(crate) fn estimate<T>(rounds: &[T], figure: impl Fn(&T) -> f64) -> Option<Estimate> {
    Estimate::of(&rounds.iter().map(figure).collect::<Vec<_>>())
}

/// The median of the ratios of a figure, each within a round.
pub(crate) fn ratio<T>(of: &[T], against: &[T], figure: impl Fn(&T) -> f64) -> Option<Estimate> {
    let ratios = of.iter().zip(against).map(|(of, against)| figure(of) / figure(against));
    Estimate::of(&ratios.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers;

    #[test]
    fn every_server_has_a_turn_in_every_round_and_the_order_is_reversed() {
        let servers =
            [servers::BARE, servers::EDGELOOP].map(|name| servers::find(name).expect("one"));
        let mut seen = Vec::new();
        let mut ticks = 0;
        let measured = measure(
            &servers,
            3,
            |server| {
                seen.push(server.name());
                Ok(seen.len())
            },
            &mut |_| ticks += 1,
        );
        let measured = measured.expect("nothing fails");
        assert_eq!(seen, ["bare", "edgeloop", "edgeloop", "bare", "bare", "edgeloop"]);
        assert_eq!(measured[0].1, [1, 4, 5]);
        assert_eq!(measured[1].1, [2, 3, 6]);
        assert_eq!(ticks, 6);
    }

    #[test]
    fn what_fails_is_named() {
        let servers = [servers::find(servers::BARE).expect("one")];
        let failed = measure::<()>(&servers, 1, |_| Err(io::Error::other("why")), &mut |_| ());
        assert_eq!(failed.expect_err("it fails").to_string(), "bare: why");
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let (of, against) = ([2.0; 6], [1.0, 2.0, 4.0, 1.0, 2.0, 4.0]);
        assert_eq!(ratio(&of, &against, |figure| *figure).map(|all| all.median), Some(1.0));
        assert_eq!(ratio(&of[..5], &against[..5], |figure| *figure), None, "too few");
        assert_eq!(estimate(&against, |figure| *figure).map(|all| all.high), Some(4.0));
    }
}
