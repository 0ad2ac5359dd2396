//! The handler's timers: several of one connection, by their keys.

use super::*;
use crate::api::time::Time;
use crate::sim::world::Holds;

/// What was called: when, the connection by the order of opening, and the key.
type Called = Vec<(Time, usize, u32)>;

/// For how long the process is stopped: all timers come meanwhile that are not set again.
const HOLD: Duration = Duration::from_secs(10);

/// Runs in which the process is stopped at one of its first calls, and one in which it is not.
fn holds() -> impl Iterator<Item = Option<usize>> {
    (0..40).map(Some).chain([None])
}

/// Whether these timers were called in one turn.
fn at_once(called: &[(Time, usize, u32)]) -> bool {
    called.iter().all(|&(at, ..)| at == called[0].0)
}

fn names(called: &Called) -> Vec<(usize, u32)> {
    called.iter().map(|&(_, nth, key)| (nth, key)).collect()
}

/// A run of peers that stay for 30 s. `opened` is told which peer it is for, and a note of all of
/// them; `then` the same at each timer, behind the note of it.
fn called(
    peers: usize,
    hold: Option<usize>,
    mut opened: impl FnMut(&mut dyn Context, usize, &[ConnectionId]) + 'static,
    mut then: impl FnMut(&mut dyn Context, &[ConnectionId], u32) -> Action + 'static,
) -> Called {
    let ids = Rc::new(RefCell::new(Vec::new()));
    let called: Rc<RefCell<Called>> = Rc::default();
    let (all, notes) = (Rc::clone(&ids), Rc::clone(&called));
    let probe = Probe::new()
        .opened(move |cx| {
            ids.borrow_mut().push(cx.id());
            let ids = ids.borrow();
            opened(cx, ids.len() - 1, &ids);
            Action::Continue
        })
        .timer(move |cx, key| {
            let ids = all.borrow();
            let nth = ids.iter().position(|&id| id == cx.id()).expect("it was opened");
            notes.borrow_mut().push((cx.now(), nth, key));
            then(cx, &ids, key)
        });
    let peer = |_| Script::new().may_end().wait(30 * SECOND);
    let mut simulation = (0..peers).map(peer).fold(Simulation::new(1).calm(), Simulation::peer);
    if let Some(skips) = hold {
        simulation.world.holds = Holds::once(skips, HOLD);
    }
    run(simulation, probe);
    called.take()
}

fn goes_on(_: &mut dyn Context, _: &[ConnectionId], _: u32) -> Action {
    Action::Continue
}

/// Milliseconds.
fn ms(count: u32) -> Option<Duration> {
    Some(count * SECOND / 1000)
}

#[test]
fn c41_timers_of_all_connections_that_are_due_in_one_turn_are_called_in_order() {
    let mut held = 0;
    for hold in holds() {
        let set = |cx: &mut dyn Context, _: usize, ids: &[ConnectionId]| {
            if let &[first, _] = ids {
                for (key, after) in [(1, 500), (2, 100), (3, 300), (9, 400)] {
                    cx.set_timer_of(first, key, ms(after));
                }
                [(4, 200), (9, 410)].iter().for_each(|&(key, after)| cx.set_timer(key, ms(after)));
            }
        };
        let called = called(2, hold, set, goes_on);
        held += u32::from(at_once(&called));
        let expected = [(0, 2), (1, 4), (0, 3), (0, 9), (1, 9), (0, 1)];
        assert_eq!(names(&called), expected, "{hold:?}");
    }
    assert!(held > 0, "they never came in one turn");
}

#[test]
fn c41_timers_of_one_time_are_called_in_the_order_of_setting_and_once_each() {
    let set = |cx: &mut dyn Context, _: usize, _: &[ConnectionId]| {
        [3, 1, 2, 1].into_iter().for_each(|key| cx.set_timer(key, ms(100)));
    };
    assert_eq!(names(&called(1, None, set, goes_on)), [(0, 3), (0, 2), (0, 1)]);
}

#[test]
fn c41_a_timer_that_another_of_the_same_turn_has_cancelled_or_moved_is_not_called() {
    let mut held = 0;
    for hold in holds() {
        let set = |cx: &mut dyn Context, nth: usize, _: &[ConnectionId]| {
            if nth == 0 {
                [1, 2, 3, 4, 9].into_iter().for_each(|key| cx.set_timer(key, ms(100 + key)));
            } else {
                [5, 10].into_iter().for_each(|key| cx.set_timer(key, ms(100 + key)));
            }
        };
        let changes = |cx: &mut dyn Context, ids: &[ConnectionId], key: u32| {
            if key == 1 {
                cx.set_timer(2, None);
                cx.set_timer(3, ms(5000));
                cx.set_timer_of(ids[1], 5, None);
                cx.set_timer_of(ids[1], 7, Some(Duration::ZERO));
            }
            Action::Continue
        };
        // What is set for now has its place behind all that was due.
        let expected = [(0, 1), (0, 4), (0, 9), (1, 10), (1, 7), (0, 3)];
        let called = called(2, hold, set, changes);
        let mut order = names(&called);
        if called.len() == 6 && at_once(&called[..4]) {
            held += 1;
        } else {
            order[1..].sort_by_key(|name| expected.iter().position(|it| it == name));
        }
        assert_eq!(order, expected, "{hold:?}");
    }
    assert!(held > 0, "they never came in one turn");
}

#[test]
fn c30_a_timer_can_be_set_for_another_connection_and_from_any_callback() {
    let set = |cx: &mut dyn Context, nth: usize, ids: &[ConnectionId]| {
        if nth == 1 {
            cx.set_timer_of(ids[0], 8, ms(50));
        }
    };
    assert_eq!(names(&called(2, None, set, goes_on)), [(0, 8)]);
}

#[test]
fn c16_a_timer_that_sets_itself_for_now_ends_no_turn() {
    let mut left = 5000;
    let set = |cx: &mut dyn Context, _: usize, _: &[ConnectionId]| {
        (0..3).for_each(|key| cx.set_timer(key, Some(Duration::ZERO)));
    };
    let again = move |cx: &mut dyn Context, _: &[ConnectionId], key: u32| {
        left -= 1;
        if left > 0 {
            cx.set_timer(key, Some(Duration::ZERO));
        }
        Action::Continue
    };
    let called = called(1, None, set, again);
    assert!(called.len() >= 5000, "{}", called.len());
    assert_eq!(names(&called)[..6], [(0, 0), (0, 1), (0, 2), (0, 0), (0, 1), (0, 2)]);
}

#[test]
fn c16_more_timers_than_the_budget_are_called_in_several_turns_and_in_order() {
    let set = |cx: &mut dyn Context, nth: usize, _: &[ConnectionId]| {
        let first = u32::from(nth == 1);
        (0..3000).for_each(|key| cx.set_timer(key, ms(100 + 2 * (key / 100) + first)));
    };
    let mut held = 0;
    for hold in (0..40).step_by(5).map(Some) {
        let called = called(2, hold, set, goes_on);
        let mut turns: Vec<_> = called.iter().map(|&(at, ..)| at).collect();
        turns.dedup();
        held += u32::from(turns.len() < 20);
        let names = names(&called);
        let mut sorted = names.clone();
        sorted.sort_by_key(|&(nth, key)| (key / 100, nth, key));
        assert_eq!(names.len(), 6000);
        assert!(names == sorted, "out of order: {hold:?}");
        let most = turns.iter().map(|turn| called.iter().filter(|it| it.0 == *turn).count());
        assert!(most.max() <= Some(1024), "{hold:?}");
    }
    assert!(held > 0, "they never came at once");
}

#[test]
fn a_connection_that_ends_or_is_gone_has_no_timers() {
    let set = |cx: &mut dyn Context, nth: usize, ids: &[ConnectionId]| {
        if nth == 0 {
            cx.set_timer(1, ms(100));
            cx.set_timer(2, ms(200));
        } else {
            cx.set_timer_of(ids[0], 3, ms(300));
            cx.set_timer(4, ms(15_000));
        }
    };
    let closes = |cx: &mut dyn Context, ids: &[ConnectionId], key: u32| {
        if key == 4 {
            let stale = cx.metrics().stale;
            cx.set_timer_of(ids[0], 5, ms(10));
            assert_eq!(cx.metrics().stale, stale + 1);
        }
        if key == 1 { Action::Close } else { Action::Continue }
    };
    assert_eq!(names(&called(2, None, set, closes)), [(0, 1), (1, 4)]);
}
