//! Exchanges with a service that does not echo: what is sent, where a reply ends, what is expected.
//!
//! Replies are told apart as their bytes come, however the stream is cut. None is kept in memory.

pub(crate) mod asked;
mod framing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use framing::Framing;

use super::verdict::{KEPT, SHOWN, Verdict, Wrong, WrongReply};

/// The messages of a run, sent in turn on each connection, and their replies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exchanges {
    each: Vec<Exchange>,
    /// The end of each message in the bytes of all, one behind the other.
    ends: Vec<u64>,
}

/// A message and its reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    message: Arc<[u8]>,
    reply: Framing,
    /// What the reply must be, if that is verified.
    expected: Option<Arc<[u8]>>,
}

impl Exchanges {
    pub(crate) fn new(each: Vec<Exchange>) -> Self {
        let mut end = 0;
        let ends = each.iter().map(|exchange| {
            end += exchange.message.len() as u64;
            end
        });
        Self { ends: ends.collect(), each }
    }

    /// Which of the exchanges message `number` of a connection is.
    #[expect(clippy::cast_possible_truncation, reason = "less than there are exchanges")]
    fn index(&self, number: u64) -> usize {
        // A division takes longer than the rest of what a message costs here.
        if self.each.len() == 1 { 0 } else { (number % self.each.len() as u64) as usize }
    }

    /// The length of the longest message.
    pub(crate) fn longest(&self) -> usize {
        self.each.iter().map(|exchange| exchange.message.len()).max().unwrap_or(0)
    }

    /// The length of message `number` of a connection.
    #[inline]
    pub(crate) fn length(&self, number: u64) -> u64 {
        self.each[self.index(number)].message.len() as u64
    }

    /// Where message `number` begins in the bytes of all.
    fn offset(&self, number: u64) -> u64 {
        self.index(number).checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Writes what is sent from `offset` on into all of `bytes`. Offsets count all messages, one
    /// behind the other and then again.
    #[expect(clippy::cast_possible_truncation, reason = "an offset within a message in memory")]
    pub(crate) fn fill(&self, offset: u64, bytes: &mut [u8]) {
        let within = offset % self.ends.last().copied().unwrap_or(1);
        let mut index = self.ends.partition_point(|&end| end <= within);
        let mut skipped = (within - self.offset(index as u64)) as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let message = &self.each[index].message[skipped..];
            let (filled, unfilled) = rest.split_at_mut(message.len().min(rest.len()));
            filled.copy_from_slice(&message[..filled.len()]);
            rest = unfilled;
            skipped = 0;
            index = if index + 1 == self.each.len() { 0 } else { index + 1 };
        }
    }
}

/// Follows the messages and the replies of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replies {
    /// Whether the messages go on in turn on the next socket, and don't begin again.
    goes_on: bool,
    /// Where the first message of this socket begins in the bytes of all.
    base: u64,
    /// Messages that were begun, and replies that have come to their ends. What lies between is
    /// awaited.
    begun: u64,
    ended: u64,
    /// Replies that have ended and were not asked for yet.
    landed: u64,
    /// How many bytes of the present reply have come.
    came: u64,
    /// What the framing remembers of them.
    state: u64,
    /// What came on this socket.
    received: u64,
    /// The present reply is not as expected, and how, if that is shown.
    differs: bool,
    difference: Option<Box<WrongReply>>,
}

impl Replies {
    /// With `goes_on`, the messages go on in turn on the connection's next socket.
    pub(crate) fn new(goes_on: bool) -> Self {
        Self { goes_on, ..Self::default() }
    }

    /// The socket is gone.
    pub(crate) fn lost(&mut self, exchanges: &Exchanges) {
        let next = if self.goes_on { self.begun } else { 0 };
        let (goes_on, base) = (self.goes_on, exchanges.offset(next));
        *self = Self { goes_on, base, begun: next, ended: next, ..Self::default() };
    }

    /// One more message is begun. Returns its length.
    #[inline]
    pub(crate) fn begin(&mut self, exchanges: &Exchanges) -> u64 {
        self.begun += 1;
        exchanges.length(self.begun - 1)
    }

    /// Writes what this socket sends from its offset `sent` on.
    pub(crate) fn fill(&self, exchanges: &Exchanges, sent: u64, bytes: &mut [u8]) {
        exchanges.fill(self.base + sent, bytes);
    }

    /// Whether one more reply has come to its end.
    #[inline]
    pub(crate) const fn land(&mut self) -> bool {
        let lands = self.landed > 0;
        self.landed -= lands as u64;
        lands
    }

    /// How much has come on this socket.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Whether any reply has come to its end on this socket, of those that begin with the first
    /// message.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended > 0
    }

    /// Bytes have come on a connection.
    pub(crate) fn receive(
        &mut self,
        exchanges: &Exchanges,
        stream: u64,
        mut bytes: &[u8],
        verdict: &mut Verdict,
    ) {
        while !bytes.is_empty() {
            if self.ended == self.begun {
                let rest = bytes.len() as u64;
                verdict.find(Wrong::Surplus, stream, self.received, rest);
                self.received += rest;
                return;
            }
            let exchange = &exchanges.each[exchanges.index(self.ended)];
            let (count, ends) = exchange.reply.take(&mut self.state, bytes);
            let (part, rest) = bytes.split_at(count);
            let expected = exchange.expected.as_deref();
            if let Some(expected) = expected {
                self.compare(expected, part, stream, verdict);
            }
            self.came += count as u64;
            self.received += count as u64;
            if ends {
                if let Some(expected) = expected {
                    self.compare_end(expected, stream, verdict);
                }
                self.has_come_to_its_end();
            }
            bytes = rest;
        }
    }

    /// The other end has ended its stream: so ends a reply that goes on until then.
    pub(crate) fn end(&mut self, exchanges: &Exchanges, stream: u64, verdict: &mut Verdict) {
        if self.ended == self.begun {
            return;
        }
        let exchange = &exchanges.each[exchanges.index(self.ended)];
        if exchange.reply != Framing::Close {
            return;
        }
        verdict.empty_replies += u64::from(self.came == 0);
        if let Some(expected) = exchange.expected.as_deref() {
            self.compare_end(expected, stream, verdict);
        }
        self.has_come_to_its_end();
    }

    fn has_come_to_its_end(&mut self) {
        self.ended += 1;
        self.landed += 1;
        (self.came, self.state) = (0, 0);
    }

    /// No more will come on this socket. A reply that has begun to differ is wrong as far as it
    /// came.
    pub(crate) fn finish(&mut self, verdict: &mut Verdict) {
        self.tell(verdict);
    }

    /// Compares the next part of a reply.
    fn compare(&mut self, expected: &[u8], part: &[u8], stream: u64, verdict: &mut Verdict) {
        verdict.checked += part.len() as u64;
        let begin = usize::try_from(self.came).unwrap_or(usize::MAX);
        let rest = expected.get(begin..).unwrap_or_default();
        let owed = &rest[..rest.len().min(part.len())];
        if part == owed && !self.differs {
            return;
        }
        let differing = || part.iter().zip(owed).enumerate().filter(|(_, (a, b))| a != b);
        verdict.mismatched += differing().count() as u64;
        verdict.surplus += (part.len() - owed.len()) as u64;
        let first = differing().next().map_or(owed.len(), |(index, _)| index);
        let first = if self.differs { 0 } else { first };
        self.differ(expected, begin + first, stream, verdict);
        if let Some(difference) = &mut self.difference {
            let room = KEPT.saturating_sub(difference.came.len());
            difference.came.extend(part[first..].iter().take(room));
        }
    }

    /// The reply has ended. What is still expected is missing.
    fn compare_end(&mut self, expected: &[u8], stream: u64, verdict: &mut Verdict) {
        let end = usize::try_from(self.came).unwrap_or(usize::MAX);
        if let Some(missing) = expected.len().checked_sub(end).filter(|&missing| missing > 0) {
            verdict.missing += missing as u64;
            self.differ(expected, end, stream, verdict);
        }
        self.tell(verdict);
    }

    /// The reply differs from this offset on, if it did not before.
    fn differ(&mut self, expected: &[u8], offset: usize, stream: u64, verdict: &Verdict) {
        if std::mem::replace(&mut self.differs, true) || verdict.replies.len() >= SHOWN {
            return;
        }
        let rest = expected.get(offset..).unwrap_or_default();
        self.difference = Some(Box::new(WrongReply {
            stream,
            message: self.ended,
            offset: offset as u64,
            came: Vec::new(),
            expected: rest[..rest.len().min(KEPT)].to_vec(),
        }));
    }

    /// Tells of a reply that was not as expected.
    fn tell(&mut self, verdict: &mut Verdict) {
        if std::mem::take(&mut self.differs) {
            verdict.wrong_replies += 1;
            verdict.replies.extend(self.difference.take().map(|difference| *difference));
        }
    }
}
