//! What a socket did not take, and messages that arrive in pieces: for the servers that keep both
//! themselves.

use std::io::{self, ErrorKind, Write};

use crate::service::Service;

/// What a socket did not take. Nothing is read from a connection while it owes something.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    from: usize,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Sends, and keeps what the socket does not take. Whether nothing is left to send.
    #[inline]
    pub(crate) fn send(&mut self, socket: &mut impl Write, bytes: &[u8]) -> io::Result<bool> {
        match socket.write(bytes) {
            Ok(sent) if sent == bytes.len() => Ok(true),
            Ok(sent) => self.send_rest(socket, &bytes[sent..]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.add(bytes);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Goes on after a partial write, since only `WouldBlock` promises an edge.
    #[cold]
    fn send_rest(&mut self, socket: &mut impl Write, bytes: &[u8]) -> io::Result<bool> {
        let sent = write(socket, bytes)?;
        self.add(&bytes[sent..]);
        Ok(sent == bytes.len())
    }

    /// Sends what is queued. Whether nothing is left to send.
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        self.from += write(socket, &self.bytes[self.from..])?;
        if self.from < self.bytes.len() {
            return Ok(false);
        }
        // The memory goes back: a connection rarely owes anything.
        *self = Self::default();
        Ok(true)
    }
}

/// Writes until all is written or the socket is full.
fn write(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(more) => sent += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// The beginning of a message of the chat room whose end has not come.
#[derive(Debug)]
pub(crate) struct Partial {
    bytes: [u8; Service::MESSAGE],
    length: usize,
}

impl Default for Partial {
    fn default() -> Self {
        Self { bytes: [0; Service::MESSAGE], length: 0 }
    }
}

impl Partial {
    /// The whole messages in `buffer`, into which `got` bytes were received behind the room for one
    /// message. What was kept goes in front of them; what is behind the last one is kept.
    pub(crate) fn whole<'a>(&mut self, buffer: &'a mut [u8], got: usize) -> &'a [u8] {
        let start = Service::MESSAGE - self.length;
        buffer[start..Service::MESSAGE].copy_from_slice(&self.bytes[..self.length]);
        let all = &buffer[start..Service::MESSAGE + got];
        let (whole, rest) = all.split_at(all.len() - all.len() % Service::MESSAGE);
        self.bytes[..rest.len()].copy_from_slice(rest);
        self.length = rest.len();
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_pieces_of_any_length_come_out_whole_and_in_order() {
        let sent: Vec<u8> = (0..=255).cycle().take(10 * Service::MESSAGE).collect();
        for piece in 1..=3 * Service::MESSAGE {
            let mut partial = Partial::default();
            let mut received = Vec::new();
            let mut buffer = vec![0; Service::MESSAGE + piece];
            for bytes in sent.chunks(piece) {
                buffer[Service::MESSAGE..][..bytes.len()].copy_from_slice(bytes);
                let whole = partial.whole(&mut buffer, bytes.len());
                assert_eq!(whole.len() % Service::MESSAGE, 0);
                received.extend_from_slice(whole);
            }
            assert!(received == sent, "pieces of {piece} bytes");
        }
    }
}
