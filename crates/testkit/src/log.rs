//! What a server writes to its standard error, collected while it runs.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::wait::eventually_some;

/// A growing text. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    /// Whether it is followed, and more may come.
    more: Arc<AtomicBool>,
}

impl Log {
    /// Collects `source` on a thread of its own until it ends.
    pub(crate) fn follow(source: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        log.more.store(true, Ordering::SeqCst);
        let copy = log.clone();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            while copy.append_line(&mut source) {}
            copy.more.store(false, Ordering::SeqCst);
        });
        log
    }

    /// Waits until all is here that a program has written that has ended. What holds its output
    /// open beyond that, such as a child, is not waited for for long.
    pub(crate) fn settle(&self) {
        let start = Instant::now();
        while self.more.load(Ordering::SeqCst) && start.elapsed() < Duration::from_secs(2) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Adds the next line of `source`; false at its end.
    pub(crate) fn append_line(&self, source: &mut BufReader<impl Read>) -> bool {
        let mut line = Vec::new();
        let more = source.read_until(b'\n', &mut line).is_ok_and(|length| length > 0);
        self.lock().extend_from_slice(&line);
        more
    }

    /// The whole text, exactly as it was written.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock()).into_owned()
    }

    /// The complete lines that hold `words`.
    #[must_use]
    pub fn lines_with(&self, words: &str) -> Vec<String> {
        let text = self.text();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }

    /// Waits for a line that holds `words`, and returns the first.
    ///
    /// # Panics
    ///
    /// When none comes within [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn expect_line(&self, words: &str) -> String {
        eventually_some(&format!("a line of log with \"{words}\""), || {
            self.lines_with(words).into_iter().next()
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
