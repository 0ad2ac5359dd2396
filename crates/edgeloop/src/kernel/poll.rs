//! Which sockets are ready, and the alarm: one epoll set.

use std::time::Duration;

use rustix::io::Errno;

use super::sockets::Sockets;
use super::source::EventSource;
use crate::api::time::Time;
use crate::epoll::{Batch, Interest};

/// One epoll set, in which the alarm and the waker are registered from the start.
pub trait Poll: Sockets {
    /// epoll_wait(2), with no timeout if `block`, else with a timeout of zero.
    fn wait(&mut self, events: &mut Batch, block: bool) -> Result<(), Errno>;

    /// The same with a timeout that is not zero. It may return earlier, if that is very long.
    fn wait_for(&mut self, events: &mut Batch, timeout: Duration) -> Result<(), Errno>;

    /// Registers a socket, edge-triggered (`EPOLL_CTL_ADD`). Its events tell that they are of this
    /// source.
    fn register(
        &mut self,
        socket: &Self::Socket,
        source: EventSource,
        interest: Interest,
    ) -> Result<(), Errno>;

    /// Registers a listener that other loops accept at as well: for what can be read,
    /// edge-triggered, and exclusively (`EPOLLEXCLUSIVE`).
    fn register_shared(&mut self, socket: &Self::Socket, source: EventSource) -> Result<(), Errno>;

    /// Registers a registered socket for something else (`EPOLL_CTL_MOD`). What it's ready for now
    /// is told anew.
    fn reregister(
        &mut self,
        socket: &Self::Socket,
        source: EventSource,
        interest: Interest,
    ) -> Result<(), Errno>;

    /// Takes a registered socket out of the set (`EPOLL_CTL_DEL`). Only one that others may hold
    /// open as well needs that: closing the last descriptor does it, too.
    fn deregister(&mut self, socket: &Self::Socket) -> Result<(), Errno>;

    /// Makes the alarm ring once at the time given, and not earlier (timerfd_settime(2)).
    fn set_alarm(&mut self, at: Time) -> Result<(), Errno>;
}
