//! Datagram sockets, compared with the real kernel: up to three on loopback, each in two epoll
//! sets, edge-triggered: for input alone, as the loop has it, and for all there is.
//!
//! # What must be the same
//!
//! - The answer of each call: its error, the address that was bound, a datagram with its addresses.
//! - After each call, of each socket: what poll(2) says.
//! - Whom each call wakes: whoever gets a datagram; and whoever sends one, when it leaves the send
//!   buffer (`sock_wfree`), which on loopback is at once.
//!
//! # What is disregarded
//!
//! - An edge for a datagram where another one waits that is new, too: not all kernels bring one.
//! - How much a receive buffer takes. It is never full here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use edgeloop::epoll::{Epoll, Events, Interest, Mode, Token};
use edgeloop::sim::Random;
use edgeloop::sim::internals::{Message, RealDatagrams, UdpSocket, seen_by};
use rustix::io::Errno;

use super::PATIENCE;
use super::real::readiness;

/// How many sockets there are at the most, and how many calls a script makes.
const SOCKETS: usize = 3;
const CALLS: usize = 50;

/// A port to which no socket of a script is bound.
const NOWHERE: u16 = 1;

/// How many may wait at a socket, and how long they are, so that no buffer is ever full: several
/// short ones, or a long one alone.
const MOST: usize = 20;
const SHORT: usize = 1500;

/// One call.
#[derive(Debug, Clone, Copy)]
enum Call {
    Bind(usize, SocketAddr, bool),
    /// From which socket, to where, from which address of the machine, and how much.
    Send(usize, SocketAddr, Option<IpAddr>, usize),
    Receive(usize),
    Close(usize),
}

/// One socket on both sides.
struct Pair {
    real: RealDatagrams,
    model: UdpSocket,
}

struct Comparison {
    pairs: [Option<Pair>; SOCKETS],
    /// For input alone, and for all.
    sets: [Epoll; 2],
    script: Vec<Call>,
}

/// Runs one script on both.
pub(super) fn compare(random: &mut Random) -> Result<(), String> {
    let sets = [Epoll::new(), Epoll::new()];
    let [Ok(input), Ok(all)] = sets else { return Err("no epoll set".to_owned()) };
    let pairs = Default::default();
    let mut comparison = Comparison { pairs, sets: [input, all], script: Vec::new() };
    for _ in 0..random.size(5, CALLS) {
        let call = comparison.next(random);
        comparison.script.push(call);
        let made = comparison.make(call, random);
        made.map_err(|what| format!("{what}, of datagrams: {:?}", comparison.script))?;
    }
    Ok(())
}

impl Comparison {
    /// The next call of a script.
    fn next(&self, random: &mut Random) -> Call {
        let number = random.below(SOCKETS);
        if self.pairs[number].is_none() {
            let (address, ipv6_only) = self.any_address(random);
            return Call::Bind(number, address, ipv6_only);
        }
        match random.below(20) {
            0 => Call::Close(number),
            1..=7 => Call::Receive(number),
            _ => self.any_send(random, number),
        }
    }

    /// Where a socket may be bound: at a port of its own, or at that of another.
    fn any_address(&self, random: &mut Random) -> (SocketAddr, bool) {
        let ips: [IpAddr; 4] = [
            Ipv4Addr::LOCALHOST.into(),
            Ipv4Addr::new(127, 0, 0, 2).into(),
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv6Addr::UNSPECIFIED.into(),
        ];
        let others: Vec<_> =
            self.pairs.iter().flatten().map(|pair| pair.model.local().port()).collect();
        let is_shared = !others.is_empty() && random.chance(500);
        let port = if is_shared { random.pick(&others) } else { 0 };
        (SocketAddr::new(random.pick(&ips), port), random.chance(300))
    }

    fn any_send(&self, random: &mut Random, number: usize) -> Call {
        let ports: Vec<_> =
            self.pairs.iter().flatten().map(|pair| pair.model.local().port()).collect();
        let port = match random.below(12) {
            0 => NOWHERE,
            1 => 0,
            _ => random.pick(&ports),
        };
        let ip = match random.below(12) {
            0 => Ipv4Addr::BROADCAST,
            1..4 => Ipv4Addr::new(127, 0, 0, 2),
            _ => Ipv4Addr::LOCALHOST,
        };
        let mut to = SocketAddr::from((ip, port));
        if port != 0 && self.target(to).is_none() {
            // Another script may have that port at another address.
            to.set_port(NOWHERE);
        }
        let lengths = [0, 1, 2, 100, 100, SHORT, 65_507, 65_508, 70_000];
        let mut length = random.pick(&lengths);
        let waiting = self.target(to).map_or(0, |at| self.waiting(at));
        if (length > SHORT && length <= 65_507 && waiting > 0) || waiting >= MOST {
            // There may be no room for it.
            return Call::Receive(self.target(to).unwrap_or(number));
        }
        if length == 65_507 && waiting == 0 && random.chance(500) {
            length = SHORT;
        }
        let from = random.chance(300).then(|| IpAddr::from(Ipv4Addr::new(127, 0, 0, 3)));
        let is_v4 = |pair: &Pair| pair.model.local().is_ipv4();
        let from = from.filter(|_| self.pairs[number].as_ref().is_some_and(is_v4));
        Call::Send(number, to, from, length)
    }

    /// The socket that gets what is sent there.
    fn target(&self, to: SocketAddr) -> Option<usize> {
        let taken = self
            .pairs
            .iter()
            .enumerate()
            .filter_map(|(number, pair)| Some((pair.as_ref()?.model.takes(to)?, number)));
        taken.max().map(|(_, number)| number)
    }

    /// How many small datagrams wait there. A long one counts as many.
    fn waiting(&self, number: usize) -> usize {
        let Some(Pair { model, .. }) = &self.pairs[number] else { return 0 };
        let mut model = model.clone();
        let waiting = std::iter::from_fn(|| model.receive().ok());
        waiting.map(|(message, ())| if message.bytes.len() > SHORT { MOST } else { 1 }).sum()
    }

    /// Makes a call on both sides, and lets them come to rest.
    fn make(&mut self, call: Call, random: &mut Random) -> Result<(), String> {
        // Who is woken without fail, and who may be.
        let (mut woken, mut may_be) = (Vec::new(), Vec::new());
        match call {
            Call::Bind(number, address, ipv6_only) => self.bind(number, address, ipv6_only)?,
            Call::Close(number) => self.pairs[number] = None,
            Call::Receive(number) => self.receive(number)?,
            Call::Send(number, to, from, length) => {
                let bytes = random.bytes(length);
                let Some(pair) = &mut self.pairs[number] else { return Ok(()) };
                let expected = pair.model.source(to, from, length);
                let sent = pair.real.send(to, from, &bytes);
                if sent != expected.map(|_| ()) {
                    return Err(format!("it is sent with {sent:?} and not {expected:?}"));
                }
                if let Ok(source) = expected {
                    woken.push((number, false));
                    if let Some(target) = self.target(to)
                        && let Some(pair) = &mut self.pairs[target]
                    {
                        let is_first = pair.model.is_empty();
                        let from = seen_by(to, source);
                        let (room, _) = pair.model.arrive(Message { from, to, bytes }, ());
                        assert!(room, "no buffer is full");
                        if is_first { woken.push((target, true)) } else { may_be.push(target) }
                    }
                }
            }
        }
        self.settle(&woken, &may_be)
    }

    fn bind(&mut self, number: usize, address: SocketAddr, v6only: bool) -> Result<(), String> {
        let mut others = self.pairs.iter().flatten();
        let taken = others.any(|pair| pair.model.is_in_the_way_of(address, v6only));
        let mut real = match RealDatagrams::bind(address, v6only) {
            Ok(_) if taken => return Err(format!("{address} is bound twice")),
            Ok(real) => real,
            Err(Errno::ADDRINUSE) if taken => return Ok(()),
            // There may be no IPv6 here.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if address.is_ipv6() => return Ok(()),
            Err(error) => return Err(format!("{address} is not bound: {error}")),
        };
        let bound = real.address().map_err(|error| error.to_string())?;
        if bound.ip() != address.ip() || ![0, bound.port()].contains(&address.port()) {
            return Err(format!("{bound} is bound for {address}"));
        }
        let interests = [Interest::READABLE, Interest::READABLE | Interest::WRITABLE];
        for (set, interest) in self.sets.iter().zip(interests) {
            set.add(&real, Token(number as u64), interest, Mode::Edge)
                .map_err(|error| error.to_string())?;
        }
        let model = UdpSocket::new(bound, v6only, usize::MAX >> 1, false);
        self.pairs[number] = Some(Pair { real, model });
        // That there is room to send is no wake-up.
        self.heard();
        Ok(())
    }

    fn receive(&mut self, number: usize) -> Result<(), String> {
        let Some(Pair { real, model }) = &mut self.pairs[number] else { return Ok(()) };
        let local = model.local();
        let expected = model.receive().map(|(message, ())| {
            (seen_by(local, message.from), seen_by(local, message.to).ip(), message.bytes)
        });
        let got = real.receive();
        if got == expected {
            return Ok(());
        }
        let length = |answer: Result<(SocketAddr, IpAddr, Vec<u8>), Errno>| {
            answer.map(|(from, to, bytes)| (from, to, bytes.len()))
        };
        let (got, expected) = (length(got), length(expected));
        Err(format!("socket {number} receives {got:?} and not {expected:?}"))
    }

    /// Whom each set has heard of.
    fn heard(&self) -> [Vec<usize>; 2] {
        [0, 1].map(|set| {
            let mut events = Events::with_capacity_and_ceiling(2 * SOCKETS, 2 * SOCKETS);
            let waited = self.sets[set].wait(&mut events, Some(Duration::ZERO));
            waited.expect("epoll_wait can't fail");
            let numbers = events.iter().map(|event| usize::try_from(event.token().0));
            numbers.map(|number| number.expect("a socket's number")).collect()
        })
    }

    /// Waits until the real kernel says what the model says, and everybody was woken who is to be.
    fn settle(&self, woken: &[(usize, bool)], may_be: &[usize]) -> Result<(), String> {
        let begin = Instant::now();
        let mut heard = [Vec::new(), Vec::new()];
        loop {
            let all = self.pairs.iter().enumerate();
            let differs = all.filter_map(|(number, pair)| Some((number, pair.as_ref()?))).find_map(
                |(number, pair)| {
                    let (real, model) = (readiness(&pair.real), pair.model.readiness());
                    (real != model).then(|| format!("socket {number} is {real}, and not {model}"))
                },
            );
            for (all, more) in heard.iter_mut().zip(self.heard()) {
                all.extend(more);
            }
            let missing = woken.iter().find_map(|&(number, input)| {
                let sets = usize::from(!input)..2;
                let silent = sets.clone().find(|&set| !heard[set].contains(&number))?;
                Some(format!("socket {number} is not woken in set {silent}"))
            });
            let Some(what) = differs.or(missing) else { break };
            if begin.elapsed() > PATIENCE {
                return Err(what);
            }
            std::thread::yield_now();
        }
        for (set, heard) in heard.iter().enumerate() {
            for number in heard {
                let meant = woken.iter().any(|&(of, input)| of == *number && (input || set == 1));
                if !meant && !may_be.contains(number) {
                    return Err(format!("socket {number} is woken in set {set}"));
                }
            }
        }
        Ok(())
    }
}
