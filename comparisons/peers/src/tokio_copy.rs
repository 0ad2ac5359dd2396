//! tokio, as its users write it: a task and a buffer for each connection, on a runtime of this
//! thread.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Builder;

pub(crate) fn echo(read_buffer: usize) -> io::Result<Infallible> {
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = crate::listen::listener()?;
        crate::listen::announce(&listener)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream, read_buffer));
        }
    })
}

pub(crate) fn echo_on_unix(read_buffer: usize, path: &Path) -> io::Result<Infallible> {
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = UnixListener::from_std(crate::listen::listen_on(path)?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream, read_buffer));
        }
    })
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    read_buffer: usize,
) -> io::Result<()> {
    let mut buffer = vec![0; read_buffer];
    loop {
        let got = stream.read(&mut buffer).await?;
        if got == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..got]).await?;
    }
}
