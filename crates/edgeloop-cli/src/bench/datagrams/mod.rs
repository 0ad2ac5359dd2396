//! One thread of a run over datagrams: its sockets, what it sends on them and when, and what comes
//! back.
//!
//! It is what `worker` is for connections, and records the same. But nothing is in order here:
//! each datagram carries its number (`flow`), and one that is not answered in time is lost, which
//! frees its place in flight. What comes behind that time changes nothing any more. It is counted
//! as late.
//!
//! ```text
//!   Opening ──▶ Waiting ──▶ Running ──▶ Grace ──▶ Over
//!   bind        for other    warm-up,    the last
//!   them all    threads      then count  answers
//! ```

mod ending;
mod flow;
mod overflow;
mod receiving;
mod sending;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use edgeloop::{
    Action, Context, Datagram, DatagramSocket, Handler, Input, LoopContext, Origin, Time,
};

use super::errors::Cause;
use super::gate::Gate;
use super::payload::Payload;
use super::plan::{Load, Share};
use super::record::{Before, Measured};
use super::schedule::Schedule;
use super::steps::Steps;
use super::verdict::Verdict;
use super::worker::{End, Outcome, Part, Teller, Tick};
use crate::results::{Datagrams, nanos};
use flow::Flow;

/// How many due things one turn does before it looks at what came in, and how many sockets it
/// binds.
const TURN: usize = 256;

/// How often a thread that waits for the others looks whether they have come.
const LOOK: u64 = 1_000_000;

/// How many lost datagrams all sockets of a thread remember, so that their answers are known to be
/// late.
const REMEMBERED: usize = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Sockets are bound.
    Opening,
    /// This thread is ready; others are not.
    Waiting,
    Running,
    /// Nothing more is sent but what was due before; answers are waited for.
    Grace,
    Over,
}

/// One thread of a run, as the handler of its loop.
pub(crate) struct DatagramWorker {
    share: Share,
    gate: Arc<Gate>,
    tell: Teller,
    payload: Payload,
    flows: Vec<Flow>,
    by_socket: HashMap<DatagramSocket, u32>,
    /// When which socket has something to do, and when the oldest datagram of which one may be
    /// lost. An entry that is not the one that the socket awaits is left over from before.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    expiring: BinaryHeap<Reverse<(u64, u32)>>,
    /// How many sockets were bound, or could not be.
    tried: usize,
    alive: usize,
    in_flight: usize,
    phase: Phase,
    /// From when on messages count, and until when they may be due.
    from: u64,
    until: u64,
    /// The end of the wait for the last answers.
    over: u64,
    /// For when the wake-up is set.
    awaits: u64,
    /// How many ticks there were.
    ticks: u64,
    /// Messages that may still be begun, if they are numbered.
    left: Option<u64>,
    /// When a datagram was answered or lost last.
    last_settled: u64,
    /// Since when something is waited for and nothing has come back.
    silent_since: Option<u64>,
    /// Of the present tick, and of the time before all that is measured.
    measured: Measured,
    before: Before,
    /// Sockets that send to each of the addresses.
    made: Vec<u64>,
    /// The steps of a profile, from the beginning of the measured time on.
    steps: Option<Steps>,
    verdict: Verdict,
    /// What came in the warm-up and is no answer.
    ignored: Datagrams,
    end: End,
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
            gate,
            tell,
            payload: Payload::new(share.plan.seed),
            flows,
            by_socket: HashMap::new(),
            due: BinaryHeap::new(),
            expiring: BinaryHeap::new(),
            tried: 0,
            alive: 0,
            in_flight: 0,
            phase: Phase::Opening,
            from: u64::MAX,
            until: u64::MAX,
            over: u64::MAX,
            awaits: u64::MAX,
            ticks: 0,
            left: None,
            last_settled: 0,
            silent_since: None,
            measured: Measured::default(),
            before: Before::default(),
            made: vec![0; share.plan.addresses.len()],
            steps: None,
            verdict: Verdict::default(),
            ignored: Datagrams::default(),
            end: End::Whole,
            receive_drops: None,
            scratch: vec![0; share.plan.size].into_boxed_slice(),
            share,
        }
    }

    fn into_outcome(self) -> Outcome {
        let span = self.until.saturating_sub(self.from);
        let Self { verdict, end, ticks, alive, before, made, steps, receive_drops, .. } = self;
        Outcome { verdict, end, ticks, span, alive, before, made, steps, receive_drops }
    }
}

impl DatagramWorker {
    const fn is_open_loop(&self) -> bool {
        matches!(self.share.plan.load, Load::Open { .. })
    }

    fn timeout(&self) -> u64 {
        nanos(self.share.plan.timeout.unwrap_or(Duration::MAX))
    }

    /// Whether a message that was due at this time counts.
    const fn counts(&self, due: u64) -> bool {
        due >= self.from && due < self.until
    }

    /// Whether bytes that go or come at this time count. If messages are numbered, those of the
    /// last answer do.
    fn measures(&self, now: u64) -> bool {
        now >= self.from && (now < self.until || self.phase == Phase::Grace && self.is_numbered())
    }

    /// Whether it ends with its last message, and so takes as long as the answers do.
    fn is_numbered(&self) -> bool {
        self.left == Some(0) && self.end == End::Whole
    }

    /// An error has happened.
    fn failed(&mut self, cause: Cause, now: u64) {
        let errors = if now >= self.from {
            &mut self.measured.counts.errors
        } else {
            &mut self.before.errors
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
                    self.alive += 1;
                    self.gate.has_opened();
                    let plan = &self.share.plan;
                    if let Some((_, _, address)) = plan.datagram_ends(self.share.first + index) {
                        self.made[address] += 1;
                    }
                }
                Err(error) => self.failed(Cause::of_connect(&error), now),
            }
            self.tried = index + 1;
        }
        if self.tried < self.flows.len() {
            return self.wake_by(cx, now);
        }
        self.phase = Phase::Waiting;
        self.gate.arrive(now, 2 * LOOK);
        if self.alive == 0 {
            (self.from, self.until, self.end) = (now, now, End::NoConnection);
            self.finish(cx, now);
        }
    }

    /// All threads begin.
    fn begin(&mut self, cx: &mut impl LoopContext<u32>, begin: u64) {
        let plan = &self.share.plan;
        let (extent, load, seed, all) = (plan.extent, plan.load, plan.seed, plan.connections);
        self.phase = Phase::Running;
        self.from = begin + nanos(extent.warmup);
        self.until = extent.duration.map_or(u64::MAX, |duration| self.from + nanos(duration));
        self.left = self.share.messages;
        let profile = plan.profile.clone();
        let curve = profile.as_ref().map(|profile| Arc::new(profile.curve(extent.warmup)));
        self.steps = profile.map(|profile| Steps::new(&profile, self.from));
        if !self.is_open_loop() {
            self.silent_since = Some(begin);
        }
        for index in 0..self.flows.len() {
            let number = self.share.first + index;
            let flow = &mut self.flows[index];
            if let Load::Open { rate, arrival } = load {
                let seed = seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let of = (number, all);
                flow.schedule = Some(match &curve {
                    Some(curve) => Schedule::along(curve.clone(), arrival, of, seed, begin),
                    None => Schedule::new(arrival, rate, of, seed, begin),
                });
            }
            if flow.socket.is_some() {
                flow.allowed = Some(begin);
                self.enqueue(cx, u32::try_from(index).unwrap_or(u32::MAX), begin);
            }
        }
    }

    // Time.

    /// Sets the wake-up for the next thing that the clock brings about.
    fn await_next(&mut self, cx: &mut impl LoopContext<u32>) {
        let own = match self.phase {
            Phase::Opening | Phase::Over => return,
            Phase::Waiting => cx.now().as_nanos() + LOOK,
            Phase::Running => self.until.min(self.tick_at()).min(self.stalls_at()),
            Phase::Grace => self.over.min(self.stalls_at()),
        };
        let first = |queue: &BinaryHeap<Reverse<(u64, u32)>>| {
            queue.peek().map_or(u64::MAX, |Reverse((at, _))| *at)
        };
        let first = first(&self.due).min(first(&self.expiring));
        self.awaits = u64::MAX;
        self.wake_by(cx, own.min(first));
    }

    /// Makes sure to be woken by then.
    fn wake_by(&mut self, cx: &mut impl LoopContext<u32>, at: u64) {
        if at < self.awaits {
            self.awaits = at;
            cx.wake_at(Some(Time::from_nanos(at)));
        }
    }

    /// A socket has something due then.
    fn enqueue(&mut self, cx: &mut impl LoopContext<u32>, flow: u32, at: u64) {
        let one = self.flow(flow);
        if at < one.awaits {
            one.awaits = at;
            self.due.push(Reverse((at, flow)));
            self.wake_by(cx, at);
        }
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
            let Some(&Reverse((at, flow))) = self.due.peek() else { break };
            if at > now {
                break;
            }
            self.due.pop();
            if self.flow(flow).awaits == at {
                self.flow(flow).awaits = u64::MAX;
                self.pump(cx, flow, now);
                now = cx.clock().as_nanos();
            }
        }
        now
    }

    /// When the next part of the measured time is over.
    fn tick_at(&self) -> u64 {
        self.from.saturating_add((self.ticks + 1) * nanos(self.share.plan.tick))
    }

    /// A part of the measured time is over.
    fn tick(&mut self) {
        let (number, alive, in_flight) = (self.ticks, self.alive, self.in_flight);
        let length = nanos(self.share.plan.tick);
        let begin = self.from.saturating_add(number * length);
        let span = self.until.saturating_sub(begin).min(length);
        // None is told from none of any kind.
        self.measured.counts.datagrams.get_or_insert_default();
        (self.tell)(Tick { number, span, alive, in_flight }, &mut self.measured);
        self.ticks += 1;
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
        if self.gate.is_interrupted() {
            self.interrupt(cx);
        } else if self.phase == Phase::Opening {
            self.wake_up(cx);
        }
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext<u32>) {
        self.awaits = u64::MAX;
        match self.phase {
            Phase::Opening => self.open(cx),
            Phase::Waiting => {
                if let Some(begin) = self.gate.begin() {
                    self.begin(cx, begin);
                }
            }
            Phase::Running | Phase::Grace | Phase::Over => {}
        }
        if self.phase == Phase::Over {
            return;
        }
        let now = self.serve_due(cx);
        if self.phase == Phase::Running {
            // The last one ends with the run, also where this thread has overslept that.
            let told = now.min(self.until - 1);
            while told >= self.tick_at() {
                self.tick();
            }
            if now >= self.until || self.left == Some(0) {
                self.stop_sending(now, End::Whole);
            } else if self.has_stalled(now) {
                self.stop_sending(now, End::Stalled);
            }
        }
        if self.phase == Phase::Grace && (self.is_done() || now >= self.over) {
            return self.finish(cx, now);
        }
        if self.phase == Phase::Grace && self.has_stalled(now) {
            self.end = End::Stalled;
            return self.finish(cx, now);
        }
        self.await_next(cx);
    }
}
