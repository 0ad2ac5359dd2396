//! How time passes: jumps of the clock, and the process that is stopped meanwhile.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;

use super::{ALARM_FILE, WAKER_FILE, World};
use crate::api::time::Time;
use crate::epoll::{Batch, Readiness};
use crate::sim::Side;
use crate::sim::model::eventfd::EventFd;
use crate::sim::peers::Role;

/// How much later than it is due the end of something is seen.
pub const SLACK: Duration = Duration::from_millis(100);

/// For how long the process may be stopped while it drains, so that everybody is still served.
pub const LITTLE: Duration = Duration::from_secs(2);

/// Within what time an honest client is served that wants little, whatever others do (C11); and
/// within what time a connection ends on which a send has failed.
const SOON: Duration = Duration::from_secs(1);
const AT_LAST: Duration = Duration::from_secs(5);

/// How many things happen at the most while the process is stopped.
const MEANWHILE: usize = 5000;

impl World {
    pub(crate) fn set_alarm(&mut self, at: Time) {
        self.alarm = at;
        self.rung = false;
    }

    /// Whatever became ready by time or from another thread.
    pub(super) fn ring(&mut self) {
        if self.alarm <= self.now {
            self.alarm = Time::NEVER;
            self.rung = true;
            self.vigil.rang(self.now);
            self.epoll.wake(ALARM_FILE, Readiness::IN);
        }
        if self.waker.swap(false, Ordering::SeqCst) {
            // A full counter counts as signalled (C33).
            let _ = self.eventfd.write(1);
            self.epoll.wake(WAKER_FILE, EventFd::WRITTEN);
        }
    }

    /// epoll_wait(2) with a timeout.
    pub(crate) fn wait_for(&mut self, events: &mut Batch, timeout: Duration) -> Result<(), Errno> {
        self.patience = self.now.after(timeout);
        let answer = self.wait(events, true);
        self.patience = Time::NEVER;
        answer
    }

    /// Nothing can happen until a deadline: the clock goes there. Returns whether there is one.
    pub(super) fn jump(&mut self) -> bool {
        let next = self.next_outside().min(self.alarm);
        // A wait without anything to wait for would come back for ever.
        let next = if next == Time::NEVER { next } else { next.min(self.patience) };
        // What was due has been done.
        if next == Time::NEVER || next <= self.now {
            return false;
        }
        self.vigil.tally.jumps += 1;
        self.expect_nobody_waits(next);
        self.now = next;
        if self.now > self.limit {
            let waits = self.waits();
            self.violated(|| format!("the time that the run may take is over{waits}"));
        }
        true
    }

    /// What the peers wait for who are not done.
    pub(crate) fn waits(&self) -> String {
        const MOST: usize = 3;
        let waiting: Vec<_> = self.peers.iter().filter(|peer| !peer.is_done()).collect();
        let mut waits = String::new();
        for (at, peer) in waiting.iter().enumerate() {
            waits.push_str("; ");
            if at == MOST {
                waits.push_str(&format!("and {} more", waiting.len() - MOST));
                break;
            }
            match &peer.role {
                Role::Script(player) => waits.push_str(&player.waits()),
                Role::Client(client) => waits.push_str(&format!("{:?}, {client:?}", peer.place)),
                Role::Talker(talker) => waits.push_str(&format!("{:?}, {talker:?}", peer.place)),
            }
        }
        #[cfg(feature = "udp")]
        for peer in self.datagrams.peers.iter().filter(|peer| !peer.is_done()).take(MOST) {
            waits.push_str("; ");
            waits.push_str(&peer.waits());
        }
        waits
    }

    /// When something happens next outside the process by itself.
    fn next_outside(&self) -> Time {
        let errands = self.errands.iter().map(|errand| errand.0);
        let peers = self.wakes.peek().map(|&Reverse((at, _))| at);
        let all = errands.chain(peers).chain(self.stop.as_ref().map(|stop| stop.0));
        let all = all.chain([self.next_datagram(), self.acceptor.next()]);
        all.min().unwrap_or(Time::NEVER)
    }

    /// The process may be stopped for a while (SIGSTOP, a starved container). Whatever does not
    /// depend on it goes on. It does so in a wait, or in the midst of a turn.
    pub(super) fn may_hold_up(&mut self, waits: bool) {
        // Before the run nobody is there, and at its end nobody is left.
        if self.at_the_end.is_none() && self.ended_at.is_none() {
            return;
        }
        let Some(mut length) = self.holds.draw(&mut self.random) else { return };
        let rings = self.alarm > self.now && self.alarm < Time::NEVER;
        if waits && rings && self.random.chance(400) {
            // Until the alarm has just passed: the loop can't tell that from a turn that took its
            // time, and much has happened meanwhile.
            length = self.alarm.since(self.now) + self.random.share(SLACK * 9 / 10);
        }
        let mut ends = self.now.after(length);
        self.note(|| format!("the process is stopped for {length:?}"));
        let mut left = MEANWHILE;
        loop {
            while left > 0 && self.step() {
                left -= 1;
            }
            if left == 0 {
                // Something happens still, so that no time passes: the stop ends here.
                ends = self.now;
                break;
            }
            let next = self.next_outside();
            if next <= self.now || next > ends {
                break;
            }
            self.now = next;
        }
        self.now = ends;
        self.holds.note(self.clock_read, ends);
        if self.stopped.or(self.ended_at).is_some_and(|at| self.holds.since(at) > LITTLE) {
            // It may be cut off while it is still served.
            self.peers.iter_mut().for_each(|peer| peer.place.excused = true);
            self.stop_cuts = true;
        }
    }

    /// The clock is about to jump there: nobody is left waiting for so long.
    fn expect_nobody_waits(&mut self, next: Time) {
        self.expect_datagrams_received(next);
        for wire in 0..self.wires.len() {
            if self.wires[wire].held.is_some() {
                self.expect_served(wire, next);
                self.expect_its_end(wire, next);
                self.expect_its_alarm(wire, next);
            }
        }
    }

    /// Who wants little and owes nothing has not waited for long (C11, C39).
    pub(super) fn expect_served(&mut self, wire: usize, now: Time) {
        let it = &self.wires[wire];
        let Some(since) = it.unread_since else { return };
        // While the system refuses memory, nobody who may need some is read.
        let since = since.max(self.memory_refused_at);
        let honest = it.light && it.known.served && it.shut.is_none() && !it.known.exhausted[0];
        if honest && !it.known.paused && now > since.after(SOON + SLACK + self.holds.since(since)) {
            self.violated(|| format!("a light client has waited since {since:?} until {now:?}"));
        }
    }

    /// A connection ends on which a send has failed, or which was reset and has output (C7).
    fn expect_its_end(&mut self, wire: usize, now: Time) {
        let at = self.now;
        let it = &mut self.wires[wire];
        let owed = it.known.given > it.link.accepted(Side::Ours);
        if it.link.is_dead(Side::Ours) && owed && !it.tentative {
            it.failed_at.get_or_insert(at);
        }
        let Some(since) = it.failed_at else { return };
        if now > since.after(AT_LAST + self.holds.since(since)) {
            let it = &self.wires[wire];
            let what = format!("its output has failed at {since:?}, and it is open: {it:?}");
            self.violated(|| what);
        }
    }

    /// A handler's timer that has passed was called (C41).
    fn expect_its_alarm(&mut self, wire: usize, now: Time) {
        let it = &self.wires[wire];
        let Some(at) = it.known.alarm else { return };
        let open = it.known.served && it.shut.is_none();
        if open && now > at.after(SLACK + self.holds.since(at)) {
            let it = &self.wires[wire];
            let what = format!("its timer of {at:?} was not called until {now:?}: {it:?}");
            self.violated(|| what);
        }
    }
}
