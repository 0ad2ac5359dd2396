//! How listeners begin and how they end; the accepting phase finds them here.
//!
//! A listener is found by its id, which is not used again before all others were. So an event that
//! was collected before its listener closed reaches none that began later (C17), whatever
//! descriptor and place that one has.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Agenda, Core, inherits_options, set_option, set_options};
use crate::api::address::{Address, UnixAddress};
use crate::api::config::Config;
use crate::api::error::{Error, ErrorKind, Failed, InCall};
use crate::api::listening::Access;
use crate::api::notice::Notice;
use crate::api::time::Time;
use crate::core::listener::Listener;
use crate::kernel::{EventSource, Kernel, ListenerId, SocketOption};

/// The loop's listeners.
#[derive(Debug)]
pub(crate) struct Listeners<S> {
    by_id: BTreeMap<ListenerId, Listener<S>>,
    /// The id of the next one, unless that is in use still.
    next: ListenerId,
    /// Why the last one ended, if that was an error.
    pub(crate) failure: Option<Error>,
}

impl<S> Default for Listeners<S> {
    fn default() -> Self {
        Self { by_id: BTreeMap::new(), next: ListenerId::FIRST, failure: None }
    }
}

impl<S> Listeners<S> {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listener<S>> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Listener<S>> {
        self.by_id.values_mut()
    }

    /// The first one behind this, or of all.
    pub(crate) fn after(&self, id: Option<ListenerId>) -> Option<ListenerId> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((from, Bound::Unbounded)).next().map(|(&id, _)| id)
    }

    pub(crate) fn last(&self) -> Option<ListenerId> {
        self.by_id.last_key_value().map(|(&id, _)| id)
    }

    /// The one that is bound to this address.
    fn bound_to(&self, address: &Address) -> Option<ListenerId> {
        let found = self.by_id.iter().find(|(_, listener)| listener.address == *address);
        found.map(|(&id, _)| id)
    }

    /// The one that was added last, while fewer were added than there are ids.
    pub(super) fn newest(&self) -> Option<ListenerId> {
        self.last()
    }

    pub(super) fn insert(&mut self, id: ListenerId, listener: Listener<S>) {
        self.by_id.insert(id, listener);
    }

    /// When a pause of one of them ends by itself, for each.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = Time> {
        self.by_id.values().map(Listener::next_deadline)
    }

    /// An id that no listener has.
    pub(super) fn new_id(&mut self) -> ListenerId {
        while self.by_id.contains_key(&self.next) {
            self.next = self.next.next();
        }
        let id = self.next;
        self.next = id.next();
        id
    }
}

impl<K: Kernel> Core<K> {
    /// Listens on an address; see [`LoopContext::listen`](crate::LoopContext::listen).
    pub(crate) fn listen(&mut self, address: &Address) -> Result<Address, Error> {
        let config = self.config.clone();
        self.listen_with(address, &config, Access::default())
    }

    /// The same with these settings. `access` is of the file of a Unix socket.
    pub(crate) fn listen_with(
        &mut self,
        address: &Address,
        config: &Config,
        access: Access,
    ) -> Result<Address, Error> {
        let what = || format!("cannot listen on {address}");
        self.may_listen(what)?;
        let bound = self.listen_on(address, config, access);
        bound.map_err(|failed| Error::of_call(ErrorKind::Listen, what(), failed))
    }

    /// Sets on a connection what it did not inherit.
    pub(crate) fn set_options_of(
        &mut self,
        socket: &K::Socket,
        family: &Address,
    ) -> Result<(), Failed> {
        set_options(&mut self.kernel, socket, family, &self.config)
    }

    /// Whoever stops the loop wants nobody new: what came after the listeners were told to close
    /// would keep it from ending (C37).
    pub(crate) fn may_listen(&self, what: impl FnOnce() -> String) -> Result<(), Error> {
        if self.stop.is_none() && self.timeouts.drain.is_none() && !self.cuts_off {
            return Ok(());
        }
        let stopping = io::Error::other("the loop is stopping");
        Err(Error::new(ErrorKind::Listen, what(), stopping))
    }

    fn listen_on(
        &mut self,
        address: &Address,
        config: &Config,
        access: Access,
    ) -> Result<Address, Failed> {
        let socket = self.kernel.socket(address).in_call("socket")?;
        let Some(path) = address.as_unix().and_then(UnixAddress::as_path) else {
            self.bind(&socket, address, config)?;
            let (id, bound) = self.begin_listening(&socket, config)?;
            return Ok(self.accept_on(id, Listener::new(socket, bound), config));
        };
        let claimed = self.claim(&socket, address, path, access)?;
        match self.begin_listening(&socket, config) {
            Ok((id, bound)) => {
                let listener = Listener::of_file(socket, bound, claimed.file);
                Ok(self.accept_on(id, listener, config))
            }
            Err(error) => {
                self.remove_file(&claimed.file);
                Err(error)
            }
        }
    }

    /// Binds a socket that has no file.
    fn bind(
        &mut self,
        socket: &K::Socket,
        address: &Address,
        config: &Config,
    ) -> Result<(), Failed> {
        let kernel = &mut self.kernel;
        if let Some(ip) = address.as_tcp() {
            set_option(kernel, socket, SocketOption::ReuseAddress)?;
            if config.reuse_port {
                set_option(kernel, socket, SocketOption::ReusePort)?;
            }
            if ip.is_ipv6() {
                set_option(kernel, socket, SocketOption::Ipv6Only(config.ipv6_only))?;
            }
            set_options(kernel, socket, address, config)?;
        }
        kernel.bind(socket, address).in_call("bind")
    }

    /// Takes over a socket that others have made and that listens.
    pub(crate) fn listen_on_given(
        &mut self,
        socket: OwnedFd,
        what: impl Fn() -> String,
    ) -> Result<Address, Error> {
        self.may_listen(&what)?;
        let bound = self.take_listener(socket);
        bound.map_err(|failed| Error::of_call(ErrorKind::Listen, what(), failed))
    }

    fn take_listener(&mut self, socket: OwnedFd) -> Result<Address, Failed> {
        let socket = self.kernel.take_over(socket).in_call("fcntl")?;
        let address = self.kernel.local_address(&socket).in_call("getsockname")?;
        if inherits_options(&address) {
            set_options(&mut self.kernel, &socket, &address, &self.config)?;
        }
        let config = self.config.clone();
        // A second listen(2) changes nothing but the length of the backlog.
        let (id, bound) = self.begin_listening(&socket, &config)?;
        Ok(self.accept_on(id, Listener::given(socket, bound), &config))
    }

    /// Lets a bound socket listen, and registers it: that tells of whoever waits already.
    fn begin_listening(
        &mut self,
        socket: &K::Socket,
        config: &Config,
    ) -> Result<(ListenerId, Address), Failed> {
        self.kernel.listen(socket, config.backlog).in_call("listen")?;
        let bound = self.kernel.local_address(socket).in_call("getsockname")?;
        let id = self.listeners.new_id();
        self.kernel
            .register(socket, EventSource::Listener(id), super::LISTENER)
            .in_call("epoll_ctl")?;
        Ok((id, bound))
    }

    /// Accepts at a listener from now on; returns where it is.
    fn accept_on(
        &mut self,
        id: ListenerId,
        mut listener: Listener<K::Socket>,
        config: &Config,
    ) -> Address {
        let (bound, backlog) = (listener.address.clone(), config.backlog);
        if let Some(somaxconn) = self.kernel.longest_backlog()
            && somaxconn < backlog
        {
            let listener = bound.clone();
            self.tell(Notice::BacklogCapped { listener, asked: backlog, somaxconn });
        }
        listener.backlog = Some(backlog);
        if config.bounds != self.limits.common {
            listener.limits = Some(Arc::new(config.bounds));
        }
        self.listeners.by_id.insert(id, listener);
        self.listeners.failure = None;
        self.count_listeners();
        bound
    }

    /// Closes the listener that is bound to this address; returns whether there was one.
    pub(crate) fn unlisten(&mut self, address: &Address) -> bool {
        let id = self.listeners.bound_to(address);
        id.map(|id| self.close_listener(id)).is_some()
    }

    pub(crate) fn close_listeners(&mut self) {
        while let Some(id) = self.listeners.last() {
            self.close_listener(id);
        }
    }

    pub(crate) fn close_listener(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.by_id.remove(&id) {
            if let Some(file) = &listener.file {
                self.remove_file(file);
            }
            if listener.given {
                // Where others hold it open, closing ours does not end its registration.
                let _ = self.kernel.deregister(&listener.socket);
                self.leave_waiters_to_others();
            }
            self.kernel.close(listener.socket);
            self.count_listeners();
            self.descriptor_is_free();
        }
    }

    /// A listener that other loops share is closed here. The kernel may have woken this loop alone
    /// for somebody who waits at it.
    fn leave_waiters_to_others(&self) {
        if let Some(share) = &self.share
            && self.timeouts.drain.is_none()
            && !self.cuts_off
        {
            share.tell_all();
        }
    }

    /// Whoever waits is looked for, whether an edge has come or not.
    pub(crate) fn look_for_waiters(&mut self) {
        self.listeners.iter_mut().for_each(Listener::note);
        self.descriptor_is_free();
    }

    /// A listener began or ended: more or fewer descriptors are left to connections (C24).
    pub(super) fn count_listeners(&mut self) {
        #[cfg_attr(not(feature = "udp"), expect(unused_mut, reason = "nothing is added"))]
        let mut count = self.listeners.by_id.len();
        #[cfg(feature = "udp")]
        {
            count += self.datagrams.len();
        }
        self.leave_descriptors_to(count);
    }

    /// A descriptor is free: whoever waits for one is let in, without a new SYN (C23).
    pub(crate) fn descriptor_is_free(&mut self) {
        for listener in self.listeners.iter_mut() {
            if listener.resume() {
                self.agenda.add(Agenda::ACCEPT);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::id::SLOT_BITS;

    #[test]
    fn c17_a_listener_gets_no_id_that_another_has_or_had_just_before() {
        let mut listeners = Listeners::<()>::default();
        let address = Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
        let stays = listeners.new_id();
        listeners.by_id.insert(stays, Listener::new((), address));
        let mut last = stays;
        // Each closes before the next begins. Twice as many as there are slots of connections.
        for _ in 0..2 << SLOT_BITS {
            let id = listeners.new_id();
            assert!(id != last && id != stays, "{id:?} was had");
            last = id;
        }
    }
}
