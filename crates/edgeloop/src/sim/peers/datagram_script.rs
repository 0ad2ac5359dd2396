//! What a scripted peer says and expects by datagrams, and how far it has come.

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::api::time::Time;
use crate::sim::clock::START;
use crate::sim::peers::script::Shown;

/// What is sent next: where to, and what.
pub(crate) type Sending = Option<(SocketAddr, Vec<u8>)>;

/// Where a script sends to, if it doesn't say.
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);

/// What a peer does by datagrams, step by step. See
/// [`Simulation::correspondent`](crate::sim::Simulation::correspondent).
///
/// # Examples
///
/// ```
/// use edgeloop::sim::{DatagramScript, Simulation};
/// use edgeloop::{Action, Context, Datagram, Handler, Input, LoopContext, Origin};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type Session = ();
///     fn session(&mut self, _: &Origin) -> Option<()> { None }
///     fn data(&mut self, _: &mut impl Context, _: &mut (), _: &mut Input<'_>) -> Action {
///         Action::Close
///     }
///     fn datagram(&mut self, cx: &mut impl LoopContext, datagram: &Datagram<'_>) {
///         // One that can't be sent is lost, as on its way.
///         let _ = cx.reply(datagram, datagram.bytes);
///     }
/// }
///
/// let report = Simulation::new(7)
///     .bind_udp("127.0.0.1:3000".parse()?)
///     .correspondent(DatagramScript::new().name("alice").send("hello").expect("hello"))
///     .run(Echo)?;
/// assert_eq!(report.correspondent("alice").received[0].1, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a script does nothing until it is given to a simulation"]
pub struct DatagramScript {
    name: Option<String>,
    from: Option<SocketAddr>,
    to: Option<SocketAddr>,
    retry: Option<Duration>,
    lenient: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Send(Vec<u8>),
    Expect(Vec<u8>),
    ExpectNothing(Duration),
    Wait(Duration),
}

impl DatagramScript {
    /// A script that does nothing, of a peer with an address of its own that sends to
    /// 127.0.0.1:3000.
    pub fn new() -> Self {
        Self::default()
    }

    /// What it is called in failures and in the report; by its address if nothing else is said.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The address that it sends from, and receives at.
    pub const fn from(mut self, address: SocketAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// Where it sends to.
    pub const fn to(mut self, address: SocketAddr) -> Self {
        self.to = Some(address);
        self
    }

    /// Sends a datagram.
    pub fn send(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.with(Step::Send(bytes.into()))
    }

    /// Waits for a datagram that says this. Another one fails the run.
    pub fn expect(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.with(Step::Expect(bytes.into()))
    }

    /// Waits for so long, in which nothing may come.
    pub fn expect_nothing(self, time: Duration) -> Self {
        self.with(Step::ExpectNothing(time))
    }

    /// Waits for so long. What comes meanwhile is kept for the steps behind.
    pub fn wait(self, time: Duration) -> Self {
        self.with(Step::Wait(time))
    }

    /// Sends what it has sent last once more whenever what it expects has not come for so long, as
    /// clients do where datagrams are lost. The answers to all of them may come: what is not
    /// expected is ignored from now on.
    pub const fn retry(mut self, every: Duration) -> Self {
        self.retry = Some(every);
        self.lenient()
    }

    /// Ignores what comes and is not expected, as clients do where datagrams arrive twice.
    pub const fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    fn with(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The address that it sends from; the one with this number if none is asked for.
    pub(crate) fn address(&self, number: usize) -> SocketAddr {
        let port = 20_000 + u16::try_from(number).unwrap_or(u16::MAX - 20_000);
        self.from.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

/// A script that is being played.
pub struct DatagramPlayer {
    name: String,
    script: DatagramScript,
    /// The step that is next, and since when.
    at: usize,
    since: Time,
    last: Option<Vec<u8>>,
    inbox: VecDeque<Vec<u8>>,
    received: Vec<(SocketAddr, Vec<u8>)>,
}

impl fmt::Debug for DatagramPlayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.waits())
    }
}

impl DatagramPlayer {
    pub(crate) fn new(script: DatagramScript, address: SocketAddr) -> Self {
        Self {
            name: script.name.clone().unwrap_or_else(|| address.to_string()),
            script,
            at: 0,
            since: START,
            last: None,
            inbox: VecDeque::new(),
            received: Vec::new(),
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.at == self.script.steps.len()
    }

    pub(super) fn next(&self) -> Time {
        let comes = |or: Time| if self.inbox.is_empty() { or } else { self.since };
        match self.script.steps.get(self.at) {
            None => Time::NEVER,
            Some(Step::Send(_)) => self.since,
            Some(Step::Wait(time)) => self.since.after(*time),
            Some(Step::ExpectNothing(time)) => comes(self.since.after(*time)),
            Some(Step::Expect(_)) => {
                let retry = self.script.retry.filter(|_| self.last.is_some());
                comes(retry.map_or(Time::NEVER, |every| self.since.after(every)))
            }
        }
    }

    pub(super) fn act(&mut self, now: Time) -> Result<Sending, String> {
        let to = self.script.to.unwrap_or(SERVER);
        match self.script.steps.get(self.at) {
            None => {}
            Some(Step::Send(bytes)) => {
                let bytes = bytes.clone();
                self.last = Some(bytes.clone());
                self.go_on(now);
                return Ok(Some((to, bytes)));
            }
            Some(Step::Wait(_)) => self.go_on(now),
            Some(Step::ExpectNothing(_)) => match self.inbox.pop_front() {
                None => self.go_on(now),
                Some(_) if self.script.lenient => {}
                Some(got) => return Err(self.got("expects nothing", &got)),
            },
            Some(Step::Expect(expected)) => match self.inbox.pop_front() {
                None => {
                    self.since = now;
                    return Ok(self.last.clone().map(|last| (to, last)));
                }
                Some(got) if got == *expected => self.go_on(now),
                Some(_) if self.script.lenient => {}
                Some(got) => {
                    let what = format!("expects {}", Shown(expected));
                    return Err(self.got(&what, &got));
                }
            },
        }
        Ok(None)
    }

    fn go_on(&mut self, now: Time) {
        self.at += 1;
        self.since = now;
    }

    fn place(&self) -> String {
        format!("{}, step {} of {}", self.name, self.at + 1, self.script.steps.len())
    }

    fn got(&self, expects: &str, got: &[u8]) -> String {
        format!("{}: {expects}, got the datagram {}", self.place(), Shown(got))
    }

    pub(super) fn hears(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        self.received.push((from, bytes.clone()));
        self.inbox.push_back(bytes);
    }

    pub(super) fn waits(&self) -> String {
        let what = match self.script.steps.get(self.at) {
            None => return format!("{} has come to its end", self.name),
            Some(Step::Send(bytes)) => format!("is to send {}", Shown(bytes)),
            Some(Step::Expect(bytes)) => {
                format!("expects the datagram {}, got none and waits", Shown(bytes))
            }
            Some(Step::ExpectNothing(time)) => format!("expects nothing for {time:?}"),
            Some(Step::Wait(time)) => format!("waits for {time:?}"),
        };
        format!("{}: {what}", self.place())
    }

    /// Its name, and what it has received.
    pub(crate) fn into_result(self) -> (String, Vec<(SocketAddr, Vec<u8>)>) {
        (self.name, self.received)
    }
}
