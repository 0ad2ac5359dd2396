//! What in a run is about sockets that others have made: streams that the loop is given by another
//! thread, by callbacks and between its turns, and listeners that it is passed.

use std::cell::RefCell;
use std::rc::Rc;

use edgeloop::sim::SimulatedKernel;
use edgeloop::sim::internals::{Role, World};
use edgeloop::{Address, EventLoop, Handler, UnixAddress};

use super::ELSEWHERE;
use super::echo::Served;
use super::echo::session::{Padded, Session, Sessions};

/// How many streams it's given at once at the most.
const AT_ONCE: usize = 3;

/// Another part of the program accepts elsewhere, in some runs; many connect there.
pub(super) fn accept_elsewhere(world: &mut World) {
    if !world.random.chance(300) {
        return;
    }
    let at = if world.random.chance(300) {
        UnixAddress::abstract_name("elsewhere").expect("a name that is short enough").into()
    } else {
        ELSEWHERE
    };
    for peer in &mut world.peers {
        if let Role::Client(client) = &mut peer.role
            && world.random.chance(500)
        {
            client.wants = Some(at.clone());
        }
    }
    world.acceptor.at = Some(at);
}

/// Which listeners the loop is passed, in some runs.
pub(super) fn passed_listeners(world: &mut World) -> Vec<Address> {
    if !world.random.chance(200) {
        return Vec::new();
    }
    // The file of a Unix socket is its own affair.
    world.listeners.iter().filter(|address| address.as_tcp().is_some()).cloned().collect()
}

/// Passes the loop a listener. What fails is tried again, as an operator would.
pub(super) fn listen_on_passed<H: Handler>(
    server: &mut EventLoop<H, SimulatedKernel>,
    world: &Rc<RefCell<World>>,
    address: &Address,
) -> Result<(), String> {
    loop {
        let passed =
            world.borrow_mut().pass_listener(address).map_err(|error| error.to_string())?;
        match server.listen_on_fd(passed) {
            Ok(bound) if bound == *address => return Ok(()),
            Ok(bound) => return Err(format!("{bound} was passed for {address}")),
            Err(_) => {}
        }
    }
}

/// Gives the loop some streams, if there are any, while it does not run.
pub(super) fn adopt<const TRACE: bool, const SIZE: usize>(
    server: &mut EventLoop<Served<TRACE, SIZE>, SimulatedKernel>,
    world: &Rc<RefCell<World>>,
    sessions: &Sessions,
) {
    for _ in 0..AT_ONCE {
        let (given, made) = {
            let mut world = world.borrow_mut();
            (world.next_adopted(), world.now)
        };
        let Some((wire, stream)) = given else { return };
        {
            let mut world = world.borrow_mut();
            // Its session is there before the loop has opened it.
            world.wires[wire].tentative = true;
            world.note(|| format!("connection {wire} is adopted"));
        }
        let adopted = server.adopt(stream, Padded::new(Session::given(wire, made)));
        let acceptor = &mut world.borrow_mut().acceptor;
        acceptor.direct += 1;
        match adopted {
            Ok(id) => sessions.borrow_mut().push((id, wire)),
            Err(_) => acceptor.refused += 1,
        }
    }
}
