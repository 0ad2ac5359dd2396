//! How often a registration is reported: at every wait, at every edge, or once.

use rustix::event::epoll::EventFlags;

/// When an event is reported, and whether the registration rests afterwards.
///
/// One-shot (`EPOLLONESHOT`, epoll_ctl(2)) reports one event and then nothing at all, not even an
/// error, until [`modify`](super::Epoll::modify) arms it again. Its use is with several threads
/// that wait on one instance: one of them gets the event, and is alone with the descriptor until it
/// arms it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// At every wait, for as long as the descriptor is ready. Forgiving: what one doesn't do now,
    /// one is told again. What one can't do now must be taken out of the interest, or it spins.
    Level,
    /// Once for each time that something new arrives (`EPOLLET`). Cheap: a descriptor is registered
    /// once for all that it will ever need. One must go on until the system call says `EAGAIN`, or
    /// remember that one didn't: nobody will be told again of what is left (epoll(7)).
    Edge,
    /// As [`Level`](Self::Level), one-shot.
    LevelOneShot,
    /// As [`Edge`](Self::Edge), one-shot. The kernel treats it as it treats
    /// [`LevelOneShot`](Self::LevelOneShot), as there is no second report for which they could
    /// differ.
    EdgeOneShot,
}

/// The part of [`Mode`] that is allowed with an [exclusive](super::Exclusive) registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// As [`Mode::Level`].
    Level,
    /// As [`Mode::Edge`].
    Edge,
}

impl Mode {
    /// The kernel's flags for it.
    #[inline]
    pub(super) const fn bits(self) -> u32 {
        match self {
            Self::Level => 0,
            Self::Edge => EventFlags::ET.bits(),
            Self::LevelOneShot => EventFlags::ONESHOT.bits(),
            Self::EdgeOneShot => EventFlags::ET.bits() | EventFlags::ONESHOT.bits(),
        }
    }
}

impl From<Trigger> for Mode {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Level => Self::Level,
            Trigger::Edge => Self::Edge,
        }
    }
}
