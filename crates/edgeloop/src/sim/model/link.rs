//! One connection as Linux shows it to its two ends: what each call answers, and what poll says.

use rustix::io::Errno;

use super::ends::{Side, Woken};
use super::tcp::Tcp;
use super::unix::Unix;
use crate::epoll::Readiness;

/// One connection, of TCP or of Unix sockets.
///
/// What is done at one end of a Unix socket wakes the other end at once, and whoever did it has to
/// [pass that on](Self::take_woken). Over TCP things are [delivered](Self::deliver).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Tcp(Tcp),
    Unix(Unix),
}

impl Link {
    pub fn new(buffer: usize) -> Self {
        Self(Kind::Tcp(Tcp::new(buffer)))
    }

    /// A connection that our end has asked for (`TCP_SYN_SENT`).
    pub fn connecting(buffer: usize) -> Self {
        Self(Kind::Tcp(Tcp::connecting(buffer)))
    }

    /// A connection of Unix sockets, which is made at once.
    pub fn unix(buffer: usize) -> Self {
        Self(Kind::Unix(Unix::new(buffer)))
    }

    pub const fn is_unix(&self) -> bool {
        matches!(self.0, Kind::Unix(_))
    }

    /// The answer to our end's connect.
    pub fn establish(&mut self, answer: Result<(), Errno>) -> Woken {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.establish(answer),
            Kind::Unix(_) => Woken::default(),
        }
    }

    /// Who was woken by what was done since this was asked last.
    pub fn take_woken(&mut self) -> Woken {
        match &mut self.0 {
            Kind::Tcp(_) => Woken::default(),
            Kind::Unix(unix) => unix.take_woken(),
        }
    }

    /// An end of a Unix socket skips urgent bytes, or not (`SO_OOBINLINE`). One of TCP never does
    /// here.
    pub fn skip_urgent(&mut self, side: Side, skips: bool) {
        if let Kind::Unix(unix) = &mut self.0 {
            unix.skip_urgent(side, skips);
        }
    }

    /// Whether an end still has a peer: what getpeername(2) tells by `ENOTCONN`. A Unix socket
    /// keeps its peer for ever.
    pub fn is_connected(&self, side: Side) -> bool {
        match &self.0 {
            Kind::Tcp(tcp) => tcp.is_connected(side),
            Kind::Unix(_) => true,
        }
    }

    /// What poll(2) says.
    pub fn readiness(&self, side: Side) -> Readiness {
        match &self.0 {
            Kind::Tcp(tcp) => tcp.readiness(side),
            Kind::Unix(unix) => unix.readiness(side),
        }
    }

    /// How many bytes a send would take.
    pub(crate) fn room(&self, side: Side) -> usize {
        match &self.0 {
            Kind::Tcp(tcp) => tcp.room(side),
            Kind::Unix(unix) => unix.room(side),
        }
    }

    /// The buffers of what this side sends over TCP are of another size from now on. They change
    /// while something arrives (`tcp_sndbuf_expand`, `tcp_rcv_space_adjust`), which is followed by
    /// the look whether room is worth an edge.
    pub(crate) fn resize(&mut self, from: Side, buffer: usize) {
        if let Kind::Tcp(tcp) = &mut self.0 {
            tcp.resize(from, buffer);
        }
    }

    /// The look of an epoll set at an end: over TCP, one without room is told of room later,
    /// whether a send has found none or not (`tcp_poll` sets `SOCK_NOSPACE`).
    pub(crate) fn poll(&mut self, side: Side) -> Readiness {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.poll(side),
            Kind::Unix(unix) => unix.readiness(side),
        }
    }

    /// send(2) of up to `bytes.len()` bytes.
    pub fn send(&mut self, side: Side, bytes: &[u8]) -> Result<usize, Errno> {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.send(side, bytes),
            Kind::Unix(unix) => unix.send(side, bytes, false),
        }
    }

    /// The same with descriptors (`SCM_RIGHTS`), which only a Unix socket passes.
    pub fn send_with_descriptors(&mut self, side: Side, bytes: &[u8]) -> Result<usize, Errno> {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.send(side, bytes),
            Kind::Unix(unix) => unix.send(side, bytes, true),
        }
    }

    /// send(2) of one byte with `MSG_OOB`.
    pub fn send_urgent(&mut self, side: Side, byte: u8) -> Result<usize, Errno> {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.send_urgent(side, byte),
            Kind::Unix(unix) => unix.send_urgent(side, byte),
        }
    }

    /// recv(2) of up to `most` bytes, given to `take` in pieces.
    pub fn receive(
        &mut self,
        side: Side,
        most: usize,
        take: impl FnMut(&[u8]),
    ) -> Result<usize, Errno> {
        self.receive_message(side, most, take).map(|(count, _)| count)
    }

    /// The same, and whether it ended behind descriptors for which there was no room
    /// (`MSG_CTRUNC`).
    pub fn receive_message(
        &mut self,
        side: Side,
        most: usize,
        take: impl FnMut(&[u8]),
    ) -> Result<(usize, bool), Errno> {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.receive(side, most, take).map(|count| (count, false)),
            Kind::Unix(unix) => unix.receive(side, most, take),
        }
    }

    /// splice(2) of up to `most` bytes into an empty pipe.
    pub fn splice(
        &mut self,
        side: Side,
        most: usize,
        take: impl FnMut(&[u8]),
    ) -> Result<usize, Errno> {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.splice(side, most, take),
            Kind::Unix(unix) => unix.receive(side, most, take).map(|(count, _)| count),
        }
    }

    /// `SO_ERROR`, which resets it.
    pub fn take_error(&mut self, side: Side) -> Option<Errno> {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.take_error(side),
            Kind::Unix(unix) => unix.take_error(side),
        }
    }

    /// shutdown(2) of the write side.
    pub fn shut_down(&mut self, side: Side) -> Result<(), Errno> {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.shut_down(side),
            Kind::Unix(unix) => {
                unix.shut_down(side);
                Ok(())
            }
        }
    }

    /// close(2), with `SO_LINGER` {1, 0} or without.
    pub fn close(&mut self, side: Side, abort: bool) {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.close(side, abort),
            Kind::Unix(unix) => unix.close(side, false),
        }
    }

    /// Our listener closes, and this side was never accepted.
    pub fn turn_away(&mut self, side: Side) {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.close(side, true),
            Kind::Unix(unix) => unix.close(side, true),
        }
    }

    /// How many bytes the kernel has accepted from this side.
    pub const fn accepted(&self, side: Side) -> u64 {
        match &self.0 {
            Kind::Tcp(tcp) => tcp.accepted(side),
            Kind::Unix(unix) => unix.accepted(side),
        }
    }

    /// Whether our end still waits for the answer to its connect.
    pub const fn is_connecting(&self) -> bool {
        matches!(&self.0, Kind::Tcp(tcp) if tcp.is_connecting())
    }

    /// Whether the connection is over at this side.
    pub const fn is_dead(&self, side: Side) -> bool {
        match &self.0 {
            Kind::Tcp(tcp) => tcp.is_dead(side),
            Kind::Unix(unix) => unix.is_dead(side),
        }
    }

    /// How many bytes have arrived at this side and were not read.
    pub fn unread(&self, side: Side) -> usize {
        match &self.0 {
            Kind::Tcp(tcp) => tcp.unread(side),
            Kind::Unix(unix) => unix.unread(side),
        }
    }

    /// Whether bytes, an end or a reset are on the way from this side and can arrive now.
    pub fn has_news(&self, from: Side) -> bool {
        matches!(&self.0, Kind::Tcp(tcp) if tcp.has_news(from))
    }

    /// Whether anything is on the way from this side that can arrive now, the ACK of the other
    /// side's FIN included.
    pub(crate) fn can_deliver(&self, from: Side) -> bool {
        matches!(&self.0, Kind::Tcp(tcp) if tcp.can_deliver(from))
    }

    /// Whether this side has the other's FIN and has not said so. It may take its time: 40 ms,
    /// unless there is something else to send (`tcp_fin` enters the pingpong mode).
    pub const fn owes_ack(&self, from: Side) -> bool {
        matches!(&self.0, Kind::Tcp(tcp) if tcp.owes_ack(from))
    }

    /// The next thing on the way from this side arrives: the RST, up to `most` bytes, the FIN, or
    /// nothing but the ACK of the other side's FIN. That comes with each of the others, too.
    pub fn deliver(&mut self, from: Side, most: usize) -> Woken {
        match &mut self.0 {
            Kind::Tcp(tcp) => tcp.deliver(from, most),
            Kind::Unix(_) => Woken::default(),
        }
    }
}
