//! Echoes that wait until the loop asks for them.

use edgeloop::{Action, Context, Input, Sent};

use super::Echo;
use super::session::Session;

/// The longest piece that is sent when the loop asks for more.
const MOST: usize = 3000;

impl Echo {
    /// Keeps the first bytes of the input until the loop asks for more, if it is to. What came
    /// before goes first. Returns whether it did.
    pub(super) fn may_stash<S>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
        input: &mut Input<'_>,
        count: usize,
    ) -> bool {
        if session.stash.is_empty() && !self.random.chance(self.manner.pulls) {
            return false;
        }
        session.stash.extend(input.take(count));
        Self::ask(cx, session);
        true
    }

    fn ask<S>(cx: &mut impl Context<S>, session: &mut Session) {
        session.asks = true;
        cx.pull(cx.id());
    }

    pub(super) fn writable<S: From<Session>>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
    ) -> Action {
        self.called_back(cx, session);
        // With small budgets many calls take many turns.
        self.world.borrow_mut().vigil.woken_up();
        let asks = std::mem::take(&mut session.asks);
        self.expect(asks, "it is asked for more and did not ask for that", session);
        self.expect(!session.finished, "it is asked for more behind its end", session);
        // Beside what is queued, as much as the high watermark may be joined.
        let full = cx.queued(cx.id()) > self.limits.high_watermark;
        self.expect(!full, "it is asked for more, and there is no room", session);
        self.may_set_alarm(cx, session);
        self.may_await_the_end(cx);
        self.may_panic(session);
        // Whoever is asked for more is not told that the queue has drained.
        if std::mem::take(&mut session.waits) {
            self.may_resume(cx, session);
        }
        let room = self.limits.output_limit - self.limits.high_watermark;
        let most = session.stash.len().min(room).min(MOST);
        let count = if most == 0 { 0 } else { self.random.size(1, most) };
        let piece: Vec<u8> = session.stash.drain(..count).collect();
        let sent = self.echo(cx, session, &piece);
        self.expect(sent != Sent::Refused, "it is asked for more, and refused", session);
        if session.echoed >= self.manner.enough {
            session.stash.clear();
            return self.leave(session);
        }
        if !session.stash.is_empty() || self.random.chance(self.manner.pulls / 2) {
            Self::ask(cx, session);
        } else if session.ended {
            return self.answer(session, Action::Close);
        }
        Action::Continue
    }

    /// What is left at the end of the peer's stream goes behind what waits. Returns whether
    /// anything does.
    pub(super) fn stashes_the_rest<S>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
        input: &mut Input<'_>,
    ) -> bool {
        if session.stash.is_empty() {
            return false;
        }
        session.stash.extend(input.take_all());
        Self::ask(cx, session);
        true
    }
}
