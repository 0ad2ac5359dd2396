//! The deadlines of one connection: what each means, and which is the next.

use std::time::Duration;

use rustix::io::Errno;

use super::{Cold, Connection, Life, Timer};
use crate::api::bounds::Bounds;
use crate::api::closed::Reason;
use crate::api::time::Time;
use crate::connection::flags::Flags;
use crate::connection::hold_ups::HoldUps;

/// How often a receive or a send that the kernel had no memory for is tried again before the
/// connection ends with [`Reason::Exhausted`], and the first delay, which doubles each time: 10 ms
/// to 1.28 s, 2.55 s in all.
const RETRIES: u8 = 8;
const FIRST_RETRY: Duration = Duration::from_millis(10);

/// The delay before another try to connect where a backlog was full, and how often it doubles: up
/// to 64 ms.
const FIRST_CONNECT_RETRY: Duration = Duration::from_millis(1);
const CONNECT_RETRIES_DOUBLE: u8 = 6;

/// In how many parts of the write timeout a send is tried, to see whether the peer takes anything.
const STALL_LOOKS: u32 = 8;

/// The state of the loop that a connection's deadlines depend on.
#[derive(Debug)]
pub(crate) struct Timeouts {
    /// Since when the loop drains, and for how long a connection must then be quiet (C37).
    pub(crate) drain: Option<(Time, Duration)>,
    /// When the loop did not run (C39).
    pub(crate) hold_ups: HoldUps,
}

/// What a connection's timer has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Try again what the kernel had no memory for, or no room in a backlog.
    Retry,
    /// The first of the handler's timers.
    Timer,
    /// Unless the kernel has input for it: end it for this reason, in the way that it calls for.
    Idle(Reason),
    /// See whether the socket takes any of the output that waits.
    Stalling,
    /// Unless the socket takes any of it now: reset it.
    Stalled,
    ConnectTimeout,
    LingerTimeout,
}

/// What the kernel had no memory for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    Receive,
    Send,
}

/// How often a transfer failed in a row for want of memory, or connecting for want of room, and
/// when it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retries {
    at: Time,
    count: u8,
}

impl Retries {
    pub(super) const NONE: Self = Self { at: Time::NEVER, count: 0 };
}

/// What one more failure for want of memory leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Later,
    GiveUp,
}

impl<S> Connection<S> {
    /// Sets, moves or (with [`Time::NEVER`]) cancels the handler's timer of this key, unless the
    /// connection is ending.
    pub(crate) fn set_timer(&mut self, key: u32, at: Time) {
        let is_served = matches!(self.life, Life::Open | Life::Connecting);
        if is_served && (at != Time::NEVER || self.cold.is_some()) {
            self.cold().timers.set(key, at);
            self.cool();
        }
    }

    /// Whether the handler says that it waits for something else than its peer.
    pub(crate) fn is_busy(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.busy)
    }

    /// The handler says that the connection waits for something else than its peer, or no longer
    /// does. Only from then on can it be idle.
    pub(crate) fn set_busy(&mut self, busy: bool, now: Time) {
        let is_served = matches!(self.life, Life::Open | Life::Connecting);
        if is_served && busy != self.is_busy() {
            self.cold().busy = busy;
            self.cool();
            if !busy {
                self.active = now;
            }
        }
    }

    /// The loop drains: a connection that lingers does so until `at` at the latest.
    pub(crate) fn hasten(&mut self, at: Time) {
        if self.life == Life::Lingering {
            let cold = self.cold();
            cold.deadline = cold.deadline.min(at);
        }
    }

    /// There is memory to read it again. Only now can it be told whether it is idle.
    pub(crate) fn fed(&mut self, now: Time) {
        self.clear(Flags::STARVED);
        self.active = now;
    }

    /// The kernel had no memory for a receive or a send.
    pub(crate) fn retry(&mut self, transfer: Transfer, error: Errno, now: Time) -> Retry {
        let cold = self.cold();
        let retries = match transfer {
            Transfer::Receive => &mut cold.receiving,
            Transfer::Send => &mut cold.sending,
        };
        if retries.count == RETRIES {
            self.remember(error);
            return Retry::GiveUp;
        }
        retries.at = now.after(FIRST_RETRY * (1 << retries.count));
        retries.count += 1;
        if transfer == Transfer::Receive {
            self.set(Flags::RETRY);
        }
        Retry::Later
    }

    /// Its connect has begun; or it `waits`, because there was no room for it in the backlog of a
    /// Unix socket. Then it's tried again, less and less often, until the connect timeout.
    pub(crate) fn connect_begun(&mut self, waits: bool, now: Time) {
        debug_assert_eq!(self.life, Life::Connecting);
        let sending = &mut self.cold().sending;
        if waits {
            sending.at = now.after(FIRST_CONNECT_RETRY * (1 << sending.count));
            sending.count = (sending.count + 1).min(CONNECT_RETRIES_DOUBLE);
        } else {
            *sending = Retries::NONE;
        }
    }

    /// What the kernel had no memory for, and is due, may be tried again.
    pub(crate) fn retry_now(&mut self, now: Time) {
        let cold = self.cold();
        let due = |retries: &mut Retries| {
            let due = retries.at <= now;
            if due {
                retries.at = Time::NEVER;
            }
            due
        };
        let (receives, sends) = (due(&mut cold.receiving), due(&mut cold.sending));
        if receives {
            self.clear(Flags::RETRY);
            self.set(Flags::READABLE | Flags::TO_EAGAIN);
        }
        if sends {
            self.set(Flags::WRITABLE);
        }
    }

    /// When this connection's timer must look at it next.
    pub(crate) fn next_deadline(&self, timeouts: &Timeouts, limits: &Bounds) -> Time {
        self.deadlines(timeouts, limits).map(|(at, _)| at).min().unwrap_or(Time::NEVER)
    }

    /// What is due at `now`, the earliest first. It changes nothing: whoever acts on the answer
    /// says so (C41).
    pub(crate) fn due(&self, now: Time, timeouts: &Timeouts, limits: &Bounds) -> Due {
        let due =
            self.deadlines(timeouts, limits).filter(|&(at, _)| at <= now).min_by_key(|&(at, _)| at);
        due.map_or(Due::Nothing, |(_, due)| due)
    }

    /// Whether its next deadline is a timer of the handler's.
    pub(crate) fn is_timer_next(&self, timeouts: &Timeouts, limits: &Bounds) -> bool {
        self.first_timer().is_some_and(|timer| timer.at == self.next_deadline(timeouts, limits))
    }

    /// The first of the handler's timers.
    pub(crate) fn first_timer(&self) -> Option<Timer> {
        self.cold.as_ref()?.timers.first()
    }

    /// Whether the peer is silent or stalled at `now`, whatever else is due.
    pub(crate) fn quiet_due(&self, now: Time, timeouts: &Timeouts, limits: &Bounds) -> Due {
        let (at, due) = self.quiet_deadline(timeouts, limits);
        if at <= now { due } else { Due::Nothing }
    }

    /// A send is tried now, to see whether the peer takes anything.
    pub(crate) fn look_for_room(&mut self, now: Time) {
        self.set(Flags::WRITABLE);
        let cold = self.cold();
        cold.looked = now;
        if cold.first_look <= cold.progress {
            cold.first_look = now;
        }
    }

    /// Every deadline that holds now, with what it means. Time in which the loop did not run does
    /// not count against a peer (C39).
    fn deadlines(&self, timeouts: &Timeouts, limits: &Bounds) -> impl Iterator<Item = (Time, Due)> {
        let never = (Time::NEVER, Due::Nothing);
        let cold = self.cold.as_deref();
        let at = |of: fn(&Cold) -> Time, due| cold.map_or(never, |cold| (of(cold), due));
        let retry = at(|cold| cold.receiving.at.min(cold.sending.at), Due::Retry);
        let deadline = at(|cold| cold.deadline, Due::LingerTimeout);
        let timer = at(|cold| cold.timers.next(), Due::Timer);
        match self.life {
            Life::Connecting => [(deadline.0, Due::ConnectTimeout), timer, retry],
            Life::Open => [self.quiet_deadline(timeouts, limits), timer, retry],
            Life::Flushing => [self.quiet_deadline(timeouts, limits), never, retry],
            Life::Lingering => {
                let since = cold.map_or(Time::NEVER, |cold| cold.lingers);
                let later = deadline.0.after(timeouts.hold_ups.after(since));
                [(later, Due::LingerTimeout), never, retry]
            }
            Life::Ended => [never; 3],
        }
        .into_iter()
    }

    /// Output that waits is the write timeout's business; without one, and without any output, the
    /// idle timeout's.
    ///
    /// A turn that takes long stamps the progress in it with the time of its begin. So a connection
    /// is stalled only when most of the timeout has passed since a look in a later turn as well.
    fn quiet_deadline(&self, timeouts: &Timeouts, limits: &Bounds) -> (Time, Due) {
        let after = |since: Time, timeout: Duration| {
            since.after(timeout.saturating_add(timeouts.hold_ups.after(since)))
        };
        if let Some(cold) = &self.cold
            && !cold.output.is_empty()
            && let Some(write) = limits.write
        {
            let part = write / STALL_LOOKS;
            let look = cold.looked.max(cold.progress).after(part);
            if cold.first_look <= cold.progress {
                return (look, Due::Stalling);
            }
            let stalled = after(cold.progress, write).max(after(cold.first_look, write - part));
            return if stalled <= look { (stalled, Due::Stalled) } else { (look, Due::Stalling) };
        }
        // It is about to be sent something, or what it has sent is not read: for want of memory
        // (C11), or because the handler paused. Or it waits for something else.
        let waits = Flags::JOINED | Flags::STARVED | Flags::PAUSED | Flags::RETRY;
        if self.has(waits) || self.is_busy() {
            return (Time::NEVER, Due::Nothing);
        }
        let idle = limits.idle.map_or(Time::NEVER, |idle| after(self.active, idle));
        match timeouts.drain {
            Some((since, quiet)) if !self.has(Flags::QUEUED) => {
                let quiet = after(self.active.max(since), quiet);
                if quiet <= idle {
                    return (quiet, Due::Idle(Reason::DrainQuiet));
                }
            }
            _ => {}
        }
        (idle, Due::Idle(Reason::IdleTimeout))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NONE: Set = Set { idle: None, write: None, drain: None };

    /// What is set of all that makes a deadline.
    struct Set {
        idle: Option<Duration>,
        write: Option<Duration>,
        drain: Option<(Time, Duration)>,
    }

    impl Set {
        fn parts(&self) -> (Timeouts, Bounds) {
            let timeouts = Timeouts { drain: self.drain, hold_ups: HoldUps::NONE };
            (timeouts, Bounds { idle: self.idle, write: self.write, ..Bounds::DEFAULT })
        }
    }

    fn next_deadline(connection: &Connection<()>, set: &Set) -> Time {
        let (timeouts, limits) = set.parts();
        connection.next_deadline(&timeouts, &limits)
    }

    fn due(connection: &Connection<()>, now: Time, set: &Set) -> Due {
        let (timeouts, limits) = set.parts();
        connection.due(now, &timeouts, &limits)
    }

    fn connection() -> Connection<()> {
        let mut connection = Connection::accepted((), NonZeroU64::MIN, Time::ZERO);
        connection.push(b"queued", Time::ZERO, 1000, Flags::ABOVE);
        connection
    }

    /// Found by the simulated kernel: a turn took three milliseconds, and the peer was given up
    /// three milliseconds too early (seed 462609).
    #[test]
    fn c39_what_a_long_turn_wrote_does_not_count_from_its_begin() {
        let at = |seconds: u32| Time::ZERO.after(seconds * SECOND);
        let timeouts = Set { write: Some(8 * SECOND), ..NONE };
        let mut connection = connection();
        let _ = connection.wrote(1, Time::ZERO);
        // The turn has taken 5 s. The next one looks, and finds no room.
        assert_eq!(due(&connection, at(5), &timeouts), Due::Stalling);
        connection.look_for_room(at(5));
        for second in [8, 11] {
            assert_eq!(due(&connection, at(second), &timeouts), Due::Stalling, "at {second} s");
            connection.look_for_room(at(second));
        }
        assert_eq!(next_deadline(&connection, &timeouts), at(12));
        assert_eq!(due(&connection, at(12), &timeouts), Due::Stalled);
        // Where the looks come in time, so does the end.
        let _ = connection.wrote(1, at(20));
        (21..28).for_each(|second| connection.look_for_room(at(second)));
        assert_eq!(next_deadline(&connection, &timeouts), at(28));
        assert_eq!(due(&connection, at(28), &timeouts), Due::Stalled);
    }

    #[test]
    fn want_of_memory_is_tried_again_after_ten_milliseconds_that_double() {
        let mut connection = connection();
        let mut now = Time::ZERO;
        for millis in [10, 20, 40, 80, 160, 320, 640, 1280] {
            let later = connection.retry(Transfer::Send, Errno::NOBUFS, now);
            assert_eq!(later, Retry::Later);
            let at = now.after(Duration::from_millis(millis));
            assert_eq!(next_deadline(&connection, &NONE), at, "{millis} ms");
            assert_eq!(due(&connection, at, &NONE), Due::Retry);
            now = at;
        }
        let last = connection.retry(Transfer::Send, Errno::NOBUFS, now);
        assert_eq!(last, Retry::GiveUp);
    }

    #[test]
    fn a_drain_shortens_the_lingering_of_those_that_linger() {
        let at = |seconds| Time::ZERO.after(seconds * SECOND);
        let mut connection = Connection::accepted((), NonZeroU64::MIN, Time::ZERO);
        connection.hasten(at(1));
        assert_eq!(next_deadline(&connection, &NONE), Time::NEVER, "it does not linger");
        let _ = connection.begin_close(Reason::Closed);
        connection.linger(at(0), 5 * SECOND, 10);
        connection.hasten(at(7));
        assert_eq!(next_deadline(&connection, &NONE), at(5), "it never takes longer");
        connection.hasten(at(1));
        assert_eq!(next_deadline(&connection, &NONE), at(1));
    }

    /// Found by the simulated kernel: whoever was kept from being read by the ceiling was closed as
    /// idle, and what had come from it was discarded.
    #[test]
    fn c11_whoever_is_not_read_for_want_of_memory_is_not_idle() {
        let mut connection = Connection::accepted((), NonZeroU64::MIN, Time::ZERO);
        let late = Time::ZERO.after(100 * SECOND);
        let idle = Set { idle: Some(SECOND), ..NONE };
        let drain = Set { drain: Some((Time::ZERO, SECOND)), ..NONE };
        connection.set(Flags::STARVED);
        assert_eq!(due(&connection, late, &idle), Due::Nothing);
        assert_eq!(due(&connection, late, &drain), Due::Nothing);
        connection.fed(late);
        assert_eq!(due(&connection, late, &idle), Due::Nothing, "its time begins anew");
        let later = late.after(SECOND);
        assert_eq!(due(&connection, later, &idle), Due::Idle(Reason::IdleTimeout));
        assert_eq!(due(&connection, later, &drain), Due::Idle(Reason::DrainQuiet));
    }

    #[test]
    fn c37_whoever_is_owed_output_is_not_quiet_however_long_it_takes_none() {
        let drain = Set { drain: Some((Time::ZERO, SECOND)), ..NONE };
        let mut connection = connection();
        assert_eq!(due(&connection, Time::ZERO.after(100 * SECOND), &drain), Due::Nothing);
        let _ = connection.wrote(b"queued".len(), Time::ZERO);
        assert_eq!(
            due(&connection, Time::ZERO.after(SECOND), &drain),
            Due::Idle(Reason::DrainQuiet)
        );
    }

    #[test]
    fn c07_the_first_error_is_the_one_that_is_told() {
        let mut connection = connection();
        let _ = connection.fail(Errno::CONNRESET);
        let _ = connection.fail(Errno::PIPE);
        assert_eq!(connection.error(), Some(Errno::CONNRESET));
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let mut connection = connection();
        for _ in 0..3 * RETRIES {
            let receive = connection.retry(Transfer::Receive, Errno::NOMEM, Time::ZERO);
            assert_eq!(receive, Retry::Later);
            connection.receive_answered();
            let send = connection.retry(Transfer::Send, Errno::NOMEM, Time::ZERO);
            assert_eq!(send, Retry::Later);
            connection.push(b"more", Time::ZERO, 1000, Flags::ABOVE);
            let _ = connection.wrote(1, Time::ZERO);
        }
    }

    #[test]
    fn success_of_the_one_does_not_excuse_the_other() {
        let mut connection = connection();
        for _ in 0..RETRIES {
            let send = connection.retry(Transfer::Send, Errno::NOMEM, Time::ZERO);
            assert_eq!(send, Retry::Later);
            connection.receive_answered();
        }
        let send = connection.retry(Transfer::Send, Errno::NOMEM, Time::ZERO);
        assert_eq!(send, Retry::GiveUp);
        assert_eq!(connection.error(), Some(Errno::NOMEM));
    }

    #[test]
    fn each_retry_has_its_time_and_touches_nothing_else() {
        let mut connection = connection();
        connection.retry(Transfer::Send, Errno::NOBUFS, Time::ZERO);
        connection.retry(Transfer::Receive, Errno::NOBUFS, Time::ZERO.after(SECOND));
        assert_eq!(next_deadline(&connection, &NONE), Time::ZERO.after(FIRST_RETRY));
        let first = Time::ZERO.after(FIRST_RETRY);
        assert_eq!(due(&connection, first, &NONE), Due::Retry);
        connection.retry_now(first);
        assert!(connection.has(Flags::WRITABLE) && connection.has(Flags::RETRY));
        let second = Time::ZERO.after(SECOND + FIRST_RETRY);
        assert_eq!(due(&connection, second, &NONE), Due::Retry);
        connection.retry_now(second);
        assert!(connection.has(Flags::READABLE) && !connection.has(Flags::RETRY));
        assert_eq!(due(&connection, second, &NONE), Due::Nothing);
    }
}
