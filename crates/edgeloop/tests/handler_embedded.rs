//! Loops that are turned by others: within another loop, or several on one thread.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::ON_PURPOSE;
use edgeloop::epoll::{Epoll, Events, Interest, Mode, Token};
use edgeloop::{
    Action, Address, Closed, Config, ConnectionId, Context, EventLoop, Handle, Handler, Input,
    Origin, Reason, Sender, Stop, Turn,
};
use testkit::{PATIENCE, Peer};

const NO_TIME: Option<Duration> = Some(Duration::ZERO);
const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Echoes, answers `?` some time later, says when it is poked, and panics at a `!`.
struct Talker {
    opened: mpsc::Sender<ConnectionId>,
    closed: Vec<Closed>,
}

impl Handler for Talker {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        let _ = self.opened.send(cx.id());
        Action::Continue
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        let bytes = input.take_all();
        assert!(bytes != b"!", "{ON_PURPOSE}");
        if bytes == b"?" {
            cx.set_timer(0, Some(Duration::from_millis(30)));
        }
        cx.send(bytes).or_reset()
    }

    fn timer(&mut self, cx: &mut impl Context, (): &mut (), _: u32) -> Action {
        cx.send(b"later").or_reset()
    }

    fn poked(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        cx.send(b"poked").or_reset()
    }

    fn closed(&mut self, _: &mut impl Context, (): (), closed: &Closed) {
        self.closed.push(closed.clone());
    }
}

/// A loop that listens.
fn talker(config: Config) -> (EventLoop<Talker>, Address, mpsc::Receiver<ConnectionId>) {
    let (opened_in, opened) = mpsc::channel();
    let handler = Talker { opened: opened_in, closed: Vec::new() };
    let mut event_loop = EventLoop::with_config(handler, config).expect("a loop");
    let address = event_loop.listen(ANY_PORT).expect("a free port");
    (event_loop, address, opened)
}

/// Another loop, in which these are embedded by their descriptors. It has nothing else to go by.
/// Returns how often it has waited.
fn run_embedded(loops: &mut [&mut EventLoop<Talker>]) -> usize {
    let epoll = Epoll::new().expect("a descriptor");
    for (token, one) in (0..).zip(loops.iter()) {
        epoll
            .add(&**one, Token(token), Interest::READABLE, Mode::Level)
            .expect("it can be watched");
    }
    let (mut events, mut waits) = (Events::with_capacity(8), 0);
    let mut turns = vec![Turn::Again; loops.len()];
    while turns.iter().any(|turn| *turn != Turn::Done) {
        let again = turns.contains(&Turn::Again);
        epoll.wait(&mut events, if again { NO_TIME } else { Some(PATIENCE) }).expect("it waits");
        assert!(again || !events.is_empty(), "nothing was told for long");
        waits += 1;
        for (token, (one, turn)) in (0..).zip(loops.iter_mut().zip(&mut turns)) {
            let is_told = events.iter().any(|event| event.token() == Token(token));
            if *turn == Turn::Again || (is_told && *turn == Turn::Wait) {
                *turn = one.run_once(NO_TIME).expect("it runs");
            }
        }
    }
    waits
}

/// What a client sees of a loop, whoever turns it.
fn visit(address: Address, opened: &mpsc::Receiver<ConnectionId>, handle: &Handle) {
    let peer = Peer::connect(address);
    peer.expect_echo(b"hello");
    let id = opened.recv_timeout(PATIENCE).expect("it is open");
    let asked = Instant::now();
    peer.expect_echo(b"?");
    peer.expect(b"later");
    assert!(asked.elapsed() >= Duration::from_millis(30));
    handle.poke(id).expect("there is room");
    peer.expect(b"poked");
    handle.stop(Stop::Drain(Some(Duration::from_millis(20))));
    // It says nothing more, and does not leave.
    peer.expect_reset();
}

#[test]
fn a_loop_within_another_serves_by_its_descriptor_alone() {
    let config = Config::new()
        .drain_quiet(Duration::from_secs(60))
        .drain_linger_timeout(Duration::from_secs(1));
    let (mut event_loop, address, opened) = talker(config);
    let handle = event_loop.handle();
    let client = thread::spawn(move || visit(address, &opened, &handle));
    let waits = run_embedded(&mut [&mut event_loop]);
    client.join().expect("it has seen all");
    // Once for each thing that happens, and sometimes for what turns out to be none.
    assert!(waits < 100, "{waits} waits");
    let closed = event_loop.into_handler().closed;
    assert_eq!(closed.iter().map(|it| it.reason).collect::<Vec<_>>(), [Reason::CutOff]);
}

#[test]
fn two_loops_take_turns_on_one_thread() {
    let config = Config::new()
        .drain_quiet(Duration::from_secs(60))
        .drain_linger_timeout(Duration::from_secs(1));
    let (mut one, first, opened) = talker(config.clone());
    let (mut other, second, opened_there) = talker(config);
    let handles = [one.handle(), other.handle()];
    let clients = thread::spawn(move || {
        visit(first, &opened, &handles[0]);
        visit(second, &opened_there, &handles[1]);
    });
    run_embedded(&mut [&mut one, &mut other]);
    clients.join().expect("they have seen all");
}

#[test]
fn a_turn_waits_as_long_as_asked() {
    let (mut event_loop, address, _opened) = talker(Config::new());
    assert_eq!(event_loop.run_once(NO_TIME).expect("it runs"), Turn::Wait);
    for timeout in [Duration::from_micros(1500), Duration::from_millis(20)] {
        let began = Instant::now();
        assert_eq!(event_loop.run_once(Some(timeout)).expect("it runs"), Turn::Wait);
        assert!(began.elapsed() >= timeout);
    }
    let turns = event_loop.metrics().turns;
    let peer = thread::spawn(move || Peer::connect(address));
    assert_eq!(event_loop.run_once(None).expect("it runs"), Turn::Wait);
    assert_eq!(event_loop.metrics().turns, turns + 1);
    assert_eq!(event_loop.metrics().accepted, 1);
    drop(peer.join());
}

#[test]
fn what_a_budget_leaves_over_asks_for_another_turn() {
    let (mut event_loop, address, _opened) =
        talker(Config::new().turn_bytes(1000).turn_accepts(8).turn_jobs(8));
    let peer = Peer::connect(address);
    peer.send(&[b'x'; 5000]);
    let mut again = 0;
    while event_loop.metrics().bytes_in < 5000 {
        again += usize::from(event_loop.run_once(None).expect("it runs") == Turn::Again);
    }
    assert!(again >= 3, "{again} turns left work over");
    while event_loop.run_once(NO_TIME).expect("it runs") == Turn::Again {}
    peer.expect(&[b'x'; 5000]);
}

#[test]
fn c32_a_panic_within_a_turn_costs_one_connection_and_the_turn_goes_on() {
    let (mut event_loop, address, _opened) = talker(Config::new());
    let peers = [(); 3].map(|()| Peer::connect(&address));
    while event_loop.metrics().accepted < 3 {
        let _ = event_loop.run_once(None).expect("it runs");
    }
    while event_loop.run_once(NO_TIME).expect("it runs") != Turn::Wait {}
    // Nobody turns it meanwhile, so that one wait brings all three.
    for (peer, says) in peers.iter().zip([b"a", b"!", b"b"]) {
        peer.send(says);
    }
    while event_loop.metrics().bytes_in < 3 {
        let _ = event_loop.run_once(None).expect("it runs");
    }
    peers[0].expect(b"a");
    peers[2].expect(b"b");
    while event_loop.metrics().closed == 0 {
        let _ = event_loop.run_once(NO_TIME).expect("it runs");
    }
    peers[1].expect_reset();
    assert_eq!(event_loop.metrics().panics, 1);
    assert_eq!(event_loop.handler().closed[0].reason, Reason::Panicked);
}

#[test]
fn what_is_done_between_two_turns_comes_in_the_next() {
    let (mut event_loop, address, opened) = talker(Config::new());
    let listener = std::net::TcpListener::bind(ANY_PORT).expect("a free port");
    assert_eq!(event_loop.run_once(NO_TIME).expect("it runs"), Turn::Wait);
    let to = listener.local_addr().expect("it is bound");
    let id = event_loop.connect(to, ()).expect("it is begun");
    let (stream, _) = listener.accept().expect("it comes");
    let far = Peer::over(stream).expect("its options");
    while opened.try_recv() != Ok(id) {
        let _ = event_loop.run_once(Some(PATIENCE)).expect("it runs");
    }
    let near = Peer::connect(to);
    let adopted = event_loop.adopt(listener.accept().expect("it comes").0, ()).expect("a stream");
    near.send(b"hello");
    while event_loop.metrics().bytes_in < 5 {
        let _ = event_loop.run_once(Some(PATIENCE)).expect("it runs");
    }
    assert_eq!(opened.try_recv(), Ok(adopted));
    near.expect(b"hello");
    // A loop ends when nothing is left, and says so however often it is asked.
    assert!(event_loop.unlisten(&address));
    far.close();
    near.close();
    while event_loop.run_once(Some(PATIENCE)).expect("it runs") != Turn::Done {}
    assert_eq!(event_loop.run_once(None).expect("it runs"), Turn::Done);
}

#[test]
fn a_loop_and_all_that_reaches_it_go_to_any_thread() {
    fn moves<T: Send>() {}
    fn is_shared<T: Send + Sync + Clone>() {}
    moves::<EventLoop<Talker>>();
    moves::<Events>();
    is_shared::<Handle>();
    is_shared::<Sender<String>>();
    // Turned here and there.
    let (mut event_loop, address, _opened) = talker(Config::new());
    let peer = Peer::connect(address);
    assert!(event_loop.as_fd().try_clone_to_owned().is_ok());
    while event_loop.metrics().accepted == 0 {
        let _ = event_loop.run_once(None).expect("it runs");
    }
    peer.send(b"x");
    let elsewhere = thread::spawn(move || {
        while event_loop.metrics().bytes_in == 0 {
            let _ = event_loop.run_once(None).expect("it runs");
        }
        event_loop
    });
    peer.expect(b"x");
    drop(elsewhere.join().expect("it has run"));
}

#[test]
fn the_example_serves_clients_and_the_keyboard() {
    let mut program = Command::new(testkit::example("embedded"))
        .arg("127.0.0.1:0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let says = program.stderr.take().expect("a pipe");
    BufReader::new(says).read_line(&mut line).expect("it says where it listens");
    let address = line.trim().strip_prefix("listening on ").expect("an address");
    let peer = Peer::connect(address);
    peer.send(b"hello\n");
    let mut shown = BufReader::new(program.stdout.take().expect("a pipe"));
    line.clear();
    shown.read_line(&mut line).expect("it shows what clients say");
    assert!(line.ends_with(": hello\n"), "{line}");
    let mut typed = program.stdin.take().expect("a pipe");
    typed.write_all(b"one\ntwo\n").expect("it reads");
    peer.expect(b"one\ntwo\n");
    drop(typed);
    peer.expect_eof();
    peer.close();
    assert!(program.wait().expect("it ends").success());
}
