//! Which loop of a group gets a connection.

/// How a [`LoopGroup`](crate::LoopGroup) spreads the connections that it accepts over its loops.
///
/// A connection stays on its loop, so what counts is how many connections each has after a while.
/// Seen with 400 connections that stayed, on four loops and a busy machine of two cores (Linux
/// 6.18):
///
/// | | one each ms | all at once |
/// |---|---|---|
/// | [`Least`](Self::Least) | 101/101/98/100 | 100/100/100/100 |
/// | [`ReusePort`](Self::ReusePort) | 101/105/105/89 | 104/96/101/99 |
/// | [`Exclusive`](Self::Exclusive) | 399/1/0/0 | 119/49/63/169 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spread {
    /// All loops wait at the same listener, and a connection wakes one of them. Whoever accepts it
    /// gives it to the one of two loops, chosen by chance, that has fewer connections; it may be
    /// one of the two itself. This is the default, and right for connections that live for some
    /// time.
    ///
    /// A connection that is handed on costs two system calls more: the other loop is woken, and
    /// resets its waker. A loop that drains hands nothing on.
    #[default]
    Least,
    /// Each loop has a listener of its own (`SO_REUSEPORT`, socket(7)), and the kernel chooses one
    /// by a hash of the addresses. No loop wakes another: this is for connections that are short
    /// and many. Of few connections, one loop may get many more than another, and a loop that is
    /// busy gets as many as the others.
    ///
    /// Who waits in the backlog of a loop that does not run waits for that loop, though others are
    /// idle. A drain accepts all of them. A backlog that is closed otherwise is reset by the
    /// kernel, or goes to the other listeners where `net.ipv4.tcp_migrate_req` is 1 (Linux 5.14).
    /// Another process of the same user may bind the address, too, and gets its part.
    ///
    /// Only listeners of TCP that [`LoopGroup::listen`](crate::LoopGroup::listen) makes are such.
    /// Unix sockets and those that were passed in are shared, and a connection belongs to the loop
    /// that accepts it.
    ReusePort,
    /// All loops wait at the same listener, and a connection belongs to the loop that wakes and
    /// accepts it. The kernel wakes the first that sleeps, always in the same order: one loop
    /// serves all while it can keep up, and the others sleep. That is for loops that are needed
    /// only under load.
    Exclusive,
}
