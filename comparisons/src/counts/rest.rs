//! What a server does when there is nothing to do, with connections open.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use peers::{Service, Transport};

use super::Counted;
use super::calls::Tracer;
use crate::client;
use crate::servers::Contestant;

/// How long the server is watched.
const WATCH: Duration = Duration::from_secs(4);

/// A second at rest.
#[derive(Debug)]
pub(crate) struct Rest {
    /// Voluntary context switches of all threads: each wake-up ends with one.
    pub(crate) wakeups: f64,
    /// System calls.
    pub(crate) calls: Counted,
}

/// Watches a server with fifty connections, each of which has said something before.
pub(crate) fn of(server: &Contestant, read_buffer: usize) -> io::Result<Rest> {
    let server = server.start(Service::Echo, read_buffer)?;
    server.process().wait_for_one_thread()?;
    let mut crowd = client::crowd(Transport::Tcp, server.address(), 50)?;
    crowd.rounds(100)?;
    server.process().settle()?;
    let tracer = Tracer::start(server.process());
    let (begin, before) = (Instant::now(), server.process().voluntary_switches()?);
    thread::sleep(WATCH);
    let after = server.process().voluntary_switches()?;
    let seconds = begin.elapsed().as_secs_f64();
    let calls = match tracer.and_then(Tracer::finish) {
        Ok(calls) => Counted::Value(calls.all / seconds),
        Err(error) => Counted::Missing(error.to_string()),
    };
    crowd.rounds(1)?;
    Ok(Rest { wakeups: (after - before) as f64 / seconds, calls })
}
