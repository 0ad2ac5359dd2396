//! The echo of datagrams, which is no weapon (C51). Whoever sends a datagram can give the address
//! of somebody else, so an answer is what was sent and never more, and not everything is answered.

mod buckets;
mod own;
mod refusals;
mod repeats;

use std::cell::OnceCell;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use edgeloop::{Datagram, LoopContext, SentDatagram, Time};

pub(crate) use buckets::Rate;
use buckets::{Bucket, Sources};
use own::Own;
pub(crate) use refusals::Refusal;
use refusals::Refusals;
use repeats::Repeats;

use crate::values;

/// Ports of services that answer a datagram without a connection, most of them with more than they
/// were sent: echo, daytime, quote of the day, character generator, DNS, TFTP, NTP, SSDP, mDNS and
/// memcached; and 0, which is nobody's.
const SERVICES: [u16; 11] = [0, 7, 13, 17, 19, 53, 69, 123, 1900, 5353, 11211];

/// How much is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// To each source.
    pub(crate) rate: Option<Rate>,
    /// To all.
    pub(crate) total: Option<Rate>,
    /// In a row, to the same bytes from the same address.
    pub(crate) repeats: Option<u64>,
}

/// Reads how often the same is answered, or `none` for no limit.
pub(crate) fn repeats(text: &str) -> Result<Option<u64>, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    values::count(text, 1, u64::MAX).map(Some).map_err(|error| error + ", or none")
}

/// Answers datagrams.
#[derive(Debug)]
pub(crate) struct DatagramEcho {
    /// Not known before the sockets are bound.
    own: OnceCell<Own>,
    total: Bucket,
    sources: Sources,
    repeats: Repeats,
    refusals: Refusals,
}

impl DatagramEcho {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            own: OnceCell::new(),
            total: Bucket::new(limits.total),
            sources: Sources::new(limits.rate),
            repeats: Repeats::new(limits.repeats),
            refusals: Refusals::default(),
        }
    }

    /// Says where our own sockets are bound, once and before the first datagram.
    pub(crate) fn bound(&self, addresses: Vec<SocketAddr>) {
        let _ = self.own.set(Own::new(addresses));
    }

    /// Answers a datagram with itself, unless it must not be. Whoever logs is told which are not.
    pub(crate) fn answer<S>(
        &mut self,
        cx: &mut impl LoopContext<S>,
        datagram: &Datagram<'_>,
        logs: bool,
    ) {
        let now = cx.now();
        // An answer has no address to leave from that is the one that was asked.
        let was_for_many = is_group(datagram.to) || datagram.local != Some(datagram.to);
        let to = (!was_for_many).then_some(datagram.to);
        let judged = self.judge(now, datagram.from, to, datagram.bytes);
        let answered = judged.and_then(|()| match cx.reply(datagram, datagram.bytes) {
            SentDatagram::Sent | SentDatagram::Gone => Ok(()),
            SentDatagram::Dropped => Err(Refusal::NoRoom),
            SentDatagram::Refused(errno) => Err(Refusal::Kernel(errno)),
        });
        if let Err(refusal) = answered {
            self.refusals.count(refusal);
            if logs {
                self.refusals.tell(refusal, datagram.from, now);
            }
        }
    }

    /// Which were not answered.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Whether to answer; `to` is `None` if it was sent to many. What costs most is asked last, and
    /// what is not answered for any reason takes no token of all.
    fn judge(
        &mut self,
        now: Time,
        from: SocketAddr,
        to: Option<IpAddr>,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let unless = |is_refused: bool, refusal| if is_refused { Err(refusal) } else { Ok(()) };
        unless(SERVICES.contains(&from.port()), Refusal::Port)?;
        let to = to.ok_or(Refusal::Group)?;
        unless(is_group(from.ip()), Refusal::Group)?;
        unless(!self.total.has_one(now), Refusal::Total)?;
        unless(!self.sources.take(from, now), Refusal::Rate)?;
        unless(self.own.get().is_some_and(|own| own.has(from, to)), Refusal::Own)?;
        if !self.repeats.take(from, bytes, now) {
            self.sources.put_back(from);
            return Err(Refusal::Repeat);
        }
        self.total.take(now);
        Ok(())
    }
}

/// Whether an address is that of several machines, or of none. The broadcast address of a subnet
/// does not look like one. The kernel lets no answer go there (EACCES), and tells by `local` that a
/// datagram was sent there; where an IPv6 socket receives it, it lets no answer come from there
/// (EINVAL or ENETUNREACH, Linux 6.18).
fn is_group(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_multicast() || ip.is_unspecified() || ip == Ipv4Addr::BROADCAST
}

/// Whether what is sent to an address comes to many machines, as the kernel knows: to connect to
/// the broadcast address of a subnet takes SO_BROADCAST.
pub(crate) fn is_for_many(address: SocketAddr) -> bool {
    if address.ip().is_unspecified() {
        return false;
    }
    let way = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.connect(address);
    let is_broadcast = || way().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    is_group(address.ip()) || address.is_ipv4() && is_broadcast()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "192.0.2.9";

    fn echo() -> DatagramEcho {
        let rate = Some(Rate::per_second(10.0));
        let limits = Limits { rate, total: Some(Rate::per_second(15.0)), repeats: Some(4) };
        let echo = DatagramEcho::new(limits);
        echo.bound(vec!["192.0.2.9:3000".parse().expect("an address")]);
        echo
    }

    fn judge(echo: &mut DatagramEcho, from: &str, to: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let (from, to) = (from.parse().expect(from), to.parse().expect(to));
        let to = Some(to).filter(|&to| !is_group(to));
        echo.judge(Time::from_nanos(1_000_000_000), from, to, bytes)
    }

    #[test]
    fn c51_ports_of_services_get_no_answer() {
        for port in 0..=u16::MAX {
            let is_service =
                matches!(port, 0 | 7 | 13 | 17 | 19 | 53 | 69 | 123 | 1900 | 5353 | 11211);
            let expected = if is_service { Err(Refusal::Port) } else { Ok(()) };
            let from = format!("192.0.2.1:{port}");
            assert_eq!(judge(&mut echo(), &from, HERE, b""), expected, "{port}");
        }
    }

    #[test]
    fn c51_broadcast_and_multicast_get_no_answer_from_either_side() {
        for ip in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "239.255.255.250"] {
            for ip in [ip.to_owned(), format!("::ffff:{ip}")] {
                let from = SocketAddr::new(ip.parse().expect("an address"), 5000).to_string();
                assert_eq!(judge(&mut echo(), &from, HERE, b""), Err(Refusal::Group), "{ip}");
                let refused = judge(&mut echo(), "192.0.2.1:5000", &ip, b"");
                assert_eq!(refused, Err(Refusal::Group), "{ip}");
            }
        }
        for ip in ["::", "ff02::1", "ff0e::c"] {
            let refused = judge(&mut echo(), &format!("[{ip}]:5000"), "2001:db8::9", b"");
            assert_eq!(refused, Err(Refusal::Group), "{ip}");
            assert_eq!(judge(&mut echo(), "[2001:db8::1]:5000", ip, b""), Err(Refusal::Group));
        }
        assert_eq!(judge(&mut echo(), "[2001:db8::1]:5000", "2001:db8::9", b""), Ok(()));
    }

    #[test]
    fn c51_each_source_has_its_rate_and_all_have_one() {
        let mut echo = echo();
        let mut numbers = 0_u32..;
        let mut ask = |from: &str| {
            judge(&mut echo, from, HERE, &numbers.next().unwrap_or_default().to_be_bytes())
        };
        assert!((0..10).all(|_| ask("192.0.2.1:5000").is_ok()));
        assert_eq!(ask("192.0.2.1:5001"), Err(Refusal::Rate));
        assert!((0..5).all(|_| ask("192.0.2.2:5000").is_ok()));
        assert_eq!(ask("192.0.2.3:5000"), Err(Refusal::Total));
        assert_eq!(ask("192.0.2.1:7"), Err(Refusal::Port));
    }

    #[test]
    fn c51_what_is_left_out_as_a_repetition_takes_no_token() {
        let mut echo = echo();
        let answers = (0..100).map(|_| judge(&mut echo, "192.0.2.1:5000", HERE, b"same"));
        let answered = answers.take_while(|answer| *answer != Err(Refusal::Rate));
        let answered: Vec<_> = answered.map(|answer| answer.is_ok()).collect();
        // Ten tokens are ten answers, and two of the twelve datagrams were left out.
        let four = [true; 4];
        assert_eq!(answered, [&four[..], &[false], &four, &[false], &[true; 2]].concat());
    }

    #[test]
    fn c51_our_own_address_and_what_repeats_itself_take_nothing_from_all() {
        let mut echo = echo();
        for _ in 0..5 {
            assert_eq!(judge(&mut echo, "192.0.2.9:3000", HERE, b""), Err(Refusal::Own));
        }
        for _ in 0..4 {
            assert_eq!(judge(&mut echo, "192.0.2.1:5000", HERE, b"same"), Ok(()));
        }
        assert_eq!(judge(&mut echo, "192.0.2.1:5000", HERE, b"same"), Err(Refusal::Repeat));
        for other in 0..11_u8 {
            let from = format!("192.0.2.{}:5000", 100 + other);
            assert_eq!(judge(&mut echo, &from, HERE, &[other]), Ok(()), "{other}");
        }
        assert_eq!(judge(&mut echo, "192.0.2.99:5000", HERE, b""), Err(Refusal::Total));
    }

    #[test]
    fn c51_no_address_of_many_machines_is_bound() {
        for (address, is_for_many) in [
            ("127.255.255.255:0", true),
            ("255.255.255.255:3000", true),
            ("224.0.0.1:3000", true),
            ("[ff02::1]:3000", true),
            ("[::ffff:224.0.0.1]:3000", true),
            ("0.0.0.0:3000", false),
            ("[::]:3000", false),
            ("127.0.0.1:3000", false),
            ("127.255.255.254:0", false),
            ("[::1]:3000", false),
            ("192.0.2.1:3000", false),
        ] {
            let address = address.parse().expect(address);
            assert_eq!(super::is_for_many(address), is_for_many, "{address}");
        }
    }

    #[test]
    fn repetitions_are_a_count_or_none() {
        assert_eq!(repeats("4"), Ok(Some(4)));
        assert_eq!(repeats("NONE"), Ok(None));
        for text in ["0", "-1", "", "x"] {
            let error = repeats(text).expect_err(text);
            assert!(error.ends_with(", or none"), "{error}");
        }
    }
}
