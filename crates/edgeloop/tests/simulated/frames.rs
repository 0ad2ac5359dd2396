//! A protocol whose messages begin with their length: cut anywhere, of any size.

use edgeloop::sim::{Faults, Random, Script, check};
use edgeloop::{Action, Context, Handler, Input, Origin};

const LARGEST: usize = 3000;

/// Answers each message with the same.
struct Frames;

impl Handler for Frames {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        while let Some(length) = input.first_chunk() {
            let length = 2 + usize::from(u16::from_be_bytes(*length));
            if length > 2 + LARGEST {
                return Action::Reset;
            }
            if input.len() < length {
                break;
            }
            if !cx.send(input.take(length)).is_accepted() {
                return Action::Reset;
            }
        }
        Action::Continue
    }
}

fn frame(random: &mut Random) -> Vec<u8> {
    let length = random.size(0, LARGEST);
    let mut frame = u16::try_from(length).expect("small").to_be_bytes().to_vec();
    frame.extend(random.bytes(length));
    frame
}

#[test]
fn messages_of_all_sizes_come_back_whole() {
    check(0..50, |mut simulation| {
        let (mut script, mut owed) = (Script::new().name("client"), Vec::new());
        for _ in 0..simulation.random().size(1, 5) {
            let frame = frame(simulation.random());
            script = script.send(&frame);
            owed.extend(frame);
            // Sometimes it waits for all answers, sometimes it sends on.
            if simulation.random().chance(500) {
                script = script.expect(std::mem::take(&mut owed));
            }
        }
        let script = script.expect(owed);
        simulation.buffers(1..=4000).faults(Faults::passing()).peer(script).run(Frames).map(drop)
    });
}

#[test]
fn a_message_that_says_it_is_too_long_is_a_reset() {
    check(0..50, |simulation| {
        simulation
            .peer(Script::new().send([0xff, 0xff, 1, 2, 3]).expect_reset())
            .run(Frames)
            .map(drop)
    });
}
