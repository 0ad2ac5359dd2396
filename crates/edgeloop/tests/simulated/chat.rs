//! One to many: what one member says, all others hear; who does not listen is put out.

use std::collections::BTreeSet;
use std::time::Duration;

use edgeloop::sim::{Ending, Faults, Script, check};
use edgeloop::{
    Action, Closed, Config, ConnectionId, Context, Handler, Input, Origin, Reason, Sent,
};

#[derive(Default)]
struct Room {
    members: BTreeSet<ConnectionId>,
}

impl Handler for Room {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        self.members.insert(cx.id());
        cx.send(b"welcome\n").or_reset()
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        while let Ok(Some(line)) = input.take_until(b"\n", usize::MAX) {
            let from = cx.id();
            for &member in self.members.iter().filter(|&&member| member != from) {
                if cx.send_to(member, line) == Sent::Refused {
                    cx.reset(member);
                }
            }
        }
        Action::Continue
    }

    fn closed(&mut self, _: &mut impl Context, (): (), closed: &Closed) {
        self.members.remove(&closed.id);
    }
}

/// Begins when all the others are there.
fn speaker() -> Script {
    Script::new().name("alice").expect("welcome\n").wait(Duration::from_secs(1))
}

#[test]
fn everybody_hears_everything_in_order() {
    check(0..100, |simulation| {
        let said: String = (0..20).map(|number| format!("line {number}\n")).collect();
        let hears = |name| Script::new().name(name).expect("welcome\n").expect(&said);
        simulation
            .faults(Faults::passing())
            .peer(speaker().send(&said))
            .peer(hears("bob"))
            .peer(hears("carol").send("bye\n").may_end())
            .run(Room::default())
            .map(drop)
    });
}

#[test]
fn who_does_not_listen_is_put_out_and_nobody_reads_a_stream_with_a_hole() {
    check(0..50, |simulation| {
        let said = "x".repeat(99) + "\n";
        let said = said.repeat(100);
        let hour = Duration::from_secs(3600);
        let report = simulation
            .config(
                Config::new()
                    .read_buffer(1000)
                    .high_watermark(2000)
                    .low_watermark(500)
                    .output_limit(4000),
            )
            .buffers(500..=500)
            .peer(speaker().send(&said))
            .peer(Script::new().name("bob").may_end().expect("welcome\n").expect(&said))
            .peer(Script::new().name("sleeper").wait(hour).expect_reset())
            .run(Room::default())?;
        // Bob reads as fast as he can, but that may be slower than Alice writes.
        let bob = report.peer("bob");
        match bob.ending {
            Ending::Done => assert_eq!(bob.reason(), Some(Reason::Finished)),
            _ => assert!(format!("welcome\n{said}").as_bytes().starts_with(&bob.received)),
        }
        assert_eq!(report.peer("sleeper").reason(), Some(Reason::Reset));
        assert!(report.peer("sleeper").closed.as_ref().is_some_and(|closed| closed.dropped > 0));
        Ok(())
    });
}
