//! monoio on io_uring: a task and a buffer for each connection, which the kernel fills by itself.

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};
use std::convert::Infallible;
use std::io;
use std::sync::OnceLock;

/// Why it can't run here, if it can't: containers often forbid io_uring.
pub(crate) fn left_out() -> Option<&'static str> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let reason = || {
        Some(format!(
            "io_uring is not available here: {}",
            RuntimeBuilder::<IoUringDriver>::new().build().err()?
        ))
    };
    REASON.get_or_init(reason).as_deref()
}

pub(crate) fn echo(read_buffer: usize) -> io::Result<Infallible> {
    RuntimeBuilder::<IoUringDriver>::new().build()?.block_on(async {
        let listener = crate::listen::listener()?;
        crate::listen::announce(&listener)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            monoio::spawn(serve(stream, read_buffer));
        }
    })
}

async fn serve(mut stream: TcpStream, read_buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(read_buffer);
    let mut result;
    loop {
        (result, buffer) = stream.read(buffer).await;
        if result? == 0 {
            return Ok(());
        }
        (result, buffer) = stream.write_all(buffer).await;
        result?;
        buffer.clear();
    }
}
