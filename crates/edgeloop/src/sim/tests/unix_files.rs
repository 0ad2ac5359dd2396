//! The files of Unix sockets in every state that a directory can have, and with every call failing.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::Probe;
use crate::api::address::{Address, UnixAddress};
use crate::api::config::Config;
use crate::api::error::Error;
use crate::api::listening::ListenOptions;
use crate::event_loop::EventLoop;
use crate::sim::clock::START;
use crate::sim::world::Owner;
use crate::sim::{Call, Fault, Injector, SimulatedKernel, World};

const PATH: &str = "/run/echo.sock";
const STATES: [Option<Owner>; 4] =
    [None, Some(Owner::Nobody), Some(Owner::Other), Some(Owner::NoSocket)];

type Server = EventLoop<Probe, SimulatedKernel>;

/// A loop in a world where such a file has the path.
fn server(owner: Option<Owner>) -> (Rc<RefCell<World>>, Server) {
    let mut world = World::new(1);
    if let Some(owner) = owner {
        assert!(world.paths.make(PATH, owner));
    }
    let world = Rc::new(RefCell::new(world));
    let kernel = SimulatedKernel::new(&world);
    let server = EventLoop::with_kernel(Probe::new(), Config::new(), kernel);
    (world, server.expect("no call fails"))
}

fn listen(server: &mut Server) -> Result<Address, Error> {
    let address = UnixAddress::path(PATH).expect("a path");
    server.listen_with(address, &ListenOptions::new().unix_mode(0o660))
}

fn owner(world: &RefCell<World>) -> Option<Owner> {
    world.borrow().paths.get(Path::new(PATH)).map(|node| node.owner)
}

#[test]
fn c48_a_simulated_file_is_replaced_if_nobody_serves_it_and_else_left_alone() {
    let served = "cannot listen on unix:/run/echo.sock: Address already in use";
    let other = "cannot listen on unix:/run/echo.sock: a file that is not a socket has this path";
    for before in STATES {
        let (world, mut server) = server(before);
        let said = listen(&mut server).map_err(|error| error.to_string());
        match before {
            None | Some(Owner::Nobody) => {
                said.expect("the path is free, or becomes so");
                let node = world.borrow().paths.get(Path::new(PATH)).copied();
                let node = node.expect("it listens there");
                assert!(matches!(node.owner, Owner::Loop(_)), "{node:?}");
                assert_eq!(node.access.mode, Some(0o660));
                drop(server);
                assert_eq!(owner(&world), None, "its own file is removed");
            }
            Some(kept) => {
                let expected = if kept == Owner::Other { served } else { other };
                let said = said.expect_err("it is taken");
                assert!(said.starts_with(expected), "{said}");
                drop(server);
                assert_eq!(owner(&world), before);
            }
        }
        assert_eq!(world.borrow().files.counts(), (0, 0), "descriptors are left");
    }
}

#[test]
fn c48_a_simulated_file_of_others_stays_though_it_has_taken_the_place_of_ours() {
    let (world, mut server) = server(None);
    listen(&mut server).expect("the path is free");
    {
        let mut world = world.borrow_mut();
        assert!(matches!(world.paths.unlink(Path::new(PATH)), Ok(Owner::Loop(_))));
        assert!(world.paths.make(PATH, Owner::Other));
    }
    drop(server);
    assert_eq!(owner(&world), Some(Owner::Other));
    assert_eq!(world.borrow_mut().vigil.take_violation(), None);
}

#[test]
fn c48_a_simulated_directory_that_is_locked_is_waited_for_and_not_for_ever() {
    for (millis, listens) in [(50, true), (1000, false)] {
        let (world, mut server) = server(Some(Owner::Nobody));
        let until = START.after(Duration::from_millis(millis));
        world.borrow_mut().paths.locked_until = until;
        match listen(&mut server) {
            Ok(_) => assert!(listens && world.borrow().now >= until),
            Err(error) => {
                let said = error.to_string();
                assert!(!listens && said.contains("has locked its directory"), "{said}");
                assert_eq!(owner(&world), Some(Owner::Nobody));
            }
        }
    }
}

#[test]
fn c48_no_call_that_fails_takes_a_file_from_others_or_leaves_a_descriptor() {
    const CALLS: [Call; 10] = [
        Call::Socket,
        Call::Bind,
        Call::Listen,
        Call::LocalAddress,
        Call::Register,
        Call::ConnectUnix,
        Call::Stat,
        Call::Unlink,
        Call::SetAccess,
        Call::Lock,
    ];
    let mut failed = 0;
    for (before, call, nth) in STATES.into_iter().flat_map(|before| {
        CALLS.into_iter().flat_map(move |call| (1..=4).map(move |nth| (before, call, nth)))
    }) {
        for fate in call.fates() {
            let (world, mut server) = server(before);
            world.borrow_mut().faults = Injector::plan(&[Fault { call, nth, fate }]);
            let answer = listen(&mut server);
            let case = format!("{before:?}, {call:?} number {nth} with {fate:?}: {answer:?}");
            failed += usize::from(answer.is_err());
            if answer.is_ok() {
                assert!(matches!(owner(&world), Some(Owner::Loop(_))), "{case}");
            }
            drop(server);
            match before {
                Some(Owner::Other | Owner::NoSocket) => assert_eq!(owner(&world), before, "{case}"),
                // Which is its own file it may not know, or not be allowed to remove.
                _ if matches!(call, Call::Stat | Call::Unlink) => {}
                // It was not touched.
                Some(Owner::Nobody) if answer.is_err() => {
                    assert!(matches!(owner(&world), None | Some(Owner::Nobody)), "{case}");
                }
                _ => assert_eq!(owner(&world), None, "{case}"),
            }
            assert_eq!(world.borrow().files.counts(), (0, 0), "{case}");
            assert_eq!(world.borrow_mut().vigil.take_violation(), None, "{case}");
        }
    }
    assert!(failed > 100, "{failed} failed");
}

#[test]
fn c49_no_option_of_tcp_is_set_on_a_unix_socket() {
    let (world, mut server) = server(None);
    listen(&mut server).expect("the path is free");
    assert_eq!(world.borrow_mut().vigil.take_violation(), None);
    let mut world = world.borrow_mut();
    let number = world.files.listeners()[0];
    let set = world.set_unix_option(number, crate::kernel::SocketOption::NoDelay);
    assert_eq!(set, Err(Errno::OPNOTSUPP));
    assert!(world.vigil.take_violation().is_some_and(|what| what.contains("TCP_NODELAY")));
}
