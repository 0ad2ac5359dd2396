//! A loop that is one of a group: what it has in common with the others.

use super::{Core, shares};
use crate::api::error::{Failed, InCall};
use crate::api::id::LoopName;
use crate::kernel::{EventSource, Kernel, Linux, Poll as _};
use crate::store::common::Share;
use crate::store::pipes::Pipes;
use crate::store::table::Slots;

impl<K: Kernel> Core<K> {
    /// Makes it a loop of a group, before it has any connection. `cap` is that of all loops.
    pub(crate) fn become_member(&mut self, name: LoopName, share: Share, cap: usize, pipes: usize) {
        self.connections = Slots::of(name);
        self.share = Some(share);
        self.cap = cap;
        self.pipes = Pipes::new(pipes);
    }

    /// The cap on all connections and the most pipes of each loop, where everything else of the
    /// group has its descriptors (C24).
    pub(crate) fn shares_of(&self, loops: usize) -> (usize, usize) {
        let (cap, pipes) = shares(&self.config, self.kernel.spare_descriptors());
        (cap, pipes / loops)
    }

    /// Whether the cap allows no other connection. One that is allowed is not set aside yet: in a
    /// group another loop may take it.
    pub(crate) fn is_at_the_cap(&self) -> bool {
        self.share.is_none() && self.connections.len() >= self.cap
    }

    /// Sets a place aside for a connection that is about to begin, among those of all loops;
    /// returns whether there was one. It's taken back when the connection is freed.
    pub(crate) fn reserve(&self) -> bool {
        self.share.as_ref().is_none_or(Share::reserve)
    }

    /// Sets a place aside for one who may wait in a backlog; returns whether there was one.
    pub(crate) fn take_place(&self) -> bool {
        self.share.as_ref().is_none_or(Share::take_place)
    }

    /// There was one.
    pub(crate) fn count_place(&self) {
        if let Some(share) = &self.share {
            share.count();
        }
    }

    /// There was none.
    pub(crate) fn leave_place(&self) {
        if let Some(share) = &self.share {
            share.leave_place();
        }
    }

    /// The connection that a place was set aside for has not come to be, or is gone.
    pub(crate) fn unreserve(&self) {
        if let Some(share) = &self.share {
            share.release();
        }
    }
}

impl Core<Linux> {
    /// Lets other loops accept at the listener that was added last, too. Each gets a descriptor of
    /// its own for the same socket, and all are registered exclusively, so that a connection wakes
    /// one of them. The file of a Unix socket stays with this loop.
    pub(crate) fn share_last_listener(&mut self, others: &mut [Self]) -> Result<(), Failed> {
        let Some(id) = self.listeners.newest() else { return Ok(()) };
        let Some(listener) = self.listeners.get_mut(id) else { return Ok(()) };
        // Closing it does not end its registration (C18).
        listener.given = true;
        self.kernel.deregister(&listener.socket).in_call("epoll_ctl")?;
        let source = EventSource::Listener(id);
        self.kernel.register_shared(&listener.socket, source).in_call("epoll_ctl")?;
        for other in others {
            let socket = listener.socket.try_clone().in_call("fcntl")?;
            let twin = listener.twin(socket);
            let id = other.listeners.new_id();
            let source = EventSource::Listener(id);
            other.kernel.register_shared(&twin.socket, source).in_call("epoll_ctl")?;
            other.listeners.insert(id, twin);
        }
        Ok(())
    }

    /// Closes the listener that was added last.
    pub(crate) fn close_last_listener(&mut self) {
        if let Some(id) = self.listeners.newest() {
            self.close_listener(id);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::TcpStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::api::config::Config;
    use crate::core::Ballast;
    use crate::epoll::Batch;
    use crate::kernel::Sockets as _;

    fn core() -> Core<Linux> {
        let kernel = Linux::new().expect("a kernel");
        Core::new(kernel, Config::new(), Ballast::new(0).expect("memory"))
    }

    /// Whether an event has come.
    fn hears(core: &mut Core<Linux>) -> bool {
        let mut events = Batch::new(8, 8);
        core.kernel.wait(&mut events, false).expect("a wait");
        events.iter().get(0).is_some()
    }

    #[test]
    fn c52_a_listener_that_one_loop_closes_is_one_of_the_others_still() {
        let (mut first, mut second) = (core(), core());
        let any = "127.0.0.1:0".parse().expect("an address");
        let bound = first.listen(&any).expect("a free port");
        first.share_last_listener(std::slice::from_mut(&mut second)).expect("descriptors");
        let told = Arc::new(AtomicUsize::new(0));
        let tell = Arc::clone(&told);
        let tell = Box::new(move || _ = tell.fetch_add(1, Ordering::SeqCst));
        let mut shares = Share::of_all(10, 2, tell);
        let share = shares.next().expect("two");
        first.become_member(LoopName::new(0, 2), share, 10, 0);
        let address = bound.as_tcp().expect("it is of TCP");
        let _client = TcpStream::connect(address).expect("it listens");
        assert!(first.unlisten(&bound));
        assert!(!hears(&mut first), "its registration has ended, though the socket lives on");
        assert_eq!(told.load(Ordering::SeqCst), 1, "somebody may wait that only this loop knew of");
        assert!(hears(&mut second));
        let accepted = second.listeners.iter_mut().next().expect("one").socket.try_clone();
        let accepted = second.kernel.accept(&accepted.expect("a descriptor"));
        assert!(accepted.is_ok());
        assert!(second.unlisten(&bound));
        assert!(TcpStream::connect(address).is_err(), "the last has closed it");
    }
}
