//! What a connection remembers between its events, over every state there is.

use super::*;

const NOW: Time = Time::ZERO;
const LIVES: [Life; 5] =
    [Life::Connecting, Life::Open, Life::Flushing, Life::Lingering, Life::Ended];

fn open() -> Connection<()> {
    Connection::accepted((), NonZeroU64::MIN, NOW)
}

/// Every set of these flags.
fn subsets(flags: &[Flags]) -> impl Iterator<Item = Vec<Flags>> {
    (0..1_u32 << flags.len()).map(move |chosen| {
        let all = flags.iter().enumerate();
        all.filter(|(at, _)| chosen & 1 << at != 0).map(|(_, &flag)| flag).collect()
    })
}

/// A connection in this life with these flags.
fn with(life: Life, flags: &[Flags]) -> Connection<()> {
    let mut connection = open();
    connection.enter(life);
    flags.iter().for_each(|&flag| connection.set(flag));
    connection
}

/// C9: what only some connections need takes no memory once it isn't needed.
#[test]
fn c09_the_rarer_part_lasts_as_long_as_it_is_needed() {
    let is_there = |connection: &Connection<()>| connection.cold.is_some();
    let mut connection = open();
    assert!(!is_there(&connection), "at first");

    connection.push(b"output", NOW, 100, Flags::ABOVE);
    assert!(is_there(&connection));
    let _ = connection.wrote(5, NOW);
    assert!(is_there(&connection), "a byte is left");
    let _ = connection.wrote(1, NOW);
    assert!(!is_there(&connection), "all is written");

    connection.keep(b"input".to_vec(), Scanned::default());
    assert!(is_there(&connection));
    drop(connection.take_kept());
    assert!(!is_there(&connection), "nothing is kept");

    connection.set_timer(1, Time::NEVER);
    assert!(!is_there(&connection), "no timeout");
    connection.set_timer(1, NOW);
    assert!(is_there(&connection));
    connection.set_timer(1, Time::NEVER);
    assert!(!is_there(&connection), "the timeout is taken back");

    let _ = connection.retry(Transfer::Receive, Errno::NOMEM, NOW);
    assert!(is_there(&connection));
    connection.receive_answered();
    assert!(!is_there(&connection), "a receive went well");

    let _ = connection.retry(Transfer::Send, Errno::NOMEM, NOW);
    connection.push(b"x", NOW, 100, Flags::ABOVE);
    connection.set_timer(1, NOW);
    let _ = connection.wrote(1, NOW);
    assert!(is_there(&connection), "the timeout");
    connection.set_timer(1, Time::NEVER);
    assert!(!is_there(&connection), "a send went well");

    let mut connection = Connection::connecting((), NonZeroU64::MIN, NOW, NOW);
    assert!(is_there(&connection));
    connection.connected(NOW);
    assert!(!is_there(&connection), "there is no connect timeout any more");

    connection.lose(0);
    assert!(!is_there(&connection), "nothing is lost");
    connection.lose(1);
    connection.set_timer(1, Time::NEVER);
    assert!(is_there(&connection), "the loss is still to be told");
}

#[test]
fn only_an_open_connection_that_remembers_nothing_is_plain() {
    assert!(open().is_plain(1));
    assert!(!open().is_plain(2));
    for life in LIVES {
        assert_eq!(with(life, &[]).is_plain(1), life == Life::Open, "{life:?}");
    }
    // An event that says no more than what is read and written anyway leaves it so.
    let mut connection = open();
    connection.note(Readiness::OUT);
    assert!(connection.is_plain(1));
}

/// C2, C4: every event on a connection with and without output.
#[test]
fn c02_an_event_is_remembered_as_what_it_may_mean() {
    let (usual, all) = (Readiness::IN | Readiness::OUT, 0..1 << 14_u32);
    let known = [
        Readiness::IN,
        Readiness::OUT,
        Readiness::PRI,
        Readiness::RDHUP,
        Readiness::HUP,
        Readiness::ERR,
    ];
    let known = known.iter().fold(0, |bits, flag| bits | flag.bits());
    for bits in all.filter(|bits| bits & !known == 0) {
        for output in [false, true] {
            let readiness = Readiness::from_bits(bits);
            let mut connection = with(Life::Open, if output { &[Flags::QUEUED] } else { &[] });
            connection.note(readiness);
            let unusual = bits & !usual.bits() != 0;
            let is = |flag: Readiness| bits & flag.bits() != 0;
            assert_eq!(connection.has(Flags::TO_EAGAIN), unusual, "{readiness}");
            let reads = unusual || is(Readiness::IN);
            assert_eq!(connection.has(Flags::READABLE), reads, "{readiness}");
            let room =
                [Readiness::OUT, Readiness::HUP, Readiness::ERR].iter().any(|&flag| is(flag));
            let writes = output && room;
            assert_eq!(connection.has(Flags::WRITABLE), writes, "{readiness}, output: {output}");
        }
    }
}

#[test]
fn c10_what_keeps_a_connection_from_being_read() {
    let flags = [
        Flags::READABLE,
        Flags::SHOW,
        Flags::PAUSED,
        Flags::ABOVE,
        Flags::PEER_ENDED,
        Flags::STARVED,
        Flags::RETRY,
    ];
    for life in LIVES {
        for set in subsets(&flags) {
            let has = |flag: Flags| set.contains(&flag);
            let expected = match life {
                Life::Open => {
                    let waits = [2, 3, 4, 5, 6].iter().any(|&at| has(flags[at]));
                    (has(Flags::READABLE) || has(Flags::SHOW)) && !waits
                }
                Life::Lingering => {
                    has(Flags::READABLE) && !(has(Flags::PEER_ENDED) || has(Flags::RETRY))
                }
                _ => false,
            };
            assert_eq!(with(life, &set).wants_reading(), expected, "{life:?}, {set:?}");
        }
    }
}

#[test]
fn c04_output_is_written_when_there_is_some_and_room_for_it() {
    for life in LIVES {
        for set in subsets(&[Flags::WRITABLE, Flags::QUEUED]) {
            let lives = matches!(life, Life::Open | Life::Flushing);
            let expected = lives && set.len() == 2;
            assert_eq!(with(life, &set).wants_flushing(), expected, "{life:?}, {set:?}");
        }
        for failed in [false, true] {
            let connection = with(life, if failed { &[Flags::FAILED] } else { &[] });
            let expected = matches!(life, Life::Open | Life::Connecting) && !failed;
            assert_eq!(connection.is_sendable(), expected, "{life:?}, failed: {failed}");
        }
    }
}

#[test]
fn c10_above_the_high_watermark_begins_one_byte_above_and_ends_at_the_low_one() {
    let mut connection = open();
    connection.push(&[0; 10], NOW, 10, Flags::ABOVE);
    assert!(!connection.has(Flags::ABOVE), "at it");
    connection.push(&[0; 1], NOW, 10, Flags::ABOVE);
    assert!(connection.has(Flags::ABOVE), "above it");
    let _ = connection.wrote(5, NOW);
    assert!(!connection.falls(5), "6 are left");
    let _ = connection.wrote(1, NOW);
    assert!(connection.falls(5) && !connection.has(Flags::ABOVE), "5 are left");
    assert!(!connection.falls(5), "it is told once");
}

#[test]
fn c11_the_growth_that_is_foretold_is_the_growth_that_comes() {
    let mut connection = open();
    for count in [1, 4095, 1, 4096, 100_000, 3, 65_536, 1] {
        let foretold = connection.growth(count);
        assert_eq!(
            connection.push(&vec![0; count], NOW, usize::MAX, Flags::ABOVE),
            foretold,
            "{count} bytes"
        );
    }
    let _ = connection.wrote(1, NOW);
    let foretold = connection.growth(5000);
    assert_eq!(connection.push(&[0; 5000], NOW, usize::MAX, Flags::ABOVE), foretold);
}

#[test]
fn c06_input_is_discarded_up_to_the_limit() {
    let mut connection = open();
    let _ = connection.begin_close(Reason::Closed);
    connection.linger(NOW, Duration::ZERO, 10);
    assert!(connection.discard(9), "a byte more may come");
    assert!(!connection.discard(1), "that was it");
    assert!(!connection.discard(1));
}

#[test]
fn c11_kept_input_counts_with_its_memory() {
    let mut connection = open();
    assert_eq!(connection.kept(), 0);
    connection.keep(Vec::with_capacity(1000), Scanned::default());
    assert_eq!(connection.kept(), 0, "nothing is kept");
    let mut rest = Vec::with_capacity(1000);
    rest.push(1);
    connection.keep(rest, Scanned::default());
    assert_eq!(connection.kept(), 1000);
}

#[test]
fn the_first_reason_is_told_unless_the_end_is_a_reset() {
    for (abort, told) in [(false, Reason::IdleTimeout), (true, Reason::WriteTimeout)] {
        let mut connection = open();
        assert_eq!(connection.reason(), None);
        let _ = connection.begin_close(Reason::IdleTimeout);
        assert_eq!(connection.reason(), Some(Reason::IdleTimeout));
        let _ = connection.end(Reason::WriteTimeout, abort);
        assert_eq!(connection.reason(), Some(told));
    }
}

#[test]
fn what_was_read_is_forgotten_and_an_end_is_not() {
    let mut connection = with(Life::Open, &[Flags::READABLE, Flags::TO_EAGAIN]);
    connection.exhausted();
    assert!(connection.is_plain(1));
    connection.set(Flags::READABLE | Flags::TO_EAGAIN);
    connection.peer_ended();
    assert!(
        !connection.has(Flags::READABLE | Flags::TO_EAGAIN) && connection.has(Flags::PEER_ENDED)
    );
}

impl<S> Connection<S> {
    /// Queues bytes, for which there is memory.
    pub(super) fn push(&mut self, bytes: &[u8], now: Time, high: usize, mark: Flags) -> usize {
        self.try_push(bytes, now, high, mark).expect("memory")
    }
}
