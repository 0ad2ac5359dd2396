//! Input goes to an output through a pipe, unseen (splice(2)).

use rustix::io::Errno;

use super::outgoing::Outgoing;
use super::{Core, is_exhaustion};
use crate::api::handler::Sent;
use crate::api::id::ConnectionId;
use crate::kernel::Kernel;
use crate::store::output::Piped;
use crate::store::pipes::PipeId;

impl<K: Kernel> Core<K> {
    /// Splices up to `most` bytes of a connection's input to another's output, or to its own. There
    /// must be room for them. Returns how many, and what became of them.
    ///
    /// With `None`, only a receive can tell whether there are any: at an urgent mark splice says
    /// EAGAIN for ever, and 0 if a FIN is queued behind it (seen on Linux 6.18). The connection may
    /// have failed by it.
    pub(crate) fn splice(
        &mut self,
        id: ConnectionId,
        target: ConnectionId,
        most: usize,
    ) -> Option<(usize, Sent)> {
        let pipe = self.lend_pipe()?;
        let spliced = self.fill_pipe(id, pipe, most).map(|count| {
            let piped = Piped { pipe, count };
            (count, self.empty_pipe(target, piped))
        });
        let left = match spliced {
            None | Some((_, Sent::Written)) => Some(0),
            Some((count, Sent::Refused | Sent::Gone)) => Some(count),
            // The target keeps it until it is empty.
            Some((_, Sent::Queued | Sent::AboveMark)) => None,
        };
        if let Some(count) = left {
            self.take_back(Piped { pipe, count });
        }
        spliced
    }

    /// An empty pipe, if one can be had.
    fn lend_pipe(&mut self) -> Option<PipeId> {
        let lent = self.pipes.lend(self.now, || self.kernel.pipe());
        if lent.is_err() {
            // Few descriptors are left, or pipes can't be used here. Not at every read (C42).
            self.pause_pipes();
        }
        lent.ok().flatten()
    }

    /// Receives up to `most` bytes of a connection into a pipe. Returns how many, if any.
    fn fill_pipe(&mut self, id: ConnectionId, pipe: PipeId, most: usize) -> Option<usize> {
        let connection = &mut self.connections[id];
        match self.kernel.splice_in(&connection.socket, self.pipes.get(pipe), most) {
            Ok(count) if count > 0 => {
                self.pipes.works();
                connection.active = self.now;
                connection.receive_answered();
                self.metrics.bytes_in += count as u64;
                self.metrics.bytes_spliced += count as u64;
                Some(count)
            }
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => None,
            Err(error) => {
                if !self.cannot_splice(error) {
                    // An error is reported once, and the next receive would look like a clean end
                    // (C7).
                    self.fail(id, error);
                }
                None
            }
        }
    }

    /// Sends what is in a pipe, and lets the target keep it with what its socket does not take.
    fn empty_pipe(&mut self, target: ConnectionId, piped: Piped) -> Sent {
        let connection = &self.connections[target];
        let (pipe, count) = (self.pipes.get(piped.pipe), piped.count);
        let answer = self.kernel.splice_out(pipe, &connection.socket, count);
        self.send_on(target, Outgoing::Piped(piped), answer)
    }

    /// Nothing went into a pipe. Returns whether that is for a reason that receiving does not
    /// share.
    #[cold]
    fn cannot_splice(&mut self, error: Errno) -> bool {
        // Not on this kernel, or not in this sandbox.
        let forbidden = matches!(error, Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::ACCESS);
        if forbidden {
            self.pause_pipes();
        }
        forbidden || is_exhaustion(error)
    }

    /// Pipes can't be made or used for now.
    #[cold]
    fn pause_pipes(&mut self) {
        if let Some(pipe) = self.pipes.pause(self.now) {
            self.kernel.close_pipe(pipe);
        }
    }

    /// Closes the pipe that is kept for the next connection that streams.
    pub(crate) fn shed_pipe(&mut self) {
        if let Some(pipe) = self.pipes.shed() {
            self.kernel.close_pipe(pipe);
        }
    }

    /// A pipe comes back to the pool; with bytes in it, it is closed.
    pub(super) fn take_back(&mut self, piped: Piped) {
        if let Some(pipe) = self.pipes.give_back(piped.pipe, piped.count) {
            self.kernel.close_pipe(pipe);
        }
    }
}
