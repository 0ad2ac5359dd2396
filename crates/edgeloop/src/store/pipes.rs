//! The pipes through which bytes pass from a socket to a socket unseen: a bounded pool (C9).
//!
//! Like the read buffer, a pipe belongs to the loop and not to a connection. It is lent for one
//! transfer, and a connection keeps it only while bytes are in it that its socket did not take. The
//! pool knows no system call: it is given pipes and gives them away.

use std::time::Duration;

use crate::api::time::Time;

/// How long no pipe is lent when one could not be made or used; doubles while that is in vain.
/// Whatever was the reason may be over by then: descriptors come back, and so does a place's
/// `/proc`.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Which pipe of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PipeId(usize);

#[derive(Debug)]
enum Place<P> {
    Vacant,
    Empty(P),
    Lent(P),
}

/// The pool.
#[derive(Debug)]
pub(crate) struct Pipes<P> {
    /// As many as the pool may have.
    places: Vec<Place<P>>,
    /// None is lent before.
    paused_until: Time,
    /// For how long the next pause is.
    pause: Duration,
}

impl<P> Pipes<P> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            places: (0..most).map(|_| Place::Vacant).collect(),
            paused_until: Time::ZERO,
            pause: FIRST_PAUSE,
        }
    }

    /// Whether there is no pipe, neither lent nor empty.
    pub(crate) fn has_none(&self) -> bool {
        self.places.iter().all(|place| matches!(place, Place::Vacant))
    }

    /// Whether a pipe may be had now, if not all are lent.
    pub(crate) fn may_lend(&self, now: Time) -> bool {
        now >= self.paused_until && !self.places.is_empty()
    }

    /// Lends an empty pipe, which `make` makes if there is none; returns `None` if all are lent, or
    /// in a pause.
    pub(crate) fn lend<E>(
        &mut self,
        now: Time,
        make: impl FnOnce() -> Result<P, E>,
    ) -> Result<Option<PipeId>, E> {
        if now < self.paused_until {
            return Ok(None);
        }
        let is_empty = |place: &Place<P>| matches!(place, Place::Empty(_));
        let is_vacant = |place: &Place<P>| matches!(place, Place::Vacant);
        let places = &mut self.places;
        let index = places.iter().position(is_empty).or_else(|| places.iter().position(is_vacant));
        let Some(index) = index else { return Ok(None) };
        let pipe = match std::mem::replace(&mut places[index], Place::Vacant) {
            Place::Empty(pipe) => pipe,
            Place::Vacant | Place::Lent(_) => make()?,
        };
        places[index] = Place::Lent(pipe);
        Ok(Some(PipeId(index)))
    }

    /// A pipe that is lent.
    ///
    /// # Panics
    ///
    /// When it is not.
    pub(crate) fn get(&self, pipe: PipeId) -> &P {
        match &self.places[pipe.0] {
            Place::Lent(pipe) => pipe,
            Place::Vacant | Place::Empty(_) => unreachable!("{pipe:?} was given back"),
        }
    }

    /// Takes a pipe back, with so many bytes in it. Answers it if it is to be closed: because bytes
    /// are left that nobody may get, or because one that is empty is there already (C12).
    pub(crate) fn give_back(&mut self, pipe: PipeId, left: usize) -> Option<P> {
        let enough = self.places.iter().any(|place| matches!(place, Place::Empty(_)));
        match std::mem::replace(&mut self.places[pipe.0], Place::Vacant) {
            Place::Lent(lent) if left == 0 && !enough => {
                self.places[pipe.0] = Place::Empty(lent);
                None
            }
            Place::Lent(lent) => Some(lent),
            Place::Vacant | Place::Empty(_) => unreachable!("{pipe:?} was given back before"),
        }
    }

    /// A pipe could not be made, or not be used: none is lent for a while. Returns the empty one,
    /// to be closed.
    pub(crate) fn pause(&mut self, now: Time) -> Option<P> {
        self.paused_until = now.after(self.pause);
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        self.shed()
    }

    /// A pipe was of use.
    pub(crate) const fn works(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    /// Nobody needs a pipe now. Returns the empty one, to be closed.
    pub(crate) fn shed(&mut self) -> Option<P> {
        let empty = self.places.iter_mut().find(|place| matches!(place, Place::Empty(_)))?;
        match std::mem::replace(empty, Place::Vacant) {
            Place::Empty(pipe) => Some(pipe),
            Place::Vacant | Place::Lent(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lend<P>(pipes: &mut Pipes<P>, pipe: P) -> Option<PipeId> {
        pipes.lend(Time::ZERO, || Ok::<_, ()>(pipe)).expect("it can be made")
    }

    #[test]
    fn one_pipe_serves_all_who_leave_nothing_in_it() {
        let mut pipes = Pipes::new(3);
        let mut made = 0;
        for _ in 0..10 {
            let make = || {
                made += 1;
                Ok::<_, ()>(made)
            };
            let pipe = pipes.lend(Time::ZERO, make).expect("made").expect("none is lent");
            assert_eq!(pipes.give_back(pipe, 0), None);
        }
        assert_eq!(made, 1);
    }

    #[test]
    fn no_more_are_made_than_the_pool_may_have() {
        let mut pipes = Pipes::new(2);
        let lent = [1, 2, 3].map(|number| lend(&mut pipes, number).is_some());
        assert_eq!(lent, [true, true, false]);
        assert_eq!(lend(&mut Pipes::new(0), ()), None);
    }

    #[test]
    fn one_that_is_not_empty_is_closed_and_so_is_a_second_empty_one() {
        let mut pipes = Pipes::new(3);
        let [a, b, c] = ['a', 'b', 'c'].map(|name| lend(&mut pipes, name).expect("room"));
        assert_eq!(pipes.give_back(a, 1), Some('a'), "others' bytes are in it");
        assert_eq!(pipes.give_back(b, 0), None);
        assert_eq!(pipes.give_back(c, 0), Some('c'), "one is enough");
        let again = lend(&mut pipes, 'd').expect("the empty one");
        assert_eq!(pipes.get(again), &'b');
    }

    #[test]
    fn a_pipe_that_cannot_be_made_leaves_its_place() {
        let mut pipes = Pipes::new(1);
        assert_eq!(pipes.lend(Time::ZERO, || Err("no memory")), Err("no memory"));
        assert!(lend(&mut pipes, ()).is_some());
    }

    #[test]
    fn c42_a_pause_ends_and_is_longer_only_while_it_is_in_vain() {
        let mut pipes = Pipes::new(3);
        let [a, b] = ['a', 'b'].map(|name| lend(&mut pipes, name).expect("room"));
        assert_eq!(pipes.give_back(a, 0), None);
        let mut now = Time::ZERO;
        assert_eq!(pipes.pause(now), Some('a'));
        assert_eq!(pipes.get(b), &'b', "what is lent stays lent");
        for millis in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
            let end = now.after(Duration::from_millis(millis));
            let before = Time::from_nanos(end.as_nanos() - 1);
            assert_eq!(pipes.lend(before, || Ok::<_, ()>('c')), Ok(None), "{millis} ms");
            let lent = pipes.lend(end, || Ok::<_, ()>('c')).expect("made").expect("it is over");
            assert_eq!(pipes.give_back(lent, 0), None);
            now = end;
            assert_eq!(pipes.pause(now), Some('c'));
        }
        pipes.works();
        pipes.pause(now);
        let lent = pipes.lend(now.after(FIRST_PAUSE), || Ok::<_, ()>('d'));
        assert!(lent.expect("made").is_some(), "it is the first pause again");
    }
}
