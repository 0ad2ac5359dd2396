//! An HTTP/1.1 server on hyper and tokio: one page, a task for each client, and answers to
//! pipelined requests written together.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener as Listener;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// The version of hyper.
pub const HYPER: &str = env!("PEERS_HYPER");

/// The page.
const PAGE: &[u8] = b"Hello, world!\n";

/// Serves the clients of a non-blocking listener, in this thread. Returns only errors.
///
/// # Errors
///
/// When there is no runtime, or when nothing can be accepted any more.
pub fn http(listener: Listener) -> io::Result<Infallible> {
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (client, _) = listener.accept().await?;
            client.set_nodelay(true)?;
            let mut builder = http1::Builder::new();
            let connection = builder.pipeline_flush(true);
            tokio::spawn(connection.serve_connection(TokioIo::new(client), service_fn(answer)));
        }
    })
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(PAGE)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::http;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn pipelined_requests_are_all_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || http(listener));
        let mut client = TcpStream::connect(address).expect("it listens");
        let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let requests = format!("{}{last}", "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
        client.write_all(requests.as_bytes()).expect("it is sent");
        let mut text = String::new();
        client.read_to_string(&mut text).expect("it ends");
        assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 4, "{text}");
        assert_eq!(text.matches("\r\n\r\nHello, world!\n").count(), 4, "{text}");
    }
}
