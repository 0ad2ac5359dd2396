//! How the contract's tests start the server: the binary of this build, or the one that
//! `EDGELOOP_UNDER_TEST` names.

#![allow(dead_code, reason = "each test program uses some of these")]

use rustix::process::Signal;
use testkit::{Launch, PATIENCE, Peer, Server};

/// Everything that a trace needs to tell a turn from the next and one connection from another.
pub(crate) const SOCKETS_AND_EVENTS: &[&str] = &["-e", "trace=%network,%desc"];

/// The binary under test.
pub(crate) fn program() -> String {
    std::env::var("EDGELOOP_UNDER_TEST")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_edgeloop").to_owned())
}

/// The binary under test, with any arguments.
pub(crate) fn edgeloop(arguments: &[&str]) -> Launch {
    Launch::new(&program()).args(arguments)
}

/// An echo server on a free port of loopback, about to be started.
pub(crate) fn server(options: &[&str]) -> Launch {
    edgeloop(&["serve", "127.0.0.1:0"]).args(options)
}

/// An echo server on a free port of loopback, that logs each connection.
#[track_caller]
pub(crate) fn serve(options: &[&str]) -> Server {
    server(&["-v"]).args(options).start()
}

/// An echo server on a free port of every address, so that a crowd finds enough ports.
pub(crate) fn wide_server(options: &[&str]) -> Launch {
    edgeloop(&["serve", "0.0.0.0:0"]).args(options)
}

/// Expects that the clients who have connected before SIGTERM are served, and that the server ends
/// after the last of them.
#[track_caller]
pub(crate) fn expect_backlog_served(server: &mut Server, connect: impl Fn() -> Peer) {
    let peers: Vec<Peer> = server.stopped(|| {
        let peers = (0..300_u32).map(|number| {
            let peer = connect();
            peer.send(&number.to_be_bytes());
            peer
        });
        let peers = peers.collect();
        server.signal(Signal::TERM);
        peers
    });
    for (number, peer) in (0_u32..).zip(&peers) {
        peer.expect(&number.to_be_bytes());
        peer.half_close();
        peer.expect_eof();
    }
    assert_eq!(server.exit_code_within(PATIENCE), 0);
}
