//! A request: its head is taken apart by httparse, and judged as RFC 9112 asks of a server.

use std::mem::MaybeUninit;

use edgeloop::Input;
use httparse::Error;

use crate::body::{BAD_REQUEST, Body, Line, Status, TOO_LARGE_FIELDS, number};

/// The most bytes of a head, and the most headers.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
pub(crate) const MAX_HEADERS: usize = 64;

/// What is said of a connection on which no other request is answered.
pub(crate) const CLOSE: &str = "Connection: close\r\n";

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) route: Route,
    /// Whether the answer has no body.
    pub(crate) is_head: bool,
    /// What is said of the connection's end.
    pub(crate) connection: &'static str,
    /// Whether the client waits until it is told to send the body.
    pub(crate) expects_continue: bool,
    pub(crate) body: Body,
}

/// What a request is answered with. It owns what it needs of the head, since that is gone when the
/// body has arrived.
#[derive(Debug)]
pub(crate) enum Route {
    /// A status, with the header fields that belong to it, and a body.
    Text(Status, &'static str),
    Echo,
    /// So many bytes, and whether they are sent in chunks.
    Generated(usize, bool),
}

/// Takes a head, if all of it has arrived.
pub(crate) fn take_head(input: &mut Input<'_>) -> Result<Option<Request>, Status> {
    // Empty lines before a request are skipped (RFC 9112, 2.2).
    while input.starts_with(b"\r\n") {
        input.skip(2);
    }
    match input.take_until(b"\r\n\r\n", MAX_HEAD) {
        Ok(head) => head.map(parse).transpose(),
        Err(_) if input[..MAX_HEAD].contains(&b'\n') => Err(TOO_LARGE_FIELDS),
        Err(_) => Err("414 URI Too Long"),
    }
}

/// Reads a head up to and including the empty line at its end.
///
/// What another server on the way could read differently is refused, so that nobody smuggles a
/// request past it. httparse refuses a bare CR, folded lines, and whitespace before a colon.
fn parse(head: &[u8]) -> Result<Request, Status> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    let third_word = || head.split(|&byte| byte == b' ').nth(2).unwrap_or_default();
    parsed.parse_with_uninit_headers(head, &mut headers).map_err(|error| match error {
        Error::TooManyHeaders => TOO_LARGE_FIELDS,
        Error::Version if third_word().starts_with(b"HTTP/") => "505 HTTP Version Not Supported",
        _ => BAD_REQUEST,
    })?;
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    let is_old = parsed.version == Some(0);
    let (mut host, mut length, mut coding, mut expectation) = (None, None, None, None);
    let (mut closes, mut keeps) = (false, false);
    for header in &*parsed.headers {
        let is = |name| header.name.eq_ignore_ascii_case(name);
        let only = match header.name.len() {
            4 if is("host") => &mut host,
            6 if is("expect") => &mut expectation,
            14 if is("content-length") => &mut length,
            17 if is("transfer-encoding") => &mut coding,
            10 if is("connection") => {
                for option in header.value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    closes |= option.eq_ignore_ascii_case(b"close");
                    keeps |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                continue;
            }
            _ => continue,
        };
        // None of these may be there twice.
        if only.replace(header.value).is_some() {
            return Err(BAD_REQUEST);
        }
    }
    // A CR ends the first line, each header and the empty line, and a bare LF none of them. Counted
    // in bytes, many at a time.
    let crs = |piece: &[u8]| piece.iter().map(|&byte| u8::from(byte == b'\r')).sum::<u8>();
    let lines: usize = head.chunks(255).map(|piece| usize::from(crs(piece))).sum();
    if lines != parsed.headers.len() + 2 || (host.is_none() && !is_old) {
        return Err(BAD_REQUEST);
    }
    let (left, next) = match (length, coding) {
        (None, None) => (0, None),
        (Some(length), None) => (number(length, 10)?, None),
        // A length beside chunks, and chunks in HTTP/1.0, are how requests are smuggled.
        (length, Some(_)) if length.is_some() || is_old => return Err(BAD_REQUEST),
        (_, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => (0, Some(Line::Size)),
        (_, Some(_)) => return Err("501 Not Implemented"),
    };
    let expectation = expectation.filter(|_| !is_old);
    if expectation.is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        return Err("417 Expectation Failed");
    }
    let connection = match (is_old, closes) {
        (true, false) if keeps => "Connection: keep-alive\r\n",
        (false, false) => "",
        _ => CLOSE,
    };
    let route = route(method, target, is_old)?;
    let body = Body { left, next, ..Body::default() };
    let (is_head, expects_continue) = (method == "HEAD", expectation.is_some());
    Ok(Request { route, is_head, connection, expects_continue, body })
}

fn route(method: &str, target: &str, is_old: bool) -> Result<Route, Status> {
    // A server may be asked for a whole URL (RFC 9112, 3.2.2).
    let url = target.strip_prefix("http://");
    let path = url.map_or(target, |rest| rest.find('/').map_or("/", |at| &rest[at..]));
    let path = path.find('?').map_or(path, |at| &path[..at]);
    let count = |folder| path.strip_prefix(folder)?.parse().ok();
    Ok(match (method, path) {
        ("GET" | "HEAD", "/") => Route::Text("200 OK", "Hello, world!\n"),
        ("GET" | "HEAD" | "POST" | "PUT", "/echo") => Route::Echo,
        // HTTP/1.0 knows no chunks.
        ("GET" | "HEAD", _) => match (count("/bytes/"), count("/chunked/")) {
            (Some(bytes), _) => Route::Generated(bytes, false),
            (_, Some(bytes)) => Route::Generated(bytes, !is_old),
            _ => Route::Text("404 Not Found", "Not found\n"),
        },
        ("DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH", "/echo") => {
            Route::Text("405 Method Not Allowed\r\nAllow: GET, HEAD, POST, PUT", "")
        }
        ("POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH", _) => {
            Route::Text("405 Method Not Allowed\r\nAllow: GET, HEAD", "")
        }
        _ => return Err("501 Not Implemented"),
    })
}
