//! smol, as its users write it: a task for each connection, on an executor of this thread.
//!
//! async-io, below it, has a thread of its own that waits for events when no other does. Here it
//! sleeps.

use smol::LocalExecutor;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use std::convert::Infallible;
use std::io;

pub(crate) fn echo(read_buffer: usize) -> io::Result<Infallible> {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = crate::listen::listener()?;
        crate::listen::announce(&listener)?;
        let listener = TcpListener::try_from(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            executor.spawn(serve(stream, read_buffer)).detach();
        }
    }))
}

async fn serve(mut stream: TcpStream, read_buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; read_buffer];
    loop {
        let got = stream.read(&mut buffer).await?;
        if got == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..got]).await?;
    }
}
