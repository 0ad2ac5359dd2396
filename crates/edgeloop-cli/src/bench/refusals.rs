//! What can't be asked for where there are datagrams, and why.

use std::time::Duration;

use edgeloop::{Address, MAX_DATAGRAM};

use super::args::BenchArgs;
use super::payload::WORD;
use crate::addresses;
use crate::exit::Failure;
use crate::values::{self, read};

/// How much longer a datagram may be over IPv6, where the header of IP is not counted.
const LONGER: usize = 20;

/// For how long the answer to a datagram is waited for, if the addresses are those of datagrams.
///
/// # Errors
///
/// Names the first option that has no meaning there, and why.
pub(super) fn timeout(
    args: &BenchArgs,
    addresses: &[addresses::Address],
) -> Result<Option<Duration>, Failure> {
    let asked = args.timeout.as_ref();
    let asked = asked.map(|value| read("--timeout", value, values::span)).transpose()?;
    let is_udp = addresses::Address::is_udp;
    if !addresses.iter().any(is_udp) {
        return match asked {
            Some(_) => Err(Failure::usage(
                "--timeout needs an address like udp://HOST:PORT; on connections nothing is lost, \
                 see --grace and --connect-timeout",
            )),
            None => Ok(None),
        };
    }
    if let Some(other) = addresses.iter().find(|address| !address.is_udp()) {
        return Err(Failure::usage(format!(
            "udp:// cannot be used together with {other}: datagrams and connections are measured \
             in different ways; make a run of each"
        )));
    }
    refuse(args)?;
    Ok(Some(asked.unwrap_or(Duration::from_secs(1))))
}

fn refuse(args: &BenchArgs) -> Result<(), Failure> {
    const CONNECTIONS: &str = "datagrams have no connections";
    const NUMBER: &str = "each datagram carries a number by which its answer is known";
    let options = [
        ("--send", !args.send.is_empty(), NUMBER),
        ("--reply", !args.reply.is_empty(), NUMBER),
        ("--expect", !args.expect.is_empty(), NUMBER),
        ("--greeting", args.greeting.is_some(), CONNECTIONS),
        ("--connect-per-message", args.connect_per_message, CONNECTIONS),
        ("--hold", args.hold.is_some(), CONNECTIONS),
        ("--active", args.active.is_some(), CONNECTIONS),
        ("--open-rate", args.open_rate.is_some(), CONNECTIONS),
        ("--connect-timeout", args.connect_timeout.is_some(), CONNECTIONS),
        ("--stream", args.stream, "datagrams are no stream; see --size and --pipeline"),
        ("--window", args.window.is_some(), "datagrams are no stream; see --pipeline"),
    ];
    match options.into_iter().find(|option| option.1) {
        Some((option, _, why)) => {
            Err(Failure::usage(format!("{option} cannot be used with udp://: {why}")))
        }
        None => Ok(()),
    }
}

/// Refuses a size that no datagram to one of these addresses can have.
pub(super) fn check_size(size: usize, addresses: &[Address]) -> Result<(), Failure> {
    if size < WORD {
        return Err(Failure::usage(format!(
            "--size {size} is too small for udp://: expected at least {WORD} bytes, by which an \
             answer is known"
        )));
    }
    let longest = |address: &Address| {
        let is_ipv6 = address.ip().is_some_and(|ip| ip.is_ipv6());
        MAX_DATAGRAM + if is_ipv6 { LONGER } else { 0 }
    };
    match addresses.iter().find(|address| size > longest(address)) {
        Some(address) => Err(Failure::usage(format!(
            "--size {size} is too large for a datagram to {address}: expected at most {} bytes",
            longest(address)
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::config::BenchConfig;

    fn line(change: impl FnOnce(&mut BenchArgs)) -> String {
        let address = vec!["udp://127.0.0.1:7".into()];
        let mut args = BenchArgs { address, ..BenchArgs::default() };
        change(&mut args);
        BenchConfig::resolve(&args).expect_err("it is refused").line
    }

    #[test]
    fn what_has_no_meaning_for_datagrams_is_refused_with_the_reason() {
        let some = || Some("1".into());
        for line in [
            line(|args| args.hold = some()),
            line(|args| args.greeting = Some("lines:1".into())),
            line(|args| args.connect_per_message = true),
            line(|args| args.connect_timeout = some()),
        ] {
            assert!(line.ends_with("cannot be used with udp://: datagrams have no connections"));
        }
        assert!(line(|args| args.send = vec!["x".into()]).contains("carries a number"));
        assert!(line(|args| args.stream = true).contains("are no stream"));
        let both = line(|args| args.address.push("127.0.0.1:7".into()));
        assert!(both.starts_with("udp:// cannot be used together with 127.0.0.1:7: "), "{both}");
        let tcp = line(|args| {
            (args.address, args.timeout) = (vec!["127.0.0.1:7".into()], Some("1s".into()));
        });
        assert!(tcp.starts_with("--timeout needs an address like udp://"), "{tcp}");
    }

    #[test]
    fn a_datagram_has_room_for_its_number_and_fits_into_a_packet() {
        let [v4, v6]: [Address; 2] = ["127.0.0.1:7", "[::1]:7"].map(|one| one.parse().expect(one));
        let (v4, v6) = ([v4], [v6]);
        for (size, addresses, fits) in [
            (7, &v4, false),
            (8, &v4, true),
            (65_507, &v4, true),
            (65_508, &v4, false),
            (65_527, &v6, true),
            (65_528, &v6, false),
        ] {
            assert_eq!(check_size(size, addresses).is_ok(), fits, "{size}");
        }
    }
}
