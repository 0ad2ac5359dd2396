//! The options of every socket that carries bytes: of listeners, which pass them on, and of
//! outbound connections.

use std::time::Duration;

use crate::api::address::Address;
use crate::api::config::Config;
use crate::api::error::{Failed, InCall};
use crate::kernel::{Kernel, SocketOption};

/// How many probes without an answer end a connection.
const PROBES: u32 = 6;

/// Sets an option; its error names it.
pub(crate) fn set_option<K: Kernel>(
    kernel: &mut K,
    socket: &K::Socket,
    option: SocketOption,
) -> Result<(), Failed> {
    kernel.set_option(socket, option).in_call(option.call())
}

/// Whether what a listener accepts has the listener's options. That saves a call for each option
/// of each connection. What a Unix socket accepts has none of them (unix_stream_connect, Linux
/// 6.18).
pub(crate) const fn inherits_options(listener: &Address) -> bool {
    !listener.is_unix()
}

/// Sets what a socket of this family needs before it listens or connects, or, where nothing is
/// inherited, when it's accepted. A Unix socket knows none of TCP's options (EOPNOTSUPP), and needs
/// no keepalive: its peer can't vanish.
pub(crate) fn set_options<K: Kernel>(
    kernel: &mut K,
    socket: &K::Socket,
    family: &Address,
    config: &Config,
) -> Result<(), Failed> {
    if !family.is_unix() {
        set_tcp_options(kernel, socket, config)?;
    }
    set_option(kernel, socket, SocketOption::UrgentInline)?;
    if let Some(bytes) = config.send_buffer {
        set_option(kernel, socket, SocketOption::SendBuffer(bytes))?;
    }
    Ok(())
}

fn set_tcp_options<K: Kernel>(
    kernel: &mut K,
    socket: &K::Socket,
    config: &Config,
) -> Result<(), Failed> {
    set_option(kernel, socket, SocketOption::NoDelay)?;
    if let Some(after) = config.keepalive_after() {
        for option in keepalive(after) {
            set_option(kernel, socket, option)?;
        }
    }
    if let Some(timeout) = config.user_timeout {
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        set_option(kernel, socket, SocketOption::UserTimeout(millis))?;
    }
    Ok(())
}

/// The first probe comes after so long, and the last of those that get no answer after as long
/// again.
fn keepalive(after: Duration) -> [SocketOption; 4] {
    let seconds = |nanos: u128| {
        let seconds = u64::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(u64::MAX);
        Duration::from_secs(seconds.max(1))
    };
    [
        SocketOption::KeepaliveIdle(seconds(after.as_nanos())),
        SocketOption::KeepaliveInterval(seconds(after.as_nanos() / u128::from(PROBES))),
        SocketOption::KeepaliveCount(PROBES),
        // Last, so that the others hold when it begins.
        SocketOption::Keepalive,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c43_a_peer_that_vanished_is_given_up_after_twice_the_time_and_never_sooner() {
        let second = Duration::from_secs(1);
        let cases = [
            (second, second, second),
            (Duration::from_millis(1001), 2 * second, second),
            (120 * second, 120 * second, 20 * second),
            (32_767 * second, 32_767 * second, 5462 * second),
        ];
        for (after, idle, interval) in cases {
            let expected = [
                SocketOption::KeepaliveIdle(idle),
                SocketOption::KeepaliveInterval(interval),
                SocketOption::KeepaliveCount(6),
                SocketOption::Keepalive,
            ];
            assert_eq!(keepalive(after), expected, "{after:?}");
        }
    }
}
