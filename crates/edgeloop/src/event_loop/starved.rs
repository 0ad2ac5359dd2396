//! Phase 4, for the connections that wait for memory (C11).

use super::EventLoop;
use crate::api::handler::Handler;
use crate::api::id::ConnectionId;
use crate::connection::flags::Flags;
use crate::core::Agenda;
use crate::kernel::Kernel;
use crate::store::output::PAGE;

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Serves those that are owed nothing, in the order in which they began to wait, as far as
    /// there is room or others can be given up; and lets the rest be read again where reading has
    /// resumed.
    pub(super) fn serve_starved(&mut self) {
        // Nobody without queued output waits behind one that has some. Each gets a page's worth.
        for _ in 0..self.core.config.turn_jobs {
            let first = self.core.waiting.first();
            let Some(id) = first.and_then(|slot| self.core.connections.at(slot)) else { break };
            let Some(connection) = self.core.connections.get(id) else { break };
            let (active, is_listed) = (connection.active, connection.has(Flags::LISTED));
            if self.core.memory.is_full() {
                self.core.relieve(id);
            }
            // One that was read in this turn has had its budget (C13).
            if !self.core.memory.has_room() || active == self.core.now {
                break;
            }
            self.core.feed(id);
            self.core.fed = id;
            if is_listed {
                // It has its turn in the ready list, which follows.
                break;
            }
            self.read(id, self.core.config.turn_bytes.min(PAGE));
            self.core.fed = ConnectionId::NONE;
        }
        for _ in 0..self.core.config.turn_jobs {
            let first = self.core.starved.first();
            let first = first.filter(|_| !self.core.memory.is_paused());
            let Some(id) = first.and_then(|slot| self.core.connections.at(slot)) else { break };
            self.core.feed(id);
        }
        self.core.feed_pulls();
        let waits = self.core.waiting.first().is_some() && self.core.memory.has_room();
        let starves = self.core.starved.first().is_some() && !self.core.memory.is_paused();
        if waits || starves {
            self.core.agenda.add(Agenda::STARVED);
        }
    }
}
