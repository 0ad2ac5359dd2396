//! A server that stands still for half a second: what the open loop tells of it, and what others
//! hide.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use testkit::{OddServer, Oddity};

use crate::run::{Bench, Going, Ran, Rows};
use crate::serve::serve;

pub(crate) const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// A hundred messages a second, of which 50 are due while the server stands still. So few that a
/// machine with much else to do keeps up with them one by one.
pub(crate) const OPEN: &str = "-r 100 -d 4s --grace 10s";

fn pauses(after: u64) -> OddServer {
    OddServer::start(Oddity::Pauses { after, span: HALF_A_SECOND })
}

/// Latencies fall evenly from half a second, as those of 50 messages.
///
/// Hardly fewer can be above: the server was still for so long at the least. There are more where
/// it went on later than it should: half a second for that is plenty, and still far from all
/// messages. And there is one more for each hundredth of a second for which others had the machine.
#[track_caller]
pub(crate) fn expect_an_even_fall(ran: &Ran, starved: Duration) {
    let more = 50 + u64::try_from(starved.as_millis() / 10).expect("hardly a minute");
    for (millis, count) in [(100, 40), (250, 25), (375, 12)] {
        let above = ran.above("latency_us", millis);
        assert!(
            (count - 2..=count + more).contains(&above),
            "{above} above {millis} ms:\n{}",
            ran.summary
        );
    }
    // The first one was due within 10 ms, if the machine had nothing else to do just then.
    assert!(ran.figure("/latency_us/max") >= 475_000.0, "{}", ran.summary);
}

/// One message was under way while the server stood still, and two more are for a machine that
/// stumbles on its own. One waits for so long again where others had the machine for that time.
#[track_caller]
fn expect_one_long(name: &str, ran: &Ran, starved: Duration) {
    let more = 3 + u64::try_from(starved.as_millis() / 250).expect("hardly a minute");
    assert!((1..=more).contains(&ran.above(name, 250)), "{}", ran.summary);
}

fn begin(address: SocketAddr, options: &str) -> Going {
    Bench::of(&address.to_string(), options).begin()
}

#[test]
fn the_open_loop_tells_of_all_who_came_while_the_server_stood_still() {
    // On one connection, so that all stand behind the one that the server took before.
    let server = pauses(200 * 64);
    let (ran, starved) = begin(server.address(), &format!("-c 1 {OPEN}")).end_and_starved();
    ran.expect_all_answered().expect_messages(400, 0);
    expect_an_even_fall(&ran, starved);
}

#[test]
fn with_one_in_flight_the_service_time_hides_the_pause_and_the_latency_does_not() {
    let server = pauses(200 * 64);
    let (ran, starved) = begin(server.address(), &format!("-c 1 -p 1 {OPEN}")).end_and_starved();
    ran.expect_all_answered().expect_messages(400, 0);
    expect_an_even_fall(&ran, starved);
    expect_one_long("service_us", &ran, starved);
}

#[test]
fn the_closed_loop_hides_the_pause() {
    let server = pauses(20 * 64);
    let (ran, starved) = begin(server.address(), "-c 1 -d 2s --grace 10s").end_and_starved();
    ran.expect_all_answered();
    expect_one_long("latency_us", &ran, starved);
    assert_eq!(ran.above("service_us", 250), ran.above("latency_us", 250));
}

#[test]
fn a_real_server_that_is_stopped_and_goes_on_is_told_of_as_well() {
    let server = serve(&[]);
    let rows = Rows::new();
    let going = Bench::of(&server.address().to_string(), &format!("-c 4 {OPEN}"))
        .with(&["--csv", &rows.path()])
        .begin();
    rows.await_rows(1);
    server.stopped(|| thread::sleep(HALF_A_SECOND));
    let (ran, starved) = going.end_and_starved();
    ran.expect_all_answered().expect_messages(400, 0);
    expect_an_even_fall(&ran, starved);
}
