//! The inside of a simulation, for the project's own runs in `crates/simulations`. No part of the
//! library that others use: nothing here is stable.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::api::config::Config;
use crate::api::error::Error;
use crate::api::handler::Handler;
use crate::event_loop::EventLoop;
use crate::sim::SimulatedKernel;

pub use crate::sim::check::chosen_seeds;
pub use crate::sim::clock::{Follower, START};
pub use crate::sim::failure::fewer_faults;
pub use crate::sim::faults::{Call, Fate};
pub use crate::sim::injector::Injector;
pub use crate::sim::model::ends::{DATA, SHUT_DOWN, Side, UNCONNECTED, Woken};
pub use crate::sim::model::epoll::{ANYTHING, EpollSet};
pub use crate::sim::model::eventfd::EventFd;
pub use crate::sim::model::link::Link;
#[cfg(feature = "udp")]
pub use crate::sim::model::udp::{Message, UdpSocket, seen_by};
pub use crate::sim::peers::client::{Client, Kind};
#[cfg(feature = "udp")]
pub use crate::sim::peers::correspondent::{Asker, Correspondent, Habit};
pub use crate::sim::peers::place::{Place, Stage};
pub use crate::sim::peers::talker::{Heard, Pace, Parting, Reads, Talker};
pub use crate::sim::peers::{Peer, Role};
#[cfg(feature = "udp")]
pub use crate::sim::world::packets::Packets;
pub use crate::sim::world::{
    Acceptor, Budgets, Files, Holds, Known, LITTLE, MAIL, Owner, Paths, Rests, SLACK, Service,
    Shut, Tally, Turn, Vigil, Wire, World,
};
#[cfg(feature = "udp")]
pub use crate::sim::world::{DatagramTally, Datagrams, Outage};

/// What the runs must know of a configuration to tell what a loop should do.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The cap that was asked for.
    pub max_connections: Option<usize>,
    /// Where reading goes on.
    pub low_watermark: usize,
    /// The timeout of an idle connection.
    pub idle_timeout: Option<Duration>,
    /// The timeout of one that takes no output.
    pub write_timeout: Option<Duration>,
    /// The timeout of one that is being made.
    pub connect_timeout: Option<Duration>,
    /// How long a connection lingers at the most.
    pub linger_timeout: Duration,
    /// The same while the loop drains.
    pub drain_linger_timeout: Duration,
    /// How long a connection is quiet until a drain ends it.
    pub drain_quiet: Duration,
    /// For how long the loop polls before a sleep.
    pub spin: Duration,
    /// For how long it polls before a wake-up.
    pub busy_poll: Duration,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            max_connections: config.max_connections,
            low_watermark: config.bounds.low,
            idle_timeout: config.bounds.idle,
            write_timeout: config.bounds.write,
            connect_timeout: config.connect_timeout,
            linger_timeout: config.linger_timeout,
            drain_linger_timeout: config.drain_linger_timeout,
            drain_quiet: config.drain_quiet,
            spin: config.spin,
            busy_poll: config.busy_poll,
        }
    }
}

/// A loop in this world.
///
/// # Errors
///
/// As those of [`EventLoop::with_config`].
pub fn event_loop<H: Handler>(
    handler: H,
    config: Config,
    world: &Rc<RefCell<World>>,
) -> Result<EventLoop<H, SimulatedKernel>, Error> {
    EventLoop::with_kernel(handler, config, SimulatedKernel::new(world))
}

/// A datagram socket of the real kernel, by the calls that the loop makes.
#[cfg(feature = "udp")]
pub use crate::kernel::RealDatagrams;
