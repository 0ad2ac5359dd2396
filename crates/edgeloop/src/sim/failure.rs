//! Why a simulation failed, as a user reads it.

use std::fmt;
use std::time::Duration;

use crate::sim::faults::Fault;

/// Why a simulation failed. It shows, and is debugged, as a text of several lines for people.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The seed that shows it.
    pub seed: u64,
    /// What was found, in a sentence.
    pub what: String,
    /// When, by the simulated clock, from the beginning of the run.
    pub at: Duration,
    /// What had gone wrong by then, in its order.
    pub faults: Vec<Fault>,
    /// What makes it easy to understand.
    pub(crate) story: Box<Story>,
}

/// What a failure shows beside what was found.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Story {
    /// How many faults there were before those were left out that it does not take.
    pub(crate) met: Option<usize>,
    /// The scripts that it is about.
    pub(crate) scripts: Vec<String>,
    /// The last lines of the trace.
    pub(crate) last: Vec<String>,
    /// What else there is to say.
    pub(crate) remark: Option<String>,
    /// The command that shows it again.
    pub(crate) replay: Option<String>,
}

impl Failure {
    #[doc(hidden)]
    #[must_use]
    pub fn new(seed: u64, what: String, faults: Vec<Fault>) -> Self {
        Self { seed, what, at: Duration::ZERO, faults, story: Box::default() }
    }

    fn write_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 10;
        let count = self.faults.len();
        match (self.story.met, count) {
            (None, 0) => return Ok(()),
            (None, 1) => write!(f, "\n\nafter 1 fault:")?,
            (None, _) => write!(f, "\n\nafter {count} faults:")?,
            (Some(0), _) => write!(f, "\n\nno call had failed")?,
            (Some(_), 0) => {
                write!(f, "\n\nit takes no fault: the way in which bytes come is enough")?;
            }
            (Some(1), _) => write!(f, "\n\nit takes the only fault that there was:")?,
            (Some(met), _) => {
                write!(f, "\n\nit takes {count} of the {met} faults that there were:")?;
            }
        }
        for fault in self.faults.iter().take(MOST) {
            write!(f, "\n    {fault}")?;
        }
        if count > MOST {
            write!(f, "\n    and {} more", count - MOST)?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, after {:?} of simulated time:\n{}", self.seed, self.at, self.what)?;
        for script in &self.story.scripts {
            write!(f, "\n\n{script}")?;
        }
        self.write_faults(f)?;
        if !self.story.last.is_empty() {
            write!(f, "\n\nthe last that happened:")?;
            for line in &self.story.last {
                write!(f, "\n{line}")?;
            }
        }
        if let Some(remark) = &self.story.remark {
            write!(f, "\n\n{remark}")?;
        }
        if let Some(replay) = &self.story.replay {
            write!(f, "\n\nsee it again, with all that happens:\n    {replay}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    /// As it is displayed, because `unwrap` and a test that returns it show this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

/// Leaves out of a failure's faults those without which `run` fails as well, though perhaps in
/// another way, until each that is left is needed.
pub fn fewer_faults(mut failure: Failure, run: impl Fn(&[Fault]) -> Option<Failure>) -> Failure {
    let mut size = failure.faults.len().div_ceil(2);
    while size > 0 {
        let mut begin = 0;
        while begin < failure.faults.len() {
            let mut fewer = failure.faults.clone();
            fewer.drain(begin..(begin + size).min(fewer.len()));
            match run(&fewer) {
                // What was met, and not what was planned, stays.
                Some(failed) if failed.faults.len() <= fewer.len() => failure = failed,
                _ => begin += size,
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    failure
}
