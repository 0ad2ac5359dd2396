//! How often to try what pays only now and then: at every chance while it does, seldom while not.

/// Of how many chances in a row none is taken, at the most.
const MOST_PASSED: u32 = 63;

/// Exponential backoff, counted in chances. A try in vain changes nothing yet; behind the second in
/// a row one chance is passed by, behind the third 3, then 7, 15, 31, and 63 behind every further
/// one. A try that pays ends that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Backoff {
    /// Whether the last try was in vain.
    failed: bool,
    /// How many chances are passed by behind a try in vain that follows another.
    pause: u32,
    /// How many are still to be passed by.
    left: u32,
}

impl Backoff {
    /// There is a chance. Returns whether to take it.
    pub(super) const fn takes(&mut self) -> bool {
        let takes = self.left == 0;
        self.left = self.left.saturating_sub(1);
        takes
    }

    /// It was taken, and has paid or not.
    pub(super) fn tried(&mut self, paid: bool) {
        let again = !paid && self.failed;
        self.pause = if again { (2 * self.pause + 1).min(MOST_PASSED) } else { 0 };
        self.left = self.pause;
        self.failed = !paid;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of so many chances are taken, when none of them pays.
    fn taken(backoff: &mut Backoff, chances: usize) -> Vec<usize> {
        let takes = |_: &usize| {
            let takes = backoff.takes();
            if takes {
                backoff.tried(false);
            }
            takes
        };
        (0..chances).filter(takes).collect()
    }

    #[test]
    fn what_does_not_pay_is_tried_less_and_less_often_but_never_given_up() {
        let expected = [0, 1, 3, 7, 15, 31, 63, 127, 191, 255];
        assert_eq!(taken(&mut Backoff::default(), 300), expected);
    }

    #[test]
    fn what_pays_is_tried_at_every_chance() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert!(backoff.takes());
            backoff.tried(true);
        }
    }

    #[test]
    fn one_try_that_pays_makes_up_for_all_that_did_not() {
        let mut backoff = Backoff::default();
        taken(&mut backoff, 128);
        while !backoff.takes() {}
        backoff.tried(true);
        assert_eq!(backoff, Backoff::default());
    }

    #[test]
    fn a_single_try_in_vain_between_others_changes_nothing() {
        let mut backoff = Backoff::default();
        for paid in [true, false, true, false, true] {
            assert!(backoff.takes());
            backoff.tried(paid);
        }
        assert!(backoff.takes());
    }
}
