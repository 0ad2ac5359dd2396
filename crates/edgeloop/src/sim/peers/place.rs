//! Where a peer stands, whatever it does there.

/// How far a peer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It has still to connect.
    Unborn,
    /// The handshake of the loop's own connect goes on.
    Dialled(usize),
    Connected(usize),
    /// It has closed its descriptor, having read to the end or not.
    Gone {
        at_the_end: bool,
    },
}

/// Where a peer stands, whatever it does there.
#[derive(Debug)]
pub struct Place {
    pub stage: Stage,
    /// Its connection, once it has one.
    pub link: Option<usize>,
    /// The server's kernel has let its connection down, and nothing is owed to it.
    pub excused: bool,
    /// It never answers the loop's connect.
    pub(crate) silent: bool,
}

impl Place {
    pub(crate) const NEW: Self =
        Self { stage: Stage::Unborn, link: None, excused: false, silent: false };
}
