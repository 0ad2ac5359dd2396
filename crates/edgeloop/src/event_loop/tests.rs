//! What a loop remembers between its turns, taken one by one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::api::config::{Config, MAX_EVENT_BATCH};
use crate::api::handler::{Action, Context, Handler, Origin};
use crate::api::input::Input;
use crate::connection::flags::Flags;
use crate::epoll::Batch;
use crate::event_loop::EventLoop;
use crate::kernel::Splice as _;

struct Echo;

impl Handler for Echo {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        let streams = input.streams();
        let sent = cx.send(input.take_all());
        if streams {
            cx.relay(cx.id(), cx.id());
        }
        sent.or_reset()
    }
}

/// Turns until so much was received.
fn turn_until_received(event_loop: &mut EventLoop<Echo>, events: &mut Batch, bytes: u64) {
    while event_loop.metrics().bytes_in < bytes {
        event_loop.serve_events(events);
        event_loop.chores().expect("nothing fails");
        event_loop.ready_left = event_loop.core.ready.len();
        event_loop.wait(events, false).expect("nothing fails");
    }
}

#[test]
fn c42_whoever_has_streamed_goes_the_ordinary_way_with_small_messages() {
    for pipes in [0, 1] {
        let config = Config::new().read_buffer(1000).pipes(pipes);
        let mut event_loop = EventLoop::with_config(Echo, config).expect("a loop");
        let address = event_loop.listen("127.0.0.1:0").expect("a port");
        let mut events = Batch::new(8, MAX_EVENT_BATCH);
        let mut peer = TcpStream::connect(address).expect("it listens");
        event_loop.core.agenda.add(crate::core::Agenda::ACCEPT);
        peer.write_all(&[7; 2500]).expect("there is room");
        turn_until_received(&mut event_loop, &mut events, 2500);
        peer.read_exact(&mut [0; 2500]).expect("the echo");
        // The first may still find it streaming, but shows that it does not.
        for message in 1..=2 {
            peer.write_all(b"small").expect("there is room");
            turn_until_received(&mut event_loop, &mut events, 2500 + 5 * message);
            peer.read_exact(&mut [0; 5]).expect("the echo");
        }
        let id = event_loop.core.connections.at(0).expect("it is open");
        let connection = event_loop.core.connections.get(id).expect("it is open");
        assert!(!connection.has(Flags::STREAMS), "with {pipes} pipes");
        assert!(connection.is_plain_but(Flags::RELAYED), "with {pipes} pipes");
    }
}

/// Found by a seed: a listener that closes in the first turn, in which a new connection may have
/// been read and have a pipe, had the pool made anew.
#[test]
fn c24_a_listener_that_closes_leaves_the_pipes_to_those_who_have_them() {
    let mut event_loop = EventLoop::with_config(Echo, Config::new()).expect("a loop");
    event_loop.listen("127.0.0.1:0").expect("a port");
    let core = &mut event_loop.core;
    let pipe = core.pipes.lend(core.now, || core.kernel.pipe()).expect("a pipe").expect("room");
    let id = event_loop.core.listeners.last().expect("it listens");
    event_loop.core.close_listener(id);
    // Panics where it is not lent.
    let _ = event_loop.core.pipes.get(pipe);
}
