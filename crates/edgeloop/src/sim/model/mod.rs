//! What the kernel keeps for a process, as pure models without a clock: connections, epoll sets,
//! eventfds.

pub(crate) mod epoll;
pub(crate) mod eventfd;
pub(crate) mod ends;
mod tcp;
#[cfg(feature = "udp")]
pub(crate) mod udp;
mod unix;
pub(crate) mod link;
