//! Unix sockets: what the kernel does otherwise than with TCP, and what holds all the same.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use edgeloop::sim::{Ending, Faults, Script, Simulation, Start, check};
use edgeloop::{
    Action, Address, Closed, Config, Context, Credentials, Handler, Input, Origin, Reason, Target,
    UnixAddress,
};

const SECOND: Duration = Duration::from_secs(1);

fn path() -> Address {
    "unix:/run/echo.sock".parse().expect("a path")
}

/// Echoes, and notes how its connections ended and who made them.
#[derive(Default)]
struct Echo {
    greeting: &'static [u8],
    received: Vec<u8>,
    closed: Vec<Closed>,
    credentials: Vec<Option<Credentials>>,
}

impl Handler for Echo {
    type Session = ();

    fn session(&mut self, origin: &Origin) -> Option<()> {
        self.credentials.push(origin.credentials);
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        cx.send(self.greeting).or_reset()
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        let bytes = input.take_all();
        self.received.extend_from_slice(bytes);
        cx.send(bytes).or_reset()
    }

    fn closed(&mut self, _: &mut impl Context, (): (), closed: &Closed) {
        self.closed.push(closed.clone());
    }
}

#[test]
fn c49_what_is_sent_around_a_descriptor_is_received() {
    check(0..200, |simulation| {
        let client = || {
            Script::new()
                .connect_to(path())
                .send("one")
                .send_with_descriptor("two")
                .send("three")
                .expect("onetwothree")
                .send_with_descriptor("four")
                .finish()
                .expect("four")
                .expect_end()
        };
        let simulation = simulation.listen(path()).faults(Faults::passing());
        let report = simulation.peer(client()).peer(client()).run(Echo::default())?;
        assert_eq!(report.metrics.bytes_in, 30);
        Ok(())
    });
}

#[test]
fn c1_an_urgent_byte_of_a_unix_socket_keeps_its_place() {
    check(0..200, |simulation| {
        let client = Script::new().connect_to(path()).send("ab").send_urgent(b'!').send("cd");
        simulation.listen(path()).peer(client.expect("ab!cd")).run(Echo::default()).map(drop)
    });
}

#[test]
fn c5_a_unix_socket_is_served_on_behind_the_peers_end() {
    check(0..200, |simulation| {
        let bytes: Vec<u8> = (0..1000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let client = Script::new().connect_to(path()).send(&bytes).finish().expect(&bytes);
        let simulation = simulation.listen(path()).buffers(1000..=5000);
        let report = simulation.peer(client.expect_end()).run(Echo::default())?;
        assert_eq!(report.handler.closed[0].reason, Reason::Finished);
        Ok(())
    });
}

#[test]
fn c4_a_unix_socket_without_room_is_waited_for() {
    check(0..40, |simulation| {
        let bytes: Vec<u8> = (0..3000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let client = |to: Address| Script::new().connect_to(to).exchange(&bytes, &bytes).finish();
        let name = Address::from(UnixAddress::abstract_name("echo").expect("a name"));
        simulation
            .config(Config::new().high_watermark(64).low_watermark(16))
            .buffers(1..=50)
            .faults(Faults::passing())
            .listen(path())
            .listen(name.clone())
            .peer(client(path()).expect_end())
            .peer(client(name).expect_end())
            .run(Echo::default())
            .map(drop)
    });
}

#[test]
fn c49_a_close_with_unread_input_is_a_reset_behind_what_was_sent() {
    check(0..200, |simulation| {
        let client = Script::new().connect_to(path()).send("last words").wait(SECOND).close();
        let handler = Echo { greeting: b"unread", ..Echo::default() };
        let report = simulation.listen(path()).peer(client).run(handler)?;
        assert_eq!(report.handler.received, b"last words");
        let [closed] = &report.handler.closed[..] else { panic!("one end") };
        assert_eq!(closed.reason, Reason::Failed, "{closed:?}");
        Ok(())
    });
}

#[test]
fn c49_a_simulated_client_has_credentials_and_one_of_tcp_has_none() {
    let tcp = SocketAddr::from(([127, 0, 0, 1], 3000));
    let simulation = Simulation::new(1).listen(path()).listen(tcp);
    let client = |to: Address| Script::new().connect_to(to).send("a").expect("a");
    let simulation = simulation.peer(client(path())).peer(client(tcp.into()));
    let told = simulation.run(Echo::default()).expect("a plain run").handler.credentials;
    let told: HashMap<_, _> =
        told.iter().map(|it| (it.is_some(), it.and_then(|it| it.process))).collect();
    assert_eq!((told.len(), told[&true].is_some(), told[&false]), (2, true, None));
}

/// Connects there, and gives up after ten seconds.
fn connects(to: Target) -> impl FnOnce(&mut Start<'_, Echo>) {
    |start| start.connect(to.timeout(Some(10 * SECOND)), ())
}

#[test]
fn c49_a_simulated_backlog_that_is_full_at_times_is_tried_again() {
    let tried = Cell::new(0);
    check(0..300, |simulation| {
        let service = |_: usize| Script::new().expect("hello").close();
        let simulation = simulation.faults(Faults::passing()).service(path(), service);
        let handler = Echo { greeting: b"hello", ..Echo::default() };
        let report = simulation.run_with(handler, connects(Target::new(path())))?;
        assert_eq!(report.metrics.connected, 1);
        let full = |kind: &str| kind == "connect of a Unix socket: EAGAIN";
        let full = report.faults.iter().filter(|fault| full(&fault.kind())).count();
        tried.set(tried.get() + full);
        Ok(())
    });
    assert!(tried.get() > 0, "no backlog was full");
}

#[test]
fn c49_a_simulated_backlog_that_stays_full_is_given_up() {
    check(0..50, |simulation| {
        let simulation = simulation.service(path(), |_| Script::new().never_answers());
        let report = simulation.run_with(Echo::default(), connects(Target::new(path())))?;
        let [closed] = &report.handler.closed[..] else { panic!("one end") };
        assert_eq!(closed.reason, Reason::ConnectTimeout);
        assert_eq!(closed.attempts[0].error().kind(), ErrorKind::TimedOut);
        assert!(report.elapsed >= 10 * SECOND, "{:?}", report.elapsed);
        assert_eq!(report.peers[0].ending, Ending::Cut);
        Ok(())
    });
}

#[test]
fn c49_a_simulated_target_has_addresses_of_both_kinds() {
    check(0..50, |simulation| {
        let tcp = SocketAddr::from(([10, 0, 0, 1], 80));
        let nobody: Address = "unix:/run/nobody.sock".parse().expect("a path");
        let target = Target::new(tcp).or(nobody.clone()).or(path());
        let service = |_: usize| Script::new().expect("hello").close();
        let handler = Echo { greeting: b"hello", ..Echo::default() };
        let report = simulation.service(path(), service).run_with(handler, connects(target))?;
        assert_eq!(report.metrics.connected, 1);
        assert_eq!(report.peers[0].ending, Ending::Done);
        Ok(())
    });
}
