//! The mailbox and its waker under a model checker: every order in which their steps can meet.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p edgeloop --release --lib --target-dir target/loom loom`
//!
//! The mailbox, its handles and the order of their steps are the real ones. The eventfd is a model
//! with the rules of eventfd(2) and an edge-triggered epoll(7). What would lose a wake-up is tried
//! too, and must be found: a checker that sees nothing can't pass for a mailbox without faults.
//! `mutations/faults.toml` has the same wrong orders, for the tests that ordinary builds have.

use std::sync::atomic::AtomicUsize as Count;
use std::time::Duration;

use loom::model::Builder;
use loom::thread;
use rustix::io::Errno;

use super::model::{Model, Signal};
use super::*;

/// How often threads are interrupted at the most where all orders would be too many;
/// `LOOM_MAX_PREEMPTIONS` in the environment sets another bound. What is known of bugs of
/// concurrency says that two are enough to find nearly all.
const INTERRUPTIONS: usize = 4;

/// The eventfd in its epoll set. It counts to one, so that each order in which it is full is
/// tried as well: a write then fails with EAGAIN, and adds no edge.
#[derive(Clone)]
struct Eventfd(Arc<Mutex<Counter>>);

#[derive(Default)]
struct Counter {
    full: bool,
    /// An event is there for epoll_wait(2), which takes it.
    edge: bool,
}

impl Eventfd {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Counter::default())))
    }

    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A wait that does not block.
    fn take_edge(&self) -> bool {
        std::mem::take(&mut self.counter().edge)
    }
}

impl Wake for Eventfd {
    fn wake(&self) -> bool {
        let mut counter = self.counter();
        counter.edge |= !counter.full;
        counter.full = true;
        true
    }
}

impl Signal for Eventfd {
    fn reset(&self) -> Result<(), Errno> {
        if std::mem::take(&mut self.counter().full) { Ok(()) } else { Err(Errno::AGAIN) }
    }
}

type Sender = Handle<Model<Eventfd>>;

/// In which order the loop takes its steps.
#[derive(Clone, Copy)]
enum Steps {
    /// As the loop does.
    Right,
    CollectFirst,
    FlagBeforeEventfd,
    FlagStays,
}

/// The loop's side, and what it has found so far.
struct Loop {
    mailbox: Mailbox,
    kernel: Model<Eventfd>,
    steps: Steps,
    budget: usize,
    letters: VecDeque<Letter>,
    notified: bool,
    stop: Option<Stop>,
    /// A budget has left letters behind: the next turn needs no event.
    more: bool,
}

impl Loop {
    fn new(limit: usize) -> (Self, Sender) {
        let mailbox = Mailbox::new(limit);
        let kernel = Model(Eventfd::new());
        let handle = mailbox.handle(kernel.waker());
        let found = Self {
            mailbox,
            kernel,
            steps: Steps::Right,
            budget: usize::MAX,
            letters: VecDeque::new(),
            notified: false,
            stop: None,
            more: false,
        };
        (found, handle)
    }

    fn collect(&mut self) {
        let mut letters = VecDeque::new();
        let collected = self.mailbox.collect(self.budget, &mut letters);
        self.letters.extend(letters);
        self.notified |= collected.notify;
        let stops = self.stop.into_iter().chain(collected.stop);
        self.stop = stops.reduce(Stop::stricter);
        self.more = collected.more;
    }

    /// One turn, as `event_loop` has it; returns whether there was anything to wake it.
    fn turn(&mut self) -> bool {
        let woken = self.kernel.0.take_edge();
        if !woken && !self.more {
            return false;
        }
        match self.steps {
            _ if !woken => self.collect(),
            Steps::Right => {
                self.mailbox.woken(&mut self.kernel);
                self.collect();
            }
            Steps::CollectFirst => {
                self.collect();
                self.mailbox.woken(&mut self.kernel);
            }
            Steps::FlagBeforeEventfd => {
                self.mailbox.shared.signalled.swap(false, Ordering::SeqCst);
                let _ = self.kernel.clear_waker();
                self.collect();
            }
            Steps::FlagStays => {
                let _ = self.kernel.clear_waker();
                self.collect();
            }
        }
        true
    }

    /// Nobody posts any more. What the waker does not tell of now, the loop never learns.
    fn come_to_rest(&mut self) {
        while self.turn() {}
        let mail = self.mailbox.shared.mail();
        let silent = mail.letters.is_empty() && !mail.notify && mail.stop.is_none();
        let (held, left) = (mail.held, format!("{mail:?}"));
        // Loom's mutex can't be locked any more after a panic, and the mailbox locks its at its
        // end.
        drop(mail);
        assert!(silent, "a wake-up was lost: {left}");
        assert_eq!(held, 0, "the accounts are wrong");
    }

    /// The numbers of the letters of one sender, in the order in which they came.
    fn letters_of(&self, sender: u8) -> Vec<u8> {
        let numbers = self.letters.iter().map(|letter| match letter {
            Letter::Send(_, bytes) => (bytes[0], bytes[1]),
            _ => panic!("nobody sent that"),
        });
        numbers.filter(|&(from, _)| from == sender).map(|(_, number)| number).collect()
    }
}

/// Runs a model, and says how many orders there were.
fn check(name: &str, interruptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let orders = std::sync::Arc::new(Count::new(0));
    let count = std::sync::Arc::clone(&orders);
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(interruptions);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{name}: {} orders", orders.load(Ordering::Relaxed));
}

fn post(sender: &Sender, from: u8, number: u8) -> Result<(), SendError> {
    sender.send(ConnectionId::NONE, [from, number])
}

/// A thread that posts so many letters, each of which must be taken.
fn post_all(sender: Sender, from: u8, count: u8) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for number in 0..count {
            post(&sender, from, number).expect("there is room");
        }
    })
}

/// One sender of three letters, and a loop that takes its steps in this order.
fn one_sender(steps: Steps) {
    let (mut events, sender) = Loop::new(1000);
    events.steps = steps;
    let posting = post_all(sender, 0, 3);
    events.turn();
    events.turn();
    posting.join().expect("no panic");
    events.come_to_rest();
    assert_eq!(events.letters_of(0), [0, 1, 2]);
}

#[test]
fn one_sender_never_waits_for_a_loop_that_sleeps() {
    check("one sender", None, || one_sender(Steps::Right));
}

#[test]
fn letters_of_two_senders_all_arrive_each_senders_in_order() {
    check("two senders", Some(INTERRUPTIONS), || {
        let (mut events, sender) = Loop::new(1000);
        let posting = [post_all(sender.clone(), 0, 2), post_all(sender, 1, 2)];
        events.turn();
        events.turn();
        posting.into_iter().for_each(|thread| thread.join().expect("no panic"));
        events.come_to_rest();
        assert_eq!((events.letters_of(0), events.letters_of(1)), (vec![0, 1], vec![0, 1]));
    });
}

#[test]
fn letters_beyond_the_budget_need_no_other_wake_up() {
    check("a budget", Some(INTERRUPTIONS), || {
        let (mut events, sender) = Loop::new(1000);
        events.budget = 1;
        let posting = [post_all(sender.clone(), 0, 2), post_all(sender, 1, 1)];
        events.turn();
        events.turn();
        posting.into_iter().for_each(|thread| thread.join().expect("no panic"));
        events.come_to_rest();
        assert_eq!((events.letters_of(0), events.letters_of(1)), (vec![0, 1], vec![0]));
    });
}

#[test]
fn a_notice_and_the_strictest_stop_are_seen() {
    check("notify and stop", Some(INTERRUPTIONS), || {
        let (mut events, sender) = Loop::new(1000);
        let other = sender.clone();
        let posting = [
            thread::spawn(move || {
                sender.notify();
                sender.stop(Stop::Drain(Some(Duration::from_secs(2))));
            }),
            thread::spawn(move || {
                other.stop(Stop::Drain(None));
                other.stop(Stop::Drain(Some(Duration::from_secs(1))));
            }),
        ];
        events.turn();
        posting.into_iter().for_each(|thread| thread.join().expect("no panic"));
        events.come_to_rest();
        assert!(events.notified);
        assert_eq!(events.stop, Some(Stop::Drain(Some(Duration::from_secs(1)))));
    });
}

#[test]
fn a_full_box_gives_letters_back_and_delivers_what_it_took() {
    check("a full box", Some(INTERRUPTIONS), || {
        // Room for one letter and not for two.
        let (mut events, sender) = Loop::new(size_of::<Letter>() + 2);
        let posting: Vec<_> = [(sender.clone(), 0), (sender, 1)]
            .into_iter()
            .map(|(sender, from)| {
                thread::spawn(move || {
                    (0..2).filter(|&number| is_taken(&sender, from, number)).collect::<Vec<u8>>()
                })
            })
            .collect();
        events.turn();
        events.turn();
        let taken = posting.into_iter().map(|thread| thread.join().expect("no panic"));
        let taken: Vec<Vec<u8>> = taken.collect();
        events.come_to_rest();
        assert_eq!(taken, [events.letters_of(0), events.letters_of(1)]);
        assert!(!taken.concat().is_empty(), "an empty box refused a letter");
    });
}

/// Posts a letter, which a full box gives back as it was.
fn is_taken(sender: &Sender, from: u8, number: u8) -> bool {
    match post(sender, from, number) {
        Ok(()) => true,
        Err(SendError { kind, value }) => {
            assert_eq!((kind, &value[..]), (SendErrorKind::Full, &[from, number][..]));
            false
        }
    }
}

/// Loom itself holds that nothing in the mailbox is leaked.
#[test]
fn a_loop_that_goes_leaves_no_letter_behind_and_nobody_waiting() {
    check("a loop that goes", Some(INTERRUPTIONS), || {
        let (mut events, sender) = Loop::new(1000);
        let shared = Arc::clone(&events.mailbox.shared);
        let posting: Vec<_> = [(sender.clone(), 0), (sender.clone(), 1)]
            .into_iter()
            .map(|(sender, from)| {
                thread::spawn(move || {
                    let answers = [0, 1].map(|number| post(&sender, from, number));
                    answers.map(|answer| answer.map_err(|error| (error.kind, error.value)))
                })
            })
            .collect();
        events.turn();
        let Loop { mailbox, letters, .. } = events;
        drop(mailbox);
        let (kind, value) = (SendErrorKind::Stopped, Box::from([9, 9]));
        assert_eq!(post(&sender, 9, 9), Err(SendError { kind, value }));
        let mut taken = 0;
        for (from, thread) in (0..).zip(posting) {
            let answers = thread.join().expect("no panic");
            taken += answers.iter().filter(|answer| answer.is_ok()).count();
            assert!(answers[0].is_ok() || answers[1].is_err(), "a loop that was gone is back");
            for (number, answer) in (0..).zip(answers) {
                if let Err((kind, bytes)) = answer {
                    assert_eq!((kind, &bytes[..]), (SendErrorKind::Stopped, &[from, number][..]));
                }
            }
        }
        assert!(letters.len() <= taken, "a letter that was refused was delivered");
        assert!(
            shared.mail().letters.is_empty(),
            "a letter lies in the box of a loop that is gone"
        );
    });
}

// Wrong orders, each of which must be found.

#[test]
#[should_panic(expected = "a wake-up was lost")]
fn emptying_the_box_before_the_flag_is_lowered_is_found() {
    check("collect first", None, || one_sender(Steps::CollectFirst));
}

#[test]
#[should_panic(expected = "a wake-up was lost")]
fn lowering_the_flag_before_the_eventfd_is_reset_is_found() {
    check("flag before eventfd", None, || one_sender(Steps::FlagBeforeEventfd));
}

#[test]
#[should_panic(expected = "a wake-up was lost")]
fn a_flag_that_stays_up_is_found() {
    check("flag stays", None, || one_sender(Steps::FlagStays));
}

#[test]
#[should_panic(expected = "a wake-up was lost")]
fn raising_the_flag_before_the_letter_is_in_the_box_is_found() {
    check("flag before letter", None, || {
        let (mut events, sender) = Loop::new(1000);
        let posting = thread::spawn(move || {
            sender.wake();
            sender.shared.mail().letters.push_back(Letter::Close(ConnectionId::NONE));
        });
        events.turn();
        posting.join().expect("no panic");
        events.come_to_rest();
    });
}
