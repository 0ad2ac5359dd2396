//! compio on io_uring: a task and a buffer for each connection, which the kernel fills by itself.

use compio::buf::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::Runtime;
use std::convert::Infallible;
use std::io;
use std::sync::OnceLock;

/// Why it can't run here, if it can't: containers often forbid io_uring.
pub(crate) fn left_out() -> Option<&'static str> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let reason = || Some(format!("io_uring is not available here: {}", Runtime::new().err()?));
    REASON.get_or_init(reason).as_deref()
}

pub(crate) fn echo(read_buffer: usize) -> io::Result<Infallible> {
    Runtime::new()?.block_on(async {
        let listener = crate::listen::listener()?;
        crate::listen::announce(&listener)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            compio::runtime::spawn(serve(stream, read_buffer)).detach();
        }
    })
}

async fn serve(mut stream: TcpStream, read_buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(read_buffer);
    loop {
        let got;
        BufResult(got, buffer) = stream.read(buffer).await;
        if got? == 0 {
            return Ok(());
        }
        let written;
        BufResult(written, buffer) = stream.write_all(buffer).await;
        written?;
        buffer.clear();
    }
}
