//! The limits that the handler of the runs gives its connections.

use std::collections::HashMap;
use std::time::Duration;

use edgeloop::{Address, ConnectionId, Context, Limits, ListenOptions};

use super::Echo;
use super::session::Session;

/// What holds for a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own {
    pub(super) idle: Option<Duration>,
    pub(super) write: Option<Duration>,
    pub(super) high: usize,
    pub(super) low: usize,
    pub(super) output: usize,
}

/// Those of connections that were given some.
pub(super) type Owns = HashMap<ConnectionId, Own>;

impl Echo {
    /// The limits that hold for a connection.
    pub(super) fn limits_of(&self, id: ConnectionId) -> Own {
        self.owns.get(&id).copied().unwrap_or_else(|| self.usual_limits())
    }

    /// Those of the loop.
    fn usual_limits(&self) -> Own {
        Own {
            idle: self.limits.idle,
            write: self.settings.write_timeout,
            high: self.limits.high_watermark,
            low: self.limits.low_watermark,
            output: self.limits.output_limit,
        }
    }

    /// Changes the limits of its own connection by chance: to such that no honest peer is ended by,
    /// and back.
    pub(super) fn may_set_limits<S>(&mut self, cx: &mut impl Context<S>, session: &Session) {
        if !self.random.chance(self.manner.limits) {
            return;
        }
        let mut own = self.limits_of(session.known_id());
        let limits = self.draw_limits(&mut own);
        if self.random.chance(100) {
            let wrong = limits.low_watermark(usize::MAX);
            let refused = cx.set_limits(session.known_id(), wrong).is_err();
            self.expect(refused, "limits that contradict each other are taken", session);
        }
        let taken = cx.set_limits(session.known_id(), limits).is_ok();
        self.expect(taken, "sound limits are refused", session);
        self.hold_to(session.known_id(), session.wire, own);
    }

    /// Some limits, and what holds then.
    fn draw_limits(&mut self, own: &mut Own) -> Limits {
        let usual = self.limits;
        let mut limits = Limits::new();
        if self.random.chance(500) {
            let idle = usual.idle;
            let longer = idle.map(|idle| 2 * idle);
            // Or others would wait for the slot for ever.
            let longest = longer.filter(|_| usual.scarce);
            own.idle = self.random.pick(&[idle, longer, longest]);
            limits = limits.idle_timeout(own.idle);
        }
        if self.random.chance(500) {
            let write = self.settings.write_timeout;
            own.write = self.random.pick(&[write, write.map(|write| 2 * write)]);
            limits = limits.write_timeout(own.write);
        }
        if self.random.chance(500) {
            let part = self.random.pick(&[1, 2, 10]);
            (own.high, own.low) = (usual.high_watermark / part, usual.low_watermark / part);
            limits = limits.high_watermark(own.high).low_watermark(own.low);
        }
        if self.random.chance(300) {
            // What was let in once is not taken back.
            own.output = usual.output_limit.saturating_mul(2);
            limits = limits.output_limit(own.output);
        }
        limits
    }

    fn hold_to(&mut self, id: ConnectionId, wire: usize, own: Own) {
        self.owns.insert(id, own);
        self.world.borrow_mut().wires[wire].known.low_watermark = Some(own.low);
    }

    /// The options of a listener, whose limits are to hold for what it accepts.
    pub(crate) fn listen_options(&mut self, address: Address) -> ListenOptions {
        if !self.random.chance(self.manner.limits) {
            return ListenOptions::new();
        }
        let mut own = self.usual_limits();
        let limits = self.draw_limits(&mut own);
        self.listener_limits.insert(address, own);
        ListenOptions::new().limits(limits).keepalive(Some(Duration::from_secs(60)))
    }

    /// It was accepted there.
    pub(super) fn has_limits_of(
        &mut self,
        listener: Option<&Address>,
        id: ConnectionId,
        wire: usize,
    ) {
        let own = listener.and_then(|listener| self.listener_limits.get(listener).copied());
        if let Some(own) = own {
            self.hold_to(id, wire, own);
        }
    }
}
