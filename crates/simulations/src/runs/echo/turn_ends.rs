//! The call at the end of a turn: it comes in the turn in which it was asked for, and once.

use edgeloop::LoopContext;

use super::Echo;
use super::session::Session;

impl Echo {
    fn turn(&self) -> u64 {
        let world = self.world.borrow();
        world.vigil.tally.waits + u64::from(world.acceptor.before_turn)
    }

    /// Asks for it, if it is to.
    pub(super) fn may_await_the_end<S>(&mut self, cx: &mut impl LoopContext<S>) {
        if self.random.chance(self.manner.turn_ends) {
            let turn = self.turn();
            self.turn_ends.insert(turn);
            cx.at_end_of_turn();
        }
    }

    /// It was not left out in a turn before this one.
    pub(super) fn expect_the_end(&self) {
        let turn = self.turn();
        if let Some(&due) = self.turn_ends.first()
            && due < turn
        {
            let what = || format!("the end of turn {due} was not called, and it is {turn}");
            self.world.borrow_mut().violated(what);
        }
    }

    pub(super) fn turn_ended<S: From<Session>>(&mut self, cx: &mut impl LoopContext<S>) {
        // As often as it asks.
        self.world.borrow_mut().vigil.woken_up();
        let turn = self.turn();
        if !self.turn_ends.remove(&turn) {
            let due = self.turn_ends.first();
            let what = || format!("the end of turn {turn} is called, and that of {due:?} is due");
            self.world.borrow_mut().violated(what);
        }
        self.may_panic_alone();
        if self.random.chance(self.manner.turn_ends) {
            self.turn_ends.insert(turn + 1);
            cx.at_end_of_turn();
        }
        if self.random.chance(self.manner.redials) {
            self.dial(cx);
        }
    }
}
