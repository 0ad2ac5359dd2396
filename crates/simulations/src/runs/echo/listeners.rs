//! The handler of the runs closes listeners and begins others, while events of theirs may be under
//! way.

use edgeloop::sim::Fault;
use edgeloop::{Address, Error, LoopContext};

use super::Echo;
use crate::runs::LONELY;

/// How often it tries to listen, where that fails.
const TRIES: usize = 20;

impl Echo {
    /// Does so, if it is to.
    pub(super) fn may_change_listeners<S>(&mut self, cx: &mut impl LoopContext<S>) {
        // Where one has failed, the loop may live of the others.
        let failed = self.world.borrow().faults.injected.iter().any(Fault::is_fatal);
        if failed || !self.random.chance(self.manner.listens) {
            return;
        }
        if self.random.chance(500) {
            self.listen_anew(cx);
        } else if std::mem::take(&mut self.lonely) {
            self.expect_to_unlisten(cx, &LONELY);
            self.move_cap(|cap| cap + 1);
        } else if self.listen(cx, &LONELY).is_ok() {
            self.lonely = true;
            self.move_cap(|cap| cap.saturating_sub(1));
        }
    }

    /// Each listener takes a descriptor that a connection might have (C24).
    pub(super) fn move_cap(&self, to: impl FnOnce(usize) -> usize) {
        if let Some(rests) = &mut self.world.borrow_mut().rests {
            rests.cap = to(rests.cap);
        }
    }

    /// Closes a listener, if there is any beside the first, and listens there again.
    fn listen_anew<S>(&mut self, cx: &mut impl LoopContext<S>) {
        let others = self.world.borrow().listeners.get(1..).unwrap_or_default().to_vec();
        if others.is_empty() {
            return;
        }
        let address = self.random.pick(&others);
        self.expect_to_unlisten(cx, &address);
        // The next one has the options of the loop.
        self.listener_limits.remove(&address);
        for _ in 0..TRIES {
            match self.listen(cx, &address) {
                Ok(_) => return,
                // The loop is stopping, and closes all of them.
                Err(error) if error.call().is_none() => return,
                Err(_) => {}
            }
        }
        let mut world = self.world.borrow_mut();
        world.listeners.retain(|listened| *listened != address);
        world.forsake(&address);
    }

    fn expect_to_unlisten<S>(&self, cx: &mut impl LoopContext<S>, address: &Address) {
        let closed = cx.unlisten(address);
        if !closed && !self.may_be_stopping() {
            let what = || format!("{address} was not listened on any more");
            self.world.borrow_mut().violated(what);
        }
    }

    /// Listens, and refuses to believe that the loop is stopping when nobody has stopped it.
    fn listen<S>(&self, cx: &mut impl LoopContext<S>, address: &Address) -> Result<Address, Error> {
        let answer = cx.listen(address.clone());
        let wrong = match &answer {
            Ok(bound) => (bound != address).then(|| format!("{bound} was bound for {address}")),
            Err(error) if error.call().is_none() && !self.may_be_stopping() => {
                Some(error.to_string())
            }
            Err(_) => (cx.unlisten(address)).then(|| format!("{address} is bound, and failed")),
        };
        if let Some(what) = wrong {
            self.world.borrow_mut().violated(|| what);
        }
        answer
    }

    /// Whether the loop was told to stop.
    pub(super) fn may_be_stopping(&self) -> bool {
        let world = self.world.borrow();
        world.stopped.or(world.ended_at).is_some()
    }
}
