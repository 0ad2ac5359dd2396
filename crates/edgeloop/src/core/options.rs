//! The options of every socket that carries bytes: of listeners, which pass them on, and of
//! outbound connections.

use std::time::Duration;

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

/// Sets what a socket needs before it listens or connects; what is accepted inherits it, which
/// saves a call for each option of each connection.
pub(crate) fn set_options<K: Kernel>(
    kernel: &mut K,
    socket: &K::Socket,
    config: &Config,
) -> Result<(), Failed> {
    set_option(kernel, socket, SocketOption::NoDelay)?;
    set_option(kernel, socket, SocketOption::UrgentInline)?;
    if let Some(after) = config.keepalive_after() {
        for option in keepalive(after) {
            set_option(kernel, socket, option)?;
        }
    }
    if let Some(timeout) = config.user_timeout {
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        set_option(kernel, socket, SocketOption::UserTimeout(millis))?;
    }
    if let Some(bytes) = config.send_buffer {
        set_option(kernel, socket, SocketOption::SendBuffer(bytes))?;
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
