//! What a simulation came to in which nothing went wrong that was not meant to.

use std::fmt;
use std::time::Duration;

use crate::api::closed::Closed;
use crate::api::metrics::Metrics;
use crate::sim::faults::Fault;
use crate::sim::peers::script::Ending;

/// What a simulation came to in which nothing went wrong that was not meant to.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use edgeloop::sim::{Script, Simulation};
/// use edgeloop::{Config, Reason};
/// # use edgeloop::{Action, Context, Handler, Input, Origin};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type Session = ();
/// #     fn session(&mut self, _: &Origin) -> Option<()> { Some(()) }
/// #     fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
/// #         cx.send(input.take_all()).or_reset()
/// #     }
/// # }
///
/// let report = Simulation::new(7)
///     .config(Config::new().idle_timeout(Some(Duration::from_secs(3600))))
///     .peer(Script::new().name("sleeper").send("hello").expect("hello").expect_end())
///     .run(Echo)?;
/// let sleeper = report.peer("sleeper");
/// assert_eq!(sleeper.reason(), Some(Reason::IdleTimeout));
/// assert!(report.elapsed > Duration::from_secs(3600));
/// # Ok::<(), edgeloop::sim::Failure>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Report<H> {
    /// The handler, as the run left it.
    pub handler: H,
    /// What the loop has counted.
    pub metrics: Metrics,
    /// Each peer, in the order in which they were added; behind them those that the handler
    /// connected to, in the order of that.
    pub peers: Vec<PeerReport>,
    /// Each peer that sent and received datagrams, in the order in which they were added.
    #[cfg(feature = "udp")]
    pub correspondents: Vec<CorrespondentReport>,
    /// How long it took by the simulated clock.
    pub elapsed: Duration,
    /// What went wrong, in its order.
    pub faults: Vec<Fault>,
}

impl<H> fmt::Debug for Report<H> {
    /// Without the handler, so that no handler needs to implement it for an `expect_err`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("metrics", &self.metrics)
            .field("peers", &self.peers)
            .field("elapsed", &self.elapsed)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl<H> Report<H> {
    /// The first peer of this name.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn peer(&self, name: &str) -> &PeerReport {
        let names = || self.peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>();
        let peer = self.peers.iter().find(|peer| peer.name == name);
        peer.unwrap_or_else(|| panic!("no peer has the name {name:?}: there are {:?}", names()))
    }

    /// The first of those with this name that sent and received datagrams.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[cfg(feature = "udp")]
    #[must_use]
    #[track_caller]
    pub fn correspondent(&self, name: &str) -> &CorrespondentReport {
        let names = || self.correspondents.iter().map(|it| it.name.as_str()).collect::<Vec<_>>();
        let found = self.correspondents.iter().find(|it| it.name == name);
        let none = || panic!("no correspondent has the name {name:?}: there are {:?}", names());
        found.unwrap_or_else(none)
    }
}

/// What became of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerReport {
    /// Its name.
    pub name: String,
    /// All that it has received.
    pub received: Vec<u8>,
    /// How it came to its end.
    pub ending: Ending,
    /// What the handler's [`closed`](crate::Handler::closed) callback was told of this connection;
    /// `None` if it had no session.
    pub closed: Option<Closed>,
}

impl PeerReport {
    /// The reason in [`closed`](Self::closed).
    #[must_use]
    pub fn reason(&self) -> Option<crate::api::closed::Reason> {
        self.closed.as_ref().map(|closed| closed.reason)
    }
}

/// What became of one peer that sent and received datagrams.
#[cfg(feature = "udp")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorrespondentReport {
    /// Its name.
    pub name: String,
    /// The address that it sent from.
    pub address: std::net::SocketAddr,
    /// What it has received, in order, and from which address each came.
    pub received: Vec<(std::net::SocketAddr, Vec<u8>)>,
}
