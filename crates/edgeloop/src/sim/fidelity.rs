//! The model of a connection against the real kernel: the same calls, the same answers, the same
//! readiness, in scripts of chance.
//!
//! After each call both come to rest: in the model everything is delivered, and the real kernel is
//! looked at until it says what the model says, or a deadline is over. What is disregarded so: how
//! segments are cut, and when they arrive. Buffers are never full, since how much a full one takes
//! is the kernel's own affair.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};

use super::{Link, Random, Side};
use crate::epoll::Readiness;

/// How long the real kernel may take to get to what the model says.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most calls of a script.
const CALLS: usize = 30;

/// One call of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Send(usize),
    SendUrgent,
    Receive(usize),
    ShutDown,
    TakeError,
    Close,
    Abort,
}

impl Call {
    fn of(random: &mut Random) -> Self {
        match random.below(16) {
            0..=4 => Self::Send(random.size(1, 500)),
            5 => Self::SendUrgent,
            6..=11 => Self::Receive(random.size(1, 700)),
            12 | 13 => Self::ShutDown,
            14 => Self::TakeError,
            _ if random.chance(500) => Self::Close,
            _ => Self::Abort,
        }
    }
}

/// What a call answers: how many bytes, or an error, and what was received.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    count: Result<usize, Errno>,
    bytes: Vec<u8>,
}

impl Answer {
    fn of(count: Result<usize, Errno>) -> Self {
        Self { count, bytes: Vec::new() }
    }
}

/// Both ends of a real connection, ours first; a closed one is gone.
struct Real([Option<TcpStream>; 2]);

impl Real {
    fn connect() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let theirs = TcpStream::connect(listener.local_addr()?)?;
        let (ours, _) = listener.accept()?;
        for end in [&ours, &theirs] {
            end.set_nonblocking(true)?;
            end.set_nodelay(true)?;
            sockopt::set_socket_oobinline(end, true)?;
        }
        Ok(Self([Some(ours), Some(theirs)]))
    }

    fn make(&mut self, side: Side, call: Call, bytes: &[u8]) -> Answer {
        let slot = &mut self.0[side as usize];
        let Some(end) = slot.as_ref() else { return Answer::of(Err(Errno::BADF)) };
        match call {
            Call::Send(_) => Answer::of(send(end, bytes, SendFlags::NOSIGNAL)),
            Call::SendUrgent => Answer::of(send(end, bytes, SendFlags::NOSIGNAL | SendFlags::OOB)),
            Call::Receive(most) => {
                let mut buffer = vec![0; most];
                let count = recv(end, &mut *buffer, RecvFlags::empty()).map(|(count, _)| count);
                buffer.truncate(count.unwrap_or(0));
                Answer { count, bytes: buffer }
            }
            Call::ShutDown => Answer::of(shutdown(end, Shutdown::Write).map(|()| 0)),
            Call::TakeError => match sockopt::socket_error(end) {
                Ok(Ok(())) => Answer::of(Ok(0)),
                Ok(Err(error)) | Err(error) => Answer::of(Err(error)),
            },
            Call::Close => {
                *slot = None;
                Answer::of(Ok(0))
            }
            Call::Abort => {
                let set = sockopt::set_socket_linger(end, Some(Duration::ZERO));
                *slot = None;
                Answer::of(set.map(|()| 0))
            }
        }
    }

    /// The readiness of an end and how much it has to read.
    fn state(&self, side: Side) -> Option<(Readiness, usize)> {
        let end = self.0[side as usize].as_ref()?;
        let all = PollFlags::IN | PollFlags::OUT | PollFlags::PRI | PollFlags::RDHUP;
        let mut fds = [PollFd::new(end, all)];
        poll(&mut fds, Some(&Timespec::default())).expect("poll of one descriptor");
        let unread = ioctl_fionread(end).expect("a socket");
        let bits = Readiness::from_bits(fds[0].revents().bits().into());
        Some((bits, usize::try_from(unread).expect("few bytes")))
    }
}

/// The model, with which ends are closed.
struct Model {
    link: Link,
    closed: [bool; 2],
}

impl Model {
    fn make(&mut self, side: Side, call: Call, bytes: &[u8]) -> Answer {
        if self.closed[side as usize] {
            return Answer::of(Err(Errno::BADF));
        }
        let link = &mut self.link;
        match call {
            Call::Send(_) => Answer::of(link.send(side, bytes)),
            Call::SendUrgent => Answer::of(link.send_urgent(side, bytes[0])),
            Call::Receive(most) => {
                let mut received = Vec::new();
                let count = link.receive(side, most, |piece| received.extend_from_slice(piece));
                Answer { count, bytes: received }
            }
            Call::ShutDown => Answer::of(link.shut_down(side).map(|()| 0)),
            Call::TakeError => Answer::of(link.take_error(side).map_or(Ok(0), Err)),
            Call::Close | Call::Abort => {
                self.closed[side as usize] = true;
                link.close(side, call == Call::Abort);
                Answer::of(Ok(0))
            }
        }
    }

    fn rest(&mut self) {
        while let Some(side) =
            [Side::Ours, Side::Theirs].into_iter().find(|&side| self.link.can_deliver(side))
        {
            let _ = self.link.deliver(side, usize::MAX);
        }
    }

    fn state(&self, side: Side) -> Option<(Readiness, usize)> {
        let open = !self.closed[side as usize];
        open.then(|| (self.link.readiness(side), self.link.unread(side)))
    }
}

/// Runs one script on both.
///
/// # Errors
///
/// How they differ.
pub fn compare(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let mut real = Real::connect().map_err(|error| error.to_string())?;
    let mut model = Model { link: Link::new(1 << 30), closed: [false; 2] };
    let mut script = Vec::new();
    for _ in 0..random.size(1, CALLS) {
        let side = random.pick(&[Side::Ours, Side::Theirs]);
        let call = Call::of(&mut random);
        let length = if let Call::Send(length) = call { length } else { 1 };
        let bytes: Vec<u8> = (0..length).map(|_| random.below(256).to_le_bytes()[0]).collect();
        script.push((side, call));
        let expected = model.make(side, call, &bytes);
        let got = real.make(side, call, &bytes);
        if got != expected {
            return Err(format!("{got:?} and not {expected:?}, as the model says: {script:?}"));
        }
        model.rest();
        for side in [Side::Ours, Side::Theirs] {
            let begin = Instant::now();
            while real.state(side) != model.state(side) {
                if begin.elapsed() > PATIENCE {
                    return Err(format!(
                        "{side:?} is {:?} and not {:?}, as the model says: {script:?}",
                        real.state(side),
                        model.state(side)
                    ));
                }
                std::thread::yield_now();
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[test]
fn the_model_of_a_connection_agrees_with_the_kernel() {
    for seed in super::simulation::chosen_seeds(0..1000) {
        if let Err(difference) = compare(seed) {
            panic!(
                "seed {seed}: {difference}\nreplay with: EDGELOOP_SEEDS={seed}..{} cargo test -p \
                 edgeloop --lib agrees_with_the_kernel",
                seed + 1
            );
        }
    }
}
