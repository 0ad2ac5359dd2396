//! What comes back: answers, and what is told apart from them.

use std::net::SocketAddr;

use edgeloop::{Datagram, LoopContext};

use super::flow::{Answer, Seen};
use super::{DatagramWorker, Phase};
use crate::bench::lane::Flight;
use crate::bench::verdict::Verdict;
use crate::results::Datagrams;

impl DatagramWorker {
    /// Where datagrams of this time are counted that are no answers. Before the measured time they
    /// count in no figure.
    pub(super) fn strays(&mut self, now: u64) -> &mut Datagrams {
        if now < self.from {
            return &mut self.ignored;
        }
        self.measured.counts.datagrams.get_or_insert_default()
    }

    fn verdict(&mut self, now: u64) -> &mut Verdict {
        if now >= self.from { &mut self.verdict } else { &mut self.before.verdict }
    }

    /// A datagram has come.
    pub(super) fn received(&mut self, cx: &mut impl LoopContext<u32>, datagram: &Datagram<'_>) {
        let now = cx.clock().as_nanos();
        let Some(&flow) = self.by_socket.get(&datagram.socket) else { return };
        if self.phase == Phase::Over {
            return;
        }
        // Nobody waits any more for what is too old, even if this is its answer.
        self.expire(flow, now);
        let bytes = datagram.bytes;
        if self.measures(now) {
            self.measured.counts.bytes_received += bytes.len() as u64;
        }
        let (size, one) = (self.share.plan.size, &self.flows[flow as usize]);
        let is_from_elsewhere = !is_same(datagram.from, one.target);
        let seen =
            if is_from_elsewhere { Seen::Foreign } else { one.identify(self.payload, size, bytes) };
        match seen {
            Seen::Foreign => self.is_foreign(flow, datagram, is_from_elsewhere, now),
            Seen::Number(number) => {
                self.has_come(now);
                let wrong = self.compare(flow, number, bytes, now);
                self.answered(flow, number, wrong, now);
            }
            Seen::Corrupted(number) => {
                self.has_come(now);
                // Without a comparison it is seen, too.
                let _ = self.compare(flow, number, bytes, now);
                self.answered(flow, number, true, now);
            }
        }
        self.watch_oldest(cx, flow);
        if self.flow(flow).open() < self.share.plan.pipeline {
            self.flow(flow).allowed.get_or_insert(now);
        }
        self.pump(cx, flow, now);
        if self.phase == Phase::Grace && self.in_flight == 0 {
            self.wake_by(cx, now);
        }
    }

    /// The service is not silent.
    fn has_come(&mut self, now: u64) {
        self.silent_since = (self.in_flight > 1 || !self.is_open_loop()).then_some(now);
    }

    fn is_foreign(
        &mut self,
        flow: u32,
        datagram: &Datagram<'_>,
        is_from_elsewhere: bool,
        now: u64,
    ) {
        self.strays(now).foreign += 1;
        let (number, from, length) = (self.flow(flow).stream, datagram.from, datagram.bytes.len());
        self.verdict(now).note(|| {
            let unit = if length == 1 { "byte" } else { "bytes" };
            let what =
                if is_from_elsewhere { "which is not the service" } else { "which answer nothing" };
            format!("socket {number}: {length} {unit} from {from}, {what}")
        });
    }

    /// Whether an answer is wrong, as far as it is compared.
    fn compare(&mut self, flow: u32, number: u64, bytes: &[u8], now: u64) -> bool {
        if !self.share.plan.verifies {
            return false;
        }
        let one = &self.flows[flow as usize];
        let stream = one.stream;
        let [changed, missing, surplus] =
            one.compare(self.payload, number, bytes, &mut self.scratch);
        let verdict = self.verdict(now);
        verdict.checked += bytes.len() as u64;
        if [changed, missing, surplus] == [0; 3] {
            return false;
        }
        verdict.mismatched += changed;
        verdict.missing += missing;
        verdict.surplus += surplus;
        verdict.note(|| {
            format!(
                "socket {stream}, datagram {number}: {changed} bytes changed, {missing} missing, \
                 {surplus} too many"
            )
        });
        true
    }

    /// An answer has come. One that is wrong answers nothing, and no other is waited for.
    fn answered(&mut self, flow: u32, number: u64, is_wrong: bool, now: u64) {
        self.strays(now).corrupted += u64::from(is_wrong);
        match self.flow(flow).answered(number) {
            Answer::First(flight, is_reordered) => {
                self.in_flight -= 1;
                self.last_settled = now;
                if is_wrong {
                    return self.unanswered(flight, now);
                }
                self.strays(now).reordered += u64::from(is_reordered);
                self.count_answered(flight, now);
            }
            // Its datagram has been counted as lost, and stays so.
            Answer::Late => self.strays(now).late += 1,
            Answer::Duplicate => self.strays(now).duplicates += 1,
        }
    }

    fn count_answered(&mut self, flight: Flight, now: u64) {
        if !self.counts(flight.due) {
            self.before.messages += u64::from(flight.due < self.from);
            return;
        }
        self.measured.latency.record(now.saturating_sub(flight.due));
        if let Some(steps) = &mut self.steps {
            steps.answered(flight.due, now.saturating_sub(flight.due));
        }
        if self.is_open_loop() {
            self.measured.service.record(now.saturating_sub(flight.sent));
        }
        self.measured.counts.messages += 1;
        self.measured.counts.in_time += u64::from(self.measures(now));
    }
}

/// Whether both are one address, whatever else IPv6 says of a flow.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}
