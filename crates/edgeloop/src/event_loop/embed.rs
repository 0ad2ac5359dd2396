//! What is made elsewhere and served here: listeners and streams that the loop is given.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::EventLoop;
use crate::error::{Error, ErrorKind};
use crate::handler::Handler;
use crate::kernel::given;

impl<H: Handler> EventLoop<H> {
    /// Listens on a socket that was made elsewhere, such as one of systemd's or a
    /// [`TcpListener`](std::net::TcpListener); returns the address that it is bound to. Does not
    /// block.
    ///
    /// It becomes non-blocking and close-on-exec, gets the options of the [`Config`](crate::Config)
    /// and a backlog of its length, like a socket that [`listen`](Self::listen) makes. Non-blocking
    /// is a property that all have in common who hold the socket open. Clients that wait in its
    /// backlog already are accepted once the loop runs.
    ///
    /// [`unlisten`](Self::unlisten) and a drain close this descriptor. If nobody else holds the
    /// socket open it listens no more, and resets whoever waits. If somebody does, as systemd, they
    /// wait on.
    ///
    /// # Errors
    ///
    /// When the descriptor is something else than a listening TCP socket, which the error says,
    /// when one of the calls fails, or the loop is stopping. The descriptor is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::TcpListener;
    /// # use edgeloop::{Action, Context, EventLoop, Handler, Input, Origin};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn session(&mut self, _: &Origin) -> Option<()> { Some(()) }
    /// #     fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
    /// #         cx.send(input.take_all()).or_reset()
    /// #     }
    /// # }
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let mut server = EventLoop::new(Echo)?;
    /// assert_eq!(server.listen_on_fd(listener)?, address);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn listen_on_fd(&mut self, descriptor: impl Into<OwnedFd>) -> Result<SocketAddr, Error> {
        let descriptor = descriptor.into();
        let name = given::name_of(&descriptor);
        let what = || format!("cannot listen on {name}");
        given::take_listener(&descriptor)
            .map_err(|error| Error::new(ErrorKind::Listen, what(), error))?;
        self.core.listen_on_given(descriptor, what)
    }
}
