//! Compares what comes back with what was sent, byte for byte, and tells what is wrong with it.

use std::ops::Range;

use super::payload::{Payload, WORD};
use super::verdict::{Verdict, Wrong};

/// How many bytes are looked through for one that shows its place, before those at the front are
/// given up as changed.
const HELD: usize = 256;

/// Follows what comes back on one connection.
#[derive(Debug, Default)]
pub(crate) struct Verifier {
    /// The offset that the next byte is compared with.
    at: u64,
    /// All before it has come back, or never will.
    top: u64,
    /// What has come since bytes began to differ, and has not shown its place.
    held: Vec<u8>,
    /// Parts of the stream that were found to be missing by the last bytes.
    gaps: Vec<Range<u64>>,
}

impl Verifier {
    /// How far the answers have come, if what is not placed yet is in its place.
    pub(crate) fn reached(&self) -> u64 {
        self.top.max(self.at + self.held.len() as u64)
    }

    /// Whether a part of the stream never came back. Only for parts that have been reached since
    /// this was last asked of what lies behind them.
    pub(crate) fn lacks(&mut self, part: &Range<u64>) -> bool {
        if self.gaps.is_empty() {
            return false;
        }
        self.gaps.retain(|gap| gap.end > part.start);
        self.gaps.iter().any(|gap| gap.start < part.end)
    }

    /// Bytes have come on a connection that has sent `sent` bytes of its stream.
    pub(crate) fn receive(
        &mut self,
        payload: Payload,
        stream: u64,
        sent: u64,
        bytes: &[u8],
        verdict: &mut Verdict,
    ) {
        if !self.held.is_empty() {
            self.held.extend_from_slice(bytes);
            return self.hunt(payload, stream, sent, verdict);
        }
        let owed = usize::try_from(sent - self.at).unwrap_or(usize::MAX).min(bytes.len());
        let same = payload.matching(stream, self.at, &bytes[..owed]);
        self.advance(same as u64, stream, verdict);
        if same < owed {
            self.held.extend_from_slice(&bytes[same..]);
            self.hunt(payload, stream, sent, verdict);
        } else if owed < bytes.len() {
            // Nothing of it was asked for.
            let rest = (bytes.len() - owed) as u64;
            verdict.checked += rest;
            verdict.find(Wrong::Surplus, stream, sent, rest);
        }
    }

    /// No more will come: what has not shown its place counts as changed.
    pub(crate) fn finish(
        &mut self,
        payload: Payload,
        stream: u64,
        sent: u64,
        verdict: &mut Verdict,
    ) {
        let all = self.held.len();
        self.settle(all, payload, stream, sent, verdict);
    }

    /// So many bytes were those that belong here.
    fn advance(&mut self, count: u64, stream: u64, verdict: &mut Verdict) {
        verdict.checked += count;
        let again = self.top.saturating_sub(self.at).min(count);
        verdict.find(Wrong::Surplus, stream, self.at, again);
        self.at += count;
        self.top = self.top.max(self.at);
    }

    /// Looks for the first word that shows where it belongs.
    fn hunt(&mut self, payload: Payload, stream: u64, sent: u64, verdict: &mut Verdict) {
        let words = self.held.windows(WORD).enumerate();
        let found = words.filter_map(|(index, word)| {
            let (of, place) = payload.place(word.try_into().unwrap_or_default());
            let offset = place * WORD as u64;
            (of == stream && offset < sent).then_some((index, offset))
        });
        let Some((mut index, mut offset)) = { found }.next() else {
            if self.held.len() > HELD {
                // The last bytes may be the beginning of a word.
                self.settle(self.held.len() - WORD, payload, stream, sent, verdict);
            }
            return;
        };
        // Bytes before it may be in their places, too.
        while index > 0 && offset > 0 && self.held[index - 1] == payload.byte(stream, offset - 1) {
            (index, offset) = (index - 1, offset - 1);
        }
        let rest = self.held.split_off(index);
        self.resume(offset, payload, stream, sent, verdict);
        self.receive(payload, stream, sent, &rest, verdict);
    }

    /// The stream goes on at `offset`, behind what is held.
    fn resume(
        &mut self,
        offset: u64,
        payload: Payload,
        stream: u64,
        sent: u64,
        verdict: &mut Verdict,
    ) {
        let garbage = self.held.len() as u64;
        let in_place = self.at + garbage;
        if offset >= in_place {
            self.settle(self.held.len(), payload, stream, sent, verdict);
            let missing = self.top.max(in_place)..offset;
            if !missing.is_empty() {
                verdict.find(Wrong::Missing, stream, missing.start, missing.end - missing.start);
                self.gaps.push(missing);
            }
            self.top = self.top.max(offset);
        } else {
            // Something was put in between, or comes once more.
            verdict.checked += garbage;
            verdict.find(Wrong::Surplus, stream, self.at, garbage);
            self.held.clear();
        }
        self.at = offset;
    }

    /// The first so many of the held bytes stand in their places, and differ.
    fn settle(
        &mut self,
        count: usize,
        payload: Payload,
        stream: u64,
        sent: u64,
        verdict: &mut Verdict,
    ) {
        for byte in self.held.drain(..count) {
            verdict.checked += 1;
            let wrong = if self.at >= sent { Wrong::Surplus } else { Wrong::Mismatched };
            if self.at >= sent || byte != payload.byte(stream, self.at) {
                verdict.find(wrong, stream, self.at, 1);
            }
            if self.at < sent {
                self.at += 1;
            }
        }
        self.top = self.top.max(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::verdict::Finding;

    const STREAM: u64 = 5;
    const SENT: u64 = 1000;
    const LENGTH: usize = 1000;

    fn stream() -> Vec<u8> {
        let mut bytes = vec![0; LENGTH];
        Payload::new(1).fill(STREAM, 0, &mut bytes);
        bytes
    }

    /// What is said of this answer, however it is cut.
    #[track_caller]
    fn verdict(answer: &[u8]) -> Verdict {
        let mut first = None;
        for piece in [answer.len().max(1), 1, 2, 7, 64, 100] {
            let (mut verifier, mut verdict) = (Verifier::default(), Verdict::default());
            for bytes in answer.chunks(piece) {
                verifier.receive(Payload::new(1), STREAM, SENT, bytes, &mut verdict);
            }
            verifier.finish(Payload::new(1), STREAM, SENT, &mut verdict);
            let counts = (verdict.mismatched, verdict.missing, verdict.surplus);
            let expected = *first.get_or_insert(counts);
            assert_eq!(counts, expected, "in pieces of {piece}: {:?}", verdict.findings);
            assert_eq!(verdict.checked, answer.len() as u64);
            if piece == 100 {
                return verdict;
            }
        }
        unreachable!("there is a last piece")
    }

    #[track_caller]
    fn expect(answer: &[u8], mismatched: u64, missing: u64, surplus: u64) -> Verdict {
        let verdict = verdict(answer);
        let counts = (verdict.mismatched, verdict.missing, verdict.surplus);
        assert_eq!(counts, (mismatched, missing, surplus), "{:?}", verdict.findings);
        verdict
    }

    #[test]
    fn what_comes_back_as_it_was_sent_is_clean() {
        assert!(expect(&stream(), 0, 0, 0).is_clean());
        assert!(expect(&stream()[..333], 0, 0, 0).is_clean());
    }

    #[test]
    fn a_changed_byte_is_one_mismatch_at_its_offset() {
        for at in [0, 1, 7, 8, 500, 998, 999] {
            let mut answer = stream();
            answer[at] ^= 0x40;
            let verdict = expect(&answer, 1, 0, 0);
            let offset = at as u64;
            let found = Finding { wrong: Wrong::Mismatched, stream: STREAM, offset, count: 1 };
            assert_eq!(verdict.findings, [found]);
        }
    }

    #[test]
    fn lost_bytes_are_counted_however_many_they_are() {
        for count in [1, 2, 7, 8, 9, 64, 300] {
            for at in [0, 3, 8, 100, 501] {
                let mut answer = stream();
                answer.drain(at..at + count);
                let verdict = expect(&answer, 0, count as u64, 0);
                // A byte may happen to be the one that was expected, so that it begins later.
                assert!((at as u64..at as u64 + 3).contains(&verdict.findings[0].offset));
            }
        }
    }

    #[test]
    fn repeated_bytes_are_too_many() {
        for count in [8, 9, 64, 300] {
            let mut answer = stream();
            let again = answer[400 - count..400].to_vec();
            answer.splice(400..400, again);
            expect(&answer, 0, 0, count as u64);
        }
    }

    #[test]
    fn bytes_that_nobody_sent_are_too_many() {
        let mut answer = stream();
        answer.splice(400..400, [0xaa; 20]);
        expect(&answer, 0, 0, 20);
        let mut answer = stream();
        answer.extend_from_slice(b"and more");
        expect(&answer, 0, 0, 8);
    }

    #[test]
    fn swapped_messages_are_missing_at_one_place_and_too_many_at_another() {
        let mut answer = stream();
        let (one, other) = (answer[64..128].to_vec(), answer[128..192].to_vec());
        answer.splice(64..192, [other, one].concat());
        expect(&answer, 0, 64, 64);
    }

    #[test]
    fn the_bytes_of_another_connection_are_not_taken_for_ours() {
        let mut answer = stream();
        Payload::new(1).fill(STREAM + 1, 64, &mut answer[64..128]);
        let verdict = verdict(&answer);
        // One or the other byte may be the same by chance.
        assert!((61..=64).contains(&verdict.mismatched), "{verdict:?}");
        assert_eq!((verdict.missing, verdict.surplus), (0, 0));
    }

    #[test]
    fn an_answer_of_nothing_but_garbage_ends_and_is_all_wrong() {
        let verdict = verdict(&[0x55; 3000]);
        assert!(verdict.mismatched > 980, "{verdict:?}");
        assert_eq!(verdict.surplus, 2000);
    }

    #[test]
    fn a_message_in_a_gap_is_told_from_those_beside_it() {
        let answer = stream();
        let (mut verifier, mut verdict) = (Verifier::default(), Verdict::default());
        let mut receive = |verifier: &mut Verifier, bytes: &[u8]| {
            verifier.receive(Payload::new(1), STREAM, SENT, bytes, &mut verdict);
        };
        receive(&mut verifier, &answer[..64]);
        receive(&mut verifier, &answer[130..256]);
        assert_eq!(verifier.reached(), 256);
        let lacks = [0..64, 64..128, 128..192, 192..256].map(|part| verifier.lacks(&part));
        assert_eq!(lacks, [false, true, true, false]);
    }
}
