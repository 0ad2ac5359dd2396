//! The whole server on the simulated kernel: bytes become a script.

mod handler;
mod scenario;

use edgeloop::sim::{Ending, Failure, PeerReport, Report};

use crate::bytes::Bytes;
use handler::Echo;
use scenario::{End, Plan, Scenario};

/// Every input is a scenario that must go well: no peer waits in vain, no byte is lost, changed,
/// doubled or out of order, and the loop keeps what it promises.
pub fn server(data: &[u8]) {
    let scenario = Scenario::decode(&mut Bytes::new(data));
    match scenario.simulation().run(scenario.echo()) {
        Ok(report) => check(&scenario, &report),
        Err(failure) => fail(&scenario, &failure),
    }
}

fn fail(scenario: &Scenario, failure: &Failure) -> ! {
    panic!("{failure}\nin {scenario:#?}")
}

fn check(scenario: &Scenario, report: &Report<Echo>) {
    let plans = scenario.peers.iter().chain(&scenario.dialled);
    // Where a connect fails, nobody may be there to report; and where one is tried again, there
    // are more than were planned, who reset.
    for (number, (plan, peer)) in plans.zip(&report.peers).enumerate() {
        if let Err(what) = check_peer(plan, peer) {
            panic!("peer {number}: {what}\n{peer:?}\nin {scenario:#?}");
        }
    }
    assert_eq!(report.handler.open, 0, "sessions are left in {scenario:#?}");
    assert_eq!(report.metrics.panics, 0);
    assert_eq!((report.metrics.output_held, report.metrics.input_held), (0, 0));
}

fn check_peer(plan: &Plan, peer: &PeerReport) -> Result<(), &'static str> {
    if !plan.echo.starts_with(&peer.received) {
        return Err("it received something else than its echo");
    }
    match (plan.end, peer.ending) {
        // The simulation let it down; it was told nothing wrong until then.
        (_, Ending::LetDown) => Ok(()),
        (End::Whole, Ending::Done) if peer.received.len() < plan.echo.len() => {
            Err("the end of its echo is missing")
        }
        (End::Whole | End::Broken, Ending::Done) | (End::Vanished, Ending::Vanished) => Ok(()),
        _ => Err("it came to another end than its script says"),
    }
}
