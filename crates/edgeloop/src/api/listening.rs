//! What a listener may have for itself, where others go by the loop's settings.

use std::io;
use std::time::Duration;

use crate::api::bounds::Limits;
use crate::api::config::Config;
use crate::api::error::{Error, ErrorKind};

/// The options of one listener, and of the connections that it accepts, for
/// [`EventLoop::listen_with`](crate::EventLoop::listen_with). What is not named is as in the loop's
/// [`Config`], whose methods explain each.
///
/// # Examples
///
/// Clients of one port may be silent for ten seconds, those of the other for an hour.
///
/// ```
/// use std::time::Duration;
/// use edgeloop::{Config, EventLoop, Handler, Limits, ListenOptions};
///
/// fn serve(handler: impl Handler) -> Result<(), edgeloop::Error> {
///     let config = Config::new().idle_timeout(Some(Duration::from_secs(10)));
///     let mut server = EventLoop::with_config(handler, config)?;
///     server.listen("0.0.0.0:3000")?;
///     let patient = Limits::new().idle_timeout(Some(Duration::from_secs(3600)));
///     server.listen_with("127.0.0.1:3001", &ListenOptions::new().limits(patient))?;
///     server.run().map(drop)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenOptions {
    limits: Limits,
    backlog: Option<u32>,
    ipv6_only: Option<bool>,
    keepalive: Option<Option<Duration>>,
    user_timeout: Option<Option<Duration>>,
    send_buffer: Option<Option<usize>>,
    access: Access,
}

/// Who may connect through a file. What is `None` stays as the kernel made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Access {
    /// The permission bits.
    pub(crate) mode: Option<u32>,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
}

impl ListenOptions {
    /// None that differs.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            limits: Limits::new(),
            backlog: None,
            ipv6_only: None,
            keepalive: None,
            user_timeout: None,
            send_buffer: None,
            access: Access { mode: None, user: None, group: None },
        }
    }

    /// The limits of the connections that it accepts.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// As [`Config::backlog`].
    #[must_use]
    pub const fn backlog(mut self, connections: u32) -> Self {
        self.backlog = Some(connections);
        self
    }

    /// As [`Config::ipv6_only`].
    #[must_use]
    pub const fn ipv6_only(mut self, only: bool) -> Self {
        self.ipv6_only = Some(only);
        self
    }

    /// As [`Config::keepalive`]. Where neither names it, it depends on the idle timeout of these
    /// connections.
    #[must_use]
    pub const fn keepalive(mut self, after: Option<Duration>) -> Self {
        self.keepalive = Some(after);
        self
    }

    /// As [`Config::user_timeout`].
    #[must_use]
    pub const fn user_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.user_timeout = Some(timeout);
        self
    }

    /// As [`Config::send_buffer`].
    #[must_use]
    pub const fn send_buffer(mut self, bytes: Option<usize>) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// The permission bits of a Unix socket's file, such as 0o660: whoever may write to it may
    /// connect. They hold before the first client can connect. Without this, they are 0o777 without
    /// those of the process's umask.
    ///
    /// # Panics
    ///
    /// If there are other bits than those of 0o777.
    #[must_use]
    pub const fn unix_mode(mut self, mode: u32) -> Self {
        assert!(mode <= 0o777, "a Unix socket's mode has the bits of 0o777 alone");
        self.access.mode = Some(mode);
        self
    }

    /// The user and the group that the file of a Unix socket gets, by their numbers; `None` leaves
    /// it to the kernel. To give it to another user takes `CAP_CHOWN` (chown(2)).
    #[must_use]
    pub const fn unix_owner(mut self, user: Option<u32>, group: Option<u32>) -> Self {
        self.access.user = user;
        self.access.group = group;
        self
    }

    pub(crate) const fn access(&self) -> Access {
        self.access
    }

    /// The settings of a loop, with these in place of its own.
    pub(crate) fn over(&self, config: &Config) -> Config {
        Config {
            bounds: self.limits.over(&config.bounds),
            backlog: self.backlog.unwrap_or(config.backlog),
            ipv6_only: self.ipv6_only.unwrap_or(config.ipv6_only),
            keepalive: self.keepalive.map_or(config.keepalive, Some),
            user_timeout: self.user_timeout.unwrap_or(config.user_timeout),
            send_buffer: self.send_buffer.unwrap_or(config.send_buffer),
            ..config.clone()
        }
    }
}

/// Does `bind` with one address of a name after the other, until one can be bound. `purpose` is
/// what that is called in the errors.
///
/// # Errors
///
/// When the name could not be resolved or has no address, or that of the last one.
pub(crate) fn bind_first<A, T>(
    addresses: io::Result<impl IntoIterator<Item = A>>,
    purpose: &str,
    mut bind: impl FnMut(A) -> Result<T, Error>,
) -> Result<T, Error> {
    let failed = |what, error| Error::new(ErrorKind::Listen, format!("{what} {purpose}"), error);
    let mut last = None;
    for address in addresses.map_err(|error| failed("cannot resolve the address to", error))? {
        match bind(address) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = Some(error),
        }
    }
    let none = || failed("the name has no address to", io::ErrorKind::AddrNotAvailable.into());
    Err(last.unwrap_or_else(none))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_named_takes_the_place_of_the_settings_and_nothing_else_does() {
        let config = Config::new().user_timeout(Some(SECOND)).send_buffer(Some(5000));
        assert_eq!(ListenOptions::new().over(&config), config);
        let options = ListenOptions::new()
            .user_timeout(None)
            .send_buffer(Some(6000))
            .keepalive(Some(7 * SECOND))
            .backlog(5000)
            .ipv6_only(true)
            .limits(Limits::new().write_timeout(None).input_limit(9));
        let expected = Config::new()
            .send_buffer(Some(6000))
            .keepalive(Some(7 * SECOND))
            .backlog(5000)
            .ipv6_only(true)
            .write_timeout(None)
            .input_limit(9);
        assert_eq!(options.over(&config), expected);
    }

    #[test]
    fn c43_whether_connections_are_probed_depends_on_their_own_idle_timeout() {
        let idle = ListenOptions::new().limits(Limits::new().idle_timeout(Some(SECOND)));
        assert!(Config::new().keepalive_after().is_some());
        assert_eq!(idle.over(&Config::new()).keepalive_after(), None);
        let never = ListenOptions::new().limits(Limits::new().idle_timeout(None));
        let config = Config::new().idle_timeout(Some(SECOND));
        assert_eq!(config.keepalive_after(), None);
        assert!(never.over(&config).keepalive_after().is_some());
    }
}
