//! A TCP proxy: each client is relayed to one of several upstream servers, in turn.
//!
//! `cargo run --release -p edgeloop --example proxy LISTEN UPSTREAM...`
//!
//! - An upstream that refuses, or doesn't answer within [`CONNECT_TIMEOUT`], is skipped for the
//!   next one. When none is left, the client is reset.
//! - A client or an upstream that ends its stream still receives the other one. A reset is passed
//!   on, behind what came before it.
//! - A pair on which nothing moves for [`IDLE_TIMEOUT`] is closed.
//! - On SIGTERM or SIGINT the proxy accepts no more, lets the streams end, and exits: after
//!   [`PATIENCE`] or a second signal in any case.

use std::error::Error;
use std::ffi::OsStr;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use edgeloop::{
    Action, Closed, Config, Context, EventLoop, Handler, Input, LoopContext, Notice, Origin,
    Reason, Stop, Target,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// How long each upstream has to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// After how long without a byte a pair is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// How long streams may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Proxy {
    /// At least one.
    upstreams: Vec<SocketAddr>,
    /// Whose turn it is.
    next: usize,
    is_stopping: bool,
}

impl Proxy {
    /// The upstream whose turn it is, and behind it the others.
    fn target(&mut self) -> Target {
        let (later, first) = self.upstreams.split_at(self.next);
        self.next = (self.next + 1) % self.upstreams.len();
        let others = first[1..].iter().chain(later);
        others.fold(Target::new(first[0]), |target, &other| target.or(other))
    }
}

impl Handler for Proxy {
    /// Whether it is a client.
    type Session = bool;

    fn session(&mut self, _: &Origin) -> Option<bool> {
        Some(true)
    }

    fn opened(&mut self, cx: &mut impl Context<Self::Session>, is_client: &mut bool) -> Action {
        if !*is_client {
            return Action::Continue;
        }
        let upstream =
            cx.connect(self.target(), false).inspect_err(|error| eprintln!("proxy: {error}"));
        let Ok(upstream) = upstream else { return Action::Reset };
        // What the client sends before the upstream is connected is the first that this is sent.
        cx.relay(cx.id(), upstream);
        cx.relay(upstream, cx.id());
        Action::Continue
    }

    /// Never called: all input is relayed.
    fn data(
        &mut self,
        _: &mut impl Context<Self::Session>,
        _: &mut bool,
        _: &mut Input<'_>,
    ) -> Action {
        Action::Reset
    }

    fn closed(&mut self, _: &mut impl Context<Self::Session>, is_client: bool, closed: &Closed) {
        let failed = matches!(closed.reason, Reason::ConnectFailed | Reason::ConnectTimeout);
        if !is_client && failed {
            eprintln!("proxy: no upstream can be connected to: {closed}");
        }
    }

    fn notice(&mut self, notice: &Notice) {
        eprintln!("proxy: {notice}");
    }

    /// A signal came.
    fn notified(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        cx.stop(if self.is_stopping { Stop::Now } else { Stop::Drain(Some(PATIENCE)) });
        self.is_stopping = true;
    }
}

fn config() -> Config {
    Config::new().connect_timeout(Some(CONNECT_TIMEOUT)).idle_timeout(Some(IDLE_TIMEOUT))
}

fn resolve(argument: &OsStr) -> Result<SocketAddr, Box<dyn Error>> {
    let name = argument.to_string_lossy();
    let mut addresses = name.to_socket_addrs().map_err(|error| format!("{name}: {error}"))?;
    Ok(addresses.next().ok_or_else(|| format!("{name}: no address of that name"))?)
}

fn run(listen: SocketAddr, upstreams: &[SocketAddr]) -> Result<(), Box<dyn Error>> {
    let (reader, writer) = std::io::pipe()?;
    pipe::register(SIGINT, writer.try_clone()?)?;
    pipe::register(SIGTERM, writer)?;
    let handler = Proxy { upstreams: upstreams.to_vec(), ..Proxy::default() };
    let mut proxy = EventLoop::with_config(handler, config())?;
    proxy.notify_on(&reader)?;
    eprintln!("listening on {}", proxy.listen(listen)?);
    proxy.run()?;
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Result<Vec<_>, _> = std::env::args_os().skip(1).map(|it| resolve(&it)).collect();
    let (code, error) = match arguments.as_deref() {
        Ok([listen, upstreams @ ..]) if !upstreams.is_empty() => match run(*listen, upstreams) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (1, error),
        },
        Ok(_) => (2, "usage: proxy LISTEN UPSTREAM..., each as HOST:PORT".into()),
        Err(error) => (2, format!("{error} (an address is HOST:PORT)").into()),
    };
    eprintln!("proxy: {error}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use edgeloop::sim::{Faults, Script, Simulation, check};

    use super::*;

    fn upstreams() -> [SocketAddr; 3] {
        ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(|it| it.parse().expect("an address"))
    }

    fn proxy() -> Proxy {
        Proxy { upstreams: upstreams().to_vec(), ..Proxy::default() }
    }

    fn with_all(simulation: Simulation, script: impl Fn(u8) -> Script) -> Simulation {
        (1..).zip(upstreams()).fold(simulation.config(config()), |simulation, (number, address)| {
            let script = script(number);
            simulation.service(address, move |_| script.clone())
        })
    }

    #[test]
    fn clients_go_to_the_upstreams_in_turn() {
        let server = |number| Script::new().expect("who?").send([b'0' + number]).expect_end();
        let client = |number: u8| {
            let answer = [b'1' + number % 3];
            let client = Script::new().exchange("who?", answer).finish().expect_end();
            client.connect_after(Duration::from_secs(number.into()))
        };
        let simulation = with_all(Simulation::new(1).calm(), |number| server(number).finish());
        let simulation =
            (0..7).fold(simulation, |simulation, number| simulation.peer(client(number)));
        simulation.run(proxy()).unwrap_or_else(|failure| panic!("{failure}"));
    }

    #[test]
    fn half_closing_ends_on_both_sides_get_everything_under_faults() {
        check(0..100, |simulation| {
            let [request, answer] = [vec![b'q'; 3000], vec![b'a'; 5000]];
            let client_first =
                |_| Script::new().expect(&request).expect_end().send(&answer).finish();
            let client = Script::new().send(&request).finish().expect(&answer).expect_end();
            let simulation = with_all(simulation.faults(Faults::passing()), client_first);
            simulation.buffers(100..=5000).peer(client.clone()).peer(client).run(proxy())?;
            Ok(())
        });
        check(0..100, |simulation| {
            let [request, answer] = [vec![b'q'; 3000], vec![b'a'; 5000]];
            let server_first =
                |_| Script::new().send(&answer).finish().expect(&request).expect_end();
            let client = Script::new().expect(&answer).expect_end().send(&request).finish();
            let simulation = with_all(simulation.faults(Faults::passing()), server_first);
            simulation.buffers(100..=5000).peer(client.clone()).peer(client).run(proxy())?;
            Ok(())
        });
    }

    #[test]
    fn an_upstream_that_refuses_or_does_not_answer_is_passed_over() {
        check(0..50, |simulation| {
            // Nobody listens at the first.
            let [_, silent, answers] = upstreams();
            let simulation = simulation
                .config(config())
                .service(silent, |_| Script::new().never_answers())
                .service(answers, |_| Script::new().expect("hello").send("from the third").close());
            let client = Script::new().send("hello").expect("from the third").expect_end();
            simulation.peer(client.finish()).run(proxy()).map(drop)
        });
    }

    #[test]
    fn a_client_that_no_upstream_takes_is_reset() {
        check(0..50, |simulation| {
            let client = Script::new().send("hello").expect_reset();
            simulation.config(config()).peer(client).run(proxy())?;
            Ok(())
        });
        check(0..50, |simulation| {
            let client = Script::new().send("hello").finish().expect_reset();
            with_all(simulation, |_| Script::new().never_answers())
                .peer(client)
                .run(proxy())
                .map(drop)
        });
    }

    #[test]
    fn a_pair_on_which_nothing_moves_is_closed() {
        check(0..20, |simulation| {
            let server = |_| Script::new().expect("hello").send("hello").expect_end().finish();
            let client = Script::new().exchange("hello", "hello").expect_silence(IDLE_TIMEOUT / 2);
            with_all(simulation, server).peer(client.expect_end().finish()).run(proxy()).map(drop)
        });
    }

    /// Connections end in every way, and nothing else does: no panic, no hang, no leak.
    #[test]
    fn whatever_breaks_each_client_gets_a_beginning_of_what_was_sent() {
        check(0..300, |simulation| {
            let server =
                |_| Script::new().may_end().expect("hello").send(vec![b'x'; 9000]).finish();
            let client = Script::new().may_end().send("hello").expect(vec![b'x'; 9000]);
            let simulation = with_all(simulation.faults(Faults::passing().breaking(3)), server);
            let simulation = simulation.buffers(100..=2000).peer(client.clone()).peer(client);
            simulation.run(proxy()).map(drop)
        });
    }
}
