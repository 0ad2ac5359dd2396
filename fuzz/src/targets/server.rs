//! The whole server on the simulated kernel: bytes become a script.

mod handler;
mod scenario;

use std::time::Duration;

use edgeloop::sim::{Ending, Failure, PeerReport, Report};

use crate::bytes::Bytes;
use handler::Echo;
use scenario::{End, Plan, Scenario};

/// Every input is a scenario that must go well: no peer waits in vain, no byte is lost, changed,
/// doubled or out of order, and the loop keeps what it promises.
pub fn server(data: &[u8]) {
    let scenario = Scenario::decode(&mut Bytes::new(data));
    let mut simulation = scenario.simulation();
    if cfg!(not(fuzzing)) && std::env::var_os("EDGELOOP_FUZZ_INPUT").is_some() {
        let tell = |at: Duration, what: &str| eprintln!("{:>14.6} ms  {what}", millis(at));
        simulation = simulation.trace(tell);
    }
    match simulation.run_with(scenario.echo(), |start| scenario.connect(start)) {
        Ok(report) => check(&scenario, &report),
        Err(failure) => fail(&scenario, &failure),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn fail(scenario: &Scenario, failure: &Failure) -> ! {
    panic!("{failure}\nin {scenario:#?}")
}

fn check(scenario: &Scenario, report: &Report<Echo>) {
    let whole = report.faults.iter().all(|fault| is_passing(&fault.kind()));
    let plans = scenario.peers.iter().chain(&scenario.dialled);
    // Where a connect fails, nobody may be there to report; and where one is tried again, there
    // are more than were planned, who reset.
    for (number, (plan, peer)) in plans.zip(&report.peers).enumerate() {
        if let Err(what) = check_peer(plan, peer, whole) {
            panic!("peer {number}: {what}\n{peer:?}\nin {scenario:#?}");
        }
    }
    assert_eq!(report.handler.open, 0, "sessions are left in {scenario:#?}");
    assert_eq!(report.metrics.panics, 0);
    assert_eq!((report.metrics.output_held, report.metrics.input_held), (0, 0));
}

/// Whether a fault of this kind costs no connection. A connection that a fault has ended may look
/// to its peer as if it had ended well.
fn is_passing(kind: &str) -> bool {
    let Some((call, fate)) = kind.split_once(": ") else { return false };
    match fate {
        "ENOBUFS" | "ENOMEM" => ["recv", "send", "accept4"].contains(&call),
        "EMFILE" | "ENFILE" => call == "accept4",
        fate => fate == "EINTR" || fate == "cut short" || fate.starts_with("EAGAIN"),
    }
}

/// `whole` says that nothing has ended a connection that was not to end.
fn check_peer(plan: &Plan, peer: &PeerReport, whole: bool) -> Result<(), &'static str> {
    if !plan.echo.starts_with(&peer.received) {
        return Err("it received something else than its echo");
    }
    match (plan.end, peer.ending) {
        // The simulation let it down; it was told nothing wrong until then.
        (_, Ending::Broken | Ending::Cut) => Ok(()),
        (End::Whole, Ending::Done) if whole && peer.received.len() < plan.echo.len() => {
            Err("the end of its echo is missing")
        }
        (End::Whole | End::Broken, Ending::Done) | (End::Vanished, Ending::Vanished) => Ok(()),
        _ => Err("it came to another end than its script says"),
    }
}
