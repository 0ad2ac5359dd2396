//! What the loop remembers of a parser's searches, between callbacks and across pauses.

use super::*;
use crate::api::input::counted;
use crate::sim::{Faults, Random, check};

/// Long enough that work which grows with its square would show.
const LENGTH: usize = 50_000;

/// Runs a server that is shown a line of `LENGTH` bytes in pieces of at most 10, and answers it.
/// Returns the bytes that its searches looked at, and how many callbacks there were.
fn work(
    mut take: impl FnMut(&mut Input<'_>) -> Option<usize> + 'static,
    mut action: impl FnMut(&mut dyn Context, usize) -> Action + 'static,
) -> (usize, usize) {
    let line = [vec![b'x'; LENGTH - 1], vec![b'\n']].concat();
    let calls = Rc::new(RefCell::new(0));
    let told = calls.clone();
    let handler = Probe::new()
        .data(move |cx, input| {
            *told.borrow_mut() += 1;
            match take(input) {
                Some(length) => cx.send(format!("{length}").as_bytes()).or_reset(),
                None => action(cx, *told.borrow()),
            }
        })
        .timer(|cx, _| {
            cx.resume(cx.id());
            Action::Continue
        });
    let script = Script::new().send(line).expect(format!("{}", LENGTH - 1));
    counted::take();
    Simulation::new(1)
        .calm()
        .config(Config::new().read_buffer(10))
        .peer(script)
        .run(handler)
        .unwrap();
    let calls = *calls.borrow();
    assert!(calls > LENGTH / 11, "{calls} callbacks");
    (counted::take(), calls)
}

fn line_length(input: &mut Input<'_>) -> Option<usize> {
    input.take_line(LENGTH).expect("it is not longer").map(<[u8]>::len)
}

#[test]
fn a_line_in_thousands_of_pieces_is_searched_once() {
    let (looked_at, _) = work(line_length, |_, _| Action::Continue);
    assert_eq!(looked_at, LENGTH);
}

#[test]
fn pauses_in_between_make_no_more_work() {
    let (looked_at, calls) = work(line_length, |cx, call| {
        if !call.is_multiple_of(10) {
            return Action::Continue;
        }
        cx.set_timer(0, Some(Duration::from_millis(1)));
        Action::Pause
    });
    assert_eq!(looked_at, LENGTH);
    assert!(calls > LENGTH / 10 + LENGTH / 110, "{calls}: what is kept is shown again");
}

#[test]
fn another_search_in_between_costs_itself_only() {
    let take = |input: &mut Input<'_>| {
        let other = input.take_until(b";;", LENGTH + 1);
        assert_eq!(other, Ok(None));
        line_length(input)
    };
    let (looked_at, calls) = work(take, |_, _| Action::Continue);
    assert!(looked_at <= 2 * LENGTH + calls, "{looked_at} bytes of {LENGTH}");
}

/// Answers lines, some only when they are shown once more, and what the end of the stream leaves.
struct Lines {
    random: Random,
}

impl Handler for Lines {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        for _ in 0..self.random.size(0, 5) {
            match self.random.size(0, 4) {
                0 => assert_eq!(input.take_until(b";", 1000), Ok(None)),
                1 => assert_eq!(input.take_until(b"\n\n", 1000), Ok(None)),
                2 => assert!(!matches!(input.take_frame_be::<u8>(1), Ok(Some(_)))),
                _ => {
                    let line = input.take_line(60).expect("none is longer");
                    let Some(line) = line else { continue };
                    if cx.send(&[line, b"\n"].concat()) == Sent::AboveMark {
                        return Action::Continue;
                    }
                }
            }
        }
        if self.random.chance(500) {
            return Action::Continue;
        }
        // It is shown what it has left again, though nothing more has arrived.
        cx.set_timer(0, Some(Duration::from_millis(1)));
        Action::Pause
    }

    fn end(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        while let Ok(Some(line)) = input.take_line(60) {
            let _ = cx.send(&[line, b"\n"].concat());
        }
        let _ = cx.send(input.take_all());
        Action::Close
    }

    fn timer(&mut self, cx: &mut impl Context, (): &mut (), _: u32) -> Action {
        cx.resume(cx.id());
        Action::Continue
    }
}

#[test]
fn lines_are_whole_whatever_is_done_in_between() {
    check(0..200, |mut simulation| {
        let (mut asked, mut answer) = (Vec::new(), Vec::new());
        for _ in 0..simulation.random().size(1, 20) {
            let length = simulation.random().size(0, 58);
            let line: Vec<u8> = (0..length).map(|_| simulation.random().pick(b"abc \r")).collect();
            // Neither empty, nor with a CR at the end that is not of its end.
            let line = [b"x", &line[..], b"y"].concat();
            let end = simulation.random().pick(&[&b"\n"[..], b"\r\n"]);
            asked.extend([&line, end].concat());
            answer.extend([&line, &b"\n"[..]].concat());
        }
        asked.extend(b"the rest");
        answer.extend(b"the rest");
        let random = Random::new(simulation.random().size(0, 1_000_000) as u64);
        simulation
            .buffers(1..=100)
            .faults(Faults::passing())
            .peer(Script::new().send(asked).finish().expect(answer))
            .run(Lines { random })
            .map(drop)
    });
}
