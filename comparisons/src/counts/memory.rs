//! What an idle connection occupies, in the server and in the kernel.

use std::fs;
use std::io;

use peers::{Service, Transport};

use super::Counted;
use crate::client::{self, Holder};
use crate::servers::Contestant;

/// So many connections are opened, send one message each, and are idle then.
pub(crate) const CONNECTIONS: usize = 10_000;

/// Bytes for each idle connection.
#[derive(Debug)]
pub(crate) struct Held {
    /// Anonymous memory of the server (`smaps_rollup`).
    pub(crate) user: f64,
    /// Slabs of the kernel. Both ends of a connection are on this machine, and in it.
    pub(crate) kernel: Counted,
}

/// The difference between a server with one connection and with ten thousand idle ones more.
pub(crate) fn of_idle(server: &Contestant, read_buffer: usize) -> io::Result<Held> {
    let server = server.start(Service::Echo, read_buffer)?;
    // The first connection pays for what all share.
    let mut first = client::crowd(Transport::Tcp, server.address(), 1)?;
    first.rounds(10)?;
    server.process().settle()?;
    let before = server.process().memory()?;
    let slabs_before = slabs();
    let idle = Holder::start(server.address(), CONNECTIONS)?;
    server.process().settle()?;
    let after = server.process().memory()?;
    let slabs_after = slabs();
    let each = |before: u64, after: u64| (after as f64 - before as f64) / CONNECTIONS as f64;
    let kernel = match (slabs_before, slabs_after) {
        (Ok(before), Ok(after)) => Counted::Value(each(before, after)),
        (Err(error), _) | (_, Err(error)) => Counted::Missing(format!("/proc/slabinfo: {error}")),
    };
    idle.end()?;
    Ok(Held { user: each(before.anonymous, after.anonymous), kernel })
}

/// What all slabs of the kernel hold in objects that are in use, in bytes. Only root may look.
fn slabs() -> io::Result<u64> {
    let table = fs::read_to_string("/proc/slabinfo")?;
    parse_slabs(&table).ok_or_else(|| io::Error::other("it has another form than expected"))
}

/// Lines of `NAME ACTIVE ALL SIZE …`, below a head of two lines.
fn parse_slabs(table: &str) -> Option<u64> {
    let mut sum = 0;
    for line in table.lines().skip(2) {
        let mut fields = line.split_whitespace().skip(1);
        let active: u64 = fields.next()?.parse().ok()?;
        let size: u64 = fields.nth(1)?.parse().ok()?;
        sum += active * size;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_are_objects_in_use_times_their_size() {
        let table = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize>\n\
                     TCP 10 16 2000 8 4 : tunables 0\nfilp 5 8 256 16 1\n";
        assert_eq!(parse_slabs(table), Some(10 * 2000 + 5 * 256));
        assert_eq!(parse_slabs("a\nb\nTCP ten\n"), None);
    }
}
