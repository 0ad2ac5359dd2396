//! A chat room: what one member writes, all others read. The handler owns the room, the loop owns
//! the members, and there is no lock and no reference count anywhere.
//!
//! `cargo run -p edgeloop --example chat [ADDRESS]`, then `nc 127.0.0.1 3000` from several
//! terminals. The first line that a member writes is their name.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgeloop::{
    Action, Closed, ConnectionId, Context, EventLoop, Handler, Input, LoopContext, Origin, Sent,
};

/// The longest line that a member may write, in bytes.
const MAX_LINE: usize = 4000;

/// What all members share.
#[derive(Default)]
struct Room {
    names: BTreeMap<ConnectionId, String>,
}

/// What each member has for themselves.
#[derive(Default)]
struct Member {
    said: u64,
}

impl Room {
    /// Tells everybody but one. A member who reads too slowly for the room is put out of it: a
    /// message that was refused would leave a hole in what they read.
    fn tell_others(&self, cx: &mut impl LoopContext<Member>, from: ConnectionId, message: &str) {
        let others: Vec<_> = self.names.keys().copied().filter(|&member| member != from).collect();
        for (member, sent) in cx.send_shared(&others, Arc::from(message.as_bytes())) {
            if sent == Sent::Refused {
                cx.reset(member);
            }
        }
    }

    fn hear(&mut self, cx: &mut impl Context<Member>, line: &str) {
        let from = cx.id();
        if let Some(name) = self.names.get(&from) {
            self.tell_others(cx, from, &format!("{name}: {line}\n"));
        } else if !line.is_empty() {
            self.tell_others(cx, from, &format!("* {line} joins {} others\n", self.names.len()));
            self.names.insert(from, line.to_owned());
        }
    }
}

impl Handler for Room {
    type Session = Member;

    fn session(&mut self, _: &Origin) -> Option<Member> {
        Some(Member::default())
    }

    fn opened(&mut self, cx: &mut impl Context<Self::Session>, _: &mut Member) -> Action {
        cx.send(b"* who are you?\n").or_reset()
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        member: &mut Member,
        input: &mut Input<'_>,
    ) -> Action {
        loop {
            let line = match input.take_line(MAX_LINE) {
                Ok(Some(line)) => line,
                Ok(None) => return Action::Continue,
                Err(_) => return Action::Close,
            };
            // A terminal is at the other end: what could command it is left out (C34).
            let line: String =
                String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
            self.hear(cx, line.trim());
            member.said += 1;
        }
    }

    fn closed(&mut self, cx: &mut impl Context<Self::Session>, member: Member, closed: &Closed) {
        if let Some(name) = self.names.remove(&closed.id) {
            let message = format!("* {name} leaves after {} lines\n", member.said);
            self.tell_others(cx, closed.id, &message);
        }
    }
}

fn main() -> Result<(), edgeloop::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let mut server = EventLoop::new(Room::default())?;
    eprintln!("listening on {}", server.listen(address.as_str())?);
    server.run()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use edgeloop::sim::{Act, TestContext};

    use super::*;

    /// Two members, Ann and Bob, who have read what was said until now.
    fn room() -> (Room, TestContext<Member>, [ConnectionId; 2]) {
        let (mut room, mut cx) = (Room::default(), TestContext::new());
        let members = [1, 2].map(TestContext::<Member>::connection);
        for (id, name) in members.into_iter().zip(["Ann\n", "Bob\n"]) {
            let _ = hear(&mut room, cx.turn_to(id), name);
        }
        let _ = members.map(|id| cx.take_sent_to(id));
        (room, cx, members)
    }

    fn hear(room: &mut Room, cx: &mut TestContext<Member>, words: &str) -> Action {
        room.data(cx, &mut Member::default(), &mut Input::new(words.as_bytes()))
    }

    #[test]
    fn what_one_says_all_others_read() {
        let (mut room, mut cx, [ann, bob]) = room();
        assert_eq!(hear(&mut room, cx.turn_to(ann), "hello\r\nwho's there?\n"), Action::Continue);
        assert_eq!(cx.take_sent_to(bob), b"Ann: hello\nAnn: who's there?\n");
        assert_eq!((cx.take_sent_to(ann), cx.take_acts()), (vec![], vec![]));
    }

    #[test]
    fn whoever_reads_too_slowly_is_put_out() {
        let (mut room, mut cx, [ann, bob]) = room();
        cx.answer(Sent::Refused);
        let _ = hear(&mut room, cx.turn_to(ann), "hello\n");
        assert_eq!(cx.take_acts(), [Act::Reset(bob)]);
        // He is told of as anybody who leaves.
        cx.answer(Sent::Written);
        let closed = TestContext::<Member>::closed(bob, edgeloop::Reason::Reset);
        room.closed(cx.turn_to(bob), Member { said: 3 }, &closed);
        assert_eq!(cx.take_sent_to(ann), b"* Bob leaves after 3 lines\n");
    }
}
