//! Pipes, through which bytes pass from a socket to a socket unseen (splice(2)).

use rustix::io::Errno;

use super::sockets::Sockets;

/// The pipes of a kernel.
pub trait Splice: Sockets {
    /// A pipe. It is closed when it is dropped.
    type Pipe;

    /// pipe2(2), non-blocking and close-on-exec from birth (C20). Fails with `EPERM` where writing
    /// to a connection that is gone through a pipe would raise a signal that isn't ignored:
    /// splice(2) has no `MSG_NOSIGNAL` (C8). Fails with another error where that can't be told now.
    fn pipe(&mut self) -> Result<Self::Pipe, Errno>;

    /// splice(2) from a socket into an empty pipe, of up to `most` bytes. Neither 0 nor `EAGAIN`
    /// says that the socket is empty or at its end.
    fn splice_in(
        &mut self,
        socket: &Self::Socket,
        pipe: &Self::Pipe,
        most: usize,
    ) -> Result<usize, Errno>;

    /// splice(2) of `count` bytes, which must be in the pipe, to a socket.
    fn splice_out(
        &mut self,
        pipe: &Self::Pipe,
        socket: &Self::Socket,
        count: usize,
    ) -> Result<usize, Errno>;

    /// close(2) of both its ends, whatever is in it.
    fn close_pipe(&mut self, pipe: Self::Pipe);
}
