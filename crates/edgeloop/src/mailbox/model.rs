//! A kernel that has a waker and nothing else, for the mailbox's own tests.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;

use crate::epoll::{Batch, Interest, Token};
use crate::kernel::{Kernel, SocketOption, Wake};
use crate::time::Time;

/// A waker that can be reset, as an eventfd can.
pub(super) trait Signal: Wake {
    /// A read of the eventfd.
    fn reset(&self) -> Result<(), Errno>;
}

/// The kernel around it. The mailbox makes no other call.
pub(super) struct Model<S>(pub(super) S);

const NONE: &str = "the mailbox only resets the waker";

impl<S> crate::sealed::Sealed for Model<S> {}

impl<S: Signal> Kernel for Model<S> {
    type Socket = ();
    type Pipe = ();
    type Waker = S;

    fn waker(&self) -> S {
        self.0.clone()
    }

    fn clear_waker(&mut self) -> Result<(), Errno> {
        self.0.reset()
    }

    fn now(&mut self) -> Time {
        unreachable!("{NONE}")
    }

    fn wait(&mut self, _: &mut Batch, _: bool) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn wait_for(&mut self, _: &mut Batch, _: Duration) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn pause(&mut self, _: Duration) {
        unreachable!("{NONE}")
    }

    fn register(&mut self, (): &(), _: Token, _: Interest) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn deregister(&mut self, (): &()) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn set_alarm(&mut self, _: Time) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn socket(&mut self, _: SocketAddr) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn set_option(&mut self, (): &(), _: SocketOption) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn take_over(&mut self, _: OwnedFd) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn bind(&mut self, (): &(), _: SocketAddr) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn listen(&mut self, (): &(), _: u32) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn local_address(&mut self, (): &()) -> Result<SocketAddr, Errno> {
        unreachable!("{NONE}")
    }

    fn peer_address(&mut self, (): &()) -> Result<SocketAddr, Errno> {
        unreachable!("{NONE}")
    }

    fn connect(&mut self, (): &(), _: SocketAddr) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn take_error(&mut self, (): &()) -> Result<Option<Errno>, Errno> {
        unreachable!("{NONE}")
    }

    fn accept(&mut self, (): &()) -> Result<((), SocketAddr), Errno> {
        unreachable!("{NONE}")
    }

    fn recv(&mut self, (): &(), _: &mut [u8]) -> Result<usize, Errno> {
        unreachable!("{NONE}")
    }

    fn send(&mut self, (): &(), _: &[u8]) -> Result<usize, Errno> {
        unreachable!("{NONE}")
    }

    fn pipe(&mut self) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn splice_in(&mut self, (): &(), (): &(), _: usize) -> Result<usize, Errno> {
        unreachable!("{NONE}")
    }

    fn splice_out(&mut self, (): &(), (): &(), _: usize) -> Result<usize, Errno> {
        unreachable!("{NONE}")
    }

    fn close_pipe(&mut self, (): ()) {
        unreachable!("{NONE}")
    }

    fn shutdown_write(&mut self, (): &()) -> Result<(), Errno> {
        unreachable!("{NONE}")
    }

    fn close(&mut self, (): ()) {
        unreachable!("{NONE}")
    }

    fn descriptor(&self, (): &()) -> i32 {
        unreachable!("{NONE}")
    }

    fn spare_descriptors(&self) -> usize {
        unreachable!("{NONE}")
    }

    fn longest_backlog(&self) -> Option<u32> {
        unreachable!("{NONE}")
    }
}
