//! The fuzzer's bytes as a source of decisions: whatever they are, each decision has an answer.

/// Bytes that are used up from the front. Behind their end all decisions are zero.
pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether there is nothing left to decide.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let (&first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first
    }

    /// One byte: below `count`, which is 256 at the most.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// Two bytes.
    pub(crate) fn word(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    /// One byte: a number of any size up to so many bits, small ones as likely as large ones, and
    /// those around the powers of two among them.
    pub(crate) fn magnitude(&mut self, bits: u32) -> u64 {
        let byte = u32::from(self.byte());
        let power = 1_u64 << ((byte >> 3) * bits / 32).min(63);
        match byte & 7 {
            0 => power - 1,
            1 => power,
            2 => power + 1,
            eighths => power + power / 8 * u64::from(eighths),
        }
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }
}
