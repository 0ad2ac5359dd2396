//! The descriptors of the simulated process: the lowest number that is free, and limits.

use std::collections::VecDeque;

use rustix::io::Errno;

use crate::api::address::Address;

/// The numbers of the standard streams, which are open.
const STANDARD: usize = 3;

/// What a descriptor stands for.
#[derive(Debug)]
pub(crate) enum File {
    /// A socket that neither listens nor is connected, with the address that it is bound to.
    Fresh(Address),
    /// A listener, with the connections that wait.
    Listener(Address, VecDeque<usize>),
    /// What another part of the program has open.
    Foreign,
    /// Our end of a connection.
    Stream(usize),
    /// A connection with a server that is not simulated, which the loop makes to learn whether it
    /// is there.
    Elsewhere,
    /// An end of a pipe.
    Pipe,
    /// A directory.
    Directory,
    /// A socket for datagrams.
    #[cfg(feature = "udp")]
    Datagrams(Box<super::datagrams::Bound>),
}

/// A descriptor that is open.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) file: File,
    /// Closing it sends an RST.
    pub(crate) abort: bool,
    /// It receives urgent bytes like others (`SO_OOBINLINE`).
    pub(crate) inline: bool,
    /// An accept on it found no descriptor or no memory, and is to be tried again later.
    pub(crate) exhausted: bool,
}

/// The descriptor table.
#[derive(Debug)]
pub struct Files {
    open: Vec<Option<Open>>,
    /// No number below is free.
    lowest: usize,
    count: usize,
    foreign: usize,
    listeners: Vec<usize>,
    /// The most descriptors that the process may have open.
    pub limit: usize,
}

impl Files {
    pub(crate) const fn new() -> Self {
        Self {
            open: Vec::new(),
            lowest: 0,
            count: 0,
            foreign: 0,
            listeners: Vec::new(),
            limit: usize::MAX,
        }
    }

    /// Opens the lowest number that is free, if the process may have one more.
    pub(crate) fn open(&mut self, file: File) -> Result<usize, Errno> {
        if self.spare() == 0 {
            return Err(Errno::MFILE);
        }
        while self.open.get(self.lowest).is_some_and(Option::is_some) {
            self.lowest += 1;
        }
        if self.lowest == self.open.len() {
            self.open.push(None);
        }
        self.count += 1;
        self.foreign += usize::from(matches!(file, File::Foreign));
        self.open[self.lowest] = Some(Open { file, abort: false, inline: false, exhausted: false });
        Ok(self.lowest + STANDARD)
    }

    /// Closes a descriptor; returns what it stood for, if it was open.
    pub(crate) fn close(&mut self, number: usize) -> Option<Open> {
        let open = self.open.get_mut(number - STANDARD)?.take()?;
        self.lowest = self.lowest.min(number - STANDARD);
        self.count -= 1;
        self.foreign -= usize::from(matches!(open.file, File::Foreign));
        self.listeners.retain(|&listener| listener != number);
        Some(open)
    }

    /// How many more descriptors the process may open.
    pub(crate) const fn spare(&self) -> usize {
        self.limit.saturating_sub(STANDARD + self.count)
    }

    /// How many descriptors the loop has open, and how many another part of the program.
    pub const fn counts(&self) -> (usize, usize) {
        (self.count - self.foreign, self.foreign)
    }

    pub(crate) fn get(&self, number: usize) -> &Open {
        self.open[number - STANDARD].as_ref().expect("the loop uses descriptors that it has")
    }

    pub(crate) fn get_mut(&mut self, number: usize) -> &mut Open {
        self.open[number - STANDARD].as_mut().expect("the loop uses descriptors that it has")
    }

    /// A bound socket becomes a listener.
    pub(crate) fn listen(&mut self, number: usize) -> Result<(), Errno> {
        let file = &mut self.get_mut(number).file;
        let address = match file {
            File::Fresh(address) => address.clone(),
            // Only its backlog may have another length.
            File::Listener(..) => return Ok(()),
            _ => return Err(Errno::INVAL),
        };
        *file = File::Listener(address, VecDeque::new());
        self.listeners.push(number);
        Ok(())
    }

    /// The listener with this address; without one, the first.
    pub(crate) fn listener(&self, address: Option<&Address>) -> Option<usize> {
        let is_meant = |&&number: &&usize| match &self.get(number).file {
            File::Listener(own, _) => address.is_none_or(|wanted| wanted == own),
            _ => false,
        };
        self.listeners.iter().find(is_meant).copied()
    }

    /// Whether this is a listener of Unix sockets.
    pub(crate) fn is_unix(&self, number: usize) -> bool {
        matches!(&self.get(number).file, File::Listener(address, _) if address.is_unix())
    }

    /// All listeners.
    pub(crate) fn listeners(&self) -> &[usize] {
        &self.listeners
    }

    /// Whether this is a listener in whose backlog somebody waits.
    pub(crate) fn has_waiting(&self, number: usize) -> bool {
        matches!(&self.get(number).file, File::Listener(_, waiting) if !waiting.is_empty())
    }

    /// A descriptor that another part of the program has open.
    pub(crate) fn any_foreign(&self) -> Option<usize> {
        let is_foreign = |open: &Option<Open>| {
            open.as_ref().is_some_and(|open| matches!(open.file, File::Foreign))
        };
        self.open.iter().position(is_foreign).map(|index| index + STANDARD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_is_given_and_the_limit_holds() {
        let mut files = Files::new();
        let open = |files: &mut Files| files.open(File::Foreign);
        assert_eq!((0..3).map(|_| open(&mut files)).collect::<Vec<_>>(), [Ok(3), Ok(4), Ok(5)]);
        assert!(files.close(3).is_some());
        assert!(files.close(4).is_some());
        assert!(files.close(4).is_none(), "it is closed");
        assert_eq!((open(&mut files), open(&mut files)), (Ok(3), Ok(4)));
        files.limit = 7;
        assert_eq!((open(&mut files), open(&mut files)), (Ok(6), Err(Errno::MFILE)));
        assert_eq!(files.counts(), (0, 4));
    }
}
