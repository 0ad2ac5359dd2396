//! One TCP connection as Linux shows it to its two ends. Nothing moves by itself: a scheduler
//! delivers bytes, ends and resets.
//!
//! The facts are those of net/ipv4/tcp.c and tcp_input.c (Linux 6.18), each named where it counts.

use std::collections::VecDeque;

use rustix::io::Errno;

use super::ends::{DATA, Side, Woken, take_first};
use super::epoll::ANYTHING;
use crate::epoll::Readiness;

/// The way of one stream, from the sender's buffer to the receiver's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Way {
    /// The most bytes in the send buffer, and in the receive buffer.
    buffer: usize,
    /// Accepted from the sender, not yet with the receiver.
    sending: VecDeque<u8>,
    /// With the receiver, not yet read.
    received: VecDeque<u8>,
    /// The sender has ended its stream.
    fin: bool,
    /// The receiver's kernel has seen that end.
    fin_delivered: bool,
    /// An RST follows, and overtakes what is in `sending`.
    rst: bool,
    /// How many bytes have been read, and where among all of them the urgent mark is.
    read: u64,
    urgent: Option<u64>,
    /// How many bytes the sender's kernel has accepted.
    accepted: u64,
}

/// One end's own state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct End {
    /// `sk_err`: reported once, by whichever call comes first.
    error: Option<Errno>,
    /// Nothing can be sent any more: shut down, or dead.
    shut: bool,
    /// The connection is over: poll says HUP.
    dead: bool,
    /// The descriptor is closed.
    closed: bool,
    /// A send found no room, so that room is worth an edge (`SOCK_NOSPACE`).
    wants_room: bool,
    /// Its FIN has arrived and the ACK, which the receiver may delay, is still to come
    /// (`TCP_FIN_WAIT1`).
    awaits_ack: bool,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tcp {
    /// What each end sends: ours, theirs.
    ways: [Way; 2],
    ends: [End; 2],
    /// Our end waits for the answer to its connect.
    connecting: bool,
}

impl Tcp {
    pub(super) fn new(buffer: usize) -> Self {
        let way = || Way { buffer, ..Way::default() };
        Self { ways: [way(), way()], ends: Default::default(), connecting: false }
    }

    /// A connection that our end has asked for (`TCP_SYN_SENT`).
    pub(super) fn connecting(buffer: usize) -> Self {
        Self { connecting: true, ..Self::new(buffer) }
    }

    /// The answer to our end's connect.
    pub(super) fn establish(&mut self, answer: Result<(), Errno>) -> Woken {
        self.connecting = false;
        if let Err(error) = answer {
            let end = self.end(Side::Ours);
            (end.dead, end.shut, end.error) = (true, true, Some(error));
        }
        Woken::one(Side::Ours, ANYTHING)
    }

    /// Whether an end still has a peer: what getpeername(2) tells by `ENOTCONN` (`inet_getname`,
    /// Linux 6.18: the states `TCP_SYN_SENT` and `TCP_CLOSE`).
    pub(super) fn is_connected(&self, side: Side) -> bool {
        !self.connecting && !self.ends[side as usize].dead
    }

    fn way(&mut self, from: Side) -> &mut Way {
        &mut self.ways[from as usize]
    }

    fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    /// What poll(2) says (`tcp_poll`).
    pub(super) fn readiness(&self, side: Side) -> Readiness {
        if self.connecting {
            // TCP_SYN_SENT has no bit of its own.
            return Readiness::from_bits(0);
        }
        let (end, out) = (&self.ends[side as usize], &self.ways[side as usize]);
        let into = &self.ways[side.other() as usize];
        let read_shut = into.fin_delivered || end.dead;
        let mut bits = Readiness::from_bits(0);
        if end.dead || (read_shut && end.shut) {
            bits = bits | Readiness::HUP;
        }
        if read_shut {
            bits = bits | Readiness::IN | Readiness::RDHUP;
        }
        if !into.received.is_empty() {
            bits = bits | Readiness::IN;
        }
        if into.urgent.is_some_and(|at| at >= into.read) {
            bits = bits | Readiness::PRI;
        }
        if end.shut || out.sending.len() * 3 <= out.buffer * 2 {
            bits = bits | Readiness::OUT;
        }
        if end.error.is_some() {
            bits = bits | Readiness::ERR;
        }
        bits
    }

    /// How many bytes a send would take.
    pub(super) fn room(&self, side: Side) -> usize {
        let way = &self.ways[side as usize];
        way.buffer.saturating_sub(way.sending.len())
    }

    /// The buffers of what this side sends are of another size from now on. They change while
    /// something arrives (`tcp_sndbuf_expand`, `tcp_rcv_space_adjust`), which is followed by the
    /// look whether room is worth an edge.
    pub(super) fn resize(&mut self, from: Side, buffer: usize) {
        self.way(from).buffer = buffer;
    }

    /// The look of an epoll set at an end: one without room is told of room later, whether a send
    /// has found none or not (`tcp_poll` sets `SOCK_NOSPACE`).
    pub(super) fn poll(&mut self, side: Side) -> Readiness {
        let readiness = self.readiness(side);
        self.end(side).wants_room |= !readiness.is_writable();
        readiness
    }

    /// send(2) of up to `bytes.len()` bytes.
    pub(super) fn send(&mut self, side: Side, bytes: &[u8]) -> Result<usize, Errno> {
        let room = self.room(side);
        if self.connecting {
            // Not yet (sk_stream_wait_connect).
            return Err(Errno::AGAIN);
        }
        let end = self.end(side);
        if let Some(error) = end.error.take() {
            return Err(error);
        }
        if end.shut {
            return Err(Errno::PIPE);
        }
        let count = room.min(bytes.len());
        end.wants_room |= count < bytes.len();
        if count == 0 {
            return Err(Errno::AGAIN);
        }
        let way = self.way(side);
        way.sending.extend(&bytes[..count]);
        way.accepted += count as u64;
        Ok(count)
    }

    /// send(2) of one byte with `MSG_OOB`.
    pub(super) fn send_urgent(&mut self, side: Side, byte: u8) -> Result<usize, Errno> {
        let at = self.ways[side as usize].accepted;
        let sent = self.send(side, &[byte])?;
        self.way(side).urgent = Some(at);
        Ok(sent)
    }

    /// recv(2) of up to `most` bytes, given to `take` in one or two pieces.
    pub(super) fn receive(
        &mut self,
        side: Side,
        most: usize,
        take: impl FnMut(&[u8]),
    ) -> Result<usize, Errno> {
        let way = self.way(side.other());
        if way.received.is_empty() {
            return self.nothing_to_take(side);
        }
        let mut count = most.min(way.received.len());
        // A receive stops at the urgent mark, and one that begins there goes on (tcp_recvmsg).
        if let Some(at) = way.urgent
            && at > way.read
        {
            count = count.min(usize::try_from(at - way.read).unwrap_or(count));
        }
        take_first(&way.received, count, take);
        way.received.drain(..count);
        way.read += count as u64;
        if way.urgent.is_some_and(|at| at < way.read) {
            way.urgent = None;
        }
        Ok(count)
    }

    /// splice(2) of up to `most` bytes into an empty pipe (`tcp_splice_read`): it stops at the
    /// urgent mark as a receive does, but one that begins there takes nothing, as if there were
    /// nothing.
    pub(super) fn splice(
        &mut self,
        side: Side,
        most: usize,
        take: impl FnMut(&[u8]),
    ) -> Result<usize, Errno> {
        let way = self.way(side.other());
        if way.urgent == Some(way.read) {
            return self.nothing_to_take(side);
        }
        self.receive(side, most, take)
    }

    /// What a call answers that finds nothing to take.
    fn nothing_to_take(&mut self, side: Side) -> Result<usize, Errno> {
        // Behind a FIN there is the end, whatever came after it (`SOCK_DONE`).
        if self.way(side.other()).fin_delivered {
            return Ok(0);
        }
        let end = self.end(side);
        if let Some(error) = end.error.take() {
            return Err(error);
        }
        if end.dead { Ok(0) } else { Err(Errno::AGAIN) }
    }

    /// `SO_ERROR`, which resets it.
    pub(super) fn take_error(&mut self, side: Side) -> Option<Errno> {
        self.end(side).error.take()
    }

    /// shutdown(2) of the write side.
    pub(super) fn shut_down(&mut self, side: Side) -> Result<(), Errno> {
        if self.end(side).dead {
            return Err(Errno::NOTCONN);
        }
        self.end(side).shut = true;
        self.way(side).fin = true;
        Ok(())
    }

    /// close(2). With unread input, or with `SO_LINGER` {1, 0}, the peer gets an RST (tcp_close).
    pub(super) fn close(&mut self, side: Side, abort: bool) {
        let unread = !self.way(side.other()).received.is_empty();
        let end = self.end(side);
        let over = end.dead;
        (end.closed, end.shut) = (true, true);
        if over {
            return;
        }
        let way = self.way(side);
        if abort || unread {
            way.sending.clear();
            way.rst = true;
        } else {
            way.fin = true;
        }
    }

    /// How many bytes the kernel has accepted from this side.
    pub(super) const fn accepted(&self, side: Side) -> u64 {
        self.ways[side as usize].accepted
    }

    /// Whether our end still waits for the answer to its connect.
    pub(super) const fn is_connecting(&self) -> bool {
        self.connecting
    }

    /// Whether the connection is over at this side.
    pub(super) const fn is_dead(&self, side: Side) -> bool {
        self.ends[side as usize].dead
    }

    /// How many bytes have arrived at this side and were not read.
    pub(super) fn unread(&self, side: Side) -> usize {
        self.ways[side.other() as usize].received.len()
    }

    /// Whether bytes, an end or a reset are on the way from this side and can arrive now.
    pub(super) fn has_news(&self, from: Side) -> bool {
        let way = &self.ways[from as usize];
        let to = &self.ends[from.other() as usize];
        if self.connecting || to.dead || (way.fin_delivered && !way.rst) {
            return false;
        }
        let room = to.closed || way.received.len() < way.buffer;
        way.rst || (!way.sending.is_empty() && room) || (way.sending.is_empty() && way.fin)
    }

    /// Whether anything is on the way from this side that can arrive now, the ACK of the other
    /// side's FIN included.
    pub(super) fn can_deliver(&self, from: Side) -> bool {
        self.has_news(from) || self.owes_ack(from)
    }

    /// Whether this side has the other's FIN and has not said so. It may take its time: 40 ms,
    /// unless there is something else to send (`tcp_fin` enters the pingpong mode).
    pub(super) const fn owes_ack(&self, from: Side) -> bool {
        let to = &self.ends[from.other() as usize];
        to.awaits_ack && !to.dead
    }

    /// The next thing on the way from this side arrives: the RST, up to `most` bytes, the FIN, or
    /// nothing but the ACK of the other side's FIN. That comes with each of the others, too.
    pub(super) fn deliver(&mut self, from: Side, most: usize) -> Woken {
        let to = from.other();
        let news = self.has_news(from);
        let acknowledges = std::mem::take(&mut self.end(to).awaits_ack);
        let mut woken = if news { self.deliver_news(from, most) } else { Woken::default() };
        if acknowledges {
            // FIN_WAIT1 becomes FIN_WAIT2, which wakes a close that lingers, and whoever else
            // waits (tcp_rcv_state_process).
            woken.add(to, ANYTHING);
        }
        woken
    }

    fn deliver_news(&mut self, from: Side, most: usize) -> Woken {
        let to = from.other();
        let buffer = self.way(from).buffer;
        if self.way(from).rst {
            return self.reset(to);
        }
        if !self.way(from).sending.is_empty() {
            if self.end(to).closed {
                // Nobody is there to read it (tcp_rcv_state_process): the answer is an RST.
                self.way(to).rst = true;
                self.way(from).sending.clear();
                return self.reset(from);
            }
            let way = self.way(from);
            let room = buffer.saturating_sub(way.received.len());
            let count = most.min(way.sending.len()).min(room);
            let arrived: Vec<u8> = way.sending.drain(..count).collect();
            way.received.extend(arrived);
            let mut woken = Woken::one(to, DATA);
            if self.end(from).wants_room && self.way(from).sending.len() * 3 <= buffer * 2 {
                self.end(from).wants_room = false;
                woken.add(from, Readiness::OUT);
            }
            return woken;
        }
        self.way(from).fin_delivered = true;
        let mut woken = Woken::one(to, ANYTHING);
        if self.way(to).fin_delivered {
            // Both streams have ended and both ends know: this ACK isn't delayed.
            self.end(from).dead = true;
            self.end(to).dead = true;
            woken.add(from, ANYTHING);
        } else {
            self.end(from).awaits_ack = true;
        }
        woken
    }

    /// An RST arrives at this side (tcp_reset): input that is there can still be read.
    fn reset(&mut self, side: Side) -> Woken {
        let after_fin = self.way(side.other()).fin_delivered;
        let end = self.end(side);
        // Behind the peer's FIN it is EPIPE, if our own stream hasn't ended (TCP_CLOSE_WAIT).
        let error = if after_fin && !end.shut { Errno::PIPE } else { Errno::CONNRESET };
        (end.dead, end.shut, end.wants_room) = (true, true, false);
        if !end.closed {
            end.error = Some(error);
        }
        self.way(side).sending.clear();
        Woken::one(side, ANYTHING)
    }
}

#[cfg(test)]
mod tests {
    use super::Side::{Ours, Theirs};
    use super::*;

    fn read(link: &mut Tcp, side: Side) -> Result<Vec<u8>, Errno> {
        let mut bytes = Vec::new();
        link.receive(side, 1000, |piece| bytes.extend_from_slice(piece)).map(|_| bytes)
    }

    fn deliver_all(link: &mut Tcp, from: Side) {
        while link.can_deliver(from) {
            let _ = link.deliver(from, usize::MAX);
        }
    }

    #[test]
    fn bytes_arrive_in_order_and_the_end_behind_them() {
        let mut link = Tcp::new(100);
        assert_eq!(link.send(Theirs, b"hello"), Ok(5));
        link.shut_down(Theirs).expect("alive");
        assert_eq!(read(&mut link, Ours), Err(Errno::AGAIN));
        assert_eq!(link.deliver(Theirs, 2), Woken::one(Ours, DATA));
        assert_eq!(link.readiness(Ours).to_string(), "IN|OUT");
        assert_eq!(read(&mut link, Ours), Ok(b"he".to_vec()));
        deliver_all(&mut link, Theirs);
        assert_eq!(link.readiness(Ours).to_string(), "IN|OUT|RDHUP");
        assert_eq!(read(&mut link, Ours), Ok(b"llo".to_vec()));
        assert_eq!(read(&mut link, Ours), Ok(Vec::new()));
    }

    #[test]
    fn a_full_buffer_says_again_and_owes_an_edge_when_a_third_is_free() {
        let mut link = Tcp::new(9);
        assert_eq!(link.send(Ours, &[0; 20]), Ok(9));
        assert_eq!(link.send(Ours, &[0; 1]), Err(Errno::AGAIN));
        assert!(!link.readiness(Ours).is_writable());
        assert_eq!(link.deliver(Ours, 2).mask(Ours), None);
        assert!(link.deliver(Ours, 1).mask(Ours).is_some(), "a third is free");
        assert_eq!(link.deliver(Ours, 1).mask(Ours), None, "told once");
    }

    #[test]
    fn input_behind_a_reset_is_read_first_and_the_error_comes_once() {
        let mut link = Tcp::new(100);
        assert_eq!(link.send(Theirs, b"last words"), Ok(10));
        deliver_all(&mut link, Theirs);
        link.close(Theirs, true);
        deliver_all(&mut link, Theirs);
        assert_eq!(link.readiness(Ours).to_string(), "IN|OUT|ERR|HUP|RDHUP");
        assert_eq!(read(&mut link, Ours), Ok(b"last words".to_vec()));
        assert_eq!(read(&mut link, Ours), Err(Errno::CONNRESET));
        assert_eq!(read(&mut link, Ours), Ok(Vec::new()));
        assert_eq!(link.send(Ours, b"x"), Err(Errno::PIPE));
    }

    #[test]
    fn closing_with_unread_input_resets_the_peer() {
        let mut link = Tcp::new(100);
        assert_eq!(link.send(Theirs, b"unread"), Ok(6));
        deliver_all(&mut link, Theirs);
        link.close(Ours, false);
        deliver_all(&mut link, Ours);
        assert_eq!(read(&mut link, Theirs), Err(Errno::CONNRESET));
    }

    #[test]
    fn data_for_a_closed_end_draws_a_reset() {
        let mut link = Tcp::new(100);
        link.close(Ours, false);
        deliver_all(&mut link, Ours);
        assert_eq!(read(&mut link, Theirs), Ok(Vec::new()));
        assert_eq!(link.send(Theirs, b"late"), Ok(4));
        deliver_all(&mut link, Theirs);
        assert_eq!(link.send(Theirs, b"later"), Err(Errno::PIPE), "it had seen the FIN");
    }

    #[test]
    fn a_receive_stops_at_the_urgent_mark_and_goes_on_behind_it() {
        let mut link = Tcp::new(100);
        assert_eq!(link.send(Theirs, b"abc"), Ok(3));
        assert_eq!(link.send_urgent(Theirs, b'd'), Ok(1));
        assert_eq!(link.send(Theirs, b"efgh"), Ok(4));
        deliver_all(&mut link, Theirs);
        assert!(link.readiness(Ours).is_priority());
        assert_eq!(read(&mut link, Ours), Ok(b"abc".to_vec()));
        assert_eq!(read(&mut link, Ours), Ok(b"defgh".to_vec()));
        assert!(!link.readiness(Ours).is_priority());
    }

    #[test]
    fn a_splice_stops_at_the_urgent_mark_and_does_not_go_on_behind_it() {
        for fin in [false, true] {
            let mut link = Tcp::new(100);
            assert_eq!(link.send(Theirs, b"abc"), Ok(3));
            assert_eq!(link.send_urgent(Theirs, b'd'), Ok(1));
            if fin {
                link.shut_down(Theirs).expect("alive");
            }
            deliver_all(&mut link, Theirs);
            assert_eq!(link.splice(Ours, 100, |_| ()), Ok(3));
            let stuck = if fin { Ok(0) } else { Err(Errno::AGAIN) };
            assert_eq!(link.splice(Ours, 100, |_| ()), stuck);
            assert_eq!(link.splice(Ours, 100, |_| ()), stuck);
            assert_eq!(read(&mut link, Ours), Ok(b"d".to_vec()));
        }
    }

    #[test]
    fn both_ends_closed_in_order_is_a_hang_up() {
        let mut link = Tcp::new(100);
        link.shut_down(Theirs).expect("alive");
        deliver_all(&mut link, Theirs);
        link.shut_down(Ours).expect("alive");
        assert_eq!(link.readiness(Ours).to_string(), "IN|OUT|HUP|RDHUP");
        deliver_all(&mut link, Ours);
        assert_eq!(link.readiness(Ours).to_string(), "IN|OUT|HUP|RDHUP");
    }
}
