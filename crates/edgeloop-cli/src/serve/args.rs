//! The arguments of `serve`, as they were typed, and the environment variables that stand for them.
//!
//! Values stay texts, because each can also come from the environment, and a wrong one is to be
//! reported by the name that it came under. `config` reads them.

use std::ffi::OsString;

use clap::Args;

/// The arguments of `edgeloop serve`. The environment variable of each is in its long help.
#[derive(Debug, Default, Args)]
#[allow(rustdoc::broken_intra_doc_links, reason = "the help prints its brackets as they are")]
pub(crate) struct ServeArgs {
    /// [udp://]HOST:PORT, [IPV6]:PORT, PORT, unix:PATH, unix:@NAME [default: 0.0.0.0:3000]
    ///
    /// Where to listen. Several addresses are allowed, of all kinds. PORT alone is 0.0.0.0:PORT. A
    /// host name stands for all its addresses, port 0 for a free port. An IPv6 address can name its
    /// interface: [fe80::1%eth0]:3000. tcp:// may precede each of these; with udp://, datagrams are
    /// answered instead. unix:PATH is the file of a Unix socket. A file that a server has left
    /// behind is replaced; at the end, the file is removed. unix:@NAME is a name without a file
    /// (abstract), to which every user of this machine can connect. With sockets passed in by
    /// LISTEN_FDS, there is no default
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: Vec<OsString>,

    /// Maximum number of connections [default: what descriptors allow]
    ///
    /// Further clients wait in the backlog until a connection ends. The limit of descriptors
    /// (ulimit -n) lowers it, with a warning
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_connections: Option<OsString>,

    /// Close a connection after this long without traffic [default: 10m]
    ///
    /// none disables it
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) idle_timeout: Option<OsString>,

    /// Reset a peer that takes no output for this long [default: 1m]
    ///
    /// A peer that reads less than a sixteenth of its receive buffer in this time looks like one
    /// that reads nothing. none disables it
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) write_timeout: Option<OsString>,

    /// Probe an idle peer after this long [default: 2m or none]
    ///
    /// The default is 2m with --idle-timeout none, else none.
    /// The kernel sends the probes, and ends the connection after as long again without an answer.
    /// none sends none
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) keepalive: Option<OsString>,

    /// Drop a peer that acknowledges nothing this long [default: none]
    ///
    /// The kernel does this. It also drops a peer that has no room for this long, even after the
    /// connection has ended here. none uses the kernel's own limits
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) user_timeout: Option<OsString>,

    /// After a signal, serve open connections this long [default: 10s]
    ///
    /// Connections that are still open then are reset. 0 resets them at once, none waits until all
    /// have ended
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) drain_timeout: Option<OsString>,

    /// Maximum bytes queued [default: 256MiB or a quarter of memory]
    ///
    /// Bytes wait in a queue when a peer does not take its output. Near the limit, only peers that
    /// are owed nothing are read, and those that take nothing may be reset. The memory allowed is
    /// the least of the cgroup's, the process's and the machine's. What the kernel holds for
    /// sockets comes on top: see --send-buffer
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) buffer_limit: Option<OsString>,

    /// Send buffer of each socket [default: as the kernel tunes it]
    ///
    /// The kernel keeps what is in it even after the connection has ended. The kernel lowers the
    /// size to net.core.wmem_max; a warning says so
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) send_buffer: Option<OsString>,

    /// Length of each listener's backlog [default: 4096]
    ///
    /// The kernel lowers it to net.core.somaxconn; a warning says so
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) backlog: Option<OsString>,

    /// Initial number of events per epoll wait [default: 512]
    ///
    /// The number grows up to 4096 while batches come back full
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) event_batch: Option<OsString>,

    /// Maximum number of splice(2) pipes [default: 16]
    ///
    /// Streaming connections pass through them inside the kernel. Each pipe takes two descriptors.
    /// Without a free pipe, bytes are copied; 0 copies everything
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) pipes: Option<OsString>,

    /// Poll this long before sleeping, at most 1s [default: 0]
    ///
    /// After a turn with work, the loop polls for this long before it sleeps, while that pays off.
    /// Polling takes a whole processor. 0 or none always sleeps
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) spin: Option<OsString>,

    /// Number of threads, each with a loop, or auto [default: 1]
    ///
    /// auto is one for each processor that it may use. Limits are those of all threads together
    #[arg(long, value_name = "N|auto", allow_hyphen_values = true)]
    pub(crate) threads: Option<OsString>,

    /// How threads share connections [default: least]
    ///
    /// least gives a new connection to the thread with fewer of two that are chosen at random.
    /// reuseport lets the kernel choose by a hash of the addresses; Unix sockets and sockets passed
    /// in belong to exclusive. exclusive leaves it to the thread that wakes first: the others serve
    /// only under load
    #[arg(long, value_name = "HOW", allow_hyphen_values = true)]
    pub(crate) spread: Option<OsString>,

    /// Bind each thread to a processor of its own
    ///
    /// There are as many different ones as the process may use
    #[arg(long)]
    pub(crate) pin: bool,

    /// Do not accept IPv4 on an IPv6 address such as [::]
    #[arg(long)]
    pub(crate) ipv6_only: bool,

    /// Permissions of Unix socket files [default: 0777 less umask]
    ///
    /// In octal, as in 0660. To connect takes the right to write to the file. They are set before
    /// anybody can connect. They apply to each unix:PATH
    #[arg(long, value_name = "MODE", allow_hyphen_values = true)]
    pub(crate) unix_mode: Option<OsString>,

    /// Owner of Unix socket files [default: who runs it]
    ///
    /// Names or numbers; :GROUP alone leaves the user. They are set before anybody can connect, and
    /// apply to each unix:PATH. To give a file to another user takes CAP_CHOWN
    #[arg(long, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    pub(crate) unix_owner: Option<OsString>,

    /// Answers a second to each UDP source [default: 10k]
    ///
    /// A source is an IPv4 address, or the /64 of an IPv6 address. A second's worth may be used at
    /// once. none disables the limit
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    pub(crate) udp_rate: Option<OsString>,

    /// Answers a second to all UDP sources together [default: 100k]
    ///
    /// A second's worth may be used at once. none disables the limit
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    pub(crate) udp_rate_total: Option<OsString>,

    /// Answers in a row to the same datagram [default: 4]
    ///
    /// When a datagram comes again and again from the same address and port, with the same bytes
    /// and less than a second apart, one is not answered after each N answers. So two echo servers
    /// that answer each other fall silent. none answers all
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) udp_repeats: Option<OsString>,

    /// Format of the log on standard error: text or json [default: text]
    ///
    /// json writes one object a line
    #[arg(long, value_name = "FORMAT", allow_hyphen_values = true)]
    pub(crate) log_format: Option<OsString>,

    /// Log each connection; -vv logs events and payload too
    ///
    /// -vv also logs descriptors. In the environment, the value is 0, 1 or 2. The last of -v and -q
    /// counts
    #[arg(short, long, action = clap::ArgAction::Count, overrides_with = "quiet")]
    pub(crate) verbose: u8,

    /// Log only errors and the addresses listened on
    ///
    /// The last of -v and -q counts
    #[arg(short, long, overrides_with_all = ["verbose", "quiet"])]
    pub(crate) quiet: bool,
}

/// The environment variable that stands for an option.
pub(crate) fn variable(option: &str) -> String {
    format!("EDGELOOP_{}", option.replace('-', "_").to_uppercase())
}

/// Every environment variable that is read.
pub(crate) fn variables() -> Vec<String> {
    let serve = ServeArgs::augment_args(clap::Command::new("serve"));
    serve.get_arguments().map(|argument| variable(argument.get_id().as_str())).collect()
}
