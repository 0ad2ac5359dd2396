//! One connection of Unix stream sockets as Linux shows it to its two ends. What is sent is with
//! the receiver at once; the sender's buffer is charged for it until it's read.
//!
//! The facts are those of net/unix/af_unix.c (Linux 6.18), each named where it counts.

use std::collections::VecDeque;

use rustix::io::Errno;

use super::ends::{DATA, Side, Woken, take_first};
use super::epoll::ANYTHING;
use crate::epoll::Readiness;

/// What one buffer of the kernel holds: a message, or a part of a long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// For how many bytes the sender is charged until the last of them is read.
    charge: usize,
    /// How many of them are not read.
    left: usize,
    /// It came with descriptors, and nothing of it is read.
    descriptors: bool,
}

/// The way of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Way {
    /// The sender's send buffer.
    buffer: usize,
    charged: usize,
    bytes: VecDeque<u8>,
    pieces: VecDeque<Piece>,
    /// How many bytes have been read, and where among all of them the urgent mark is.
    read: u64,
    urgent: Option<u64>,
    /// How many bytes the sender's kernel has accepted.
    accepted: u64,
}

impl Way {
    /// A quarter of the buffer, or more, is charged no more (`unix_writable`).
    const fn has_room(&self) -> bool {
        self.charged * 4 <= self.buffer
    }

    /// How long the parts are into which a long message is cut: two of them fill the buffer
    /// (`unix_stream_sendmsg`).
    fn part(&self) -> usize {
        (self.buffer / 2).max(1)
    }

    fn at_the_mark(&self) -> bool {
        self.urgent == Some(self.read)
    }

    /// The first of the bytes are read, all of one piece. Returns whether that is done with.
    fn has_read(&mut self, count: usize) -> bool {
        self.bytes.drain(..count);
        self.read += count as u64;
        if self.urgent.is_some_and(|at| at < self.read) {
            self.urgent = None;
        }
        let Some(piece) = self.pieces.front_mut() else { return false };
        piece.left -= count;
        let is_done = piece.left == 0;
        if is_done {
            self.charged -= piece.charge;
            self.pieces.pop_front();
        }
        is_done
    }
}

/// One end's own state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct End {
    /// `sk_err`: reported once.
    error: Option<Errno>,
    /// Nothing can be sent any more (`SEND_SHUTDOWN`), and nothing more will come
    /// (`RCV_SHUTDOWN`).
    shut: bool,
    ended: bool,
    closed: bool,
    /// The urgent byte is skipped, for want of `SO_OOBINLINE`.
    skips_urgent: bool,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unix {
    /// What each end sends: ours, theirs.
    ways: [Way; 2],
    ends: [End; 2],
    /// Who was woken by what was done last.
    woken: Woken,
}

impl Unix {
    pub(super) fn new(buffer: usize) -> Self {
        let way = || Way { buffer, ..Way::default() };
        Self { ways: [way(), way()], ends: Default::default(), woken: Woken::default() }
    }

    fn way(&mut self, from: Side) -> &mut Way {
        &mut self.ways[from as usize]
    }

    fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    pub(super) fn take_woken(&mut self) -> Woken {
        std::mem::take(&mut self.woken)
    }

    /// `SO_OOBINLINE`, which holds for what came before, too.
    pub(super) fn skip_urgent(&mut self, side: Side, skips: bool) {
        self.end(side).skips_urgent = skips;
    }

    /// What poll(2) says (`unix_poll`).
    pub(super) fn readiness(&self, side: Side) -> Readiness {
        let (end, out) = (&self.ends[side as usize], &self.ways[side as usize]);
        let into = &self.ways[side.other() as usize];
        let mut bits = Readiness::from_bits(0);
        if end.error.is_some() {
            bits = bits | Readiness::ERR;
        }
        if end.shut && end.ended {
            bits = bits | Readiness::HUP;
        }
        if end.ended {
            bits = bits | Readiness::IN | Readiness::RDHUP;
        }
        if !into.pieces.is_empty() {
            bits = bits | Readiness::IN;
        }
        if into.urgent.is_some() {
            bits = bits | Readiness::PRI;
        }
        if out.has_room() {
            bits = bits | Readiness::OUT;
        }
        bits
    }

    /// How many bytes a send would take: parts, as long as less is charged than the buffer holds.
    pub(super) fn room(&self, side: Side) -> usize {
        let way = &self.ways[side as usize];
        way.buffer.saturating_sub(way.charged).next_multiple_of(way.part())
    }

    /// sendmsg(2), with descriptors or without.
    pub(super) fn send(
        &mut self,
        side: Side,
        bytes: &[u8],
        mut descriptors: bool,
    ) -> Result<usize, Errno> {
        if self.end(side).shut {
            return Err(Errno::PIPE);
        }
        let count = self.room(side).min(bytes.len());
        if count == 0 && !bytes.is_empty() {
            return Err(Errno::AGAIN);
        }
        let way = self.way(side);
        for part in bytes[..count].chunks(way.part()) {
            way.bytes.extend(part);
            way.charged += part.len();
            way.accepted += part.len() as u64;
            let (charge, left) = (part.len(), part.len());
            // They come with the first.
            let descriptors = std::mem::take(&mut descriptors);
            way.pieces.push_back(Piece { charge, left, descriptors });
        }
        if count > 0 {
            self.woken.add(side.other(), DATA);
        }
        Ok(count)
    }

    /// send(2) of one byte with `MSG_OOB` (`queue_oob`). Of two urgent bytes that are not read the
    /// first is urgent no more.
    pub(super) fn send_urgent(&mut self, side: Side, byte: u8) -> Result<usize, Errno> {
        let at = self.ways[side as usize].accepted;
        let sent = self.send(side, &[byte], false)?;
        self.way(side).urgent = Some(at);
        Ok(sent)
    }

    /// recv(2) or splice(2) of up to `most` bytes, given to `take` in pieces, and whether
    /// descriptors came with them (`unix_stream_read_generic`).
    ///
    /// It stops at the urgent mark, and one that begins there goes on (`manage_oob`). It stops
    /// behind a message that came with descriptors, too, if it read the first byte of that.
    pub(super) fn receive(
        &mut self,
        side: Side,
        most: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(usize, bool), Errno> {
        let skips = self.end(side).skips_urgent;
        let way = &mut self.ways[side.other() as usize];
        let (mut count, mut descriptors, mut freed) = (0, false, false);
        while count < most && !descriptors {
            if way.at_the_mark() {
                if count > 0 {
                    break;
                }
                way.urgent = None;
                if skips {
                    freed |= way.has_read(1);
                }
            }
            let Some(piece) = way.pieces.front_mut() else { break };
            descriptors = std::mem::take(&mut piece.descriptors);
            let taken = piece.left.min(most - count);
            take_first(&way.bytes, taken, &mut take);
            count += taken;
            freed |= way.has_read(taken);
        }
        if freed {
            self.tell_of_room(side.other());
        }
        if count > 0 { Ok((count, descriptors)) } else { Ok((self.nothing_to_take(side)?, false)) }
    }

    /// Something of what this side has sent is charged no more. Whether it has asked for room makes
    /// no difference (`unix_write_space`).
    fn tell_of_room(&mut self, side: Side) {
        if self.way(side).has_room() {
            self.woken.add(side, Readiness::OUT);
        }
    }

    /// What a call answers that finds nothing to take.
    fn nothing_to_take(&mut self, side: Side) -> Result<usize, Errno> {
        let end = self.end(side);
        match end.error.take() {
            Some(error) => Err(error),
            None if end.ended => Ok(0),
            None => Err(Errno::AGAIN),
        }
    }

    /// `SO_ERROR`, which resets it.
    pub(super) fn take_error(&mut self, side: Side) -> Option<Errno> {
        self.end(side).error.take()
    }

    /// shutdown(2) of the write side (`unix_shutdown`).
    pub(super) fn shut_down(&mut self, side: Side) {
        self.end(side).shut = true;
        self.end(side.other()).ended = true;
        self.woken.add(side.other(), ANYTHING);
    }

    /// close(2) (`unix_release_sock`). What it has sent can be read, and nothing more can be sent
    /// to it. Unread input is a reset for the other end, and so is a close in the backlog of a
    /// listener; `SO_LINGER` makes no difference.
    pub(super) fn close(&mut self, side: Side, waits: bool) {
        let other = side.other();
        self.end(side).closed = true;
        self.end(side).shut = true;
        if self.end(other).closed {
            return;
        }
        let way = self.way(other);
        let unread = !way.pieces.is_empty();
        way.pieces.clear();
        way.bytes.clear();
        (way.charged, way.urgent) = (0, None);
        let end = self.end(other);
        (end.shut, end.ended) = (true, true);
        if unread || waits {
            end.error = Some(Errno::CONNRESET);
        }
        self.woken.add(other, ANYTHING);
    }

    pub(super) const fn accepted(&self, side: Side) -> u64 {
        self.ways[side as usize].accepted
    }

    /// Whether both streams are over at this side.
    pub(super) const fn is_dead(&self, side: Side) -> bool {
        let end = &self.ends[side as usize];
        end.shut && end.ended
    }

    pub(super) fn unread(&self, side: Side) -> usize {
        self.ways[side.other() as usize].bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Side::{Ours, Theirs};
    use super::*;

    fn read(link: &mut Unix, side: Side) -> Result<Vec<u8>, Errno> {
        let mut bytes = Vec::new();
        link.receive(side, 1000, |piece| bytes.extend_from_slice(piece)).map(|_| bytes)
    }

    fn send(link: &mut Unix, side: Side, bytes: &[u8]) -> Result<usize, Errno> {
        link.send(side, bytes, false)
    }

    #[test]
    fn bytes_are_there_at_once_and_room_comes_when_three_quarters_are_free() {
        let mut link = Unix::new(8);
        assert_eq!(send(&mut link, Ours, &[1; 20]), Ok(8));
        assert_eq!(link.take_woken().mask(Theirs), Some(DATA));
        assert_eq!(send(&mut link, Ours, &[1]), Err(Errno::AGAIN));
        let receive = |link: &mut Unix, most| link.receive(Theirs, most, |_| ()).map(|it| it.0);
        assert_eq!(receive(&mut link, 5), Ok(5));
        // One part of four is read, and half of the buffer is charged.
        assert_eq!(link.take_woken().mask(Ours), None);
        assert_eq!((link.room(Ours), link.readiness(Ours).is_writable()), (4, false));
        assert_eq!(receive(&mut link, 3), Ok(3));
        assert_eq!(link.take_woken().mask(Ours), Some(Readiness::OUT));
    }

    #[test]
    fn a_close_is_an_end_and_with_unread_input_a_reset_behind_what_was_sent() {
        for unread in [false, true] {
            let mut link = Unix::new(100);
            assert_eq!(send(&mut link, Theirs, b"last words"), Ok(10));
            if unread {
                assert_eq!(send(&mut link, Ours, b"unread"), Ok(6));
            }
            link.close(Theirs, false);
            let mask = if unread { "IN|OUT|ERR|HUP|RDHUP" } else { "IN|OUT|HUP|RDHUP" };
            assert_eq!(link.readiness(Ours).to_string(), mask);
            assert_eq!(send(&mut link, Ours, b"x"), Err(Errno::PIPE));
            assert_eq!(read(&mut link, Ours), Ok(b"last words".to_vec()));
            if unread {
                assert_eq!(read(&mut link, Ours), Err(Errno::CONNRESET));
            }
            assert_eq!(read(&mut link, Ours), Ok(Vec::new()));
        }
    }

    #[test]
    fn a_receive_ends_behind_a_message_that_came_with_descriptors() {
        let mut link = Unix::new(100);
        assert_eq!(send(&mut link, Theirs, b"ab"), Ok(2));
        assert_eq!(link.send(Theirs, b"cd", true), Ok(2));
        assert_eq!(send(&mut link, Theirs, b"ef"), Ok(2));
        assert_eq!(link.receive(Ours, 3, |_| ()), Ok((3, true)));
        // They are gone, so that nothing keeps this one from going on.
        assert_eq!(link.receive(Ours, 9, |_| ()), Ok((3, false)));
        assert_eq!(link.send(Theirs, b"cd", true), Ok(2));
        assert_eq!(send(&mut link, Theirs, b"ef"), Ok(2));
        assert_eq!(link.receive(Ours, 9, |_| ()), Ok((2, true)));
        assert_eq!(link.receive(Ours, 9, |_| ()), Ok((2, false)));
    }

    #[test]
    fn a_receive_stops_at_the_urgent_mark_and_goes_on_behind_it() {
        for skips in [false, true] {
            let mut link = Unix::new(100);
            link.skip_urgent(Ours, skips);
            assert_eq!(send(&mut link, Theirs, b"abc"), Ok(3));
            assert_eq!(link.send_urgent(Theirs, b'd'), Ok(1));
            assert_eq!(send(&mut link, Theirs, b"efgh"), Ok(4));
            assert!(link.readiness(Ours).is_priority());
            assert_eq!(read(&mut link, Ours), Ok(b"abc".to_vec()));
            let rest: &[u8] = if skips { b"efgh" } else { b"defgh" };
            assert_eq!(read(&mut link, Ours), Ok(rest.to_vec()));
            assert!(!link.readiness(Ours).is_priority());
        }
    }
}
