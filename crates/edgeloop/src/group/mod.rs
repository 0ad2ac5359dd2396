//! Several loops that serve together, each on a thread of its own with a handler of its own.

mod handle;
mod run;
mod seat;
mod spread;

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::api::address::{Address, ToAddresses};
use crate::api::config::{Config, MIN_BUFFER_LIMIT};
use crate::api::error::{Error, ErrorKind, InCall as _};
use crate::api::handler::Handler;
use crate::api::id::MAX_LOOPS;
use crate::api::listening::{ListenOptions, bind_first};
use crate::api::place::MemoryLimit;
use crate::api::receive::Receive;
use crate::core::{Ballast, Core};
use crate::event_loop::Registry;
use crate::kernel::{Linux, Wakeable as _, given};
use crate::mailbox::Mailbox;
pub use handle::{GroupHandle, GroupMetrics, GroupSender};
pub use seat::Seat;
pub use spread::Spread;

/// Several event loops that serve together: one for each core of the machine, each on a thread of
/// its own and with a handler of its own (C52).
///
/// A connection is accepted by one loop or handed on to another ([`Spread`]), and stays there. Its
/// handler and its session need not be `Send`: the handler is made on its loop's thread, by a
/// closure that is told which loop it is for ([`Seat`]). Nothing is shared on the way of a message.
/// What the loops have to say to each other they send as messages ([`GroupSender`]), or by the
/// [`GroupHandle`] that reaches them all.
///
/// What is promised for the process holds for all loops together: the
/// [connection cap](Config::max_connections), the [ceiling](Config::buffer_limit) of queued bytes,
/// of which each loop has an equal part; a stop and a drain are of all of them. A handler that
/// [listens](crate::LoopContext::listen) or [stops to](crate::LoopContext::unlisten) does so for
/// its own loop.
///
/// # Examples
///
/// An echo server on all cores, with loops that tell each other how many clients they have met:
///
/// ```no_run
/// use edgeloop::{
///     Action, Context, GroupSender, Handler, Input, LoopContext, LoopGroup, Origin, Receive,
/// };
///
/// /// A client has come to some loop.
/// #[derive(Clone)]
/// struct Come;
///
/// struct Echo {
///     others: GroupSender<Come>,
///     come: u64,
/// }
///
/// impl Handler for Echo {
///     type Session = ();
///
///     fn session(&mut self, _: &Origin) -> Option<()> {
///         let _ = self.others.post_to_all(&Come);
///         Some(())
///     }
///
///     fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
///         cx.send(input.take_all()).or_reset()
///     }
/// }
///
/// impl Receive<Come> for Echo {
///     fn posted(&mut self, _: &mut impl LoopContext, _: Come) {
///         self.come += 1;
///     }
/// }
///
/// let mut group = LoopGroup::new(|seat| Echo { others: seat.sender(), come: 0 });
/// group.listen("0.0.0.0:3000")?;
/// let metrics = group.run()?;
/// println!("{} connections", metrics.total.accepted);
/// # Ok::<(), edgeloop::Error>(())
/// ```
pub struct LoopGroup<H: Handler, F: Fn(Seat<H>) -> H + Sync> {
    make: F,
    threads: Option<usize>,
    config: Config,
    spread: Spread,
    /// What was made when it was first needed: behind that, no setting can change.
    prepared: Option<Prepared<H>>,
    handlers: PhantomData<fn() -> H>,
}

/// What the loops need before their threads begin, so that no early message and no early connection
/// is lost.
struct Prepared<H: Handler> {
    cores: Vec<Core<Linux>>,
    mailboxes: Vec<Mailbox>,
    handle: GroupHandle,
    registry: Arc<Registry<H, Linux>>,
}

impl<H: Handler, F: Fn(Seat<H>) -> H + Sync> LoopGroup<H, F> {
    /// A group of as many loops as the process may use cores
    /// ([`available_parallelism`](thread::available_parallelism)), with the default settings.
    /// `make` is called once on the thread of each loop.
    pub const fn new(make: F) -> Self {
        let (config, spread) = (Config::new(), Spread::Least);
        Self { make, threads: None, config, spread, prepared: None, handlers: PhantomData }
    }

    /// The number of loops, at most [`MAX_LOOPS`].
    ///
    /// # Panics
    ///
    /// As [`config`](Self::config).
    #[must_use]
    pub fn threads(mut self, loops: usize) -> Self {
        self.expect_unprepared();
        self.threads = Some(loops);
        self
    }

    /// The settings of the loops. The connection cap and the ceiling of queued bytes are those of
    /// all loops together.
    ///
    /// # Panics
    ///
    /// Panics if the group listens already, or has given out a handle.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.expect_unprepared();
        self.config = config;
        self
    }

    /// How connections are spread over the loops.
    ///
    /// # Panics
    ///
    /// As [`config`](Self::config).
    #[must_use]
    pub fn spread(mut self, spread: Spread) -> Self {
        self.expect_unprepared();
        self.spread = spread;
        self
    }

    fn expect_unprepared(&self) {
        assert!(self.prepared.is_none(), "a group is set up before it listens");
    }

    /// Reaches the loops, also before they run: what is sent to them waits.
    ///
    /// # Errors
    ///
    /// When a setting is out of range or contradicts another, or the process or the system is out
    /// of descriptors or memory.
    pub fn handle(&mut self) -> Result<GroupHandle, Error> {
        Ok(self.prepared()?.handle.clone())
    }

    /// Sends messages of the type `M` to the loops, also before they run, and to the sessions of
    /// their connections (C47).
    ///
    /// # Errors
    ///
    /// Those of [`handle`](Self::handle).
    pub fn sender<M: Send + 'static>(&mut self) -> Result<GroupSender<M>, Error>
    where
        H: Receive<M>,
    {
        let prepared = self.prepared()?;
        Ok(prepared.handle.sender_of(prepared.registry.number_of::<M>()))
    }

    /// Listens on an address, for all loops; returns the one that was bound, with the real port
    /// where 0 was asked for. As [`EventLoop::listen`](crate::EventLoop::listen).
    ///
    /// # Errors
    ///
    /// When the name can't be resolved, none of its addresses can be listened on, or those of
    /// [`handle`](Self::handle).
    pub fn listen(&mut self, address: impl ToAddresses) -> Result<Address, Error> {
        self.listen_with(address, &ListenOptions::new())
    }

    /// Listens like [`listen`](Self::listen), with other options than the loops'.
    ///
    /// # Errors
    ///
    /// The same, and when an option is out of range or contradicts another.
    pub fn listen_with(
        &mut self,
        address: impl ToAddresses,
        options: &ListenOptions,
    ) -> Result<Address, Error> {
        let spread = self.spread;
        let prepared = self.prepared()?;
        bind_first(address.to_addresses(), "listen on", |address| {
            prepared.listen(&address, options, spread)
        })
    }

    /// Listens on a socket that was made elsewhere, for all loops, as
    /// [`EventLoop::listen_on_fd`](crate::EventLoop::listen_on_fd). The loops share it, whatever
    /// the [`Spread`].
    ///
    /// # Errors
    ///
    /// Those of [`EventLoop::listen_on_fd`](crate::EventLoop::listen_on_fd) and of
    /// [`handle`](Self::handle). The descriptor is closed then.
    pub fn listen_on_fd(&mut self, descriptor: impl Into<OwnedFd>) -> Result<Address, Error> {
        let prepared = self.prepared()?;
        let descriptor = descriptor.into();
        let name = given::name_of(&descriptor);
        let what = || format!("cannot listen on {name}");
        given::expect_listener(&descriptor)
            .map_err(|error| Error::new(ErrorKind::Listen, what(), error))?;
        let bound = prepared.cores[0].listen_on_given(descriptor, what)?;
        prepared.share(bound)
    }

    /// From now on, calls [`Handler::notified`] of the first loop when something arrives at a
    /// descriptor of yours, as [`EventLoop::notify_on`](crate::EventLoop::notify_on).
    ///
    /// # Errors
    ///
    /// Those of [`EventLoop::notify_on`](crate::EventLoop::notify_on) and of
    /// [`handle`](Self::handle).
    pub fn notify_on(&mut self, descriptor: impl AsFd) -> Result<(), Error> {
        let watched = self.prepared()?.cores[0].kernel.watch(descriptor).in_call("epoll_ctl");
        watched
            .map_err(|error| Error::of_call(ErrorKind::Setup, "cannot watch a descriptor", error))
    }

    /// The connection cap that holds for all loops together, where nothing else takes a descriptor
    /// before the group runs (C24).
    ///
    /// # Errors
    ///
    /// Those of [`handle`](Self::handle).
    pub fn max_connections(&mut self) -> Result<usize, Error> {
        let cores = &self.prepared()?.cores;
        Ok(cores[0].shares_of(cores.len()).0)
    }

    /// The ceiling of the queued bytes of all loops together that holds (C11). Each has an equal
    /// part of it.
    ///
    /// # Errors
    ///
    /// Those of [`handle`](Self::handle).
    pub fn buffer_limit(&mut self) -> Result<usize, Error> {
        let cores = &self.prepared()?.cores;
        Ok(cores[0].config.buffer_limit * cores.len())
    }

    /// How much memory the place allowed when the loops were made; `None` if no limit is known.
    ///
    /// # Errors
    ///
    /// Those of [`handle`](Self::handle).
    pub fn memory_limit(&mut self) -> Result<Option<&MemoryLimit>, Error> {
        Ok(self.prepared()?.cores[0].memory_limit.as_ref())
    }

    /// After how long without traffic connections are closed; `None` if they never are.
    #[must_use]
    pub const fn idle_timeout(&self) -> Option<Duration> {
        self.config.bounds.idle
    }

    /// After how long without traffic the kernel probes connections; `None` if it never does
    /// ([`Config::keepalive`]).
    #[must_use]
    pub fn keepalive(&self) -> Option<Duration> {
        self.config.keepalive_after()
    }

    /// The number of loops that there are, or will be.
    #[must_use]
    pub fn count(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_LOOPS);
        self.threads.unwrap_or_else(cores)
    }

    fn prepared(&mut self) -> Result<&mut Prepared<H>, Error> {
        if self.prepared.is_none() {
            self.prepared = Some(Prepared::new(&self.config, self.count())?);
        }
        self.prepared.as_mut().ok_or_else(|| unreachable!("it was made just now"))
    }
}

impl<H: Handler> Prepared<H> {
    fn new(config: &Config, loops: usize) -> Result<Self, Error> {
        let config = config_of_each(config, loops)?;
        let make = |_| {
            let ballast = Ballast::new(size_of::<H::Session>())?;
            Ok(Core::new(Linux::new()?, config.clone(), ballast))
        };
        let cores: Vec<Core<Linux>> = (0..loops).map(make).collect::<Result<_, Error>>()?;
        let mailboxes: Vec<_> = cores.iter().map(|_| Mailbox::new(config.mailbox_limit)).collect();
        let handles = cores.iter().zip(&mailboxes);
        let handles = handles.map(|(core, mailbox)| mailbox.handle(core.kernel.waker()));
        let handle = GroupHandle::new(handles.collect());
        Ok(Self { cores, mailboxes, handle, registry: Arc::new(Registry::new()) })
    }

    fn listen(
        &mut self,
        address: &Address,
        options: &ListenOptions,
        spread: Spread,
    ) -> Result<Address, Error> {
        let mut config = options.over(&self.cores[0].config);
        config.check()?;
        let has_one_each = spread == Spread::ReusePort && !address.is_unix();
        config.reuse_port = has_one_each;
        let bound = self.cores[0].listen_with(address, &config, options.access())?;
        if !has_one_each {
            return self.share(bound);
        }
        for number in 1..self.cores.len() {
            let core = &mut self.cores[number];
            if let Err(error) = core.listen_with(&bound, &config, options.access()) {
                for core in &mut self.cores[..number] {
                    core.close_last_listener();
                }
                return Err(error);
            }
            // The first loop tells what there is to be told of the backlog.
            core.notices.clear();
        }
        Ok(bound)
    }

    /// Lets all loops accept at the listener that the first one has got just now.
    fn share(&mut self, bound: Address) -> Result<Address, Error> {
        let Some((first, others)) = self.cores.split_first_mut() else { return Ok(bound) };
        if others.is_empty() {
            return Ok(bound);
        }
        match first.share_last_listener(others) {
            Ok(()) => Ok(bound),
            Err(failed) => {
                let _ = first.unlisten(&bound);
                for other in others {
                    let _ = other.unlisten(&bound);
                }
                let what = format!("cannot listen on {bound}");
                Err(Error::of_call(ErrorKind::Listen, what, failed))
            }
        }
    }
}

/// The settings of each loop: it has a part of the ceiling of queued bytes.
fn config_of_each(config: &Config, loops: usize) -> Result<Config, Error> {
    config.check()?;
    let wrong = |what: String| {
        let invalid = std::io::Error::from(std::io::ErrorKind::InvalidInput);
        Err(Error::new(ErrorKind::Config, what, invalid))
    };
    if loops == 0 || loops > MAX_LOOPS {
        return wrong(format!("a group of {loops} loops is not 1 to {MAX_LOOPS}"));
    }
    let fits_the_place = config.fits_the_place;
    let mut config = config.clone().fitted(MemoryLimit::find().as_ref());
    let least = MIN_BUFFER_LIMIT * loops;
    if fits_the_place {
        config.buffer_limit = config.buffer_limit.max(least);
    }
    if config.buffer_limit < least {
        let limit = config.buffer_limit;
        return wrong(format!(
            "a buffer limit of {limit} bytes for {loops} loops is below {least}"
        ));
    }
    config.buffer_limit /= loops;
    config.fits_the_place = false;
    Ok(config)
}

impl<H: Handler, F: Fn(Seat<H>) -> H + Sync> fmt::Debug for LoopGroup<H, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopGroup")
            .field("count", &self.count())
            .field("spread", &self.spread)
            .finish_non_exhaustive()
    }
}
