//! (interim) The epoll set.
use std::collections::VecDeque;

use crate::epoll::{Event, Events, Readiness, Token};

#[derive(Debug, Default)]
pub(crate) struct EpollSet {
    entries: Vec<(Option<Token>, bool)>,
    ready: VecDeque<usize>,
}

impl EpollSet {
    pub(crate) fn add(&mut self, file: usize, token: Token) {
        if file >= self.entries.len() {
            self.entries.resize(file + 1, (None, false));
        }
        self.entries[file] = (Some(token), false);
    }

    pub(crate) fn closed(&mut self, file: usize) {
        if let Some(entry) = self.entries.get_mut(file) {
            if entry.1 {
                self.ready.retain(|&listed| listed != file);
            }
            *entry = (None, false);
        }
    }

    pub(crate) fn wake(&mut self, file: usize) {
        if let Some(entry) = self.entries.get_mut(file)
            && entry.0.is_some()
            && !entry.1
        {
            entry.1 = true;
            self.ready.push_back(file);
        }
    }

    pub(crate) fn has(&self, file: usize) -> bool {
        self.entries.get(file).is_some_and(|entry| entry.0.is_some())
    }

    pub(crate) fn is_listed(&self, file: usize) -> bool {
        self.entries.get(file).is_some_and(|entry| entry.1)
    }

    pub(crate) fn collect(&mut self, events: &mut Events, poll: impl Fn(usize) -> Readiness) {
        events.bring(|| {
            loop {
                let file = self.ready.pop_front()?;
                self.entries[file].1 = false;
                let readiness = poll(file);
                if readiness != Readiness::from_bits(0)
                    && let Some(token) = self.entries[file].0
                {
                    return Some(Event::new(token, readiness));
                }
            }
        });
    }
}
