//! What the loops of a group have to say to each other.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Handle, Letter, Mailbox};
use crate::api::address::Address;
use crate::api::bounds::Bounds;
use crate::kernel::Wakeable;

/// A connection that one loop has accepted for another.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: OwnedFd,
    pub(crate) peer: Address,
    /// The address of the listener.
    pub(crate) listener: Address,
    /// Its limits, where they are not the loop's.
    pub(crate) limits: Option<Arc<Bounds>>,
}

impl<K: Wakeable> Handle<K> {
    /// Gives the loop a connection; it comes back if the mailbox is full or the loop is gone.
    pub(crate) fn hand_on(&self, accepted: Box<Accepted>) -> Result<(), Box<Accepted>> {
        self.post(Letter::Accepted(accepted)).map_err(|(_, letter)| match letter {
            Letter::Accepted(accepted) => accepted,
            _ => unreachable!("the letter comes back"),
        })
    }

    /// Has the loop look for connections that wait: one may begin where the cap allowed none, or
    /// another loop does not accept at a listener any more.
    pub(crate) fn freed(&self) {
        self.shared.mail().freed = true;
        self.wake();
    }
}

impl Mailbox {
    /// Lets no more letters in, if there are none; returns whether that is so. So a loop that ends
    /// leaves no letter behind that whoever has sent it believes to have arrived.
    pub(crate) fn close_if_empty(&self) -> bool {
        let mut mail = self.shared.mail();
        mail.gone |= mail.letters.is_empty();
        mail.gone
    }
}
