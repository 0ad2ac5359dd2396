//! What a message costs in instructions of user space: a count that noise can't touch, of the
//! release build. `cargo test --release --test instructions` runs it.
#![cfg(all(not(debug_assertions), target_arch = "x86_64"))]

mod serve;

use std::time::Duration;

use serve::server;
use testkit::{Peer, VALGRIND, eventually, say, skip_unless};

const MESSAGE: [u8; 64] = [b'm'; 64];
const ENDED: Duration = Duration::from_secs(20);

/// What a server with its defaults executes in a life with so many peers, each of which sends so
/// many messages, one by one. The messages of several peers come at once.
#[track_caller]
fn instructions(peers: usize, messages: u64) -> u64 {
    let mut server = server(&[]).counted().start();
    // Else the end of the log's thread may fall into the longer life alone.
    eventually("the log has nothing to do", || server.process().threads().len() == 1);
    let crowd: Vec<Peer> = (0..peers).map(|_| Peer::connect(server.address())).collect();
    crowd.iter().for_each(|peer| peer.expect_echo(&MESSAGE));
    for _ in 0..messages {
        let send = || crowd.iter().for_each(|peer| peer.send(&MESSAGE));
        if peers == 1 {
            send();
        } else {
            server.stopped(send);
        }
        crowd.iter().for_each(|peer| peer.expect(&MESSAGE));
    }
    crowd.into_iter().for_each(Peer::close);
    server.instructions_at_end(ENDED)
}

/// Instructions a message: the difference of two lives of different length.
#[track_caller]
fn expect_at_most(bound: u64, peers: usize, short: u64, long: u64) {
    let difference = instructions(peers, long) - instructions(peers, short);
    let each = difference.div_ceil((long - short) * peers as u64);
    say(&format!("{each} instructions a message with {peers} connections, of {bound} allowed"));
    assert!(each <= bound, "{each} instructions a message, not {bound}");
}

#[test]
fn a_message_on_one_connection_takes_at_most_150_instructions() {
    if skip_unless("a_message_on_one_connection_takes_at_most_150_instructions", VALGRIND) {
        return;
    }
    expect_at_most(150, 1, 500, 5_500);
}

#[test]
fn a_message_on_fifty_connections_takes_at_most_110_instructions() {
    if skip_unless("a_message_on_fifty_connections_takes_at_most_110_instructions", VALGRIND) {
        return;
    }
    expect_at_most(110, 50, 20, 220);
}
