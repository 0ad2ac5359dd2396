//! Many connections at once, and peers that write and do not read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::bytes::{Stream, assert_same_bytes};
use crate::peer::Peer;
use crate::process::Process;
use crate::server::Server;
use crate::wait::{PATIENCE, eventually};

/// So many connections share one address of the server's: well below the ephemeral ports that one
/// pair of addresses has.
const PER_ADDRESS: usize = 1000;

/// Connections are made in steps, so that the backlog never overflows.
const STEP: usize = 500;

/// What is made of a stream at a time: little, since most of the time none of it is taken.
const PIECE: usize = 4096;

/// What is read at a time of what comes back.
const READ: usize = 64 * 1024;

/// When nobody has taken a byte for so long, though the server was free to read, nobody will, but
/// for the few that each probe of a closed window brings. Only how much is poured depends on it.
const SATISFIED: Duration = Duration::from_millis(200);

/// Those probes can go on and on; by then, all that has room is full if the server sleeps.
const POURED: Duration = Duration::from_secs(10);

/// Connections that a server has accepted and that stay open until this is dropped.
#[derive(Debug)]
pub struct Crowd {
    peers: Vec<Peer>,
}

impl Crowd {
    /// Connects so many peers and waits until the server has accepted them all. A server that
    /// listens on 0.0.0.0 is reached through several addresses of loopback.
    #[must_use]
    #[track_caller]
    pub fn connect(server: &Server, size: usize) -> Self {
        let mut crowd = Self { peers: Vec::with_capacity(size) };
        crowd.grow_to(server, size);
        crowd
    }

    /// Connects more peers, until there are `size`.
    #[track_caller]
    pub fn grow_to(&mut self, server: &Server, size: usize) {
        let others = server.process().descriptor_count() - self.peers.len();
        while self.peers.len() < size {
            let next = size.min(self.peers.len() + STEP);
            for index in self.peers.len()..next {
                self.peers.push(Peer::connect(reachable(server, index / PER_ADDRESS)));
            }
            eventually("the server has accepted the crowd", || {
                server.process().descriptor_count() >= others + next
            });
        }
    }

    /// Each of them sends a message and receives it again.
    #[track_caller]
    pub fn expect_echoes(&self, message: &[u8]) {
        for peer in &self.peers {
            peer.expect_echo(message);
        }
    }

    /// Its members.
    #[must_use]
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }
}

fn reachable(server: &Server, number: usize) -> SocketAddr {
    let address = server.addresses()[0];
    if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        let host = u8::try_from(number % 250 + 1).expect("at most 250");
        return SocketAddr::new(Ipv4Addr::new(127, 0, 0, host).into(), address.port());
    }
    server.address()
}

/// Has each peer write its stream, and read nothing, until no more is taken from anyone. The
/// streams then stand where the peers' output ends.
#[track_caller]
pub fn pour(peers: &[Peer], streams: &mut [Stream]) {
    let server = peers.first().and_then(|peer| Server::at_port(peer.server().port()));
    let start = Instant::now();
    let mut last = start;
    loop {
        let poured = pour_once(peers, streams) > 0;
        // One that is to read, and gets no processor, would have room for more.
        let sleeps = server.is_none_or(Process::sleeps);
        if poured || !sleeps {
            last = Instant::now();
        }
        let full = last.elapsed() >= SATISFIED || (sleeps && start.elapsed() >= POURED);
        if full || start.elapsed() >= PATIENCE {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All that was poured comes back to everyone at the same time, to the byte, and then the end. The
/// stream of each peer began with its index as the seed. No thread is needed, of which there may be
/// few.
///
/// # Panics
///
/// When anything else comes, or nothing for [`PATIENCE`].
#[track_caller]
pub fn expect_poured(peers: &[Peer], streams: &[Stream]) {
    let mut expected: Vec<Stream> = (0..).map(Stream::new).take(peers.len()).collect();
    expect_rest(peers, streams, &mut expected);
}

/// The same for peers of which each has received some, and expects this next.
///
/// # Panics
///
/// When anything else comes, or nothing for [`PATIENCE`].
#[track_caller]
pub fn expect_rest(peers: &[Peer], streams: &[Stream], expected: &mut [Stream]) {
    let mut last = Instant::now();
    let mut owing: Vec<usize> = (0..peers.len()).collect();
    while !owing.is_empty() {
        let before = owing.len();
        owing.retain(|&index| {
            let (peer, expected) = (&peers[index], &mut expected[index]);
            match receive_once(peer, &streams[index], expected) {
                Ok(0) => {}
                Ok(_) => last = Instant::now(),
                Err(error) => panic!("peer {index} cannot receive: {error}"),
            }
            expected.position() != streams[index].position()
        });
        assert!(last.elapsed() < PATIENCE, "peers {owing:?} get nothing for {PATIENCE:?}");
        if owing.len() == before && last.elapsed() > Duration::from_millis(1) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    for peer in peers {
        peer.half_close();
    }
    peers.iter().for_each(Peer::expect_eof);
}

/// Receives what is there of what a peer has poured, without waiting. Returns how many bytes that
/// was.
///
/// # Errors
///
/// Those of recv(2).
///
/// # Panics
///
/// When it is anything else than what is expected next.
#[track_caller]
pub fn receive_once(peer: &Peer, poured: &Stream, expected: &mut Stream) -> io::Result<usize> {
    let left = poured.position() - expected.position();
    let most = usize::try_from(left).map_or(READ, |left| left.min(READ));
    let got = peer.try_receive_what_is_there(most)?;
    assert_same_bytes(&got, &expected.take(got.len()));
    Ok(got.len())
}

/// Has each peer write of its stream what is taken at once, and says how much that was.
///
/// # Panics
///
/// When there are not as many streams as peers.
#[track_caller]
pub fn pour_once(peers: &[Peer], streams: &mut [Stream]) -> usize {
    assert_eq!(peers.len(), streams.len(), "one stream for each peer");
    let mut poured = 0;
    for (peer, stream) in peers.iter().zip(streams.iter_mut()) {
        loop {
            let mut after = stream.clone();
            let piece = after.take(PIECE);
            let taken = peer.send_what_fits(&piece);
            poured += taken;
            if taken < PIECE {
                let _ = stream.take(taken);
                break;
            }
            *stream = after;
        }
    }
    poured
}
