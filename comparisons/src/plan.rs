//! Which pairs a run is made of.

use peers::Transport;

use crate::pair::{ITSELF, Pair, Side};
use crate::servers::{self, BARE, Contestant, WITHOUT_TIMEOUT};
use crate::shapes::{self, SHAPES, Shape};
use crate::targets;

/// The pair of these names.
///
/// # Errors
///
/// One line, when a name is wrong or a server can't be compared so.
pub(crate) fn pair(of: &str, against: &str, shape: &str) -> Result<Pair, String> {
    let shape = shapes::find(shape)?;
    let of = servers::find(of)?;
    let is_itself = against == ITSELF;
    if is_itself && shape.idle == 0 {
        return Err(format!("{} has no idle connections that itself could do without", shape.name));
    }
    let against = if is_itself { of } else { servers::find(against)? };
    can_serve(&of, shape)?;
    can_serve(&against, shape)?;
    let of = Side { server: of, idle: true };
    Ok(Pair { of, against: Side { server: against, idle: !is_itself }, shape })
}

/// # Errors
///
/// Why the server can't take part in the shape.
pub(crate) fn can_serve(server: &Contestant, shape: &Shape) -> Result<(), String> {
    let (name, service) = (server.name(), shape.load.service());
    if let Some(reason) = server.left_out() {
        return Err(format!("{name} is left out here: {reason}"));
    }
    if server.serves(service, shape.transport) {
        Ok(())
    } else {
        let transport = shape.transport;
        Err(format!("{name} has no {service} over {transport}, which {} is made of", shape.name))
    }
}

/// With so many connections a run of everything leaves out who prints.
const MANY: [&str; 2] = ["small-5000", "idle-15000"];

/// All pairs: every server against the limit under every shape, and those that a target names.
/// With shapes or servers named, only those of these shapes and against these servers.
///
/// # Errors
///
/// One line, when a name is wrong or nothing is left.
pub(crate) fn all(only_shapes: &[String], only_against: &[String]) -> Result<Vec<Pair>, String> {
    for name in only_shapes {
        shapes::find(name)?;
    }
    for name in only_against.iter().filter(|name| *name != ITSELF) {
        servers::find(name)?;
    }
    let mut pairs: Vec<Pair> = Vec::new();
    for shape in SHAPES {
        let with_bare = servers::all().into_iter().filter(|server| {
            // What the timeout costs is a target's matter, and who spins shares no core.
            let is_left_out = [BARE, WITHOUT_TIMEOUT].contains(&server.name())
                || server.spins()
                || (server.prints() && MANY.contains(&shape.name));
            !is_left_out
        });
        let with_bare = with_bare.map(|server| (server.name(), BARE));
        let named = targets::RATIOS.iter().filter(|target| target.shapes.contains(&shape.name));
        let named = named.map(|target| (target.of, target.against));
        for (of, against) in with_bare.chain(named) {
            // What is left out here is said in the results, and can't be measured.
            let Ok(pair) = pair(of, against, shape.name) else { continue };
            let is_same = |other: &Pair| {
                (other.of.server.name(), other.against_name(), other.shape.name)
                    == (of, against, shape.name)
            };
            let is_wanted = (only_shapes.is_empty() || only_shapes.iter().any(|n| n == shape.name))
                && (only_against.is_empty() || only_against.iter().any(|n| n == against));
            if is_wanted && !pairs.iter().any(is_same) {
                pairs.push(pair);
            }
        }
    }
    if pairs.is_empty() { Err("no pair is left to measure".to_owned()) } else { Ok(pairs) }
}

/// All pairs over this transport.
///
/// # Errors
///
/// When there are none.
pub(crate) fn over(transport: Transport) -> Result<Vec<Pair>, String> {
    let shapes: Vec<_> = shapes::over(transport).map(|shape| shape.name.to_owned()).collect();
    all(&shapes, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_every_pair_once() {
        let pairs = all(&[], &[]).expect("pairs");
        let mut names: Vec<_> = pairs
            .iter()
            .map(|pair| (pair.shape.name, pair.of.server.name(), pair.against_name()))
            .collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn who_prints_for_seconds_is_left_out_by_a_name_that_there_is() {
        for name in servers::PRINTING {
            assert!(servers::find(name).is_ok(), "{name}");
        }
        for name in MANY {
            assert!(shapes::find(name).is_ok(), "{name}");
        }
        let pairs = all(&["small-5000".to_owned()], &[]).expect("pairs");
        assert!(pairs.iter().all(|pair| !pair.of.server.name().ends_with("printing")));
    }

    #[test]
    fn who_spins_shares_no_core() {
        for pair in all(&[], &[]).expect("pairs") {
            for side in [pair.of, pair.against] {
                assert!(!side.server.spins(), "{} in {}", side.server.name(), pair.shape.name);
            }
        }
    }

    #[test]
    fn what_is_named_narrows_it() {
        let shape = ["idle-15000".to_owned()];
        let pairs = all(&shape, &["itself".to_owned()]).expect("a pair");
        assert_eq!(pairs.len(), 1);
        assert!(pairs[0].of.idle && !pairs[0].against.idle);
        assert_eq!(pairs[0].of.server.name(), pairs[0].against.server.name());
        assert!(all(&["nonsense".to_owned()], &[]).is_err());
        assert!(all(&["small-1".to_owned()], &["itself".to_owned()]).is_err());
    }
}
