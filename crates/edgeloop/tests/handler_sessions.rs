//! What a handler keeps for a connection may be of any size.

use std::sync::mpsc;
use std::thread;

use edgeloop::{Action, Closed, Context, EventLoop, Handler, Input, Origin, Stop};
use testkit::Peer;

/// Echoes, and keeps so many bytes for each connection.
#[derive(Default)]
struct Echo<const SIZE: usize> {
    made: u8,
    /// Whose sessions have come back, in any order: clients that close at once do.
    ended: Vec<u8>,
}

impl<const SIZE: usize> Handler for Echo<SIZE> {
    type Session = [u8; SIZE];

    fn session(&mut self, _: &Origin) -> Option<Self::Session> {
        self.made += 1;
        Some([self.made; SIZE])
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut Self::Session,
        input: &mut Input<'_>,
    ) -> Action {
        let own = session.last().copied().unwrap_or(0);
        cx.send(&[&[own], input.take_all()].concat()).or_reset()
    }

    fn closed(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: Self::Session,
        closed: &Closed,
    ) {
        let own = session.first().copied().unwrap_or(0);
        let is_new = SIZE == 0 || !self.ended.contains(&own);
        // First, so that a test that fails has an end.
        self.ended.push(own);
        if self.ended.len() == usize::from(CLIENTS) {
            cx.stop(Stop::Now);
        }
        assert!(session == [own; SIZE] && is_new, "the sessions are mixed up: {own}");
        assert!(closed.is_clean(), "{closed}");
    }
}

const CLIENTS: u8 = 3;
const KIB: usize = 1024;

/// Serves a few clients with sessions of this size, on a thread whose stack has little more room
/// than for the few times that a session is moved. Returns how much memory the first of them took.
#[track_caller]
fn serves_with<const SIZE: usize>() -> usize {
    let (listening, address) = mpsc::channel();
    let serve = move || {
        let mut server = EventLoop::new(Echo::<SIZE>::default()).expect("a loop");
        listening.send(server.listen("127.0.0.1:0").expect("loopback")).expect("a test");
        server.run().expect("it runs").panics
    };
    let thread = thread::Builder::new().stack_size(128 * KIB + 4 * SIZE);
    let server = thread.spawn(serve).expect("a thread");
    let address = address.recv().expect("an address");
    let before = memory();
    let mut taken = 0;
    let clients: Vec<Peer> = (1..=CLIENTS)
        .map(|own| {
            let client = Peer::connect(&address);
            client.send(b"hello");
            client.expect(&[&[if SIZE == 0 { 0 } else { own }][..], b"hello"].concat());
            if own == 1 {
                taken = memory().saturating_sub(before);
            }
            client
        })
        .collect();
    clients.into_iter().for_each(Peer::close);
    testkit::eventually("the server has ended", || server.is_finished());
    assert_eq!(server.join().expect("the stack suffices"), 0, "panics");
    taken
}

/// The memory that this process may write to, resident or not.
#[track_caller]
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc(5)");
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).expect("VmData");
    kib.parse::<usize>().expect("a number") * KIB
}

#[test]
fn c12_a_session_may_be_of_any_size_and_takes_no_more_than_itself() {
    serves_with::<0>();
    serves_with::<1>();
    serves_with::<63>();
    serves_with::<64>();
    serves_with::<{ 2 * KIB }>();
    serves_with::<{ 16 * KIB }>();
    let taken = serves_with::<{ KIB * KIB }>();
    assert!(taken < 16 * KIB * KIB, "the first session of 1 MiB took {taken} bytes");
}
