//! What becomes of datagrams on their way.

/// What becomes of datagrams on their way: how many of a thousand are lost, arrive twice, or are
/// overtaken by later ones. See [`Simulation::packets`](crate::sim::Simulation::packets).
///
/// # Examples
///
/// ```
/// use edgeloop::sim::Packets;
///
/// let rough = Packets::orderly().lost(100).repeated(20).overtaken(50);
/// assert_ne!(rough, Packets::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packets {
    pub(crate) lost: usize,
    pub(crate) repeated: usize,
    pub(crate) overtaken: usize,
}

impl Packets {
    /// Each datagram arrives once, and in order. The default.
    #[must_use]
    pub const fn orderly() -> Self {
        Self { lost: 0, repeated: 0, overtaken: 0 }
    }

    /// How many of a thousand datagrams are lost, in both directions.
    #[must_use]
    pub const fn lost(mut self, per_thousand: usize) -> Self {
        self.lost = per_thousand;
        self
    }

    /// How many of a thousand arrive twice.
    #[must_use]
    pub const fn repeated(mut self, per_thousand: usize) -> Self {
        self.repeated = per_thousand;
        self
    }

    /// How many of a thousand take up to 10 ms longer, so that later ones may overtake them.
    #[must_use]
    pub const fn overtaken(mut self, per_thousand: usize) -> Self {
        self.overtaken = per_thousand;
        self
    }
}
