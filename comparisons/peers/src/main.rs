//! The program `peer NAME SERVICE READ_BUFFER [PATH|udp]`: one peer by hand, for the tests and for
//! profiling.

use std::ffi::OsString;
use std::process::ExitCode;

use peers::{Peer, Place, Service, all};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Err(error) = run(&arguments) else { return ExitCode::SUCCESS };
    eprintln!("peer: {error}");
    ExitCode::FAILURE
}

fn run(arguments: &[String]) -> Result<(), String> {
    let (name, service, size, place) = match arguments {
        [name, service, size] => (name, service, size, Place::Tcp),
        [name, service, size, place] => (name, service, size, OsString::from(place).into()),
        _ => return Err(format!("usage: peer NAME SERVICE READ_BUFFER [PATH|udp]\n{}", list())),
    };
    let service: Service = service.parse()?;
    let size = size.parse().map_err(|error| format!("{size:?} is no size: {error}"))?;
    peers::serve(name, service, size, &place).map_err(|error| error.to_string())
}

/// The peers, a line each, with the reason where one can't run here.
fn list() -> String {
    let line = |peer: &Peer| {
        let left_out =
            peer.left_out().map_or_else(String::new, |why| format!(" (left out: {why})"));
        format!("{:<18}{}{left_out}", peer.name(), peer.about())
    };
    all().iter().map(line).collect::<Vec<_>>().join("\n")
}
