//! What one thread can show of the order in which the mailbox and its waker are used.

use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::model::{Model, Signal};
use super::*;

/// Something that happens at the one moment that a test is about.
type Moment = Arc<dyn Fn() + Send + Sync>;

/// An eventfd that says when it is written to and when it is read.
#[derive(Clone, Default)]
struct Watched {
    count: Arc<Mutex<u64>>,
    written: Option<Moment>,
    read: Arc<Mutex<Option<Moment>>>,
}

impl Watched {
    fn take(&self) -> u64 {
        std::mem::take(&mut *self.count.lock().expect("no test panics here"))
    }
}

impl Wake for Watched {
    fn wake(&self) -> bool {
        *self.count.lock().expect("no test panics here") += 1;
        if let Some(written) = &self.written {
            written();
        }
        true
    }
}

impl Signal for Watched {
    /// What happens meanwhile happens both before and after the count is zero.
    fn reset(&self) -> Result<(), Errno> {
        let read = self.read.lock().expect("no test panics here").take();
        read.iter().for_each(|read| read());
        let count = self.take();
        read.iter().for_each(|read| read());
        if count == 0 { Err(Errno::AGAIN) } else { Ok(()) }
    }
}

fn collect(mailbox: &Mailbox) -> usize {
    let mut letters = VecDeque::new();
    mailbox.collect(usize::MAX, &mut letters);
    letters.len()
}

#[test]
fn c33_letters_that_come_while_the_eventfd_is_reset_do_not_silence_it() {
    let mailbox = Mailbox::new(1000);
    let eventfd = Watched::default();
    let mut kernel = Model(eventfd.clone());
    let handle: Handle<Model<Watched>> = mailbox.handle(kernel.waker());
    handle.close(ConnectionId::NONE).expect("there is room");
    let other = handle.clone();
    let post: Moment = Arc::new(move || other.close(ConnectionId::NONE).expect("there is room"));
    *eventfd.read.lock().expect("no test panics here") = Some(post);
    mailbox.woken(&mut kernel);
    assert_eq!(collect(&mailbox), 3);
    eventfd.take();
    handle.close(ConnectionId::NONE).expect("there is room");
    assert_eq!((eventfd.take(), collect(&mailbox)), (1, 1), "a letter lies there unheard of");
}

#[test]
fn c33_a_letter_is_in_the_box_before_the_waker_is_heard() {
    let mailbox = Arc::new(Mailbox::new(1000));
    let found = Arc::new(Mutex::new(Vec::new()));
    let (reader, finds) = (Arc::clone(&mailbox), Arc::clone(&found));
    let written: Moment = Arc::new(move || {
        finds.lock().expect("no test panics here").push(collect(&reader));
    });
    let eventfd = Watched { written: Some(written), ..Watched::default() };
    let handle: Handle<Model<Watched>> = mailbox.handle(eventfd);
    handle.close(ConnectionId::NONE).expect("there is room");
    assert_eq!(*found.lock().expect("no test panics here"), [1]);
}

#[test]
fn c33_one_wake_up_is_enough_for_many_letters() {
    let mailbox = Mailbox::new(10_000);
    let eventfd = Watched::default();
    let handle: Handle<Model<Watched>> = mailbox.handle(eventfd.clone());
    for _ in 0..10 {
        handle.close(ConnectionId::NONE).expect("there is room");
        handle.notify();
    }
    assert_eq!((eventfd.take(), collect(&mailbox)), (1, 10));
}

#[test]
fn c34_nothing_that_is_debugged_shows_payload() {
    const SECRET: &[u8] = b"secret";
    let mailbox = Mailbox::new(1000);
    let handle: Handle<Model<Watched>> = mailbox.handle(Watched::default());
    handle.send(ConnectionId::NONE, SECRET).expect("room");
    let full = handle.send(ConnectionId::NONE, [SECRET; 1000].concat()).expect_err("no room");
    let id = ConnectionId::NONE;
    let mut letters = VecDeque::new();
    let shown = [
        format!("{handle:?}"),
        format!("{mailbox:?}"),
        format!("{full:?}, {full}"),
        format!("{:?}", Some(mailbox.collect(1, &mut letters))),
        format!("{letters:?}"),
        format!("{:?}", crate::api::input::Input::new(SECRET)),
        format!("{:?}", crate::api::notice::Trace::Received { id, bytes: SECRET }),
    ];
    let numbers = format!("{SECRET:?}");
    let numbers = numbers.trim_matches(['[', ']']);
    for text in shown {
        assert!(!text.contains("secret") && !text.contains(numbers), "{text}");
    }
}

#[test]
fn c52_letters_that_lie_there_keep_a_mailbox_open() {
    let mailbox = Mailbox::new(1000);
    let handle: Handle<Model<Watched>> = mailbox.handle(Watched::default());
    handle.close(ConnectionId::NONE).expect("there is room");
    assert!(!mailbox.close_if_empty());
    handle.close(ConnectionId::NONE).expect("it is open");
    let mut letters = VecDeque::new();
    mailbox.collect(1, &mut letters);
    assert!(!mailbox.close_if_empty(), "one is left");
    mailbox.collect(1, &mut letters);
    assert!(mailbox.close_if_empty() && mailbox.close_if_empty());
    assert_eq!(handle.close(ConnectionId::NONE), Err(SendErrorKind::Stopped));
}
