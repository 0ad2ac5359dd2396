//! What arrives is longer than its parser allows.

use std::{error, fmt};

/// A line, a message or a frame is longer than the parser's maximum. Nothing of it was taken.
///
/// The same call returns the same error again, unless the handler takes something: usually it says
/// so and closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TooLong {
    /// A line, from [`Input::take_line`](crate::Input::take_line).
    Line {
        /// The most bytes of a line, without its end.
        max: usize,
    },
    /// What stands before a delimiter and the delimiter itself, from
    /// [`Input::take_until`](crate::Input::take_until).
    Delimited {
        /// The most bytes of both.
        max: usize,
    },
    /// A frame, from [`Input::take_frame_be`](crate::Input::take_frame_be) or
    /// [`take_frame_le`](crate::Input::take_frame_le).
    Frame {
        /// The bytes that the peer announced.
        length: u64,
        /// The most bytes of a frame, without the integer before it.
        max: usize,
    },
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { max } => write!(f, "a line is longer than {max} bytes"),
            Self::Delimited { max } => write!(f, "no delimiter within {max} bytes"),
            Self::Frame { length, max } => {
                write!(f, "a frame of {length} bytes is longer than {max}")
            }
        }
    }
}

impl error::Error for TooLong {}
