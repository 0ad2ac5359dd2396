//! How listeners begin and how they end; the accepting phase finds them here.
//!
//! A listener is found by its token, which is not used again before all others were. So an event
//! that was collected before its listener closed reaches none that began later (C17), whatever
//! descriptor and place that one has.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Agenda, Core, set_option, set_options};
use crate::config::Config;
use crate::epoll::{Interest, Token};
use crate::error::{Error, ErrorKind, Failed, InCall};
use crate::id::SLOT_BITS;
use crate::kernel::{Kernel, LISTENERS, SocketOption};
use crate::listener::Listener;
use crate::notice::Notice;
use crate::time::Time;

/// The tokens of listeners: the generation in them is that of no connection.
const TOKENS: RangeInclusive<u64> = LISTENERS.0..=(1 << SLOT_BITS) - 1;

/// The loop's listeners.
#[derive(Debug)]
pub(crate) struct Listeners<S> {
    by_token: BTreeMap<u64, Listener<S>>,
    /// The token of the next one, unless that is in use still.
    next: u64,
    /// Why the last one ended, if that was an error.
    pub(crate) failure: Option<Error>,
}

impl<S> Default for Listeners<S> {
    fn default() -> Self {
        Self { by_token: BTreeMap::new(), next: *TOKENS.start(), failure: None }
    }
}

impl<S> Listeners<S> {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }

    pub(crate) fn get_mut(&mut self, token: u64) -> Option<&mut Listener<S>> {
        self.by_token.get_mut(&token)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Listener<S>> {
        self.by_token.values_mut()
    }

    /// The first one behind this token.
    pub(crate) fn after(&self, token: u64) -> Option<u64> {
        self.by_token.range(token + 1..).next().map(|(&token, _)| token)
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.by_token.last_key_value().map(|(&token, _)| token)
    }

    /// The one that is bound to this address.
    fn bound_to(&self, address: SocketAddr) -> Option<u64> {
        let found = self.by_token.iter().find(|(_, listener)| listener.address == address);
        found.map(|(&token, _)| token)
    }

    /// When a pause of one of them ends by itself, for each.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = Time> {
        self.by_token.values().map(Listener::next_deadline)
    }

    /// A token that no listener has.
    fn new_token(&mut self) -> Token {
        while self.by_token.contains_key(&self.next) {
            self.advance();
        }
        let token = Token(self.next);
        self.advance();
        token
    }

    fn advance(&mut self) {
        self.next = if self.next < *TOKENS.end() { self.next + 1 } else { *TOKENS.start() };
    }
}

impl<K: Kernel> Core<K> {
    /// Listens on an address; see [`LoopContext::listen`](crate::LoopContext::listen).
    pub(crate) fn listen(&mut self, address: SocketAddr) -> Result<SocketAddr, Error> {
        let config = self.config.clone();
        self.listen_with(address, &config)
    }

    /// The same with these settings.
    pub(crate) fn listen_with(
        &mut self,
        address: SocketAddr,
        config: &Config,
    ) -> Result<SocketAddr, Error> {
        let what = || format!("cannot listen on {address}");
        self.may_listen(what)?;
        let bound = self.listen_on(address, config);
        bound.map_err(|failed| Error::of_call(ErrorKind::Listen, what(), failed))
    }

    /// Sets on a connection what it did not inherit.
    pub(crate) fn set_options_of(&mut self, socket: &K::Socket) -> Result<(), Failed> {
        set_options(&mut self.kernel, socket, &self.config)
    }

    /// Whoever stops the loop wants nobody new: what came after the listeners were told to close
    /// would keep it from ending (C37).
    fn may_listen(&self, what: impl FnOnce() -> String) -> Result<(), Error> {
        if self.stop.is_none() && self.timeouts.drain.is_none() && !self.cuts_off {
            return Ok(());
        }
        let stopping = io::Error::other("the loop is stopping");
        Err(Error::new(ErrorKind::Listen, what(), stopping))
    }

    fn listen_on(&mut self, address: SocketAddr, config: &Config) -> Result<SocketAddr, Failed> {
        let kernel = &mut self.kernel;
        let socket = kernel.socket(address).in_call("socket")?;
        set_option(kernel, &socket, SocketOption::ReuseAddress)?;
        if address.is_ipv6() {
            set_option(kernel, &socket, SocketOption::Ipv6Only(config.ipv6_only))?;
        }
        set_options(kernel, &socket, config)?;
        kernel.bind(&socket, address).in_call("bind")?;
        kernel.listen(&socket, config.backlog).in_call("listen")?;
        self.accept_on(socket, Listener::new, config)
    }

    /// Takes over a socket that others have made and that listens.
    pub(crate) fn listen_on_given(
        &mut self,
        socket: OwnedFd,
        what: impl Fn() -> String,
    ) -> Result<SocketAddr, Error> {
        self.may_listen(&what)?;
        let bound = self.take_listener(socket);
        bound.map_err(|failed| Error::of_call(ErrorKind::Listen, what(), failed))
    }

    fn take_listener(&mut self, socket: OwnedFd) -> Result<SocketAddr, Failed> {
        let socket = self.kernel.take_over(socket).in_call("fcntl")?;
        set_options(&mut self.kernel, &socket, &self.config)?;
        // A second listen(2) changes nothing but the length of the backlog.
        self.kernel.listen(&socket, self.config.backlog).in_call("listen")?;
        let config = self.config.clone();
        self.accept_on(socket, Listener::given, &config)
    }

    /// Accepts on a socket from now on. The registration tells of whoever waits already.
    fn accept_on(
        &mut self,
        socket: K::Socket,
        make: impl FnOnce(K::Socket, SocketAddr) -> Listener<K::Socket>,
        config: &Config,
    ) -> Result<SocketAddr, Failed> {
        let bound = self.kernel.local_address(&socket).in_call("getsockname")?;
        let token = self.listeners.new_token();
        self.kernel.register(&socket, token, Interest::READABLE).in_call("epoll_ctl")?;
        let backlog = config.backlog;
        if let Some(somaxconn) = self.kernel.longest_backlog()
            && somaxconn < backlog
        {
            self.tell(Notice::BacklogCapped { listener: bound, asked: backlog, somaxconn });
        }
        let mut listener = make(socket, bound);
        listener.backlog = Some(backlog);
        if config.bounds != self.limits.common {
            listener.limits = Some(Arc::new(config.bounds));
        }
        self.listeners.by_token.insert(token.0, listener);
        self.listeners.failure = None;
        self.count_listeners();
        Ok(bound)
    }

    /// Closes the listener that is bound to this address; returns whether there was one.
    pub(crate) fn unlisten(&mut self, address: SocketAddr) -> bool {
        let token = self.listeners.bound_to(address);
        token.map(|token| self.close_listener(token)).is_some()
    }

    pub(crate) fn close_listeners(&mut self) {
        while let Some(token) = self.listeners.last() {
            self.close_listener(token);
        }
    }

    pub(crate) fn close_listener(&mut self, token: u64) {
        if let Some(listener) = self.listeners.by_token.remove(&token) {
            if listener.given {
                // Where others hold it open, closing ours does not end its registration.
                let _ = self.kernel.deregister(&listener.socket);
            }
            self.kernel.close(listener.socket);
            self.count_listeners();
            self.descriptor_is_free();
        }
    }

    /// A listener began or ended: more or fewer descriptors are left to connections (C24).
    fn count_listeners(&mut self) {
        self.leave_descriptors_to(self.listeners.by_token.len());
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

    #[test]
    fn c17_a_listener_gets_no_token_that_another_has_or_had_just_before() {
        let mut listeners = Listeners::<()>::default();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let stays = listeners.new_token();
        assert_eq!(stays, LISTENERS);
        listeners.by_token.insert(stays.0, Listener::new((), address));
        let mut last = stays;
        // Each closes before the next begins.
        for _ in 0..TOKENS.count() * 2 {
            let token = listeners.new_token();
            assert_ne!(token, last);
            assert_ne!(token, stays);
            assert!(TOKENS.contains(&token.0), "{token:?} may be a connection's");
            last = token;
        }
    }
}
