//! What in a run is about datagrams: who sends them, on what network, and what became of them.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use edgeloop::sim::Packets;
use edgeloop::sim::internals::{Asker, Correspondent, Habit, Outage, START, World};
use edgeloop::{DatagramSocket, Error, Metrics};
use rustix::io::Errno;

/// The sockets that are bound, and where.
pub(crate) type Sockets = Rc<RefCell<Vec<(DatagramSocket, SocketAddr)>>>;

/// The port of the first socket, and how many there are at the most.
const FIRST: u16 = 4000;
pub(super) const MOST: u16 = 5;

/// How often it is tried to bind one.
const TRIES: usize = 20;

/// Where the socket with this number is bound: to one address, to all, or to all of both versions
/// of IP.
pub(crate) fn address(number: usize) -> SocketAddr {
    let ip: IpAddr = match number % 3 {
        0 => Ipv4Addr::LOCALHOST.into(),
        1 => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, FIRST + u16::try_from(number).unwrap_or(0) % MOST)
}

/// Whether somebody with this address is the loop itself.
pub(crate) fn is_own(address: SocketAddr) -> bool {
    (FIRST..FIRST + MOST).contains(&address.port())
}

/// Binds the socket with this number, if that can be done.
pub(crate) fn bind(
    number: usize,
    sockets: &Sockets,
    mut bind: impl FnMut(SocketAddr) -> Result<(DatagramSocket, SocketAddr), Error>,
) {
    for _ in 0..TRIES {
        if let Ok(bound) = bind(address(number)) {
            sockets.borrow_mut().push(bound);
            return;
        }
    }
}

/// Who sends datagrams, and what becomes of them on their way.
pub(super) fn furnish(world: &mut World) {
    if world.files.limit < usize::MAX {
        // Or none would be left for connections.
        world.files.limit += usize::from(MOST);
    }
    let random = &mut world.random;
    let mut often = || random.pick(&[0, 0, 20, 300]);
    let packets = Packets::orderly().lost(often()).repeated(often()).overtaken(often());
    let room = random.pick(&[(200_000, 200_000), (1, 20_000)]);
    let merges_edges = random.chance(500);
    let outage = random.chance(200).then(|| {
        let begins = START.after(Duration::from_nanos(random.size(0, 5_000_000) as u64));
        let length = Duration::from_micros(random.size(1, 1_000_000) as u64);
        let errors = [Errno::NOMEM, Errno::PERM, Errno::NETDOWN, Errno::CONNREFUSED];
        // One that is longer than any deadline, though not without an end: it is tried again for as
        // long as that takes.
        let long = !world.outlasts && random.chance(200);
        let ends = begins.after(if long { Duration::from_secs(100) } else { length });
        Outage { begins, ends, error: random.pick(&errors), sends: random.chance(300) }
    });
    for number in 0..random.size(1, 4) {
        let asker = asker(random);
        let ip: IpAddr = if number == 3 {
            Ipv6Addr::LOCALHOST.into()
        } else {
            Ipv4Addr::new(127, 0, 0, 9).into()
        };
        let port = 20_000 + u16::try_from(number).unwrap_or(0);
        let address = SocketAddr::new(ip, port);
        let habit = Habit::Asker(asker(ip));
        world.datagrams.peers.push(Correspondent { address, habit });
    }
    let datagrams = &mut world.datagrams;
    (datagrams.packets, datagrams.room) = (packets, room);
    (datagrams.merges_edges, datagrams.outage) = (merges_edges, outage);
}

/// Two who ask, on a network that loses nothing.
pub(super) fn furnish_plainly(world: &mut World) {
    let (begins, gap) = (START.after(Duration::from_micros(30)), Duration::from_micros(5));
    for port in [20_000, 20_001] {
        let to = (0..2).map(|number| SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + number)));
        let habit = Habit::Asker(Asker::new(to.collect(), 60, 200, begins, gap));
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 9), port));
        world.datagrams.peers.push(Correspondent { address, habit });
    }
}

/// Somebody who asks at all addresses, at any time or all at once.
fn asker(random: &mut edgeloop::sim::Random) -> impl FnOnce(IpAddr) -> Asker {
    let count = random.pick(&[1, 10, 40, 300]);
    let longest = random.pick(&[0, 3, 100, 1200, 65_507]);
    let longest = if count == 300 { longest.min(100) } else { longest };
    let gap = random.pick(&[Duration::ZERO, Duration::from_micros(20), Duration::from_millis(5)]);
    let begins = START.after(Duration::from_nanos(random.size(0, 300_000) as u64));
    move |ip| {
        let to = (0..MOST).map(|number| {
            let to = match (ip, number) {
                (IpAddr::V6(_), _) => ip,
                // The address of one that is bound to all is any.
                (_, 1 | 2 | 4) => Ipv4Addr::new(127, 0, 0, 5).into(),
                _ => Ipv4Addr::LOCALHOST.into(),
            };
            SocketAddr::new(to, FIRST + number)
        });
        Asker::new(to.collect(), count, longest, begins, gap)
    }
}

/// Each datagram was shown once, and what the loop has counted is what there was (C50).
pub(super) fn check_datagrams(
    world: &World,
    metrics: &Metrics,
    in_full: bool,
) -> Result<(), String> {
    let tally = world.datagrams.tally;
    let counts = [
        ("datagrams shown", metrics.datagrams_in, tally.shown),
        ("datagrams sent", metrics.datagrams_out, tally.sent),
        ("datagrams dropped", metrics.datagrams_dropped, tally.dropped),
        ("datagrams refused", metrics.datagrams_refused, tally.refused),
        ("errors of receiving", metrics.datagram_errors, tally.errors),
        ("datagrams unshown", 0, world.datagrams.unshown() as u64),
    ];
    for (what, counted, known) in counts {
        if counted != known {
            return Err(format!("it counted {counted} {what}, and there were {known}"));
        }
    }
    if in_full && tally.lost > 0 {
        return Err(format!("{} datagrams waited when it drained, and are lost", tally.lost));
    }
    Ok(())
}
