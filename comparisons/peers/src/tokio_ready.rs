//! tokio written for speed: no buffer for each connection, and no system call without need.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Builder;

thread_local! {
    /// The one read buffer. It is borrowed only between two points at which a task may wait.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn echo(read_buffer: usize) -> io::Result<Infallible> {
    BUFFER.set(vec![0; read_buffer]);
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = crate::listen::listener()?;
        crate::listen::announce(&listener)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream));
        }
    })
}

pub(crate) fn echo_on_unix(read_buffer: usize, path: &Path) -> io::Result<Infallible> {
    BUFFER.set(vec![0; read_buffer]);
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = UnixListener::from_std(crate::listen::listen_on(path)?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream));
        }
    })
}

/// A stream that can be written to without waiting for room.
trait Stream: AsyncRead + AsyncWrite + Unpin {
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl Stream for TcpStream {
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }
}

impl Stream for UnixStream {
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }
}

async fn serve(mut stream: impl Stream) -> io::Result<()> {
    while let Some(rest) = poll_fn(|context| pass_on(&mut stream, context)).await? {
        stream.write_all(&rest).await?;
    }
    Ok(())
}

/// Echoes until there is nothing to read, and then waits for more; the end of the stream is
/// nothing, and what the socket didn't take is copied out of the buffer. `poll_read` knows, as
/// `try_read` does not, that a short read empties the socket.
fn pass_on(
    stream: &mut impl Stream,
    context: &mut Context<'_>,
) -> Poll<io::Result<Option<Vec<u8>>>> {
    BUFFER.with_borrow_mut(|buffer| {
        loop {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            let bytes = buffer.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(None));
            }
            let sent = match stream.write_now(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                result => result?,
            };
            if sent < bytes.len() {
                return Poll::Ready(Ok(Some(bytes[sent..].to_vec())));
            }
        }
    })
}
