//! Phase 5, its second part: datagrams, within their budget.

use rustix::io::Errno;

use super::EventLoop;
use crate::api::datagram::{Datagram, DatagramSocket};
use crate::api::handler::Handler;
use crate::api::id::ConnectionId;
use crate::core::Agenda;
use crate::event_loop::call_context::CallContext;
use crate::kernel::{DatagramBatch, Kernel};

/// How many datagrams of one socket are shown in a turn before others have their share, if their
/// bytes don't come to its budget before that (C13).
const BUDGET: usize = 256;

/// What was received with one call.
pub(super) struct Received {
    batch: DatagramBatch,
    /// Where it was.
    at: DatagramSocket,
}

impl Received {
    pub(super) const fn new() -> Self {
        Self { batch: DatagramBatch::new(), at: DatagramSocket::FIRST }
    }
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Receives what waits at the datagram sockets, a budget's worth at each.
    pub(super) fn receive_datagrams(&mut self) {
        // A panic may have left some of a batch (C40).
        self.show_datagrams();
        let last = self.core.datagrams.last();
        let mut next = self.core.datagrams.after(None);
        while let Some(id) = next.filter(|&id| Some(id) <= last) {
            self.receive_at(id);
            if self.core.datagrams.is_drained(id) {
                self.core.unbind_udp(id);
            }
            next = self.core.datagrams.after(Some(id));
        }
        if self.core.datagrams.is_empty() {
            self.received.batch.release();
        }
        // What a budget has left makes the next wait not block (C16).
        if !self.core.datagrams.wait(self.core.now) {
            self.core.agenda.take(Agenda::DATAGRAMS);
        }
    }

    fn receive_at(&mut self, id: DatagramSocket) {
        let now = self.core.now;
        let (mut left, mut bytes_left) = (BUDGET, self.core.config.turn_bytes);
        while left > 0 && bytes_left > 0 {
            let bind = self.core.datagrams.get_mut(id).filter(|bind| bind.wants_receiving(now));
            let Some(bind) = bind else { return };
            let batch = &mut self.received.batch;
            match self.core.kernel.receive_datagrams(&bind.socket, batch) {
                Ok(()) => {
                    // Fewer than there is place for were all that waited. If an error stands behind
                    // them, its own edge will tell.
                    bind.received(!batch.is_full);
                    left = left.saturating_sub(batch.arrived.len());
                    bytes_left = bytes_left.saturating_sub(batch.length());
                    self.received.at = id;
                    self.show_datagrams();
                }
                Err(Errno::AGAIN) => bind.received(true),
                // Of one that was sent before, such as ECONNREFUSED (udp(7)), or want of memory.
                Err(_) => {
                    left -= 1;
                    self.core.metrics.datagram_errors += 1;
                    if bind.failed(now) {
                        self.core.agenda.add(Agenda::ALARM);
                    }
                }
            }
        }
    }

    /// Shows the handler what was received.
    fn show_datagrams(&mut self) {
        let Received { batch, at } = &mut self.received;
        while let Some(one) = batch.arrived.get(batch.shown) {
            batch.shown += 1;
            if self.core.datagrams.get_mut(*at).is_none() {
                // The handler has closed the socket.
                continue;
            }
            // Until all are shown: a callback may panic.
            self.core.agenda.add(Agenda::DATAGRAMS);
            self.core.metrics.datagrams_in += 1;
            self.core.current = ConnectionId::NONE;
            let bytes = &batch.bytes[one.range.clone()];
            let datagram = Datagram { socket: *at, from: one.from, to: one.to, bytes };
            let mut cx = CallContext::new(&mut self.core, &mut self.started, ConnectionId::NONE);
            call(&mut self.handler, &mut cx, &datagram);
        }
    }
}

/// Narrows the context to what [`Handler::datagram`] may use: there is no connection in it.
fn call<H: Handler>(
    handler: &mut H,
    cx: &mut impl crate::api::handler::LoopContext<H::Session>,
    datagram: &Datagram<'_>,
) {
    handler.datagram(cx, datagram);
}
