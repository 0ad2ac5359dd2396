//! What serves: one loop, or a group of them. Whoever sets it up need not know which.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use edgeloop::{Address, Error, EventLoop, Handler, ListenOptions, LoopGroup, MemoryLimit, Seat};

/// One loop or several, before they run. The methods are those of [`EventLoop`].
pub(crate) trait Server {
    fn listen_with(&mut self, address: &Address, options: &ListenOptions)
    -> Result<Address, Error>;

    fn listen_on_fd(&mut self, descriptor: OwnedFd) -> Result<Address, Error>;

    /// Binds a socket for datagrams; `None` if there are several loops.
    fn bind_udp(&mut self, address: SocketAddr) -> Option<Result<SocketAddr, Error>>;

    fn max_connections(&mut self) -> Result<usize, Error>;

    fn buffer_limit(&mut self) -> Result<usize, Error>;

    fn memory_limit(&mut self) -> Result<Option<&MemoryLimit>, Error>;

    fn idle_timeout(&self) -> Option<Duration>;

    fn keepalive(&self) -> Option<Duration>;
}

impl<H: Handler> Server for EventLoop<H> {
    fn listen_with(
        &mut self,
        address: &Address,
        options: &ListenOptions,
    ) -> Result<Address, Error> {
        Self::listen_with(self, address, options)
    }

    fn listen_on_fd(&mut self, descriptor: OwnedFd) -> Result<Address, Error> {
        Self::listen_on_fd(self, descriptor)
    }

    fn bind_udp(&mut self, address: SocketAddr) -> Option<Result<SocketAddr, Error>> {
        Some(Self::bind_udp(self, address).map(|(_, bound)| bound))
    }

    fn max_connections(&mut self) -> Result<usize, Error> {
        Ok(Self::max_connections(self))
    }

    fn buffer_limit(&mut self) -> Result<usize, Error> {
        Ok(Self::buffer_limit(self))
    }

    fn memory_limit(&mut self) -> Result<Option<&MemoryLimit>, Error> {
        Ok(Self::memory_limit(self))
    }

    fn idle_timeout(&self) -> Option<Duration> {
        Self::idle_timeout(self)
    }

    fn keepalive(&self) -> Option<Duration> {
        Self::keepalive(self)
    }
}

impl<H: Handler, F: Fn(Seat<H>) -> H + Sync> Server for LoopGroup<H, F> {
    fn listen_with(
        &mut self,
        address: &Address,
        options: &ListenOptions,
    ) -> Result<Address, Error> {
        Self::listen_with(self, address, options)
    }

    fn listen_on_fd(&mut self, descriptor: OwnedFd) -> Result<Address, Error> {
        Self::listen_on_fd(self, descriptor)
    }

    fn bind_udp(&mut self, _: SocketAddr) -> Option<Result<SocketAddr, Error>> {
        None
    }

    fn max_connections(&mut self) -> Result<usize, Error> {
        Self::max_connections(self)
    }

    fn buffer_limit(&mut self) -> Result<usize, Error> {
        Self::buffer_limit(self)
    }

    fn memory_limit(&mut self) -> Result<Option<&MemoryLimit>, Error> {
        Self::memory_limit(self)
    }

    fn idle_timeout(&self) -> Option<Duration> {
        Self::idle_timeout(self)
    }

    fn keepalive(&self) -> Option<Duration> {
        Self::keepalive(self)
    }
}
