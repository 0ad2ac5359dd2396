//! A TCP proxy on tokio, as its users write it: a task for each client, and `copy_bidirectional`.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as Listener};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// The version of tokio.
pub const TOKIO: &str = env!("PEERS_TOKIO");

/// Relays each client of a non-blocking listener to `upstream`, in this thread. Returns only
/// errors.
///
/// # Errors
///
/// When there is no runtime, or when nothing can be accepted any more.
pub fn proxy(listener: Listener, upstream: SocketAddr) -> io::Result<Infallible> {
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::spawn(relay(client, upstream));
        }
    })
}

async fn relay(mut client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut upstream = TcpStream::connect(upstream).await?;
    upstream.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut upstream).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::proxy;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    #[test]
    fn both_streams_arrive_whole() {
        let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let target = upstream.local_addr().expect("an address");
        std::thread::spawn(move || proxy(listener, target));
        let mut client = TcpStream::connect(address).expect("the proxy listens");
        let (mut server, _) = upstream.accept().expect("the proxy connects");
        client.write_all(b"a question").expect("it is sent");
        client.shutdown(Shutdown::Write).expect("it is open");
        let mut text = String::new();
        server.read_to_string(&mut text).expect("it ends");
        assert_eq!(text, "a question");
        server.write_all(b"an answer").expect("it is sent");
        drop(server);
        text.clear();
        client.read_to_string(&mut text).expect("it ends");
        assert_eq!(text, "an answer");
    }
}
