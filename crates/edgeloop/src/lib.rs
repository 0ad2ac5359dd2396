//! An event loop on epoll for servers and clients that lose no byte.
//!
//! - [`EventLoop`] runs a [`Handler`]: one value for the loop, one session for each connection,
//!   callbacks that answer with an [`Action`].
//! - [`Context`] is what a callback acts through: sending, pausing, closing, connecting.
//! - [`Handle`] reaches the loop from other threads.
//! - [`epoll`] is the wrapper underneath, usable alone.
//! - `sim`, with the feature of that name, is a simulated kernel to test a handler on: every
//!   schedule and every failing call comes from a seed.
//!
//! No async runtime, no thread but yours, no `unsafe`. Linux only.
//!
//! # Examples
//!
//! A server that answers each line with its length:
//!
//! ```no_run
//! use edgeloop::{Action, Context, EventLoop, Handler, Input, Origin};
//!
//! struct Lengths;
//!
//! impl Handler for Lengths {
//!     type Session = ();
//!
//!     fn session(&mut self, _: &Origin) -> Option<()> {
//!         Some(())
//!     }
//!
//!     fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
//!         while let Ok(Some(line)) = input.take_line(1000) {
//!             if !cx.send(format!("{}\n", line.len()).as_bytes()).is_accepted() {
//!                 return Action::Reset;
//!             }
//!         }
//!         Action::Continue
//!     }
//! }
//!
//! let mut server = EventLoop::new(Lengths)?;
//! server.listen("127.0.0.1:3000")?;
//! server.run()?;
//! # Ok::<(), edgeloop::Error>(())
//! ```

// The layers, lowest first: a module names only modules above it in this list. A test holds that.
mod sync;
pub mod epoll;
mod api;
mod kernel;
mod store;
mod mailbox;
mod connection;
mod core;
mod event_loop;
mod group;
#[cfg(any(test, feature = "sim"))]
pub mod sim;

mod sealed {
    //! Traits that only this crate implements.

    /// The supertrait of those traits.
    pub trait Sealed {}
}

pub use api::address::{Address, AddressError, Credentials, ToAddresses, UnixAddress};
pub use api::bounds::Limits;
pub use api::closed::{Attempt, Closed, Reason};
pub use api::config::{
    Config, DEFAULT_BUFFER_LIMIT, DEFAULT_KEEPALIVE, MAX_EVENT_BATCH, MAX_PIPES, MAX_SEND_BUFFER,
    MAX_SPIN, MIN_BACKLOG, MIN_BUFFER_LIMIT, MIN_SEND_BUFFER,
};
#[cfg(feature = "udp")]
pub use api::datagram::{Datagram, DatagramSocket, MAX_DATAGRAM, SentDatagram};
pub use api::error::{ConnectError, Error, ErrorKind};
pub use api::handler::{Action, Context, Handler, LoopContext, Origin, Sent, Stop};
pub use api::id::{ConnectionId, MAX_LOOPS};
pub use api::input::{Input, NotAnInteger, TooLong, Unsigned};
pub use api::listening::ListenOptions;
pub use api::metrics::Metrics;
pub use api::notice::{Notice, Trace};
pub use api::place::MemoryLimit;
pub use api::receive::Receive;
pub use api::target::Target;
pub use api::time::Time;
pub use event_loop::{EventLoop, Turn};
pub use group::{GroupHandle, GroupMetrics, GroupSender, LoopGroup, Seat, Spread};
pub use kernel::raise_descriptor_limit;
pub use kernel::{Kernel, Linux};
pub use mailbox::{AdoptError, AdoptErrorKind, Handle, SendError, SendErrorKind, Sender};
