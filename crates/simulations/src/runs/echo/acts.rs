//! What the handler of the runs does beside the echo: to other connections, and to the loop.

use std::sync::Arc;
use std::time::Duration;

use edgeloop::sim::internals::{Kind, Side};
use edgeloop::{Action, ConnectionId, Context, Input, Limits, LoopContext, Sent, Target, Time};

use super::alarms::{BUSY, PAUSES};
use super::session::Session;
use super::{DIALS, Echo, PAUSE, WAKE_UPS};

impl Echo {
    /// Panics without a message on standard error.
    pub(super) fn panic_quietly(&self, message: &'static str) -> ! {
        self.panics.set(self.panics.get() + 1);
        std::panic::resume_unwind(Box::new(message))
    }

    /// The handler panics, if it is to.
    pub(super) fn may_panic(&mut self, session: &Session) {
        if self.random.chance(self.manner.panics) {
            self.give_up(session.wire);
            self.panic_quietly("as planned");
        }
    }

    /// The same where no connection is concerned.
    pub(super) fn may_panic_alone(&mut self) {
        if self.random.chance(self.manner.panics) {
            self.panic_quietly("as planned, and of no connection");
        }
    }

    /// The server ends a connection whose peer is owed more.
    pub(super) fn give_up(&self, wire: usize) {
        let mut world = self.world.borrow_mut();
        world.peer_of(wire).place.excused = true;
        world.wires[wire].known.served = false;
    }

    /// So much of a session's input is left with the loop now.
    pub(super) fn leaves(&mut self, session: &mut Session, left: usize) {
        self.left = self.left - session.left + left;
        session.left = left;
    }

    /// Does what a handler should do seldom. Returns whether it has sent all that fits.
    pub(super) fn meddle<S: From<Session>>(&mut self, cx: &mut impl Context<S>) -> bool {
        let mut flooded = false;
        self.may_await_the_end(cx);
        if self.random.chance(self.manner.strikes) {
            let (id, wire) = self.any_session();
            if id != cx.id() && !self.gone.contains(&id) {
                self.give_up(wire);
                if self.random.chance(500) { cx.reset(id) } else { cx.close(id) }
            }
        }
        if self.manner.pokes > 0 {
            let (id, _) = self.any_session();
            self.may_poke(cx, id);
        }
        if self.random.chance(self.manner.stale) && !self.gone.is_empty() {
            self.act_on_the_gone(cx);
        }
        if self.random.chance(self.manner.floods) {
            let (id, wire) = self.any_session();
            let mut world = self.world.borrow_mut();
            // Of one that isn't made yet it is not known who will read that.
            let known = !world.wires[wire].tentative;
            let client = world.peer_of(wire).client();
            let meant = known && (client.kind == Kind::Vanishing || client.abandoned);
            drop(world);
            if meant {
                if self.manner.shares > 0 {
                    self.flood_by_reference(cx, wire);
                }
                self.flood(cx, id, wire);
                flooded = true;
            }
        }
        if self.random.chance(self.manner.adopts) {
            self.world.borrow_mut().hand_over();
        }
        if self.random.chance(self.manner.dials) {
            self.dial(cx);
        }
        self.may_rebind(cx);
        if self.random.chance(self.manner.wakes) {
            self.set_wake_up(cx);
        }
        if self.limits.low_ceiling {
            self.expect_below_the_ceiling(cx);
        }
        flooded
    }

    /// Has another session called, or its own.
    pub(super) fn may_poke<S: From<Session>>(
        &mut self,
        cx: &mut impl LoopContext<S>,
        id: ConnectionId,
    ) {
        if self.random.chance(self.manner.pokes) {
            // One that is gone is not called, and what it was asked for before is forgotten with
            // it.
            if !self.gone.contains(&id) {
                *self.poked.entry(id).or_default() += 1;
            }
            self.world.borrow_mut().vigil.is_to_call();
            cx.poke(id);
        }
    }

    /// Connects to a service, or to one after another.
    pub(super) fn dial<S: From<Session>>(&mut self, cx: &mut impl LoopContext<S>) {
        if self.services.is_empty() || self.dialled == DIALS {
            return;
        }
        self.dialled += 1;
        let address = self.random.pick(&self.services);
        let others = u32::from(self.random.chance(300));
        let target = (0..others)
            .fold(Target::new(address), |target, _| target.or(self.random.pick(&self.services)));
        // It may be at its cap, or out of descriptors, or stopping.
        let made = self.world.borrow().clock_read;
        if let Ok(id) = cx.connect(target, S::from(Session::outbound(others, made))) {
            let wire = self.world.borrow_mut().wire_begun(id);
            self.sessions.borrow_mut().push((id, wire));
            if self.random.chance(100) {
                // It is not wanted any more.
                self.give_up(wire);
                cx.reset(id);
            }
        }
    }

    /// Sets, moves or cancels the loop's wake-up.
    pub(super) fn set_wake_up<S: From<Session>>(&mut self, cx: &mut impl LoopContext<S>) {
        if self.woken == WAKE_UPS {
            return;
        }
        let after = self.random.pick(&[0, 30, 150, 1_000, 50_000, 3_000_000]);
        let at = self.random.chance(900).then(|| cx.now().after(Duration::from_micros(after)));
        cx.wake_at(at);
        // As often as it likes.
        self.world.borrow_mut().vigil.woken_up();
        self.wake = at;
    }

    /// Each act on a connection that is gone does nothing, and is counted (C17).
    fn act_on_the_gone<S: From<Session>>(&mut self, cx: &mut impl Context<S>) {
        let id = self.random.pick(&self.gone);
        self.seen.stale += 1;
        match self.random.below(9) {
            0 => {
                if cx.send_to(id, b"stale") != Sent::Gone {
                    self.world.borrow_mut().violated(|| format!("{id} is gone, and was sent to"));
                }
            }
            1 => cx.reset(id),
            2 => cx.close(id),
            3 => cx.pause(id),
            4 => cx.pull(id),
            5 => cx.set_timer_of(id, PAUSES, Some(PAUSE)),
            6 => cx.set_busy(id, true),
            7 => self.expect_nothing_of(cx, id),
            _ => cx.resume(id),
        }
    }

    /// Limits for a connection that is gone are no error.
    fn expect_nothing_of<S>(&mut self, cx: &mut impl Context<S>, id: ConnectionId) {
        if cx.set_limits(id, Limits::new().input_limit(0)).is_err() {
            self.world.borrow_mut().violated(|| format!("{id} is gone, and has wrong limits"));
        }
    }

    fn flood<S: From<Session>>(&mut self, cx: &mut impl Context<S>, id: ConnectionId, wire: usize) {
        loop {
            let sent = cx.send_to(id, &[0; 100]);
            let mut world = self.world.borrow_mut();
            let accepted = world.wires[wire].link.accepted(Side::Ours);
            if sent.is_accepted() {
                world.wires[wire].known.given += 100;
            }
            let peer = world.peer_of(wire).client();
            match sent {
                Sent::Refused => {
                    self.seen.refused += 1;
                    return;
                }
                Sent::Gone => return peer.doubtful += 100,
                _ => peer.pushed += 100,
            }
            if peer.pushed > accepted + self.limits_of(id).output as u64 {
                return world.violated(|| format!("more is queued for {id} than the limit allows"));
            }
        }
    }

    /// Sends the same to all who never read, as this one does.
    fn flood_by_reference<S>(&mut self, cx: &mut impl LoopContext<S>, wire: usize) {
        const LENGTH: usize = 700;
        let sessions = self.sessions.borrow().clone();
        let mut world = self.world.borrow_mut();
        let deaf = |&(id, of): &(ConnectionId, usize)| {
            let known = !world.wires[of].tentative && !self.gone.contains(&id);
            let client = world.peer_of(of).client();
            of == wire || (known && client.kind == Kind::Vanishing)
        };
        let members: Vec<_> = sessions.into_iter().filter(deaf).collect();
        drop(world);
        let ids: Vec<_> = members.iter().map(|member| member.0).collect();
        for _ in 0..self.random.size(1, 8) {
            let refused = cx.send_shared(&ids, Arc::from([0; LENGTH]));
            for &(id, of) in &members {
                let answer = refused.iter().find(|refused| refused.0 == id);
                let mut world = self.world.borrow_mut();
                match answer.map(|answer| answer.1) {
                    Some(Sent::Refused) => self.seen.refused += 1,
                    Some(_) => world.peer_of(of).client().doubtful += LENGTH as u64,
                    None => {
                        world.wires[of].known.given += LENGTH as u64;
                        world.peer_of(of).client().pushed += LENGTH as u64;
                    }
                }
            }
        }
    }

    fn any_session(&mut self) -> (ConnectionId, usize) {
        let sessions = self.sessions.borrow();
        self.random.pick(&sessions)
    }

    /// Sends so many bytes that came in back.
    pub(super) fn echo<S: From<Session>>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
        bytes: &[u8],
    ) -> Sent {
        let sent = cx.send(bytes);
        self.has_echoed(session, bytes.len(), sent)
    }

    /// The same with the bytes in many places.
    fn echo_in_places<S>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
        bytes: &[u8],
    ) -> Sent {
        let mut places = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            // Some of them are empty, and some runs have more than one call takes.
            let most = rest.len().min(self.random.pick(&[1, 3, 3000]));
            let (place, behind) = rest.split_at(self.random.size(0, most));
            places.push(place);
            rest = behind;
        }
        let sent = cx.send_vectored(cx.id(), &places);
        self.has_echoed(session, bytes.len(), sent)
    }

    fn has_echoed(&mut self, session: &mut Session, count: usize, sent: Sent) -> Sent {
        let count = count as u64;
        if sent == Sent::Refused {
            self.seen.refused += 1;
        } else {
            session.offered += count;
        }
        if sent.is_accepted() {
            session.echoed += count;
            self.world.borrow_mut().wires[session.wire].known.given += count;
        }
        sent
    }

    /// Echoes the first bytes of the input, each piece of them by a send of its own. Returns what
    /// became of the last.
    pub(super) fn echo_by_pieces<S: From<Session>>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
        input: &mut Input<'_>,
        mut whole: usize,
    ) -> Sent {
        if self.random.chance(self.manner.shares) {
            let bytes = input.take(whole);
            let refused = cx.send_shared(&[cx.id()], bytes.into());
            let sent = refused.first().map_or(Sent::Queued, |refused| refused.1);
            return self.has_echoed(session, bytes.len(), sent);
        }
        if self.random.chance(self.manner.places) {
            return self.echo_in_places(cx, session, input.take(whole));
        }
        loop {
            let splits = whole > 1 && self.random.chance(self.manner.splits);
            let piece = if splits { self.random.size(1, whole - 1) } else { whole };
            whole -= piece;
            let sent = self.echo(cx, session, input.take(piece));
            if whole == 0 || !sent.is_accepted() {
                return sent;
            }
            if self.random.chance(self.manner.flushes) {
                cx.flush(cx.id());
            }
        }
    }

    /// Sets, moves or cancels a timer of the connection at this place in the world.
    pub(super) fn set_alarm<S>(
        &mut self,
        cx: &mut impl Context<S>,
        (id, wire): (ConnectionId, usize),
        key: u32,
        after: Option<Duration>,
    ) {
        if id == cx.id() {
            cx.set_timer(key, after);
        } else {
            cx.set_timer_of(id, key, after);
        }
        self.note_alarm((id, wire), key, after.map(|after| cx.now().after(after)));
    }

    pub(super) fn note_alarm(
        &mut self,
        (id, wire): (ConnectionId, usize),
        key: u32,
        at: Option<Time>,
    ) {
        self.alarms.set(id, key, at);
        let first = self.alarms.first(id).map(|(at, _)| at);
        self.world.borrow_mut().wires[wire].known.alarm = first;
    }

    /// A connection waits for something else for a while, or no longer does.
    pub(super) fn is_busy<S>(&mut self, cx: &mut impl Context<S>, session: &Session) {
        let whose = self.own_or_any(session);
        let busy = self.random.chance(700);
        let idle = self.limits.idle.unwrap_or(PAUSE);
        let longest = self.random.pick(&[PAUSE, idle, 3 * idle]);
        let part = u32::try_from(self.random.size(1, 1000)).unwrap_or(1);
        self.set_alarm(cx, whose, BUSY, busy.then(|| longest / 1000 * part));
        self.set_busy(cx, whose.0, busy);
    }

    pub(super) fn set_busy<S>(&mut self, cx: &mut impl Context<S>, id: ConnectionId, busy: bool) {
        cx.set_busy(id, busy);
        self.busy.set(id, busy, id == cx.id(), cx.now());
    }

    /// The connection of a session, or now and then another one, and its place in the world.
    pub(super) fn own_or_any(&mut self, session: &Session) -> (ConnectionId, usize) {
        if self.random.chance(300) {
            let (id, wire) = self.any_session();
            // One that is not made yet may get another place in the world.
            let tentative = self.world.borrow().wires[wire].tentative;
            if !tentative && !self.gone.contains(&id) {
                return (id, wire);
            }
        }
        (session.known_id(), session.wire)
    }

    /// The handler pauses, if it is to and the connection is there.
    pub(super) fn may_pause<S: From<Session>>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
        sent: Sent,
    ) -> Option<Action> {
        if !sent.is_accepted() {
            return None;
        }
        if self.random.chance(self.manner.abandons) {
            return Some(self.abandon(session));
        }
        // It is not told when the output of a relay has drained.
        if self.manner.reads_on && sent == Sent::AboveMark && !session.relayed {
            session.waits = true;
            return Some(self.answer(session, Action::Pause));
        }
        if !self.random.chance(self.manner.pauses) {
            return None;
        }
        self.set_alarm(cx, (session.known_id(), session.wire), PAUSES, Some(PAUSE));
        session.paused = Some(cx.now());
        Some(self.answer(session, Action::Pause))
    }

    /// Pauses for good; the peer is sure to lose patience.
    fn abandon(&mut self, session: &mut Session) -> Action {
        session.abandoned = true;
        let resets = self.random.chance(500);
        let mut world = self.world.borrow_mut();
        let peer = world.peer_of(session.wire);
        peer.place.excused = true;
        peer.client().is_abandoned(resets);
        world.touch_wire(session.wire);
        drop(world);
        self.answer(session, Action::Pause)
    }

    /// The end of what it sends on a connection that has had enough.
    pub(super) fn leave(&mut self, session: &mut Session) -> Action {
        session.finished = self.random.chance(self.manner.finishes);
        self.answer(session, if session.finished { Action::Finish } else { Action::Close })
    }

    /// The answer of a callback, with what it means for the connection.
    pub(super) fn answer(&self, session: &Session, action: Action) -> Action {
        let known = &mut self.world.borrow_mut().wires[session.wire].known;
        match action {
            Action::Close | Action::FlushThenReset | Action::Reset => known.served = false,
            Action::Pause => known.paused = true,
            Action::Continue | Action::Finish => {}
        }
        action
    }

    /// Reads again, unless there is another cause to pause.
    pub(super) fn may_resume<S: From<Session>>(&self, cx: &mut impl Context<S>, session: &Session) {
        if !session.is_paused() {
            self.world.borrow_mut().wires[session.wire].known.paused = false;
            cx.resume(cx.id());
        }
    }
}
