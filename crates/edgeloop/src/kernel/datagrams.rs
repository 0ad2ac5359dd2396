//! Datagram sockets.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use rustix::io::Errno;

use super::source::EventSource;
use crate::api::error::Failed;

/// The datagram sockets of a kernel. Like all others they are non-blocking and close-on-exec from
/// birth (C20), and a socket is deregistered by being closed.
pub trait Datagrams {
    /// A bound socket. It's closed when it is dropped.
    type Datagrams;

    /// socket(2) and bind(2), with the options that tell to which address of this machine a
    /// datagram was sent. Datagrams that are longer than the path's packets are cut into fragments,
    /// as is the kernel's own choice.
    fn bind_datagrams(
        &mut self,
        address: SocketAddr,
        ipv6_only: bool,
    ) -> Result<Self::Datagrams, Failed>;

    /// getsockname(2).
    fn datagram_address(&mut self, socket: &Self::Datagrams) -> Result<SocketAddr, Errno>;

    /// Registers a socket for what arrives, edge-triggered.
    fn register_datagrams(
        &mut self,
        socket: &Self::Datagrams,
        source: EventSource,
    ) -> Result<(), Errno>;

    /// recvmmsg(2): fills the batch with what has arrived. Fewer messages than it has places for
    /// say that no more was there.
    fn receive_datagrams(
        &mut self,
        socket: &Self::Datagrams,
        batch: &mut DatagramBatch,
    ) -> Result<(), Errno>;

    /// sendmsg(2) of one datagram, from this address of the machine or from one of the kernel's
    /// choice.
    fn send_datagram(
        &mut self,
        socket: &Self::Datagrams,
        to: SocketAddr,
        from: Option<IpAddr>,
        bytes: &[u8],
    ) -> Result<(), Errno>;
}

/// How many messages one call receives.
pub(crate) const PLACES: usize = 16;

/// How long a message can be: a datagram, or several of one sender that the kernel has joined
/// (UDP_GRO). A shorter place would cut it, unnoticed.
pub(crate) const PLACE: usize = 65_536;

/// What one call has received. The memory is the kernel's to give page by page: only as much is
/// taken as datagrams have needed.
pub struct DatagramBatch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) arrived: Vec<Arrived>,
    /// All places were filled: more may wait.
    pub(crate) is_full: bool,
    /// How many of them the handler has been shown.
    pub(crate) shown: usize,
}

/// One datagram of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) from: SocketAddr,
    pub(crate) to: Option<IpAddr>,
    pub(crate) range: Range<usize>,
}

impl DatagramBatch {
    /// One without memory.
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), arrived: Vec::new(), is_full: false, shown: 0 }
    }

    /// Nothing is in it, and there's room.
    pub(crate) fn clear(&mut self) {
        self.arrived.clear();
        self.is_full = false;
        self.shown = 0;
        if self.bytes.is_empty() {
            self.bytes = vec![0; PLACES * PLACE];
        }
    }

    /// How many bytes are in it.
    pub(crate) fn length(&self) -> usize {
        self.arrived.iter().map(|one| one.range.len()).sum()
    }

    /// The memory goes back.
    pub(crate) fn release(&mut self) {
        *self = Self::new();
    }

    /// A place holds `length` bytes of one sender: datagrams of `stride` bytes, the last of which
    /// may be shorter. An empty one is one datagram.
    pub(crate) fn add(
        &mut self,
        place: usize,
        length: usize,
        stride: usize,
        from: SocketAddr,
        to: Option<IpAddr>,
    ) {
        let (begin, end) = (place * PLACE, place * PLACE + length);
        let stride = stride.max(1);
        let mut at = begin;
        loop {
            let next = (at + stride).min(end);
            self.arrived.push(Arrived { from, to, range: at..next });
            at = next;
            if at >= end {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_has_joined_is_taken_apart() {
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut batch = DatagramBatch::new();
        let lengths = |batch: &DatagramBatch| -> Vec<usize> {
            batch.arrived.iter().map(|one| one.range.len()).collect()
        };
        for (length, stride, expected) in
            [(0, 0, &[0][..]), (5, 5, &[5]), (10, 4, &[4, 4, 2]), (12, 4, &[4, 4, 4]), (7, 9, &[7])]
        {
            batch.clear();
            batch.add(1, length, stride, from, None);
            assert_eq!(lengths(&batch), expected, "{length} of {stride}");
            assert_eq!(batch.arrived[0].range.start, PLACE);
        }
    }
}
