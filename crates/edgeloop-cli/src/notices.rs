//! Puts the loop's notices into the log: one line a second of each kind, whatever happens (C23).

use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use edgeloop::Notice;

use crate::escape::OneLine;

/// The least time between two lines of the same kind.
const PERIOD: Duration = Duration::from_secs(1);

/// The notices of one loop.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    kinds: Vec<Kind>,
}

#[derive(Debug)]
struct Kind {
    notice: Discriminant<Notice>,
    shown: Instant,
    suppressed: u64,
}

impl Notices {
    /// Logs a notice, unless one of its kind was logged less than a second before.
    pub(crate) fn tell(&mut self, notice: &Notice, now: Instant) {
        let Some(suppressed) = self.admit(notice, now) else { return };
        let suppressed = (suppressed > 0).then_some(suppressed);
        let line = notice.to_string();
        match notice {
            Notice::ListenerFailed { .. } | Notice::Panicked { .. } => {
                tracing::error!(suppressed, "{}", OneLine(&line));
            }
            _ => tracing::warn!(suppressed, "{}", OneLine(&line)),
        }
    }

    /// How many of the kind were suppressed since the last that was shown, if this one is.
    fn admit(&mut self, notice: &Notice, now: Instant) -> Option<u64> {
        // What happens once for each listener is not repeated, and each has its own to say.
        if matches!(notice, Notice::BacklogCapped { .. } | Notice::ListenerFailed { .. }) {
            return Some(0);
        }
        let notice = discriminant(notice);
        let Some(kind) = self.kinds.iter_mut().find(|kind| kind.notice == notice) else {
            self.kinds.push(Kind { notice, shown: now, suppressed: 0 });
            return Some(0);
        };
        if now.duration_since(kind.shown) < PERIOD {
            kind.suppressed += 1;
            return None;
        }
        kind.shown = now;
        Some(std::mem::take(&mut kind.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c23_one_line_a_second_of_each_kind_and_the_rest_is_counted() {
        let mut notices = Notices::default();
        let cap = Notice::ConnectionCap { connections: 1 };
        let memory = Notice::MemoryCeiling { held: 1 };
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        assert_eq!(notices.admit(&cap, after(0)), Some(0));
        assert_eq!(notices.admit(&cap, after(0)), None);
        assert_eq!(notices.admit(&memory, after(1)), Some(0), "another kind");
        assert_eq!(notices.admit(&cap, after(999)), None);
        assert_eq!(notices.admit(&cap, after(1000)), Some(2));
        assert_eq!(notices.admit(&cap, after(1999)), None);
        assert_eq!(notices.admit(&cap, after(9000)), Some(1));
        assert_eq!(notices.admit(&memory, after(9000)), Some(0));
    }

    #[test]
    fn c25_every_listener_says_that_its_backlog_was_capped() {
        let mut notices = Notices::default();
        let listener = "127.0.0.1:1".parse().expect("an address");
        let capped = Notice::BacklogCapped { listener, asked: 4096, somaxconn: 128 };
        let now = Instant::now();
        assert_eq!(notices.admit(&capped, now), Some(0));
        assert_eq!(notices.admit(&capped, now), Some(0));
    }
}
