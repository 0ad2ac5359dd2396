//! What the handler of the runs expects of the loop: of each callback, and of each end.

use std::time::Duration;

use edgeloop::sim::internals::{Kind, SLACK, START, Side};
use edgeloop::{Closed, Context, LoopContext, MIN_BUFFER_LIMIT, Reason, Time};

use super::Echo;
use super::session::Session;

impl Echo {
    /// Notes that a callback was made that must not have been.
    pub(super) fn expect(&self, holds: bool, what: &str, session: &Session) {
        if !holds {
            self.world.borrow_mut().violated(|| format!("{what}: {session:?}"));
        }
    }

    /// How long the process was stopped since then.
    fn held_up(&self, since: Time) -> Duration {
        self.world.borrow().holds.since(since)
    }

    /// Whether something that was due then is late now: later than a loop may be that was running.
    pub(super) fn is_late(&self, due: Time, now: Time) -> bool {
        now > due.after(SLACK + self.held_up(due))
    }

    /// Any callback: it is for the connection of this session.
    pub(super) fn called_back<S: From<Session>>(&self, cx: &impl Context<S>, session: &Session) {
        self.called_back_for(cx, session);
        self.expect_the_wake_up(cx);
        let served = self.world.borrow().wires[session.wire].known.served;
        if let Some((at, _)) = self.alarms.first(session.known_id())
            && served
        {
            let lost = self.is_late(at, cx.now());
            self.expect(!lost, "its timer has passed and was not called (C41)", session);
        }
    }

    pub(super) fn called_back_for<S: From<Session>>(
        &self,
        cx: &impl Context<S>,
        session: &Session,
    ) {
        self.world.borrow_mut().vigil.called_back();
        self.expect_the_end();
        self.expect(
            Some(cx.id()) == session.id,
            "it was called back for another connection",
            session,
        );
    }

    fn expect_the_wake_up<S: From<Session>>(&self, cx: &impl LoopContext<S>) {
        if let Some(at) = self.wake
            && self.is_late(at, cx.now())
        {
            self.world.borrow_mut().violated(|| format!("the wake-up of {at:?} was not called"));
        }
    }

    /// The timer that is called is the first of those that were set: not early, not late, and
    /// behind those of the same turn that passed before it (C30, C41).
    pub(super) fn expect_the_timer(&mut self, now: Time, session: &Session, key: u32) {
        let Some((at, first)) = self.alarms.first(session.known_id()) else {
            return self.expect(false, "it has no timer, and it is called", session);
        };
        self.expect(first == key, "another timer comes before the one that is called", session);
        self.expect(at <= now, "the handler's timer was early", session);
        self.expect(!self.is_late(at, now), "the handler's timer was late", session);
        // Behind a panic the phases of the turn begin once more.
        let turn = (self.world.borrow().vigil.tally.waits, self.panics.get());
        let tick = at.as_nanos() / 1_000_000;
        let (last, before) = self.rung;
        let in_order = last != turn || before <= tick;
        self.expect(in_order, "its timer is called behind a later one of its turn", session);
        self.rung = (turn, tick);
    }

    /// Whether a send of the loop may have failed.
    pub(super) fn may_have_failed(&self, session: &Session) -> bool {
        let mut world = self.world.borrow_mut();
        let wire = &world.wires[session.wire];
        let failed = wire.link.is_dead(Side::Ours) || wire.failed_at.is_some();
        failed || world.peer_of(session.wire).place.excused
    }

    /// How many bytes of a connection the loop holds for it, if that can be told: those of a
    /// connection that has failed are dropped.
    pub(super) fn queued(&self, session: &Session) -> Option<u64> {
        let mut world = self.world.borrow_mut();
        let link = &world.wires[session.wire].link;
        let (dead, accepted) = (link.is_dead(Side::Ours), link.accepted(Side::Ours));
        let peer = world.peer_of(session.wire);
        let told = !dead && !peer.place.excused && peer.client().kind != Kind::Subscriber;
        told.then(|| (session.echoed + peer.client().pushed).saturating_sub(accepted))
    }

    /// The loop holds no more than its ceiling, of output and of input.
    pub(super) fn expect_below_the_ceiling<S: From<Session>>(&self, cx: &impl Context<S>) {
        let share = MIN_BUFFER_LIMIT / 4;
        let sessions = self.sessions.borrow();
        let output: usize = sessions.iter().map(|session| cx.queued(session.0)).sum();
        // What is shared is held once.
        let output = if self.manner.shares > 0 { cx.metrics().output_held } else { output };
        if output > 3 * share || self.left > share {
            let left = self.left;
            let what = || format!("{output} bytes of output and {left} of input are held");
            self.world.borrow_mut().violated(what);
        }
    }

    /// Why a connection was closed now, and not earlier or later.
    pub(super) fn expect_its_time(
        &self,
        now: Time,
        session: &Session,
        reason: Reason,
        served: bool,
    ) {
        let (accepted, stopped) = {
            let world = self.world.borrow();
            (world.wires[session.wire].sent_at, world.stopped.or(world.ended_at).unwrap_or(START))
        };
        let own = self.limits_of(session.known_id());
        let (until, surely_until) = self.busy.until(session.known_id());
        let moved = session.heard.max(accepted);
        let (since, timeout) = match reason {
            Reason::IdleTimeout => (session.heard.max(surely_until), own.idle),
            Reason::WriteTimeout => (accepted, own.write),
            Reason::ConnectTimeout => (session.made, self.settings.connect_timeout),
            Reason::DrainQuiet => {
                (moved.max(surely_until).max(stopped), Some(self.settings.drain_quiet))
            }
            _ => return,
        };
        if matches!(reason, Reason::IdleTimeout | Reason::DrainQuiet) {
            // Behind the handler's own close it is busy no more.
            let busy = served && self.busy.is_sure(session.known_id());
            self.expect(!busy, &format!("{reason}, though it is busy"), session);
        }
        let Some(timeout) = timeout else {
            return self.expect(false, "there is no such timeout", session);
        };
        // What is known of the kernel's side is known to the end of a turn, not to its beginning.
        let slack = if reason == Reason::IdleTimeout { Duration::ZERO } else { SLACK };
        let lasted = now.since(since) + slack;
        self.expect(lasted >= timeout, &format!("{reason} after {lasted:?}, too early"), session);
        let begins = moved.max(session.made).max(until).max(stopped);
        let refused =
            self.world.borrow().faults.injected.iter().any(edgeloop::sim::Fault::is_refused_memory);
        let lasted = now.since(begins);
        // A turn with nothing to do reads the clock, and does not look after the timers: a stop
        // behind it counts from the turn before, which did (seed 225316, of earlier seeds).
        let slack = SLACK + self.world.borrow().holds.since_at_most(begins);
        // It is told closed when it has lingered, too.
        let late = match reason {
            Reason::ConnectTimeout => lasted > timeout * (1 + session.others) + slack,
            // Whoever waited for memory was not quiet.
            Reason::DrainQuiet if refused => false,
            Reason::DrainQuiet => lasted > timeout + self.settings.drain_linger_timeout + slack,
            _ => false,
        };
        self.expect(!late, &format!("{reason} after {lasted:?}, too late"), session);
    }

    /// Nobody is ended for being quiet, stalled or slow before the kernel was asked (C39), nor
    /// with a timeout that has passed and was never called (C41).
    pub(super) fn expect_proof(&self, now: Time, session: &Session, reason: Reason, served: bool) {
        let (shut, refused_at, made_at, paused) = {
            let wire = &self.world.borrow().wires[session.wire];
            (wire.shut, wire.refused_at, wire.made_at, wire.known.paused)
        };
        let decided = shut.map_or(now, |shut| shut.at);
        match reason {
            Reason::IdleTimeout | Reason::DrainQuiet => {
                let waited = shut.and_then(|shut| shut.unread_since);
                // Behind the handler's own end the kernel was not asked when that was sent.
                let waited = waited.filter(|_| !session.finished);
                let waited = waited.filter(|_| !paused && !session.is_paused());
                let what = format!("{reason}, though its bytes waited since {waited:?} (C39)");
                self.expect(waited.is_none(), &what, session);
            }
            Reason::WriteTimeout => {
                let asked = refused_at.is_some_and(|at| !self.is_late(at, now));
                self.expect(asked, "given up, and the socket was not asked (C39)", session);
            }
            Reason::ConnectTimeout => {
                let deadline =
                    self.settings.connect_timeout.map(|timeout| session.made.after(timeout));
                let in_time = made_at.zip(deadline).is_some_and(|(made, deadline)| {
                    made.after(Duration::from_millis(1)) < deadline
                });
                let slow = session.others > 0 || !in_time;
                self.expect(slow, "its handshake had ended before the timeout (C39)", session);
                return;
            }
            _ => return,
        }
        // Behind the handler's own close it is called no more.
        if let Some((at, _)) = self.alarms.first(session.known_id())
            && served
        {
            let lost = self.is_late(at, decided);
            let what = format!("{reason} at {decided:?}, and its timer was not called (C41)");
            self.expect(!lost, &what, session);
        }
    }

    /// The addresses that could not be connected to are told, each with its error.
    pub(super) fn expect_its_attempts(&self, session: &Session, closed: &Closed) {
        let tried = closed.attempts.len();
        let all = usize::try_from(session.others).unwrap_or(0) + 1;
        let failed = matches!(closed.reason, Reason::ConnectFailed | Reason::ConnectTimeout);
        let was_made = session.heard > Time::ZERO;
        self.expect(tried == 0 || !was_made, "it was made, and attempts failed", session);
        self.expect(tried <= all, "more attempts failed than there are addresses", session);
        if let Some(last) = closed.attempts.last()
            && failed
        {
            let stops = self.world.borrow().stopped.or(self.world.borrow().ended_at).is_some();
            self.expect(tried == all || stops, "an address was not tried", session);
            self.expect(last.errno == closed.errno, "the last attempt had another error", session);
        }
        self.expect(tried > 0 || !failed, "no attempt failed, and it was not made", session);
    }

    /// Whoever lingers does so for a time, and for so many bytes (C6).
    pub(super) fn expect_no_longer_lingering(&self, now: Time, session: &Session, closed: &Closed) {
        let (shut, excused, kind) = {
            let mut world = self.world.borrow_mut();
            let shut = world.wires[session.wire].shut;
            let peer = world.peer_of(session.wire);
            (shut, peer.place.excused, peer.client().kind)
        };
        // Whose stream the handler has ended is served on.
        let Some(shut) = shut.filter(|_| !session.finished) else { return };
        let longest = self.settings.linger_timeout.max(self.settings.drain_linger_timeout);
        // A stop that the loop notices only some turns later lengthens what began meanwhile, too.
        let held_up = self.world.borrow().holds.since_at_most(shut.at);
        let late = now > shut.at.after(longest + SLACK + held_up);
        self.expect(!late, "it has lingered for too long", session);
        let lazy = kind == Kind::Lazy || self.limits.short_linger;
        if closed.reason != Reason::Finished && lazy && !excused {
            // Its time was too short for a peer that was owed more.
            self.give_up(session.wire);
        }
    }
}
