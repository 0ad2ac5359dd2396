//! The handler: requests are read one by one and answered in turn, and generated bodies are made as
//! the loop asks for more of them.

use std::time::{Duration, SystemTime};

use edgeloop::{Action, Context, Handler, Input, LoopContext, Origin, Sent, Stop, Time};

use crate::body::Status;
use crate::request::{CLOSE, Request, Route, take_head};

/// How long a head may take from its first byte on, and a body from then on, whatever comes
/// meanwhile; how long a connection may be idle, and how long a stop waits for answers to be read.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Generated bodies repeat this, and are sent in pieces of at most this many bytes.
pub(crate) const PATTERN: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
const PIECE: usize = 32 * 1024;
static PATTERNS: [[u8; PATTERN.len()]; PIECE / PATTERN.len()] = [*PATTERN; _];

#[derive(Default)]
pub(crate) struct Server {
    /// Where an answer is put together.
    answer: Vec<u8>,
    /// Header fields of every answer, and until when their date is right.
    pub(crate) fields: String,
    pub(crate) right_until: Option<Time>,
    is_stopping: bool,
}

/// What is remembered about a client.
#[derive(Default)]
pub(crate) struct Peer {
    /// The request whose body is arriving.
    arriving: Option<Request>,
    /// How long the client has for what it has begun to send.
    patience: Option<Duration>,
    /// What is left of a generated body, and whether it is sent in chunks.
    generated: Option<(usize, bool)>,
    /// Whether nothing is answered behind it.
    closes: bool,
}

impl Peer {
    /// Takes a request, if all of it has arrived.
    fn take_request(&mut self, input: &mut Input<'_>) -> Result<Option<Request>, Status> {
        let begun = self.arriving.take().map_or_else(|| take_head(input), |it| Ok(Some(it)));
        let Some(mut request) = begun? else { return Ok(None) };
        if request.body.read(input)? {
            return Ok(Some(request));
        }
        self.arriving = Some(request);
        Ok(None)
    }

    /// Begins a timeout. More bytes of the same do not begin it anew.
    fn set_patience(&mut self, cx: &mut impl Context<Peer>, patience: Option<Duration>) {
        if self.patience != patience {
            self.patience = patience;
            cx.set_timer(0, patience);
        }
    }
}

impl Server {
    /// Replies to a request. Returns what is to be done, unless the next one may be read.
    fn answer(
        &mut self,
        cx: &mut impl Context<Peer>,
        peer: &mut Peer,
        request: &Request,
    ) -> Option<Action> {
        peer.set_patience(cx, None);
        let connection = if self.is_stopping { CLOSE } else { request.connection };
        peer.closes = connection == CLOSE;
        let (status, body, length): (_, &[u8], _) = match request.route {
            Route::Text(status, text) => (status, text.as_bytes(), Some(text.len())),
            Route::Echo => ("200 OK", &request.body.bytes, Some(request.body.bytes.len())),
            Route::Generated(bytes, in_chunks) => {
                peer.generated = Some((bytes, in_chunks)).filter(|_| !request.is_head);
                ("200 OK", b"", Some(bytes).filter(|_| !in_chunks))
            }
        };
        self.begin(cx, status, connection);
        match length {
            Some(length) => self.add(["Content-Length: ", itoa::Buffer::new().format(length)]),
            None => self.add(["Transfer-Encoding: chunked"]),
        }
        self.add(["\r\n\r\n"]);
        self.answer.extend_from_slice(if request.is_head { b"" } else { body });
        match cx.send(&self.answer) {
            Sent::Refused | Sent::Gone => Some(Action::Reset),
            // The next request is read when the loop has asked for the last of the body.
            _ if peer.generated.is_some() => {
                cx.pull(cx.id());
                Some(Action::Pause)
            }
            _ if peer.closes => Some(Action::Close),
            // What is left of the input is shown again when there is room for answers.
            Sent::AboveMark => Some(Action::Continue),
            Sent::Written | Sent::Queued => None,
        }
    }

    /// Replies with an error, and closes, since it is uncertain where the next request begins. The
    /// loop lingers, so that the client gets to read it.
    fn refuse(&mut self, cx: &mut impl Context<Peer>, status: Status) -> Action {
        self.begin(cx, status, "Content-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = cx.send(&self.answer);
        Action::Close
    }

    /// Begins an answer, with header fields that end with CRLF each.
    fn begin(&mut self, cx: &impl LoopContext<Peer>, status: Status, fields: &str) {
        if self.right_until <= Some(cx.now()) {
            let date = httpdate::fmt_http_date(SystemTime::now());
            self.fields = format!("\r\nDate: {date}\r\nContent-Type: text/plain\r\n");
            self.right_until = Some(cx.now().after(Duration::from_secs(1)));
        }
        self.answer.clear();
        self.answer.extend_from_slice(b"HTTP/1.1 ");
        for part in [status, &self.fields, fields] {
            self.answer.extend_from_slice(part.as_bytes());
        }
    }

    fn add<const N: usize>(&mut self, parts: [&str; N]) {
        parts.iter().for_each(|part| self.answer.extend_from_slice(part.as_bytes()));
    }
}

impl Handler for Server {
    type Session = Peer;

    fn session(&mut self, _: &Origin) -> Option<Peer> {
        Some(Peer::default())
    }

    /// Replies to requests, until no more has arrived or there is no room for more answers.
    fn data(
        &mut self,
        cx: &mut impl Context<Peer>,
        peer: &mut Peer,
        input: &mut Input<'_>,
    ) -> Action {
        loop {
            let done = match peer.take_request(input) {
                Ok(Some(request)) => self.answer(cx, peer, &request),
                Ok(None) => break,
                Err(status) => Some(self.refuse(cx, status)),
            };
            if let Some(action) = done {
                return action;
            }
        }
        if let Some(request) = &mut peer.arriving {
            if std::mem::take(&mut request.expects_continue) {
                let _ = cx.send(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            peer.set_patience(cx, Some(BODY_TIMEOUT));
        } else if !input.is_empty() {
            peer.set_patience(cx, Some(HEAD_TIMEOUT));
        }
        Action::Continue
    }

    /// Sends the next piece of a generated body.
    fn writable(&mut self, cx: &mut impl Context<Peer>, peer: &mut Peer) -> Action {
        let Some((left, in_chunks)) = peer.generated.take() else { return Action::Continue };
        let piece = &PATTERNS.as_flattened()[..left.min(PIECE)];
        let sent = if in_chunks {
            let size = format!("{:x}\r\n", piece.len());
            cx.send_vectored(cx.id(), &[size.as_bytes(), piece, b"\r\n"])
        } else {
            cx.send(piece)
        };
        // The last of the chunks is empty.
        if left > piece.len() || (in_chunks && left > 0) {
            peer.generated = Some((left - piece.len(), in_chunks));
            cx.pull(cx.id());
        } else if peer.closes {
            return Action::Close;
        } else {
            cx.resume(cx.id());
        }
        sent.or_reset()
    }

    fn timer(&mut self, cx: &mut impl Context<Peer>, _: &mut Peer, _: u32) -> Action {
        self.refuse(cx, "408 Request Timeout")
    }

    /// A signal has come.
    fn notified(&mut self, cx: &mut impl LoopContext<Peer>) {
        self.is_stopping = true;
        cx.stop(Stop::Drain(Some(STOP_TIMEOUT)));
    }
}
