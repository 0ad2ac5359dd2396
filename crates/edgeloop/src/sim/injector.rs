//! Which calls fail, and how often: by chance, or by a list.

use std::collections::HashMap;

use rustix::io::Errno;

use crate::sim::Random;
use crate::sim::faults::{Call, Fate, Fault, Meaning, meaning};

/// How often calls go wrong in a simulation: of each kind of fault, how many of a thousand calls
/// meet it.
///
/// A correct handler loses nothing by those of [`passing`](Self::passing): calls are interrupted,
/// cut short, told to come again, or find the kernel out of memory for a moment. Those that
/// [`breaking`](Self::breaking) adds end connections.
///
/// # Examples
///
/// ```
/// use edgeloop::sim::Faults;
///
/// let harsh = Faults::passing().breaking(2);
/// assert_ne!(harsh, Faults::none());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// A signal interrupts the call.
    interrupted: usize,
    /// EAGAIN comes early.
    late: usize,
    /// The call takes a part of what it could.
    short: usize,
    /// The kernel has no memory for it, or no descriptor.
    exhausted: usize,
    /// The connection breaks, or accept4 has an error of one connection to report.
    broken: usize,
    /// Want of memory meets no call that a connection would not survive.
    sparing: bool,
}

impl Faults {
    /// Every call goes as well as it can. The default.
    #[must_use]
    pub const fn none() -> Self {
        Self { interrupted: 0, late: 0, short: 0, exhausted: 0, broken: 0, sparing: true }
    }

    /// What every server meets on a busy day, much more often: 50 calls of a thousand are
    /// interrupted, 50 are told to come again too early (a connect to a Unix socket: that the
    /// backlog is full), 200 are cut short, 10 find no memory. Only receives, sends and accepts
    /// find none, which are tried again; no connection ends by it.
    #[must_use]
    pub const fn passing() -> Self {
        Self { interrupted: 50, late: 50, short: 200, exhausted: 10, broken: 0, sparing: true }
    }

    /// Lets so many of a thousand calls, at most 100, find their connection broken; and want of
    /// memory meet those calls, too, without which there is no connection.
    #[must_use]
    pub const fn breaking(mut self, calls: usize) -> Self {
        self.broken = if calls > 100 { 100 } else { calls };
        self.sparing = calls == 0;
        self
    }

    /// A mixture of its own for each seed; one seed in four has none.
    fn of(random: &mut Random) -> Self {
        if random.chance(250) {
            return Self::none();
        }
        let mut often = || random.pick(&[0, 0, 5, 50, 300]);
        Self {
            interrupted: often(),
            late: often(),
            short: often(),
            exhausted: often().min(50),
            broken: often().min(5),
            sparing: false,
        }
    }

    fn draw(&self, call: Call, most: usize, random: &mut Random) -> Option<Fate> {
        let mut left = random.below(1000);
        let mut is = |rate: usize| {
            let hit = left < rate;
            left = left.saturating_sub(rate);
            // What is left after a hit is asked no more.
            hit
        };
        let with = |random: &mut Random, what: Meaning| {
            let errors = call.errors();
            let count = errors.iter().filter(|&&error| meaning(error) == what).count();
            let chosen = random.below(count.max(1));
            errors.iter().filter(|&&error| meaning(error) == what).nth(chosen).copied()
        };
        if is(self.interrupted) {
            return with(random, Meaning::Interrupted).map(Fate::Fails);
        }
        if is(self.exhausted) {
            if self.sparing && !call.can_be_cut() && call != Call::Accept {
                return None;
            }
            return with(random, Meaning::Exhausted).map(Fate::Fails);
        }
        if is(self.broken) {
            let broken = with(random, Meaning::Broken);
            // An EPIPE comes from an end that one has shut down oneself.
            return broken.filter(|&error| error != Errno::PIPE).map(Fate::Fails);
        }
        let transfers = call.can_be_cut();
        if is(self.late) {
            if call == Call::ConnectUnix {
                // No edge follows. It is tried again.
                return Some(Fate::Fails(Errno::AGAIN));
            }
            return transfers.then_some(Fate::Late);
        }
        (is(self.short) && transfers && most > 1).then(|| Fate::Short(random.size(1, most - 1)))
    }
}

/// Where faults come from.
#[derive(Debug)]
enum Source {
    /// From chance, for so many calls more: after them everything must come to its end.
    Chance { random: Random, faults: Faults, calls: u64 },
    /// From a list.
    Plan(HashMap<(Call, u64), Fate>),
}

/// What goes wrong in a run, and what did.
#[derive(Debug)]
pub struct Injector {
    source: Source,
    made: [u64; Call::ALL.len()],
    /// Those that there were, in their order.
    pub injected: Vec<Fault>,
}

impl Injector {
    fn from(source: Source) -> Self {
        Self { source, made: [0; Call::ALL.len()], injected: Vec::new() }
    }

    /// Of these kinds, for so many calls. Their own chance is apart from the scheduler's, so that a
    /// fault can be left out and the rest stays what it was.
    pub(crate) fn new(faults: Faults, calls: u64, random: &mut Random) -> Self {
        Self::from(Source::Chance { random: Random::new(random.next()), faults, calls })
    }

    /// Of any kinds.
    pub fn of(random: &mut Random) -> Self {
        let faults = Faults::of(random);
        let calls = random.size(100, 5000) as u64;
        Self::new(faults, calls, random)
    }

    /// These and no others.
    pub fn plan(faults: &[Fault]) -> Self {
        let by_call = |fault: &Fault| ((fault.call, fault.nth), fault.fate);
        Self::from(Source::Plan(faults.iter().map(by_call).collect()))
    }

    /// From now on nothing goes wrong.
    pub(crate) fn end(&mut self) {
        self.source = Source::Plan(HashMap::new());
    }

    /// What becomes of the call that is made now, which would transfer at most so many bytes. Only
    /// one that is `ready` to transfer some can be told EAGAIN too early: else that is the truth.
    pub(crate) fn meet(&mut self, call: Call, most: usize, ready: bool) -> Option<Fault> {
        let made = &mut self.made[call as usize];
        *made += 1;
        let nth = *made;
        let fate = match &mut self.source {
            Source::Plan(faults) => *faults.get(&(call, nth))?,
            Source::Chance { calls: 0, .. } => return None,
            Source::Chance { random, faults, calls } => {
                *calls -= 1;
                faults.draw(call, most, random)?
            }
        };
        match fate {
            Fate::Late if !ready => return None,
            Fate::Short(some) if some >= most => return None,
            _ => {}
        }
        let fault = Fault { call, nth, fate };
        self.injected.push(fault);
        Some(fault)
    }
}
