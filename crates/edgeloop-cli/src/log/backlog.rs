//! The lines that wait for the writer: bounded, and with every gap where it is (C35).

use std::collections::VecDeque;

/// The most bytes of debug lines that wait for the writer.
pub(super) const LIMIT: usize = 1024 * 1024;

/// What is kept free for each rank above.
const RESERVE: usize = 64 * 1024;

/// The most that is written at once. A pipe takes that much whole (PIPE_BUF, pipe(7)), so that no
/// line of another process falls into one of ours.
pub(super) const PIECE: usize = 4096;

/// How much a line matters. A line that does not fit takes the place of debug lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Connections and the steps of the loop: dropped first.
    Debug,
    /// Warnings, signals and what else an operator reads.
    Notable,
    /// Errors, listening addresses, totals: they have a place even behind a flood of warnings.
    Essential,
}

impl Rank {
    const fn limit(self) -> usize {
        match self {
            Self::Debug => LIMIT,
            Self::Notable => LIMIT + RESERVE,
            Self::Essential => LIMIT + 2 * RESERVE,
        }
    }
}

/// What the writer takes at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// Whole lines of one rank, no more than [`PIECE`] bytes unless it is a single line.
    Lines(Rank, Vec<u8>),
    /// So many lines were dropped here.
    Gap(u64),
}

/// The lines that wait.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    items: VecDeque<Item>,
    /// The bytes of all lines in it.
    size: usize,
    dropped: u64,
}

impl Backlog {
    /// Adds a line, its line feed included, or drops and counts it.
    pub(super) fn push(&mut self, line: &[u8], rank: Rank) {
        if self.size + line.len() > rank.limit() && rank > Rank::Debug {
            self.make_room(line.len(), rank.limit());
        }
        if self.size + line.len() > rank.limit() {
            self.dropped += 1;
            match self.items.back_mut() {
                Some(Item::Gap(lines)) => *lines += 1,
                _ => self.items.push_back(Item::Gap(1)),
            }
            return;
        }
        self.size += line.len();
        match self.items.back_mut() {
            Some(Item::Lines(last, lines))
                if *last == rank && lines.len() + line.len() <= PIECE =>
            {
                lines.extend_from_slice(line);
            }
            _ => self.items.push_back(Item::Lines(rank, line.to_vec())),
        }
    }

    /// Takes what is next in line.
    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front();
        if let Some(Item::Lines(_, lines)) = &item {
            self.size -= lines.len();
        }
        item
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Counts lines that were taken and could not be written.
    pub(super) fn lose(&mut self, lines: u64) {
        self.dropped += lines;
    }

    /// How many lines were dropped, whatever the reason.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Drops debug lines, the newest first, until `bytes` more fit below the limit or none is left.
    fn make_room(&mut self, bytes: usize, limit: usize) {
        let mut gaps = false;
        for item in self.items.iter_mut().rev() {
            if self.size + bytes <= limit {
                break;
            }
            if let Item::Lines(Rank::Debug, lines) = item {
                let count = count_lines(lines);
                self.size -= lines.len();
                self.dropped += count;
                *item = Item::Gap(count);
                gaps = true;
            }
        }
        if gaps {
            self.join_gaps();
        }
    }

    /// Makes one gap of those that lie side by side.
    fn join_gaps(&mut self) {
        let mut joined: VecDeque<Item> = VecDeque::with_capacity(self.items.len());
        for item in self.items.drain(..) {
            match (joined.back_mut(), item) {
                (Some(Item::Gap(before)), Item::Gap(lines)) => *before += lines,
                (_, item) => joined.push_back(item),
            }
        }
        self.items = joined;
    }
}

pub(super) fn count_lines(text: &[u8]) -> u64 {
    text.iter().map(|&byte| u64::from(byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that waits, with gaps in brackets.
    fn text(mut backlog: Backlog) -> String {
        let mut text = String::new();
        while let Some(item) = backlog.pop() {
            text += &match item {
                Item::Lines(_, lines) => String::from_utf8(lines).expect("UTF-8"),
                Item::Gap(lines) => format!("[{lines}]\n"),
            };
        }
        text
    }

    /// A line of this many bytes.
    fn line(name: char, bytes: usize) -> Vec<u8> {
        let mut line = name.to_string().repeat(bytes - 1).into_bytes();
        line.push(b'\n');
        line
    }

    /// A backlog that takes no more debug lines, and how many it has.
    fn full() -> (Backlog, usize) {
        let mut backlog = Backlog::default();
        let lines = LIMIT / 1024;
        for _ in 0..lines {
            backlog.push(&line('d', 1024), Rank::Debug);
        }
        assert_eq!(backlog.dropped(), 0);
        (backlog, lines)
    }

    #[test]
    fn c35_a_gap_is_told_where_it_is() {
        let (mut backlog, lines) = full();
        for _ in 0..3 {
            backlog.push(b"dropped\n", Rank::Debug);
        }
        backlog.push(b"warning\n", Rank::Notable);
        backlog.push(b"dropped\n", Rank::Debug);
        for _ in 0..lines / 8 {
            backlog.pop();
        }
        backlog.push(b"later\n", Rank::Debug);
        assert_eq!(backlog.dropped(), 4);
        let text = text(backlog);
        assert!(text.ends_with("d\n[3]\nwarning\n[1]\nlater\n"), "{}", &text[text.len() - 60..]);
    }

    #[test]
    fn c35_no_flood_of_debug_lines_costs_a_warning_or_the_totals() {
        let (mut backlog, lines) = full();
        // More than what is kept free: it takes the place of debug lines.
        let warnings = LIMIT / 4096;
        for _ in 0..warnings {
            backlog.push(b"dropped\n", Rank::Debug);
            backlog.push(&line('w', 2048), Rank::Notable);
        }
        backlog.push(b"totals\n", Rank::Essential);
        let dropped = usize::try_from(backlog.dropped()).expect("few");
        let text = text(backlog);
        let kept = |name: char| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(kept('w'), warnings);
        assert!(text.ends_with("\ntotals\n"));
        assert!(kept('d') > lines / 3, "{} of {lines} were kept", kept('d'));
        assert_eq!(dropped, warnings + lines - kept('d'));
        let gaps: usize = text
            .lines()
            .filter_map(|line| line.strip_prefix('[')?.strip_suffix(']')?.parse::<usize>().ok())
            .sum();
        assert_eq!(gaps, dropped, "gaps that nobody is told of");
    }

    #[test]
    fn c35_warnings_have_an_end_too_and_the_totals_come_behind_them() {
        let mut backlog = Backlog::default();
        for _ in 0..2 * LIMIT / 1024 {
            backlog.push(&line('w', 1024), Rank::Notable);
        }
        assert!(backlog.size <= LIMIT + RESERVE, "{} bytes", backlog.size);
        assert!(backlog.dropped() > 0);
        backlog.push(b"totals\n", Rank::Essential);
        assert!(text(backlog).ends_with("]\ntotals\n"));
    }

    #[test]
    fn what_is_taken_at_once_ends_where_a_line_does() {
        let mut backlog = Backlog::default();
        for bytes in [2, PIECE - 2, 2, 3 * PIECE, 5] {
            backlog.push(&line('x', bytes), Rank::Debug);
        }
        let mut sizes = Vec::new();
        while let Some(Item::Lines(_, lines)) = backlog.pop() {
            assert!(lines.ends_with(b"\n"));
            sizes.push(lines.len());
        }
        assert_eq!(sizes, [PIECE, 2, 3 * PIECE, 5]);
        assert_eq!(backlog.size, 0);
    }
}
