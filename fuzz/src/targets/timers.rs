//! The timing wheel beside a map.

use std::collections::BTreeMap;

use crate::api::time::Time;
use crate::bytes::Bytes;
use crate::store::wheel::Wheel;

/// The resolution of the wheel, in nanoseconds.
const TICK: u64 = 1_000_000;

/// Timers are set, moved, cancelled and fired: none is early, late, lost or fired twice, and the
/// wheel never sleeps through one (C30, C31).
pub fn wheel(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut now = bytes.magnitude(48);
    let mut wheel = Wheel::new(Time::from_nanos(now));
    let mut model = BTreeMap::new();
    let mut last = 0;
    while !bytes.is_empty() {
        let id = u32::from(bytes.byte() >> 2);
        match bytes.below(4) {
            0 | 1 => {
                let after = bytes.magnitude(60);
                let early = bytes.below(8) == 0;
                let at = if early { now.saturating_sub(after) } else { now.saturating_add(after) };
                wheel.set(id, Time::from_nanos(at));
                let tick = if at <= now { now / TICK } else { at.div_ceil(TICK) };
                if tick > u64::MAX / TICK {
                    model.remove(&id);
                } else {
                    model.insert(id, tick);
                }
            }
            2 => {
                wheel.cancel(id);
                model.remove(&id);
            }
            _ => {
                // No clock comes near the end of what can be counted.
                now = (now + bytes.magnitude(50)).min(1 << 62);
                let budget = 1 + bytes.below(32);
                advance(&mut wheel, now, budget, &mut model, &mut last);
            }
        }
        let expected = model.get(&id).map(|&tick| Time::from_nanos(tick * TICK));
        assert_eq!(wheel.deadline(id), expected);
        let earliest = model.values().min().map_or(Time::NEVER, |t| Time::from_nanos(t * TICK));
        assert!(wheel.next_wake() <= earliest, "it would sleep through {earliest:?}");
        assert_eq!(wheel.next_wake() == Time::NEVER, model.is_empty());
    }
    // With time enough, all of them fire.
    while !model.is_empty() {
        advance(&mut wheel, u64::MAX - 1, usize::MAX, &mut model, &mut last);
    }
}

fn advance(
    wheel: &mut Wheel,
    now: u64,
    budget: usize,
    model: &mut BTreeMap<u32, u64>,
    last: &mut u64,
) {
    let mut due = Vec::new();
    let done = wheel.advance(Time::from_nanos(now), budget, &mut due);
    assert!(due.len() <= budget, "more than the budget fired");
    for id in due {
        let tick = model.remove(&id).expect("only what is set fires");
        assert!(tick <= now / TICK, "timer {id} is early");
        assert!(tick >= *last, "timer {id} fires after a later one");
        *last = tick;
    }
    if done {
        assert!(model.values().all(|&tick| tick > now / TICK), "a timer is late");
        assert!(wheel.next_wake() > Time::from_nanos(now), "all is done, and it wakes again");
    } else {
        assert!(wheel.next_wake() <= Time::from_nanos(now), "work is left, and it sleeps");
    }
}
