//! What the handler of the runs does with datagrams: it echoes them, sends others, and closes and
//! binds sockets meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use edgeloop::{Datagram, LoopContext, SentDatagram};

use super::Echo;
use super::session::Session;
use crate::runs::datagrams::{Sockets, address, is_own};

/// How many sockets it has at the most.
const MOST: usize = 5;

impl Echo {
    /// Its datagram sockets, to which those are added that it has from the start.
    pub(crate) fn sockets(&self) -> Sockets {
        Rc::clone(&self.sockets)
    }

    pub(super) fn datagram<S: From<Session>>(
        &mut self,
        cx: &mut impl LoopContext<S>,
        datagram: &Datagram<'_>,
    ) {
        {
            let mut world = self.world.borrow_mut();
            world.vigil.called_back();
            world.is_shown(datagram);
            let known = self.sockets.borrow().iter().any(|one| one.0 == datagram.socket);
            if !known {
                let socket = datagram.socket;
                world.violated(|| format!("{socket} is closed, and shows a datagram (C50)"));
            }
        }
        self.may_panic_alone();
        self.may_rebind(cx);
        self.may_change_listeners(cx);
        if self.random.chance(self.manner.dials) {
            self.dial(cx);
        }
        if self.random.chance(self.manner.sprays) {
            self.spray(cx);
        }
        if !is_own(datagram.from) {
            let sent = cx.reply(datagram, datagram.bytes);
            self.expect_gone_if_closed(datagram.socket, sent);
        }
        self.may_panic_alone();
    }

    fn expect_gone_if_closed(&mut self, socket: edgeloop::DatagramSocket, sent: SentDatagram) {
        let closed = self.closed_sockets.contains(&socket);
        self.seen.stale += u64::from(closed);
        // A drain closes all of them.
        let gone = sent == SentDatagram::Gone;
        if closed != gone && (closed || !self.may_be_stopping()) {
            let what = || format!("{socket} is closed: {closed}, and a datagram is {sent:?}");
            self.world.borrow_mut().violated(what);
        }
    }

    /// Closes a socket, or binds one.
    pub(super) fn may_rebind<S>(&mut self, cx: &mut impl LoopContext<S>) {
        if self.manner.datagrams == 0 || !self.random.chance(self.manner.rebinds) {
            return;
        }
        let count = self.sockets.borrow().len();
        if count > 0 && (count == MOST || self.random.chance(500)) {
            let (socket, bound) = self.sockets.borrow_mut().swap_remove(self.random.below(count));
            self.closed_sockets.push(socket);
            self.world.borrow_mut().datagrams.unbinds = true;
            let closed = cx.unbind_udp(socket);
            self.world.borrow_mut().datagrams.unbinds = false;
            self.forget_the_cap();
            if !closed && !self.may_be_stopping() {
                self.world.borrow_mut().violated(|| format!("{bound} was not bound any more"));
            }
            return;
        }
        let wanted = address(self.random.below(MOST));
        match cx.bind_udp(wanted) {
            Ok((socket, bound)) => {
                self.sockets.borrow_mut().push((socket, bound));
                self.forget_the_cap();
                if bound != wanted {
                    let what = || format!("{bound} was bound for {wanted}");
                    self.world.borrow_mut().violated(what);
                }
            }
            Err(error) if error.call().is_none() && !self.may_be_stopping() => {
                self.world.borrow_mut().violated(|| error.to_string());
            }
            Err(_) => {}
        }
    }

    /// What is left to connections has changed, and to pipes: by how much is not known here (C24).
    fn forget_the_cap(&self) {
        if self.world.borrow().files.limit < usize::MAX {
            self.move_cap(|_| 0);
        }
    }

    /// Sends what is no answer: to another of its sockets, to nobody, or what can't be sent.
    fn spray<S>(&mut self, cx: &mut impl LoopContext<S>) {
        let closed = self.random.chance(200) && !self.closed_sockets.is_empty();
        let socket = if closed {
            self.random.pick(&self.closed_sockets)
        } else {
            let sockets = self.sockets.borrow();
            let open: Vec<_> = sockets.iter().filter(|one| one.1.is_ipv4()).collect();
            if open.is_empty() {
                return;
            }
            open[self.random.below(open.len())].0
        };
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let own = address(self.random.below(MOST));
        let own = local(own.port());
        let (to, length, refused) = match self.random.below(6) {
            0 => (local(0), 1, Some(22)),
            1 => (SocketAddr::from((Ipv4Addr::BROADCAST, 9)), 1, Some(13)),
            2 => (local(9), 65_508, Some(90)),
            3 => (local(9), 65_507, None),
            _ => (own, self.random.size(0, 100), None),
        };
        let injected = self.world.borrow().faults.injected.len();
        let sent = cx.send_datagram(socket, to, &vec![0; length]);
        self.expect_gone_if_closed(socket, sent);
        let world = self.world.borrow();
        let fails = world.faults.injected.len() > injected || world.datagrams.outage.is_some();
        drop(world);
        let meant = refused.map_or(SentDatagram::Sent, SentDatagram::Refused);
        if !fails && sent != SentDatagram::Gone && sent != meant {
            let what = || format!("{length} bytes to {to} are {sent:?}, and not {meant:?}");
            self.world.borrow_mut().violated(what);
        }
    }
}
