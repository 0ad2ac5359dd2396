//! Instructions in user space for a message: two lives of different length under callgrind, and
//! the difference. What a start and an end cost cancels out, and no noise can touch it.

use std::fs;
use std::io;

use peers::Transport;
use rustix::process::Signal;

use crate::client;
use crate::scratch::Scratch;
use crate::servers::Contestant;

/// Of a message on one connection.
pub(crate) fn one(
    server: &Contestant,
    transport: Transport,
    read_buffer: usize,
) -> io::Result<f64> {
    each(server, transport, read_buffer, 1, 500, 5_500)
}

/// Of a message where fifty come at once.
pub(crate) fn fifty(
    server: &Contestant,
    transport: Transport,
    read_buffer: usize,
) -> io::Result<f64> {
    each(server, transport, read_buffer, 50, 20, 220)
}

fn each(
    server: &Contestant,
    transport: Transport,
    read_buffer: usize,
    connections: usize,
    short: u64,
    long: u64,
) -> io::Result<f64> {
    let short_life = life(server, transport, read_buffer, connections, short)?;
    let long_life = life(server, transport, read_buffer, connections, long)?;
    let messages = (long - short) * connections as u64;
    Ok(long_life.saturating_sub(short_life) as f64 / messages as f64)
}

/// All instructions of a life with so many rounds.
fn life(
    server: &Contestant,
    transport: Transport,
    read_buffer: usize,
    connections: usize,
    rounds: u64,
) -> io::Result<u64> {
    let scratch = Scratch::new()?;
    let log = scratch.path().join("callgrind.txt");
    let server = server.start_counted(transport, read_buffer, &log)?;
    // Else the end of a thread may fall into the longer life alone.
    server.process().wait_for_one_thread()?;
    let mut crowd = client::crowd(transport, server.address(), connections)?;
    for _ in 0..rounds {
        if connections == 1 {
            crowd.rounds(1)?;
        } else {
            // All messages wait when the server wakes up, whatever the machine does meanwhile.
            server.process().settle()?;
            server.signal(Signal::STOP)?;
            server.process().wait_for_stop()?;
            crowd.send_all()?;
            server.signal(Signal::CONT)?;
            crowd.receive_all()?;
        }
    }
    drop(crowd);
    server.process().settle()?;
    server.end()?;
    let log = fs::read_to_string(&log)?;
    collected(&log).ok_or_else(|| io::Error::other("callgrind has collected nothing"))
}

/// `==PID== Collected : INSTRUCTIONS`
fn collected(log: &str) -> Option<u64> {
    let line = log.lines().find(|line| line.contains("Collected"))?;
    line.rsplit_once(':')?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_found_in_callgrinds_log() {
        let log = "==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(collected(log), Some(123_456));
        assert_eq!(collected("==7== Events : Ir\n"), None);
    }
}
