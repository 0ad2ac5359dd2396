//! Waiting for exactly as long as asked, whatever signals and the kernel's units say to it.

use super::{Batch, Epoll};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// The longest that one call of epoll_wait(2) counts: some 24 days.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// Waits in as many steps as it takes until there are events or `timeout` has passed.
pub(super) fn wait(
    epoll: &Epoll,
    events: &mut Batch,
    timeout: Option<Duration>,
) -> Result<(), Errno> {
    // The clock is read only for a wait that can be cut short. A deadline beyond what it can
    // express is hundreds of thousands of millions of years away: for ever will do.
    let deadline = match timeout {
        None | Some(Duration::ZERO) => None,
        Some(timeout) => Instant::now().checked_add(timeout),
    };
    let mut remaining =
        if deadline.is_some() { timeout } else { timeout.filter(Duration::is_zero) };
    loop {
        let interrupted = match wait_once(epoll, events, remaining) {
            Ok(()) if !events.is_empty() => return Ok(()),
            Ok(()) => false,
            Err(Errno::INTR) => true,
            Err(error) => return Err(error),
        };
        if let Some(deadline) = deadline {
            remaining = Some(deadline.saturating_duration_since(Instant::now()));
        }
        // A step that ran to its end has had a last look; one that a signal ended has not.
        if remaining == Some(Duration::ZERO) && !interrupted {
            return Ok(());
        }
    }
}

/// Waits once, for `timeout` or for the longest that one step can be; says so if a signal ended it.
#[inline]
pub(super) fn wait_once(
    epoll: &Epoll,
    events: &mut Batch,
    timeout: Option<Duration>,
) -> Result<(), Errno> {
    match Step::of(timeout) {
        Step::Forever => epoll.block(events),
        Step::Millis(millis) => epoll.wait_millis(events, millis),
        Step::Fine(timeout) => {
            events.clear();
            poll(&mut [PollFd::new(epoll, PollFlags::IN)], Some(&timeout))?;
            epoll.poll_now(events)
        }
    }
}

/// How the kernel is asked to wait, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// epoll_wait without a timeout.
    Forever,
    /// epoll_wait, which counts in milliseconds.
    Millis(i32),
    /// ppoll, which counts in nanoseconds.
    Fine(Timespec),
}

impl Step {
    /// The step that waits for exactly `timeout`, or for [`LONGEST`] if that is shorter.
    fn of(timeout: Option<Duration>) -> Self {
        let Some(timeout) = timeout else { return Self::Forever };
        let timeout = timeout.min(LONGEST);
        let seconds = i64::try_from(timeout.as_secs()).expect("24 days are few seconds");
        match i32::try_from(timeout.as_millis()) {
            Ok(millis) if timeout.subsec_nanos().is_multiple_of(1_000_000) => Self::Millis(millis),
            _ => Self::Fine(Timespec { tv_sec: seconds, tv_nsec: timeout.subsec_nanos().into() }),
        }
    }
}

/// Milliseconds in the form in which rustix takes them, to make the same milliseconds of them.
#[inline]
pub(super) const fn timespec_from_millis(millis: i32) -> Timespec {
    let millis = millis as i64;
    Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(step: Step) -> Option<Duration> {
        match step {
            Step::Forever => None,
            Step::Millis(millis) => Some(Duration::from_millis(millis.try_into().unwrap())),
            Step::Fine(time) => Some(Duration::try_from(time).unwrap()),
        }
    }

    #[test]
    fn c28_a_step_is_as_long_as_asked() {
        let nanos = [0, 1, 999, 1_000, 300_000, 999_999, 1_000_000, 1_000_001, 1_500_000];
        for timeout in nanos.into_iter().map(Duration::from_nanos) {
            for seconds in [0, 1, 2_147_482] {
                let timeout = timeout + Duration::from_secs(seconds);
                assert_eq!(length(Step::of(Some(timeout))), Some(timeout));
            }
        }
        assert_eq!(Step::of(None), Step::Forever);
    }

    #[test]
    fn whole_milliseconds_take_one_system_call() {
        for millis in [0, 1, 999, 1_000, 60_000, i32::MAX] {
            let timeout = Duration::from_millis(millis.try_into().unwrap());
            assert_eq!(Step::of(Some(timeout)), Step::Millis(millis));
        }
    }

    #[test]
    fn what_is_too_long_for_one_step_is_cut() {
        for timeout in
            [LONGEST + Duration::from_nanos(1), Duration::from_secs(1 << 40), Duration::MAX]
        {
            assert_eq!(Step::of(Some(timeout)), Step::Millis(i32::MAX));
        }
    }

    #[test]
    fn milliseconds_pass_through_rustix_unchanged() {
        for millis in [0, 1, 999, 1_000, 1_001, i32::MAX] {
            let step = Duration::try_from(timespec_from_millis(millis)).unwrap();
            assert_eq!(step, Duration::from_millis(millis.try_into().unwrap()));
        }
    }
}
