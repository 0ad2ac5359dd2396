//! The ceiling of queued output: those that take nothing keep nobody else waiting (C11).

use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;
use crate::api::config::MIN_BUFFER_LIMIT;
use crate::mailbox::Handle;
use crate::sim::world::Holds;

/// What the queues of all may hold.
const SHARE: usize = MIN_BUFFER_LIMIT / 4 * 3;

/// A run with the smallest ceiling, in which a socket takes 1,000 bytes of who does not read.
fn low_ceiling() -> Simulation {
    let config = Config::new().buffer_limit(MIN_BUFFER_LIMIT).write_timeout(None);
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config);
    // Some may never come to send all that they have to.
    simulation.at(600 * SECOND, |handle| handle.stop(Stop::Now))
}

/// A peer that has 8 KiB echoed and reads nothing of it, for as long as it is let.
fn deaf() -> Script {
    Script::new().may_end().send([b'd'; 8192]).wait(500 * SECOND)
}

/// Runs it with so many deaf peers. Returns when each peer whose name begins with "honest" was
/// done.
fn honest_ends(
    simulation: Simulation,
    deaf_peers: usize,
    probe: Probe,
) -> (Report<Probe>, Vec<Duration>) {
    let ends = Rc::new(RefCell::new(BTreeMap::new()));
    let sees = Rc::clone(&ends);
    let simulation = (0..deaf_peers).fold(simulation, |simulation, _| simulation.peer(deaf()));
    let simulation = simulation.trace(move |at, what| {
        if what.starts_with("honest") && what.contains("reads the end") {
            sees.borrow_mut().entry(what.to_owned()).or_insert(at);
        }
    });
    let report = run(simulation, probe);
    (report, ends.take().into_values().collect())
}

fn honest(after: Duration) -> Script {
    Script::new().connect_after(after).send("hello").expect("hello").finish().expect_end()
}

#[test]
fn c11_a_thousand_peers_that_never_read_keep_nobody_waiting() {
    let most = Rc::new(RefCell::new(0));
    let held = Rc::clone(&most);
    let mut open = Vec::new();
    let probe = Probe::new().data(move |cx, input| {
        if !open.contains(&cx.id()) {
            open.push(cx.id());
        }
        let sent = cx.send(input.take_all());
        let queued: usize = open.iter().map(|&id| cx.queued(id)).sum();
        let most = queued.max(*held.borrow());
        held.replace(most);
        sent.or_reset()
    });
    let simulation = (1..=5).fold(low_ceiling(), |simulation, number| {
        let name = format!("honest {number}");
        simulation.peer(honest(number * 10 * SECOND).name(name))
    });
    let (report, ends) = honest_ends(simulation, 1000, probe);
    let late = |(number, end): (u32, &Duration)| *end - number * 10 * SECOND;
    let late: Vec<_> = (1..).zip(&ends).map(late).collect();
    assert_eq!(late.len(), 5);
    assert!(late.iter().all(|&late| late < SECOND), "they were served after {late:?}");
    assert!(*most.borrow() <= SHARE, "{} bytes were queued", most.borrow());
    assert!(report.metrics.given_up > 900, "{} were given up", report.metrics.given_up);
    let given_up = |closed: &&Closed| closed.reason == Reason::OutputShare;
    let counted = report.handler.closed.iter().filter(given_up).count();
    assert_eq!(report.metrics.given_up, counted as u64);
}

#[test]
fn c11_below_the_ceiling_nobody_is_given_up() {
    let (report, _) =
        honest_ends(low_ceiling().peer(honest(SECOND).name("honest")), 4, Probe::new());
    assert_eq!(report.metrics.given_up, 0);
    assert_eq!(report.metrics.memory_pauses, 0);
}

#[test]
fn c11_at_the_ceiling_who_is_owed_nothing_is_sent_as_much_as_ever_fits() {
    // Half of the share, which no read would make of itself.
    let probe = Probe::new().data(|cx, input| {
        if input.take_all() == b"hello" {
            return cx.send(&[b'h'; SHARE / 2]).or_reset();
        }
        cx.send(&[b'd'; 8192]).or_reset()
    });
    let big = Script::new().connect_after(5 * SECOND).send("hello").receive(SHARE / 2);
    let simulation = low_ceiling().peer(big.finish().expect_end().name("honest"));
    let (report, ends) = honest_ends(simulation, 100, probe);
    assert_eq!(ends.len(), 1);
    assert_eq!(report.metrics.refused, 0);
}

#[test]
fn c11_those_that_take_what_they_are_owed_outlive_those_that_do_not() {
    // It takes some of its output each second, and is owed some all the time.
    let slow = (0..40)
        .fold(Script::new().send([b's'; 8192]), |script, _| script.receive(150).wait(SECOND));
    let slow = slow.receive(8192 - 40 * 150).finish().expect_end().name("honest and slow");
    let simulation = (1..40).fold(low_ceiling().peer(slow), |simulation, number| {
        simulation.peer(deaf().connect_after(number * SECOND))
    });
    let (report, ends) = honest_ends(simulation, 0, Probe::new());
    assert_eq!(ends.len(), 1, "it was not given up");
    assert!(report.metrics.given_up > 5, "{} were given up", report.metrics.given_up);
}

#[test]
fn c11_who_waits_for_memory_is_read_again_once_it_is_owed_nothing() {
    // It is not read while it is owed something, and takes that while the others take nothing.
    let takes = Script::new().send([b't'; 8192]).wait(5 * SECOND).send("more").receive(8192);
    let takes = takes.expect("more").finish().expect_end().name("honest");
    let (report, ends) = honest_ends(low_ceiling().peer(takes), 9, Probe::new());
    assert!(report.metrics.memory_pauses > 0 && report.metrics.given_up == 0);
    assert_eq!(ends.len(), 1);
    assert!(ends[0] < 6 * SECOND, "it was served after {ends:?}");
}

#[test]
fn c39_time_in_which_the_process_was_stopped_gives_nobody_up_for_others() {
    let millis = Duration::from_millis;
    const MUCH: usize = 16_000;
    // They read a moment after the process goes on, and nobody lets them until then.
    let owed = Script::new().may_end().wait(millis(900)).send("owe").wait(millis(4120));
    let owed = owed.receive(MUCH).finish().expect_end();
    let config = Config::new().buffer_limit(MIN_BUFFER_LIMIT).write_timeout(Some(8 * SECOND));
    let mut hits = 0;
    for skips in 0..200 {
        let stopped = Rc::new(Cell::new(Duration::ZERO));
        let sees = Rc::clone(&stopped);
        // It is made before the stop, and asks for something during it.
        let asks = Script::new().connect_after(millis(950)).wait(2 * SECOND).send("hello");
        let simulation = (0..12).fold(low_ceiling(), |simulation, _| simulation.peer(owed.clone()));
        let mut simulation = simulation
            .config(config.clone())
            .peer(asks.expect("hello").finish().expect_end().name("honest"))
            .at(SECOND, Handle::notify)
            .trace(move |at, what| {
                if what == "the process is stopped for 4s" {
                    sees.set(at);
                }
            });
        simulation.world.holds = Holds::once(skips, 4 * SECOND);
        let probe = Probe::new().data(|cx, input| match input.take_all() {
            b"owe" => cx.send(&[b'o'; MUCH]).or_reset(),
            other => cx.send(other).or_reset(),
        });
        let report = run(simulation, probe);
        if (millis(960)..millis(1050)).contains(&stopped.get()) {
            hits += 1;
            assert_eq!(report.metrics.given_up, 0, "stopped at {stopped:?}, {skips} calls");
        }
    }
    assert!(hits > 0, "it was never stopped when all was full");
}
