//! The wheel against its laws (C16, C30, C31) and against a model that is a map.

mod model;
mod random;

use super::*;
use model::{Op, Twins};
use random::Random;
use std::collections::{BTreeMap, BTreeSet};

const NO_LIMIT: usize = usize::MAX;
const SECOND: u64 = 1000;
const DAY: u64 = 86_400 * SECOND;

/// The time at which tick `n` comes.
fn ms(n: u64) -> Time {
    time_of(n)
}

// --- What may always be asked of a wheel ---

impl Wheel {
    /// Advances without a limit and returns who was due.
    #[track_caller]
    fn fire(&mut self, now: Time) -> Vec<u32> {
        let mut due = Vec::new();
        assert!(self.advance(now, NO_LIMIT, &mut due), "work was left without a limit");
        assert!(self.next_wake() > now, "woken at {now:?} in vain, and again");
        due
    }

    /// Jumps from wake to wake until no timer is set. Returns who fired at which tick at each wake.
    #[track_caller]
    fn run(&mut self) -> Vec<(u64, Vec<u32>)> {
        let mut wakes = Vec::new();
        while self.next_wake() != Time::NEVER {
            let wake = self.next_wake();
            wakes.push((ticks_until(wake), self.fire(wake)));
        }
        assert!(self.is_empty());
        wakes
    }

    /// Every timer is where it belongs and every summary agrees with what it sums up.
    #[track_caller]
    fn check(&self) {
        let mut len = 0;
        for list in 0..=CASCADING {
            let timers = self.lists.walk(list);
            let marked = self.occupied[(list / SLOTS) as usize] >> (list % SLOTS) & 1 == 1;
            assert_eq!(marked, !timers.is_empty(), "occupancy of list {list}");
            if timers.is_empty() {
                assert_eq!(self.lists.min(list), u64::MAX, "an empty list has no earliest tick");
            }
            for &(id, tick) in &timers {
                assert!(tick >= self.elapsed, "timer {id} was passed over");
                assert!(tick >= self.lists.min(list), "timer {id} is before its list's earliest");
                assert!(list == CASCADING || place(tick, self.elapsed) == list, "place of {id}");
            }
            len += timers.len();
        }
        assert_eq!(len, self.len());
        assert!(self.elapsed <= ticks_until(self.now));
    }
}

/// The ticks beside every boundary between levels, up to centuries away.
fn boundaries() -> impl Iterator<Item = u64> {
    (0..LEVELS - 1)
        .map(|level| 1 << (level * BITS))
        .flat_map(|size| [size - 1, size, size + 1, 2 * size - 1, 2 * size, 63 * size + 1])
        .collect::<BTreeSet<_>>()
        .into_iter()
}

const STARTS: [u64; 6] = [0, 63, 64, 4095, 4097, 262_143];

// --- Single timers ---

#[test]
fn c41_a_timer_that_is_put_back_takes_its_place_among_those_that_are_due() {
    for start in STARTS {
        for apart in boundaries().filter(|apart| (1..DAY).contains(apart)) {
            let mut wheel = Wheel::new(ms(start));
            let at = |place: u64| ms(start + place * apart);
            // The first of them was moved, and is due between the others.
            for (id, place) in [(0, 1), (1, 2), (2, 4), (3, 4)] {
                wheel.set(id, at(place));
            }
            let mut due = Vec::new();
            while due.is_empty() {
                assert!(!wheel.advance(at(5), 1, &mut due));
            }
            assert_eq!((&due[..], wheel.reached(false)), (&[0][..], at(1)));
            wheel.put_back(0, at(3));
            wheel.check();
            assert_eq!(wheel.fire(at(5)), [1, 0, 2, 3], "{apart} apart from {start} on");
            assert_eq!(wheel.reached(true), at(5));
        }
    }
}

#[test]
fn c30_a_timer_is_never_early_and_late_by_less_than_a_tick() {
    let within_a_tick = [0, 1, 999_999];
    for start in STARTS.map(|tick| ms(tick).as_nanos()) {
        for distance in boundaries().skip(1).map(|tick| ms(tick).as_nanos()) {
            for (a, b) in within_a_tick.iter().flat_map(|a| within_a_tick.map(|b| (a, b))) {
                let (start, deadline) = (start + a, start + distance + b);
                let mut wheel = Wheel::new(Time::from_nanos(start));
                wheel.set(0, Time::from_nanos(deadline));
                assert_eq!(wheel.fire(Time::from_nanos(deadline - 1)), [], "early");
                assert_eq!(wheel.fire(Time::from_nanos(deadline + 999_999)), [0], "late");
            }
        }
    }
}

#[test]
fn c30_it_fires_at_the_time_that_deadline_and_next_wake_told() {
    let mut wheel = Wheel::new(ms(10));
    wheel.set(0, Time::from_nanos(12_000_001));
    assert_eq!(wheel.deadline(0), Some(ms(13)));
    assert_eq!(wheel.next_wake(), ms(13));
    assert_eq!(wheel.run(), [(13, vec![0])]);
}

#[test]
fn c30_a_deadline_that_is_past_fires_at_the_next_advance_even_within_the_same_tick() {
    let now = Time::from_nanos(5_700_000);
    for past in [0, 4_000_000, 5_000_000, 5_000_001, 5_699_999, 5_700_000] {
        let mut wheel = Wheel::new(ms(1));
        wheel.fire(now);
        wheel.set(0, Time::from_nanos(past));
        assert!(wheel.next_wake() <= now);
        assert_eq!(wheel.fire(now), [0]);
    }
}

#[test]
fn c30_a_past_deadline_is_due_even_if_a_far_timer_holds_the_wheel_back() {
    let mut wheel = Wheel::new(ms(0));
    wheel.set(0, ms(2 * DAY));
    wheel.fire(ms(2 * DAY - 10));
    wheel.set(1, ms(DAY));
    wheel.set(2, ms(2 * DAY - 9));
    wheel.check();
    assert_eq!(wheel.fire(ms(2 * DAY - 10)), [1]);
    assert_eq!(wheel.run(), [(2 * DAY - 9, vec![2]), (2 * DAY, vec![0])]);
}

#[test]
fn c30_a_timer_can_be_moved_both_ways_and_cancelled() {
    let mut wheel = Wheel::new(ms(0));
    wheel.set(7, ms(100));
    wheel.set(7, ms(10_000));
    wheel.set(7, ms(50));
    assert_eq!(wheel.deadline(7), Some(ms(50)));
    assert_eq!(wheel.len(), 1);
    wheel.cancel(7);
    wheel.cancel(7);
    wheel.cancel(u32::MAX);
    assert_eq!(wheel.deadline(7), None);
    assert_eq!(wheel.next_wake(), Time::NEVER);
    assert!(wheel.is_empty());
}

#[test]
fn c30_never_is_no_deadline_and_the_last_tick_of_the_clock_is_one() {
    let mut wheel = Wheel::new(ms(0));
    wheel.set(0, ms(1));
    wheel.set(0, Time::NEVER);
    assert_eq!(wheel.deadline(0), None);
    wheel.set(1, ms(LAST_TICK));
    wheel.set(2, Time::from_nanos(ms(LAST_TICK).as_nanos() + 1));
    assert_eq!(wheel.len(), 1);
    assert_eq!(wheel.run(), [(LAST_TICK, vec![1])]);
}

#[test]
fn c30_a_clock_that_goes_back_changes_nothing() {
    let mut wheel = Wheel::new(ms(100));
    wheel.set(0, ms(101));
    wheel.fire(ms(100));
    assert!(wheel.advance(ms(50), NO_LIMIT, &mut Vec::new()));
    wheel.check();
    assert_eq!(wheel.run(), [(101, vec![0])]);
}

#[test]
#[should_panic(expected = "not a slot number")]
fn an_id_that_is_no_slot_number_is_refused() {
    Wheel::new(ms(0)).set(1 << 31, ms(1));
}

// --- Waking ---

#[test]
fn c31_any_two_timers_wake_only_at_their_ticks() {
    for start in STARTS {
        let ticks = boundaries().map(|tick| start + tick).collect::<Vec<_>>();
        for (&a, &b) in ticks.iter().flat_map(|a| ticks.iter().map(move |b| (a, b))) {
            let mut wheel = Wheel::new(ms(start));
            wheel.set(0, ms(a));
            wheel.set(1, ms(b));
            let expected = match a.cmp(&b) {
                std::cmp::Ordering::Less => vec![(a, vec![0]), (b, vec![1])],
                std::cmp::Ordering::Equal => vec![(a, vec![0, 1])],
                std::cmp::Ordering::Greater => vec![(b, vec![1]), (a, vec![0])],
            };
            assert_eq!(wheel.run(), expected, "from {start}");
        }
    }
}

#[test]
fn c30_of_any_two_timers_a_cancelled_one_wakes_at_most_once() {
    for start in STARTS {
        let ticks = boundaries().map(|tick| start + tick).collect::<Vec<_>>();
        for (&a, &b) in ticks.iter().flat_map(|a| ticks.iter().map(move |b| (a, b))) {
            let mut wheel = Wheel::new(ms(start));
            wheel.set(0, ms(a));
            wheel.set(1, ms(b));
            wheel.cancel(0);
            let mut wakes = wheel.run();
            assert_eq!(wakes.pop(), Some((b, vec![1])), "from {start}, {a} cancelled");
            let in_vain = wakes.pop();
            assert!(in_vain.is_none_or(|wake| a < b && wake == (a, vec![])));
            assert_eq!(wakes, []);
        }
    }
}

#[test]
fn c30_a_cancelled_timer_that_was_alone_in_its_slot_wakes_nobody() {
    let mut wheel = Wheel::new(ms(0));
    wheel.set(0, ms(5000));
    wheel.set(1, ms(90_000));
    wheel.cancel(0);
    assert_eq!(wheel.run(), [(90_000, vec![1])]);
}

#[test]
fn c30_after_a_wake_in_vain_the_next_is_at_the_true_deadline() {
    // Both in the slot of the ticks 4096 to 8191. The clock enters it before the stale time, at it,
    // and after it.
    for entered in [4500, 5000, 6000] {
        let mut wheel = Wheel::new(ms(0));
        wheel.set(0, ms(5000));
        wheel.set(1, ms(7000));
        wheel.cancel(0);
        assert_eq!(wheel.next_wake(), ms(5000));
        assert_eq!(wheel.fire(ms(entered)), []);
        assert_eq!(wheel.next_wake(), ms(if entered < 5000 { 5000 } else { 7000 }));
        wheel.check();
        assert_eq!(wheel.run().pop(), Some((7000, vec![1])));
    }
}

#[test]
fn c30_an_idle_timeout_that_moves_with_every_message_seldom_wakes_in_vain() {
    let mut wheel = Wheel::new(ms(0));
    for now in 0..20 * SECOND {
        wheel.fire(ms(now));
        wheel.set(0, ms(now + 60 * SECOND));
    }
    assert_eq!(wheel.run().len(), 1);
}

#[test]
fn c31_timers_wake_once_for_each_distinct_tick() {
    let mut random = Random::new();
    for _ in 0..20 {
        let start = random.magnitude(40);
        let mut wheel = Wheel::new(ms(start));
        let mut expected = BTreeMap::<u64, Vec<u32>>::new();
        for id in 0..200 {
            let tick = start + random.magnitude(28);
            wheel.set(id, ms(tick));
            expected.entry(tick).or_default().push(id);
        }
        wheel.check();
        assert_eq!(wheel.run(), expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn c30_each_cancelled_or_moved_timer_wakes_at_most_once() {
    let mut random = Random::new();
    for _ in 0..20 {
        let mut wheel = Wheel::new(ms(0));
        for id in 0..200 {
            wheel.set(id, ms(random.magnitude(28)));
        }
        for id in 0..50 {
            wheel.cancel(id);
        }
        for id in 50..100 {
            wheel.set(id, ms((1 << 28) + random.magnitude(28)));
        }
        let wakes = wheel.run();
        let in_vain = wakes.iter().filter(|(_, fired)| fired.is_empty()).count();
        assert!(in_vain <= 100, "{in_vain} wakes in vain");
        assert_eq!(wakes.iter().map(|(_, fired)| fired.len()).sum::<usize>(), 150);
    }
}

// --- Budgets ---

#[test]
fn c16_a_million_timers_of_one_tick_come_in_budgeted_pieces() {
    const TIMERS: u32 = 1_000_000;
    const BUDGET: usize = 4096;
    let mut wheel = Wheel::new(ms(0));
    for id in 0..TIMERS {
        wheel.set(id, ms(60 * SECOND));
    }
    let mut fired = 0;
    let mut due = Vec::with_capacity(BUDGET);
    loop {
        due.clear();
        let done = wheel.advance(ms(60 * SECOND), BUDGET, &mut due);
        for &id in &due {
            assert_eq!(id, fired, "out of order");
            fired += 1;
        }
        if done {
            break;
        }
        assert_eq!(due.len(), BUDGET, "a piece is as big as the budget");
        assert!(wheel.next_wake() <= ms(60 * SECOND), "what is left makes the next wait not block");
    }
    assert_eq!(fired, TIMERS);
    assert!(wheel.is_empty());
}

#[test]
fn c16_cascading_is_budgeted_too() {
    // One slot of the third level, from which the first wake moves all but the first timer.
    let mut wheel = Wheel::new(ms(0));
    for id in 0..4000 {
        wheel.set(id, ms(4100 + u64::from(id)));
    }
    let mut due = Vec::new();
    for _ in 0..39 {
        assert!(!wheel.advance(ms(4100), 100, &mut due));
        assert_eq!(due, [0]);
        wheel.check();
    }
    assert!(wheel.advance(ms(4100), 100, &mut due), "40 times 100 is all of them");
    assert_eq!(wheel.next_wake(), ms(4101));
}

#[test]
fn c16_no_timer_is_touched_more_often_than_the_wheel_has_levels() {
    let mut random = Random::new();
    let mut wheel = Wheel::new(ms(0));
    for id in 0..1000 {
        wheel.set(id, ms(random.magnitude(44)));
    }
    let mut due = Vec::new();
    let mut touched = 0;
    while !wheel.is_empty() {
        wheel.advance(wheel.next_wake(), 1, &mut due);
        touched += 1;
    }
    assert_eq!(due.len(), 1000);
    assert!(touched <= 1000 * LEVELS, "{touched} steps for 1000 timers");
}

#[test]
fn c16_after_a_long_calm_near_timers_fire_without_a_cascade() {
    let mut wheel = Wheel::new(ms(0));
    for far in [None, Some(30 * DAY)] {
        if let Some(far) = far {
            wheel.set(9, ms(far));
        }
        let now = ticks_until(wheel.now) + DAY;
        wheel.fire(ms(now));
        wheel.set(0, ms(now + 1));
        wheel.set(1, ms(now + 2));
        let mut due = Vec::new();
        assert!(!wheel.advance(ms(now + 2), 1, &mut due));
        assert!(wheel.advance(ms(now + 2), 1, &mut due));
        assert_eq!(due, [0, 1], "one step for each");
    }
}

#[test]
fn c16_amid_an_interrupted_cascade_timers_can_be_set_moved_and_cancelled() {
    let mut wheel = Wheel::new(ms(0));
    for id in 0..6 {
        wheel.set(id, ms(5000 + u64::from(id)));
    }
    let mut due = Vec::new();
    assert!(!wheel.advance(ms(5000), 2, &mut due));
    assert_eq!(due, [0]);
    wheel.cancel(2); // first of those left
    wheel.cancel(5); // last of those left
    wheel.set(3, ms(9000));
    wheel.set(6, ms(5001));
    wheel.check();
    assert_eq!(wheel.deadline(4), Some(ms(5004)));
    assert!(wheel.advance(ms(5000), 2, &mut due));
    assert_eq!(wheel.run(), [(5001, vec![1, 6]), (5004, vec![4]), (9000, vec![3])]);
}

#[test]
fn c16_with_no_budget_nothing_happens_and_nothing_is_lost() {
    let mut wheel = Wheel::new(ms(0));
    wheel.set(0, ms(1));
    let mut due = Vec::new();
    assert!(!wheel.advance(ms(5000), 0, &mut due));
    assert_eq!(due, []);
    assert_eq!(wheel.fire(ms(5000)), [0]);
}

#[test]
fn c16_timers_that_are_set_to_the_past_again_and_again_starve_nobody() {
    let mut wheel = Wheel::new(ms(0));
    for id in 0..6 {
        wheel.set(id, ms(u64::from(id)));
    }
    let mut fired = BTreeSet::new();
    for now in 100..103 {
        let mut due = Vec::new();
        wheel.advance(ms(now), 2, &mut due);
        for id in due {
            fired.insert(id);
            wheel.set(id, Time::ZERO);
        }
    }
    assert!(fired.into_iter().eq(0..6));
}

// --- Memory ---

#[test]
fn c12_memory_goes_back_when_timers_are_gone() {
    const TIMERS: u32 = 20 * 256;
    for backwards in [false, true] {
        let mut wheel = Wheel::new(ms(0));
        (0..TIMERS).for_each(|id| wheel.set(id, ms(u64::from(id))));
        assert_eq!(wheel.lists.footprint(), (20, 20));
        let mut ids = (0..TIMERS).collect::<Vec<_>>();
        if backwards {
            ids.reverse();
        }
        let (half, rest) = ids.split_at(ids.len() / 2);
        half.iter().for_each(|&id| wheel.cancel(id));
        assert_eq!(wheel.lists.footprint().0, 11, "half of the pages and a spare one");
        rest.iter().for_each(|&id| wheel.cancel(id));
        assert_eq!(wheel.lists.footprint(), (1, 0), "a spare one");
    }
}

#[test]
fn c12_memory_goes_back_when_timers_fire() {
    let mut random = Random::new();
    let mut wheel = Wheel::new(ms(0));
    for id in 0..20 * 256 {
        wheel.set(id, ms(random.magnitude(20)));
    }
    wheel.run();
    assert_eq!(wheel.lists.footprint(), (1, 0));
}

#[test]
fn c30_a_lone_timer_that_comes_and_goes_seldom_pays_for_the_directory() {
    let mut wheel = Wheel::new(ms(0));
    let trimmed = (0..60).filter(|_| {
        wheel.set(20 * 256 - 1, ms(1));
        assert_eq!(wheel.lists.footprint(), (1, 20), "the spare page is used again");
        wheel.cancel(20 * 256 - 1);
        wheel.lists.footprint() == (1, 0)
    });
    assert_eq!(trimmed.count(), 60 / 20);
}

// --- Everything at once ---

#[test]
fn c30_every_short_sequence_of_operations_agrees_with_the_model() {
    const LENGTH: u32 = 4;
    const MS: u64 = 1_000_000;
    let ops = [
        Op::Set(0, -1),
        Op::Set(0, 1),
        Op::Set(0, 64 * MS as i64),
        Op::Set(0, 5000 * MS as i64),
        Op::Set(1, 65 * MS as i64),
        Op::Set(1, 5001 * MS as i64),
        Op::Cancel(0),
        Op::Cancel(1),
        Op::Advance(MS, 1),
        Op::Advance(64 * MS, 1),
        Op::Advance(4960 * MS, 1),
        Op::Advance(64 * MS, NO_LIMIT),
    ];
    for mut sequence in 0..ops.len().pow(LENGTH) {
        let mut twins = Twins::new(ms(62));
        for _ in 0..LENGTH {
            twins.apply(ops[sequence % ops.len()]);
            sequence /= ops.len();
        }
    }
}

#[test]
fn c30_random_operations_agree_with_the_model() {
    let mut random = Random::new();
    let mut twins = Twins::new(Time::from_nanos(random.magnitude(60)));
    for n in 0..20_000 {
        twins.apply(Op::random(&mut random, 600, false));
        if n % 64 == 0 {
            twins.wheel.check();
        }
    }
}

#[test]
fn c16_random_operations_with_budgets_agree_with_the_model() {
    let mut random = Random::new();
    let mut twins = Twins::new(Time::from_nanos(random.magnitude(60)));
    for n in 0..20_000 {
        twins.apply(Op::random(&mut random, 600, true));
        if n % 64 == 0 {
            twins.wheel.check();
        }
    }
}
