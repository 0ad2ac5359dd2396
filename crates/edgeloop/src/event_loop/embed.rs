//! What is made elsewhere and served here: listeners and streams that the loop is given.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::EventLoop;
use crate::api::address::Address;
use crate::api::error::{Error, ErrorKind};
use crate::api::handler::{Handler, Origin};
use crate::api::id::ConnectionId;
use crate::core::NotAdopted;
use crate::kernel::{Kernel, UNKNOWN, given};

impl<H: Handler, K: Kernel> EventLoop<H, K> {
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
    /// When the descriptor is something else than a listening TCP or Unix socket, which the error
    /// says, when one of the calls fails, or the loop is stopping. The descriptor is closed then.
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
    /// assert_eq!(server.listen_on_fd(listener)?, address.into());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn listen_on_fd(&mut self, descriptor: impl Into<OwnedFd>) -> Result<Address, Error> {
        let descriptor = descriptor.into();
        let name = given::name_of(&descriptor);
        let what = || format!("cannot listen on {name}");
        given::expect_listener(&descriptor)
            .map_err(|error| Error::new(ErrorKind::Listen, what(), error))?;
        self.core.listen_on_given(descriptor, what)
    }

    /// Serves a stream that was connected elsewhere, with this session. [`Handler::opened`] is
    /// called when the loop runs. From another thread, [`Handle::adopt`](crate::Handle::adopt) does
    /// the same. Does not block.
    ///
    /// It becomes non-blocking and close-on-exec and gets the options of the
    /// [`Config`](crate::Config). Nothing is lost of what has come on it already. It must be the
    /// only descriptor of its socket, or the connection outlives its end here.
    ///
    /// # Errors
    ///
    /// When it is no connected TCP or Unix socket, which the error says, the connection cap is
    /// reached, the loop cuts off what is left behind a stop, or a call fails. The stream is closed
    /// then.
    pub fn adopt(
        &mut self,
        stream: impl Into<OwnedFd>,
        session: H::Session,
    ) -> Result<ConnectionId, Error> {
        let stream = stream.into();
        let what = format!("cannot adopt {}", given::name_of(&stream));
        if let Err(error) = given::expect_stream(&stream) {
            return Err(Error::new(ErrorKind::Adopt, what, error));
        }
        // No turn has begun, so nobody has read the clock lately (C30).
        self.core.now = self.core.kernel.now();
        match self.core.adopt_given(stream) {
            Ok(id) => {
                self.sessions.insert(id.slot(), session);
                self.adopted.push_back(id);
                Ok(id)
            }
            Err(NotAdopted::NoRoom(error)) => Err(Error::new(ErrorKind::Adopt, what, error)),
            Err(NotAdopted::Failed(failed)) => Err(Error::of_call(ErrorKind::Adopt, what, failed)),
        }
    }
}

impl<H: Handler> AsFd for EventLoop<H> {
    /// The loop's epoll descriptor: readable when there is something to serve. Another loop
    /// watches it, and calls [`run_once`](Self::run_once); nothing else may be done with it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.kernel.set()
    }
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Opens what was adopted while the loop did not run.
    pub(super) fn open_adopted(&mut self) {
        while let Some(id) = self.adopted.pop_front() {
            self.trace_registered(id);
            self.open(id);
        }
    }

    /// Another thread has given the loop a stream.
    pub(super) fn adopt_posted(&mut self, stream: OwnedFd) {
        match self.core.adopt_given(stream) {
            Ok(id) => {
                let peer = self.core.address_of(id, K::peer_address);
                let peer = peer.unwrap_or(UNKNOWN);
                let credentials = self.core.credentials(id);
                self.begin(id, &Origin { id, peer, credentials, listener: None });
                // What is left in the mailbox no callback has sent.
                self.core.current = ConnectionId::NONE;
            }
            Err(_) => {
                self.core.metrics.adoptions_refused += 1;
                if self.core.is_at_the_cap() {
                    self.tell_of_the_cap();
                }
            }
        }
    }
}
