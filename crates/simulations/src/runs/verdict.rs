//! What must hold when a run has come to its end.

use std::time::Duration;

use edgeloop::sim::Fault;
use edgeloop::sim::internals::{Kind, LITTLE, Peer, Role, SLACK, Side, Stage, World};
use edgeloop::{Closed, Metrics, Reason, Stop, Time};

use crate::runs::datagrams::check_datagrams;
use crate::runs::echo::Echo;
use crate::runs::echo::session::{End, Notices};
use crate::runs::ends::{DRAIN, Ends};
use crate::runs::unix::check_files;

/// Nothing leaks, the end came in time, and every byte is accounted for.
pub(crate) fn check_run(
    world: &mut World,
    opened: usize,
    echo: &Echo,
    metrics: &Metrics,
    how: Ends,
) -> Result<(), String> {
    let ends = &echo.ends;
    let (open, _) = world.files.counts();
    if open > 0 {
        return Err(format!("{open} descriptors are still open"));
    }
    if opened != ends.len() {
        return Err(format!("{opened} sessions were made and {} were closed", ends.len()));
    }
    check_files(world)?;
    check_counts(world, echo, metrics)?;
    let held = (metrics.connections, metrics.output_held, metrics.input_held);
    if held != (0, 0, 0) {
        return Err(format!("connections, output and input that are still held: {held:?}"));
    }
    let stopped = world.stopped.take();
    let deadline = match (stopped, how.early) {
        (Some(_), Some((_, Stop::Drain(Some(after))))) => after.min(DRAIN),
        (Some(_), Some((_, Stop::Now))) => Duration::ZERO,
        _ => DRAIN,
    };
    let drained = stopped.or(world.ended_at).map_or(Duration::ZERO, |at| world.over_at.since(at));
    let held_up = stopped.or(world.ended_at).map_or(Duration::ZERO, |at| world.holds.since(at));
    if drained > deadline + SLACK + held_up {
        return Err(format!("the drain took {drained:?} and not {deadline:?}"));
    }
    let in_full = stopped.is_none() || (how.serves_on() && held_up <= LITTLE);
    check_datagrams(world, metrics, in_full)?;
    check_streams(world, ends)?;
    check_peers(world, ends, stopped.is_some(), in_full)?;
    // What was stopped for a while may take its time to find out who is quiet.
    check_reasons(world, ends, in_full && held_up.is_zero())
}

/// What the loop has counted is what was done, and what an operator must know was told as often.
fn check_counts(world: &World, echo: &Echo, metrics: &Metrics) -> Result<(), String> {
    let seen = &echo.seen;
    let turned_away = seen.turned_away.len() as u64;
    let ends = |reason| echo.ends.iter().filter(|end| end.closed.reason == reason).count() as u64;
    let dropped: u64 = echo.ends.iter().map(|end| end.closed.dropped).sum();
    let accepted: u64 = world.wires.iter().map(|wire| wire.link.accepted(Side::Ours)).sum();
    let taken = world.wires.iter().map(|wire| wire.taken).sum();
    let lacked = world.faults.injected.iter().filter(|fault| fault.is_want_of_memory()).count();
    let acceptor = &world.acceptor;
    let never_seen = metrics.registrations_failed - acceptor.unregistered + world.lack_options;
    let adopted = seen.adopted + acceptor.direct - acceptor.refused;
    let refused = metrics.adoptions_refused + acceptor.refused;
    let counts = [
        ("turns", metrics.turns, world.vigil.tally.waits),
        ("closed connections", metrics.closed, echo.ends.len() as u64 + turned_away),
        ("bytes received", metrics.bytes_in + metrics.bytes_discarded, taken),
        ("bytes sent", metrics.bytes_out, accepted),
        ("accepted connections", metrics.accepted, seen.accepted + never_seen),
        ("connections made", metrics.connected, seen.connected),
        ("adopted connections", metrics.adopted, adopted),
        ("adoptions", metrics.adopted + refused, acceptor.taken),
        ("retries", metrics.retries + ends(Reason::Exhausted), lacked as u64),
    ];
    for (what, counted, known) in counts {
        if counted != known {
            return Err(format!("it counted {counted} {what}, and there were {known}"));
        }
    }
    // Some of those that were cut off may never have got a session.
    let cut_off = ends(Reason::CutOff);
    if !(cut_off..=cut_off + turned_away).contains(&metrics.cut_off) {
        return Err(format!("it counted {} cut off, and there were {cut_off}", metrics.cut_off));
    }
    if seen.drains > 1 {
        return Err(format!("it was told {} times that it drains", seen.drains));
    }
    if world.ended_at.is_some() && seen.notified != 1 {
        return Err(format!("it was notified {} times", seen.notified));
    }
    // One whose closed callback panicked is there for a moment longer: what is done to it then is
    // done to a connection that has not gone.
    if metrics.panics > 0 {
        return check_notices(echo, metrics);
    }
    if metrics.bytes_dropped != dropped {
        let counted = metrics.bytes_dropped;
        return Err(format!("it counted {counted} bytes dropped, and told of {dropped}"));
    }
    // A letter that is refused ends its connection.
    let refused = seen.refused + ends(Reason::OutputLimit);
    // What a relay is refused ends its connection, too.
    let of_relays = |end: &&End| end.session.relayed && end.closed.reason == Reason::Reset;
    let of_relays = echo.ends.iter().filter(of_relays).count() as u64;
    if !(refused..=refused + of_relays).contains(&metrics.refused) {
        return Err(format!("it counted {} refusals of {refused}", metrics.refused));
    }
    if metrics.stale < seen.stale {
        return Err(format!("{} acts on the gone were counted of {}", metrics.stale, seen.stale));
    }
    check_notices(echo, metrics)
}

fn check_notices(echo: &Echo, metrics: &Metrics) -> Result<(), String> {
    let notices = echo.notices;
    let counted = Notices {
        accept_pauses: metrics.accept_pauses,
        cap_reached: metrics.cap_reached,
        registrations_failed: metrics.registrations_failed,
        memory_pauses: metrics.memory_pauses,
        memory_refusals: metrics.memory_refusals,
        panics: metrics.panics - echo.seen.untold,
    };
    if notices == counted {
        return Ok(());
    }
    Err(format!("it told {notices:?} and counted {counted:?}"))
}

/// A loop that can't go on says so, and leaves nothing open.
pub(crate) fn check_failure(world: &World, what: &str) -> Result<(), String> {
    let says = ["cannot accept on ", "cannot wait for events", "cannot set the loop's timer"];
    if !says.iter().any(|beginning| what.starts_with(beginning)) {
        return Err(format!("it failed with: {what}"));
    }
    match world.files.counts() {
        (0, _) => Ok(()),
        (open, _) => Err(format!("{open} descriptors are still open after: {what}")),
    }
}

/// What the kernel accepted and what was dropped is all that was sent.
fn check_streams(world: &mut World, ends: &[End]) -> Result<(), String> {
    for End { session, closed } in ends {
        let accepted = world.wires[session.wire].link.accepted(Side::Ours);
        let peer = world.peer_of(session.wire);
        let excused = peer.place.excused;
        let peer = peer.client();
        let (sent, pushed) = (accepted + closed.dropped, session.offered + peer.pushed);
        // Mail may come when nobody is there any more.
        let in_vain = peer.kind == Kind::Subscriber && sent < pushed;
        let in_vain = in_vain && (excused || closed.reason != Reason::Finished);
        if !(pushed..=pushed + peer.doubtful).contains(&sent) && !in_vain {
            return Err(format!("the kernel accepted {accepted} bytes of {session:?}, {closed:?}"));
        }
    }
    Ok(())
}

/// Who is owed all has got all.
fn check_peers(
    world: &mut World,
    ends: &[End],
    stopped: bool,
    in_full: bool,
) -> Result<(), String> {
    let accepted: Vec<u64> =
        world.wires.iter().map(|wire| wire.link.accepted(Side::Ours)).collect();
    for Peer { place, role } in &mut world.peers {
        let Role::Client(client) = role else { continue };
        let end = ends.iter().find(|end| Some(end.session.wire) == place.link);
        if let Some(End { session, closed }) = end {
            let owed = session.echoed + client.pushed;
            let all = client.received == owed || !client.is_owed_all(place);
            // Mail may come for a connection that the loop has ended. What was sent before arrives.
            let ended_by_us = matches!(closed.reason, Reason::IdleTimeout | Reason::DrainQuiet);
            let in_vain = client.kind == Kind::Subscriber && ended_by_us;
            let all = all || (in_vain && client.received == accepted[session.wire]);
            // Whoever was cut off knows that by a reset.
            if !all && (in_full || is_orderly(closed)) {
                return Err(format!("{session:?}, {closed:?}, but {client:?}"));
            }
        }
        // One that the loop could not register never got a session. Whoever had not connected when
        // the listener closed was refused.
        let refused = stopped && (place.stage == Stage::Unborn || end.is_none());
        let left = refused || place.stage == (Stage::Gone { at_the_end: true });
        if client.is_owed_all(place) && !left && in_full {
            return Err(format!("it has not come to its end: {place:?}, {client:?}; {ends:?}"));
        }
    }
    Ok(())
}

/// The reasons of the ends are what the peers brought about.
fn check_reasons(world: &mut World, ends: &[End], in_full: bool) -> Result<(), String> {
    let linger_failed = world.faults.injected.iter().any(Fault::is_of_an_option);
    for End { session, closed } in ends {
        // A connection that is given up leaves nothing in the kernel (C3).
        let given_up = matches!(
            closed.reason,
            Reason::WriteTimeout
                | Reason::CutOff
                | Reason::OutputLimit
                | Reason::OutputShare
                | Reason::Reset
                | Reason::Exhausted
                | Reason::Panicked
        );
        // A Unix socket can't be reset. One that waits for room in a backlog is known by the
        // address that was tried before it.
        let wire = &world.wires[session.wire];
        let was_made = session.others == 0 || session.heard > Time::ZERO;
        let resets = !wire.link.is_unix() && was_made && !linger_failed;
        if given_up && !wire.aborted && resets {
            return Err(format!("it was closed without a reset: {session:?}, {closed:?}"));
        }
        let peer = world.peer_of(session.wire);
        let (kind, excused) = (peer.client().kind, peer.place.excused);
        if closed.reason == Reason::Closed && !excused && !peer.client().may_be_left {
            return Err(format!("nobody had closed it: {session:?}, {closed:?}, {kind:?}"));
        }
        // There was no time to find out whether it is quiet.
        let late = session.heard.after(LITTLE) > world.over_at;
        let meant: &[Kind] = match closed.reason {
            _ if excused => continue,
            Reason::CutOff if late => continue,
            // Who reads nothing, and is not read from for that, may never come to its end.
            Reason::CutOff if in_full => &[Kind::Vanishing, Kind::Deaf, Kind::Lazy],
            // Whoever takes little is given up for the others when memory is short (C11).
            Reason::OutputShare => &[Kind::Vanishing, Kind::Deaf, Kind::Lazy],
            // The silent ones end by the idle timeout.
            _ if !is_orderly(closed) && in_full => {
                &[Kind::Vanishing, Kind::Resetting, Kind::Deaf, Kind::Silent]
            }
            _ => continue,
        };
        if !meant.contains(&kind) {
            return Err(format!("it did not end in order: {session:?}, {closed:?}, {kind:?}"));
        }
    }
    Ok(())
}

/// Whether it ended by neither a failure nor force, and nothing that was sent was dropped. The peer
/// may not have ended its stream.
fn is_orderly(closed: &Closed) -> bool {
    let orderly = [Reason::Finished, Reason::Closed, Reason::IdleTimeout, Reason::DrainQuiet];
    closed.dropped == 0 && orderly.contains(&closed.reason)
}
