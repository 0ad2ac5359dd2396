//! What waits to be sent, and what was received and not taken, each beside a plain vector.

use std::collections::VecDeque;
use std::sync::LazyLock;

use crate::bytes::Bytes;
use crate::input::{Input, Scanned};
use crate::output::{CHUNK, Front, Output, PAGE, Piped};
use crate::pipes::Pipes;
use crate::time::Time;

/// The queue of output: bytes come out once and in order, and its accounts of memory are exact.
pub fn output(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut output = Output::default();
    let mut pipes = Pipes::new(1);
    let lent = pipes.lend(Time::ZERO, || Ok::<_, ()>(())).expect("it is made");
    let pipe = lent.expect("none is lent");
    // How many bytes of the model are in the pipe: the first.
    let mut piped = 0;
    let mut model = VecDeque::new();
    let mut held = 0;
    let mut next = 0;
    // What stays queued is bounded here as it is in the loop.
    while !bytes.is_empty() {
        if bytes.flag() && model.len() < 8 * CHUNK {
            let piece = piece(&mut next, length(&mut bytes));
            if model.is_empty() && !piece.is_empty() && bytes.flag() {
                piped = piece.len();
                held += output.adopt(Piped { pipe, count: piped });
                model.extend(piece);
                continue;
            }
            let foretold = output.growth(piece.len());
            let grown = output.push(&piece).expect("there is memory");
            assert_eq!(grown, foretold, "the growth was foretold wrongly");
            held += grown;
            model.extend(piece);
        } else {
            let front = output.front();
            assert_eq!(front.len() == 0, model.is_empty(), "the front is empty or not for nothing");
            let count = front.len().min(length(&mut bytes));
            match front.first(count) {
                Front::Bytes(front) => {
                    assert_eq!(piped, 0, "bytes overtake those in the pipe");
                    assert!(model.drain(..count).eq(front.iter().copied()), "other bytes");
                }
                Front::Piped(_) => {
                    piped -= count;
                    model.drain(..count);
                }
            }
            let released = output.advance(count);
            let emptied = released.piped.map(|piped| piped.count);
            assert!(emptied.is_none_or(|left| left == 0 && piped == 0), "a pipe came back early");
            held -= released.memory;
        }
        assert_eq!((output.len(), output.held()), (model.len(), held));
        assert_eq!(output.is_empty(), model.is_empty());
        assert!((held - piped).is_multiple_of(PAGE) && held >= model.len());
        // One chunk that is sent in part, one that is filled in part, and full ones between them.
        assert!(held <= model.len() + 2 * CHUNK, "{held} bytes are held for {}", model.len());
        assert!(!model.is_empty() || held == 0, "an empty queue holds memory");
    }
}

/// Two bytes: lengths near the sizes of pages and chunks as well as small ones.
fn length(bytes: &mut Bytes<'_>) -> usize {
    let near = bytes.pick(&[0, 0, PAGE, CHUNK, 2 * CHUNK]);
    (near + bytes.below(64)).saturating_sub(if near > 0 { 32 } else { 0 })
}

/// The next bytes of the stream. Its period is a prime, and so has nothing to do with pages.
fn piece(next: &mut usize, length: usize) -> Vec<u8> {
    const PERIOD: usize = 65_521;
    static STREAM: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let stamp = |at: usize| (at ^ (at / 251) ^ (at / 63_001)) as u8;
        (0..PERIOD + 4 * CHUNK).map(|at| stamp(at % PERIOD)).collect()
    });
    let from = *next % PERIOD;
    *next += length;
    STREAM[from..from + length].to_vec()
}

/// What a handler is shown and takes, over several callbacks: the rest is shown again, together
/// with what the loop remembers of an earlier search.
pub fn input(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut kept = Vec::new();
    let mut scanned = Scanned::default();
    while !bytes.is_empty() {
        // Few different bytes, so that delimiters are met.
        let more = bytes.below(16);
        kept.extend((0..more).map(|_| bytes.below(5) as u8));
        let mut input = Input::with_scanned(&kept, scanned);
        let mut model = &kept[..];
        for _ in 0..bytes.below(5) {
            model = take(&mut bytes, &mut input, model);
            assert_eq!((&*input, input.bytes()), (model, model));
        }
        scanned = input.scanned();
        let rest = model.to_vec();
        kept = rest;
    }
}

/// Takes something from both, which must be the same; answers what the model has left.
fn take<'a>(bytes: &mut Bytes<'_>, input: &mut Input<'a>, model: &'a [u8]) -> &'a [u8] {
    match bytes.below(8) {
        0 => {
            assert_eq!(input.take_all(), model);
            &[]
        }
        1 => {
            let (taken, rest) = model.split_at(bytes.byte() as usize % (model.len() + 1));
            assert_eq!(input.take(taken.len()), taken);
            rest
        }
        2 => {
            let (taken, rest) = model.split_at(bytes.byte() as usize % (model.len() + 1));
            input.skip(taken.len());
            rest
        }
        _ => {
            let delimiter = bytes.below(5) as u8;
            let found = model.iter().position(|&byte| byte == delimiter);
            let (taken, rest) = model.split_at(found.map_or(0, |found| found + 1));
            assert_eq!(input.take_until(delimiter), found.map(|_| taken));
            rest
        }
    }
}
