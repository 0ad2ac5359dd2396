//! What a connection owes its peer and the kernel has not accepted: a queue of chunks.
//!
//! Chunks above a page are mappings of their own, because memory that the allocator has handed
//! out in between is seldom given back: a mapping goes back to the kernel the moment it is
//! released (C12). The queue knows no socket and no clock.

use std::collections::{TryReserveError, VecDeque};
use std::fmt;
use std::io::IoSlice;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use memmap2::MmapMut;

use crate::store::pieces::{PIECES, Pieces};
use crate::store::pipes::PipeId;
use crate::store::shared::{REFERENCE, Shared};

/// The unit in which queues are charged.
pub(crate) const PAGE: usize = 4 * 1024;
/// The largest chunk. A read buffer's worth never needs more than two.
pub(crate) const CHUNK: usize = 64 * 1024;

/// Output in order, first in first out.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// What is in a pipe goes before all chunks.
    piped: Option<Piped>,
    chunks: VecDeque<Entry>,
    /// How much of the first one is already sent.
    sent: usize,
    len: usize,
}

/// Bytes in a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piped {
    pub(crate) pipe: PipeId,
    pub(crate) count: usize,
}

/// What a queue has no use for any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use = "it is to be given back"]
pub(crate) struct Released {
    /// Memory that was charged.
    pub(crate) memory: usize,
    /// A pipe, with what is still in it.
    pub(crate) piped: Option<Piped>,
}

impl Output {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes of memory it would take on to queue `count` more.
    pub(crate) fn growth(&self, count: usize) -> usize {
        let spare = self.chunks.back().map_or(0, Entry::spare);
        let rest = count.saturating_sub(spare);
        let (whole, last) = (rest / CHUNK * CHUNK, rest % CHUNK);
        whole + if last > 0 { self.size_for(last) } else { 0 }
    }

    /// How large the chunk for the last `count` bytes of a push is: twice as large as the last
    /// chunk that is there, if that is more than they need, so that many small messages leave in
    /// few sends. It never is more than [`CHUNK`].
    fn size_for(&self, count: usize) -> usize {
        let twice = self.chunks.back().map_or(0, |last| 2 * last.capacity());
        count.max(twice).min(CHUNK).next_multiple_of(PAGE)
    }

    /// Queues a copy of `bytes`. Returns by how much the memory held has grown.
    ///
    /// # Errors
    ///
    /// When the system refuses memory. Nothing is queued then.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        self.push_all(Pieces::new(&[bytes]))
    }

    /// The same with bytes that lie in several places.
    ///
    /// # Errors
    ///
    /// When the system refuses memory. Nothing is queued then.
    pub(crate) fn push_all(&mut self, bytes: Pieces<'_>) -> Result<usize, Refused> {
        // All chunks come before the first byte, so that nothing is queued in part.
        let partly_filled = self.chunks.len().saturating_sub(1);
        let before = self.chunks.len();
        let mut missing = bytes.len() - bytes.len().min(self.chunks.back().map_or(0, Entry::spare));
        // As large as `growth` foretells, whatever whole chunks come before it.
        let last = self.size_for(missing % CHUNK);
        let mut grown = 0;
        while missing > 0 {
            let size = if missing < CHUNK { last } else { CHUNK };
            let reserved = self.chunks.try_reserve(1).map_err(Refused::from);
            let Ok(chunk) = reserved.and_then(|()| Chunk::with_room_for(size)) else {
                self.chunks.truncate(before);
                return Err(Refused);
            };
            grown += chunk.capacity();
            missing = missing.saturating_sub(chunk.capacity());
            self.chunks.push_back(Entry::Chunk(chunk));
        }
        self.len += bytes.len();
        let mut chunks = self.chunks.range_mut(partly_filled..);
        let mut chunk = chunks.next();
        for mut piece in bytes.iter() {
            while let Some(filled) = &mut chunk
                && !piece.is_empty()
            {
                piece = filled.fill(piece);
                if filled.spare() == 0 {
                    chunk = chunks.next();
                }
            }
        }
        Ok(grown)
    }

    /// Queues shared bytes but for the first `gone`, of which there are fewer. Returns by how much
    /// the memory held has grown.
    ///
    /// # Errors
    ///
    /// When the system refuses memory. Nothing is queued then.
    pub(crate) fn push_shared(
        &mut self,
        shared: &Arc<Shared>,
        gone: usize,
    ) -> Result<usize, Refused> {
        self.chunks.try_reserve(1)?;
        self.len += shared.bytes().len() - gone;
        self.chunks.push_back(Entry::Shared { shared: Arc::clone(shared), from: gone });
        Ok(shared.charge())
    }

    /// Queues bytes that are in a pipe, in a queue that is empty; answers by how much the memory
    /// held has grown. The pages are the kernel's, and counted as if they were full.
    pub(crate) fn push_piped(&mut self, piped: Piped) -> usize {
        debug_assert!(self.is_empty(), "what is in the pipe would overtake what is queued");
        self.piped = Some(piped);
        self.len = piped.count;
        piped.count
    }

    /// What is in a pipe, to be sent before anything else.
    pub(crate) const fn piped(&self) -> Option<Piped> {
        self.piped
    }

    /// Sets up the first bytes to send for one call, `most` if there are more. They are in no pipe.
    /// Returns in how many pieces.
    pub(crate) fn gather<'a>(&'a self, into: &mut [IoSlice<'a>; PIECES], most: usize) -> usize {
        let mut left = most;
        let mut count = 0;
        for (slot, chunk) in into.iter_mut().zip(&self.chunks) {
            let unsent = &chunk.filled()[if count == 0 { self.sent } else { 0 }..];
            let piece = &unsent[..unsent.len().min(left)];
            if piece.is_empty() {
                break;
            }
            *slot = IoSlice::new(piece);
            left -= piece.len();
            count += 1;
        }
        count
    }

    /// Forgets `count` bytes that the kernel has accepted, the first ones: of the pipe, or of the
    /// chunks. Returns what that released.
    pub(crate) fn advance(&mut self, count: usize) -> Released {
        self.len -= count;
        if let Some(piped) = &mut self.piped {
            piped.count -= count;
            let emptied = self.piped.take_if(|piped| piped.count == 0);
            return Released { memory: count, piped: emptied };
        }
        self.sent += count;
        let mut memory = 0;
        while let Some(chunk) = self.chunks.front()
            && self.sent >= chunk.filled().len()
        {
            self.sent -= chunk.filled().len();
            memory += self.chunks.pop_front().map_or(0, Entry::release);
        }
        Released { memory, piped: None }
    }

    /// The memory that is released when all is dropped. Bytes that others hold, too, do not count.
    pub(crate) fn held(&self) -> usize {
        let piped = self.piped.map_or(0, |piped| piped.count);
        piped + self.chunks.iter().map(Entry::held).sum::<usize>()
    }

    /// Gives everything back, whatever is left to send.
    pub(crate) fn drop_all(self) -> Released {
        let piped = self.piped.map_or(0, |piped| piped.count);
        let chunks = self.chunks.into_iter().map(Entry::release).sum::<usize>();
        Released { memory: piped + chunks, piped: self.piped }
    }
}

/// A part of a queue, never empty.
#[derive(Debug)]
enum Entry {
    Chunk(Chunk),
    Shared { shared: Arc<Shared>, from: usize },
}

// A queue has room for up to twice as many as stand in it.
const _: () = assert!(2 * size_of::<Entry>() <= REFERENCE);

impl Entry {
    fn capacity(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.capacity(),
            Self::Shared { .. } => 0,
        }
    }

    fn spare(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.spare(),
            Self::Shared { .. } => 0,
        }
    }

    fn filled(&self) -> &[u8] {
        match self {
            Self::Chunk(chunk) => chunk.filled(),
            Self::Shared { shared, from } => &shared.bytes()[*from..],
        }
    }

    /// Takes what fits and returns the rest.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Chunk(chunk) => chunk.fill(bytes),
            Self::Shared { .. } => bytes,
        }
    }

    /// What is released when it is dropped.
    fn held(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.capacity(),
            Self::Shared { shared, .. } => Shared::held(shared),
        }
    }

    /// Drops it; returns what that has released.
    fn release(self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.capacity(),
            Self::Shared { shared, .. } => Shared::release(shared),
        }
    }
}

/// A fixed piece of memory, filled from its front once.
struct Chunk {
    memory: Memory,
    filled: usize,
}

impl Chunk {
    /// Up to [`CHUNK`] bytes, in whole pages.
    fn with_room_for(count: usize) -> Result<Self, Refused> {
        let capacity = count.min(CHUNK).next_multiple_of(PAGE);
        Ok(Self { memory: Memory::new(capacity)?, filled: 0 })
    }

    fn capacity(&self) -> usize {
        self.memory.len()
    }

    fn spare(&self) -> usize {
        self.capacity() - self.filled
    }

    fn filled(&self) -> &[u8] {
        &self.memory[..self.filled]
    }

    /// Takes what fits and answers the rest.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (taken, rest) = bytes.split_at(bytes.len().min(self.spare()));
        self.memory[self.filled..self.filled + taken.len()].copy_from_slice(taken);
        self.filled += taken.len();
        rest
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} of {})", self.filled, self.capacity())
    }
}

/// The system has no memory for a queue: a mapping or an allocation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

impl From<TryReserveError> for Refused {
    fn from(_: TryReserveError) -> Self {
        Self
    }
}

/// Whether the allocator has `count` bytes now: it is asked for them, and gets them back. What is
/// allocated next and is no larger is found at the same place.
pub(crate) fn heap_grants(count: usize) -> Result<(), Refused> {
    let mut bytes: Vec<u8> = Vec::new();
    bytes.try_reserve_exact(count)?;
    // Or the compiler leaves both calls out.
    std::hint::black_box(&bytes);
    Ok(())
}

/// A mapping where it pays and one can be had, else the allocator's. The kernel allows some 65,530
/// mappings a process (`vm.max_map_count`), so one page goes to the allocator, and so does all
/// that the kernel refuses.
enum Memory {
    Mapped(MmapMut),
    Heap(Box<[u8]>),
}

impl Memory {
    fn new(capacity: usize) -> Result<Self, Refused> {
        if capacity > PAGE
            && let Ok(map) = MmapMut::map_anon(capacity)
        {
            return Ok(Self::Mapped(map));
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity)?;
        bytes.resize(capacity, 0);
        Ok(Self::Heap(bytes.into_boxed_slice()))
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Heap(bytes) => bytes,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Heap(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::time::Time;
    use crate::store::pipes::Pipes;

    /// The first bytes to send, `most` of them at most, by one call.
    fn first(output: &Output, most: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let count = output.gather(&mut slices, most);
        slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    /// Sends all of it, at most `most` bytes by each call, checking the accounts on the way.
    fn drain(output: &mut Output, most: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while !output.is_empty() {
            let bytes = first(output, most);
            assert!(!bytes.is_empty(), "bytes are queued, but none are at the front");
            sent.extend_from_slice(&bytes);
            let before = output.held();
            let released = output.advance(bytes.len());
            assert_eq!(output.held(), before - released.memory);
        }
        sent
    }

    #[test]
    fn bytes_come_out_whole_once_and_in_order_however_they_are_cut() {
        let sizes = [0, 1, 2, PAGE - 1, PAGE, PAGE + 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK];
        let bytes: Vec<u8> = (0..=250).cycle().take(3 * CHUNK).collect();
        for first in sizes {
            for second in sizes {
                for piece in [1_000, PAGE, CHUNK + 1, usize::MAX] {
                    let mut output = Output::default();
                    let mut held = 0;
                    for part in [&bytes[..first], &bytes[..second]] {
                        let foretold = output.growth(part.len());
                        let grown = output.push(part).expect("memory");
                        assert_eq!(grown, foretold, "{first} then {second}");
                        held += grown;
                    }
                    assert_eq!((output.held(), output.len()), (held, first + second));
                    let sent = drain(&mut output, piece);
                    assert_eq!(sent, [&bytes[..first], &bytes[..second]].concat());
                    assert_eq!(output.held(), 0, "an empty queue holds no memory");
                }
            }
        }
    }

    #[test]
    fn many_small_messages_leave_in_few_sends() {
        let mut output = Output::default();
        let mut held = 0;
        for number in 1..=1024 {
            held += output.push(&[7; 64]).expect("memory");
            assert!(held <= 2 * 64 * number + PAGE, "{held} bytes for {number} messages");
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        // Of chunks of 4 KiB, 8, 16, 32 and 64.
        assert_eq!(output.gather(&mut slices, usize::MAX), 5);
    }

    #[test]
    fn c11_small_output_is_charged_as_the_page_that_it_takes() {
        let mut output = Output::default();
        assert_eq!(output.push(b"a"), Ok(PAGE));
        assert_eq!(output.push(b"b"), Ok(0));
        assert_eq!(output.advance(1).memory, 0);
        assert_eq!(output.advance(1).memory, PAGE);
    }

    #[test]
    fn c11_what_is_in_a_pipe_goes_first_and_is_charged() {
        let mut pipes = Pipes::new(1);
        let pipe = pipes.lend(Time::ZERO, || Ok::<_, ()>(())).expect("made").expect("room");
        let mut output = Output::default();
        assert_eq!(output.push_piped(Piped { pipe, count: 10 }), 10);
        assert_eq!(output.push(b"behind"), Ok(PAGE));
        assert_eq!((output.len(), output.held()), (16, 10 + PAGE));
        assert_eq!(output.piped(), Some(Piped { pipe, count: 10 }));
        assert_eq!(output.advance(4), Released { memory: 4, piped: None });
        assert_eq!(output.piped(), Some(Piped { pipe, count: 6 }));
        let empty = Some(Piped { pipe, count: 0 });
        assert_eq!(output.advance(6), Released { memory: 6, piped: empty });
        assert_eq!((output.piped(), &first(&output, 100)[..]), (None, &b"behind"[..]));
        assert_eq!(output.drop_all(), Released { memory: PAGE, piped: None });
    }

    #[test]
    fn a_queue_that_is_dropped_says_what_is_left_in_its_pipe() {
        let mut pipes = Pipes::new(1);
        let pipe = pipes.lend(Time::ZERO, || Ok::<_, ()>(())).expect("made").expect("room");
        let mut output = Output::default();
        output.push_piped(Piped { pipe, count: 10 });
        let _ = output.advance(3);
        let left = Some(Piped { pipe, count: 7 });
        assert_eq!(output.drop_all(), Released { memory: 7, piped: left });
    }

    #[test]
    fn c11_shared_bytes_are_charged_once_and_released_with_the_last_who_holds_them() {
        let shared = Shared::new(Arc::from(vec![7; 1000]));
        let mut outputs: Vec<_> = (0..3).map(|_| Output::default()).collect();
        assert_eq!(outputs[0].push(b"before"), Ok(PAGE));
        let grown: Vec<_> =
            outputs.iter_mut().map(|output| output.push_shared(&shared, 100)).collect();
        assert_eq!(grown, [Ok(REFERENCE + 1000), Ok(REFERENCE), Ok(REFERENCE)]);
        assert_eq!(Shared::let_go(shared), 0, "queues hold them");
        assert_eq!(outputs[1].push(b"behind"), Ok(PAGE));
        assert_eq!(first(&outputs[1], 2000), [&[7; 900][..], b"behind"].concat());
        // One is sent, one is dropped, and one is sent in part and dropped.
        assert_eq!(outputs[0].advance(906).memory, PAGE + REFERENCE);
        assert_eq!(outputs[1].advance(905).memory, REFERENCE);
        assert_eq!(outputs[2].held(), REFERENCE + 1000, "it is the last");
        assert_eq!(outputs[2].advance(899).memory, 0);
        let released = outputs.into_iter().map(|output| output.drop_all().memory);
        assert_eq!(released.collect::<Vec<_>>(), [0, PAGE, REFERENCE + 1000]);
    }

    #[test]
    fn c11_shared_bytes_that_no_queue_has_held_release_nothing() {
        let shared = Shared::new(Arc::from(vec![7; 1000]));
        assert_eq!(Shared::let_go(shared), 0);
        let shared = Shared::new(Arc::from(vec![7; 1000]));
        let mut output = Output::default();
        assert_eq!(output.push_shared(&shared, 0), Ok(REFERENCE + 1000));
        assert_eq!(output.advance(1000).memory, REFERENCE, "whoever sends them holds them still");
        assert_eq!(Shared::let_go(shared), 1000);
    }
}
