//! The model's side of a script: links, an eventfd, a backlog, and epoll sets over them.

use std::collections::VecDeque;

use edgeloop::epoll::{Event, Readiness};
use edgeloop::sim::internals::{
    ANYTHING, DATA, EpollSet, EventFd, Link, SHUT_DOWN, Side, UNCONNECTED, Woken,
};
use rustix::io::Errno;

use super::call::{Answer, CONNECTIONS, Call, FILES, Family, File, SETS, Wish};
use super::real::State;

/// Enough that no buffer is ever full.
const BUFFER: usize = 1 << 30;

const NOTHING: Readiness = Readiness::from_bits(0);

/// How far an end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There is no descriptor of it yet; it may wait in the backlog.
    Unborn,
    /// A socket that isn't connected.
    Fresh,
    Open,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Connection {
    link: Link,
    stages: [Stage; 2],
}

/// An epoll set, and which files of its ready list one and the same call has listed. The order
/// among those is disregarded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Watched {
    set: EpollSet,
    groups: Vec<Vec<usize>>,
}

/// All files and all sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    family: Family,
    connections: Vec<Connection>,
    /// The connections that wait to be accepted, while the listener is open.
    backlog: Option<VecDeque<usize>>,
    counter: EventFd,
    sets: [Watched; SETS],
    /// Whom the last call has woken.
    woken: [bool; FILES],
}

impl Model {
    pub(super) fn new(family: Family) -> Self {
        let stages = [Stage::Unborn; 2];
        let link = || match family {
            Family::Tcp => Link::connecting(BUFFER),
            Family::Unix => Link::unix(BUFFER),
        };
        let connection = || Connection { link: link(), stages };
        Self {
            family,
            connections: (0..CONNECTIONS).map(|_| connection()).collect(),
            backlog: Some(VecDeque::new()),
            counter: EventFd::default(),
            sets: Default::default(),
            woken: [false; FILES],
        }
    }

    fn stage(&self, file: File) -> Stage {
        match file {
            File::Listener if self.backlog.is_none() => Stage::Closed,
            File::Listener | File::Counter => Stage::Open,
            File::End(connection, side) => self.connections[connection].stages[side as usize],
        }
    }

    fn is_connecting(&self, file: File) -> bool {
        match file {
            File::End(connection, Side::Ours) => self.connections[connection].link.is_connecting(),
            _ => false,
        }
    }

    /// Whether a script may make this call now. Left out is what neither this model nor the
    /// library has: a second connect, and a shutdown of what isn't connected.
    pub(super) fn allows(&self, call: Call) -> bool {
        match call {
            Call::Open(connection) => {
                self.stage(File::End(connection, Side::Ours)) == Stage::Unborn
            }
            Call::Connect(connection) | Call::ConnectNowhere(connection) => {
                self.stage(File::End(connection, Side::Ours)) == Stage::Fresh
            }
            Call::ShutDown(file) => {
                matches!(self.stage(file), Stage::Open | Stage::Closed) && !self.is_connecting(file)
            }
            Call::Send(file, _)
            | Call::SendVectored(file, ..)
            | Call::SendUrgent(file)
            | Call::SendDescriptor(file, _)
            | Call::Receive(file, _)
            | Call::ReceiveMessage(file, _)
            | Call::Splice(file, _)
            | Call::TakeError(file)
            | Call::Close(file)
            | Call::Abort(file)
            | Call::Add(_, file, _)
            | Call::AddExclusive(_, file, _)
            | Call::Modify(_, file, _)
            | Call::Remove(_, file) => self.stage(file) != Stage::Unborn,
            Call::Accept | Call::Write(_) | Call::Read | Call::Wait(..) => true,
        }
    }

    /// Makes a call, and lets everything arrive that it sets off. `got` are the events that the
    /// real kernel has reported, for the order that is disregarded; `first` are files that are not
    /// ready, and that it found to be so before others of the same order.
    pub(super) fn make(
        &mut self,
        call: Call,
        bytes: &[u8],
        got: &[Event],
        first: &[usize],
    ) -> Answer {
        let answer = self.call(call, bytes, got, first);
        for connection in 0..CONNECTIONS {
            self.rest(connection);
        }
        self.close_groups();
        answer
    }

    fn call(&mut self, call: Call, bytes: &[u8], got: &[Event], first: &[usize]) -> Answer {
        match call {
            Call::Open(connection) => {
                self.connections[connection].stages[Side::Ours as usize] = Stage::Fresh;
                Answer::of_done(Ok(()))
            }
            Call::Connect(connection) => self.connect(connection),
            // Its backlog is full.
            Call::ConnectNowhere(_) if self.family == Family::Unix => {
                Answer::of_error(Errno::AGAIN)
            }
            Call::ConnectNowhere(connection) => {
                self.connections[connection].stages[Side::Ours as usize] = Stage::Open;
                Answer::of_error(Errno::INPROGRESS)
            }
            Call::Accept => Answer::of_count(self.accept()),
            Call::Write(value) => {
                let written = self.counter.write(value);
                if written.is_ok() {
                    self.wake(File::Counter, EventFd::WRITTEN);
                }
                Answer::of_done(written)
            }
            Call::Read => {
                let read = self.counter.read();
                if read.is_ok() {
                    self.wake(File::Counter, EventFd::READ);
                }
                Answer::of(read)
            }
            Call::Close(file) => self.close(file, false),
            Call::Abort(file) => self.close(file, true),
            Call::Send(file, _)
            | Call::SendVectored(file, ..)
            | Call::SendUrgent(file)
            | Call::SendDescriptor(file, _)
            | Call::Receive(file, _)
            | Call::ReceiveMessage(file, _)
            | Call::Splice(file, _)
            | Call::ShutDown(file)
            | Call::TakeError(file) => match (self.stage(file), file) {
                (Stage::Open, File::End(connection, side)) => {
                    self.connection_call(call, connection, side, bytes)
                }
                (Stage::Fresh, _) => fresh_call(call, self.family),
                _ => Answer::of_error(Errno::BADF),
            },
            Call::Add(_, file, _)
            | Call::AddExclusive(_, file, _)
            | Call::Modify(_, file, _)
            | Call::Remove(_, file)
                if self.stage(file) == Stage::Closed =>
            {
                Answer::of_error(Errno::BADF)
            }
            Call::Add(set, file, Wish { token, interest, mode }) => {
                let now = self.readiness(file);
                let set = &mut self.sets[set].set;
                Answer::of_done(set.add(file.number(), token, interest, mode, now))
            }
            Call::AddExclusive(set, file, Wish { token, interest, mode }) => {
                let now = self.readiness(file);
                let set = &mut self.sets[set].set;
                Answer::of_done(set.add_exclusive(file.number(), token, interest, mode, now))
            }
            Call::Modify(set, file, Wish { token, interest, mode }) => {
                let now = self.readiness(file);
                let set = &mut self.sets[set].set;
                Answer::of_done(set.modify(file.number(), token, interest, mode, now))
            }
            Call::Remove(set, file) => Answer::of_done(self.sets[set].set.delete(file.number())),
            Call::Wait(set, most) => self.wait(set, most, got, first),
        }
    }

    fn connection_call(
        &mut self,
        call: Call,
        connection: usize,
        side: Side,
        bytes: &[u8],
    ) -> Answer {
        let link = &mut self.connections[connection].link;
        match call {
            Call::SendUrgent(_) => Answer::of_count(link.send_urgent(side, bytes[0])),
            Call::Receive(_, most) => {
                let mut bytes = Vec::new();
                let count = link.receive(side, most, |piece| bytes.extend_from_slice(piece));
                Answer { bytes, ..Answer::of_count(count) }
            }
            Call::ReceiveMessage(_, most) => {
                let mut bytes = Vec::new();
                let take = |piece: &[u8]| bytes.extend_from_slice(piece);
                let received = link.receive_message(side, most, take);
                let cut = received.is_ok_and(|(_, cut)| cut);
                Answer { bytes, cut, ..Answer::of_count(received.map(|(count, _)| count)) }
            }
            Call::SendDescriptor(..) => Answer::of_count(link.send_with_descriptors(side, bytes)),
            Call::Splice(_, most) => {
                let mut bytes = Vec::new();
                let count = link.splice(side, most, |piece| bytes.extend_from_slice(piece));
                Answer { bytes, ..Answer::of_count(count) }
            }
            Call::ShutDown(_) => {
                let done = link.shut_down(side);
                self.wake(File::End(connection, side), SHUT_DOWN);
                Answer::of_done(done)
            }
            Call::TakeError(_) => Answer::of_done(link.take_error(side).map_or(Ok(()), Err)),
            _ => Answer::of_count(link.send(side, bytes)),
        }
    }

    fn connect(&mut self, connection: usize) -> Answer {
        if self.family == Family::Unix {
            return Answer::of_done(self.connect_at_once(connection));
        }
        let ends = &mut self.connections[connection];
        ends.stages[Side::Ours as usize] = Stage::Open;
        let answer = if self.backlog.is_some() { Ok(()) } else { Err(Errno::CONNREFUSED) };
        let woken = ends.link.establish(answer);
        self.pass_on(connection, woken);
        if let Some(backlog) = &mut self.backlog {
            backlog.push_back(connection);
            // The child tells its listener as bytes are told of (tcp_child_process).
            self.wake(File::Listener, DATA);
        }
        Answer::of_error(Errno::INPROGRESS)
    }

    /// The same of Unix sockets, which wakes the listener only (`unix_stream_connect`).
    fn connect_at_once(&mut self, connection: usize) -> Result<(), Errno> {
        let backlog = self.backlog.as_mut().ok_or(Errno::CONNREFUSED)?;
        backlog.push_back(connection);
        self.connections[connection].stages[Side::Ours as usize] = Stage::Open;
        self.wake(File::Listener, DATA);
        Ok(())
    }

    fn accept(&mut self) -> Result<usize, Errno> {
        let backlog = self.backlog.as_mut().ok_or(Errno::BADF)?;
        let connection = backlog.pop_front().ok_or(Errno::AGAIN)?;
        self.connections[connection].stages[Side::Theirs as usize] = Stage::Open;
        Ok(connection)
    }

    fn close(&mut self, file: File, aborts: bool) -> Answer {
        if self.stage(file) == Stage::Closed {
            return Answer::of_error(Errno::BADF);
        }
        for watched in &mut self.sets {
            watched.set.closed(file.number());
        }
        match file {
            File::End(connection, side) => {
                let Connection { link, stages } = &mut self.connections[connection];
                if std::mem::replace(&mut stages[side as usize], Stage::Closed) == Stage::Open {
                    link.close(side, aborts);
                }
            }
            File::Listener => {
                // Who waits is reset (inet_csk_listen_stop, unix_release_sock).
                for connection in self.backlog.take().into_iter().flatten() {
                    let Connection { link, stages } = &mut self.connections[connection];
                    stages[Side::Theirs as usize] = Stage::Closed;
                    link.turn_away(Side::Theirs);
                }
            }
            File::Counter => {}
        }
        Answer::of_done(Ok(()))
    }

    /// Everything arrives, but for ACKs that may be delayed.
    fn rest(&mut self, connection: usize) {
        let sides = [Side::Ours, Side::Theirs];
        let woken = self.connections[connection].link.take_woken();
        self.pass_on(connection, woken);
        loop {
            let link = &mut self.connections[connection].link;
            let Some(from) = sides.into_iter().find(|&side| link.has_news(side)) else { break };
            let woken = link.deliver(from, usize::MAX);
            self.pass_on(connection, woken);
        }
    }

    fn pass_on(&mut self, connection: usize, woken: Woken) {
        for side in [Side::Ours, Side::Theirs] {
            if let Some(mask) = woken.mask(side) {
                self.wake(File::End(connection, side), mask);
            }
        }
    }

    fn wake(&mut self, file: File, mask: Readiness) {
        self.woken[file.number()] = true;
        for watched in &mut self.sets {
            watched.set.wake(file.number(), mask);
        }
    }

    /// epoll_wait(2), with the files that one call has listed in the order of `got`.
    fn wait(&mut self, set: usize, most: usize, got: &[Event], first: &[usize]) -> Answer {
        let mut watched = std::mem::take(&mut self.sets[set]);
        let place = |file: &usize| {
            let token = watched.set.token(*file);
            match got.iter().position(|event| Some(event.token()) == token) {
                Some(place) => place + 1,
                None if first.contains(file) => 0,
                None => usize::MAX,
            }
        };
        let mut order = Vec::new();
        for group in &mut watched.groups {
            group.sort_by_key(&place);
            order.extend_from_slice(group);
        }
        watched.set.arrange(order);
        let mut looked_at = Vec::new();
        let events = watched.set.collect(most, |file| {
            looked_at.push(file);
            self.readiness(File::of(file))
        });
        for group in &mut watched.groups {
            group.retain(|file| !looked_at.contains(file));
        }
        // What is level-triggered and was listed again has an order of its own.
        let left: usize = watched.groups.iter().map(Vec::len).sum();
        watched.groups.extend(watched.set.listed().skip(left).map(|file| vec![file]));
        self.sets[set] = watched;
        Answer { events, ..Answer::of_done(Ok(())) }
    }

    /// The call's wake-ups have been heard of.
    pub(super) fn end_call(&mut self) {
        self.woken = [false; FILES];
    }

    /// Notes what was listed since the last time as listed by one call.
    fn close_groups(&mut self) {
        for Watched { set, groups } in &mut self.sets {
            for group in &mut *groups {
                group.retain(|&file| set.is_listed(file));
            }
            let known: usize = groups.iter().map(Vec::len).sum();
            groups.push(set.listed().skip(known).collect());
            groups.retain(|group| !group.is_empty());
        }
    }

    /// Notes what was listed since the last time as listed by the same call as what was last.
    fn join_groups(&mut self) {
        for Watched { set, groups } in &mut self.sets {
            let known: usize = groups.iter().map(Vec::len).sum();
            let listed = set.listed().skip(known);
            match groups.last_mut() {
                Some(last) => last.extend(listed),
                None => groups.push(listed.collect()),
            }
            groups.retain(|group| !group.is_empty());
        }
    }

    /// The files in a set's ready list that are not ready and whose order among others is
    /// disregarded: it can't be seen whether a wait that was cut short has looked at them.
    pub(super) fn unsure(&self, set: usize) -> Vec<usize> {
        let groups = self.sets[set].groups.iter().filter(|group| group.len() > 1);
        let mut files: Vec<_> = groups.flatten().copied().collect();
        files.retain(|&file| {
            self.sets[set].set.reports(file, self.readiness(File::of(file))) == NOTHING
        });
        files
    }

    /// Whom the last call has woken so that an edge shows it: whoever is open and ready for
    /// anything at all.
    pub(super) fn expects_to_hear(&self, file: File) -> bool {
        self.woken[file.number()]
            && file != File::Counter
            && matches!(self.stage(file), Stage::Open | Stage::Fresh)
            && self.readiness(file) != NOTHING
    }

    /// Whether an ACK is still to come that wakes this end.
    pub(super) fn awaits_ack(&self, file: File) -> bool {
        match file {
            File::End(connection, side) => self.connections[connection].link.owes_ack(side.other()),
            File::Listener | File::Counter => false,
        }
    }

    /// The ACK comes.
    pub(super) fn acknowledge(&mut self, file: File) {
        if let File::End(connection, side) = file {
            let woken = self.connections[connection].link.deliver(side.other(), 0);
            debug_assert_eq!(woken.mask(side), Some(ANYTHING));
            // The call has not done it, and somebody has heard of it already.
            let woken_by_call = self.woken;
            self.pass_on(connection, woken);
            self.woken = woken_by_call;
            self.join_groups();
        }
    }

    fn readiness(&self, file: File) -> Readiness {
        match (file, self.stage(file)) {
            (File::Listener, _) => match &self.backlog {
                Some(backlog) if !backlog.is_empty() => Readiness::IN,
                _ => NOTHING,
            },
            (File::Counter, _) => self.counter.readiness(),
            (_, Stage::Fresh) => UNCONNECTED,
            (File::End(connection, side), _) => self.connections[connection].link.readiness(side),
        }
    }

    /// What can be seen of an open file.
    pub(super) fn state(&self, file: File) -> Option<State> {
        let stage = self.stage(file);
        if matches!(stage, Stage::Unborn | Stage::Closed) {
            return None;
        }
        let (mut unread, mut connected) = (0, false);
        if let (File::End(connection, side), Stage::Open) = (file, stage) {
            let link = &self.connections[connection].link;
            unread = link.unread(side);
            connected = link.is_connected(side) && !self.is_connecting(file);
        }
        Some(State { readiness: self.readiness(file), unread, connected })
    }

    /// How many bytes an end's kernel has taken.
    pub(super) fn accepted(&self, connection: usize, side: Side) -> u64 {
        self.connections[connection].link.accepted(side)
    }
}

/// A call on a socket that isn't connected.
fn fresh_call(call: Call, family: Family) -> Answer {
    let (sends, receives) = match family {
        Family::Tcp => (Errno::PIPE, Errno::NOTCONN),
        Family::Unix => (Errno::NOTCONN, Errno::INVAL),
    };
    match call {
        Call::Send(..)
        | Call::SendVectored(..)
        | Call::SendUrgent(_)
        | Call::SendDescriptor(..) => Answer::of_error(sends),
        Call::Receive(..) | Call::ReceiveMessage(..) | Call::Splice(..) => {
            Answer::of_error(receives)
        }
        Call::ShutDown(..) => Answer::of_error(Errno::NOTCONN),
        _ => Answer::of_done(Ok(())),
    }
}
