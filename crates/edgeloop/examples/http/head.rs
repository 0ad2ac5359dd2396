//! The head of a request: taken apart by httparse, and judged as RFC 9112 asks of a server.

use std::mem::MaybeUninit;

use crate::body::Framing;
use crate::status::{self, Status};

/// The most bytes of a head, of its first line, and the most headers.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
const MAX_FIRST_LINE: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;

/// The most bytes of a body.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// What a request asks for. It owns what it needs of the head, which is gone when the body is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Home,
    Echo,
    /// So many bytes, with their count in front or in chunks.
    Generated {
        count: u64,
        in_chunks: bool,
    },
    /// The head as it came.
    Headers(Vec<u8>),
    NotFound,
    /// With the methods that are allowed.
    NotAllowed(&'static str),
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) route: Route,
    /// The answer has no body.
    pub(crate) is_head: bool,
    /// HTTP/1.0, which knows no chunks.
    pub(crate) is_old: bool,
    /// Whether another request may follow.
    pub(crate) persists: bool,
    /// The client sends its body when it is told to.
    pub(crate) expects_continue: bool,
    pub(crate) framing: Framing,
}

/// Says what is wrong with a head that has not ended within `MAX_HEAD` bytes.
pub(crate) fn too_long(bytes: &[u8]) -> Status {
    let first_line = bytes.iter().take(MAX_FIRST_LINE).any(|&byte| byte == b'\n');
    if first_line { status::TOO_LARGE_HEAD } else { status::TOO_LONG_TARGET }
}

/// Reads a head that is there to the empty line at its end.
///
/// httparse refuses whitespace before a colon, folded lines and a bare CR; what else two servers in a
/// row could read in two ways is refused here.
pub(crate) fn parse(head: &[u8]) -> Result<Request, Status> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, &mut headers) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(status::TOO_LARGE_HEAD),
        Err(httparse::Error::Version) => return Err(wrong_version(head)),
        // Lines that end with a bare LF end the head too early.
        Ok(_) | Err(_) => return Err(status::BAD_REQUEST),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(status::BAD_REQUEST);
    };
    if target.len() > MAX_FIRST_LINE {
        return Err(status::TOO_LONG_TARGET);
    }
    let is_old = version == 0;
    let mut hosts = 0;
    let mut length = None;
    let mut codings: Option<&[u8]> = None;
    let (mut persists, mut expects_continue) = (!is_old, false);
    for header in parsed.headers.iter() {
        let (name, value) = (header.name, header.value);
        if name.eq_ignore_ascii_case("host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case("connection") {
            for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                persists |= is_old && option.eq_ignore_ascii_case(b"keep-alive");
                if option.eq_ignore_ascii_case(b"close") {
                    (persists, hosts) = (false, hosts);
                }
            }
        } else if name.eq_ignore_ascii_case("content-length") {
            if length.replace(value).is_some() {
                return Err(status::BAD_REQUEST);
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if codings.replace(value).is_some() {
                return Err(status::BAD_REQUEST);
            }
        } else if name.eq_ignore_ascii_case("expect") && !is_old {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(status::EXPECTATION_FAILED);
            }
            expects_continue = true;
        }
    }
    if hosts > 1 || (hosts == 0 && !is_old) || head.contains(&0) {
        return Err(status::BAD_REQUEST);
    }
    let framing = framing(length, codings, is_old)?;
    let route = route(method, target, head)?;
    let is_head = method == "HEAD";
    Ok(Request { route, is_head, is_old, persists, expects_continue, framing })
}
