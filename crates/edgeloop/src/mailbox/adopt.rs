//! Streams that other threads give to the loop.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use super::{Handle, Letter, SendErrorKind};
use crate::kernel::{Wakeable, given};

impl<K: Wakeable> Handle<K> {
    /// Gives the loop a connected stream, such as one that another thread has accepted: one
    /// acceptor can feed several loops. The session is made by
    /// [`Handler::session`](crate::Handler::session), with an [`Origin`](crate::Origin) that has no
    /// listener, and from then on it is a connection like any other. Does not block; a few system
    /// calls.
    ///
    /// Nothing is lost of what has come on it, or comes meanwhile. It must be the only descriptor
    /// of its socket, or the connection outlives its end here.
    ///
    /// A loop without a listener ends with its last connection, unless it runs
    /// [until it is stopped](crate::Config::until_stopped).
    ///
    /// At its connection cap, without memory, or when it cuts off what is left behind a stop, the
    /// loop resets the stream and counts it in
    /// [`Metrics::adoptions_refused`](crate::Metrics::adoptions_refused).
    ///
    /// # Errors
    ///
    /// When it is no connected TCP or Unix socket, the mailbox is full, or the loop is gone; the
    /// stream comes back with the error, as it was.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::net::TcpListener;
    ///
    /// use edgeloop::{AdoptErrorKind, Handle};
    ///
    /// /// Accepts, and gives the connections to the loops in turn.
    /// fn distribute(listener: &TcpListener, loops: &[Handle]) -> std::io::Result<()> {
    ///     for handle in loops.iter().cycle() {
    ///         let (stream, _) = listener.accept()?;
    ///         if let Err(error) = handle.adopt(stream)
    ///             && matches!(error.kind, AdoptErrorKind::Stopped)
    ///         {
    ///             break;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn adopt(&self, stream: impl Into<OwnedFd>) -> Result<(), AdoptError> {
        let stream = stream.into();
        if let Err(error) = given::expect_stream(&stream) {
            return Err(AdoptError { kind: AdoptErrorKind::Unfit(error), stream });
        }
        match self.post(Letter::Adopt(stream)) {
            Err((kind, Letter::Adopt(stream))) => {
                let kind = match kind {
                    SendErrorKind::Full => AdoptErrorKind::Full,
                    SendErrorKind::Stopped => AdoptErrorKind::Stopped,
                };
                Err(AdoptError { kind, stream })
            }
            _ => Ok(()),
        }
    }
}

/// Why a stream could not be given to a loop, with the stream.
#[derive(Debug)]
pub struct AdoptError {
    /// Why.
    pub kind: AdoptErrorKind,
    /// The stream that was not adopted.
    pub stream: OwnedFd,
}

/// Why a stream could not be given to a loop.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdoptErrorKind {
    /// The mailbox holds as many bytes as it may; the loop is behind.
    Full,
    /// The loop is gone.
    Stopped,
    /// It is no connected TCP or Unix socket. The error says what it is.
    Unfit(io::Error),
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot adopt {}: ", given::name_of(&self.stream))?;
        match &self.kind {
            AdoptErrorKind::Full => SendErrorKind::Full.fmt(f),
            AdoptErrorKind::Stopped => SendErrorKind::Stopped.fmt(f),
            AdoptErrorKind::Unfit(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AdoptError {}
