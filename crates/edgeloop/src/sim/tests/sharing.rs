//! Bytes that are sent to many at once and kept once.

use std::cell::Cell;
use std::sync::Arc;

use super::*;
use crate::api::config::MIN_BUFFER_LIMIT;
use crate::api::id::ConnectionId;
use crate::store::shared::REFERENCE;

/// All calls of a simulation that send.
fn watched(simulation: Simulation) -> (Simulation, Rc<RefCell<Vec<String>>>) {
    let calls = Rc::new(RefCell::new(Vec::new()));
    let sees = Rc::clone(&calls);
    let simulation = simulation.trace(move |_, what| {
        if what.starts_with("send(") || what.starts_with("sendmsg(") {
            let (call, rest) = what.split_once('(').expect("it was looked for");
            let (_, count) = rest.split_once(", ").expect("behind the descriptor");
            sees.borrow_mut().push(format!("{call} {count}"));
        }
    });
    (simulation, calls)
}

/// Whoever is not asking.
fn others(cx: &dyn Context) -> Vec<ConnectionId> {
    cx.connections().into_iter().filter(|&id| id != cx.id()).collect()
}

/// One that asks for something a second after all others have come.
fn asks() -> Script {
    Script::new().may_end().connect_after(SECOND).send("!").wait(300 * SECOND).finish().expect_end()
}

fn message(byte: u8, length: usize) -> Arc<[u8]> {
    (byte..=250).chain(0..byte).cycle().take(length).collect()
}

#[test]
fn c11_a_broadcast_to_many_who_do_not_read_is_one_copy_however_they_end() {
    const MANY: usize = 500;
    const LENGTH: usize = 20_000;
    let all = [message(1, LENGTH), message(2, LENGTH)].concat();
    let peer = |number: usize| {
        let waits = Script::new().may_end().wait(10 * SECOND);
        let takes = |count: usize| Script::new().wait(10 * SECOND).expect(&all[..count]);
        match number % 50 {
            0 => takes(2 * LENGTH).finish().expect_end(),
            1 => takes(LENGTH + 3000).may_end().reset(),
            2 => takes(3000).may_end().vanish(),
            _ => match number % 3 {
                0 => waits.reset(),
                1 => waits.close(),
                _ => waits.vanish(),
            },
        }
    };
    let held = Rc::new(Cell::new(0));
    let sees = Rc::clone(&held);
    let probe = Probe::new().data(move |cx, input| {
        let _ = input.take_all();
        let members = others(cx);
        for byte in [1, 2] {
            assert_eq!(cx.send_shared(&members, message(byte, LENGTH)), []);
        }
        // A socket takes 1,000 bytes, and its peer's as many.
        let queued = 2 * LENGTH - 2000..=2 * LENGTH - 1000;
        assert!(members.iter().all(|&id| queued.contains(&cx.queued(id))));
        sees.set(cx.metrics().output_held);
        Action::Continue
    });
    let config = Config::new()
        .write_timeout(Some(20 * SECOND))
        .turn_bytes(1 << 18)
        .turn_accepts(1 << 14)
        .turn_jobs(1 << 14);
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config);
    let simulation = (0..MANY).map(peer).fold(simulation, Simulation::peer).peer(asks());
    let report = run(simulation, probe);
    assert_eq!(held.get(), 2 * (LENGTH + MANY * REFERENCE));
    assert_eq!(report.handler.closed.len(), MANY + 1);
    assert_eq!(report.metrics.output_held, 0, "somebody holds what is gone");
}

#[test]
fn c45_what_is_shared_within_a_turn_leaves_in_at_most_two_calls_and_is_not_copied() {
    let all = [&message(1, 600)[..], &message(2, 600), b"small", &message(3, 600)].concat();
    let listens = Script::new().expect(all).finish().expect_end();
    let probe = Probe::new().data(|cx, input| {
        let _ = input.take_all();
        let members = others(cx);
        assert_eq!(cx.send_shared(&members, message(1, 600)), []);
        assert_eq!(cx.queued(members[0]), 0, "the first of a turn goes out at once");
        assert_eq!(cx.send_shared(&members, message(2, 600)), []);
        assert_eq!(cx.metrics().output_held, 600 + REFERENCE);
        assert_eq!(cx.send_to(members[0], b"small"), Sent::Queued);
        assert_eq!(cx.send_shared(&members, message(3, 600)), []);
        Action::Continue
    });
    let simulation = Simulation::new(1).calm().buffers(100_000..=100_000);
    let (simulation, calls) = watched(simulation.peer(listens).peer(asks()));
    run(simulation, probe);
    assert_eq!(*calls.borrow(), ["send 600): 600", "sendmsg 3 pieces, 1205): 1205"]);
}

#[test]
fn shared_bytes_are_in_order_with_all_else_that_is_sent_whatever_the_socket_takes() {
    for buffer in [70, 599, 600, 601, 5000, 20_000, 100_000] {
        let parts: [Arc<[u8]>; 7] =
            [(1, 5), (2, 600), (3, 700), (4, 20_000), (5, 100), (6, 512), (7, 511)]
                .map(|(byte, length)| message(byte, length));
        let all = parts.concat();
        let listens = Script::new().wait(3 * SECOND).expect(all).finish().expect_end();
        let probe = Probe::new().data(move |cx, input| {
            let _ = input.take_all();
            let to = others(cx)[0];
            assert!(cx.send_to(to, &parts[0]).is_accepted());
            for part in &parts[1..5] {
                assert_eq!(cx.send_shared(&[to], Arc::clone(part)), []);
            }
            assert!(cx.send_vectored(to, &[&parts[5][..100], &parts[5][100..]]).is_accepted());
            assert_eq!(cx.send_shared(&[to], Arc::clone(&parts[6])), []);
            Action::Continue
        });
        let simulation = Simulation::new(1).calm().buffers(buffer..=buffer);
        run(simulation.peer(listens).peer(asks()), probe);
    }
}

#[test]
fn c11_the_ceiling_bounds_what_is_shared_and_whoever_does_not_get_it_is_named() {
    const LENGTH: usize = 3000;
    let most = Rc::new(Cell::new(0));
    let (held, refusals) = (Rc::clone(&most), Rc::new(Cell::new(0)));
    let counts = Rc::clone(&refusals);
    let probe = Probe::new().data(move |cx, input| {
        let _ = input.take_all();
        let members = others(cx);
        for byte in (0..200).cycle().take(2000) {
            for (id, sent) in cx.send_shared(&members, message(byte, LENGTH)) {
                assert!(matches!(sent, Sent::Refused | Sent::Gone), "{sent:?} is no refusal");
                counts.set(counts.get() + u64::from(sent == Sent::Refused));
                assert!(members.contains(&id));
            }
            held.set(held.get().max(cx.metrics().output_held));
        }
        Action::Continue
    });
    let config = Config::new().buffer_limit(MIN_BUFFER_LIMIT).write_timeout(None);
    let deaf = |_| Script::new().may_end().wait(100 * SECOND);
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config);
    let simulation = (0..5).map(deaf).fold(simulation, Simulation::peer);
    let simulation = simulation.at(200 * SECOND, |handle| handle.stop(Stop::Now));
    let report = run(simulation.peer(asks()), probe);
    assert!(most.get() <= MIN_BUFFER_LIMIT / 4 * 3, "{} bytes were held", most.get());
    assert_eq!((report.metrics.refused, report.metrics.output_held), (refusals.get(), 0));
    assert!(refusals.get() > 0);
}

#[test]
fn c10_a_connections_own_limit_counts_the_whole_length() {
    let config = Config::new().output_limit(150_000);
    let probe = Probe::new().data(|cx, input| {
        let _ = input.take_all();
        let to = others(cx)[0];
        assert_eq!(cx.send_shared(&[to], message(1, 100_000)), []);
        assert_eq!(cx.send_to(to, b""), Sent::Written);
        assert_eq!(cx.queued(to), 98_000);
        assert_eq!(cx.send_shared(&[to], message(2, 60_000)), [(to, Sent::Refused)]);
        assert_eq!(cx.queued(to), 98_000, "nothing of it is queued");
        assert_eq!(cx.metrics().output_held, 100_000 + REFERENCE);
        Action::Continue
    });
    let deaf = Script::new().wait(2 * SECOND).receive(100_000).finish().expect_end();
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config);
    run(simulation.peer(deaf).peer(asks()), probe);
}

#[test]
fn c10_a_queue_that_falls_at_the_end_of_the_turn_is_told() {
    let config = Config::new().high_watermark(1000).low_watermark(500);
    let probe = Probe::new().data(|cx, input| {
        let _ = input.take_all();
        let to = others(cx)[0];
        for byte in 0..4 {
            assert_eq!(cx.send_shared(&[to], message(byte, 600)), []);
        }
        assert_eq!(cx.queued(to), 1800);
        Action::Continue
    });
    let listens = Script::new().receive(2400).finish().expect_end();
    let simulation = Simulation::new(1).calm().buffers(100_000..=100_000).config(config);
    let report = run(simulation.peer(listens).peer(asks()), probe);
    assert_eq!(report.handler.drained, 1);
}
