//! What must hold before a change lands: exact counts, progress, and the pair with bare epoll.

use std::io;

use peers::Transport;

use crate::client::{self, Until};
use crate::counts::{self, Counted};
use crate::failure::Failure;
use crate::pair::{self, Settings};
use crate::recorded::{self, MARGIN, Recorded};
use crate::servers::{self, BARE, Contestant, EDGELOOP, READ_BUFFER};
use crate::shapes::SHAPES;
use crate::targets::{CALLS, IDLE_BYTES, INSTRUCTIONS};
use crate::{interrupt, ours, plan, results, show};

/// The most that a message may cost by bare epoll's: the target of 1.02, and 3 % for the noise.
const RATIO: f64 = 1.05;

/// How many cycles the pair has. Its interval is then some thousandths wide.
const CYCLES: u32 = 60;

/// How a check has ended.
enum Held {
    Yes(String),
    No(String),
    /// It could not be made here, which is no fault of the code.
    Open(String),
}

/// All checks, with a line for each. Returns whether none failed.
pub(crate) fn run(edgeloop: &Contestant) -> Result<bool, Failure> {
    let mut good = true;
    let mut tell = |held: io::Result<Held>| -> Result<(), Failure> {
        interrupt::check()?;
        let line = match held {
            Ok(Held::Yes(line)) => format!("holds   {line}\n"),
            Ok(Held::Open(line)) => format!("open    {line}\n"),
            Ok(Held::No(line)) => {
                good = false;
                format!("FAILS   {line}\n")
            }
            Err(error) => {
                good = false;
                format!("FAILS   {error}\n")
            }
        };
        show::print(&line)?;
        Ok(())
    };
    for shape in SHAPES {
        tell(progress(edgeloop, shape))?;
    }
    let rustc = results::rustc();
    let recorded = recorded::of(&rustc)?;
    let one = counts::instructions::one(edgeloop, Transport::Tcp, READ_BUFFER);
    tell(instructions("1 connection", one, INSTRUCTIONS.0, &rustc, recorded, |all| all.one))?;
    let fifty = counts::instructions::fifty(edgeloop, Transport::Tcp, READ_BUFFER);
    tell(instructions("50 connections", fifty, INSTRUCTIONS.1, &rustc, recorded, |all| all.fifty))?;
    tell(calls(edgeloop))?;
    tell(memory(edgeloop))?;
    for shape in ["small-1", "small-50"] {
        tell(ratio(shape))?;
    }
    Ok(good)
}

/// Some rounds of a shape, with every byte compared.
fn progress(edgeloop: &Contestant, shape: &crate::shapes::Shape) -> io::Result<Held> {
    let service = shape.load.service();
    // What the program has not, the library under it has: a chat, and Unix sockets.
    let serves = edgeloop.serves(service, shape.transport);
    let server = if serves { *edgeloop } else { library()? };
    let name = server.name();
    let running = server.start_over(shape.transport, service, READ_BUFFER)?;
    let go_on = || {
        let _idle = (shape.idle > 0)
            .then(|| client::Holder::start(running.address(), shape.idle))
            .transpose()?;
        let mut client = client::connect(shape, running.address())?;
        client.verify()?;
        client.drive(Until::Rounds(3), &mut client::rounds()?)?;
        client.verify()
    };
    Ok(match go_on() {
        Ok(()) => Held::Yes(format!("progress: {name} answers rightly under {}", shape.name)),
        Err(error) => Held::No(format!("progress: {name} under {}: {error}", shape.name)),
    })
}

fn library() -> io::Result<Contestant> {
    servers::find(ours::NAME).map_err(io::Error::other)
}

fn instructions(
    connections: &str,
    counted: io::Result<f64>,
    bound: f64,
    rustc: &str,
    recorded: Option<Recorded>,
    figure: impl Fn(Recorded) -> f64,
) -> io::Result<Held> {
    let what = format!("user instructions a message, {connections}");
    Ok(match counted {
        Err(error) => Held::Open(format!("{what}: {error}")),
        Ok(counted) => judge_instructions(&what, counted, bound, rustc, recorded.map(figure)),
    })
}

fn judge_instructions(
    what: &str,
    counted: f64,
    bound: f64,
    rustc: &str,
    recorded: Option<f64>,
) -> Held {
    let line = format!("{what}: {counted:.1}");
    match recorded {
        _ if counted > bound => Held::No(format!("{line}, of {bound} at most")),
        None => Held::Yes(format!(
            "{line}, of {bound} at most; nothing is recorded for rustc {rustc} in recorded.toml, \
             so record this"
        )),
        Some(recorded) if (counted - recorded).abs() <= MARGIN => {
            Held::Yes(format!("{line}, with {recorded} recorded for rustc {rustc}"))
        }
        Some(recorded) => Held::No(format!(
            "{line}, with {recorded} recorded for rustc {rustc} in recorded.toml and {MARGIN} \
             allowed; if that is meant, record it in a commit that says why"
        )),
    }
}

/// System calls a message on one connection: by trace points, or else by strace.
fn calls(edgeloop: &Contestant) -> io::Result<Held> {
    let (each, by) = match counts::calls(edgeloop, Transport::Tcp, READ_BUFFER, 1) {
        Ok(calls) => (calls.all, "trace points"),
        Err(error) => match counts::calls_by_strace(edgeloop, Transport::Tcp, READ_BUFFER) {
            Ok(calls) => (calls.all, "strace"),
            Err(other) => {
                return Ok(Held::Open(format!("system calls a message: {error}; {other}")));
            }
        },
    };
    let line = format!("system calls a message, 1 connection: {each:.3} by {by}");
    // Attaching and detaching may add a call or two to all.
    let holds = each <= CALLS + 0.01;
    Ok(if holds { Held::Yes(line) } else { Held::No(format!("{line}, of {CALLS} at most")) })
}

fn memory(edgeloop: &Contestant) -> io::Result<Held> {
    let held = counts::memory::of_idle(edgeloop, READ_BUFFER)?;
    let connections = counts::memory::CONNECTIONS;
    let kernel = match held.kernel {
        Counted::Value(bytes) => format!("; the kernel has {bytes:.0}"),
        Counted::Missing(_) => String::new(),
    };
    let line = format!(
        "user memory of an idle connection: {:.0} bytes of {IDLE_BYTES} at most, with \
         {connections}{kernel}",
        held.user
    );
    Ok(if held.user <= IDLE_BYTES { Held::Yes(line) } else { Held::No(line) })
}

/// The pair with the limit; one ratio above the bound may be chance, two are not.
fn ratio(shape: &str) -> io::Result<Held> {
    let pair = match plan::pair(EDGELOOP, BARE, shape) {
        Ok(pair) => pair,
        Err(reason) => return Ok(Held::Open(format!("against {BARE}, {shape}: {reason}"))),
    };
    let settings = Settings { cycles: CYCLES, time: None, slice: None, read_buffer: READ_BUFFER };
    let mut above = Vec::new();
    for _ in 0..2 {
        let measured = pair::measure(&pair, &settings, &mut |_, _| ())?;
        if let Some(failure) = measured.failure {
            return Ok(Held::No(format!("against {BARE}, {shape}: {failure}")));
        }
        let what = format!("against {BARE}, {shape}: {}", show::estimate(measured.ratio));
        match measured.valid_ratio() {
            None => {
                let null = show::estimate(measured.null);
                return Ok(Held::Open(format!(
                    "against {BARE}, {shape}: this machine is too noisy now, two processes of one \
                     server differ by {null}"
                )));
            }
            Some(ratio) if ratio.median <= RATIO => {
                return Ok(Held::Yes(format!("{what} of {RATIO} at most")));
            }
            Some(_) => above.push(what),
        }
    }
    Ok(Held::No(format!("{}, of {RATIO} at most", above.join(", and again "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(held: &Held, is_held: bool, words: &str) {
        let (was_held, line) = match held {
            Held::Yes(line) => (true, line),
            Held::No(line) | Held::Open(line) => (false, line),
        };
        assert_eq!(was_held, is_held, "{line}");
        assert!(line.contains(words), "{line}");
    }

    #[test]
    fn instructions_hold_within_five_of_what_is_recorded() {
        let judge =
            |counted, recorded| judge_instructions("it", counted, 150.0, "1.95.0", recorded);
        expect(&judge(120.0, Some(115.0)), true, "115");
        expect(&judge(110.0, Some(115.0)), true, "115");
        expect(&judge(120.2, Some(115.0)), false, "record it in a commit");
        expect(&judge(109.0, Some(115.0)), false, "record it in a commit");
        expect(&judge(151.0, Some(149.0)), false, "150 at most");
        expect(&judge(150.0, None), true, "record this");
        expect(&judge(150.1, None), false, "150 at most");
    }
}
