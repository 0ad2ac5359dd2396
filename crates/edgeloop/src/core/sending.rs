//! Sending: at once where the socket takes it, else from a queue, within the limits of memory.

use rustix::io::Errno;

use super::outgoing::Outgoing;
use super::{Agenda, Core, is_exhaustion, transport};
use crate::api::handler::Sent;
use crate::api::id::ConnectionId;
use crate::api::notice::Notice;
use crate::connection::flags::Flags;
use crate::connection::{Life, Transfer};
use crate::epoll::Readiness;
use crate::kernel::{Kernel, persist};
use crate::store::output::{Refused, Released, heap_grants};
use crate::store::pieces::Pieces;

impl<K: Kernel> Core<K> {
    #[inline(always)]
    pub(crate) fn send(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        self.send_straight::<false>(id, bytes)
    }

    /// The same for a connection that is plain and has moved something in this turn.
    #[inline(always)]
    pub(crate) fn send_plain(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        self.send_straight::<true>(id, bytes)
    }

    #[inline(always)]
    fn send_straight<const KNOWN: bool>(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        let connections = &mut self.connections;
        let connection = if KNOWN { connections.get_known(id) } else { connections.get_plain(id) };
        let Some(connection) = connection else { return self.send_carefully(id, bytes) };
        if bytes.len() > self.spending.allowance || bytes.is_empty() {
            return self.send_carefully(id, bytes);
        }
        let answer = self.kernel.send(&connection.socket, bytes);
        if answer != Ok(bytes.len()) {
            return self.send_on(id, Outgoing::Bytes(bytes), answer);
        }
        if !KNOWN {
            connection.active = self.now;
        }
        self.spending.allowance -= bytes.len();
        Sent::Written
    }

    #[cold]
    pub(super) fn send_carefully(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        self.give(id, Outgoing::Bytes(bytes), false)
    }

    /// Sends bytes that lie in several places, by as few calls as can be, without a copy.
    pub(crate) fn send_pieces(&mut self, id: ConnectionId, pieces: Pieces<'_>) -> Sent {
        self.give(id, Outgoing::Pieces(pieces), false)
    }

    /// Sends what is not in a pipe, and keeps what the socket does not take; or keeps all of it, to
    /// leave at the end of the turn.
    pub(super) fn give(&mut self, id: ConnectionId, bytes: Outgoing<'_>, later: bool) -> Sent {
        // It goes behind what is joined.
        if bytes.len() > 0 {
            self.send_joined(id);
        }
        let Some(connection) = self.connections.get_mut(id) else {
            self.metrics.stale += 1;
            return Sent::Gone;
        };
        if !connection.is_sendable() {
            if connection.has(Flags::FAILED) && !connection.has(Flags::FINISHED) {
                // The handler could not know yet; its bytes are lost like those before them (C3).
                connection.lose(bytes.len());
            }
            return Sent::Gone;
        }
        if bytes.len() == 0 {
            return Sent::Written;
        }
        // All or nothing: what could not be queued to its end must not be begun (C10).
        let growth = match bytes {
            Outgoing::Shared(shared, _) => shared.growth(),
            _ => connection.growth(bytes.len()),
        };
        if connection.queued() + bytes.len() > self.limits.of(id.slot()).output
            || !self.make_room(id, growth)
            || (self.memory.is_refused() && heap_grants(growth).is_err())
        {
            self.metrics.refused += 1;
            return Sent::Refused;
        }
        let connection = &self.connections[id];
        if connection.life() != Life::Open || connection.has(Flags::QUEUED) {
            return self.queue(id, bytes, false);
        }
        if later {
            return self.queue_for_the_end(id, bytes);
        }
        if connection.has(Flags::COUNTED) {
            self.stop_counting(id);
        } else if bytes.len() > self.spending.allowance {
            self.grant_allowance();
            self.count_sent(id, 0);
        } else {
            self.spending.take(bytes.len());
        }
        let sent = self.sent_in_turn(id);
        if sent > 0 && sent + bytes.len() > self.config.turn_bytes {
            return self.defer(id, bytes);
        }
        let connection = &self.connections[id];
        let answer = transport::send(&mut self.kernel, &self.pipes, connection, bytes);
        self.send_on(id, bytes, answer)
    }

    /// Goes on after a first send was answered so. A partial send is followed by another until the
    /// kernel says EAGAIN, since only that promises an edge.
    #[cold]
    pub(super) fn send_on(
        &mut self,
        id: ConnectionId,
        mut rest: Outgoing<'_>,
        answer: Result<usize, Errno>,
    ) -> Sent {
        // The first one was a single try.
        let mut first = Some(answer).filter(|&answer| !matches!(answer, Ok(0) | Err(Errno::INTR)));
        let mut begun = false;
        loop {
            let connection = &mut self.connections[id];
            let answer = first.take().unwrap_or_else(|| {
                let (kernel, pipes) = (&mut self.kernel, &self.pipes);
                persist_none(|| transport::send(kernel, pipes, connection, rest))
            });
            match answer {
                Ok(count) => {
                    connection.active = self.now;
                    self.metrics.bytes_out += count as u64;
                    rest = rest.behind(count);
                    begun = true;
                    if connection.has(Flags::COUNTED) {
                        self.count_sent(id, count);
                    }
                    if rest.len() == 0 {
                        return Sent::Written;
                    }
                }
                Err(Errno::AGAIN) => {
                    let queued = self.queue(id, rest, begun);
                    if queued.is_accepted() {
                        // If that fails, so does the connection, with what is queued.
                        self.awaits_room(id);
                    }
                    return queued;
                }
                Err(error) if is_exhaustion(error) => {
                    let queued = self.queue(id, rest, begun);
                    if matches!(queued, Sent::Refused | Sent::Gone) {
                        return queued;
                    }
                    return if self.retry(id, Transfer::Send, error) { queued } else { Sent::Gone };
                }
                Err(error) => {
                    connection.lose(rest.len());
                    self.fail(id, error);
                    return Sent::Gone;
                }
            }
        }
    }

    /// Leaves bytes to the next turn, though the socket may take them: this turn has sent enough on
    /// this connection (C13).
    fn defer(&mut self, id: ConnectionId, bytes: Outgoing<'_>) -> Sent {
        let sent = self.queue(id, bytes, false);
        if sent.is_accepted() {
            // No edge will come.
            self.connections[id].set(Flags::WRITABLE);
            self.list(id);
        }
        sent
    }

    /// Queues what the socket has not taken. If the system refuses memory for it even when what was
    /// set aside is given up, the bytes are refused, or, if others of theirs are sent, the
    /// connection ends.
    pub(super) fn queue(&mut self, id: ConnectionId, rest: Outgoing<'_>, begun: bool) -> Sent {
        let connection = &self.connections[id];
        let first = !connection.has(Flags::QUEUED);
        let grown = match self.try_queue(id, rest) {
            Err(Refused) => {
                self.refused();
                self.try_queue(id, rest)
            }
            grown => grown,
        };
        let Ok(grown) = grown else { return self.cannot_queue(id, rest, begun) };
        let connection = &self.connections[id];
        let above = connection.is_above();
        let pauses = self.memory.charge(grown);
        self.limit_allowance();
        if pauses {
            self.ordinary = Readiness::NOTHING;
            self.metrics.memory_pauses += 1;
            self.tell(Notice::MemoryCeiling { held: self.memory.output_held() });
        }
        if first {
            self.laggards.push(id.slot());
            self.schedule(id);
        }
        if self.memory.is_full() {
            self.relieve(id);
        }
        if above { Sent::AboveMark } else { Sent::Queued }
    }

    fn try_queue(&mut self, id: ConnectionId, rest: Outgoing<'_>) -> Result<usize, Refused> {
        let mark = self.mark();
        let (now, high) = (self.now, self.limits.of(id.slot()).high);
        // Once it was refused, the simulated kernel grants it.
        if !self.memory.is_refused() && self.kernel.refuses_memory() {
            return Err(Refused);
        }
        let connection = &mut self.connections[id];
        match rest {
            Outgoing::Bytes(bytes) => connection.try_push(bytes, now, high, mark),
            Outgoing::Pieces(pieces) => connection.try_push_all(pieces, now, high, mark),
            Outgoing::Shared(shared, gone) => connection.try_share((shared, gone), now, high, mark),
            Outgoing::Piped(piped) => connection.push_piped(piped, now, high, mark),
        }
    }

    #[cold]
    fn cannot_queue(&mut self, id: ConnectionId, rest: Outgoing<'_>, begun: bool) -> Sent {
        if !begun && !matches!(rest, Outgoing::Piped(_)) {
            self.metrics.refused += 1;
            return Sent::Refused;
        }
        self.connections[id].lose(rest.len());
        self.out_of_memory(id);
        Sent::Gone
    }

    /// Writes queued output until it is gone, the socket is full, or the budget is spent. Answers
    /// whether the handler is to be told that the queue has drained.
    pub(crate) fn flush(&mut self, id: ConnectionId) -> bool {
        let budgeted = self.config.turn_bytes;
        let mut budget = budgeted.saturating_sub(self.sent_in_turn(id));
        loop {
            let connection = &mut self.connections[id];
            if !connection.has(Flags::QUEUED) {
                break;
            }
            if budget == 0 {
                self.list(id);
                break;
            }
            let (kernel, pipes) = (&mut self.kernel, &self.pipes);
            let call = || transport::send_queued(kernel, pipes, connection, budget);
            match persist_none(call) {
                Ok(count) => {
                    budget -= count;
                    self.metrics.bytes_out += count as u64;
                    let released = connection.wrote(count, self.now);
                    let queued = connection.has(Flags::QUEUED);
                    self.release(released);
                    if queued {
                        self.laggards.push(id.slot());
                    } else {
                        self.laggards.remove(id.slot());
                    }
                }
                Err(Errno::AGAIN) => {
                    connection.clear(Flags::WRITABLE);
                    if !self.awaits_room(id) {
                        return false;
                    }
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
        if budget < budgeted / 2 {
            // What is sent behind it in this turn counts, too.
            self.count_sent(id, (budgeted - budget).saturating_sub(self.sent_in_turn(id)));
        }
        let connection = &mut self.connections[id];
        let fell = connection.falls(self.limits.of(id.slot()).low);
        let next = connection.flushed();
        if !connection.has(Flags::QUEUED) {
            // It is owed nothing, and so is read whatever others are owed; so is whoever waits to
            // send it more.
            self.feed(id);
            if let Some(source) = self.relays.source(id) {
                self.feed(source);
            }
            // From here on the idle timeout counts, which may be the shorter one.
            self.schedule(id);
        }
        self.follow(id, next);
        let pulls = self.pull_on(id);
        if pulls && fell {
            // Its handler is asked for more and not told; it is read again all the same.
            self.list(id);
        }
        fell && !pulls
    }

    /// A queue gives back what it has no use for; reading may go on again.
    pub(crate) fn release(&mut self, released: Released) {
        if let Some(piped) = released.piped {
            self.take_back(piped);
        }
        if released.memory == 0 {
            return;
        }
        let resumes = self.memory.release(released.memory);
        self.limit_allowance();
        if resumes {
            self.ordinary = Readiness::INPUT;
        }
        let waits = self.waiting.first().is_some() || self.pulls.lacks_memory();
        if resumes || (waits && self.memory.has_room()) {
            self.agenda.add(Agenda::STARVED);
        }
        if released.memory > 0 {
            self.look_for_memory();
        }
    }
}

/// Makes a call that sends, and again where a signal interrupts it. One that takes nothing is as
/// good as interrupted.
fn persist_none(mut call: impl FnMut() -> Result<usize, Errno>) -> Result<usize, Errno> {
    persist(|| call().and_then(|count| if count == 0 { Err(Errno::INTR) } else { Ok(count) }))
}
