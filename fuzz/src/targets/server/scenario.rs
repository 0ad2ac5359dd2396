//! Scenarios out of bytes. Each of them can be carried out to its end: nobody is to receive what
//! was not asked for, or to send more than a server that waits for him may leave unread.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use edgeloop::sim::{Faults, Script, Simulation, Start};
use edgeloop::{Config, MIN_SEND_BUFFER};

use super::handler::{CLOSE, Echo, PAUSE, RESET, Taking};
use crate::bytes::Bytes;

/// The most that a script consists of.
const STEPS: usize = 16;
const PEERS: usize = 6;

/// The most bytes that are under way to a peer who does not read. No message is longer.
const MOST: usize = 3000;

/// Where the server listens, and what it connects to.
const LISTENERS: [SocketAddr; 2] = [address(3000), address(3001)];
const SERVICE: SocketAddr = address(4000);

const fn address(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// How a peer comes to its end, unless a fault is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It reads all of its echo and the end.
    Whole,
    /// It breaks off, or is broken off.
    Broken,
    Vanished,
}

/// What one peer does, and what it may see.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    script: Script,
    /// The script for people to read, without its bytes.
    steps: Vec<String>,
    /// All that the server may send it.
    pub(super) echo: Vec<u8>,
    pub(super) end: End,
}

/// One run.
pub(super) struct Scenario {
    seed: u64,
    buffers: RangeInclusive<usize>,
    faults: Faults,
    settings: Settings,
    greeting: usize,
    taking: Taking,
    pauses: Option<(usize, Duration)>,
    notices: usize,
    pub(super) peers: Vec<Plan>,
    /// Those that the server connects to.
    pub(super) dialled: Vec<Plan>,
}

/// What of the loop's configuration varies.
#[derive(Debug)]
struct Settings {
    high: usize,
    low: usize,
    read_buffer: usize,
    budgets: (usize, usize, usize),
    event_batch: usize,
    small_memory: bool,
    timeouts: bool,
    /// Keepalive, user timeout and send buffer.
    options: (bool, bool, bool),
    pipes: usize,
    spin: Duration,
}

impl Settings {
    /// Settings that were added later come from the seed: the inputs of the corpus keep their
    /// meaning.
    fn decode(bytes: &mut Bytes<'_>, seed: u64) -> Self {
        let bit = |number: u32| seed >> number & 1 == 1;
        let high = 1 + bytes.pick(&[0, 1, 30, 100, 1000, 5000, 60_000]) + bytes.below(32);
        Self {
            high,
            low: bytes.pick(&[0, high / 4, high - 1, high]),
            read_buffer: bytes.pick(&[1, 2, 7, 64, 1000, 4096, 65_536]),
            budgets: (
                bytes.pick(&[262_144, 1, 10, 100, 1000]),
                bytes.pick(&[128, 1, 2]),
                bytes.pick(&[1024, 1, 2, 5]),
            ),
            event_batch: bytes.pick(&[512, 1, 2, 3]),
            small_memory: bytes.flag(),
            timeouts: bytes.flag(),
            options: (bit(0), bit(1), bit(2)),
            pipes: if bit(3) { 1 } else { 16 },
            spin: if bit(4) { Duration::from_micros(30) } else { Duration::ZERO },
        }
    }

    fn config(&self) -> Config {
        let (turn_bytes, accepts, jobs) = self.budgets;
        // Far longer than a script takes at the most: 3000 bytes, one by one, with a pause each.
        let timeout = self.timeouts.then_some(Duration::from_secs(600));
        let (keepalive, user_timeout, send_buffer) = self.options;
        Config::new()
            .high_watermark(self.high)
            .low_watermark(self.low)
            .read_buffer(self.read_buffer)
            .output_limit(self.high + self.read_buffer.max(MOST))
            .turn_bytes(turn_bytes)
            .turn_accepts(accepts)
            .turn_jobs(jobs)
            .event_batch(self.event_batch)
            .buffer_limit(if self.small_memory { 2 << 20 } else { 256 << 20 })
            .idle_timeout(timeout)
            .write_timeout(timeout)
            .keepalive(keepalive.then_some(Duration::from_secs(120)))
            .user_timeout(user_timeout.then_some(Duration::from_secs(600)))
            .send_buffer(send_buffer.then_some(MIN_SEND_BUFFER))
            .pipes(self.pipes)
            .spin(self.spin)
    }
}

impl Scenario {
    pub(super) fn decode(bytes: &mut Bytes<'_>) -> Self {
        let seed = bytes.word() as u64;
        let byte = bytes.byte();
        let most = [2000, 1, 2, 10, 100, 65_536][usize::from(byte) % 6];
        let buffers = if byte < 128 { 1..=most } else { most..=most };
        let faults = match bytes.below(4) {
            0 => Faults::none(),
            1 => Faults::passing(),
            2 => Faults::passing().breaking(5),
            _ => Faults::none().breaking(20),
        };
        let settings = Settings::decode(bytes, seed);
        let taking = match bytes.below(8) {
            0..3 => Taking::All,
            3 | 4 => Taking::Lines,
            5 | 6 => Taking::Frames(1 + bytes.below(20)),
            _ => Taking::Sips(1 + bytes.below(50)),
        };
        let pauses = bytes.flag().then(|| {
            (1 + bytes.below(4), Duration::from_micros(bytes.pick(&[1, 700, 1300, 20_000])))
        });
        let mut scenario = Self {
            seed,
            buffers,
            faults,
            greeting: if bytes.flag() { bytes.below(40).min(settings.high) } else { 0 },
            settings,
            taking,
            pauses,
            notices: bytes.below(3),
            peers: Vec::new(),
            dialled: Vec::new(),
        };
        while !bytes.is_empty() && scenario.peers.len() + scenario.dialled.len() < PEERS {
            let number = scenario.peers.len() + scenario.dialled.len();
            let dialled = bytes.below(4) == 3;
            let plan = Author::new(&scenario, number).write(bytes, dialled);
            if dialled { &mut scenario.dialled } else { &mut scenario.peers }.push(plan);
        }
        scenario
    }

    pub(super) fn echo(&self) -> Echo {
        Echo {
            greeting: greeting(self.greeting),
            taking: self.taking,
            pauses: self.pauses,
            open: self.dialled.len(),
        }
    }

    /// The connections that the loop begins with.
    pub(super) fn connect(&self, start: &mut Start<'_, Echo>) {
        self.dialled.iter().for_each(|_| start.connect(SERVICE, 0));
    }

    pub(super) fn simulation(&self) -> Simulation {
        let mut simulation = Simulation::new(self.seed)
            .config(self.settings.config())
            .faults(self.faults)
            .buffers(self.buffers.clone());
        for listener in LISTENERS {
            simulation = simulation.listen(listener);
        }
        for plan in &self.peers {
            simulation = simulation.peer(plan.script.clone());
        }
        let scripts: Vec<Script> = self.dialled.iter().map(|plan| plan.script.clone()).collect();
        simulation = simulation.service(SERVICE, move |count| {
            scripts.get(count).cloned().unwrap_or_else(|| Script::new().reset())
        });
        for after in 0..self.notices as u64 {
            let notify = |handle: &edgeloop::Handle<edgeloop::sim::SimulatedKernel>| {
                handle.notify();
            };
            simulation = simulation.at(Duration::from_millis(after), notify);
        }
        simulation
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = |plans: &[Plan]| plans.iter().map(|plan| plan.steps.join(", ")).collect();
        let (peers, dialled): (Vec<String>, Vec<String>) =
            (steps(&self.peers), steps(&self.dialled));
        f.debug_struct("Scenario")
            .field("seed", &self.seed)
            .field("buffers", &self.buffers)
            .field("faults", &self.faults)
            .field("settings", &self.settings)
            .field("greeting", &self.greeting)
            .field("taking", &self.taking)
            .field("pauses", &self.pauses)
            .field("peers", &peers)
            .field("dialled", &dialled)
            .finish_non_exhaustive()
    }
}

fn greeting(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + (at % 26) as u8).collect()
}

/// Writes the script of one peer, and knows at each step what has been sent and received.
struct Author {
    taking: Taking,
    greeting: Vec<u8>,
    /// The most that may be under way without being read.
    most: usize,
    number: usize,
    script: Script,
    steps: Vec<String>,
    sent: Vec<u8>,
    received: usize,
    expects_end: bool,
}

impl Author {
    fn new(scenario: &Scenario, number: usize) -> Self {
        Self {
            taking: scenario.taking,
            greeting: greeting(scenario.greeting),
            // Up to the high watermark everything is read, whatever the peer does. What is beyond
            // that fits into the buffers between handler and peer, though a sender is only told
            // of room when a third is free.
            most: (scenario.settings.high + 5 * scenario.buffers.start() / 2).min(MOST),
            number,
            script: Script::new(),
            steps: Vec::new(),
            sent: Vec::new(),
            received: 0,
            expects_end: false,
        }
    }

    fn then(&mut self, what: impl Into<String>, step: impl FnOnce(Script) -> Script) {
        self.steps.push(what.into());
        self.script = step(std::mem::take(&mut self.script));
    }

    /// How much the peer is sure to get, beyond what it has received.
    fn due(&self) -> usize {
        self.greeting.len() + self.taking.echoed(&self.sent) - self.received
    }

    fn room(&self) -> usize {
        self.most.saturating_sub(self.greeting.len() + self.sent.len() - self.received)
    }

    /// The next bytes of the stream, each of them another one than those near it.
    fn payload(&mut self, length: usize, newline: usize) -> Vec<u8> {
        let from = self.sent.len();
        let stamp = |at: usize| 0x80 | (at.wrapping_mul(37) + at / 128 + self.number * 11) as u8;
        let byte = |at: usize| if at % newline == newline - 1 { b'\n' } else { stamp(at) };
        let payload: Vec<u8> = (from..from + length).map(byte).collect();
        self.sent.extend(&payload);
        payload
    }

    fn receive(&mut self, most: usize) {
        let count = self.due().min(most);
        if count > 0 {
            self.received += count;
            self.then(format!("receive {count}"), |script| script.receive(count));
        }
    }

    fn expect_end(&mut self) {
        self.expects_end = true;
        self.then("expect the end", Script::expect_end);
    }

    fn write(mut self, bytes: &mut Bytes<'_>, dialled: bool) -> Plan {
        if !dialled {
            let begin = bytes.byte();
            let after = Duration::from_micros(u64::from(begin >> 2) * 100);
            let listener = LISTENERS[usize::from(begin & 1)];
            self.then(format!("connect to {listener} after {after:?}"), |script| {
                script.connect_to(listener).connect_after(after)
            });
        }
        for _ in 0..STEPS {
            let step = bytes.byte();
            match step & 15 {
                0..5 => self.send(bytes),
                5 if self.room() > 0 => {
                    let byte = self.payload(1, 8)[0];
                    self.then("send 1 urgent", |script| script.send_urgent(byte));
                }
                6 => {
                    let wait = Duration::from_micros(bytes.magnitude(17));
                    self.then(format!("wait {wait:?}"), |script| script.wait(wait));
                }
                5 | 7..11 => {
                    let most = bytes.word();
                    self.receive(most);
                }
                11 => return self.finish(bytes),
                12 => return self.command(bytes, CLOSE),
                13 => return self.command(bytes, RESET),
                14 => {
                    if step & 16 != 0 && self.room() > 0 {
                        // Whatever breaks off is no longer read.
                        self.sent.push(PAUSE);
                        self.then("send P", |script| script.send([PAUSE]));
                    }
                    return self.break_off(bytes);
                }
                _ => break,
            }
        }
        // The end of the script: it ends its stream and reads to the end.
        self.into_plan(End::Whole)
    }

    fn send(&mut self, bytes: &mut Bytes<'_>) {
        let length = (bytes.magnitude(12) as usize).min(self.room());
        let newline = bytes.pick(&[1000, 1, 2, 10, 50, 300]);
        if length > 0 {
            let payload = self.payload(length, newline);
            self.then(format!("send {length}"), |script| script.send(payload));
        }
    }

    fn finish(mut self, bytes: &mut Bytes<'_>) -> Plan {
        self.then("finish", Script::finish);
        let rest = self.greeting.len() + self.sent.len() - self.received;
        let first = bytes.word().min(rest);
        if first > 0 {
            self.then(format!("receive {first}"), |script| script.receive(first));
        }
        if bytes.flag() {
            if rest > first {
                self.then(format!("receive {}", rest - first), |script| {
                    script.receive(rest - first)
                });
            }
            self.expect_end();
        }
        self.into_plan(End::Whole)
    }

    /// Tells the server to end it.
    fn command(mut self, bytes: &mut Bytes<'_>, command: u8) -> Plan {
        if self.room() == 0 {
            return self.into_plan(End::Whole);
        }
        let before = self.sent.len();
        self.sent.push(command);
        self.then(format!("send {}", char::from(command)), |script| script.send([command]));
        if command == RESET {
            self.sent.truncate(before);
            self.then("expect a reset", Script::expect_reset);
            return self.into_plan(End::Broken);
        }
        let rest = self.greeting.len() + self.sent.len() - self.received;
        if bytes.flag() {
            self.then(format!("receive {rest}"), |script| script.receive(rest));
            self.expect_end();
        } else if bytes.flag() {
            self.then("finish", Script::finish);
        }
        self.into_plan(End::Whole)
    }

    fn break_off(mut self, bytes: &mut Bytes<'_>) -> Plan {
        let end = match bytes.below(3) {
            0 => {
                self.then("close", Script::close);
                End::Broken
            }
            1 => {
                self.then("reset", Script::reset);
                End::Broken
            }
            _ => {
                self.then("vanish", Script::vanish);
                End::Vanished
            }
        };
        self.into_plan(end)
    }

    fn into_plan(mut self, end: End) -> Plan {
        if end == End::Whole && !self.expects_end {
            // A script whose last step is to receive counts as done even where a fault has broken
            // its connection in the middle of that.
            self.then("wait", |script| script.wait(Duration::ZERO));
        }
        Plan {
            script: self.script,
            steps: self.steps,
            echo: [self.greeting, self.sent].concat(),
            end,
        }
    }
}
