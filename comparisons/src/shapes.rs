//! The loads that servers are compared under, as data.

use std::time::Duration;

use peers::{Service, Transport};

/// A load: who is connected, what they send, and what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The word for it on a command line and in a table.
    pub(crate) name: &'static str,
    /// What it is, for a reader.
    pub(crate) about: &'static str,
    /// What its cost is given for one of.
    pub(crate) unit: &'static str,
    /// What connections run over.
    pub(crate) transport: Transport,
    /// What the active connections do.
    pub(crate) load: Load,
    /// Connections that are open besides, and say nothing.
    pub(crate) idle: usize,
    /// How long one server is loaded before it is the other's turn.
    pub(crate) slice: Duration,
}

/// What the active connections do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// In each round every connection sends, with one call, then all answers are collected.
    Rounds {
        /// How many take part.
        connections: usize,
        /// The length of a message.
        bytes: usize,
        /// Messages that a connection sends at once.
        in_flight: usize,
    },
    /// Bytes without a pause: each connection keeps so many unanswered.
    Stream {
        /// How many take part.
        connections: usize,
        /// Unanswered bytes of each.
        window: usize,
    },
    /// Connect, one message there and back, an orderly end; then the next.
    Connect {
        /// The length of the message.
        bytes: usize,
    },
    /// One connection that sends each message byte by byte, a segment each.
    Segments {
        /// The length of a message.
        bytes: usize,
    },
    /// One member of a chat says something, and all others receive it.
    Fanout {
        /// How many others there are.
        receivers: usize,
    },
}

impl Load {
    /// What a server has to do for it.
    pub(crate) const fn service(self) -> Service {
        match self {
            Self::Fanout { .. } => Service::Fanout,
            _ => Service::Echo,
        }
    }
}

const SHORT: Duration = Duration::from_millis(25);
const LONG: Duration = Duration::from_millis(50);

/// A shape that runs over another transport than TCP.
const fn other(transport: Transport, name: &'static str, about: &'static str, load: Load) -> Shape {
    let (unit, slice) = match load {
        Load::Stream { .. } => ("KiB", LONG),
        _ => ("message", SHORT),
    };
    Shape { name, about, unit, transport, load, idle: 0, slice }
}

const fn over_unix(name: &'static str, about: &'static str, load: Load) -> Shape {
    other(Transport::Unix, name, about, load)
}

const fn over_udp(name: &'static str, about: &'static str, load: Load) -> Shape {
    other(Transport::Udp, name, about, load)
}

const fn rounds(connections: usize, bytes: usize) -> Load {
    Load::Rounds { connections, bytes, in_flight: 1 }
}

const fn small(name: &'static str, about: &'static str, connections: usize) -> Shape {
    let load = Load::Rounds { connections, bytes: 64, in_flight: 1 };
    // Of 5,000 connections, a round is a good part of a slice.
    let slice = if connections > 500 { LONG } else { SHORT };
    Shape { name, about, unit: "message", transport: Transport::Tcp, load, idle: 0, slice }
}

/// All shapes, in the order of the tables.
pub(crate) const SHAPES: &[Shape] = &[
    small("small-1", "64 bytes on 1 connection", 1),
    small("small-50", "64 bytes on 50 connections", 50),
    small("small-500", "64 bytes on 500 connections", 500),
    small("small-5000", "64 bytes on 5,000 connections", 5_000),
    Shape {
        name: "pipelined-50",
        about: "64 bytes on 50 connections, 16 in flight on each",
        unit: "message",
        transport: Transport::Tcp,
        load: Load::Rounds { connections: 50, bytes: 64, in_flight: 16 },
        idle: 0,
        slice: SHORT,
    },
    Shape {
        name: "4k-50",
        about: "4 KiB on 50 connections",
        unit: "message",
        transport: Transport::Tcp,
        load: Load::Rounds { connections: 50, bytes: 4096, in_flight: 1 },
        idle: 0,
        slice: SHORT,
    },
    Shape {
        name: "stream-1",
        about: "one stream, 512 KiB in flight",
        unit: "KiB",
        transport: Transport::Tcp,
        load: Load::Stream { connections: 1, window: 512 * 1024 },
        idle: 0,
        slice: LONG,
    },
    Shape {
        name: "stream-8",
        about: "eight streams, 128 KiB in flight on each",
        unit: "KiB",
        transport: Transport::Tcp,
        load: Load::Stream { connections: 8, window: 128 * 1024 },
        idle: 0,
        slice: LONG,
    },
    Shape {
        name: "connect",
        about: "connect, echo 64 bytes, close; one after the other",
        unit: "connection",
        transport: Transport::Tcp,
        load: Load::Connect { bytes: 64 },
        idle: 0,
        slice: SHORT,
    },
    Shape {
        name: "idle-15000",
        about: "64 bytes on 50 connections among 15,000 idle ones",
        unit: "message",
        transport: Transport::Tcp,
        load: Load::Rounds { connections: 50, bytes: 64, in_flight: 1 },
        idle: 15_000,
        slice: SHORT,
    },
    Shape {
        name: "segments",
        about: "1 KiB messages cut into 1-byte segments, 1 connection",
        unit: "message",
        transport: Transport::Tcp,
        load: Load::Segments { bytes: 1024 },
        idle: 0,
        slice: LONG,
    },
    Shape {
        name: "fanout-500",
        about: "a chat: 64 bytes of one to 500 others",
        unit: "message to 500",
        transport: Transport::Tcp,
        load: Load::Fanout { receivers: 500 },
        idle: 0,
        slice: LONG,
    },
    over_unix("unix-1", "64 bytes on 1 connection over a Unix socket", rounds(1, 64)),
    over_unix("unix-50", "64 bytes on 50 connections over Unix sockets", rounds(50, 64)),
    over_unix("unix-4k-50", "4 KiB on 50 connections over Unix sockets", rounds(50, 4096)),
    over_unix(
        "unix-stream-1",
        "one stream over a Unix socket, 512 KiB in flight, as far as the kernel takes them",
        Load::Stream { connections: 1, window: 512 * 1024 },
    ),
    over_udp("udp-1", "64 bytes from 1 socket over UDP", rounds(1, 64)),
    over_udp("udp-50", "64 bytes from 50 sockets over UDP", rounds(50, 64)),
    over_udp("udp-1400-50", "1,400 bytes from 50 sockets over UDP", rounds(50, 1400)),
];

/// Those that run over this transport.
pub(crate) fn over(transport: Transport) -> impl Iterator<Item = &'static Shape> {
    SHAPES.iter().filter(move |shape| shape.transport == transport)
}

/// The shape of that name.
pub(crate) fn find(name: &str) -> Result<&'static Shape, String> {
    SHAPES.iter().find(|shape| shape.name == name).ok_or_else(|| {
        let names: Vec<_> = SHAPES.iter().map(|shape| shape.name).collect();
        format!("no shape is called {name:?}: there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_found_by_its_name_and_no_other() {
        for shape in SHAPES {
            assert_eq!(find(shape.name), Ok(shape));
        }
        let wrong = find("small-51").expect_err("no such shape");
        assert!(wrong.contains("\"small-51\"") && wrong.contains("fanout-500"), "{wrong}");
    }

    #[test]
    fn a_slice_is_20_to_50_milliseconds() {
        for shape in SHAPES {
            assert!((20..=50).contains(&shape.slice.as_millis()), "{}", shape.name);
        }
    }
}
