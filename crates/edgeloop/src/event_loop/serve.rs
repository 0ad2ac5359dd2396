//! Phases 3 and 4: one connection's events, its input and its callbacks.

use std::cell::Cell;
use std::ops::Range;

use rustix::io::Errno;

use super::EventLoop;
use crate::api::closed::Reason;
use crate::api::handler::{Action, Handler};
use crate::api::id::ConnectionId;
use crate::api::input::{Input, Scanned};
use crate::api::notice::Trace;
use crate::connection::flags::Flags;
use crate::connection::{Life, Transfer};
use crate::core::{is_exhaustion, transport};
use crate::epoll::Readiness;
use crate::event_loop::call_context::CallContext;
use crate::event_loop::panics::Called;
use crate::kernel::{EventSource, Kernel, persist};
use crate::store::output::{PAGE, heap_grants};

/// Calls back for a connection.
macro_rules! call {
    ($loop:ident, $id:ident, $callback:ident $(, $argument:expr)*) => {{
        let session = $loop.sessions.of($id.slot());
        $loop.core.current = $id;
        let mut cx = CallContext::new(&mut $loop.core, &mut $loop.started, $id);
        let call = Called::new(&mut $loop.own_panics.is_handlers);
        let action = $loop.handler.$callback(&mut cx, session $(, $argument)*);
        call.done();
        action
    }};
}
pub(super) use call;

/// Shows input to a connection's handler. `unsent` is how much of it is left, if nothing was sent
/// on the connection in this turn.
macro_rules! data {
    ($loop:ident, $id:ident, $input:expr, $unsent:expr) => {{
        let session = $loop.sessions.of($id.slot());
        $loop.core.current = $id;
        let mut cx = CallContext::first(&mut $loop.core, &mut $loop.started, $id, $unsent);
        let call = Called::new(&mut $loop.own_panics.is_handlers);
        let action = $loop.handler.data(&mut cx, session, $input);
        call.done();
        action
    }};
}

/// Shows a connection's handler the first bytes of the buffer, where nothing is remembered about
/// it: the end of the short ways.
macro_rules! show_plain {
    ($loop:ident, $id:ident, $connection:ident, $buffer:ident, $count:ident) => {
        $connection.active = $loop.core.now;
        $loop.core.metrics.bytes_in += $count as u64;
        let bytes = &$buffer[..$count];
        if H::TRACE {
            let call = Called::new(&mut $loop.own_panics.is_handlers);
            $loop.handler.trace(&Trace::Received { id: $id, bytes });
            call.done();
        }
        let left = Cell::new(0);
        let mut input = Input::new(bytes).counted(&left);
        // There is one. To panic if not would cost four instructions a message.
        let Some(session) = $loop.sessions.get_mut($id.slot()) else { return };
        $loop.core.current = $id;
        let mut cx = CallContext::plain(&mut $loop.core, &mut $loop.started, $id, &left);
        let call = Called::new(&mut $loop.own_panics.is_handlers);
        let action = $loop.handler.data(&mut cx, session, &mut input);
        call.done();
        if action != Action::Continue || !input.is_empty() {
            let (left, scanned) = input.rest_of(bytes);
            $loop.after_data($id, $count - left..$count, scanned, action);
        }
    };
}

/// A connection streams no more when it passes on less than this part of a read buffer at a time.
const SPLICING_PAYS: usize = 4;

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// An event of a connection.
    #[inline(always)]
    pub(super) fn event(&mut self, id: ConnectionId, readiness: Readiness) {
        if H::TRACE && self.core.connections.get(id).is_some() {
            self.trace(id, &Trace::Event { id, readiness });
        }
        let Some(connection) = self.core.connections.get_plain(id) else {
            return self.unusual_event(id, readiness);
        };
        if readiness.with_out() != self.core.ordinary {
            return self.unusual_event(id, readiness);
        }
        // From here on it is the way of every ordinary message. There is no output queued, so OUT
        // says nothing; and a short read empties the socket, because no other flag was set (C2).
        let buffer = &mut *self.buffer;
        let count = match self.core.kernel.recv(&connection.socket, buffer) {
            // The end, or a full buffer, behind which there may be more.
            Ok(count) if count == 0 || count >= buffer.len() => {
                return self.unusual_count(id, count);
            }
            Ok(count) => count,
            Err(error) => return self.receive_failed(id, error),
        };
        show_plain!(self, id, connection, buffer, count);
    }

    /// What a data callback has left in the buffer is kept, and what it answered is done.
    #[cold]
    fn after_data(
        &mut self,
        id: ConnectionId,
        left: Range<usize>,
        scanned: Scanned,
        action: Action,
    ) {
        if !left.is_empty() {
            let mut rest = Vec::new();
            if !self.grow_kept(id, &mut rest, left.len()) {
                return;
            }
            rest.extend_from_slice(&self.buffer[left]);
            self.keep_rest(id, rest, scanned, action);
        }
        self.apply(id, action);
    }

    /// Makes room in what is kept of a connection's input. Returns whether there is some; without
    /// memory for it, even without what was set aside, the connection ends (C11).
    fn grow_kept(&mut self, id: ConnectionId, kept: &mut Vec<u8>, by: usize) -> bool {
        /// What the accounts of who keeps how much may take for one more.
        const ACCOUNTS: usize = 1024;
        let grow = |kept: &mut Vec<u8>| heap_grants(ACCOUNTS).and(Ok(kept.try_reserve(by)?));
        if !self.core.memory.is_refused() && self.core.kernel.refuses_memory() {
            self.core.refused();
        }
        if grow(kept).is_err() {
            self.core.refused();
            if grow(kept).is_err() {
                self.core.out_of_memory(id);
                return false;
            }
        }
        true
    }

    #[cold]
    fn unusual_count(&mut self, id: ConnectionId, count: usize) {
        self.unusual_answer(id, Ok(count));
    }

    #[cold]
    fn receive_failed(&mut self, id: ConnectionId, error: Errno) {
        self.unusual_answer(id, Err(error));
    }

    fn unusual_answer(&mut self, id: ConnectionId, answer: Result<usize, Errno>) {
        self.core.connections[id].set(Flags::READABLE);
        if answer == Err(Errno::INTR) {
            self.read(id, self.core.config.turn_bytes);
        } else if self.after_receive(id, answer, self.buffer.len()) {
            self.read(id, self.core.config.turn_bytes - answer.unwrap_or(0));
        }
    }

    #[cold]
    fn unusual_event(&mut self, id: ConnectionId, readiness: Readiness) {
        let Some(connection) = self.core.connections.get(id) else {
            return self.other_event(EventSource::named(id));
        };
        let ordinary = readiness.with_out() == self.core.ordinary;
        if ordinary && connection.is_plain_but(Flags::UNIX) {
            return self.unix_message(id);
        }
        if ordinary && !H::TRACE && connection.is_plain_but(Flags::RELAYED) {
            return self.relay_message(id);
        }
        self.core.stop_counting(id);
        let connection = &mut self.core.connections[id];
        if connection.life() == Life::Connecting {
            return self.connect_event(id, readiness);
        }
        let tells_of_room = readiness == Readiness::NOTHING.with_out();
        if tells_of_room && connection.has(Flags::UNIX) && !connection.has(Flags::QUEUED) {
            return self.core.needs_no_room(id);
        }
        connection.note(readiness);
        // Once the peer's stream has ended nothing is read, so an error must be asked for. Both
        // streams at their ends are a hang-up, too: what was read of them is still to be relayed.
        let hung_up = readiness.is_hang_up() && !connection.has(Flags::FIN_SENT);
        let failed = readiness.is_error() || hung_up;
        if failed && connection.life() == Life::Open && connection.has(Flags::PEER_ENDED) {
            let error = self.core.kernel.take_error(&connection.socket);
            return self.core.fail(id, error.ok().flatten().unwrap_or(Errno::PIPE));
        }
        // Whoever stands in the ready list is served from there, once a turn (C13).
        if !connection.has(Flags::LISTED) {
            self.serve(id);
        }
    }

    /// The way of every ordinary message of a Unix socket: one receive, and mostly one send.
    #[inline(never)]
    fn unix_message(&mut self, id: ConnectionId) {
        let Some(connection) = self.core.connections.get_known(id) else { return };
        let buffer = &mut *self.buffer;
        match transport::receive_message(&mut self.core.kernel, connection, buffer) {
            Ok(count) if count > 0 && count < buffer.len() && !connection.has(Flags::TO_EAGAIN) => {
                show_plain!(self, id, connection, buffer, count);
            }
            answer => self.unusual_answer(id, answer),
        }
    }

    /// The way of every message of a connection that is relayed: one receive, and one send.
    fn relay_message(&mut self, id: ConnectionId) {
        let Some(connection) = self.core.connections.get_known(id) else { return };
        let buffer = &mut *self.buffer;
        let count = match self.core.kernel.recv(&connection.socket, buffer) {
            Ok(count) if count > 0 && count < buffer.len() => count,
            answer => return self.unusual_answer(id, answer),
        };
        connection.active = self.core.now;
        self.core.metrics.bytes_in += count as u64;
        self.core.carry(id, &self.buffer[..count]);
    }

    /// Calls the first callback of a connection.
    pub(super) fn opened(&mut self, id: ConnectionId) -> Action {
        let session = self.sessions.of(id.slot());
        self.core.current = id;
        let left = Cell::new(0);
        let mut cx = CallContext::first(&mut self.core, &mut self.started, id, Some(&left));
        let call = Called::new(&mut self.own_panics.is_handlers);
        let action = self.handler.opened(&mut cx, session);
        call.done();
        let has_sent = cx.has_sent();
        self.core.joining.unsent = Some(id).filter(|_| !has_sent);
        action
    }

    /// Writes and reads what a connection has waiting, within its budget for a turn (C13).
    pub(super) fn serve(&mut self, id: ConnectionId) {
        self.write(id);
        self.read(id, self.core.config.turn_bytes);
    }

    /// Writes what is queued, within the budget, and tells the handler if that was much.
    pub(super) fn write(&mut self, id: ConnectionId) {
        let connection = &mut self.core.connections[id];
        let fell = connection.has(Flags::FELL) && connection.life() == Life::Open;
        connection.clear(Flags::FELL);
        let flushes = connection.wants_flushing();
        if (flushes && self.core.flush(id)) || (fell && !self.core.pulls.has(id)) {
            if let Some(source) = self.core.relays.source(id) {
                return self.core.release_held(source);
            }
            let action = call!(self, id, drained);
            self.apply(id, action);
        }
    }

    /// Reads until EAGAIN, the end of the stream, a short read that proves emptiness, or until the
    /// budget is spent or somebody wants no more.
    pub(super) fn read(&mut self, id: ConnectionId, mut budget: usize) {
        loop {
            if let Some(count) = self.splice(id, budget) {
                budget -= count;
                continue;
            }
            let connection = &self.core.connections[id];
            if !connection.wants_reading() {
                return;
            }
            let relayed = connection.has(Flags::RELAYED);
            if relayed && self.core.holds(id) {
                return;
            }
            let connection = &self.core.connections[id];
            let discards = connection.life() == Life::Lingering;
            let failed = connection.has(Flags::FAILED);
            let owed = self.core.is_owed(id);
            // Whoever can be sent nothing takes no memory.
            let takes_none = discards || failed;
            if !takes_none && self.core.lacks_memory(id, owed) {
                self.core.send_joined(id);
                return self.core.starve(id);
            }
            let connection = &mut self.core.connections[id];
            if connection.owes_end() && !discards {
                return self.show_end(id);
            }
            if connection.has(Flags::SHOW) && !discards {
                let first = self.core.joining.is_first(id, connection, self.core.now);
                self.show(id, 0, first);
                continue;
            }
            if budget == 0 {
                return self.core.list(id);
            }
            // Near the ceiling a little at a time, so that there is some for many (C11).
            let most = if self.core.memory.is_paused() { PAGE } else { self.buffer.len() };
            let limit = budget.min(most).min(self.buffer.len());
            let (kernel, buffer) = (&mut self.core.kernel, &mut self.buffer[..limit]);
            let answer = persist(|| transport::receive(kernel, connection, buffer));
            budget -= answer.unwrap_or(0);
            if !self.after_receive(id, answer, limit) {
                return;
            }
        }
    }

    /// Passes input on unseen, where that may be and there is room for a whole read. Returns how
    /// many bytes, if any.
    fn splice(&mut self, id: ConnectionId, budget: usize) -> Option<usize> {
        let connection = &self.core.connections[id];
        let room = budget.min(self.core.memory.room());
        if !connection.may_splice()
            || !connection.wants_reading()
            || self.core.memory.is_paused()
            || room < self.buffer.len()
        {
            return None;
        }
        let target = self.core.relays.target(id)?;
        self.core.send_joined(target);
        if !self.core.connections[target].takes_spliced() {
            return None;
        }
        let (count, sent) = self.core.splice(id, target, room)?;
        if count < self.buffer.len() / SPLICING_PAYS {
            self.core.connections[id].clear(Flags::STREAMS);
        }
        self.core.carried(id, target, count, sent);
        Some(count)
    }

    /// A read has filled the whole buffer: the connection streams, if it is relayed.
    #[cold]
    fn streams(&mut self, id: ConnectionId) {
        let may_lend = self.core.pipes.may_lend(self.core.now);
        let connection = &mut self.core.connections[id];
        if may_lend && connection.has(Flags::RELAYED) {
            connection.set(Flags::STREAMS);
        }
    }

    /// What a receive of at most `limit` bytes has answered. Returns whether to go on.
    fn after_receive(
        &mut self,
        id: ConnectionId,
        answer: Result<usize, Errno>,
        limit: usize,
    ) -> bool {
        let connection = &mut self.core.connections[id];
        match answer {
            Ok(0) => self.end_of_input(id),
            Ok(count) => {
                // Before the handler sees it, since what it does may make the connection
                // readable anew.
                if count < limit && !connection.has(Flags::TO_EAGAIN) {
                    connection.exhausted();
                }
                if count < self.buffer.len() / SPLICING_PAYS {
                    connection.clear(Flags::STREAMS);
                }
                let first = self.core.joining.is_first(id, connection, self.core.now);
                connection.active = self.core.now;
                connection.receive_answered();
                if connection.life() == Life::Lingering {
                    self.discard(id, count);
                } else {
                    self.show(id, count, first);
                    if !H::TRACE && count == self.buffer.len() {
                        self.streams(id);
                    }
                }
                return true;
            }
            Err(Errno::AGAIN) => self.nothing_to_read(id),
            Err(error) if is_exhaustion(error) => {
                self.core.retry(id, Transfer::Receive, error);
            }
            // An error is reported once, and the next receive would look like a clean end (C7).
            Err(error) => {
                let released = connection.fail(error);
                self.core.release(released);
                self.core.end(id, Reason::Failed, true);
            }
        }
        false
    }

    /// Input behind our own end: nobody wants it, but an RST would cost the peer our output (C6).
    fn discard(&mut self, id: ConnectionId, count: usize) {
        self.core.metrics.bytes_discarded += count as u64;
        if !self.core.connections[id].discard(count) {
            self.core.end(id, Reason::Closed, false);
        }
    }

    /// EAGAIN: an edge will come, unless the connection is dead.
    fn nothing_to_read(&mut self, id: ConnectionId) {
        let connection = &mut self.core.connections[id];
        let unusual = connection.has(Flags::TO_EAGAIN);
        connection.exhausted();
        connection.receive_answered();
        if connection.has(Flags::FAILED) {
            return self.core.end(id, Reason::Failed, true);
        }
        // An event with ERR but nothing to read: the error can only be asked for.
        if unusual && let Ok(Some(error)) = self.core.kernel.take_error(&connection.socket) {
            let released = connection.fail(error);
            self.core.release(released);
            self.core.end(id, Reason::Failed, true);
        }
    }

    /// Shows the handler `count` bytes of the buffer, behind those that it has left before. `first`
    /// says that nothing was sent on the connection in this turn.
    #[inline(never)]
    fn show(&mut self, id: ConnectionId, count: usize, first: bool) {
        let connection = &self.core.connections[id];
        if connection.has(Flags::RELAYED) {
            self.carry(id, count);
        } else if connection.has(Flags::KEPT) {
            self.show_kept(id, count, first);
        } else {
            self.show_fresh(id, count, first);
        }
    }

    /// Sends input of a relayed connection on: what was kept of it, and `count` bytes of the
    /// buffer.
    fn carry(&mut self, id: ConnectionId, count: usize) {
        self.note_received(id, count);
        // What is kept is carried before anything is received.
        if count == 0 {
            self.core.carry_kept(id);
        } else {
            self.core.carry(id, &self.buffer[..count]);
        }
    }

    fn show_fresh(&mut self, id: ConnectionId, count: usize, first: bool) {
        self.note_received(id, count);
        let left = Cell::new(0);
        let fills = count == self.buffer.len();
        let mut input = Input::new(&self.buffer[..count]).filling(fills).counted(&left);
        let action = data!(self, id, &mut input, first.then_some(&left));
        let (left, scanned) = input.rest_of(&self.buffer[..count]);
        self.after_data(id, count - left..count, scanned, action);
    }

    fn note_received(&mut self, id: ConnectionId, count: usize) {
        self.core.metrics.bytes_in += count as u64;
        if H::TRACE && count > 0 {
            self.core.current = id;
            let call = Called::new(&mut self.own_panics.is_handlers);
            self.handler.trace(&Trace::Received { id, bytes: &self.buffer[..count] });
            call.done();
        }
    }

    #[cold]
    fn show_kept(&mut self, id: ConnectionId, count: usize, first: bool) {
        self.note_received(id, count);
        let (mut bytes, scanned) = self.take_kept(id);
        if !self.grow_kept(id, &mut bytes, count) {
            return;
        }
        bytes.extend_from_slice(&self.buffer[..count]);
        let left = Cell::new(0);
        let fills = count == self.buffer.len();
        let input = Input::with_scanned(&bytes, scanned, count).filling(fills);
        let mut input = input.counted(&left);
        let action = data!(self, id, &mut input, first.then_some(&left));
        let (left, scanned) = input.rest_of(&bytes);
        bytes.drain(..bytes.len() - left);
        if bytes.capacity() > 2 * left + 1024 {
            bytes.shrink_to(left);
        }
        self.keep_rest(id, bytes, scanned, action);
        self.apply(id, action);
    }

    pub(super) fn take_kept(&mut self, id: ConnectionId) -> (Vec<u8>, Scanned) {
        let connection = &mut self.core.connections[id];
        let before = connection.kept();
        let taken = connection.take_kept();
        self.core.memory.account_kept(id.slot(), before, 0);
        taken
    }

    /// Keeps what a callback has left, within the connection's limit and the share of all (C11).
    #[cold]
    pub(super) fn keep_rest(
        &mut self,
        id: ConnectionId,
        rest: Vec<u8>,
        scanned: Scanned,
        action: Action,
    ) {
        let connection = &mut self.core.connections[id];
        if connection.life() != Life::Open {
            return connection.leave_unread(rest.len());
        }
        // One whose output has failed can't pause: nothing else would end it.
        if action == Action::Pause && connection.is_served() {
            connection.set(Flags::PAUSED);
        }
        // Only a handler that waits for more has reached its limit; one that paused, or that we
        // paused, has not refused what it left.
        let waits = action == Action::Continue && !connection.has(Flags::PAUSED | Flags::ABOVE);
        let length = rest.len();
        connection.keep(rest, scanned);
        self.core.memory.account_kept(id.slot(), 0, connection.kept());
        if connection.has(Flags::RELAYED) {
            // The callback has made it so.
            return self.core.carry_kept(id);
        }
        if waits && length >= self.core.limits.of(id.slot()).input {
            self.core.begin_close(id, Reason::InputLimit);
        }
        while let Some(slot) = self.core.memory.heaviest() {
            let Some(heaviest) = self.core.connections.at(slot) else { break };
            self.core.begin_close(heaviest, Reason::InputShare);
        }
    }

    /// Does what a callback answered.
    #[inline]
    pub(super) fn apply(&mut self, id: ConnectionId, action: Action) {
        if action != Action::Continue {
            self.act(id, action);
        }
    }

    #[cold]
    fn act(&mut self, id: ConnectionId, action: Action) {
        match action {
            Action::Continue => {}
            Action::Pause => self.core.pause(id),
            Action::Finish => self.core.finish(id),
            Action::FlushThenReset => self.core.flush_then_reset(id),
            Action::Close => self.core.begin_close(id, Reason::Closed),
            Action::Reset => self.core.reset(id),
        }
    }
}
