//! What can be counted: system calls, instructions, bytes, wake-ups. Little of it depends on speed.

pub(crate) mod calls;
pub(crate) mod instructions;
pub(crate) mod memory;
pub(crate) mod rest;

use std::io;

use peers::{Service, Transport};
use serde::{Deserialize, Serialize};

use crate::client;
use crate::interrupt;
use crate::scratch::Scratch;
use crate::servers::Contestant;

/// A count, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Counted {
    Value(f64),
    Missing(String),
}

impl Counted {
    pub(crate) const fn value(&self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(*value),
            Self::Missing(_) => None,
        }
    }

    fn from<T>(result: &io::Result<T>, value: impl Fn(&T) -> f64) -> Self {
        match result {
            Ok(counted) => Self::Value(value(counted)),
            Err(error) => Self::Missing(error.to_string()),
        }
    }
}

/// All counts of one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) name: String,
    /// System calls a message at full speed, with one connection and with fifty, and the waits
    /// among them.
    pub(crate) calls_one: Counted,
    pub(crate) waits_one: Counted,
    pub(crate) calls_fifty: Counted,
    pub(crate) waits_fifty: Counted,
    /// Instructions in user space a message, where fifty messages come at once.
    pub(crate) instructions_one: Counted,
    pub(crate) instructions_fifty: Counted,
    /// Anonymous memory of an idle connection, in bytes.
    pub(crate) user_bytes: Counted,
    /// The kernel's slabs for an idle connection, both of its ends, in bytes.
    pub(crate) kernel_bytes: Counted,
    /// Of all threads, a second at rest.
    pub(crate) wakeups: Counted,
    pub(crate) calls_at_rest: Counted,
}

impl Counts {
    pub(crate) fn empty(name: &str) -> Self {
        let none = || Counted::Missing("not counted".to_owned());
        Self {
            name: name.to_owned(),
            calls_one: none(),
            waits_one: none(),
            calls_fifty: none(),
            waits_fifty: none(),
            instructions_one: none(),
            instructions_fifty: none(),
            user_bytes: none(),
            kernel_bytes: none(),
            wakeups: none(),
            calls_at_rest: none(),
        }
    }

    fn take_calls(&mut self, taken: &io::Result<calls::Calls>, connections: usize) {
        let all = Counted::from(taken, |calls| calls.all);
        let waits = Counted::from(taken, |calls| calls.waits);
        if connections == 1 {
            (self.calls_one, self.waits_one) = (all, waits);
        } else {
            (self.calls_fifty, self.waits_fifty) = (all, waits);
        }
    }

    /// Counts the instructions, in two steps.
    fn take_instructions(
        &mut self,
        server: &Contestant,
        over: Transport,
        read_buffer: usize,
        begin: &mut impl FnMut(&str) -> io::Result<()>,
    ) -> io::Result<()> {
        begin("instructions, 1 connection")?;
        let one = instructions::one(server, over, read_buffer);
        self.instructions_one = Counted::from(&one, |each| *each);
        begin("instructions, 50 connections")?;
        let fifty = instructions::fifty(server, over, read_buffer);
        self.instructions_fifty = Counted::from(&fifty, |each| *each);
        Ok(())
    }
}

/// How many steps [`count`] has.
pub(crate) const STEPS: u64 = 6;

/// Counts everything of one server. What can't be counted has the reason in its place.
///
/// # Errors
///
/// Only when it was interrupted.
pub(crate) fn count(
    server: &Contestant,
    read_buffer: usize,
    step: &mut dyn FnMut(&str),
) -> io::Result<Counts> {
    let mut counts = Counts::empty(server.name());
    let mut begin = |what: &str| {
        step(what);
        interrupt::check()
    };
    for (connections, what) in [(1, "system calls, 1 connection"), (50, "system calls, 50")] {
        begin(what)?;
        counts.take_calls(&calls(server, Transport::Tcp, read_buffer, connections), connections);
    }
    counts.take_instructions(server, Transport::Tcp, read_buffer, &mut begin)?;
    begin("memory")?;
    let held = memory::of_idle(server, read_buffer);
    counts.user_bytes = Counted::from(&held, |held| held.user);
    counts.kernel_bytes = match &held {
        Ok(held) => held.kernel.clone(),
        Err(error) => Counted::Missing(error.to_string()),
    };
    begin("rest")?;
    let rest = rest::of(server, read_buffer);
    counts.wakeups = Counted::from(&rest, |rest| rest.wakeups);
    counts.calls_at_rest = match rest {
        Ok(rest) => rest.calls,
        Err(error) => Counted::Missing(error.to_string()),
    };
    interrupt::check()?;
    Ok(counts)
}

/// How many steps [`count_over`] has.
pub(crate) const STEPS_OVER: u64 = 4;

/// Counts the calls and the instructions of one server over another transport, as [`count`] does.
/// Where there are no trace points, strace counts the calls on one connection.
///
/// # Errors
///
/// Only when it was interrupted.
pub(crate) fn count_over(
    over: Transport,
    server: &Contestant,
    read_buffer: usize,
    step: &mut dyn FnMut(&str),
) -> io::Result<Counts> {
    let mut counts = Counts::empty(server.name());
    let mut begin = |what: &str| {
        step(what);
        interrupt::check()
    };
    begin("system calls, 1 connection")?;
    let one = calls(server, over, read_buffer, 1)
        .or_else(|error| calls_by_strace(server, over, read_buffer).map_err(|_| error));
    counts.take_calls(&one, 1);
    begin("system calls, 50")?;
    counts.take_calls(&calls(server, over, read_buffer, 50), 50);
    counts.take_instructions(server, over, read_buffer, &mut begin)?;
    interrupt::check()?;
    Ok(counts)
}

/// System calls a message of 64 bytes on one connection, by strace, which slows the server down.
pub(crate) fn calls_by_strace(
    server: &Contestant,
    transport: Transport,
    read_buffer: usize,
) -> io::Result<calls::Calls> {
    const MESSAGES: u32 = 1_000;
    let server = server.start_over(transport, Service::Echo, read_buffer)?;
    let mut crowd = client::crowd(transport, server.address(), 1)?;
    let scratch = Scratch::new()?;
    let strace = calls::Strace::start(server.process(), scratch.path())?;
    crowd.rounds(MESSAGES.into())?;
    server.process().settle()?;
    Ok(strace.finish()?.each(MESSAGES.into()))
}

/// System calls a message of 64 bytes, at full speed, by trace points.
pub(crate) fn calls(
    server: &Contestant,
    transport: Transport,
    read_buffer: usize,
    connections: usize,
) -> io::Result<calls::Calls> {
    let server = server.start_over(transport, Service::Echo, read_buffer)?;
    let mut crowd = client::crowd(transport, server.address(), connections)?;
    let rounds = calls::MESSAGES / connections as u64;
    crowd.rounds(rounds / 10)?;
    server.process().settle()?;
    let tracer = calls::Tracer::start(server.process())?;
    crowd.rounds(rounds)?;
    server.process().settle()?;
    Ok(tracer.finish()?.each(rounds * connections as u64))
}
