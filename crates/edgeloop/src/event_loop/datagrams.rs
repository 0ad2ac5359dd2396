//! Phase 5, its second part: datagrams, within their budget.

use rustix::io::Errno;

use super::EventLoop;
use crate::api::datagram::{Datagram, DatagramSocket};
use crate::api::handler::{Handler, LoopContext};
use crate::api::id::ConnectionId;
use crate::core::Agenda;
use crate::event_loop::call_context::CallContext;
use crate::kernel::{Kernel, RECEIVE};

/// How many datagrams of one socket are shown in a turn before others have their share, if their
/// bytes don't come to its budget before that (C13).
const BUDGET: u32 = 256;

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Receives what waits at the datagram sockets, a budget's worth at each.
    pub(super) fn receive_datagrams(&mut self) {
        self.datagram.resize(RECEIVE, 0);
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
            self.datagram = Vec::new();
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
            left -= 1;
            match self.core.kernel.receive_datagram(&bind.socket, &mut self.datagram) {
                Ok(received) => {
                    bind.has_received();
                    bytes_left = bytes_left.saturating_sub(received.length);
                    self.core.metrics.datagrams_in += 1;
                    self.core.current = ConnectionId::NONE;
                    let datagram = Datagram {
                        socket: id,
                        from: received.from,
                        to: received.to,
                        local: received.local,
                        bytes: &self.datagram[..received.length],
                    };
                    let (core, started) = (&mut self.core, &mut self.started);
                    let mut cx = CallContext::new(core, started, ConnectionId::NONE);
                    call(&mut self.handler, &mut cx, &datagram);
                }
                Err(Errno::AGAIN) => return bind.is_empty(),
                // Of one that was sent before, such as ECONNREFUSED (udp(7)), or want of memory.
                Err(_) => {
                    self.core.metrics.datagram_errors += 1;
                    if bind.failed(now) {
                        self.core.agenda.add(Agenda::ALARM);
                    }
                }
            }
        }
    }
}

/// Narrows the context to what [`Handler::datagram`] may use: there is no connection in it.
fn call<H: Handler>(
    handler: &mut H,
    cx: &mut impl LoopContext<H::Session>,
    datagram: &Datagram<'_>,
) {
    handler.datagram(cx, datagram);
}
