//! The chat room of the example `chat`, on every core: each loop of a group has some of the
//! members, and what one of them writes goes to all loops as a message. Nothing is shared but the
//! text, and there is still no lock: each loop knows its own members, and nobody else's.
//!
//! `cargo run -p edgeloop --example crowd [ADDRESS [LOOPS]]`, then `nc 127.0.0.1 3000` from several
//! terminals. The first line that a member writes is their name.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgeloop::{
    Action, Closed, ConnectionId, Context, GroupSender, Handler, Input, LoopContext, LoopGroup,
    Origin, Receive, Seat, Sent,
};

/// The longest line that a member may write, in bytes.
const MAX_LINE: usize = 4000;

/// What somebody has said, on its way to each loop.
#[derive(Clone)]
struct Said {
    /// Who need not be told. Their loop is a part of the id, so it is nobody else's anywhere.
    from: ConnectionId,
    line: Arc<[u8]>,
}

/// The part of the room that one loop has.
struct Corner {
    loop_number: usize,
    /// All loops, this one included: so everybody hears everything by the same way, and what one
    /// member says comes in its order everywhere.
    loops: GroupSender<Said>,
    /// The names of this loop's members.
    names: BTreeMap<ConnectionId, String>,
}

impl Corner {
    fn new(seat: &Seat<Self>) -> Self {
        Self { loop_number: seat.number(), loops: seat.sender(), names: BTreeMap::new() }
    }

    /// Tells everybody but one, on whichever loop they are. Returns whether all loops have taken
    /// it: the mailbox of one that is far behind is full.
    fn tell_others(&self, from: ConnectionId, line: &str) -> bool {
        self.loops.post_to_all(&Said { from, line: Arc::from(line.as_bytes()) }).is_ok()
    }

    fn hear(&mut self, cx: &mut impl Context<()>, line: &str) -> Action {
        let from = cx.id();
        let heard = if let Some(name) = self.names.get(&from) {
            self.tell_others(from, &format!("{name}: {line}\n"))
        } else if line.is_empty() {
            true
        } else {
            self.names.insert(from, line.to_owned());
            self.tell_others(from, &format!("* {line} joins\n"))
        };
        if heard { Action::Continue } else { cx.send(b"* not all have heard that\n").or_reset() }
    }
}

impl Handler for Corner {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        let greeting = format!("* this is loop {}; who are you?\n", self.loop_number);
        cx.send(greeting.as_bytes()).or_reset()
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        loop {
            let line = match input.take_line(MAX_LINE) {
                Ok(Some(line)) => line,
                Ok(None) => return Action::Continue,
                Err(_) => return Action::Close,
            };
            // A terminal is at the other end: what could command it is left out (C34).
            let line: String =
                String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
            match self.hear(cx, line.trim()) {
                Action::Continue => {}
                end => return end,
            }
        }
    }

    fn closed(&mut self, _: &mut impl Context, (): (), closed: &Closed) {
        if let Some(name) = self.names.remove(&closed.id) {
            self.tell_others(closed.id, &format!("* {name} leaves\n"));
        }
    }
}

impl Receive<Said> for Corner {
    /// Somebody has said something, on this loop or another. A member who reads too slowly for the
    /// room is put out of it: a message that was refused would leave a hole in what they read.
    fn posted(&mut self, cx: &mut impl LoopContext, Said { from, line }: Said) {
        let others: Vec<_> = self.names.keys().copied().filter(|&member| member != from).collect();
        for (member, sent) in cx.send_shared(&others, line) {
            if sent == Sent::Refused {
                cx.reset(member);
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let mut group = LoopGroup::new(|seat| Corner::new(&seat));
    if let Some(loops) = arguments.next() {
        group = group.threads(loops.parse()?);
    }
    eprintln!("listening on {}", group.listen(address.as_str())?);
    let counted = group.run()?;
    for (number, own) in counted.by_loop.iter().enumerate() {
        eprintln!("loop {number}: {} members", own.accepted);
    }
    Ok(())
}
