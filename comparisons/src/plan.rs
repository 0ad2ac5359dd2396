//! Which pairs a run is made of.

/// The read buffer of servers that are told one: what the targets for streams name.
pub(crate) const READ_BUFFER: usize = 32 * 1024;

use crate::pair::{ITSELF, Pair, Side};
use crate::servers::{self, Contestant};
use crate::shapes::{self, Shape};

/// The pair of these names.
///
/// # Errors
///
/// One line, when a name is wrong or a server can't be compared so.
pub(crate) fn pair(of: &str, against: &str, shape: &str) -> Result<Pair, String> {
    let shape = shapes::find(shape)?;
    let of = servers::find(of)?;
    if against == ITSELF {
        if shape.idle == 0 {
            return Err(format!("{} has no idle connections to leave out for itself", shape.name));
        }
        can_serve(&of, shape)?;
        return Ok(Pair {
            of: Side { server: of, idle: true },
            against: Side { server: of, idle: false },
            shape,
        });
    }
    let against = servers::find(against)?;
    can_serve(&of, shape)?;
    can_serve(&against, shape)?;
    let side = |server| Side { server, idle: true };
    Ok(Pair { of: side(of), against: side(against), shape })
}

/// # Errors
///
/// Why the server can't take part in the shape.
pub(crate) fn can_serve(server: &Contestant, shape: &Shape) -> Result<(), String> {
    let (name, service) = (server.name(), shape.load.service());
    if let Some(reason) = server.left_out() {
        return Err(format!("{name} is left out here: {reason}"));
    }
    if server.serves(service) {
        Ok(())
    } else {
        Err(format!("{name} has no {service}, which {} is made of", shape.name))
    }
}
