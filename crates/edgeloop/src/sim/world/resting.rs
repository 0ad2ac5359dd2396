//! Whether a loop may rest, and whether the peers have anything left to do.

use super::{Rests, Time, World};
use crate::sim::peers::Peer;

impl World {
    /// A loop that blocks has no work left: nothing waits of which it was told (C13, C16).
    pub(super) fn ask_why_it_rests(&mut self, backlog: bool) {
        let rests = self.rests.filter(|_| !self.memory_refused);
        let Some(Rests { low_watermark, cap }) = rests else { return };
        let mut open = 0;
        for (index, wire) in self.wires.iter().enumerate() {
            let Some(number) = wire.held else { continue };
            open += 1;
            if self.epoll.token(number).is_some()
                && !self.epoll.is_listed(number)
                && let target = wire.known.target.filter(|&target| target != index)
                && let target = target.map(|target| &self.wires[target])
                && let Some(why) = wire.asks_for_service(target, low_watermark)
                && !self.waits_for_source(index)
            {
                let what = || format!("the loop rests, and descriptor {number} {why}: {wire:?}");
                return self.vigil.violated(what);
            }
        }
        if backlog && open < cap {
            self.violated(|| "the loop rests, and somebody waits in the backlog".to_owned());
        }
    }

    /// Whether nobody will do anything more of their own accord.
    pub(crate) fn are_peers_done(&self) -> bool {
        #[cfg(feature = "udp")]
        if !self.datagrams.are_done() {
            return false;
        }
        self.peers.iter().all(Peer::is_done)
    }

    /// When something happens next to datagrams.
    pub(super) fn next_datagram(&self) -> Time {
        #[cfg(feature = "udp")]
        return self.datagrams.next();
        #[cfg(not(feature = "udp"))]
        Time::NEVER
    }
}

/// There are no datagrams.
#[cfg(not(feature = "udp"))]
impl World {
    pub(super) const fn datagram_steps(&self) -> usize {
        let _ = self;
        0
    }

    pub(super) const fn datagram_step(&mut self, _: usize) {
        let _ = self;
    }

    pub(super) const fn ask_why_datagrams_wait(&mut self) {
        let _ = self;
    }

    pub(super) const fn expect_datagrams_received(&mut self, _: Time) {
        let _ = self;
    }
}
