//! What a server does with the bytes that it receives.

use std::fmt;
use std::path::Path;
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

/// What a server's connections run over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP on the loopback.
    Tcp,
    /// Stream sockets of the Unix domain (unix(7)).
    Unix,
}

impl Transport {
    /// That of a server with a path to listen at, or without.
    #[must_use]
    pub const fn of(path: Option<&Path>) -> Self {
        if path.is_some() { Self::Unix } else { Self::Tcp }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Unix => "Unix sockets",
        })
    }
}
