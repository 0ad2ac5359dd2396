//! A group on a thread of its own, whose handlers echo and tell what happens.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use edgeloop::{
    Action, Closed, Config, ConnectionId, Context, Error, GroupHandle, GroupMetrics, GroupSender,
    Handler, Input, LoopContext, LoopGroup, Notice, Origin, Reason, Receive, Seat, SendError,
    Spread, Stop,
};
use testkit::PATIENCE;

/// What happens on the loops.
pub(crate) enum Event {
    Opened(Origin),
    Closed(Reason),
    /// A number has come, to the loop or to a connection of it.
    Number {
        at: usize,
        to: Option<ConnectionId>,
        number: u32,
    },
    Undelivered {
        at: usize,
        number: u32,
    },
    Notified(usize),
    Capped,
}

/// A message.
#[derive(Clone)]
pub(crate) struct Number(pub(crate) u32);

/// Echoes. It can't leave its thread.
pub(crate) struct Echo {
    seat: Seat<Self>,
    events: mpsc::Sender<Event>,
    connections: Rc<Cell<usize>>,
}

impl Echo {
    pub(crate) fn new(seat: Seat<Self>, events: mpsc::Sender<Event>) -> Self {
        Self { seat, events, connections: Rc::default() }
    }

    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

impl Handler for Echo {
    type Session = Rc<Cell<usize>>;

    fn session(&mut self, origin: &Origin) -> Option<Rc<Cell<usize>>> {
        assert_eq!(origin.id.loop_number(), self.seat.number());
        self.connections.set(self.connections.get() + 1);
        self.tell(Event::Opened(origin.clone()));
        Some(Rc::clone(&self.connections))
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        _: &mut Self::Session,
        input: &mut Input<'_>,
    ) -> Action {
        assert_ne!(input.bytes(), b"panic", "on purpose");
        cx.send(input.take_all()).or_reset()
    }

    fn closed(
        &mut self,
        _: &mut impl Context<Self::Session>,
        session: Self::Session,
        closed: &Closed,
    ) {
        session.set(session.get() - 1);
        self.tell(Event::Closed(closed.reason));
    }

    fn notified(&mut self, _: &mut impl LoopContext<Self::Session>) {
        self.tell(Event::Notified(self.seat.number()));
    }

    fn notice(&mut self, notice: &Notice) {
        if matches!(notice, Notice::ConnectionCap { .. }) {
            self.tell(Event::Capped);
        }
    }
}

impl Receive<Number> for Echo {
    fn message(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        _: &mut Self::Session,
        Number(number): Number,
    ) -> Action {
        self.tell(Event::Number { at: self.seat.number(), to: Some(cx.id()), number });
        cx.send(&number.to_be_bytes()).or_reset()
    }

    fn undelivered(
        &mut self,
        _: &mut impl LoopContext<Self::Session>,
        _: ConnectionId,
        Number(number): Number,
    ) {
        self.tell(Event::Undelivered { at: self.seat.number(), number });
    }

    fn posted(&mut self, cx: &mut impl LoopContext<Self::Session>, Number(number): Number) {
        self.tell(Event::Number { at: self.seat.number(), to: None, number });
        if number == STOP_YOURSELF {
            cx.stop(Stop::Drain(None));
        } else if number > 0 {
            // To the next loop, in a message with one less.
            let next = (self.seat.number() + 1) % self.seat.count();
            let _ = self.seat.sender().post(next, Number(number - 1));
        }
    }
}

/// Has a loop stop itself.
pub(crate) const STOP_YOURSELF: u32 = u32::MAX;

/// What is sent to another connection by the loop of the first one.
impl Receive<(ConnectionId, &'static [u8])> for Echo {
    fn message(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        _: &mut Self::Session,
        (to, bytes): (ConnectionId, &'static [u8]),
    ) -> Action {
        let sent = cx.send_to(to, bytes);
        let number = u32::from(sent.is_accepted());
        self.tell(Event::Number { at: self.seat.number(), to: Some(to), number });
        Action::Continue
    }
}

/// A group that runs. It is stopped when this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: GroupHandle,
    pub(crate) numbers: GroupSender<Number>,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) relays: GroupSender<(ConnectionId, &'static [u8])>,
    thread: Option<JoinHandle<Result<GroupMetrics, Error>>>,
}

/// A group that listens on a free port.
pub(crate) fn start(loops: usize, spread: Spread, config: Config) -> Running {
    let (tell, events) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let thread = thread::spawn(move || {
        let make = |seat| Echo::new(seat, tell.clone());
        let mut group = LoopGroup::new(make).threads(loops).spread(spread).config(config);
        let address = group.listen("127.0.0.1:0").expect("a free port");
        let handle = group.handle().expect("it is set up");
        let senders = (group.sender().expect("the same"), group.sender().expect("the same"));
        let _ = begin.send((address, handle, senders));
        group.run()
    });
    let (address, handle, (numbers, relays)) = begun.recv_timeout(PATIENCE).expect("it begins");
    let address = address.as_tcp().expect("it is of TCP");
    Running { address, handle, numbers, relays, events, thread: Some(thread) }
}

impl Running {
    /// The next of the events of which this makes something.
    #[track_caller]
    pub(crate) fn next<T>(&self, mut of: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("it happens");
            if let Some(wanted) = of(event) {
                return wanted;
            }
        }
    }

    /// Who has come next.
    #[track_caller]
    pub(crate) fn opened(&self) -> Origin {
        self.next(|event| if let Event::Opened(origin) = event { Some(origin) } else { None })
    }

    /// How many connections each loop has, once there are `count` of them.
    #[track_caller]
    pub(crate) fn loads(&self, count: usize) -> Vec<usize> {
        let mut loads = vec![0; self.handle.count()];
        for _ in 0..count {
            loads[self.opened().id.loop_number()] += 1;
        }
        loads
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn join(mut self) -> Result<GroupMetrics, Error> {
        let thread = self.thread.take().expect("it runs");
        thread.join().expect("nothing panics there")
    }

    #[track_caller]
    pub(crate) fn stop(self, stop: Stop) -> GroupMetrics {
        self.handle.stop(stop);
        self.join().expect("it ends in order")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop(Stop::Now);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What was not sent, and nothing else is of interest.
pub(crate) fn kind_of<T>(answer: Result<(), SendError<T>>) -> Option<edgeloop::SendErrorKind> {
    answer.err().map(|error| error.kind)
}
