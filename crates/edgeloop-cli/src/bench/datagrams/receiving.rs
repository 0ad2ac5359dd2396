//! What comes back: answers, and what is told apart from them.

use std::net::SocketAddr;

use edgeloop::{Datagram, LoopContext};

use super::DatagramWorker;
use super::flow::{Answer, Seen};
use crate::bench::course::Phase;
use crate::results::Datagrams;

impl DatagramWorker {
    /// Where datagrams of this time are counted that are no answers. Before the measured time they
    /// count in no figure.
    pub(super) fn strays(&mut self, now: u64) -> &mut Datagrams {
        if now < self.course.from {
            return &mut self.ignored;
        }
        self.course.measured.counts.datagrams.get_or_insert_default()
    }

    /// A datagram has come.
    pub(super) fn received(&mut self, cx: &mut impl LoopContext<u32>, datagram: &Datagram<'_>) {
        let now = cx.clock().as_nanos();
        let Some(&flow) = self.by_socket.get(&datagram.socket) else { return };
        if self.course.phase == Phase::Over {
            return;
        }
        // Nobody waits any more for what is too old, even if this is its answer.
        self.expire(flow, now);
        let bytes = datagram.bytes;
        if self.course.measures(now) {
            self.course.measured.counts.bytes_received += bytes.len() as u64;
        }
        let (size, one) = (self.course.share.plan.size, &self.flows[flow as usize]);
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
        if self.flow(flow).open() < self.course.share.plan.pipeline {
            self.flow(flow).allowed.get_or_insert(now);
        }
        self.pump(cx, flow, now);
        if self.course.phase == Phase::Grace && self.course.in_flight == 0 {
            self.course.wake_by(cx, now);
        }
    }

    /// The service is not silent.
    fn has_come(&mut self, now: u64) {
        self.silent_since =
            (self.course.in_flight > 1 || !self.course.is_open_loop()).then_some(now);
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
        self.course.verdict_at(now).note(|| {
            let unit = if length == 1 { "byte" } else { "bytes" };
            let what =
                if is_from_elsewhere { "which is not the service" } else { "which answer nothing" };
            format!("socket {number}: {length} {unit} from {from}, {what}")
        });
    }

    /// Whether an answer is wrong, as far as it is compared.
    fn compare(&mut self, flow: u32, number: u64, bytes: &[u8], now: u64) -> bool {
        if !self.course.share.plan.verifies {
            return false;
        }
        let one = &self.flows[flow as usize];
        let stream = one.stream;
        let [changed, missing, surplus] =
            one.compare(self.payload, number, bytes, &mut self.scratch);
        let verdict = self.course.verdict_at(now);
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
                self.course.in_flight -= 1;
                self.last_settled = now;
                if is_wrong {
                    return self.course.unanswered(flight, now);
                }
                self.strays(now).reordered += u64::from(is_reordered);
                self.course.answered(flight, now);
            }
            // Its datagram has been counted as lost, and stays so.
            Answer::Late => self.strays(now).late += 1,
            Answer::Duplicate => self.strays(now).duplicates += 1,
        }
    }
}

/// Whether both are one address, whatever else IPv6 says of a flow.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}
