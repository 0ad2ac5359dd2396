//! The chat room on tokio, written for speed: the reader of a message writes it to all members, and
//! a task flushes only for those whose socket is full.

use slab::Slab;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{self, ErrorKind, Write};
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};

use crate::queue::{Partial, Queue};
use crate::service::Service;

struct Room {
    members: RefCell<Slab<Rc<Member>>>,
    /// Borrowed only between two points at which a task may wait.
    buffer: RefCell<Vec<u8>>,
}

struct Member {
    stream: TcpStream,
    owed: RefCell<Queue>,
}

/// A stream that is written to at once or not at all.
struct AtOnce<'a>(&'a TcpStream);

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn fanout(read_buffer: usize) -> io::Result<Infallible> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let room = Rc::new(Room {
        members: RefCell::default(),
        buffer: RefCell::new(vec![0; Service::MESSAGE + read_buffer]),
    });
    LocalSet::new().block_on(&runtime, async {
        let listener = crate::listen::listener()?;
        crate::listen::announce(&listener)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            let member = Rc::new(Member { stream, owed: RefCell::default() });
            let key = room.members.borrow_mut().insert(Rc::clone(&member));
            spawn_local(serve(Rc::clone(&room), key, member));
        }
    })
}

async fn serve(room: Rc<Room>, key: usize, member: Rc<Member>) {
    // Its only error that matters is that it has ended.
    let _ = pass_on(&room, key, &member.stream).await;
    room.members.borrow_mut().remove(key);
}

async fn pass_on(room: &Room, sender: usize, stream: &TcpStream) -> io::Result<()> {
    let mut partial = Partial::default();
    loop {
        stream.readable().await?;
        let mut buffer = room.buffer.borrow_mut();
        let got = match stream.try_read(&mut buffer[Service::MESSAGE..]) {
            Ok(0) => return Ok(()),
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let messages = partial.whole(&mut buffer, got);
        for (key, member) in room.members.borrow().iter() {
            if key != sender {
                member.tell(messages);
            }
        }
    }
}

impl Member {
    fn tell(self: &Rc<Self>, messages: &[u8]) {
        let mut owed = self.owed.borrow_mut();
        if !owed.is_empty() {
            owed.add(messages);
        } else if let Ok(false) = owed.send(&mut AtOnce(&self.stream), messages) {
            spawn_local(Rc::clone(self).flush());
        }
    }

    async fn flush(self: Rc<Self>) -> io::Result<()> {
        loop {
            self.stream.writable().await?;
            if self.owed.borrow_mut().flush(&mut AtOnce(&self.stream))? {
                return Ok(());
            }
        }
    }
}
