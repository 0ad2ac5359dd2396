//! Where an outbound connection goes to, and from where.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::api::address::{Address, UnixAddress};

/// Where an outbound connection goes to: one address, or several that are tried in turn, and from
/// which address of this machine.
///
/// An address alone is a target, too: wherever a target is asked for, a [`SocketAddr`] or an
/// [`Address`] will do, and `Target::from(address)` makes one of it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use edgeloop::{Address, Target};
///
/// // The second one is tried if the first one refuses, or doesn't answer within a second.
/// let first: Address = "[2001:db8::1]:7000".parse()?;
/// let second: Address = "192.0.2.1:7000".parse()?;
/// let target = Target::new(first).or(second).timeout(Some(Duration::from_secs(1)));
/// # let _ = target;
/// # Ok::<(), edgeloop::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The one that is tried now, or first.
    peer: Address,
    others: VecDeque<Address>,
    source: Option<Address>,
    /// `None` leaves it to the loop's settings.
    timeout: Option<Option<Duration>>,
}

impl Target {
    /// This address.
    #[must_use]
    pub fn new(peer: impl Into<Address>) -> Self {
        Self { peer: peer.into(), others: VecDeque::new(), source: None, timeout: None }
    }

    /// One more address, to be tried when those before it can't be connected to.
    #[must_use]
    pub fn or(mut self, peer: impl Into<Address>) -> Self {
        self.others.push_back(peer.into());
        self
    }

    /// Binds the connection to a local address to connect from; the kernel's choice if none is
    /// given. Its port may be 0, which leaves the port to the kernel: bind(2) then takes one that
    /// no other socket with this local address has, whatever it is connected to, so that some
    /// 28,000 are all there are (`net.ipv4.ip_local_port_range`).
    ///
    /// Addresses of another family can't be reached from it: they count as unreachable. The file of
    /// a Unix socket that is bound in this way is the caller's to remove.
    #[must_use]
    pub fn bind(mut self, source: impl Into<Address>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// How long each address is waited for, in place of
    /// [`Config::connect_timeout`](crate::Config::connect_timeout); `None` waits for as long as the
    /// kernel does (some two minutes: `net.ipv4.tcp_syn_retries`, tcp(7)).
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = Some(timeout);
        self
    }

    pub(crate) const fn peer(&self) -> &Address {
        &self.peer
    }

    /// Goes over to the next address; returns whether there is one.
    pub(crate) fn advance(&mut self) -> bool {
        let Some(next) = self.others.pop_front() else { return false };
        self.peer = next;
        true
    }

    pub(crate) const fn source(&self) -> Option<&Address> {
        self.source.as_ref()
    }

    pub(crate) fn timeout_or(&self, usual: Option<Duration>) -> Option<Duration> {
        self.timeout.unwrap_or(usual)
    }
}

impl From<SocketAddr> for Target {
    fn from(peer: SocketAddr) -> Self {
        Self::new(peer)
    }
}

impl From<Address> for Target {
    fn from(peer: Address) -> Self {
        Self::new(peer)
    }
}

impl From<&Address> for Target {
    fn from(peer: &Address) -> Self {
        Self::new(peer)
    }
}

impl From<UnixAddress> for Target {
    fn from(peer: UnixAddress) -> Self {
        Self::new(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_target_by_the_usual_trait() {
        let address = SocketAddr::from(([192, 0, 2, 1], 7000));
        assert_eq!(Target::from(address), Target::new(address));
        let into: Target = address.into();
        assert_eq!(into, Target::new(address));
        let source = SocketAddr::from(([192, 0, 2, 2], 0));
        assert_eq!(Target::from(address).bind(source).source(), Some(&source.into()));
    }
}
