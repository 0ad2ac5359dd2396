//! What is told of a run while it goes on: to whoever follows it, and for the message of a failure.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::api::address::Address;
use crate::sim::Fault;
use crate::sim::clock::Follower;

/// Whose code runs now, which a panic would be of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Inside {
    /// A callback that no connection has.
    #[default]
    Handler,
    /// This callback of the handler.
    Callback(&'static str),
    /// What was given to [`Simulation::at`](crate::sim::Simulation::at) for this time.
    Errand(Duration),
    /// What was given to [`Simulation::service`](crate::sim::Simulation::service) for this address.
    Service(Address),
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler => f.write_str("the handler"),
            Self::Callback(callback) => write!(f, "the handler's callback `{callback}`"),
            Self::Errand(after) => write!(f, "what `Simulation::at` does after {after:?}"),
            Self::Service(address) => write!(f, "the answer of the service {address}"),
        }
    }
}

/// One for each run, which its scripts, its services and the handler's watch share.
#[derive(Default)]
pub(crate) struct Journal {
    followers: RefCell<Vec<Follower>>,
    /// How many of the last lines are kept, and these.
    keep: usize,
    last: RefCell<VecDeque<String>>,
    inside: RefCell<Inside>,
    /// Peers send and read what they have at once, and not in pieces of chance.
    pub(crate) calm: Cell<bool>,
    /// Whose code did not come to its end.
    unfinished: RefCell<Option<Inside>>,
    /// What the run came to, for a test that fails behind it.
    pub(crate) faults: RefCell<Vec<Fault>>,
    pub(crate) elapsed: Cell<Duration>,
}

impl Journal {
    /// One that keeps so many of the last lines.
    pub(crate) fn keeping(lines: usize) -> Self {
        Self { keep: lines, ..Self::default() }
    }

    pub(crate) fn follow(&self, follower: Follower) {
        self.followers.borrow_mut().push(follower);
    }

    /// Whether anybody wants to know.
    pub(crate) fn is_followed(&self) -> bool {
        self.keep > 0 || !self.followers.borrow().is_empty()
    }

    pub(crate) fn tell(&self, at: Duration, what: impl FnOnce() -> String) {
        if !self.is_followed() {
            return;
        }
        let what = what();
        for follower in self.followers.borrow_mut().iter_mut() {
            follower(at, &what);
        }
        if self.keep > 0 {
            let mut last = self.last.borrow_mut();
            if last.len() == self.keep {
                last.pop_front();
            }
            last.push_back(line(at, &what));
        }
    }

    /// The last lines that were told.
    pub(crate) fn take_last(&self) -> Vec<String> {
        self.last.take().into()
    }

    /// This code runs from now on; what ran before has panicked, unless it has left.
    pub(crate) fn enter(&self, inside: Inside) {
        let before = self.inside.replace(inside);
        if before != Inside::Handler {
            self.unfinished.borrow_mut().get_or_insert(before);
        }
    }

    /// That code has come to its end.
    pub(crate) fn leave(&self) {
        self.inside.replace(Inside::Handler);
    }

    /// Runs other code within what runs now.
    pub(crate) fn within<T>(&self, inside: Inside, run: impl FnOnce() -> T) -> T {
        let around = self.inside.replace(inside);
        let answer = run();
        self.inside.replace(around);
        answer
    }

    /// Whose code panicked, if any did.
    pub(crate) fn panicked(&self) -> Inside {
        let unfinished = self.unfinished.borrow().clone();
        unfinished.unwrap_or_else(|| self.inside.borrow().clone())
    }
}

/// A line of a trace.
pub(crate) fn line(at: Duration, what: &str) -> String {
    format!("{:>14.6} ms  {what}", at.as_secs_f64() * 1000.0)
}
