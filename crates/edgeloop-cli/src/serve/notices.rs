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
    /// What was shown of it last.
    line: String,
}

impl Notices {
    /// Logs a notice, unless one of its kind was logged less than a second before.
    pub(crate) fn tell(&mut self, notice: &Notice, now: Instant) {
        let Some(suppressed) = self.admit(notice, now) else { return };
        let suppressed = (suppressed > 0).then_some(suppressed);
        let line = notice.to_string();
        if let Some(kind) = self.kind_of(notice) {
            kind.line.clone_from(&line);
        }
        match notice {
            Notice::ListenerFailed { .. }
            | Notice::Panicked { .. }
            | Notice::LoopPanicked { .. } => {
                tracing::error!(suppressed, "{}", OneLine(&line));
            }
            _ => tracing::warn!(suppressed, "{}", OneLine(&line)),
        }
    }

    /// Logs, at the end, what was suppressed after the last line of its kind.
    pub(crate) fn tell_the_rest(&self) {
        for (repeated, line) in self.rest() {
            tracing::warn!(repeated, "{}", OneLine(line));
        }
    }

    fn rest(&self) -> impl Iterator<Item = (u64, &str)> {
        let rest = self.kinds.iter().filter(|kind| kind.suppressed > 0);
        rest.map(|kind| (kind.suppressed, kind.line.as_str()))
    }

    fn kind_of(&mut self, notice: &Notice) -> Option<&mut Kind> {
        let notice = discriminant(notice);
        self.kinds.iter_mut().find(|kind| kind.notice == notice)
    }

    /// How many of the kind were suppressed since the last that was shown, if this one is.
    fn admit(&mut self, notice: &Notice, now: Instant) -> Option<u64> {
        // What happens once for each listener is not repeated, and each has its own to say.
        if matches!(notice, Notice::BacklogCapped { .. } | Notice::ListenerFailed { .. }) {
            return Some(0);
        }
        let Some(kind) = self.kind_of(notice) else {
            let notice = discriminant(notice);
            self.kinds.push(Kind { notice, shown: now, suppressed: 0, line: String::new() });
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
    fn c23_what_was_suppressed_last_is_told_at_the_end() {
        let mut notices = Notices::default();
        let now = Instant::now();
        for connections in [1, 2, 3] {
            notices.tell(&Notice::ConnectionCap { connections }, now);
        }
        notices.tell(&Notice::MemoryCeiling { held: 1 }, now);
        let shown = Notice::ConnectionCap { connections: 1 }.to_string();
        assert_eq!(notices.rest().collect::<Vec<_>>(), [(2, shown.as_str())]);
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
