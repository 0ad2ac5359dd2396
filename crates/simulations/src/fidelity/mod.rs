//! The model of connections and epoll sets against the real kernel: the same calls, the same
//! answers, the same events, in scripts of chance.
//!
//! A script has up to four connections over loopback, or as many of Unix sockets, a listener, an
//! eventfd, and two epoll sets in which each of these may be registered in any mode. After each
//! call both sides come to rest: in the model everything arrives, and the real kernel is looked at
//! until it says what the model says, or a deadline is over. Then the next call is made.
//!
//! # What must be the same
//!
//! - The answer of each call: its count, its error, the bytes that were received, the connection
//!   that was accepted, and the events of epoll_wait with their tokens, flags and order.
//! - After each call, of each file that it may have touched: what poll(2) says, `FIONREAD`, and
//!   whether getpeername(2) finds a peer; of all files at the end.
//! - Who is woken by each call. One more epoll set, the witness, has all sockets edge-triggered,
//!   and must hear of exactly those that the model has woken. So no edge is lost, and none is made
//!   up.
//! - Each stream: what is read is what was sent, from its beginning, and the totals are the same.
//!
//! # What is disregarded
//!
//! - How segments are cut, and when they arrive: nothing is asked before both have come to rest.
//! - The order of events in one epoll set that *one* call caused, such as a FIN that both ends hear
//!   of: loopback may deliver within the call or just after it. They are compared as a set. The
//!   order of what different calls caused must be the same.
//! - When the ACK of a FIN comes: the receiver may delay it for 40 ms (`tcp_fin`,
//!   `__tcp_ack_snd_check` in net/ipv4/tcp_input.c). It wakes the end that has shut down
//!   (`tcp_rcv_state_process`, FIN_WAIT1), which an edge-triggered registration reports as an edge
//!   though nothing has changed. The witness says when it comes; the model must have one ACK to
//!   come, and hears of it then. Where it falls together with another wake-up of the same end, or
//!   with a call on an epoll set, both ways are followed, until one of them differs. Its place
//!   among the events that the last call has caused is disregarded as theirs is.
//! - That wake-ups of one call are merged: the kernel has no more of them to show than one event.
//! - How much fits into a pipe: all does here. A pipe that is full of small segments stops a splice
//!   early.
//! - How much a buffer takes. It is never full here; [`full`] looks at full ones.

mod call;
mod datagrams;
mod full;
mod model;
mod real;
mod sockets;

use std::time::{Duration, Instant};

use edgeloop::sim::Random;
use edgeloop::sim::internals::Side;

use call::{Answer, CONNECTIONS, Call, FILES, Family, File};
use model::Model;
use real::Real;

/// How long the real kernel may take to get to what the model says.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most calls of a script.
const CALLS: usize = 60;

/// Every 32nd script is about full buffers, and every third about Unix sockets.
const FULL: u64 = 32;
const UNIX: u64 = 3;

/// One in five is about datagrams.
const DATAGRAMS: (u64, u64) = (5, 1);

/// Runs one script on both.
///
/// # Errors
///
/// How they differ, and the script.
pub fn compare(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let family = if seed.is_multiple_of(UNIX) { Family::Unix } else { Family::Tcp };
    if seed.is_multiple_of(FULL) {
        return full::compare(&mut random, family);
    }
    if seed % DATAGRAMS.0 == DATAGRAMS.1 {
        return datagrams::compare(&mut random);
    }
    let mut comparison = Comparison::new(family).map_err(|error| error.to_string())?;
    let compared = comparison.run(&mut random);
    compared.map_err(|what| format!("{what}, of {family:?}: {:?}", comparison.script))
}

/// Both sides of a script.
struct Comparison {
    real: Real,
    /// The models that agree so far. There is more than one where it can't be seen whether an ACK
    /// has come.
    models: Vec<Model>,
    script: Vec<Call>,
    /// By connection and side: what the real kernel took, and what the other end has read of it.
    streams: [[Stream; 2]; CONNECTIONS],
}

#[derive(Debug, Default)]
struct Stream {
    sent: Vec<u8>,
    read: usize,
}

impl Comparison {
    fn new(family: Family) -> std::io::Result<Self> {
        Ok(Self {
            real: Real::new(family)?,
            models: vec![Model::new(family)],
            script: Vec::new(),
            streams: Default::default(),
        })
    }

    /// Begins with some connections, and goes on by chance.
    fn run(&mut self, random: &mut Random) -> Result<(), String> {
        let mut opened = 0;
        for connection in 0..random.size(0, CONNECTIONS - 1) {
            opened += 1;
            for call in [Call::Open(connection), Call::Connect(connection), Call::Accept] {
                self.step(call, &[])?;
            }
        }
        for serial in 0..random.size(5, CALLS) as u64 {
            let call = Call::of(random, opened, serial);
            if !self.models[0].allows(call) {
                continue;
            }
            opened += usize::from(matches!(call, Call::Open(_)));
            let length = match call {
                Call::Send(_, length)
                | Call::SendVectored(_, length, _)
                | Call::SendDescriptor(_, length) => length,
                _ => 1,
            };
            let bytes: Vec<u8> = (0..length).map(|_| random.below(256).to_le_bytes()[0]).collect();
            self.step(call, &bytes)?;
        }
        self.end()
    }

    /// Reads what there is to be read, and looks at everything once more.
    fn end(&mut self) -> Result<(), String> {
        let files = (0..FILES).map(File::of);
        for file in files.clone() {
            let call = Call::Receive(file, 1000);
            let is_end = matches!(file, File::End(..));
            while is_end && self.models[0].allows(call) && self.step(call, &[])? > 0 {}
        }
        self.settle(&files.collect::<Vec<_>>())?;
        for (connection, sides) in self.streams.iter().enumerate() {
            for (stream, side) in sides.iter().zip([Side::Ours, Side::Theirs]) {
                let (sent, accepted) =
                    (stream.sent.len(), self.models[0].accepted(connection, side));
                if sent as u64 != accepted {
                    return Err(format!("{sent} bytes were taken and not {accepted}"));
                }
            }
        }
        Ok(())
    }

    /// Makes one call on both sides and lets them come to rest. Returns how many bytes were
    /// received.
    fn step(&mut self, call: Call, bytes: &[u8]) -> Result<usize, String> {
        self.script.push(call);
        let got = self.real.make(call, bytes);
        // A call on an epoll set wakes nobody, but an ACK may have come just before or after it.
        let late = if call.is_on_a_set() { self.real.heard() } else { Vec::new() };
        let mut differs = String::new();
        let mut agree = Vec::with_capacity(self.models.len());
        for model in std::mem::take(&mut self.models) {
            for early in [false, true] {
                if early && late.is_empty() {
                    continue;
                }
                let mut model = model.clone();
                let acknowledged = !early || acknowledge(&mut model, &late);
                for first in orders(&model, call) {
                    let mut model = model.clone();
                    let expected = model.make(call, bytes, &got.events, &first);
                    if !acknowledged || !(early || acknowledge(&mut model, &late)) {
                        differs = format!("one of {late:?} is woken, though not by the model");
                    } else if expected != got {
                        differs = format!("{got:?} and not {expected:?}, as the model says");
                    } else if !agree.contains(&model) {
                        agree.push(model);
                    }
                }
            }
        }
        self.models = agree;
        if self.models.is_empty() {
            return Err(differs);
        }
        self.follow_streams(call, bytes, &got)?;
        self.settle(&touched(call, &got))?;
        Ok(got.bytes.len())
    }

    /// Waits until the real kernel says of these files what the models say, and everybody was woken
    /// who is to be.
    fn settle(&mut self, files: &[File]) -> Result<(), String> {
        let model = &self.models[0];
        let mut heard = Vec::new();
        let begin = Instant::now();
        loop {
            let differs = files.iter().find(|&&file| self.real.state(file) != model.state(file));
            heard.extend(self.real.heard());
            let expects = |file: &&File| model.expects_to_hear(**file) && !heard.contains(*file);
            let silent = files.iter().find(expects);
            let what = match (differs, silent) {
                (None, None) => break,
                (Some(&file), _) => {
                    let (real, model) = (self.real.state(file), model.state(file));
                    format!("{file:?} is {real:?} and not {model:?}, as the model says")
                }
                (None, Some(file)) => format!("{file:?} is not woken, as the model says"),
            };
            if begin.elapsed() > PATIENCE {
                return Err(what);
            }
            std::thread::yield_now();
        }
        self.hear(&heard)
    }

    /// Tells the models whom the witness has heard of: an ACK that comes alone, or perhaps together
    /// with another wake-up.
    fn hear(&mut self, heard: &[File]) -> Result<(), String> {
        for file in (0..FILES).map(File::of).filter(|file| heard.contains(file)) {
            let mut agree = Vec::with_capacity(self.models.len());
            for mut model in std::mem::take(&mut self.models) {
                if model.expects_to_hear(file) {
                    if model.awaits_ack(file) {
                        let mut other = model.clone();
                        other.acknowledge(file);
                        agree.push(other);
                    }
                } else if !acknowledge(&mut model, &[file]) {
                    continue;
                }
                agree.push(model);
            }
            if agree.is_empty() {
                return Err(format!("{file:?} is woken, though not by the model"));
            }
            self.models = agree;
        }
        for model in &mut self.models {
            model.end_call();
        }
        Ok(())
    }

    /// Adds to the streams what was taken, and compares with them what was received.
    fn follow_streams(&mut self, call: Call, bytes: &[u8], got: &Answer) -> Result<(), String> {
        let Ok(count) = got.count else { return Ok(()) };
        match call {
            Call::Send(File::End(connection, side), _)
            | Call::SendVectored(File::End(connection, side), ..)
            | Call::SendDescriptor(File::End(connection, side), _)
            | Call::SendUrgent(File::End(connection, side)) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                self.streams[connection][side as usize].sent.extend_from_slice(&bytes[..count]);
            }
            Call::Receive(File::End(connection, side), _)
            | Call::ReceiveMessage(File::End(connection, side), _)
            | Call::Splice(File::End(connection, side), _) => {
                let stream = &mut self.streams[connection][side.other() as usize];
                if !stream.sent[stream.read..].starts_with(&got.bytes) {
                    return Err(format!("what is read behind byte {} was not sent", stream.read));
                }
                stream.read += got.bytes.len();
            }
            _ => {}
        }
        Ok(())
    }
}

/// Which of the files that are not ready a wait may have found to be so before those that it has
/// reported: each choice among the first few.
fn orders(model: &Model, call: Call) -> Vec<Vec<usize>> {
    const FEW: usize = 3;
    let Call::Wait(set, _) = call else { return vec![Vec::new()] };
    let mut unsure = model.unsure(set);
    unsure.truncate(FEW);
    let chosen = |choice: usize| {
        let files = unsure.iter().enumerate().filter(|(at, _)| choice & 1 << at != 0);
        files.map(|(_, file)| *file).collect()
    };
    (0..1 << unsure.len()).map(chosen).collect()
}

/// Lets ACKs come that wake these ends. Returns whether the model has them to come.
fn acknowledge(model: &mut Model, ends: &[File]) -> bool {
    for &end in ends {
        if !model.awaits_ack(end) {
            return false;
        }
        model.acknowledge(end);
    }
    true
}

/// The files that a call may change.
fn touched(call: Call, got: &Answer) -> Vec<File> {
    let both = |connection| [Side::Ours, Side::Theirs].map(|side| File::End(connection, side));
    match call {
        Call::Open(connection) | Call::ConnectNowhere(connection) => both(connection).to_vec(),
        Call::Connect(connection) => [&both(connection)[..], &[File::Listener]].concat(),
        Call::Accept => {
            let connection = got.count.ok().and_then(|count| usize::try_from(count).ok());
            let ends = connection.map(both).into_iter().flatten();
            ends.chain([File::Listener]).collect()
        }
        Call::Send(file, _)
        | Call::SendVectored(file, ..)
        | Call::SendUrgent(file)
        | Call::SendDescriptor(file, _)
        | Call::Receive(file, _)
        | Call::ReceiveMessage(file, _)
        | Call::Splice(file, _)
        | Call::ShutDown(file)
        | Call::TakeError(file)
        | Call::Close(file)
        | Call::Abort(file) => match file {
            File::End(connection, _) => both(connection).to_vec(),
            // Closing it may reset everybody who waits.
            File::Listener => (0..FILES).map(File::of).collect(),
            File::Counter => vec![file],
        },
        Call::Write(_) | Call::Read => vec![File::Counter],
        // A call on an epoll set.
        _ => Vec::new(),
    }
}
