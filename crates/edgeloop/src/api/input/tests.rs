//! What an input remembers must be right whatever is taken in between; the work is counted.

use super::search::counted;
use super::*;

/// What a loop keeps between two callbacks.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    scanned: Scanned,
}

impl Kept {
    /// A callback, when this has arrived.
    fn show<T>(&mut self, arrived: &[u8], data: impl FnOnce(&mut Input<'_>) -> T) -> T {
        self.bytes.extend_from_slice(arrived);
        let mut input = Input::with_scanned(&self.bytes, self.scanned, arrived.len());
        let result = data(&mut input);
        let (left, scanned) = input.rest_of(&self.bytes);
        self.bytes.drain(..self.bytes.len() - left);
        self.scanned = scanned;
        result
    }
}

fn line(input: &mut Input<'_>) -> Result<Option<Vec<u8>>, TooLong> {
    input.take_line(1000).map(|line| line.map(<[u8]>::to_vec))
}

fn until(delimiter: &[u8]) -> impl Fn(&mut Input<'_>) -> Result<Option<Vec<u8>>, TooLong> {
    move |input| input.take_until(delimiter, 1000).map(|taken| taken.map(<[u8]>::to_vec))
}

#[track_caller]
fn expect(taken: &Result<Option<Vec<u8>>, TooLong>, bytes: &str) {
    assert_eq!(taken, &Ok(Some(bytes.into())));
}

/// The bytes that searches look at during this.
fn work(during: impl FnOnce()) -> usize {
    counted::take();
    during();
    counted::take()
}

// What is remembered.

#[test]
fn what_was_searched_in_vain_is_not_searched_again() {
    let mut kept = Kept::default();
    assert_eq!(kept.show(b"abc", line), Ok(None));
    assert_eq!(work(|| expect(&kept.show(b"d\ne", line), "abcd")), 2);
    assert_eq!(kept.bytes, b"e");
}

#[test]
fn another_delimiter_is_searched_from_the_front() {
    let mut kept = Kept::default();
    assert_eq!(kept.show(b"a;b", line), Ok(None));
    expect(&kept.show(b"", until(b";")), "a;");
    expect(&kept.show(b"c\n", line), "bc");
}

#[test]
fn a_longer_delimiter_is_not_its_beginning() {
    let mut kept = Kept::default();
    assert_eq!(kept.show(b"a\rb", until(b"\r\n")), Ok(None));
    expect(&kept.show(b"", until(b"\r")), "a\r");
    assert_eq!(kept.show(b"", until(b"\r\n\0")), Ok(None));
    expect(&kept.show(b"\r\n", until(b"\r\n")), "b\r\n");
}

#[test]
fn a_delimiter_that_comes_in_pieces_is_found() {
    for at in 0..=8 {
        let (first, second) = b"ab\r\r\n\r\nc".split_at(at);
        let mut kept = Kept::default();
        let mut taken = kept.show(first, until(b"\r\n\r\n"));
        if taken == Ok(None) {
            taken = kept.show(second, until(b"\r\n\r\n"));
        }
        expect(&taken, "ab\r\r\n\r\n");
    }
}

#[test]
fn two_delimiters_are_remembered_at_once() {
    let mut kept = Kept::default();
    let count = work(|| {
        for _ in 0..99 {
            assert_eq!(kept.show(b"0123456789", until(b";")), Ok(None));
            assert_eq!(kept.show(b"", until(b"\r\n")), Ok(None));
        }
    });
    assert!(count <= 2 * 1000 + 100, "{count} bytes were looked at");
}

#[test]
fn taking_within_the_searched_part_keeps_the_rest_searched() {
    let mut kept = Kept::default();
    assert_eq!(kept.show(b"abcdef", line), Ok(None));
    assert_eq!(kept.show(b"", |input| input.take(3).to_vec()), b"abc");
    assert_eq!(work(|| assert_eq!(kept.show(b"gh", line), Ok(None))), 2);
    kept.show(b"", |input| input.skip(4));
    expect(&kept.show(b"\n", line), "h");
}

#[test]
fn what_was_taken_behind_the_searched_part_says_nothing_about_what_comes() {
    let mut kept = Kept::default();
    assert_eq!(kept.show(b"abc", line), Ok(None));
    kept.show(b"\nd", |input| input.skip(5));
    expect(&kept.show(b"a\nb\nc", line), "a");
    // All at once, and before it is kept.
    let mut input = Input::new(b"abc");
    assert_eq!(input.take_line(10), Ok(None));
    assert_eq!(input.take_all(), b"abc");
    assert_eq!(input.take_line(10), Ok(None));
    let mut kept = Kept::default();
    let nothing = kept.show(b"abc", |input| (line(input), input.take_all().len()));
    assert_eq!(nothing, (Ok(None), 3));
    expect(&kept.show(b"a\nb\nc", line), "a");
}

#[test]
fn lines_left_on_purpose_are_found_again() {
    let mut kept = Kept::default();
    expect(&kept.show(b"a\nb\nc", line), "a");
    expect(&kept.show(b"", line), "b");
    assert_eq!(kept.show(b"", line), Ok(None));
}

#[test]
fn a_line_that_was_too_long_for_one_is_taken_by_another() {
    let mut kept = Kept::default();
    let too_long = Err(TooLong::Line { max: 2 });
    assert_eq!(kept.show(b"abcdefg", |input| input.take_line(2).map(drop)), too_long);
    assert_eq!(kept.show(b"\nh", |input| input.take_line(2).map(drop)), too_long);
    let other = kept.show(b"", |input| input.take_until(b"\n", 3).map(drop));
    assert_eq!(other, Err(TooLong::Delimited { max: 3 }));
    expect(&kept.show(b"", line), "abcdefg");
}

#[test]
fn another_input_in_its_place_says_nothing_about_this_one() {
    let mut kept = Kept::default();
    let taken = kept.show(b"a\nb", |input| {
        *input = Input::new(b"no");
        line(input)
    });
    assert_eq!(taken, Ok(None));
    kept.show(b"\n", |input| *input = Input::new(b"more than there is"));
    expect(&kept.show(b"", line), "");
    expect(&kept.show(b"", line), "b");
    kept.show(b"c", |input| *input = Input::new(b""));
    assert_eq!(kept.bytes, b"");
}

#[test]
fn more_than_4_gib_are_searched_from_the_front() {
    let mut scanned = Scanned::NONE;
    scanned.remember(Delimiter::LF, 10);
    assert_eq!(scanned.searched(Delimiter::LF, 100), 90);
    let most = u32::MAX as usize;
    assert_eq!(scanned.followed_by(most - 10).searched(Delimiter::LF, most + 90), 90);
    assert_eq!(scanned.followed_by(most - 9).searched(Delimiter::LF, most + 91), 0);
    assert_eq!(scanned.followed_by(usize::MAX), Scanned::NONE);
    scanned.remember(Delimiter::LF, most + 1);
    assert_eq!(scanned, Scanned::NONE);
}

// The work.

/// The bytes that are looked at when this arrives one by one, and is parsed each time.
fn work_byte_by_byte(bytes: &[u8], parse: impl Fn(&mut Input<'_>)) -> usize {
    let mut kept = Kept::default();
    work(|| bytes.iter().for_each(|&byte| kept.show(&[byte], &parse)))
}

#[test]
fn the_work_is_linear_however_the_bytes_come() {
    const LENGTH: usize = 10_000;
    let line_of = |byte| [vec![byte; LENGTH - 1], vec![b'\n']].concat();
    let counts = [
        work_byte_by_byte(&line_of(b'x'), |input| _ = input.take_line(LENGTH)),
        // Too long, and the handler does not mind.
        work_byte_by_byte(&line_of(b'x'), |input| _ = input.take_line(LENGTH / 2)),
        work_byte_by_byte(&line_of(b'x'), |input| _ = input.take_until(b"\n", LENGTH)),
        // Every byte may be the beginning of a delimiter of 8 bytes.
        work_byte_by_byte(&line_of(b'\r'), |input| {
            let _ = input.take_until(b"\r\r\r\r\r\r\r\n", LENGTH);
        }),
    ];
    for count in counts {
        assert!(count <= 3 * 8 * LENGTH, "{counts:?} bytes were looked at");
    }
    assert_eq!(counts[0], LENGTH);
}

#[test]
fn a_line_that_is_found_too_long_is_not_searched_again() {
    let mut kept = Kept::default();
    let longer = [&[b'x'; 1001][..], b"\n"].concat();
    assert_eq!(kept.show(&longer, line), Err(TooLong::Line { max: 1000 }));
    assert!(work(|| assert!(kept.show(b"x", line).is_err())) <= 1);
}

// Limits.

#[test]
fn a_line_counts_without_its_end() {
    let take = |bytes: &'static [u8]| Input::new(bytes).take_line(3);
    for fits in [&b"abc\n"[..], b"abc\r\n", b"abc\r\nd"] {
        assert_eq!(take(fits), Ok(Some(&b"abc"[..])));
    }
    assert_eq!(take(b"\n"), Ok(Some(&b""[..])));
    assert_eq!(take(b"\r\n"), Ok(Some(&b""[..])));
    assert_eq!(take(b"\r\r\n"), Ok(Some(&b"\r"[..])));
    for unended in [&b""[..], b"abc", b"abc\r"] {
        assert_eq!(take(unended), Ok(None));
    }
    for long in [&b"abcd"[..], b"abcd\n", b"abcd\r\n", b"abc\rd", b"abc\r\r\n", b"abcdefg"] {
        assert_eq!(take(long), Err(TooLong::Line { max: 3 }));
    }
    assert_eq!(Input::new(b"a\n").take_line(usize::MAX), Ok(Some(&b"a"[..])));
    assert_eq!(Input::new(b"a").take_line(0), Err(TooLong::Line { max: 0 }));
}

#[test]
fn a_delimiter_counts() {
    let take = |bytes: &'static [u8]| Input::new(bytes).take_until(b"--", 5);
    assert_eq!(take(b"abc--"), Ok(Some(&b"abc--"[..])));
    assert_eq!(take(b"abc-"), Ok(None));
    for long in [&b"abcd-"[..], b"abcd--", b"abcde", b"abcdefgh"] {
        assert_eq!(take(long), Err(TooLong::Delimited { max: 5 }));
    }
    assert_eq!(Input::new(b"a--").take_until(b"--", 1), Err(TooLong::Delimited { max: 1 }));
}

#[test]
#[should_panic(expected = "a delimiter has 1 to 8 bytes, not 0")]
fn a_delimiter_has_a_byte() {
    let _ = Input::new(b"a").take_until(b"", 10);
}

#[test]
#[should_panic(expected = "a delimiter has 1 to 8 bytes, not 9")]
fn a_delimiter_has_no_more_than_eight() {
    let _ = Input::new(b"a").take_until(b"123456789", 10);
}

#[test]
fn a_frame_is_never_longer_than_its_maximum_whatever_it_claims() {
    let claim = [0xff; 9];
    let max = 9;
    let error = |length| Err(TooLong::Frame { length, max });
    assert_eq!(Input::new(&claim).take_frame_be::<u8>(max), error(0xff));
    assert_eq!(Input::new(&claim).take_frame_le::<u16>(max), error(0xffff));
    assert_eq!(Input::new(&claim).take_frame_be::<u32>(max), error(0xffff_ffff));
    assert_eq!(Input::new(&claim).take_frame_le::<u64>(max), error(u64::MAX));
    // As long as a slice can't be.
    assert_eq!(Input::new(&claim).take_frame_be::<u64>(usize::MAX), Ok(None));
    assert_eq!(Input::new(&claim[1..]).take_frame_le::<u64>(usize::MAX), Ok(None));
    assert_eq!(Input::new(&claim[2..]).take_frame_le::<u64>(0), Ok(None));
}

#[test]
fn a_frame_may_be_empty() {
    let mut input = Input::new(&[0, 0, 1]);
    assert_eq!(input.take_frame_be::<u16>(0), Ok(Some(&[][..])));
    assert_eq!(input.take_frame_be::<u8>(0), Err(TooLong::Frame { length: 1, max: 0 }));
    assert_eq!(input.bytes(), [1]);
}

#[test]
fn integers_are_taken_whole_or_not_at_all() {
    /// What stands in the first bytes of 1, 2, 3 and so on.
    fn check<N: Unsigned + PartialEq + fmt::Debug>(be: N, le: N) {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        let bytes = &bytes[..size_of::<N>()];
        for count in 0..bytes.len() {
            let mut input = Input::new(&bytes[..count]);
            assert_eq!((input.peek_be::<N>(), input.peek_le::<N>()), (None, None));
            assert_eq!((input.take_be::<N>(), input.take_le::<N>()), (None, None));
            assert_eq!(input.len(), count);
        }
        let twice = [bytes, bytes].concat();
        let mut input = Input::new(&twice);
        assert_eq!((input.peek_be(), input.peek_le()), (Some(be), Some(le)));
        assert_eq!((input.take_be(), input.take_le()), (Some(be), Some(le)));
        assert!(input.is_empty());
    }
    check::<u8>(1, 1);
    check::<u16>(0x0102, 0x0201);
    check::<u32>(0x0102_0304, 0x0403_0201);
    check::<u64>(0x0102_0304_0506_0708, 0x0807_0605_0403_0201);
}

// Any cuts.

type Parse = fn(&mut Input<'_>) -> Result<Option<Vec<u8>>, TooLong>;

/// Parsers with small limits.
const PARSERS: [(&str, Parse); 4] = [
    ("line", |input| Ok(input.take_line(3)?.map(<[u8]>::to_vec))),
    ("until", |input| Ok(input.take_until(b"\r\n", 4)?.map(<[u8]>::to_vec))),
    ("frame", |input| Ok(input.take_frame_be::<u8>(13)?.map(<[u8]>::to_vec))),
    // A line, else something with another delimiter.
    ("either", |input| {
        let line = input.take_line(4)?.map(<[u8]>::to_vec);
        Ok(line.or(input.take_until(b"\r\r", 5)?.map(<[u8]>::to_vec)))
    }),
];

/// Everything that is taken of these pieces, up to an error.
fn parse(pieces: &[&[u8]], parser: Parse) -> (Vec<Vec<u8>>, Option<TooLong>) {
    let (mut kept, mut all) = (Kept::default(), Vec::new());
    for piece in pieces {
        let end = kept.show(piece, |input| {
            loop {
                match parser(input) {
                    Ok(Some(one)) => all.push(one),
                    Ok(None) => return None,
                    Err(error) => return Some(error),
                }
            }
        });
        if end.is_some() {
            return (all, end);
        }
    }
    (all, None)
}

#[test]
fn any_cut_gives_the_same_as_the_whole() {
    const LENGTH: u32 = 6;
    for number in 0..4_u32.pow(LENGTH) {
        let bytes: Vec<u8> =
            (0..LENGTH).map(|at| b"x\r\n\x02"[(number >> (2 * at) & 3) as usize]).collect();
        for (name, parser) in &PARSERS[..3] {
            let whole = parse(&[&bytes], *parser);
            for cuts in 0..1_u32 << (LENGTH - 1) {
                let mut pieces = vec![];
                let mut from = 0;
                for at in 1..=bytes.len() {
                    if at == bytes.len() || cuts >> (at - 1) & 1 == 1 {
                        pieces.push(&bytes[from..at]);
                        from = at;
                    }
                }
                assert_eq!(parse(&pieces, *parser), whole, "{name} of {pieces:?}");
            }
        }
    }
}

#[test]
fn what_is_remembered_changes_nothing_but_the_work() {
    // Several parsers take turns, and go on behind an error.
    const LENGTH: u32 = 7;
    for number in 0..4_u32.pow(LENGTH) {
        let bytes: Vec<u8> =
            (0..LENGTH).map(|at| b"x\r\n;"[(number >> (2 * at) & 3) as usize]).collect();
        let (mut remembers, mut forgets) = (Kept::default(), Kept::default());
        for byte in bytes.chunks(1) {
            for (_, parser) in &PARSERS {
                forgets.scanned = Scanned::NONE;
                assert_eq!(remembers.show(byte, parser), forgets.show(byte, parser), "{bytes:?}");
                assert_eq!(remembers.bytes, forgets.bytes);
            }
        }
    }
}

// Integers.

#[test]
fn an_integer_that_is_a_line_is_taken_when_its_end_has_arrived() {
    for integer in [0, 1, 9, 10, -1, -10, 1_234_567_890, i64::MAX, i64::MIN] {
        for end in ["\n", "\r\n"] {
            let line = format!("{integer}{end}");
            for arrived in 0..line.len() {
                let mut input = Input::new(&line.as_bytes()[..arrived]);
                assert_eq!(input.take_integer(), Ok(None), "{arrived} of {line:?}");
                assert_eq!(input.len(), arrived);
            }
            let line = line + "5\n";
            let mut input = Input::new(line.as_bytes());
            assert_eq!(input.take_integer(), Ok(Some(integer)));
            assert_eq!(&*input, b"5\n");
        }
    }
}

#[test]
fn what_is_no_integer_is_an_error_as_soon_as_that_is_certain() {
    for line in [
        "\n",
        "\r",
        "\r\n",
        "x",
        "-\n",
        "-\r",
        "-x",
        "+1",
        " 1",
        "1 ",
        "1x",
        "1\r1",
        "1-",
        "--",
        "00",
        "01",
        "-0",
        "1.5",
        "9223372036854775808\n",
        "-9223372036854775809",
        "99999999999999999999",
    ] {
        let mut input = Input::new(line.as_bytes());
        let error = input.take_integer().expect_err(line);
        assert_eq!(error.to_string(), "a line is not a decimal integer of 64 bits");
        assert_eq!(input.len(), line.len(), "nothing is taken");
    }
}
