//! An eventfd as Linux keeps it: a counter that is ready for reading when it isn't 0.
//!
//! A model of fs/eventfd.c (Linux 6.18), non-blocking and without `EFD_SEMAPHORE`.

use rustix::io::Errno;

use crate::epoll::Readiness;

/// The most that the counter holds (eventfd(2)).
const MOST: u64 = u64::MAX - 1;

/// An eventfd. Writing wakes with [`WRITTEN`](Self::WRITTEN), reading with [`READ`](Self::READ), if
/// they don't fail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFd {
    count: u64,
}

impl EventFd {
    /// The mask of the wake-up that each write makes, even one that adds 0 (`eventfd_write`).
    pub const WRITTEN: Readiness = Readiness::IN;
    /// The mask of the wake-up that each read makes (`eventfd_read`).
    pub const READ: Readiness = Readiness::OUT;

    /// write(2) of 8 bytes: adds to the counter.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when the counter can't hold that, `EINVAL` for the one number that it never holds.
    pub const fn write(&mut self, value: u64) -> Result<(), Errno> {
        if value > MOST {
            return Err(Errno::INVAL);
        }
        if MOST - self.count < value {
            return Err(Errno::AGAIN);
        }
        self.count += value;
        Ok(())
    }

    /// read(2) of 8 bytes: the counter, which is 0 from then on.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when it is 0.
    pub const fn read(&mut self) -> Result<u64, Errno> {
        if self.count == 0 {
            return Err(Errno::AGAIN);
        }
        Ok(std::mem::replace(&mut self.count, 0))
    }

    /// What poll(2) says: a write of 1 must have room (`eventfd_poll`).
    pub fn readiness(&self) -> Readiness {
        let input = if self.count > 0 { Readiness::IN.bits() } else { 0 };
        let output = if self.count < MOST { Readiness::OUT.bits() } else { 0 };
        Readiness::from_bits(input | output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_add_up_and_a_read_takes_all() {
        let mut eventfd = EventFd::default();
        assert_eq!(eventfd.read(), Err(Errno::AGAIN));
        assert_eq!(eventfd.readiness(), Readiness::OUT);
        assert_eq!(eventfd.write(3), Ok(()));
        assert_eq!(eventfd.write(0), Ok(()));
        assert_eq!(eventfd.write(4), Ok(()));
        assert_eq!(eventfd.readiness(), Readiness::IN | Readiness::OUT);
        assert_eq!(eventfd.read(), Ok(7));
        assert_eq!(eventfd.read(), Err(Errno::AGAIN));
    }

    #[test]
    fn a_full_counter_takes_no_more() {
        let mut eventfd = EventFd::default();
        assert_eq!(eventfd.write(u64::MAX), Err(Errno::INVAL));
        assert_eq!(eventfd.write(u64::MAX - 1), Ok(()));
        assert_eq!(eventfd.readiness(), Readiness::IN);
        assert_eq!(eventfd.write(1), Err(Errno::AGAIN));
        assert_eq!(eventfd.write(0), Ok(()));
        assert_eq!(eventfd.read(), Ok(u64::MAX - 1));
    }
}
