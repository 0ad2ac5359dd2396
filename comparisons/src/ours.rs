//! The library's smallest servers: what a user of the library would write, and nothing else.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::process::Command;

use edgeloop::{
    Action, Address, Closed, Config, ConnectionId, Context, Datagram, EventLoop, Handler, Input,
    LoopContext, Origin, Sent, UnixAddress,
};
use peers::{Place, Service};

/// What they are called.
pub(crate) const NAME: &str = "edgeloop-library";

/// The hidden command that serves; the peers know it by this word, too.
pub(crate) const SERVE: &str = "server";

/// The command that starts this program as such a server at this place.
pub(crate) fn command(service: Service, read_buffer: usize, place: &Place) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([SERVE, NAME, service.name()]).arg(read_buffer.to_string());
    command.args(place.argument());
    Ok(command)
}

/// Serves until a signal ends the process.
///
/// # Errors
///
/// When it can't listen, or the loop fails.
pub(crate) fn serve(service: Service, read_buffer: usize, place: &Place) -> io::Result<()> {
    // More than the library allows without asking: the shapes need it.
    // Who needs more than there are will say so.
    let _ = edgeloop::raise_descriptor_limit();
    let config = Config::new().read_buffer(read_buffer);
    match service {
        Service::Echo => run(Echo, config, place),
        Service::Fanout => run(Room::default(), config.input_limit(Service::MESSAGE), place),
    }
}

fn run<H: Handler>(handler: H, config: Config, place: &Place) -> io::Result<()> {
    let mut server = EventLoop::with_config(handler, config).map_err(io::Error::other)?;
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut listen = |address: Address| server.listen(&address).map_err(io::Error::other);
    match place {
        Place::Tcp => println!("listening on {}", listen(loopback.into())?),
        Place::Unix(path) => println!("listening on {}", listen(UnixAddress::path(path)?.into())?),
        Place::Udp => {
            let (_, address) = server.bind_udp(loopback).map_err(io::Error::other)?;
            println!("listening on udp://{address}");
        }
    }
    server.run().map_err(io::Error::other)?;
    Ok(())
}

struct Echo;

impl Handler for Echo {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    // Compiled into the loop itself, for speed.
    #[inline(always)]
    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        cx.send(input.take_all()).or_reset()
    }

    #[inline(always)]
    fn datagram(&mut self, cx: &mut impl LoopContext, datagram: &Datagram<'_>) {
        // What finds no room is lost.
        let _ = cx.reply(datagram, datagram.bytes);
    }
}

/// A chat of messages of one length: what one member sends, all others receive.
#[derive(Default)]
struct Room {
    members: BTreeSet<ConnectionId>,
}

impl Handler for Room {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        self.members.insert(cx.id());
        Action::Continue
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        let from = cx.id();
        while input.len() >= Service::MESSAGE {
            let message = input.take(Service::MESSAGE);
            for &member in self.members.iter().filter(|&&member| member != from) {
                // A message left out would be a hole in what this member reads.
                if cx.send_to(member, message) == Sent::Refused {
                    cx.reset(member);
                }
            }
        }
        Action::Continue
    }

    fn closed(&mut self, _: &mut impl Context, (): (), closed: &Closed) {
        self.members.remove(&closed.id);
    }
}
