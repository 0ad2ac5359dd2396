//! Runs of an echo server on the simulated kernel, with what must hold in each.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::peer::Stage;
use super::world::Tally;
use super::{Kind, SimulatedKernel, World};
use crate::closed::{Closed, Reason};
use crate::config::Config;
use crate::event_loop::EventLoop;
use crate::handler::{Action, Context, Handler, Origin, Stop};
use crate::input::Input;

/// Echoes, and counts what is opened and closed.
#[derive(Debug, Default)]
struct Echo {
    opened: usize,
    ends: Vec<Closed>,
}

impl Handler for Echo {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        self.opened += 1;
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
        cx.send(input.take_all()).or_reset()
    }

    fn closed(&mut self, _: &mut impl Context, _: (), closed: &Closed) {
        self.ends.push(closed.clone());
    }
}

/// What one run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) bytes: u64,
}

/// Runs one seed to its end.
///
/// # Errors
///
/// What was violated.
pub(crate) fn run(seed: u64) -> Result<Outcome, String> {
    let world = Rc::new(RefCell::new(World::new(seed, 0)));
    {
        let mut world = world.borrow_mut();
        let count = world.random.size(1, 12);
        let World { random, peers, .. } = &mut *world;
        peers.extend((0..count).map(|_| super::Peer::new(random)));
    }
    let config = settings(&mut world.borrow_mut());
    let mut server = EventLoop::with_kernel(Echo::default(), config, SimulatedKernel::new(&world))
        .map_err(|error| error.to_string())?;
    server.listen("127.0.0.1:3000").map_err(|error| error.to_string())?;
    let handle = server.handle();
    let drain = Stop::Drain(Some(Duration::from_secs(10)));
    world.borrow_mut().at_the_end = Some(Box::new(move || handle.stop(drain)));
    let ended = server.run();
    if let Some(violation) = world.borrow_mut().violation.take() {
        return Err(violation);
    }
    let metrics = ended.map_err(|error| error.to_string())?;
    let open = world.borrow().open_count();
    if open > 0 {
        return Err(format!("{open} descriptors are still open"));
    }
    let Echo { opened, ends } = server.handler();
    if *opened != ends.len() {
        return Err(format!("{opened} sessions were made and {} were closed", ends.len()));
    }
    check_peers(&world.borrow(), ends)?;
    Ok(Outcome { tally: world.borrow().tally, bytes: metrics.bytes_out })
}

/// Small buffers and small budgets, so that every limit is met.
fn settings(world: &mut World) -> Config {
    let random = &mut world.random;
    let high = random.size(1, 4000);
    Config::new()
        .event_batch(random.size(1, 8))
        .read_buffer(random.size(1, 3000))
        .budgets(random.size(1, 3000), random.size(1, 4), random.size(1, 16))
        .watermarks(high, random.size(0, high - 1))
}

/// Who is owed all has got all, and the reasons of the ends are what the peers brought about.
fn check_peers(world: &World, ends: &[Closed]) -> Result<(), String> {
    for peer in &world.peers {
        if peer.kind.is_owed_all() && peer.stage != (Stage::Gone { at_the_end: true }) {
            return Err(format!("it has not come to its end: {peer:?}; {ends:?}"));
        }
    }
    let kinds = |of: &[Kind]| world.peers.iter().filter(|peer| of.contains(&peer.kind)).count();
    let cut_off = ends.iter().filter(|closed| closed.reason == Reason::CutOff).count();
    if cut_off > kinds(&[Kind::Vanishing]) {
        return Err(format!("{cut_off} connections were cut off"));
    }
    let unclean = ends.iter().filter(|closed| !closed.is_clean()).count();
    if unclean > kinds(&[Kind::Vanishing, Kind::Resetting, Kind::Deaf]) {
        return Err(format!("{unclean} connections did not end in order: {ends:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `EDGELOOP_SEEDS=FROM..TO` chooses the seeds.
    fn seeds() -> std::ops::Range<u64> {
        let chosen = std::env::var("EDGELOOP_SEEDS").ok().and_then(|seeds| {
            let (from, to) = seeds.split_once("..")?;
            Some(from.parse().ok()?..to.parse().ok()?)
        });
        chosen.unwrap_or(0..300)
    }

    #[test]
    fn no_seed_loses_a_byte_or_leaks_or_stalls_or_spins() {
        let mut tally = Tally::default();
        for seed in seeds() {
            match run(seed) {
                Ok(outcome) => tally.add(outcome.tally),
                Err(violation) => panic!(
                    "seed {seed}: {violation}\nreplay with: EDGELOOP_SEEDS={seed}..{} cargo test \
                     -p edgeloop --lib no_seed_loses",
                    seed + 1
                ),
            }
        }
        println!("{tally:?}");
        assert!(tally.faults > 0 && tally.jumps > 0);
    }

    #[test]
    fn a_seed_always_runs_the_same_way() {
        for seed in [1, 2, 3] {
            assert_eq!(run(seed), run(seed));
        }
    }
}
