//! Sending: at once where the socket takes it, else from a queue, within the limits of memory.

use rustix::io::Errno;

use super::{Agenda, Core, is_exhaustion};
use crate::connection::{Life, Transfer};
use crate::epoll::Readiness;
use crate::flags::Flags;
use crate::handler::Sent;
use crate::id::ConnectionId;
use crate::kernel::Kernel;
use crate::notice::Notice;

impl<K: Kernel> Core<K> {
    #[inline(always)]
    pub(crate) fn send(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        let Some(connection) = self.connections.get_plain(id) else {
            return self.send_carefully(id, bytes);
        };
        if bytes.len() > self.memory.room() || bytes.is_empty() {
            return self.send_carefully(id, bytes);
        }
        let answer = self.kernel.send(&connection.socket, bytes);
        if answer != Ok(bytes.len()) {
            return self.send_on(id, bytes, answer);
        }
        connection.active = self.now;
        self.metrics.bytes_out += bytes.len() as u64;
        Sent::Written
    }

    #[cold]
    fn send_carefully(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        let Some(connection) = self.connections.get_mut(id) else {
            self.metrics.stale += 1;
            return Sent::Gone;
        };
        if !connection.is_sendable() {
            if connection.has(Flags::FAILED) {
                // The handler could not know yet; its bytes are lost like those before them (C3).
                connection.lose(bytes.len());
            }
            return Sent::Gone;
        }
        if bytes.is_empty() {
            return Sent::Written;
        }
        // All or nothing: what could not be queued to its end must not be begun (C10).
        if connection.queued() + bytes.len() > self.config.output_limit
            || !self.memory.fits(connection.growth(bytes.len()))
        {
            self.metrics.refused += 1;
            return Sent::Refused;
        }
        if connection.life() == Life::Open && !connection.has(Flags::OUTPUT) {
            let answer = self.kernel.send(&connection.socket, bytes);
            return self.send_on(id, bytes, answer);
        }
        self.queue(id, bytes)
    }

    /// Goes on after a first send was answered so. A partial send is followed by another until the
    /// kernel says EAGAIN, since only that promises an edge.
    #[cold]
    fn send_on(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        mut answer: Result<usize, Errno>,
    ) -> Sent {
        let mut sent = 0;
        loop {
            let Some(connection) = self.connections.get_mut(id) else { return Sent::Gone };
            match answer {
                Ok(count) => {
                    sent += count;
                    connection.active = self.now;
                    self.metrics.bytes_out += count as u64;
                    if sent == bytes.len() {
                        return Sent::Written;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return self.queue(id, &bytes[sent..]),
                Err(error) if is_exhaustion(error) => {
                    let queued = self.queue(id, &bytes[sent..]);
                    return if self.retry(id, Transfer::Send, error) { queued } else { Sent::Gone };
                }
                Err(error) => {
                    connection.lose(bytes.len() - sent);
                    self.fail(id, error);
                    return Sent::Gone;
                }
            }
            answer = self.kernel.send(&connection.socket, &bytes[sent..]);
        }
    }

    fn queue(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        let Some(connection) = self.connections.get_mut(id) else { return Sent::Gone };
        let first = !connection.has(Flags::OUTPUT);
        let mark = if self.config.read_above_mark { Flags::ABOVE_READING } else { Flags::ABOVE };
        let grown = connection.push(bytes, self.now, self.config.high_watermark, mark);
        let above = connection.is_above();
        if self.memory.charge(grown) {
            self.ordinary = Readiness::NOTHING;
            self.metrics.memory_pauses += 1;
            self.tell(Notice::MemoryCeiling { held: self.memory.output_held() });
        }
        if first {
            self.schedule(id);
        }
        if above { Sent::AboveMark } else { Sent::Queued }
    }

    /// Writes queued output until it is gone, the socket is full, or the budget is spent. Answers
    /// whether the handler is to be told that the queue has drained.
    pub(crate) fn flush(&mut self, id: ConnectionId) -> bool {
        let mut budget = self.config.turn_bytes;
        loop {
            let Some(connection) = self.connections.get_mut(id) else { return false };
            let front = connection.front();
            if front.is_empty() {
                break;
            }
            if budget == 0 {
                self.list(id);
                break;
            }
            match self.kernel.send(&connection.socket, &front[..front.len().min(budget)]) {
                Ok(count) => {
                    budget -= count;
                    self.metrics.bytes_out += count as u64;
                    let released = connection.wrote(count, self.now);
                    self.release(released);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    connection.clear(Flags::WRITABLE);
                    break;
                }
                Err(error) if is_exhaustion(error) => {
                    connection.clear(Flags::WRITABLE);
                    if !self.retry(id, Transfer::Send, error) {
                        return false;
                    }
                    break;
                }
                Err(error) => {
                    self.fail(id, error);
                    return false;
                }
            }
        }
        let Some(connection) = self.connections.get_mut(id) else { return false };
        let fell = connection.falls(self.config.low_watermark);
        let next = connection.flushed();
        if !connection.has(Flags::OUTPUT) {
            // From here on the idle timeout counts, which may be the shorter one.
            self.schedule(id);
        }
        self.follow(id, next);
        fell
    }

    /// Queues released memory; reading may go on again.
    pub(crate) fn release(&mut self, bytes: usize) {
        if bytes > 0 && self.memory.release(bytes) {
            self.ordinary = Readiness::INPUT;
            self.agenda.add(Agenda::STARVED);
        }
    }
}
