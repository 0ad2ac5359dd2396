//! What the loop has counted.

/// Counts since the loop was made; all of them only grow, but for the two that say `held`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections accepted.
    pub accepted: u64,
    /// Outbound connections made.
    pub connected: u64,
    /// Connections made elsewhere that the loop was given and has taken.
    pub adopted: u64,
    /// Those that it could not take, at its cap or for want of memory, and has reset.
    pub adoptions_refused: u64,
    /// Connections ended, whatever the reason.
    pub closed: u64,
    /// Connections ended otherwise than by a FIN: reset, failed, stalled, cut off.
    pub aborted: u64,
    /// Connections that the drain deadline, or a stop without a drain, cut off (C37).
    pub cut_off: u64,
    /// Bytes received, and shown to the handler or relayed.
    pub bytes_in: u64,
    /// Those of them that went through a pipe inside the kernel, by splice(2).
    pub bytes_spliced: u64,
    /// Bytes sent that the kernel accepted.
    pub bytes_out: u64,
    /// Bytes sent that the kernel never accepted (C3).
    pub bytes_dropped: u64,
    /// Bytes received after we ended a connection, and discarded (C6).
    pub bytes_discarded: u64,
    /// Datagrams that were shown to the handler.
    pub datagrams_in: u64,
    /// Datagrams that the kernel has taken.
    pub datagrams_out: u64,
    /// Datagrams that were not sent for want of room or memory.
    pub datagrams_dropped: u64,
    /// Datagrams that the kernel did not send: too long, no way to the address, not allowed.
    pub datagrams_refused: u64,
    /// Errors that were received in place of datagrams.
    pub datagram_errors: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Turns behind a wait that could not block, because something was left to do or was polled
    /// for.
    pub polls: u64,
    /// Times that the loop began to poll before it slept ([`Config::spin`](crate::Config::spin)).
    pub spins: u64,
    /// Those of them in which something came that moved a byte, or began or ended a connection.
    pub spins_paid: u64,
    /// Events, timers, letters and calls for connections that are gone (C17).
    pub stale: u64,
    /// Errors of single connections at accept4(2) (C22).
    pub accept_errors: u64,
    /// Pauses of accepting, for want of descriptors or memory (C23), or because it failed again and
    /// again (C22).
    pub accept_pauses: u64,
    /// Times that the connection cap was reached (C24).
    pub cap_reached: u64,
    /// Connections closed because epoll could not register them (C19).
    pub registrations_failed: u64,
    /// Times that queued output came near the ceiling, which pauses reading from connections that
    /// have output queued (C11).
    pub memory_pauses: u64,
    /// Connections given up because queued output filled its share of the memory (C11).
    pub given_up: u64,
    /// Messages refused at a connection's output limit or at the ceiling (C10).
    pub refused: u64,
    /// Times reading paused because the system refused memory (C11).
    pub memory_refusals: u64,
    /// Receives and sends tried again after ENOBUFS or ENOMEM, or after interruptions in a row.
    pub retries: u64,
    /// Panics of the handler (C32).
    pub panics: u64,
    /// Bytes of memory that output queues hold now.
    pub output_held: usize,
    /// Bytes of input kept for handlers now.
    pub input_held: usize,
    /// Connections open now.
    pub connections: usize,
}

impl Metrics {
    /// Grows when a byte comes in, or a connection begins or ends.
    pub(crate) const fn moved(&self) -> u64 {
        let begun = self.accepted.wrapping_add(self.connected).wrapping_add(self.adopted);
        let connections = begun.wrapping_add(self.closed);
        self.bytes_in.wrapping_add(connections)
    }
}

/// Adds up what several loops have counted.
impl std::ops::AddAssign for Metrics {
    fn add_assign(&mut self, other: Self) {
        let Self {
            accepted,
            connected,
            adopted,
            adoptions_refused,
            closed,
            aborted,
            cut_off,
            bytes_in,
            bytes_spliced,
            bytes_out,
            bytes_dropped,
            bytes_discarded,
            datagrams_in,
            datagrams_out,
            datagrams_dropped,
            datagrams_refused,
            datagram_errors,
            turns,
            polls,
            spins,
            spins_paid,
            stale,
            accept_errors,
            accept_pauses,
            cap_reached,
            registrations_failed,
            memory_pauses,
            given_up,
            refused,
            memory_refusals,
            retries,
            panics,
            output_held,
            input_held,
            connections,
        } = other;
        self.accepted += accepted;
        self.connected += connected;
        self.adopted += adopted;
        self.adoptions_refused += adoptions_refused;
        self.closed += closed;
        self.aborted += aborted;
        self.cut_off += cut_off;
        self.bytes_in += bytes_in;
        self.bytes_spliced += bytes_spliced;
        self.bytes_out += bytes_out;
        self.bytes_dropped += bytes_dropped;
        self.bytes_discarded += bytes_discarded;
        self.datagrams_in += datagrams_in;
        self.datagrams_out += datagrams_out;
        self.datagrams_dropped += datagrams_dropped;
        self.datagrams_refused += datagrams_refused;
        self.datagram_errors += datagram_errors;
        self.turns += turns;
        self.polls += polls;
        self.spins += spins;
        self.spins_paid += spins_paid;
        self.stale += stale;
        self.accept_errors += accept_errors;
        self.accept_pauses += accept_pauses;
        self.cap_reached += cap_reached;
        self.registrations_failed += registrations_failed;
        self.memory_pauses += memory_pauses;
        self.given_up += given_up;
        self.refused += refused;
        self.memory_refusals += memory_refusals;
        self.retries += retries;
        self.panics += panics;
        self.output_held += output_held;
        self.input_held += input_held;
        self.connections += connections;
    }
}

impl std::iter::Sum for Metrics {
    fn sum<I: Iterator<Item = Self>>(loops: I) -> Self {
        let mut sum = Self::default();
        loops.for_each(|metrics| sum += metrics);
        sum
    }
}
