//! Standard output.

use std::io::{self, Write as _};

/// Prints, and says what is wrong with standard output if anything is.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("standard output: {error}"))
}
