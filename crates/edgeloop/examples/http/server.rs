//! The handler: requests are read one by one and answered in turn, and generated bodies are made as
//! their clients take them.

use std::io::Write as _;
use std::ops::ControlFlow::{self, Break, Continue};
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
        if self.arriving.is_none() {
            self.arriving = take_head(input)?;
        }
        let Some(request) = &mut self.arriving else { return Ok(None) };
        if request.body.read(input)? { Ok(self.arriving.take()) } else { Ok(None) }
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
    /// Replies to requests, until no more has arrived or there is no room for more answers.
    fn serve(
        &mut self,
        cx: &mut impl Context<Peer>,
        peer: &mut Peer,
        input: &mut Input<'_>,
    ) -> Flow {
        loop {
            self.generate(cx, peer)?;
            match peer.take_request(input) {
                Ok(Some(request)) => self.answer(cx, peer, &request)?,
                Ok(None) => break,
                Err(status) => return Break(self.refuse(cx, status)),
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
        Break(Action::Continue)
    }

    fn answer(&mut self, cx: &mut impl Context<Peer>, peer: &mut Peer, request: &Request) -> Flow {
        peer.set_patience(cx, None);
        let connection = if self.is_stopping { CLOSE } else { request.connection };
        peer.closes = connection == CLOSE;
        let (status, body): (_, &[u8]) = match &request.route {
            Route::Text(status, text) => (*status, text.as_bytes()),
            Route::Echo => ("200 OK", &request.body.bytes),
            Route::Headers(head) => ("200 OK", head),
            &Route::Generated(bytes, in_chunks) => {
                peer.generated = Some((bytes, in_chunks)).filter(|_| !request.is_head);
                ("200 OK", b"")
            }
        };
        self.begin(cx, status, connection);
        // Writing to a vector can't fail.
        let _ = match request.route {
            Route::Generated(_, true) => write!(self.answer, "Transfer-Encoding: chunked\r\n\r\n"),
            Route::Generated(bytes, _) => write!(self.answer, "Content-Length: {bytes}\r\n\r\n"),
            _ => write!(self.answer, "Content-Length: {}\r\n\r\n", body.len()),
        };
        self.answer.extend_from_slice(if request.is_head { b"" } else { body });
        accepted(cx.send(&self.answer))
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
        for part in ["HTTP/1.1 ", status, &self.fields, fields] {
            self.answer.extend_from_slice(part.as_bytes());
        }
    }

    /// Sends of a generated body as much as there is room for.
    fn generate(&mut self, cx: &mut impl Context<Peer>, peer: &mut Peer) -> Flow {
        while let Some((left, in_chunks)) = peer.generated {
            let piece = &PATTERNS.as_flattened()[..left.min(PIECE)];
            let left = left - piece.len();
            // The last of the chunks is empty.
            let is_last = left == 0 && (piece.is_empty() || !in_chunks);
            peer.generated = Some((left, in_chunks)).filter(|_| !is_last);
            let sent = if in_chunks {
                let size = format!("{:x}\r\n", piece.len());
                cx.send(&[size.as_bytes(), piece, b"\r\n"].concat())
            } else {
                cx.send(piece)
            };
            accepted(sent)?;
        }
        if peer.closes { Break(Action::Close) } else { Continue(()) }
    }
}

/// What a callback returns, or that it goes on.
type Flow = ControlFlow<Action>;

/// Goes on where there is room. Above the high watermark the loop reads no more until `drained` is
/// called.
fn accepted(sent: Sent) -> Flow {
    match sent {
        Sent::Written | Sent::Queued => Continue(()),
        Sent::AboveMark => Break(Action::Continue),
        Sent::Refused | Sent::Gone => Break(Action::Reset),
    }
}

impl Handler for Server {
    type Session = Peer;

    fn session(&mut self, _: &Origin) -> Option<Peer> {
        Some(Peer::default())
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        peer: &mut Peer,
        input: &mut Input<'_>,
    ) -> Action {
        self.serve(cx, peer, input).break_value().unwrap_or(Action::Continue)
    }

    /// Input that waits is shown again behind this.
    fn drained(&mut self, cx: &mut impl Context<Self::Session>, peer: &mut Peer) -> Action {
        self.generate(cx, peer).break_value().unwrap_or(Action::Continue)
    }

    fn timer(&mut self, cx: &mut impl Context<Self::Session>, _: &mut Peer, _: u32) -> Action {
        self.refuse(cx, "408 Request Timeout")
    }

    /// A signal has come.
    fn notified(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        self.is_stopping = true;
        cx.stop(Stop::Drain(Some(STOP_TIMEOUT)));
    }
}
