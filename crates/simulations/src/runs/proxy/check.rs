//! What must hold when the run of a proxy has come to its end.

use edgeloop::sim::Fault;
use edgeloop::sim::internals::{Heard, Parting, Stage, Talker, World};
use edgeloop::{Closed, Metrics, Reason};

use super::handler::Proxy;
use super::session::{End, Pair};

/// Nothing leaks, the counts are right, and every pair was served.
pub(super) fn check_run(
    world: &mut World,
    proxy: &Proxy,
    metrics: &Metrics,
    in_full: bool,
) -> Result<(), String> {
    let (open, _) = world.files.counts();
    let held = (metrics.connections, metrics.output_held, metrics.input_held);
    if open > 0 || held != (0, 0, 0) {
        return Err(format!(
            "{open} descriptors are open, and connections, output and input are held: {held:?}"
        ));
    }
    let ends: Vec<_> = proxy.pairs.iter().flat_map(|pair| pair.closed.iter().flatten()).collect();
    let dropped = ends.iter().map(|end| end.0.dropped).sum();
    let accepted = world.wires.iter().map(|wire| wire.link.accepted(OURS)).sum();
    let taken = world.wires.iter().map(|wire| wire.taken).sum();
    let counts = [
        ("sessions closed", ends.len() as u64, proxy.sessions),
        ("turns", metrics.turns, world.vigil.tally.waits),
        ("closed connections", metrics.closed, proxy.sessions),
        ("bytes received", metrics.bytes_in + metrics.bytes_discarded, taken),
        ("bytes sent", metrics.bytes_out, accepted),
        ("bytes dropped", metrics.bytes_dropped, dropped),
        ("accepted connections", metrics.accepted, proxy.accepted + metrics.registrations_failed),
        ("connections made", metrics.connected, proxy.connected),
    ];
    for (what, counted, known) in counts {
        if counted != known {
            return Err(format!("it counted {counted} {what}, and there were {known}"));
        }
    }
    for pair in &proxy.pairs {
        check_pair(world, pair, in_full)
            .map_err(|what| format!("{what}: {pair:?}, {}", shown(world, pair)))?;
    }
    Ok(())
}

const OURS: edgeloop::sim::internals::Side = edgeloop::sim::internals::Side::Ours;

fn shown(world: &World, pair: &Pair) -> String {
    let peers = End::BOTH.map(|end| talker(world, pair, end));
    format!("{peers:?}")
}

fn wire(pair: &Pair, end: End) -> Option<usize> {
    pair.closed[end as usize].as_ref().map(|closed| closed.1)
}

fn talker<'a>(world: &'a World, pair: &Pair, end: End) -> Option<&'a Talker> {
    world.peer_at(wire(pair, end)?).talker()
}

fn check_pair(world: &World, pair: &Pair, in_full: bool) -> Result<(), String> {
    for from in End::BOTH {
        let to = from.other();
        let Some((source, target)) = wire(pair, from).zip(wire(pair, to)) else { continue };
        let closed = |end: End| pair.closed[end as usize].as_ref().map(|closed| &closed.0);
        let Some((read, sent)) = closed(from).zip(closed(to)) else { continue };
        account(world, (read, source), (sent, target))?;
    }
    let Some((client, server)) =
        talker(world, pair, End::Client).zip(talker(world, pair, End::Server))
    else {
        return Ok(());
    };
    for (one, other, to) in [(client, server, End::Server), (server, client, End::Client)] {
        if !one.says(&other.received) {
            return Err("it has heard what was not said".to_owned());
        }
        let whole = one.ended && other.received.len() as u64 == one.sent;
        // Whoever says nothing more is ended for being idle.
        let quiet = one.parting == Parting::Vanishes;
        if other.heard == Some(Heard::End) && !whole && !quiet && !ended_by_us(world, pair, to) {
            return Err("its stream ended early".to_owned());
        }
    }
    let places = End::BOTH.map(|end| wire(pair, end).map(|wire| &world.peer_at(wire).place));
    let excused = pair.struck || places.iter().flatten().any(|place| place.excused);
    if excused || !in_full || !client.is_honest() || !server.is_honest() {
        return Ok(());
    }
    let at_ends = places.iter().flatten().all(|it| it.stage == Stage::Gone { at_the_end: true });
    let all =
        client.received.len() as u64 == server.sent && server.received.len() as u64 == client.sent;
    let finished = |closed: &(Closed, usize)| closed.0.reason == Reason::Finished;
    if !at_ends || !all || !pair.closed.iter().flatten().all(finished) {
        return Err("it did not end in order".to_owned());
    }
    Ok(())
}

/// Every byte that was read went to the other one, or is told.
fn account(
    world: &World,
    (read, source): (&Closed, usize),
    (sent, target): (&Closed, usize),
) -> Result<(), String> {
    let (taken, accepted) = (world.wires[source].taken, world.wires[target].link.accepted(OURS));
    if taken != read.relayed + read.discarded || read.relayed != accepted + sent.dropped {
        return Err(format!(
            "{taken} bytes were read of {read:?}, {accepted} accepted of {sent:?}"
        ));
    }
    Ok(())
}

fn reason(pair: &Pair, end: End) -> Option<Reason> {
    pair.closed[end as usize].as_ref().map(|closed| closed.0.reason)
}

/// Whether the stream to this end was ended though nothing was broken, or though a reset was meant.
fn ended_by_us(world: &World, pair: &Pair, end: End) -> bool {
    let is_ours =
        |it| matches!(it, Some(Reason::IdleTimeout | Reason::DrainQuiet | Reason::Closed));
    // One that is closed for being idle or quiet, and breaks while it lingers, has failed.
    let lingered = |end: End| {
        let failed = matches!(reason(pair, end), Some(Reason::Failed | Reason::Exhausted));
        failed && wire(pair, end).is_some_and(|wire| world.wires[wire].shut.is_some())
    };
    let linger_failed = world.faults.injected.iter().any(Fault::is_of_an_option);
    let is_ours = |end| is_ours(reason(pair, end)) || lingered(end);
    pair.struck || linger_failed || is_ours(end) || is_ours(end.other())
}
