//! One thread of a run over datagrams: its sockets, what it sends on them and when, and what comes
//! back.
//!
//! It is what `worker` is for connections, and its `course` is the same. But nothing is in order
//! here: each datagram carries its number (`flow`), and one that is not answered in time is lost,
//! which frees its place in flight. What comes behind that time changes nothing any more. It is
//! counted as late.

mod ending;
mod flow;
mod overflow;
mod receiving;
mod sending;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use edgeloop::{Action, Context, Datagram, DatagramSocket, Handler, Input, LoopContext, Origin};

use super::course::{Course, End, LOOK, Outcome, Part, Phase, Teller};
use super::errors::Cause;
use super::gate::Gate;
use super::payload::Payload;
use super::plan::Share;
use crate::results::{Datagrams, nanos};
use flow::Flow;

/// How many due things one turn does before it looks at what came in, and how many sockets it
/// binds.
const TURN: usize = 256;

/// How many lost datagrams all sockets of a thread remember, so that their answers are known to be
/// late.
const REMEMBERED: usize = 1_000_000;

/// One thread of a run, as the handler of its loop.
pub(crate) struct DatagramWorker {
    course: Course,
    payload: Payload,
    flows: Vec<Flow>,
    by_socket: HashMap<DatagramSocket, u32>,
    /// When the oldest datagram of which socket may be lost. An entry that is not the one that the
    /// socket awaits is left over from before.
    expiring: BinaryHeap<Reverse<(u64, u32)>>,
    /// How many sockets were bound, or could not be.
    tried: usize,
    /// When a datagram was answered or lost last.
    last_settled: u64,
    /// Since when something is waited for and nothing has come back.
    silent_since: Option<u64>,
    /// What came in the warm-up and is no answer.
    ignored: Datagrams,
    receive_drops: Option<u64>,
    scratch: Box<[u8]>,
}

impl Part for DatagramWorker {
    fn new(share: Share, gate: Arc<Gate>, tell: Teller) -> Self {
        let remembered = (REMEMBERED / share.connections.max(1)).max(16);
        let number = |index| share.first + index;
        let ends = |index| share.plan.datagram_ends(number(index));
        let flow = |index| {
            let (local, target, _) = ends(index)?;
            Some(Flow::new(number(index) as u64, local, target, remembered))
        };
        // All addresses are those of UDP.
        let flows: Vec<_> = (0..share.connections).filter_map(flow).collect();
        Self {
            payload: Payload::new(share.plan.seed),
            flows,
            by_socket: HashMap::new(),
            expiring: BinaryHeap::new(),
            tried: 0,
            last_settled: 0,
            silent_since: None,
            ignored: Datagrams::default(),
            receive_drops: None,
            scratch: vec![0; share.plan.size].into_boxed_slice(),
            course: Course::new(share, gate, tell),
        }
    }

    fn into_outcome(self) -> Outcome {
        self.course.into_outcome(self.receive_drops)
    }
}

impl DatagramWorker {
    fn timeout(&self) -> u64 {
        nanos(self.course.share.plan.timeout.unwrap_or(Duration::MAX))
    }

    /// An error has happened.
    fn failed(&mut self, cause: Cause, now: u64) {
        let errors = if now >= self.course.from {
            &mut self.course.measured.counts.errors
        } else {
            &mut self.course.before.errors
        };
        errors.count(cause);
    }

    fn flow(&mut self, flow: u32) -> &mut Flow {
        &mut self.flows[flow as usize]
    }

    // Its beginning.

    /// Binds the sockets. When all were tried, this thread is ready.
    fn open(&mut self, cx: &mut impl LoopContext<u32>) {
        let now = cx.clock().as_nanos();
        for index in self.tried..self.flows.len().min(self.tried + TURN) {
            match cx.bind_udp(self.flows[index].local) {
                Ok((socket, local)) => {
                    let flow = &mut self.flows[index];
                    (flow.socket, flow.local) = (Some(socket), local);
                    self.by_socket.insert(socket, u32::try_from(index).unwrap_or(u32::MAX));
                    self.course.alive += 1;
                    self.course.gate.has_opened();
                    let plan = &self.course.share.plan;
                    if let Some((_, _, address)) =
                        plan.datagram_ends(self.course.share.first + index)
                    {
                        self.course.made[address] += 1;
                    }
                }
                Err(error) => self.failed(Cause::of_connect(&error), now),
            }
            self.tried = index + 1;
        }
        if self.tried < self.flows.len() {
            return self.course.wake_by(cx, now);
        }
        self.course.arrive(now);
        if self.course.alive == 0 {
            self.course.is_in_vain(now, End::NoConnection);
            self.finish(cx, now);
        }
    }

    /// All threads begin.
    fn begin(&mut self, cx: &mut impl LoopContext<u32>, begin: u64) {
        let schedules = self.course.begin(begin);
        if !self.course.is_open_loop() {
            self.silent_since = Some(begin);
        }
        for index in 0..self.flows.len() {
            let flow = &mut self.flows[index];
            flow.schedule = schedules.of(self.course.share.first + index);
            if flow.socket.is_some() {
                flow.allowed = Some(begin);
                self.enqueue(cx, u32::try_from(index).unwrap_or(u32::MAX), begin);
            }
        }
    }

    // Time.

    /// Sets the wake-up for the next thing that the clock brings about.
    fn await_next(&mut self, cx: &mut impl LoopContext<u32>) {
        let own = match self.course.phase {
            Phase::Opening | Phase::Over => return,
            Phase::Waiting => cx.now().as_nanos() + LOOK,
            Phase::Running => self.course.until.min(self.course.tick_at()).min(self.stalls_at()),
            Phase::Grace => self.course.over.min(self.stalls_at()),
        };
        let expires = self.expiring.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        self.course.await_next(cx, own.min(expires));
    }

    /// A socket has something due then.
    fn enqueue(&mut self, cx: &mut impl LoopContext<u32>, flow: u32, at: u64) {
        self.course.enqueue(cx, &mut self.flows[flow as usize].awaits, flow, at);
    }

    /// Does what is due, but not too much at once.
    fn serve_due(&mut self, cx: &mut impl LoopContext<u32>) -> u64 {
        let mut now = cx.clock().as_nanos();
        for _ in 0..TURN {
            let Some(&Reverse((at, flow))) = self.expiring.peek() else { break };
            if at > now {
                break;
            }
            self.expiring.pop();
            if self.flow(flow).expires == at {
                self.flow(flow).expires = u64::MAX;
                self.expire(flow, now);
                self.watch_oldest(cx, flow);
                self.pump(cx, flow, now);
            }
        }
        for _ in 0..TURN {
            let Some((at, flow)) = self.course.take_due(now) else { break };
            if self.flow(flow).awaits == at {
                self.flow(flow).awaits = u64::MAX;
                self.pump(cx, flow, now);
                now = cx.clock().as_nanos();
            }
        }
        now
    }
}

impl Handler for DatagramWorker {
    type Session = u32;

    /// It has no listener.
    fn session(&mut self, _: &Origin) -> Option<u32> {
        None
    }

    fn data(&mut self, _: &mut impl Context<u32>, _: &mut u32, _: &mut Input<'_>) -> Action {
        Action::Close
    }

    fn datagram(&mut self, cx: &mut impl LoopContext<u32>, datagram: &Datagram<'_>) {
        self.received(cx, datagram);
    }

    fn notified(&mut self, cx: &mut impl LoopContext<u32>) {
        if self.course.gate.is_interrupted() {
            self.interrupt(cx);
        } else if self.course.phase == Phase::Opening {
            self.wake_up(cx);
        }
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext<u32>) {
        self.course.awaits = u64::MAX;
        match self.course.phase {
            Phase::Opening => self.open(cx),
            Phase::Waiting => {
                if let Some(begin) = self.course.gate.begin() {
                    self.begin(cx, begin);
                }
            }
            Phase::Running | Phase::Grace | Phase::Over => {}
        }
        if self.course.phase == Phase::Over {
            return;
        }
        let now = self.serve_due(cx);
        let has_stalled = self.has_stalled(now);
        self.course.look_at_the_clock(now, has_stalled);
        if self.course.phase == Phase::Grace
            && (self.is_done() || self.course.gives_up(now, has_stalled))
        {
            return self.finish(cx, now);
        }
        self.await_next(cx);
    }
}
