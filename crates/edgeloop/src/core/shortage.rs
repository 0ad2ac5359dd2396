//! Memory that the system refuses (C11): what was set aside is given up, reading and accepting
//! pause, and both go on once as much can be set aside again.

use std::time::Duration;

use memmap2::MmapMut;
use rustix::io::Errno;

use super::{Agenda, Core, FIRST_CONNECTIONS};
use crate::api::closed::Reason;
use crate::api::error::{Error, ErrorKind, Failed};
use crate::api::id::ConnectionId;
use crate::api::notice::Notice;
use crate::api::time::Time;
use crate::epoll::Readiness;
use crate::kernel::Kernel;
use crate::store::output::{Refused, heap_grants};

/// What is set aside. It must hold what is under way when memory is refused: the rest of a read's
/// worth of output, what the handler leaves of it, and the small things that the loop allocates
/// while it writes queued output, ends connections and logs.
const BALLAST: usize = 1024 * 1024;

/// How long after a refusal it is looked whether there is memory again, and the longest of these
/// waits, which double.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// A mapping that nobody writes to. It takes no memory, but counts towards RLIMIT_AS, RLIMIT_DATA
/// and the kernel's promises of memory (`vm.overcommit_memory` 2). Without it, that much is free.
#[derive(Debug)]
pub(crate) struct Ballast {
    held: Option<MmapMut>,
    /// What the session of a connection takes.
    session: usize,
    /// When it is looked again.
    look_at: Time,
    wait: Duration,
}

impl Ballast {
    /// Sets the memory aside, in a loop whose sessions take so much.
    ///
    /// # Errors
    ///
    /// When the system refuses it.
    pub(crate) fn new(session: usize) -> Result<Self, Error> {
        let held = map().map_err(|Refused| {
            let failed = Failed::new("mmap", Errno::NOMEM);
            Error::of_call(ErrorKind::Setup, "cannot make an event loop", failed)
        })?;
        Ok(Self { held: Some(held), session, look_at: Time::NEVER, wait: FIRST_LOOK })
    }

    /// Gives it up, if that was not done before.
    fn give_up(&mut self, now: Time) {
        if self.held.take().is_some() || self.look_at == Time::NEVER {
            self.look_at = now.after(FIRST_LOOK);
            self.wait = FIRST_LOOK;
        }
    }

    /// When it is looked whether there is memory again.
    pub(crate) const fn look_at(&self) -> Time {
        self.look_at
    }
}

fn map() -> Result<MmapMut, Refused> {
    MmapMut::map_anon(BALLAST).map_err(|_| Refused)
}

/// Whether as much can be set aside and is free besides: the rest is for the next queues, and for
/// whoever else in the process takes memory and does not ask, such as a thread that begins.
fn is_there_twice() -> bool {
    MmapMut::map_anon(2 * BALLAST).is_ok()
}

impl<K: Kernel> Core<K> {
    /// The system has refused memory.
    #[cold]
    pub(crate) fn refused(&mut self) {
        self.ballast.give_up(self.now);
        self.remind(self.ballast.look_at());
        if self.memory.refuse() {
            self.limit_allowance();
            self.ordinary = Readiness::NOTHING;
            self.metrics.memory_refusals += 1;
            self.tell(Notice::MemoryRefused { held: self.memory.output_held() });
        }
    }

    /// Looks whether there is memory again. If so, reading goes on.
    #[cold]
    pub(crate) fn look_for_memory(&mut self) {
        if !self.memory.is_refused() {
            return;
        }
        // With nothing queued nothing will be released: then it goes on with what there is.
        let empty = self.memory.output_held() == 0;
        let granted = !self.kernel.refuses_memory() && (empty || is_there_twice());
        if !granted {
            self.ballast.wait = (self.ballast.wait * 2).min(LONGEST_LOOK);
            self.ballast.look_at = self.now.after(self.ballast.wait);
            return self.remind(self.ballast.look_at);
        }
        self.ballast.held = map().ok();
        self.ballast.look_at = Time::NEVER;
        if self.memory.grant() {
            self.ordinary = Readiness::INPUT;
        }
        self.limit_allowance();
        self.agenda.add(Agenda::STARVED);
    }

    /// There is no memory for what a connection has sent or received, even without what was set
    /// aside.
    #[cold]
    pub(crate) fn out_of_memory(&mut self, id: ConnectionId) {
        self.connections[id].remember(Errno::NOMEM);
        self.end(id, Reason::Exhausted, true);
    }

    /// Whether there is memory for another few connections, asked before the first of them is
    /// accepted.
    pub(crate) fn has_memory_for_more(&mut self) -> bool {
        /// For how many connections it is asked at once, and what each takes besides its session.
        const CONNECTIONS: usize = 64;
        const EACH: usize = 128;
        /// What tables grow by at once, besides sessions.
        const PAGES: usize = 128 * 1024;
        let (refused, count) = (self.memory.is_refused(), self.connections.len());
        if count < self.provided && !refused {
            return true;
        }
        let granted = heap_grants(PAGES + CONNECTIONS * (EACH + self.ballast.session)).is_ok();
        if !granted || (!refused && self.kernel.refuses_memory()) {
            self.refused();
            return false;
        }
        self.provided = count + CONNECTIONS;
        true
    }

    /// All connections are gone, and with them what they took.
    pub(crate) fn nobody_is_left(&mut self) {
        self.provided = FIRST_CONNECTIONS;
    }
}
