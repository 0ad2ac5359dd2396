//! What is given to a socket, wherever it lies, and what of it is left.

use std::sync::Arc;

use crate::store::output::Piped;
use crate::store::pieces::Pieces;
use crate::store::shared::Shared;

/// Bytes on their way to a socket, or to its queue.
#[derive(Clone, Copy)]
pub(super) enum Outgoing<'a> {
    Bytes(&'a [u8]),
    Pieces(Pieces<'a>),
    /// Without the first bytes, this many of them, which are gone.
    Shared(&'a Arc<Shared>, usize),
    Piped(Piped),
}

impl Outgoing<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Pieces(pieces) => pieces.len(),
            Self::Shared(shared, gone) => shared.bytes().len() - gone,
            Self::Piped(piped) => piped.count,
        }
    }

    /// The same but for its first `count` bytes, which are gone.
    pub(super) fn behind(self, count: usize) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(&bytes[count..]),
            Self::Pieces(pieces) => Self::Pieces(pieces.behind(count)),
            Self::Shared(shared, gone) => Self::Shared(shared, gone + count),
            Self::Piped(Piped { pipe, count: all }) => {
                Self::Piped(Piped { pipe, count: all - count })
            }
        }
    }
}
