//! tokio written for speed, for datagrams: one task, and no wait while something is there.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use tokio::net::UdpSocket;
use tokio::runtime::Builder;

pub(crate) fn echo(read_buffer: usize) -> io::Result<Infallible> {
    let mut buffer = vec![0; read_buffer];
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let socket = UdpSocket::from_std(crate::listen::datagrams()?)?;
        loop {
            socket.readable().await?;
            loop {
                match socket.try_recv_from(&mut buffer) {
                    Ok((length, from)) => drop(socket.try_send_to(&buffer[..length], from)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
    })
}
