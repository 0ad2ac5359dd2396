//! The settings of a loop: limits, watermarks, timeouts and budgets.

use std::io;
use std::time::Duration;

use crate::api::bounds::Bounds;
use crate::api::error::{Error, ErrorKind};
use crate::api::place::MemoryLimit;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The settings of an [`EventLoop`](crate::EventLoop). Sizes are in bytes.
///
/// Connections may have [`Limits`](crate::Limits) of their own, and listeners
/// [options](crate::ListenOptions).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use edgeloop::Config;
///
/// let config = Config::new().idle_timeout(Some(Duration::from_secs(600))).max_connections(Some(10_000));
/// # let _ = config;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub(crate) max_connections: Option<usize>,
    /// The limits of its connections.
    pub(crate) bounds: Bounds,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) linger_timeout: Duration,
    pub(crate) drain_linger_timeout: Duration,
    pub(crate) linger_limit: usize,
    pub(crate) drain_quiet: Duration,
    pub(crate) read_above_mark: bool,
    pub(crate) until_stopped: bool,
    pub(crate) busy_poll: Duration,
    pub(crate) spin: Duration,
    pub(crate) buffer_limit: usize,
    /// Whether that is the default, which is lowered to fit the place.
    pub(crate) fits_the_place: bool,
    pub(crate) read_buffer: usize,
    pub(crate) pipes: usize,
    pub(crate) turn_bytes: usize,
    pub(crate) turn_accepts: usize,
    pub(crate) turn_jobs: usize,
    pub(crate) event_batch: usize,
    pub(crate) backlog: u32,
    pub(crate) ipv6_only: bool,
    /// Whether other sockets may be bound to the same address, as those of a group's loops are.
    pub(crate) reuse_port: bool,
    /// `None` where nothing was said: with no idle timeout, it is on.
    pub(crate) keepalive: Option<Option<Duration>>,
    pub(crate) user_timeout: Option<Duration>,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) mailbox_limit: usize,
}

/// The smallest [`Config::backlog`] (C25).
pub const MIN_BACKLOG: u32 = 4096;

/// The smallest [`Config::buffer_limit`]: room for one full read and for what it may become.
pub const MIN_BUFFER_LIMIT: usize = 256 * KIB;

/// The default [`Config::buffer_limit`], where the place allows four times as much.
pub const DEFAULT_BUFFER_LIMIT: usize = 256 * MIB;

/// Which part of the memory that the place allows is the default ceiling at the most.
const PLACE_SHARE: u64 = 4;

/// The largest event batch that a loop grows to by itself or can be asked for.
pub const MAX_EVENT_BATCH: usize = 4096;

/// The largest [`Config::pipes`].
pub const MAX_PIPES: usize = 1024;

/// The default of [`Config::keepalive`] where there is no idle timeout. What lies between the two
/// ends, such as a NAT, seldom forgets a connection sooner.
pub const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(120);

/// The smallest [`Config::send_buffer`].
pub const MIN_SEND_BUFFER: usize = 4 * KIB;

/// The largest [`Config::send_buffer`].
pub const MAX_SEND_BUFFER: usize = 1024 * MIB - 1;

/// The longest [`Config::spin`].
pub const MAX_SPIN: Duration = Duration::from_secs(1);

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// The defaults, as each method names them.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            max_connections: None,
            bounds: Bounds::DEFAULT,
            connect_timeout: Some(Duration::from_secs(10)),
            linger_timeout: Duration::from_secs(5),
            drain_linger_timeout: Duration::from_secs(1),
            linger_limit: MIB,
            drain_quiet: Duration::from_secs(1),
            read_above_mark: false,
            until_stopped: false,
            busy_poll: Duration::ZERO,
            spin: Duration::ZERO,
            buffer_limit: DEFAULT_BUFFER_LIMIT,
            fits_the_place: true,
            read_buffer: 64 * KIB,
            pipes: 16,
            turn_bytes: 256 * KIB,
            turn_accepts: 128,
            turn_jobs: 1024,
            event_batch: 512,
            backlog: MIN_BACKLOG,
            ipv6_only: false,
            reuse_port: false,
            keepalive: None,
            user_timeout: None,
            send_buffer: None,
            mailbox_limit: 16 * MIB,
        }
    }

    /// The most connections at a time, accepted, connecting and lingering ones included (C24).
    /// `None`, the default, leaves a reserve below the process's soft limit of descriptors, and
    /// those of listeners and pipes. A number above that is lowered to it, and none is above
    /// 4,194,304.
    #[must_use]
    pub const fn max_connections(mut self, connections: Option<usize>) -> Self {
        self.max_connections = connections;
        self
    }

    /// Closes a connection on which nothing was received and no output moved for this long. `None`,
    /// the default, never does; then [`keepalive`](Self::keepalive) is on. Output that waits is the
    /// write timeout's.
    ///
    /// A paused connection is not idle, nor is a busy one
    /// ([`set_busy`](crate::LoopContext::set_busy)). Before a connection is closed its socket is
    /// read once more, and time in which the loop did not run does not count (C39): after a stop of
    /// the process, peers have their time again.
    #[must_use]
    pub const fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.bounds.idle = timeout;
        self
    }

    /// Resets a connection whose peer takes none of the output that waits for it for this long; 60
    /// s by default. While output waits, a send is tried in each eighth of that time, since the
    /// kernel does not tell of a little room; so the timeout acts at most an eighth later. Time in
    /// which the loop did not run does not count (C39).
    ///
    /// A peer that reads too slowly looks like one that does not read at all. Once its receive
    /// buffer is full, its kernel announces room only when a sixteenth of it is free
    /// (`__tcp_select_window`, Linux 6.18), and until then nothing of its reading can be seen from
    /// here, neither by `TCP_INFO` nor by `SIOCOUTQ`. With the 6 MiB that a receive buffer grows to
    /// by default (`net.ipv4.tcp_rmem`), that is a peer that reads less than 6.4 kB a second. Where
    /// such peers are to be served, this must be longer.
    #[must_use]
    pub const fn write_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.bounds.write = timeout;
        self
    }

    /// Lets the kernel probe a connection after this long without traffic (`SO_KEEPALIVE`, tcp(7)),
    /// so that a peer that has vanished is noticed (C43). It gives the connection up after as long
    /// again without an answer. The default is [`DEFAULT_KEEPALIVE`] if there is no idle timeout,
    /// and `None`, which never probes, if there is one. From 1 s to 32,767 s, in whole seconds,
    /// rounded up.
    ///
    /// Listeners pass it on to what they accept, without a call more for each; an outbound
    /// connection costs four.
    #[must_use]
    pub const fn keepalive(mut self, after: Option<Duration>) -> Self {
        self.keepalive = Some(after);
        self
    }

    /// After how long without an acknowledgement, or with a peer that has no room for more, the
    /// kernel gives a connection up with `ETIMEDOUT` (`TCP_USER_TIMEOUT`, tcp(7)). `None`, the
    /// default, leaves that to the kernel: some 15 minutes, or never while the peer answers. In
    /// milliseconds.
    ///
    /// Unlike [`write_timeout`](Self::write_timeout) it counts for what the kernel has accepted,
    /// too, also when the loop has closed the connection: it bounds for how long a peer that does
    /// not read makes the kernel keep that ([`send_buffer`](Self::send_buffer) bounds how much).
    #[must_use]
    pub const fn user_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.user_timeout = timeout;
        self
    }

    /// The send buffer of each socket (`SO_SNDBUF`, socket(7)), which the kernel doubles and
    /// `net.core.wmem_max` caps. `None`, the default, lets the kernel tune it, up to
    /// `net.ipv4.tcp_wmem`: 4 MiB for each connection on most systems.
    ///
    /// What it holds counts in no limit of the loop, and is kept when the connection has ended,
    /// until the peer has it or the kernel gives up.
    #[must_use]
    pub const fn send_buffer(mut self, bytes: Option<usize>) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// After how long without traffic connections are probed.
    pub(crate) fn keepalive_after(&self) -> Option<Duration> {
        let unsaid = self.bounds.idle.is_none().then_some(DEFAULT_KEEPALIVE);
        self.keepalive.unwrap_or(unsaid)
    }

    /// Gives up an outbound connection that is not made after so long; 10 s by default.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a connection that we ended first waits for the peer's FIN (C6); 5 s by default.
    #[must_use]
    pub const fn linger_timeout(mut self, timeout: Duration) -> Self {
        self.linger_timeout = timeout;
        self
    }

    /// How many bytes it discards meanwhile at the most (C6); 1 MiB by default.
    #[must_use]
    pub const fn linger_limit(mut self, bytes: usize) -> Self {
        self.linger_limit = bytes;
        self
    }

    /// While the loop drains: how long a connection must be quiet to be closed (C37); 1 s by
    /// default.
    #[must_use]
    pub const fn drain_quiet(mut self, quiet: Duration) -> Self {
        self.drain_quiet = quiet;
        self
    }

    /// While the loop drains: as [`linger_timeout`](Self::linger_timeout); 1 s by default.
    #[must_use]
    pub const fn drain_linger_timeout(mut self, timeout: Duration) -> Self {
        self.drain_linger_timeout = timeout;
        self
    }

    /// Above this many bytes of queued output a connection is not read from (C10); 64 KiB by
    /// default.
    #[must_use]
    pub const fn high_watermark(mut self, bytes: usize) -> Self {
        self.bounds.high = bytes;
        self
    }

    /// At this many bytes of queued output, or below, a connection that was above the high
    /// watermark is read again (C10); 16 KiB by default.
    #[must_use]
    pub const fn low_watermark(mut self, bytes: usize) -> Self {
        self.bounds.low = bytes;
        self
    }

    /// Whether a connection is read on above its high watermark; `false` by default. It is for
    /// handlers whose output is no answer to their input: a client that waits for the other end to
    /// read would keep it waiting, if that end waits for its answers to be read. Such a handler
    /// bounds its output itself: it stops at [`Sent::AboveMark`](crate::Sent::AboveMark), and goes
    /// on from [`Handler::drained`](crate::Handler::drained). The limits hold as ever.
    #[must_use]
    pub const fn read_above_mark(mut self, reads: bool) -> Self {
        self.read_above_mark = reads;
        self
    }

    /// Whether the loop runs until it is stopped, also while it has neither a listener nor a
    /// connection; `false` by default. That is for a loop that gets its connections from other
    /// threads ([`Handle::adopt`](crate::Handle::adopt)), or begins them when it gets a message.
    #[must_use]
    pub const fn until_stopped(mut self, stays: bool) -> Self {
        self.until_stopped = stays;
        self
    }

    /// How long before the loop's wake-up ([`LoopContext::wake_at`](crate::LoopContext::wake_at))
    /// it polls instead of sleeping; zero by default. A thread that sleeps is late by what the
    /// kernel takes to run it again: some 50 µs, more where processors save power. A thread that
    /// polls is late by a turn, and takes its whole processor for so long.
    #[must_use]
    pub const fn busy_poll(mut self, before: Duration) -> Self {
        self.busy_poll = before;
        self
    }

    /// How long the loop polls before it sleeps, [`MAX_SPIN`] at the most; zero, the default, for
    /// not at all. A thread that sleeps is late by what the kernel takes to run it again, some 50
    /// µs; one that polls is late by a system call, and takes its whole processor meanwhile. So it
    /// is for machines with a processor to spare, where the next message follows sooner than that.
    ///
    /// A spin begins where the loop would sleep and something has moved since it last would have: a
    /// byte in or out, or a connection that began or ended. It counts from its first poll on, and
    /// ends with the first thing that moves. If nothing does, it was in vain, and the loop sleeps,
    /// until there is an event; an idle loop makes no call. What can wake a sleeping loop ends a
    /// spin as well: an event, a timer, a letter or a stop of another thread; one by which nothing
    /// moves does not make it longer.
    ///
    /// It adapts to whether that pays. A spin in vain changes nothing yet; behind two in a row the
    /// loop sleeps the next time without one, behind three the next 3 times, then 7, 15, 31 and 63
    /// times. One that pays ends that. [`Metrics::spins`](crate::Metrics::spins) and
    /// [`Metrics::spins_paid`](crate::Metrics::spins_paid) say how often it did. Each poll is a
    /// turn.
    #[must_use]
    pub const fn spin(mut self, most: Duration) -> Self {
        self.spin = most;
        self
    }

    /// The most output queued for one connection; what would exceed it is refused (C10).
    /// 1 MiB by default.
    #[must_use]
    pub const fn output_limit(mut self, bytes: usize) -> Self {
        self.bounds.output = bytes;
        self
    }

    /// How many bytes of input that its handler has not taken are kept for a connection, 64 KiB by
    /// default. Reaching it closes the connection with
    /// [`Reason::InputLimit`](crate::Reason::InputLimit), after what the handler has sent is
    /// flushed.
    #[must_use]
    pub const fn input_limit(mut self, bytes: usize) -> Self {
        self.bounds.input = bytes;
        self
    }

    /// The ceiling of all queued bytes of the loop (C11). A quarter of it is the share of the input
    /// that handlers left unconsumed, the rest is for output. At least [`MIN_BUFFER_LIMIT`].
    ///
    /// The default is 256 MiB, or a quarter of the memory that the place allows if that is less
    /// ([`MemoryLimit`]): the rest is for the program, its tables, and the buffers of sockets,
    /// which a cgroup of version 2 counts, too.
    /// [`EventLoop::buffer_limit`](crate::EventLoop::buffer_limit) returns what holds.
    ///
    /// Near the ceiling of output, connections with queued output are not read, so that their
    /// peers' kernels stop them. Those without are served on, a page of input at a time. If there
    /// is no room for that, connections whose sockets have taken nothing for 250 ms are reset, with
    /// [`Reason::OutputShare`](crate::Reason::OutputShare).
    ///
    /// It does not count what the kernel holds for sockets; see [`send_buffer`](Self::send_buffer).
    #[must_use]
    pub const fn buffer_limit(mut self, bytes: usize) -> Self {
        self.buffer_limit = bytes;
        self.fits_the_place = false;
        self
    }

    /// The size of the loop's one read buffer, 64 KiB by default, and so the most that a data
    /// callback is shown at once beside what it has left before.
    #[must_use]
    pub const fn read_buffer(mut self, bytes: usize) -> Self {
        self.read_buffer = bytes;
        self
    }

    /// How many pipes the loop has at the most for connections that are
    /// [relayed](crate::LoopContext::relay); 16 by default, at most [`MAX_PIPES`]. A pipe has two
    /// descriptors, which the connection cap leaves free (C24); where a process may have few
    /// descriptors, there is one pipe in 64 at the most. The loop makes a pipe when it needs one,
    /// and while nobody reads too slowly it needs one only. With none, or when all are taken, bytes
    /// are copied instead.
    #[must_use]
    pub const fn pipes(mut self, pipes: usize) -> Self {
        self.pipes = pipes;
        self
    }

    /// How many bytes one turn reads and writes for one connection at the most (C13); 256 KiB by
    /// default. What callbacks send counts: beyond that, or twice as much where it comes in small
    /// messages, it is queued for the next turn, and [`Sent::Queued`](crate::Sent::Queued) or
    /// [`Sent::AboveMark`](crate::Sent::AboveMark) is the answer.
    #[must_use]
    pub const fn turn_bytes(mut self, bytes: usize) -> Self {
        self.turn_bytes = bytes;
        self
    }

    /// How many connections one turn accepts from one listener at the most (C15); 128 by default.
    #[must_use]
    pub const fn turn_accepts(mut self, connections: usize) -> Self {
        self.turn_accepts = connections;
        self
    }

    /// How many timers one turn calls at the most, how many letters of other threads it reads, and
    /// how many connections it closes (C16); 1,024 of each by default.
    #[must_use]
    pub const fn turn_jobs(mut self, jobs: usize) -> Self {
        self.turn_jobs = jobs;
        self
    }

    /// How many events one wait takes at first, 512 by default. The batch doubles whenever it
    /// comes back full, up to [`MAX_EVENT_BATCH`] (C14).
    #[must_use]
    pub const fn event_batch(mut self, events: usize) -> Self {
        self.event_batch = events;
        self
    }

    /// The backlog of listeners, [`MIN_BACKLOG`] by default and at least (C25).
    #[must_use]
    pub const fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Whether a listener on an IPv6 address leaves IPv4 alone; `false` by default (C26).
    #[must_use]
    pub const fn ipv6_only(mut self, only: bool) -> Self {
        self.ipv6_only = only;
        self
    }

    /// The most bytes waiting in the mailbox that other threads send through, 16 MiB by default.
    #[must_use]
    pub const fn mailbox_limit(mut self, bytes: usize) -> Self {
        self.mailbox_limit = bytes;
        self
    }

    /// Lowers the default ceiling to its share of what the place allows.
    pub(crate) fn fitted(mut self, limit: Option<&MemoryLimit>) -> Self {
        if let Some(limit) = limit
            && self.fits_the_place
        {
            let share = usize::try_from(limit.bytes() / PLACE_SHARE).unwrap_or(usize::MAX);
            self.buffer_limit = self.buffer_limit.min(share).max(MIN_BUFFER_LIMIT);
        }
        self
    }

    /// Checks what can't be expressed in types.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| {
            Err(Error::new(ErrorKind::Config, what, io::Error::from(io::ErrorKind::InvalidInput)))
        };
        if self.buffer_limit < MIN_BUFFER_LIMIT {
            return wrong(format!(
                "a buffer limit of {} bytes is below {MIN_BUFFER_LIMIT}",
                self.buffer_limit
            ));
        }
        if self.read_buffer == 0 || self.read_buffer > 64 * KIB {
            return wrong(format!("a read buffer of {} bytes is not 1 to 65536", self.read_buffer));
        }
        self.bounds.check(self.read_buffer)?;
        if self.pipes > MAX_PIPES {
            return wrong(format!("a pool of {} pipes is above {MAX_PIPES}", self.pipes));
        }
        if self.backlog < MIN_BACKLOG {
            return wrong(format!("a backlog of {} is below {MIN_BACKLOG}", self.backlog));
        }
        if self.event_batch == 0 || self.event_batch > MAX_EVENT_BATCH {
            return wrong(format!(
                "an event batch of {} is not 1 to {MAX_EVENT_BATCH}",
                self.event_batch
            ));
        }
        let longest = Duration::from_secs(32_767);
        if let Some(after) = self.keepalive.flatten()
            && !(Duration::from_secs(1)..=longest).contains(&after)
        {
            return wrong(format!("a keepalive after {after:?} is not 1s to 32767s"));
        }
        let longest = Duration::from_millis(i32::MAX.unsigned_abs().into());
        if let Some(timeout) = self.user_timeout
            && !(Duration::from_millis(1)..=longest).contains(&timeout)
        {
            return wrong(format!("a user timeout of {timeout:?} is not 1ms to 2147483647ms"));
        }
        if let Some(bytes) = self.send_buffer
            && !(MIN_SEND_BUFFER..=MAX_SEND_BUFFER).contains(&bytes)
        {
            return wrong(format!(
                "a send buffer of {bytes} bytes is not {MIN_SEND_BUFFER} to {MAX_SEND_BUFFER}"
            ));
        }
        if self.spin > MAX_SPIN {
            return wrong(format!("a spin of {:?} is above {MAX_SPIN:?}", self.spin));
        }
        if self.turn_bytes == 0 || self.turn_accepts == 0 || self.turn_jobs == 0 {
            return wrong("a budget of zero lets nothing happen".to_owned());
        }
        if self.max_connections == Some(0) {
            return wrong("a cap of no connections lets nothing happen".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        Config::new().check().expect("the defaults");
    }

    #[test]
    fn each_contradiction_is_named() {
        let wrong = [
            (Config::new().buffer_limit(1), "buffer limit of 1 bytes"),
            (Config::new().high_watermark(1).low_watermark(2), "low watermark of 2 bytes"),
            (Config::new().read_buffer(0), "read buffer of 0 bytes"),
            (Config::new().output_limit(100_000), "output limit of 100000 bytes"),
            (Config::new().pipes(1025), "pool of 1025 pipes"),
            (Config::new().backlog(128), "backlog of 128"),
            (Config::new().event_batch(0), "event batch of 0"),
            (Config::new().spin(MAX_SPIN * 2), "a spin of 2s is above 1s"),
            (Config::new().keepalive(Some(Duration::ZERO)), "a keepalive after 0ns"),
            (Config::new().user_timeout(Some(Duration::ZERO)), "a user timeout of 0ns"),
            (Config::new().send_buffer(Some(1)), "a send buffer of 1 bytes"),
            (Config::new().turn_bytes(1).turn_accepts(0).turn_jobs(1), "budget of zero"),
            (Config::new().max_connections(Some(0)), "cap of no connections"),
        ];
        for (config, words) in wrong {
            let error = config.check().expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
