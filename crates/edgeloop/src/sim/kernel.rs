//! The simulated kernel behind the loop's own trait.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;

use crate::api::address::{Address, Credentials, UnixAddress};
use crate::api::time::Time;
use crate::epoll::{Batch, Interest};
use crate::kernel::{
    Clock, EventSource, Poll, Resources, SocketOption, Sockets, Splice, Wake, Wakeable,
};
use crate::sim::World;
use crate::sim::clock::START;
use crate::sim::faults::{Meaning, meaning, name};
use crate::sim::world::{File, name_of};
use crate::sim::{Call, Side};

/// The kernel of a simulation. Only a [`Handle`](crate::Handle) shows it, in its type.
#[derive(Clone)]
pub struct SimulatedKernel {
    world: Rc<RefCell<World>>,
}

impl SimulatedKernel {
    pub(crate) fn new(world: &Rc<RefCell<World>>) -> Self {
        Self { world: Rc::clone(world) }
    }

    /// The world, after what happens while a call is made.
    pub(super) fn call(&self) -> RefMut<'_, World> {
        let mut world = self.world.borrow_mut();
        world.call();
        world
    }

    pub(super) fn socket_of(&self, number: usize) -> Socket {
        Socket { world: Rc::clone(&self.world), number }
    }
}

impl fmt::Debug for SimulatedKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedKernel").finish_non_exhaustive()
    }
}

/// A descriptor of the simulated process; dropping it closes it.
pub struct Socket {
    world: Rc<RefCell<World>>,
    number: usize,
}

#[cfg(feature = "udp")]
impl Socket {
    pub(super) const fn number(&self) -> usize {
        self.number
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.world.borrow_mut().close(self.number);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.number)
    }
}

/// A pipe of the simulated process; dropping it closes both its ends.
#[derive(Debug)]
pub struct Pipe {
    /// To read from, and to write to.
    ends: [Socket; 2],
    bytes: RefCell<VecDeque<u8>>,
}

/// What a call answered, for people to read.
struct Answer(Result<usize, Errno>);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(count) => write!(f, "{count}"),
            Err(error) => f.write_str(&name(error)),
        }
    }
}

/// Raises the flag of the simulated eventfd.
#[derive(Debug, Clone)]
pub struct Waker(Arc<AtomicBool>);

impl Wake for Waker {
    fn wake(&self) -> bool {
        self.0.store(true, Ordering::SeqCst);
        true
    }
}

impl Clock for SimulatedKernel {
    fn now(&mut self) -> Time {
        let mut world = self.world.borrow_mut();
        if std::mem::take(&mut world.reads_clock) {
            world.clock_read = world.now;
        }
        world.now
    }

    fn pause(&mut self, time: Duration) {
        let mut world = self.call();
        world.note(|| format!("clock_nanosleep: {time:?}"));
        world.now = world.now.after(time);
        world.reads_clock = true;
    }
}

impl Poll for SimulatedKernel {
    fn wait(&mut self, events: &mut Batch, block: bool) -> Result<(), Errno> {
        let mut world = self.world.borrow_mut();
        world.reads_clock = true;
        world.wait(events, block)
    }

    fn wait_for(&mut self, events: &mut Batch, timeout: Duration) -> Result<(), Errno> {
        let mut world = self.world.borrow_mut();
        world.reads_clock = true;
        world.wait_for(events, timeout)
    }

    fn register(
        &mut self,
        socket: &Socket,
        source: EventSource,
        interest: Interest,
    ) -> Result<(), Errno> {
        let mut world = self.call();
        world.note(|| format!("epoll_ctl: adds {} as {}", socket.number, name_of(source)));
        world.register(socket.number, source.token(), interest)
    }

    fn register_shared(&mut self, socket: &Socket, source: EventSource) -> Result<(), Errno> {
        self.register(socket, source, Interest::READABLE)
    }

    fn reregister(
        &mut self,
        socket: &Socket,
        source: EventSource,
        interest: Interest,
    ) -> Result<(), Errno> {
        let mut world = self.call();
        world.note(|| format!("epoll_ctl: changes {} to {interest:?}", socket.number));
        world.reregister(socket.number, source.token(), interest)
    }

    fn deregister(&mut self, socket: &Socket) -> Result<(), Errno> {
        self.world.borrow_mut().deregister(socket.number)
    }

    fn set_alarm(&mut self, at: Time) -> Result<(), Errno> {
        let mut world = self.call();
        world.meet(Call::SetAlarm, None, 0)?;
        world.note(|| {
            format!("timerfd_settime: for {:.6} ms", at.since(START).as_secs_f64() * 1000.0)
        });
        world.set_alarm(at);
        Ok(())
    }
}

impl Wakeable for SimulatedKernel {
    type Waker = Waker;

    fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.world.borrow().waker))
    }

    fn clear_waker(&mut self) -> Result<(), Errno> {
        let mut world = self.call();
        world.meet(Call::ClearWaker, None, 0)?;
        world.clear_waker()
    }
}

impl Sockets for SimulatedKernel {
    type Socket = Socket;

    fn socket(&mut self, family: &Address) -> Result<Socket, Errno> {
        let mut world = self.call();
        world.meet(Call::Socket, None, 0)?;
        let number = world.open(File::Fresh(family.clone()))?;
        drop(world);
        Ok(self.socket_of(number))
    }

    fn set_option(&mut self, socket: &Socket, option: SocketOption) -> Result<(), Errno> {
        // Without it the close is an orderly one, whatever was meant. The other options decide
        // nothing.
        let decides = option == SocketOption::ResetOnClose;
        // What is probed, given up or buffered beyond the model takes no time of it either.
        let is_timed = decides
            || matches!(
                option,
                SocketOption::ReuseAddress
                    | SocketOption::Ipv6Only(_)
                    | SocketOption::NoDelay
                    | SocketOption::UrgentInline
            );
        let mut world = if is_timed { self.call() } else { self.world.borrow_mut() };
        if world.is_unix(socket.number) {
            return world.set_unix_option(socket.number, option);
        }
        let stream = world.wire_of(socket.number).filter(|_| !decides);
        let about = decides || stream.is_some();
        if let Err(error) = world.meet(Call::SetOption, about.then_some(socket.number), 0) {
            world.lacks_options(stream);
            return Err(error);
        }
        if decides {
            world.files.get_mut(socket.number).abort = true;
        }
        Ok(())
    }

    fn take_over(&mut self, stand_in: OwnedFd) -> Result<Socket, Errno> {
        let mut world = self.call();
        let number = world.take_over(&stand_in)?;
        drop(world);
        Ok(self.socket_of(number))
    }

    fn give_away(&mut self, socket: Socket) -> Result<OwnedFd, Socket> {
        Err(socket)
    }

    fn receive(&mut self, _: OwnedFd) -> Result<Socket, Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn bind(&mut self, socket: &Socket, address: &Address) -> Result<(), Errno> {
        let mut world = self.call();
        world.meet(Call::Bind, None, 0)?;
        let is_path = address.as_unix().is_some_and(|address| address.as_path().is_some());
        if !is_path && world.files.listener(Some(address)).is_some() {
            return Err(Errno::ADDRINUSE);
        }
        world.paths.bind(address, socket.number)?;
        world.files.get_mut(socket.number).file = File::Fresh(address.clone());
        Ok(())
    }

    fn listen(&mut self, socket: &Socket, _: u32) -> Result<(), Errno> {
        let mut world = self.call();
        world.meet(Call::Listen, None, 0)?;
        world.files.listen(socket.number)?;
        world.touch_all();
        Ok(())
    }

    fn local_address(&mut self, socket: &Socket) -> Result<Address, Errno> {
        let mut world = self.call();
        world.meet(Call::LocalAddress, None, 0)?;
        match &world.files.get(socket.number).file {
            File::Fresh(address) | File::Listener(address, _) => Ok(address.clone()),
            File::Stream(wire) => Ok(world.wires[*wire].addresses[Side::Ours as usize].clone()),
            File::Elsewhere => Ok(UnixAddress::unnamed().into()),
            _ => Err(Errno::INVAL),
        }
    }

    fn peer_address(&mut self, socket: &Socket) -> Result<Address, Errno> {
        let mut world = self.call();
        if let Err(error) = world.meet(Call::PeerAddress, None, 0) {
            // Whoever asks whether a connection is made does not learn it.
            if let Some(wire) = world.wire_of(socket.number) {
                world.wires[wire].made_at = None;
            }
            return Err(error);
        }
        match world.files.get(socket.number).file {
            File::Stream(wire) if !world.is_connected(wire) => Err(Errno::NOTCONN),
            File::Stream(wire) => Ok(world.wires[wire].addresses[Side::Theirs as usize].clone()),
            _ => Err(Errno::NOTCONN),
        }
    }

    fn connect(&mut self, socket: &Socket, address: &Address) -> Result<(), Errno> {
        let mut world = self.call();
        let answer = world.dial(socket.number, address);
        let told = Answer(answer.map(|()| 0));
        world.note(|| format!("connect({}, {address}): {told}", socket.number));
        answer
    }

    fn take_error(&mut self, socket: &Socket) -> Result<Option<Errno>, Errno> {
        let mut world = self.call();
        Ok(world.with_link(socket.number, |link| link.take_error(Side::Ours)))
    }

    fn accept(&mut self, listener: &Socket) -> Result<(Socket, Address), Errno> {
        let mut world = self.call();
        if !world.files.has_waiting(listener.number) {
            return Err(Errno::AGAIN);
        }
        let answer = world.meet(Call::Accept, None, 0);
        let exhausted = answer.is_err_and(|error| meaning(error) == Meaning::Exhausted);
        world.files.get_mut(listener.number).exhausted = exhausted;
        answer?;
        if world.files.spare() == 0 {
            world.files.get_mut(listener.number).exhausted = true;
            world.note(|| "accept4: EMFILE".to_owned());
            return Err(Errno::MFILE);
        }
        let File::Listener(_, waiting) = &mut world.files.get_mut(listener.number).file else {
            return Err(Errno::INVAL);
        };
        let wire = waiting.pop_front().ok_or(Errno::AGAIN)?;
        world.vigil.turn.accepts += 1;
        let number = world.open(File::Stream(wire))?;
        world.note(|| format!("accept4: {number} is connection {wire}"));
        let peer = world.wires[wire].addresses[Side::Theirs as usize].clone();
        drop(world);
        Ok((self.socket_of(number), peer))
    }

    fn recv(&mut self, socket: &Socket, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.recv_message(socket, buffer).map(|(count, _)| count)
    }

    fn recv_message(&mut self, socket: &Socket, buffer: &mut [u8]) -> Result<(usize, bool), Errno> {
        let mut world = self.call();
        let most = world.meet(Call::Receive, Some(socket.number), buffer.len())?;
        if most < buffer.len() {
            // What is left counts as having come just afterwards.
            world.owe(socket.number);
        }
        let mut filled = 0;
        let answer = world.with_link(socket.number, |link| {
            link.receive_message(Side::Ours, most, |piece| {
                buffer[filled..filled + piece.len()].copy_from_slice(piece);
                filled += piece.len();
            })
        });
        world.has_read(socket.number, filled);
        world.note(|| {
            let cut = if answer.is_ok_and(|(_, cut)| cut) { ", and descriptors" } else { "" };
            let told = Answer(answer.map(|(count, _)| count));
            format!("recv({}, {}): {told}{cut}", socket.number, buffer.len())
        });
        answer
    }

    fn credentials(&mut self, socket: &Socket) -> Result<Credentials, Errno> {
        let peer = self.world.borrow().wire_of(socket.number).unwrap_or_default();
        let process = u32::try_from(1000 + peer).ok().and_then(NonZeroU32::new);
        Ok(Credentials { process, user: 1000, group: 1000 })
    }

    fn send(&mut self, socket: &Socket, bytes: &[u8]) -> Result<usize, Errno> {
        let mut world = self.call();
        let answer = world
            .meet(Call::Send, Some(socket.number), bytes.len())
            .and_then(|most| world.send(socket.number, &bytes[..most]));
        // A relay sends what each receive has brought.
        let relays = world.wire_of(socket.number).is_some_and(|it| world.wires[it].known.fed);
        world.vigil.has_sent(socket.number, bytes.len(), answer.ok().filter(|_| !relays));
        world.note(|| format!("send({}, {}): {}", socket.number, bytes.len(), Answer(answer)));
        answer
    }

    fn send_vectored(&mut self, socket: &Socket, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let mut world = self.call();
        if pieces.len() > 1024 {
            return Err(Errno::MSGSIZE);
        }
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let answer = world
            .meet(Call::Send, Some(socket.number), bytes.len())
            .and_then(|most| world.send(socket.number, &bytes[..most]));
        world.vigil.has_sent(socket.number, bytes.len(), answer.ok());
        let (number, count, len) = (socket.number, pieces.len(), bytes.len());
        world.note(|| format!("sendmsg({number}, {count} pieces, {len}): {}", Answer(answer)));
        answer
    }

    fn shutdown_write(&mut self, socket: &Socket) -> Result<(), Errno> {
        let mut world = self.call();
        world.meet(Call::Shutdown, Some(socket.number), 0)?;
        let answer = world.shut_down(socket.number);
        world.note(|| format!("shutdown({}): {}", socket.number, Answer(answer.map(|()| 0))));
        answer
    }

    fn close(&mut self, socket: Socket) {
        let mut world = self.call();
        world.note(|| format!("close({})", socket.number));
        world.vigil.closed(socket.number);
        drop(world);
        drop(socket);
    }

    fn descriptor(&self, socket: &Socket) -> i32 {
        i32::try_from(socket.number).unwrap_or(i32::MAX)
    }
}

impl Splice for SimulatedKernel {
    type Pipe = Pipe;

    fn pipe(&mut self) -> Result<Pipe, Errno> {
        let mut world = self.call();
        if !world.ignores_sigpipe {
            return Err(Errno::PERM);
        }
        world.meet(Call::Pipe, None, 0)?;
        if world.files.spare() < 2 {
            return Err(Errno::MFILE);
        }
        let numbers = [world.open(File::Pipe)?, world.open(File::Pipe)?];
        world.note(|| format!("pipe2: {} to {}", numbers[1], numbers[0]));
        drop(world);
        Ok(Pipe { ends: numbers.map(|number| self.socket_of(number)), bytes: RefCell::default() })
    }

    fn splice_in(&mut self, socket: &Socket, pipe: &Pipe, most: usize) -> Result<usize, Errno> {
        let mut world = self.call();
        let mut bytes = pipe.bytes.borrow_mut();
        if !bytes.is_empty() {
            world.violated(|| format!("{} bytes are in a pipe that is lent", bytes.len()));
        }
        let most = world.meet(Call::SpliceIn, Some(socket.number), most)?;
        // A pipe is full of few bytes, if they came one by one.
        let most =
            if !world.calm && world.random.chance(300) { world.random.size(1, most) } else { most };
        let answer = world.with_link(socket.number, |link| {
            link.splice(Side::Ours, most, |piece| bytes.extend(piece))
        });
        world.has_read(socket.number, bytes.len());
        let to = pipe.ends[1].number;
        world.note(|| format!("splice({}, {to}, {most}): {}", socket.number, Answer(answer)));
        answer
    }

    fn splice_out(&mut self, pipe: &Pipe, socket: &Socket, count: usize) -> Result<usize, Errno> {
        let mut world = self.call();
        let mut bytes = pipe.bytes.borrow_mut();
        if bytes.len() < count {
            let held = bytes.len();
            world.violated(|| format!("{count} bytes are taken from a pipe that holds {held}"));
        }
        // Spliced output is not joined.
        world.vigil.has_sent(socket.number, count, None);
        let most = world.meet(Call::SpliceOut, Some(socket.number), count)?;
        let answer = world.send(socket.number, &bytes.make_contiguous()[..most.min(count)]);
        bytes.drain(..answer.unwrap_or(0));
        let from = pipe.ends[0].number;
        world.note(|| format!("splice({from}, {}, {count}): {}", socket.number, Answer(answer)));
        answer
    }

    fn close_pipe(&mut self, pipe: Pipe) {
        self.call().note(|| format!("close({}, {})", pipe.ends[0].number, pipe.ends[1].number));
        drop(pipe);
    }
}

impl Resources for SimulatedKernel {
    fn spare_descriptors(&self) -> usize {
        self.world.borrow().files.spare().min(1000)
    }

    fn refuses_memory(&mut self) -> bool {
        let mut world = self.world.borrow_mut();
        world.memory_refused = world.meet(Call::Memory, None, 0).is_err();
        if world.memory_refused {
            world.memory_refused_at = world.now;
            // Nothing is copied that need not be.
            world.vigil.budgets.joined = 0;
        }
        world.memory_refused
    }

    fn longest_backlog(&self) -> Option<u32> {
        self.world.borrow().longest_backlog
    }
}
