//! How long a message takes there and back on one connection, with servers that spin among them.
//! The client spins, too.

use std::io;
use std::time::{Duration, Instant};

use peers::Service;

use crate::client::{self, Until};
use crate::pair::Round;
use crate::servers::{BARE, BARE_SPINNING, Contestant, EDGELOOP, READ_BUFFER, SPINNING};
use crate::shapes;
use crate::turns::{InTurn, Measurement};

/// The load.
const SHAPE: &str = "small-1";

/// Who is measured.
const SERVERS: &[&str] = &[SPINNING, EDGELOOP, "tokio-copy", "tokio-ready", BARE, BARE_SPINNING];

/// How long a server is loaded before it counts.
const WARM_UP: Duration = Duration::from_millis(200);

/// What is measured.
pub(crate) const LATENCY: Measurement<Round> =
    Measurement { what: "latency", servers: SERVERS, one };

/// What a server has come to.
pub(crate) type Latency = InTurn<Round>;

fn one(server: &Contestant, length: Duration) -> io::Result<Round> {
    let server = server.start(Service::Echo, READ_BUFFER)?;
    let shape = shapes::find(SHAPE).map_err(io::Error::other)?;
    let mut client = client::connect(shape, server.address())?;
    client.verify()?;
    client.drive(Until::Time(Instant::now() + WARM_UP), &mut client::rounds()?)?;
    let mut rounds = client::rounds()?;
    client.drive(Until::Time(Instant::now() + length), &mut rounds)?;
    client.verify()?;
    Ok(Round::of(&rounds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_servers_and_its_shape_are_there() {
        assert!(shapes::find(SHAPE).is_ok());
        let names: Vec<_> =
            LATENCY.contestants().expect("all are known").iter().map(Contestant::name).collect();
        assert!(names.contains(&SPINNING) && names.contains(&"tokio-copy"), "{names:?}");
    }
}
