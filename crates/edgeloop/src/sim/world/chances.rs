//! What can happen next: for each peer a few things, picked from without a look at the others.

use crate::sim::Random;

/// What can happen to one peer or on its connection, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Steps(u8);

impl Steps {
    pub(crate) const NONE: Self = Self(0);
    /// The peer connects.
    pub(crate) const CONNECT: Self = Self(1);
    /// The handshake of the loop's own connect comes to its end.
    pub(crate) const ESTABLISH: Self = Self(1 << 1);
    /// The peer does something.
    pub(crate) const ACT: Self = Self(1 << 2);
    /// Something that the loop sent arrives.
    pub(crate) const DELIVER_OURS: Self = Self(1 << 3);
    /// Something that the peer sent arrives.
    pub(crate) const DELIVER_THEIRS: Self = Self(1 << 4);
    /// The edge comes that is owed for an early EAGAIN or a short receive.
    pub(crate) const EDGE: Self = Self(1 << 5);
    /// Another thread of the server sends to it.
    pub(crate) const MAIL: Self = Self(1 << 6);

    pub(crate) const fn with_if(self, other: Self, condition: bool) -> Self {
        if condition { Self(self.0 | other.0) } else { self }
    }

    /// One of them; there must be one.
    const fn pick(self, random: &mut Random) -> Self {
        let mut bits = self.0;
        let mut skip = random.below(bits.count_ones() as usize);
        while skip > 0 {
            bits &= bits - 1;
            skip -= 1;
        }
        Self(bits & bits.wrapping_neg())
    }
}

/// The steps that are possible now. Each peer for which there is any is as likely as each other.
#[derive(Debug, Default)]
pub(crate) struct Chances {
    /// Of each peer.
    steps: Vec<Steps>,
    /// The peers that have some, and where each of them stands here.
    peers: Vec<usize>,
    places: Vec<usize>,
}

impl Chances {
    /// From now on these are possible for this peer.
    pub(crate) fn set(&mut self, peer: usize, steps: Steps) {
        if peer >= self.steps.len() {
            self.steps.resize(peer + 1, Steps::NONE);
            self.places.resize(peer + 1, 0);
        }
        let before = std::mem::replace(&mut self.steps[peer], steps);
        if before == Steps::NONE && steps != Steps::NONE {
            self.places[peer] = self.peers.len();
            self.peers.push(peer);
        } else if before != Steps::NONE && steps == Steps::NONE {
            let place = self.places[peer];
            self.peers.swap_remove(place);
            if let Some(&moved) = self.peers.get(place) {
                self.places[moved] = place;
            }
        }
    }

    /// For how many peers something is possible.
    pub(crate) const fn len(&self) -> usize {
        self.peers.len()
    }

    /// One step of the peer at this place among them.
    pub(crate) fn pick(&self, place: usize, random: &mut Random) -> (usize, Steps) {
        let peer = self.peers[place];
        (peer, self.steps[peer].pick(random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_possible_step_is_picked_and_no_other() {
        let mut chances = Chances::default();
        let both = Steps::NONE.with_if(Steps::ACT, true).with_if(Steps::EDGE, true);
        chances.set(4, both);
        chances.set(1, Steps::MAIL);
        chances.set(2, Steps::ACT);
        chances.set(4, both);
        chances.set(1, Steps::NONE);
        assert_eq!(chances.len(), 2);
        let mut random = Random::new(1);
        let mut seen = Vec::new();
        for _ in 0..100 {
            let place = random.below(chances.len());
            let step = chances.pick(place, &mut random);
            if !seen.contains(&step) {
                seen.push(step);
            }
        }
        for step in [(4, Steps::ACT), (4, Steps::EDGE), (2, Steps::ACT)] {
            assert!(seen.contains(&step), "{step:?} was never picked");
        }
        assert_eq!(seen.len(), 3, "{seen:?}");
    }
}
