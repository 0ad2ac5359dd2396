//! What lies between a connection and its socket: bytes go either way through here, and so does the
//! end of our stream.
//!
//! The short ways, which know that a connection is plain, and splice(2), which nothing can come
//! between, call the kernel themselves.

use std::io::IoSlice;

use rustix::io::Errno;

use super::outgoing::Outgoing;
use crate::connection::Connection;
use crate::connection::flags::Flags;
use crate::kernel::{Kernel, persist};
use crate::store::output::Piped;
use crate::store::pieces::PIECES;
use crate::store::pipes::Pipes;

/// One receive.
pub(crate) fn receive<K: Kernel>(
    kernel: &mut K,
    from: &mut Connection<K::Socket>,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    if from.has(Flags::UNIX) {
        return receive_message(kernel, from, buffer);
    }
    kernel.recv(&from.socket, buffer)
}

/// One receive from a Unix socket. If it ends behind a message that brought descriptors, it shows
/// nothing of what waits behind that, whatever its length (C2).
pub(crate) fn receive_message<K: Kernel>(
    kernel: &mut K,
    from: &mut Connection<K::Socket>,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    let (count, is_cut) = kernel.recv_message(&from.socket, buffer)?;
    if is_cut {
        from.set(Flags::READABLE | Flags::TO_EAGAIN);
    }
    Ok(count)
}

/// One send of these bytes, wherever they are.
pub(super) fn send<K: Kernel>(
    kernel: &mut K,
    pipes: &Pipes<K::Pipe>,
    to: &Connection<K::Socket>,
    bytes: Outgoing<'_>,
) -> Result<usize, Errno> {
    match bytes {
        Outgoing::Bytes(bytes) => kernel.send(&to.socket, bytes),
        Outgoing::Shared(shared, gone) => kernel.send(&to.socket, &shared.bytes()[gone..]),
        Outgoing::Pieces(pieces) => {
            let mut slices = [IoSlice::new(&[]); PIECES];
            let count = pieces.gather(&mut slices);
            kernel.send_vectored(&to.socket, &slices[..count])
        }
        Outgoing::Piped(Piped { pipe, count }) => {
            kernel.splice_out(pipes.get(pipe), &to.socket, count)
        }
    }
}

/// One send of the first bytes that are queued, at most `most`.
pub(super) fn send_queued<K: Kernel>(
    kernel: &mut K,
    pipes: &Pipes<K::Pipe>,
    to: &Connection<K::Socket>,
    most: usize,
) -> Result<usize, Errno> {
    if let Some(Piped { pipe, count }) = to.piped() {
        return kernel.splice_out(pipes.get(pipe), &to.socket, count.min(most));
    }
    let mut slices = [IoSlice::new(&[]); PIECES];
    match to.gather(&mut slices, most) {
        1 => kernel.send(&to.socket, &slices[0]),
        count => kernel.send_vectored(&to.socket, &slices[..count]),
    }
}

/// Ends our stream: all that was sent comes before.
pub(super) fn finish<K: Kernel>(kernel: &mut K, to: &Connection<K::Socket>) -> Result<(), Errno> {
    persist(|| kernel.shutdown_write(&to.socket))
}
