//! What discards the bytes of a Unix socket without a copy: their pages go through a pipe to
//! /dev/null.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// The size of the pipe, which is the most that one call discards.
const SIZE: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Drain {
    /// Opened with the first bytes: few sockets discard any.
    pipe: OnceCell<Pipe>,
}

#[derive(Debug)]
struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    nowhere: File,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Without the right to it the usual size does.
        let _ = fcntl_setpipe_size(&into, SIZE);
        Ok(Self { out, into, nowhere: File::options().write(true).open("/dev/null")? })
    }
}

impl Drain {
    pub(super) const fn new() -> Self {
        Self { pipe: OnceCell::new() }
    }

    /// Discards what is there, and returns how many bytes that were; the end of the stream is an
    /// error.
    pub(super) fn discard(&self, stream: &TcpStream) -> io::Result<usize> {
        let pipe = match self.pipe.get() {
            Some(pipe) => pipe,
            None => {
                let pipe = Pipe::open()?;
                self.pipe.get_or_init(|| pipe)
            }
        };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = match splice(stream, None, &pipe.into, None, SIZE, flags) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server has closed")),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut left = count;
        while left > 0 {
            left -= splice(&pipe.out, None, &pipe.nowhere, None, left, SpliceFlags::MOVE)?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_there_is_discarded_and_counted_and_nothing_else() {
        let (mut one, other) = UnixStream::pair().expect("a pair");
        other.set_nonblocking(true).expect("it can be");
        let other = TcpStream::from(OwnedFd::from(other));
        let drain = Drain::new();
        assert_eq!(drain.discard(&other).expect("nothing"), 0);
        one.write_all(&[7; 100_000]).expect("there is room");
        let mut count = 0;
        while count < 100_000 {
            count += drain.discard(&other).expect("bytes");
        }
        one.write_all(b"kept").expect("there is room");
        let mut kept = [0; 4];
        (&other).read_exact(&mut kept).expect("they are there");
        assert_eq!((count, &kept), (100_000, b"kept"));
        drop(one);
        assert_eq!(drain.discard(&other).expect_err("the end").kind(), ErrorKind::UnexpectedEof);
    }
}
