//! The targets, by their names.

mod arguments;
mod buffers;
mod parsers;
mod server;
mod text;
mod timers;

pub use arguments::arguments;
pub use buffers::{input, output};
pub use parsers::{addresses, values};
pub use server::server;
pub use text::escape;
pub use timers::wheel;

/// A target's function.
pub type Target = fn(&[u8]);

/// All of them.
pub const ALL: [(&str, Target); 8] = [
    ("addresses", addresses),
    ("arguments", arguments),
    ("escape", escape),
    ("input", input),
    ("output", output),
    ("server", server),
    ("values", values),
    ("wheel", wheel),
];

/// A text for one line of a terminal or a log: not empty, and printable ASCII.
#[track_caller]
fn expect_line(text: &str) {
    assert!(!text.is_empty(), "nothing is said");
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "not printable: {text:?}");
}
