//! What handlers keep for their connections: by slot, however large it is.

use crate::store::table::Paged;

/// Sessions by slot. Small ones lie in pages, like connections; each of the others has memory of
/// its own, so that the first one takes no more than itself.
///
/// A session may be as large as the user likes, and a stack is small. So no more than one session
/// is ever moved at a time.
#[derive(Debug)]
pub(crate) struct Sessions<S> {
    small: Paged<S>,
    large: Vec<Option<Box<S>>>,
}

impl<S> Default for Sessions<S> {
    fn default() -> Self {
        Self { small: Paged::default(), large: Vec::new() }
    }
}

impl<S> Sessions<S> {
    /// The largest of these make pages of 32 KiB.
    const ARE_SMALL: bool = size_of::<Option<S>>() <= 64;

    /// Room for so many large ones is kept, whether there are any or not.
    const KEPT: usize = 64;

    /// Whether there are none.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.small.end() == 0 && self.large.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn get(&self, slot: u32) -> Option<&S> {
        if Self::ARE_SMALL {
            self.small.get(slot)
        } else {
            self.large.get(slot as usize)?.as_deref()
        }
    }

    /// The session of a connection that is served. It has one from its beginning to its end.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[inline(always)]
    pub(crate) fn of(&mut self, slot: u32) -> &mut S {
        match self.get_mut(slot) {
            Some(session) => session,
            None => missing(),
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut S> {
        if Self::ARE_SMALL {
            self.small.get_mut(slot)
        } else {
            self.large.get_mut(slot as usize)?.as_deref_mut()
        }
    }

    /// Puts a session into an empty slot.
    pub(crate) fn insert(&mut self, slot: u32, session: S) {
        if Self::ARE_SMALL {
            return self.small.insert(slot, session);
        }
        let slot = slot as usize;
        if slot >= self.large.len() {
            self.large.resize_with(slot + 1, || None);
        }
        self.large[slot] = Some(Box::new(session));
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<S> {
        if Self::ARE_SMALL {
            return self.small.remove(slot);
        }
        let session = self.large.get_mut(slot as usize)?.take()?;
        while self.large.pop_if(|last| last.is_none()).is_some() {}
        if self.large.len() < self.large.capacity() / 4 {
            // At a quarter, so that growing and shrinking stay rare (C12).
            self.large.shrink_to((2 * self.large.len()).max(Self::KEPT));
        }
        Some(*session)
    }
}

#[cold]
#[inline(never)]
fn missing() -> ! {
    unreachable!("a connection that is served has a session")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_where_it_was_put_whatever_its_size() {
        fn check<S: Clone + PartialEq + std::fmt::Debug>(session: &S) {
            let mut sessions = Sessions::default();
            for slot in [0, 1, 700, 3] {
                sessions.insert(slot, session.clone());
                assert_eq!(sessions.get(slot), Some(session));
                assert_eq!(sessions.get_mut(slot).as_deref(), Some(session));
            }
            assert_eq!((sessions.get(2), sessions.get(701)), (None, None));
            for slot in [0, 700, 3, 1] {
                assert_eq!(sessions.remove(slot).as_ref(), Some(session));
                assert_eq!(sessions.get(slot), None);
                assert_eq!(sessions.remove(slot), None);
            }
        }
        check(&());
        check(&7_u64);
        check(&[7_u64; 7]);
        check(&[7_u64; 8]);
        check(&[7_u64; 1000]);
    }

    #[test]
    fn c12_what_large_sessions_made_the_list_grow_to_goes_back() {
        let mut sessions = Sessions::default();
        for slot in 0..10_000 {
            sessions.insert(slot, [0_u64; 9]);
        }
        for slot in 10..10_000 {
            sessions.remove(slot);
        }
        let left = sessions.large.capacity();
        assert!((10..=Sessions::<[u64; 9]>::KEPT).contains(&left), "room for {left}");
    }
}
