//! The vocabulary of the tests that run a real loop: a handler made of closures, a loop on a
//! thread of its own, and questions that are answered on that thread.

// Each of the test programs uses a part of it.
#![allow(dead_code, reason = "shared by several test programs")]

use std::net::SocketAddr;
use std::panic;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use edgeloop::{
    Action, Closed, Config, ConnectionId, Context, Datagram, Error, EventLoop, Handle, Handler,
    Input, LoopContext, Metrics, Notice, Origin, Sent, Stop,
};
use testkit::{PATIENCE, Peer};

type Plain = Box<dyn FnMut(&mut dyn Context<Session>) -> Action + Send>;
type Timer = Box<dyn FnMut(&mut dyn Context<Session>, u32) -> Action + Send>;
type WithInput = Box<dyn FnMut(&mut dyn Context<Session>, &mut Input<'_>) -> Action + Send>;
type Birth = Box<dyn FnMut(&Origin) -> Option<Session> + Send>;
type AtEnd = Box<dyn FnMut(&mut dyn Context<Session>, &Closed) + Send>;
type OfLoop = Box<dyn FnMut(&mut dyn LoopContext<Session>) + Send>;
type OfDatagram = Box<dyn FnMut(&mut dyn LoopContext<Session>, &Datagram<'_>) + Send>;
type Job = Box<dyn FnOnce(&mut dyn LoopContext<Session>) + Send>;

/// What a handler says when it panics because the test wants it to.
pub(crate) const ON_PURPOSE: &str = "on purpose";

/// Sends back what comes.
pub(crate) struct Echo;

impl Handler for Echo {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        cx.send(input.take_all()).or_reset()
    }
}

/// A handler made of closures. What is not given echoes, or does what the default does.
pub(crate) struct Script {
    config: Config,
    listens: bool,
    session: Birth,
    opened: Plain,
    data: WithInput,
    end: WithInput,
    drained: Plain,
    writable: Plain,
    timer: Timer,
    wake_up: OfLoop,
    datagram: OfDatagram,
    closed: AtEnd,
    notice: Box<dyn FnMut(&Notice) + Send>,
}

/// What the scripted handler keeps for a connection.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) panics_when_dropped: bool,
    /// What the test knows it by.
    pub(crate) name: u64,
}

impl Session {
    pub(crate) fn named(name: u64) -> Self {
        Self { name, panics_when_dropped: false }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        assert!(!self.panics_when_dropped, "{ON_PURPOSE}");
    }
}

impl Script {
    pub(crate) fn new() -> Self {
        Self {
            config: Config::new(),
            listens: true,
            session: Box::new(|_| Some(Session::default())),
            opened: Box::new(|_| Action::Continue),
            data: Box::new(|cx, input| cx.send(input.take_all()).or_reset()),
            end: Box::new(|_, _| Action::Close),
            drained: Box::new(|_| Action::Continue),
            writable: Box::new(|_| Action::Continue),
            timer: Box::new(|_, _| Action::Close),
            wake_up: Box::new(|_| {}),
            datagram: Box::new(|cx, datagram| _ = cx.reply(datagram, datagram.bytes)),
            closed: Box::new(|_, _| {}),
            notice: Box::new(|_| {}),
        }
    }

    pub(crate) fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    pub(crate) fn without_listener(mut self) -> Self {
        self.listens = false;
        self
    }

    pub(crate) fn session(
        mut self,
        call: impl FnMut(&Origin) -> Option<Session> + Send + 'static,
    ) -> Self {
        self.session = Box::new(call);
        self
    }

    pub(crate) fn opened(
        mut self,
        call: impl FnMut(&mut dyn Context<Session>) -> Action + Send + 'static,
    ) -> Self {
        self.opened = Box::new(call);
        self
    }

    pub(crate) fn data(
        mut self,
        call: impl FnMut(&mut dyn Context<Session>, &mut Input<'_>) -> Action + Send + 'static,
    ) -> Self {
        self.data = Box::new(call);
        self
    }

    pub(crate) fn wake_up(
        mut self,
        call: impl FnMut(&mut dyn LoopContext<Session>) + Send + 'static,
    ) -> Self {
        self.wake_up = Box::new(call);
        self
    }

    pub(crate) fn datagram(
        mut self,
        call: impl FnMut(&mut dyn LoopContext<Session>, &Datagram<'_>) + Send + 'static,
    ) -> Self {
        self.datagram = Box::new(call);
        self
    }

    pub(crate) fn end(
        mut self,
        call: impl FnMut(&mut dyn Context<Session>, &mut Input<'_>) -> Action + Send + 'static,
    ) -> Self {
        self.end = Box::new(call);
        self
    }

    pub(crate) fn drained(
        mut self,
        call: impl FnMut(&mut dyn Context<Session>) -> Action + Send + 'static,
    ) -> Self {
        self.drained = Box::new(call);
        self
    }

    pub(crate) fn writable(
        mut self,
        call: impl FnMut(&mut dyn Context<Session>) -> Action + Send + 'static,
    ) -> Self {
        self.writable = Box::new(call);
        self
    }

    pub(crate) fn timer(
        mut self,
        call: impl FnMut(&mut dyn Context<Session>, u32) -> Action + Send + 'static,
    ) -> Self {
        self.timer = Box::new(call);
        self
    }

    pub(crate) fn closed(
        mut self,
        call: impl FnMut(&mut dyn Context<Session>, &Closed) + Send + 'static,
    ) -> Self {
        self.closed = Box::new(call);
        self
    }

    pub(crate) fn notice(mut self, call: impl FnMut(&Notice) + Send + 'static) -> Self {
        self.notice = Box::new(call);
        self
    }

    /// Runs a loop with this handler on a thread of its own.
    #[track_caller]
    pub(crate) fn start(self) -> Running {
        self.start_after(|_| {})
    }

    /// The same, after something was done to the loop that does not run yet.
    #[track_caller]
    pub(crate) fn start_after(self, prepare: impl FnOnce(&mut EventLoop<Scripted>)) -> Running {
        let (origins_in, origins) = mpsc::channel();
        let (opened_in, opened) = mpsc::channel();
        let (closed_in, closed) = mpsc::channel();
        let (names_in, names) = mpsc::channel();
        let (notices_in, notices) = mpsc::channel();
        let (jobs_in, jobs) = mpsc::channel();
        let (config, listens) = (self.config.clone(), self.listens);
        let scripted = Scripted {
            script: self,
            origins: origins_in,
            opened: opened_in,
            closed: closed_in,
            names: names_in,
            notices: notices_in,
            jobs,
        };
        let mut event_loop = EventLoop::with_config(scripted, config).expect("a loop");
        let listening =
            listens.then(|| event_loop.listen("127.0.0.1:0").expect("listen on loopback"));
        prepare(&mut event_loop);
        let asker = Asker { handle: event_loop.handle(), jobs: jobs_in };
        let thread = thread::Builder::new().name("loop".to_owned());
        let thread = thread.spawn(move || event_loop.run()).expect("a thread");
        let listening = listening.and_then(|address| address.as_tcp());
        Running { listening, asker, origins, opened, closed, names, notices, thread: Some(thread) }
    }
}

/// The script as the loop calls it; tells the test what the loop tells it.
pub(crate) struct Scripted {
    script: Script,
    origins: Sender<Origin>,
    opened: Sender<ConnectionId>,
    closed: Sender<Closed>,
    names: Sender<u64>,
    notices: Sender<String>,
    jobs: Receiver<Job>,
}

impl Handler for Scripted {
    type Session = Session;

    fn session(&mut self, origin: &Origin) -> Option<Session> {
        let session = (self.script.session)(origin)?;
        let _ = self.origins.send(origin.clone());
        Some(session)
    }

    fn opened(&mut self, cx: &mut impl Context<Self::Session>, _: &mut Session) -> Action {
        let _ = self.opened.send(cx.id());
        (self.script.opened)(cx)
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        _: &mut Session,
        input: &mut Input<'_>,
    ) -> Action {
        (self.script.data)(cx, input)
    }

    fn end(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        _: &mut Session,
        input: &mut Input<'_>,
    ) -> Action {
        (self.script.end)(cx, input)
    }

    fn drained(&mut self, cx: &mut impl Context<Self::Session>, _: &mut Session) -> Action {
        (self.script.drained)(cx)
    }

    fn writable(&mut self, cx: &mut impl Context<Self::Session>, _: &mut Session) -> Action {
        (self.script.writable)(cx)
    }

    fn timer(&mut self, cx: &mut impl Context<Self::Session>, _: &mut Session, key: u32) -> Action {
        (self.script.timer)(cx, key)
    }

    fn closed(&mut self, cx: &mut impl Context<Self::Session>, session: Session, closed: &Closed) {
        let _ = self.names.send(session.name);
        let _ = self.closed.send(closed.clone());
        (self.script.closed)(cx, closed);
        drop(session);
    }

    fn notified(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        while let Ok(job) = self.jobs.try_recv() {
            job(cx);
        }
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        (self.script.wake_up)(cx);
    }

    fn datagram(&mut self, cx: &mut impl LoopContext<Session>, datagram: &Datagram<'_>) {
        (self.script.datagram)(cx, datagram);
    }

    fn notice(&mut self, notice: &Notice) {
        let _ = self.notices.send(notice.to_string());
        (self.script.notice)(notice);
    }
}

/// A loop that runs, and what it has told. It is stopped when this is dropped.
pub(crate) struct Running {
    listening: Option<SocketAddr>,
    asker: Asker,
    origins: Receiver<Origin>,
    opened: Receiver<ConnectionId>,
    closed: Receiver<Closed>,
    names: Receiver<u64>,
    notices: Receiver<String>,
    thread: Option<JoinHandle<Result<Metrics, Error>>>,
}

impl Running {
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        self.listening.expect("a loop that listens")
    }

    pub(crate) fn handle(&self) -> Handle {
        self.asker.handle.clone()
    }

    pub(crate) fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// A new peer, and the loop's name for its connection.
    #[track_caller]
    pub(crate) fn connect(&self) -> (Peer, ConnectionId) {
        let peer = Peer::connect(self.address());
        (peer, self.opened())
    }

    /// The same with small buffers, so that what it does not read is soon queued.
    #[track_caller]
    pub(crate) fn connect_narrow(&self) -> (Peer, ConnectionId) {
        let peer = Peer::narrow(self.address());
        (peer, self.opened())
    }

    /// The next session that was made, of a connection that was accepted.
    #[track_caller]
    pub(crate) fn origin(&self) -> Origin {
        next(&self.origins, "a session")
    }

    /// The next connection that was opened.
    #[track_caller]
    pub(crate) fn opened(&self) -> ConnectionId {
        next(&self.opened, "an opened connection")
    }

    /// The next connection that was closed.
    #[track_caller]
    pub(crate) fn closed(&self) -> Closed {
        next(&self.closed, "a closed connection")
    }

    /// The name of the session of the next connection that was closed.
    #[track_caller]
    pub(crate) fn closed_name(&self) -> u64 {
        next(&self.names, "a closed session")
    }

    /// The next notice that holds `words`.
    #[track_caller]
    pub(crate) fn notice(&self, words: &str) -> String {
        loop {
            let notice = next(&self.notices, words);
            if notice.contains(words) {
                return notice;
            }
        }
    }

    /// Has the loop do something in a turn of its own, and returns what came of it.
    #[track_caller]
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn LoopContext<Session>) -> T + Send + 'static,
    ) -> T {
        self.asker.ask(job)
    }

    /// Returns when everything that peers did before has been served: the first turn after this
    /// call finds its event, the second comes after the ready list of the first.
    #[track_caller]
    pub(crate) fn settle(&self) {
        for _ in 0..3 {
            self.ask(|_| ());
        }
    }

    /// Whether the handler could still send on a connection.
    #[track_caller]
    pub(crate) fn is_open(&self, id: ConnectionId) -> bool {
        self.ask(move |cx| cx.send_to(id, b"")) != Sent::Gone
    }

    /// Stops the loop and answers what it has counted, and all ends that were not asked for yet.
    #[track_caller]
    pub(crate) fn stop(self, stop: Stop) -> (Metrics, Vec<Closed>) {
        self.asker.handle.stop(stop);
        self.join()
    }

    /// Waits until the loop has ended by itself.
    #[track_caller]
    pub(crate) fn join(mut self) -> (Metrics, Vec<Closed>) {
        let thread = self.thread.take().expect("a thread");
        testkit::eventually("the loop has ended", || thread.is_finished());
        let metrics = thread.join().expect("no panic on the loop's thread").expect("a clean run");
        (metrics, self.closed.try_iter().collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.asker.handle.stop(Stop::Now);
    }
}

/// Asks the loop from any thread.
#[derive(Clone)]
pub(crate) struct Asker {
    handle: Handle,
    jobs: Sender<Job>,
}

impl Asker {
    #[track_caller]
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn LoopContext<Session>) -> T + Send + 'static,
    ) -> T {
        let (answer, answers) = mpsc::channel();
        self.leave(move |cx| {
            let _ = answer.send(job(cx));
        });
        self.handle.notify();
        next(&answers, "an answer of the loop")
    }

    /// Leaves something to be done when the loop is told next.
    #[track_caller]
    pub(crate) fn leave(&self, job: impl FnOnce(&mut dyn LoopContext<Session>) + Send + 'static) {
        assert!(self.jobs.send(Box::new(job)).is_ok(), "the loop has ended");
    }
}

/// The next of what a handler reports.
#[track_caller]
pub(crate) fn next<T>(reports: &Receiver<T>, what: &str) -> T {
    reports.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no {what}: {error}"))
}

/// Nothing more was reported.
#[track_caller]
pub(crate) fn expect_none<T: std::fmt::Debug>(reports: &Receiver<T>) {
    if let Ok(report) = reports.try_recv() {
        panic!("expected no more, got {report:?}");
    }
}

/// Keeps the panics that tests want of handlers out of their output.
pub(crate) fn hush_panics_on_purpose() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or_default();
            if thread::current().name() != Some("loop") || !text.contains(ON_PURPOSE) {
                usual(info);
            }
        }));
    });
}
