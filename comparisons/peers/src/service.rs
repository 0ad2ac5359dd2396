//! What a server does with the bytes that it receives, and what they come over.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What a server does with the bytes that it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// They go back to where they came from.
    Echo,
    /// A chat room for measuring: each message of [`Service::MESSAGE`] bytes goes to all other
    /// connections, in the order in which they came, and nothing comes back to its sender.
    Fanout,
}

impl Service {
    /// The length of a message of the chat room, in bytes.
    pub const MESSAGE: usize = 64;

    /// Both, in their order.
    pub const ALL: [Self; 2] = [Self::Echo, Self::Fanout];

    /// The word for it on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Fanout => "fanout",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|service| service.name() == word);
        found.ok_or_else(|| format!("no service is called {word:?}: there are echo and fanout"))
    }
}

/// What a server's bytes come over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP on the loopback.
    Tcp,
    /// Stream sockets of the Unix domain (unix(7)).
    Unix,
    /// Datagrams on the loopback.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Unix => "Unix sockets",
            Self::Udp => "UDP",
        })
    }
}

/// Where a server is told to listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// On a free port of the loopback.
    #[default]
    Tcp,
    /// At this path.
    Unix(PathBuf),
    /// On a free port of the loopback, for datagrams.
    Udp,
}

/// What stands for [`Place::Udp`] on a command line.
const UDP: &str = "udp";

impl Place {
    /// What is used there.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        match self {
            Self::Tcp => Transport::Tcp,
            Self::Unix(_) => Transport::Unix,
            Self::Udp => Transport::Udp,
        }
    }

    /// The last argument of a server's command line: a path, `udp`, or none for TCP.
    #[must_use]
    pub fn argument(&self) -> Option<&OsStr> {
        match self {
            Self::Tcp => None,
            Self::Unix(path) => Some(path.as_os_str()),
            Self::Udp => Some(OsStr::new(UDP)),
        }
    }
}

/// Reads an argument. A relative path of that name is `./udp`.
impl From<OsString> for Place {
    fn from(argument: OsString) -> Self {
        if argument == UDP { Self::Udp } else { Self::Unix(argument.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_its_own_argument() {
        assert_eq!(Place::default().argument(), None);
        for place in [Place::Udp, Place::Unix("/tmp/a".into()), Place::Unix("./udp".into())] {
            let argument = place.argument().expect("an argument").to_owned();
            assert_eq!(Place::from(argument), place);
        }
    }
}
