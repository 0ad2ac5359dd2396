//! Typed messages from other threads: to the loop, and to the sessions of its connections (C47).

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use edgeloop::{
    Action, Config, ConnectionId, Context, EventLoop, Handle, Handler, Input, LoopContext, Origin,
    Receive, SendErrorKind, Sender, Stop, Trace,
};
use testkit::{PATIENCE, Peer};

/// A number, and a word.
struct Number(u32);
struct Word(&'static str);

/// Writes down what it is told, and sends its peers the numbers that they are sent.
struct Told {
    opened: mpsc::Sender<ConnectionId>,
    notes: mpsc::Sender<String>,
    /// Holds the loop up for as long as the other end lives.
    held: Option<mpsc::Receiver<()>>,
}

impl Handler for Told {
    /// How many messages it has got.
    type Session = u32;

    fn session(&mut self, _: &Origin) -> Option<u32> {
        Some(0)
    }

    fn opened(&mut self, cx: &mut impl Context<u32>, _: &mut u32) -> Action {
        let _ = self.opened.send(cx.id());
        Action::Continue
    }

    fn data(&mut self, cx: &mut impl Context<u32>, _: &mut u32, input: &mut Input<'_>) -> Action {
        cx.send(input.take_all()).or_reset()
    }

    fn poked(&mut self, cx: &mut impl Context<u32>, count: &mut u32) -> Action {
        let note = format!("poked behind {count}");
        let _ = (cx.id(), self.notes.send(note));
        Action::Continue
    }

    fn notified(&mut self, _: &mut impl LoopContext<u32>) {
        if let Some(held) = self.held.take() {
            let _ = self.notes.send("held".to_owned());
            let _ = held.recv();
        }
    }
}

impl Receive<Number> for Told {
    fn message(&mut self, cx: &mut impl Context<u32>, count: &mut u32, number: Number) -> Action {
        *count += 1;
        cx.send(&number.0.to_be_bytes()).or_reset()
    }

    fn undelivered(&mut self, cx: &mut impl LoopContext<u32>, id: ConnectionId, number: Number) {
        let is_gone = !cx.connections().contains(&id);
        let _ = self.notes.send(format!("undelivered {}, gone: {is_gone}", number.0));
    }

    fn posted(&mut self, _: &mut impl LoopContext<u32>, number: Number) {
        let _ = self.notes.send(format!("number {}", number.0));
    }
}

impl Receive<Word> for Told {
    fn posted(&mut self, _: &mut impl LoopContext<u32>, word: Word) {
        let _ = self.notes.send(format!("word {}", word.0));
    }
}

/// The loop on a thread of its own. It is stopped when this is dropped.
struct Running {
    address: edgeloop::Address,
    numbers: Sender<Number>,
    words: Sender<Word>,
    opened: mpsc::Receiver<ConnectionId>,
    notes: mpsc::Receiver<String>,
    release: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn start(config: Config) -> Self {
        let (opened_in, opened) = mpsc::channel();
        let (notes_in, notes) = mpsc::channel();
        let (release, held) = mpsc::channel();
        let told = Told { opened: opened_in, notes: notes_in, held: Some(held) };
        let mut server = EventLoop::with_config(told, config).expect("a loop");
        let address = server.listen("127.0.0.1:0").expect("a port");
        let (numbers, words) = (server.sender(), server.sender());
        let thread = Some(thread::spawn(move || assert!(server.run().is_ok())));
        Self { address, numbers, words, opened, notes, release: Some(release), thread }
    }

    fn handle(&self) -> &Handle {
        self.numbers.handle()
    }

    fn connect(&self) -> (Peer, ConnectionId) {
        let peer = Peer::connect(&self.address);
        (peer, self.opened.recv_timeout(PATIENCE).expect("it is opened"))
    }

    #[track_caller]
    fn note(&self) -> String {
        self.notes.recv_timeout(PATIENCE).expect("a note")
    }

    fn stop(&mut self) {
        self.release = None;
        self.handle().stop(Stop::Now);
        if let Some(thread) = self.thread.take() {
            testkit::eventually("the loop has ended", || thread.is_finished());
            thread.join().expect("no panic");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.release = None;
        self.handle().stop(Stop::Now);
    }
}

#[test]
fn c47_messages_of_many_threads_reach_the_sessions_each_threads_in_order() {
    const THREADS: u32 = 4;
    const MESSAGES: u32 = 5_000;
    let server = Running::start(Config::new().mailbox_limit(64 * 1024));
    let peers: Vec<_> = (0..THREADS).map(|_| server.connect()).collect();
    thread::scope(|scope| {
        for (peer, id) in &peers {
            let (sender, id) = (server.numbers.clone(), *id);
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    let mut message = Number(number);
                    // The mailbox may be full for a moment; the message comes back.
                    while let Err(error) = sender.send_to(id, message) {
                        assert_eq!(error.kind, SendErrorKind::Full);
                        message = error.value;
                        thread::yield_now();
                    }
                }
            });
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    assert_eq!(peer.receive(4), number.to_be_bytes(), "message {number}");
                }
            });
        }
    });
}

#[test]
fn c47_messages_of_two_types_letters_and_calls_of_one_thread_come_in_their_order() {
    let server = Running::start(Config::new());
    let (peer, id) = server.connect();
    for round in 0..100_u32 {
        server.numbers.send_to(id, Number(round)).expect("room");
        server.handle().send(id, *b"letter").expect("room");
        server.handle().poke(id).expect("room");
        server.words.post(Word("between")).expect("room");
        server.numbers.post(Number(round)).expect("room");
        server.numbers.send_to(id, Number(u32::MAX)).expect("room");
    }
    for round in 0..100_u32 {
        assert_eq!(peer.receive(4), round.to_be_bytes());
        assert_eq!(peer.receive(6), b"letter");
        assert_eq!(server.note(), format!("poked behind {}", 2 * round + 1));
        assert_eq!(server.note(), "word between");
        assert_eq!(server.note(), format!("number {round}"));
        assert_eq!(peer.receive(4), u32::MAX.to_be_bytes());
    }
}

#[test]
fn c47_a_message_behind_a_close_comes_back_to_the_handler() {
    let server = Running::start(Config::new());
    let (peer, id) = server.connect();
    server.numbers.send_to(id, Number(1)).expect("room");
    server.handle().close(id).expect("room");
    server.numbers.send_to(id, Number(2)).expect("room");
    assert_eq!(server.note(), "undelivered 2, gone: false");
    assert_eq!(peer.receive(4), 1_u32.to_be_bytes());
    peer.expect_eof();
    drop(peer);
    testkit::eventually("it is closed", || {
        server.handle().metrics(PATIENCE).expect("it runs").connections == 0
    });
    server.numbers.send_to(id, Number(3)).expect("room");
    assert_eq!(server.note(), "undelivered 3, gone: true");
    assert_eq!(server.handle().metrics(PATIENCE).expect("it runs").stale, 1);
}

#[test]
fn c47_a_full_mailbox_and_a_loop_that_is_gone_give_the_message_back() {
    let mut server = Running::start(Config::new().mailbox_limit(1000));
    let (_peer, id) = server.connect();
    server.handle().notify();
    assert_eq!(server.note(), "held");
    let mut taken = 0;
    let error = loop {
        match server.numbers.send_to(id, Number(taken)) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind, error.value.0), (SendErrorKind::Full, taken));
    assert!((3..100).contains(&taken), "{taken} messages in a box of 1,000 bytes");
    assert!(server.handle().metrics(Duration::ZERO).is_none(), "nor is there room to ask");
    server.stop();
    let error = server.words.post(Word("late")).expect_err("nobody is there");
    assert_eq!((error.kind, error.value.0), (SendErrorKind::Stopped, "late"));
    assert_eq!(format!("{error}"), "not sent: the loop is gone");
    assert!(server.handle().metrics(PATIENCE).is_none());
}

/// Sends another message when it is dropped, as one might that counts what is lost.
struct Echoing(Option<Sender<Echoing>>);

impl Drop for Echoing {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let _ = sender.post(Self(None));
        }
    }
}

impl Receive<Echoing> for Told {}

#[test]
fn c47_a_message_that_sends_another_when_it_is_dropped_with_the_loop_holds_nobody_up() {
    let (opened, notes) = (mpsc::channel().0, mpsc::channel().0);
    let mut server = EventLoop::new(Told { opened, notes, held: None }).expect("a loop");
    let sender = server.sender::<Echoing>();
    sender.post(Echoing(Some(sender.clone()))).expect("room");
    let done = thread::spawn(move || drop(server));
    testkit::eventually("the loop is dropped", || done.is_finished());
    assert!(sender.post(Echoing(None)).is_err());
}

#[test]
fn metrics_are_seen_from_another_thread_while_the_loop_runs() {
    let server = Running::start(Config::new());
    let (peer, _) = server.connect();
    peer.expect_echo(b"hello");
    let metrics = server.handle().metrics(PATIENCE).expect("it runs");
    assert_eq!((metrics.connections, metrics.bytes_in, metrics.bytes_out), (1, 5, 5));
}

/// Connects when it is told to, and panics when it is shown the socket for that.
struct Panics {
    clients: mpsc::Sender<ConnectionId>,
    client: Option<ConnectionId>,
    notes: mpsc::Sender<u32>,
    held: mpsc::Receiver<()>,
}

impl Handler for Panics {
    type Session = ();

    const TRACE: bool = true;

    fn session(&mut self, origin: &Origin) -> Option<()> {
        self.client = Some(origin.id);
        let _ = self.clients.send(origin.id);
        Some(())
    }

    fn data(&mut self, _: &mut impl Context, (): &mut (), _: &mut Input<'_>) -> Action {
        Action::Continue
    }

    fn notified(&mut self, _: &mut impl LoopContext) {
        let _ = self.notes.send(0);
        let _ = self.held.recv();
    }

    fn trace(&mut self, trace: &Trace<'_>) {
        if let Trace::Registered { id, .. } = trace
            && self.client.is_some_and(|client| client != *id)
        {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }
}

impl Receive<u32> for Panics {
    fn posted(&mut self, cx: &mut impl LoopContext, _: u32) {
        let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        assert!(cx.connect(nobody.into(), ()).is_ok());
    }

    fn message(&mut self, _: &mut impl Context, (): &mut (), number: u32) -> Action {
        let _ = self.notes.send(number);
        Action::Continue
    }
}

/// Found by a seed: the message that came next was lost with the panic.
#[test]
fn c40_a_panic_between_two_messages_costs_none_of_them() {
    let ((clients, opened), (notes, told)) = (mpsc::channel(), mpsc::channel());
    let (release, held) = mpsc::channel::<()>();
    let mut server = EventLoop::new(Panics { clients, client: None, notes, held }).expect("a loop");
    let address = server.listen("127.0.0.1:0").expect("a port");
    let sender = server.sender::<u32>();
    let thread = thread::spawn(move || server.run().expect("it runs"));
    let _peer = Peer::connect(address);
    let client = opened.recv_timeout(PATIENCE).expect("it is made");
    sender.handle().notify();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(0), "the loop is held up");
    sender.send_to(client, 1).expect("room");
    sender.post(2).expect("room");
    sender.send_to(client, 3).expect("room");
    sender.send_to(client, 4).expect("room");
    drop(release);
    for number in [1, 3, 4] {
        assert_eq!(told.recv_timeout(PATIENCE), Ok(number));
    }
    sender.handle().stop(Stop::Now);
    testkit::eventually("the loop has ended", || thread.is_finished());
    assert_eq!(thread.join().expect("no panic").panics, 1);
}
