//! Echo servers that others wrote: nc, socat, and on Python's asyncio and on tokio.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use testkit::{NC, PYTHON, Process, SOCAT, TcpSockets, eventually, skip_unless};

use crate::run::{bench, nobody};

/// A server that is not ours. Dropping it kills that one process.
pub(crate) struct Foreign(Child);

impl Foreign {
    /// Starts it, and waits until it listens there.
    #[track_caller]
    pub(crate) fn start(command: Command, address: SocketAddr) -> Self {
        Self::start_until(command, || TcpSockets::now().listener(address.port()).is_some())
    }

    /// Starts it, and waits until this holds.
    #[track_caller]
    pub(crate) fn start_until(mut command: Command, listens: impl Fn() -> bool) -> Self {
        let server = Self(command.stderr(Stdio::null()).spawn().expect("start the server"));
        eventually("it listens", listens);
        server
    }
}

impl Foreign {
    pub(crate) fn process(&self) -> Process {
        Process::new(self.0.id())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every message comes back as it was sent.
#[track_caller]
fn expect_clean(address: SocketAddr, options: &str) {
    let ran = bench(address, &format!("{options} --grace 10s"));
    ran.expect_all_answered();
    assert!(ran.number("/messages") > 0, "{}", ran.summary);
    assert_eq!(ran.number("/verify/checked") % 64, 0);
}

#[test]
fn nc_is_loaded_and_nothing_is_wrong() {
    if skip_unless("nc_is_loaded_and_nothing_is_wrong", NC) {
        return;
    }
    let address = nobody();
    // What it receives goes into a pipe, and what comes out of that it sends.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut nc = Command::new("nc");
    nc.args(["-l", "127.0.0.1", &address.port().to_string()]).stdin(reader).stdout(writer);
    let _server = Foreign::start(nc, address);
    // It serves one connection, and ends with it.
    expect_clean(address, "-c 1 -d 300ms");
}

#[test]
fn socat_is_loaded_and_nothing_is_wrong() {
    if skip_unless("socat_is_loaded_and_nothing_is_wrong", SOCAT) {
        return;
    }
    let address = nobody();
    let mut socat = Command::new("socat");
    let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,fork", address.port());
    socat.args([&listen, "EXEC:cat"]);
    let _server = Foreign::start(socat, address);
    expect_clean(address, "-c 3 -d 300ms");
    expect_clean(address, "-c 3 -r 100 -d 300ms");
}

const ASYNCIO: &str = r"
import asyncio, sys

async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(echo, '127.0.0.1', int(sys.argv[1]))
    async with server:
        await server.serve_forever()

asyncio.run(main())
";

#[test]
fn asyncio_is_loaded_and_nothing_is_wrong() {
    if skip_unless("asyncio_is_loaded_and_nothing_is_wrong", PYTHON) {
        return;
    }
    let address = nobody();
    let mut python = Command::new("python3");
    python.args(["-c", ASYNCIO, &address.port().to_string()]);
    let _server = Foreign::start(python, address);
    expect_clean(address, "-c 20 -d 300ms");
    expect_clean(address, "-c 20 -r 200 -d 300ms");
    expect_clean(address, "-c 3 -n 30 --connect-per-message");
    expect_clean(address, "-c 2 -d 300ms --stream --verify");
}

/// Serves echo on tokio, on a thread of its own, until the test ends.
fn tokio_echo() -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        runtime.expect("a runtime").block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen");
            tell.send(listener.local_addr().expect("an address")).expect("the test listens");
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    // A load generator may leave with a reset.
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
    });
    told.recv().expect("a server")
}

#[test]
fn tokio_is_loaded_and_nothing_is_wrong() {
    let address = tokio_echo();
    expect_clean(address, "-c 20 -d 300ms");
    expect_clean(address, "-c 20 -r 200 -d 300ms");
    expect_clean(address, "-c 3 -n 30 --connect-per-message");
    expect_clean(address, "-c 2 -d 300ms --stream --verify");
}
