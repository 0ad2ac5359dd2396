//! What waits to be sent, and what was received and not taken, each beside a plain vector.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::LazyLock;

use crate::api::input::{Input, Scanned, TooLong};
use crate::api::time::Time;
use crate::bytes::Bytes;
use crate::store::output::{CHUNK, Output, PAGE, Piped};
use crate::store::pieces::PIECES;
use crate::store::pipes::Pipes;

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
                held += output.push_piped(Piped { pipe, count: piped });
                model.extend(piece);
                continue;
            }
            let foretold = output.growth(piece.len());
            let grown = output.push(&piece).expect("there is memory");
            assert_eq!(grown, foretold, "the growth was foretold wrongly");
            held += grown;
            model.extend(piece);
        } else {
            let most = length(&mut bytes);
            let count = if let Some(Piped { count, .. }) = output.piped() {
                assert_eq!(count, piped, "other bytes are in the pipe");
                let count = count.min(most);
                piped -= count;
                model.drain(..count);
                count
            } else {
                assert_eq!(piped, 0, "bytes overtake those in the pipe");
                let mut slices = [IoSlice::new(&[]); PIECES];
                let pieces = output.gather(&mut slices, most);
                let slices = slices[..pieces].iter();
                let first: Vec<u8> = slices.flat_map(|slice| slice.iter().copied()).collect();
                assert_eq!(first.is_empty(), model.is_empty() || most == 0, "nothing is sent");
                assert!(model.drain(..first.len()).eq(first.iter().copied()), "other bytes");
                first.len()
            };
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
        kept.extend((0..more).map(|_| ALPHABET[bytes.below(ALPHABET.len())]));
        let mut input = Input::with_scanned(&kept, scanned, more);
        let mut model = &kept[..];
        for _ in 0..bytes.below(5) {
            model = take(&mut bytes, &mut input, model);
            assert_eq!((&*input, input.bytes()), (model, model));
        }
        let (left, known) = input.rest_of(&kept);
        assert_eq!(left, model.len());
        scanned = known;
        let rest = model.to_vec();
        kept = rest;
    }
}

const ALPHABET: [u8; 5] = [0, 1, 2, b'\r', b'\n'];

/// Takes something from both, which must be the same; returns what the model has left.
fn take<'a>(bytes: &mut Bytes<'_>, input: &mut Input<'a>, model: &'a [u8]) -> &'a [u8] {
    let kind = bytes.below(8);
    let size = bytes.byte() as usize;
    match kind {
        0 => {
            assert_eq!(input.take_all(), model);
            &[]
        }
        1 => {
            let (taken, rest) = model.split_at(size % (model.len() + 1));
            assert_eq!(input.take(taken.len()), taken);
            rest
        }
        2 => {
            let (taken, rest) = model.split_at(size % (model.len() + 1));
            input.skip(taken.len());
            rest
        }
        3 => {
            let count = size % 20;
            assert_eq!(input.try_take(count), model.get(..count));
            model.get(count..).unwrap_or(model)
        }
        4 => {
            let max = size % 32;
            take_line(input, model, max)
        }
        5 => take_frame(input, model, size),
        6 => take_integer(input, model, size),
        _ => {
            let delimiter = [b"\n" as &[u8], b"\r\n", b"\r", b"\r\n\r\n", &[0]][size % 5];
            let max = size / 5;
            let whole = &model[..model.len().min(max)];
            let end =
                (delimiter.len()..=whole.len()).find(|&end| whole[..end].ends_with(delimiter));
            let expected = match end {
                Some(end) => Ok(Some(&model[..end])),
                None if model.len() < max => Ok(None),
                None => Err(TooLong::Delimited { max }),
            };
            assert_eq!(input.take_until(delimiter, max), expected);
            &model[end.unwrap_or(0)..]
        }
    }
}

fn take_line<'a>(input: &mut Input<'a>, model: &'a [u8], max: usize) -> &'a [u8] {
    let end = model.iter().position(|&byte| byte == b'\n');
    // What has come of a line that has no end yet may have its CR already.
    let line = &model[..end.unwrap_or(model.len())];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let expected = match end {
        _ if line.len() > max => Err(TooLong::Line { max }),
        Some(_) => Ok(Some(line)),
        None => Ok(None),
    };
    assert_eq!(input.take_line(max), expected);
    let taken = expected.ok().flatten().and(end);
    taken.map_or(model, |end| &model[end + 1..])
}

fn take_frame<'a>(input: &mut Input<'a>, model: &'a [u8], size: usize) -> &'a [u8] {
    let (prefix, little, max) = ([1, 2, 4, 8][size % 4], size & 4 > 0, [2, 20, 600][size / 8 % 3]);
    let length = model.get(..prefix).map(|bytes| integer(bytes, little));
    let end = length.map(|length| (prefix as u64).saturating_add(length) as usize);
    let expected = match (length, end) {
        (Some(length), _) if length > max as u64 => Err(TooLong::Frame { length, max }),
        (Some(_), Some(end)) => Ok(model.get(prefix..end)),
        _ => Ok(None),
    };
    let taken = match (prefix, little) {
        (1, false) => input.take_frame_be::<u8>(max),
        (2, false) => input.take_frame_be::<u16>(max),
        (4, false) => input.take_frame_be::<u32>(max),
        (_, false) => input.take_frame_be::<u64>(max),
        (1, true) => input.take_frame_le::<u8>(max),
        (2, true) => input.take_frame_le::<u16>(max),
        (4, true) => input.take_frame_le::<u32>(max),
        (_, true) => input.take_frame_le::<u64>(max),
    };
    assert_eq!(taken, expected);
    let taken = expected.ok().flatten().and(end);
    taken.map_or(model, |end| &model[end..])
}

fn take_integer<'a>(input: &mut Input<'a>, model: &'a [u8], size: usize) -> &'a [u8] {
    let (count, little, peeks) = ([1, 2, 4, 8][size % 4], size & 4 > 0, size & 8 > 0);
    let expected = model.get(..count).map(|bytes| integer(bytes, little));
    let one = match (count, little) {
        (1, false) => one_of(input, peeks, Input::peek_be::<u8>, Input::take_be),
        (2, false) => one_of(input, peeks, Input::peek_be::<u16>, Input::take_be),
        (4, false) => one_of(input, peeks, Input::peek_be::<u32>, Input::take_be),
        (_, false) => one_of(input, peeks, Input::peek_be::<u64>, Input::take_be),
        (1, true) => one_of(input, peeks, Input::peek_le::<u8>, Input::take_le),
        (2, true) => one_of(input, peeks, Input::peek_le::<u16>, Input::take_le),
        (4, true) => one_of(input, peeks, Input::peek_le::<u32>, Input::take_le),
        (_, true) => one_of(input, peeks, Input::peek_le::<u64>, Input::take_le),
    };
    assert_eq!(one, expected);
    if peeks { model } else { model.get(count..).unwrap_or(model) }
}

/// Peeks at an integer, or takes it.
fn one_of<'a, N: Into<u64>>(
    input: &mut Input<'a>,
    peeks: bool,
    peek: impl FnOnce(&Input<'a>) -> Option<N>,
    take: impl FnOnce(&mut Input<'a>) -> Option<N>,
) -> Option<u64> {
    if peeks { peek(input) } else { take(input) }.map(Into::into)
}

fn integer(bytes: &[u8], little: bool) -> u64 {
    let add = |number, byte: &u8| number << 8 | u64::from(*byte);
    if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
}
