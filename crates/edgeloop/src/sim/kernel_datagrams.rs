//! Datagram sockets on the simulated kernel.

use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use crate::api::error::{Failed, InCall};
use crate::epoll::Interest;
use crate::kernel::{Datagrams, EventSource, Received};
use crate::sim::faults::name;
use crate::sim::kernel::Socket;
use crate::sim::world::{File, name_of};
use crate::sim::{Call, SimulatedKernel};

impl Datagrams for SimulatedKernel {
    type Datagrams = Socket;

    fn bind_datagrams(&mut self, address: SocketAddr, ipv6_only: bool) -> Result<Socket, Failed> {
        let mut world = self.call();
        world.meet(Call::Socket, None, 0).in_call("socket")?;
        let number = world.open(File::Fresh(address.into())).in_call("socket")?;
        drop(world);
        let socket = self.socket_of(number);
        let answer = {
            let mut world = self.call();
            world.meet(Call::SetOption, None, 0).in_call("setsockopt")
        };
        answer?;
        let answer = {
            let mut world = self.call();
            let answer = world
                .meet(Call::Bind, None, 0)
                .and_then(|_| world.bind_datagrams(number, address, ipv6_only));
            world.note(|| {
                let told = answer.map_or_else(name, |()| "0".to_owned());
                format!("bind({number}, udp://{address}): {told}")
            });
            answer.in_call("bind")
        };
        answer.map(|()| socket)
    }

    fn datagram_address(&mut self, socket: &Socket) -> Result<SocketAddr, Errno> {
        let mut world = self.call();
        world.meet(Call::LocalAddress, None, 0)?;
        Ok(world.datagram_address(socket.number()))
    }

    fn register_datagrams(&mut self, socket: &Socket, source: EventSource) -> Result<(), Errno> {
        let mut world = self.call();
        let number = socket.number();
        world.note(|| format!("epoll_ctl: adds {number} as {}", name_of(source)));
        if let EventSource::Datagrams(id) = source {
            world.is_named(number, id);
        }
        world.register(number, source.token(), Interest::READABLE)
    }

    fn receive_datagram(&mut self, socket: &Socket, buffer: &mut [u8]) -> Result<Received, Errno> {
        let mut world = self.call();
        let answer = world.receive_datagram(socket.number(), buffer);
        world.note(|| {
            let told = answer.map_or_else(name, |Received { length, from, .. }| {
                format!("{length} bytes from {from}")
            });
            format!("recvmsg({}): {told}", socket.number())
        });
        answer
    }

    fn send_datagram(
        &mut self,
        socket: &Socket,
        to: SocketAddr,
        from: Option<IpAddr>,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        let mut world = self.call();
        let answer = world.send_datagram(socket.number(), to, from, bytes);
        world.note(|| {
            let told = answer.map_or_else(name, |()| "sent".to_owned());
            format!("sendmsg({}, {} bytes to {to}): {told}", socket.number(), bytes.len())
        });
        answer
    }
}
