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

use std::process::Command;
use std::sync::LazyLock;

use testkit::Server;

/// What `/` answers.
const HELLO: &[u8] = b"Hello, world!\n";

/// The path of the program. Cargo has made it already, but when this test is run by itself.
static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let this = std::env::current_exe().expect("the path of this program");
    let profile = this.ancestors().nth(2).expect("the directory of the profile");
    let target = profile.parent().expect("the target directory");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "edgeloop", "--example", "http", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.is_ok_and(|status| status.success()), "the example can't be built");
    target.join("debug/examples/http").to_str().expect("a path in UTF-8").to_owned()
});

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
