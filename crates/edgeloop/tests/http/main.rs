//! The example `http`: real clients, requests that it must refuse, and the simulated kernel.

#[path = "../../examples/http/body.rs"]
mod body;
#[path = "../../examples/http/request.rs"]
mod request;
#[path = "../../examples/http/server.rs"]
mod server;

mod clients;
mod raw;
mod simulated;

use std::sync::LazyLock;

use testkit::Server;

/// What `/` answers.
const HELLO: &[u8] = b"Hello, world!\n";

/// The path of the program.
static PROGRAM: LazyLock<String> = LazyLock::new(|| testkit::example("http"));

fn start() -> Server {
    Server::start(&PROGRAM, &["127.0.0.1:0"])
}

/// The first bytes that the server generates.
fn generated(count: usize) -> Vec<u8> {
    server::PATTERN.iter().copied().cycle().take(count).collect()
}

/// An answer with this status, these header fields behind the first three, and this body.
fn answer(status: &str, date: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: text/plain\r\n{fields}");
    [head.as_bytes(), b"\r\n", body].concat()
}

/// An answer in order, with its length.
fn ok(date: &str, body: &[u8]) -> Vec<u8> {
    answer("200 OK", date, &format!("Content-Length: {}\r\n", body.len()), body)
}
