//! What a connection is owed: joined bytes, and the queue behind a socket that is full.

use super::deadlines::Retries;
use super::{Cold, Connection};
use crate::connection::flags::Flags;
use std::io::IoSlice;
use std::sync::Arc;

use crate::api::time::Time;
use crate::store::output::{Output, PAGE, Piped, Refused, Released, heap_grants};
use crate::store::pieces::{PIECES, Pieces};
use crate::store::shared::Shared;

impl<S> Connection<S> {
    /// How many bytes the kernel has not been given, or has not taken.
    pub(crate) fn queued(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.joined.len() + cold.output.len())
    }

    /// How many bytes are joined.
    pub(crate) fn joined(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.joined.len())
    }

    /// Joins bytes to others where nothing else is to be asked: they fit into the page that is
    /// charged and the memory that is there, and no more is to be remembered about the connection
    /// than that it has joined output. Returns whether they are joined.
    #[inline]
    pub(crate) fn join_more(&mut self, bytes: &[u8]) -> bool {
        if !self.state.has_just(Flags::JOINED) || bytes.is_empty() {
            return false;
        }
        let Some(cold) = &mut self.cold else { return false };
        let fits = bytes.len() <= cold.joins_to - cold.joined.len();
        if fits {
            cold.joined.extend_from_slice(bytes);
        }
        fits
    }

    /// Joins bytes to those that leave at the end of the turn, of which there will be no more than
    /// `most`; the first in a spare buffer.
    ///
    /// # Errors
    ///
    /// When the system refuses memory. Nothing is joined then.
    pub(crate) fn join(
        &mut self,
        bytes: &[u8],
        most: usize,
        spare: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), Refused> {
        /// What small replies to a pipeline take, and what the allocator has at hand.
        const FIRST: usize = 1024;
        if self.cold.is_none() {
            heap_grants(size_of::<Cold>())?;
        }
        let cold = self.cold();
        let joined = &mut cold.joined;
        let wanted = if joined.is_empty() {
            *joined = spare();
            bytes.len().max(FIRST)
        } else {
            bytes.len()
        };
        if joined.try_reserve(wanted).is_err() {
            self.cool();
            return Err(Refused);
        }
        joined.extend_from_slice(bytes);
        let page = joined.len().next_multiple_of(PAGE);
        cold.joins_to = page.min(joined.capacity()).min(most);
        self.set(Flags::JOINED);
        Ok(())
    }

    /// Takes what is joined, to be sent.
    pub(crate) fn take_joined(&mut self) -> Vec<u8> {
        self.clear(Flags::JOINED);
        let Some(cold) = &mut self.cold else { return Vec::new() };
        let joined = std::mem::take(&mut cold.joined);
        self.cool();
        joined
    }

    /// When it last took output, or when the queue began.
    pub(crate) fn progress(&self) -> Time {
        self.cold.as_ref().map_or(Time::NEVER, |cold| cold.progress)
    }

    /// The memory of its queued output.
    pub(crate) fn held(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.output.held())
    }

    /// By how much memory queueing this many bytes would grow the queue.
    pub(crate) fn growth(&self, count: usize) -> usize {
        match &self.cold {
            Some(cold) => cold.output.growth(count),
            None => Output::default().growth(count),
        }
    }

    /// Queues bytes, and sets the flag `mark` if that makes more than `high`. Returns by how much
    /// memory the queue grew.
    ///
    /// # Errors
    ///
    /// When the system refuses memory. Nothing is queued then.
    pub(crate) fn try_push(
        &mut self,
        bytes: &[u8],
        now: Time,
        high: usize,
        mark: Flags,
    ) -> Result<usize, Refused> {
        self.queue(now, high, mark, |output| output.push(bytes))
    }

    /// The same with bytes that lie in several places.
    ///
    /// # Errors
    ///
    /// When the system refuses memory. Nothing is queued then.
    pub(crate) fn try_push_all(
        &mut self,
        bytes: Pieces<'_>,
        now: Time,
        high: usize,
        mark: Flags,
    ) -> Result<usize, Refused> {
        self.queue(now, high, mark, |output| output.push_all(bytes))
    }

    /// The same with bytes that other queues share, but for the first `gone` of them.
    ///
    /// # Errors
    ///
    /// When the system refuses memory. Nothing is queued then.
    pub(crate) fn try_share(
        &mut self,
        (shared, gone): (&Arc<Shared>, usize),
        now: Time,
        high: usize,
        mark: Flags,
    ) -> Result<usize, Refused> {
        self.queue(now, high, mark, |output| output.push_shared(shared, gone))
    }

    /// The same with what is in a pipe, where nothing is queued yet.
    pub(crate) fn push_piped(
        &mut self,
        piped: Piped,
        now: Time,
        high: usize,
        mark: Flags,
    ) -> Result<usize, Refused> {
        self.queue(now, high, mark, |output| Ok(output.push_piped(piped)))
    }

    fn queue(
        &mut self,
        now: Time,
        high: usize,
        mark: Flags,
        queue: impl FnOnce(&mut Output) -> Result<usize, Refused>,
    ) -> Result<usize, Refused> {
        if self.cold.is_none() {
            heap_grants(size_of::<Cold>())?;
        }
        let cold = self.cold();
        let first = cold.output.is_empty();
        let grown = queue(&mut cold.output).inspect_err(|_| self.cool())?;
        let cold = self.cold();
        if first {
            cold.progress = now;
        }
        let above = cold.output.len() > high;
        self.set(Flags::QUEUED);
        if above {
            self.mark_above(mark);
        }
        Ok(grown)
    }

    /// The queue is above the high watermark, of which this is noted. Whether one is read whose
    /// input goes to another connection is decided by the queue of that one (C46).
    pub(crate) fn mark_above(&mut self, mark: Flags) {
        self.set(if self.has(Flags::RELAYED) { Flags::ABOVE_READING } else { mark });
    }

    /// From now on its input goes to another connection.
    pub(crate) fn begin_relay(&mut self) {
        self.set(Flags::RELAYED);
        self.set_owes_end(false);
        if self.is_above() {
            self.clear(Flags::MARKED);
            self.set(Flags::ABOVE_READING);
        }
    }

    /// Its input goes to its handler again: also what is kept of it, and the end of the peer's
    /// stream, if that has come. `mark` is noted of one above the high watermark.
    pub(crate) fn end_relay(&mut self, mark: Flags) {
        self.clear(Flags::RELAYED | Flags::STREAMS);
        self.set_owes_end(self.has(Flags::PEER_ENDED));
        if self.is_above() {
            self.clear(Flags::MARKED);
            self.set(mark);
        }
    }

    /// Output that is in a pipe, to be written before anything else.
    pub(crate) fn piped(&self) -> Option<Piped> {
        self.cold.as_ref().and_then(|cold| cold.output.piped())
    }

    /// The first output that is in no pipe, `most` bytes of it if there are more, set up for one
    /// call. Returns in how many pieces.
    pub(crate) fn gather<'a>(&'a self, into: &mut [IoSlice<'a>; PIECES], most: usize) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.output.gather(into, most))
    }

    /// The kernel accepted so much of the first output; returns what that released.
    pub(crate) fn wrote(&mut self, count: usize, now: Time) -> Released {
        self.active = now;
        let cold = self.cold();
        cold.progress = now;
        cold.sending = Retries::NONE;
        let released = cold.output.advance(count);
        let emptied = cold.output.is_empty();
        if emptied {
            self.clear(Flags::QUEUED | Flags::WRITABLE);
            self.cool();
        }
        released
    }

    /// Whether the queue rose above the high watermark, and has not fallen to the low one.
    pub(crate) const fn is_above(&self) -> bool {
        self.has(Flags::MARKED)
    }

    /// Whether the queue has just fallen to the low watermark after it was above the high one.
    pub(crate) fn falls(&mut self, low: usize) -> bool {
        let falls = self.is_above() && self.queued() <= low;
        if falls {
            self.clear(Flags::MARKED);
            if self.has(Flags::KEPT) {
                self.set(Flags::SHOW);
            }
        }
        falls
    }

    /// So many bytes that the handler sent will never be written.
    pub(crate) fn lose(&mut self, count: usize) {
        if count > 0 {
            self.cold().dropped += count as u64;
        }
    }

    pub(super) fn drop_output(&mut self) -> Released {
        self.clear(Flags::JOINED | Flags::QUEUED | Flags::WRITABLE | Flags::MARKED);
        let Some(cold) = &mut self.cold else { return Released::default() };
        let (joined, output) = (std::mem::take(&mut cold.joined), std::mem::take(&mut cold.output));
        cold.dropped += (joined.len() + output.len()) as u64;
        let released = output.drop_all();
        Released { memory: released.memory + joined.len().next_multiple_of(PAGE), ..released }
    }
}
