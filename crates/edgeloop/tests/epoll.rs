//! The epoll wrapper on real descriptors, through its public interface alone.

use edgeloop::epoll::{
    Epoll, Events, ExclusiveInterest, Interest, Mode, Readiness, Token, Trigger,
};
use rustix::io::{Errno, FdFlags, fcntl_getfd};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a condition may take to come true before the test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// What is ready now, without waiting.
#[track_caller]
fn ready_now(epoll: &Epoll) -> Vec<(Token, Readiness)> {
    ready_within(epoll, Duration::ZERO)
}

/// What the next wait brings.
#[track_caller]
fn ready_soon(epoll: &Epoll) -> Vec<(Token, Readiness)> {
    ready_within(epoll, DEADLINE)
}

#[track_caller]
fn ready_within(epoll: &Epoll, timeout: Duration) -> Vec<(Token, Readiness)> {
    let mut events = Events::with_capacity(32);
    let count = epoll.wait(&mut events, Some(timeout)).expect("a wait");
    assert_eq!(count, events.len());
    events.iter().map(|event| (event.token(), event.readiness())).collect()
}

#[track_caller]
fn expect_errno<T: std::fmt::Debug>(result: io::Result<T>, errno: Errno) {
    let error = result.expect_err("the kernel refuses this");
    assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()), "{error}");
}

/// An instance, and a pair whose far end it watches as `Token(7)`.
fn watched_pair(interest: Interest, mode: Mode) -> (Epoll, UnixStream, UnixStream) {
    let epoll = Epoll::new().expect("an epoll instance");
    let (near, far) = UnixStream::pair().expect("a pair");
    far.set_nonblocking(true).expect("non-blocking");
    epoll.add(&far, Token(7), interest, mode).expect("registered");
    (epoll, near, far)
}

fn read_some(stream: &mut UnixStream, size: usize) {
    stream.read_exact(&mut vec![0; size]).expect("the bytes are there");
}

mod registration {
    use super::*;

    #[test]
    fn c20_the_epoll_descriptor_is_close_on_exec() {
        let epoll = Epoll::new().unwrap();
        assert!(fcntl_getfd(&epoll).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn dropping_the_instance_closes_its_descriptor() {
        // Another thread may get the number at once, so the descriptor is recognised by what
        // nobody else has: a pipe that only the instance's registration could report.
        let epoll = Epoll::new().unwrap();
        let outer = Epoll::new().unwrap();
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"x").unwrap();
        epoll.add(&reader, Token(1), Interest::READABLE, Mode::Level).unwrap();
        outer.add(&epoll, Token(2), Interest::READABLE, Mode::Level).unwrap();
        assert_eq!(ready_now(&outer), [(Token(2), Readiness::IN)]);
        drop(epoll);
        assert_eq!(ready_now(&outer), []);
    }

    #[test]
    fn all_64_bits_of_a_token_are_the_callers() {
        let epoll = Epoll::new().unwrap();
        let (_near, far) = UnixStream::pair().unwrap();
        epoll.add(&far, Token(0), Interest::WRITABLE, Mode::Level).unwrap();
        for token in [0, 1, u64::MAX, 1 << 63, 0x0123_4567_89ab_cdef].map(Token) {
            epoll.modify(&far, token, Interest::WRITABLE, Mode::Level).unwrap();
            assert_eq!(ready_now(&epoll), [(token, Readiness::OUT)]);
        }
    }

    #[test]
    fn each_interest_is_answered_with_its_readiness() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let epoll = Epoll::new().unwrap();
        near.write_all(b"x").unwrap();
        near.shutdown(std::net::Shutdown::Write).unwrap();
        let all = Interest::READABLE | Interest::WRITABLE | Interest::PEER_CLOSED;
        let cases = [
            (Interest::READABLE, Readiness::IN),
            (Interest::WRITABLE, Readiness::OUT),
            (Interest::PEER_CLOSED, Readiness::RDHUP),
            (all, Readiness::IN | Readiness::OUT | Readiness::RDHUP),
        ];
        epoll.add(&far, Token(0), Interest::READABLE, Mode::Level).unwrap();
        for (interest, readiness) in cases {
            epoll.modify(&far, Token(0), interest, Mode::Level).unwrap();
            assert_eq!(ready_now(&epoll), [(Token(0), readiness)], "{interest:?}");
        }
    }

    #[test]
    fn urgent_data_is_a_priority() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.add(&far, Token(0), Interest::PRIORITY, Mode::Level).unwrap();
        rustix::net::send(&near, b"!", rustix::net::SendFlags::OOB).unwrap();
        assert_eq!(ready_soon(&epoll), [(Token(0), Readiness::PRI)]);
    }

    #[test]
    fn the_end_of_a_pipe_is_readable_though_the_kernel_says_only_hup() {
        let epoll = Epoll::new().unwrap();
        let (reader, writer) = pipe().unwrap();
        epoll.add(&reader, Token(0), Interest::READABLE, Mode::Edge).unwrap();
        drop(writer);
        let ready = ready_soon(&epoll);
        assert_eq!(ready, [(Token(0), Readiness::HUP)]);
        assert!(ready[0].1.is_readable());
    }

    #[test]
    fn an_error_is_reported_though_nobody_asked() {
        let epoll = Epoll::new().unwrap();
        let (reader, writer) = pipe().unwrap();
        epoll.add(&writer, Token(0), Interest::PRIORITY, Mode::Edge).unwrap();
        drop(reader);
        assert_eq!(ready_soon(&epoll), [(Token(0), Readiness::ERR)]);
    }

    #[test]
    fn the_kernels_refusals_come_through() {
        let (epoll, near, far) = watched_pair(Interest::READABLE, Mode::Level);
        expect_errno(epoll.add(&far, Token(0), Interest::READABLE, Mode::Level), Errno::EXIST);
        expect_errno(epoll.modify(&near, Token(0), Interest::READABLE, Mode::Level), Errno::NOENT);
        expect_errno(epoll.remove(&near), Errno::NOENT);
        let file = fs::File::open("/proc/self/exe").unwrap();
        expect_errno(epoll.add(&file, Token(0), Interest::READABLE, Mode::Level), Errno::PERM);
        expect_errno(epoll.add(&epoll, Token(0), Interest::READABLE, Mode::Level), Errno::INVAL);
    }

    #[test]
    fn nothing_is_heard_after_remove() {
        let (epoll, mut near, far) = watched_pair(Interest::READABLE, Mode::Level);
        near.write_all(b"x").unwrap();
        assert_eq!(ready_now(&epoll).len(), 1);
        epoll.remove(&far).unwrap();
        assert_eq!(ready_now(&epoll), []);
    }

    #[test]
    fn closing_the_last_descriptor_ends_the_registration() {
        let (epoll, mut near, far) = watched_pair(Interest::READABLE, Mode::Level);
        near.write_all(b"x").unwrap();
        drop(far);
        assert_eq!(ready_now(&epoll), []);
    }

    #[test]
    fn a_duplicate_keeps_the_registration_alive_and_out_of_reach() {
        let (epoll, mut near, far) = watched_pair(Interest::READABLE, Mode::Level);
        let duplicate = far.try_clone().unwrap();
        drop(far);
        near.write_all(b"x").unwrap();
        for _ in 0..3 {
            assert_eq!(ready_now(&epoll), [(Token(7), Readiness::IN)], "at every wait");
        }
        expect_errno(epoll.remove(&duplicate), Errno::NOENT);
        drop(duplicate);
        assert_eq!(ready_now(&epoll), []);
    }

    #[test]
    fn a_number_that_is_used_again_does_not_reach_the_old_registration() {
        let (epoll, mut near, far) = watched_pair(Interest::READABLE, Mode::Level);
        let _duplicate = far.try_clone().unwrap();
        let (mut stranger_near, stranger) = UnixStream::pair().unwrap();
        // Closes the registered descriptor, and gives its number to another file.
        let mut number = OwnedFd::from(far);
        rustix::io::dup2(&stranger, &mut number).unwrap();

        let modified = epoll.modify(&number, Token(8), Interest::READABLE, Mode::Level);
        expect_errno(modified, Errno::NOENT);
        expect_errno(epoll.remove(&number), Errno::NOENT);
        epoll.add(&number, Token(8), Interest::READABLE, Mode::Level).unwrap();
        near.write_all(b"old").unwrap();
        assert_eq!(ready_now(&epoll), [(Token(7), Readiness::IN)]);
        stranger_near.write_all(b"new").unwrap();
        assert_eq!(ready_now(&epoll).len(), 2, "two registrations under one number");
    }

    #[test]
    fn the_instance_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Epoll>();
    }

    #[test]
    fn removing_before_closing_is_the_way_around() {
        let (epoll, mut near, far) = watched_pair(Interest::READABLE, Mode::Level);
        let _duplicate = far.try_clone().unwrap();
        epoll.remove(&far).unwrap();
        drop(far);
        near.write_all(b"x").unwrap();
        assert_eq!(ready_now(&epoll), []);
    }
}

mod modes {
    use super::*;

    #[test]
    fn level_reports_at_every_wait_until_all_is_read() {
        let (epoll, mut near, mut far) = watched_pair(Interest::READABLE, Mode::Level);
        near.write_all(b"ab").unwrap();
        for _ in 0..3 {
            assert_eq!(ready_now(&epoll), [(Token(7), Readiness::IN)]);
        }
        read_some(&mut far, 1);
        assert_eq!(ready_now(&epoll).len(), 1, "one byte is left");
        read_some(&mut far, 1);
        assert_eq!(ready_now(&epoll), []);
    }

    #[test]
    fn edge_reports_once_for_what_arrives() {
        let (epoll, mut near, mut far) = watched_pair(Interest::READABLE, Mode::Edge);
        near.write_all(b"ab").unwrap();
        assert_eq!(ready_now(&epoll), [(Token(7), Readiness::IN)]);
        read_some(&mut far, 1);
        assert_eq!(ready_now(&epoll), [], "what is left makes no edge");
        near.write_all(b"c").unwrap();
        assert_eq!(ready_now(&epoll), [(Token(7), Readiness::IN)], "what arrives does");
    }

    #[test]
    fn a_source_that_is_ready_when_added_is_reported() {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"x").unwrap();
        for mode in [Mode::Level, Mode::Edge, Mode::LevelOneShot, Mode::EdgeOneShot] {
            let epoll = Epoll::new().unwrap();
            epoll.add(&far, Token(1), Interest::READABLE, mode).unwrap();
            assert_eq!(ready_now(&epoll), [(Token(1), Readiness::IN)], "{mode:?}");
        }
    }

    #[test]
    fn modify_reports_anew_what_an_edge_has_reported() {
        let (epoll, mut near, far) = watched_pair(Interest::READABLE, Mode::Edge);
        near.write_all(b"x").unwrap();
        assert_eq!(ready_now(&epoll).len(), 1);
        assert_eq!(ready_now(&epoll), []);
        epoll.modify(&far, Token(8), Interest::READABLE, Mode::Edge).unwrap();
        assert_eq!(ready_now(&epoll), [(Token(8), Readiness::IN)]);
    }

    #[test]
    fn one_shot_reports_once_until_it_is_armed_again() {
        for mode in [Mode::LevelOneShot, Mode::EdgeOneShot] {
            let (epoll, mut near, far) = watched_pair(Interest::READABLE, mode);
            near.write_all(b"a").unwrap();
            assert_eq!(ready_now(&epoll), [(Token(7), Readiness::IN)]);
            near.write_all(b"b").unwrap();
            assert_eq!(ready_now(&epoll), [], "{mode:?} rests, whatever arrives");
            epoll.modify(&far, Token(8), Interest::READABLE, mode).unwrap();
            assert_eq!(ready_now(&epoll), [(Token(8), Readiness::IN)]);
            drop(near);
            assert_eq!(ready_now(&epoll), [], "{mode:?} rests, even when the peer hangs up");
        }
    }
}

mod exclusive {
    use super::*;

    #[test]
    fn several_instances_can_watch_one_source() {
        let (reader, mut writer) = pipe().unwrap();
        let epolls = [Epoll::new().unwrap(), Epoll::new().unwrap()];
        let watched = [0, 1].map(|i| {
            let token = Token(i as u64);
            epolls[i]
                .add_exclusive(&reader, token, ExclusiveInterest::Readable, Trigger::Level)
                .unwrap()
        });
        writer.write_all(b"x").unwrap();
        // Nobody sleeps in a wait, so there is nobody to choose among: both see it.
        for (epoll, token) in epolls.iter().zip([0, 1].map(Token)) {
            assert_eq!(ready_now(epoll), [(token, Readiness::IN)]);
        }
        for (epoll, watched) in epolls.iter().zip(watched) {
            epoll.remove_exclusive(watched).unwrap();
            assert_eq!(ready_now(epoll), []);
        }
    }

    #[test]
    fn each_event_wakes_one_of_two_that_wait() {
        let (reader, mut writer) = pipe().unwrap();
        let (starts, started) = mpsc::channel();
        let (reports, woken) = mpsc::channel();
        let wait = |(starts, reports): (mpsc::Sender<_>, mpsc::Sender<_>)| {
            let epoll = Epoll::new().unwrap();
            let readable = ExclusiveInterest::Readable;
            let _watched = epoll.add_exclusive(&reader, Token(0), readable, Trigger::Edge).unwrap();
            let me = fs::read_link("/proc/thread-self").unwrap();
            starts.send(me.clone()).unwrap();
            assert_eq!(ready_soon(&epoll), [(Token(0), Readiness::IN)]);
            reports.send(me).unwrap();
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let channels = (starts.clone(), reports.clone());
                scope.spawn(|| wait(channels));
            }
            let mut waiting = [started.recv().unwrap(), started.recv().unwrap()].to_vec();
            wait_until("both wait", || waiting.iter().all(|thread| is_in_epoll_wait(thread)));
            writer.write_all(b"x").unwrap();
            let first = woken.recv_timeout(DEADLINE).unwrap();
            waiting.retain(|thread| *thread != first);
            // The man page says "one or more"; the kernel means one (seen on Linux 6.18).
            assert!(is_in_epoll_wait(&waiting[0]), "one event woke both");
            writer.write_all(b"y").unwrap();
            assert_eq!(woken.recv_timeout(DEADLINE).unwrap(), waiting[0]);
        });
    }

    /// Whether a thread, named as by /proc/thread-self, is in epoll_pwait.
    fn is_in_epoll_wait(thread: &Path) -> bool {
        let number = if cfg!(target_arch = "x86_64") { "281" } else { "22" };
        let call = fs::read_to_string(Path::new("/proc").join(thread).join("syscall")).unwrap();
        call.split(' ').next() == Some(number)
    }

    #[test]
    fn the_source_is_used_through_it_and_handed_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let epoll = Epoll::new().unwrap();
        let both = ExclusiveInterest::ReadableOrWritable;
        let watched = epoll.add_exclusive(listener, Token(3), both, Trigger::Edge).unwrap();
        let _client = TcpStream::connect(watched.local_addr().unwrap()).unwrap();
        assert_eq!(ready_soon(&epoll), [(Token(3), Readiness::IN)]);
        watched.accept().unwrap();
        let listener = epoll.remove_exclusive(watched).unwrap();
        expect_errno(epoll.remove(&listener), Errno::NOENT);
    }

    #[test]
    fn who_goes_around_the_type_is_refused_by_the_kernel() {
        let (_near, far) = UnixStream::pair().unwrap();
        let epoll = Epoll::new().unwrap();
        let watched = epoll
            .add_exclusive(far, Token(0), ExclusiveInterest::Writable, Trigger::Level)
            .unwrap();
        let modified = epoll.modify(&*watched, Token(1), Interest::READABLE, Mode::Level);
        expect_errno(modified, Errno::INVAL);
    }
}

mod batches {
    use super::*;

    #[test]
    fn a_batch_grows_while_it_comes_back_full_up_to_its_ceiling() {
        let epoll = Epoll::new().unwrap();
        let pairs: Vec<_> = (0..100).map(|_| UnixStream::pair().unwrap()).collect();
        for (token, (near, _)) in (0..).map(Token).zip(&pairs) {
            epoll.add(near, token, Interest::WRITABLE, Mode::Level).unwrap();
        }
        let mut events = Events::with_capacity_and_ceiling(8, 20);
        for (brought, next) in [(8, 16), (16, 20), (20, 20), (20, 20)] {
            assert_eq!(epoll.wait(&mut events, None).unwrap(), brought);
            assert_eq!(events.capacity(), next);
            assert_eq!(events.iter().len(), brought);
            assert_eq!(events.get(brought), None);
        }
    }

    #[test]
    fn a_small_batch_gets_round_to_everybody() {
        let epoll = Epoll::new().unwrap();
        let pairs: Vec<_> = (0..40).map(|_| UnixStream::pair().unwrap()).collect();
        for (token, (near, _)) in (0..).map(Token).zip(&pairs) {
            epoll.add(near, token, Interest::WRITABLE, Mode::Edge).unwrap();
        }
        let mut events = Events::with_capacity_and_ceiling(32, 32);
        let mut seen = Vec::new();
        while epoll.wait(&mut events, Some(Duration::ZERO)).unwrap() > 0 {
            seen.extend(events.iter().map(|event| event.token().0));
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..40));
    }

    #[test]
    fn a_wait_without_events_empties_the_batch() {
        let (epoll, mut near, _far) = watched_pair(Interest::READABLE, Mode::Edge);
        let mut events = Events::with_capacity(4);
        near.write_all(b"x").unwrap();
        for timeout in [Duration::ZERO, Duration::from_millis(1), Duration::from_nanos(1)] {
            near.write_all(b"x").unwrap();
            assert_eq!(epoll.wait(&mut events, None).unwrap(), 1);
            assert_eq!(epoll.wait(&mut events, Some(timeout)).unwrap(), 0);
            assert!(events.is_empty(), "{timeout:?}");
        }
    }
}

mod timeouts {
    use super::*;

    const A_MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn c28_a_timeout_is_never_shorter_than_asked() {
        let epoll = Epoll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let micros = [1, 300, 999, 1_000, 1_001, 1_500, 20_000, 20_050].map(Duration::from_micros);
        for timeout in micros.into_iter().chain([Duration::ZERO, Duration::from_nanos(1)]) {
            for _ in 0..20 {
                let start = Instant::now();
                assert_eq!(epoll.wait(&mut events, Some(timeout)).unwrap(), 0);
                let waited = start.elapsed();
                assert!(waited >= timeout, "{waited:?} instead of {timeout:?}");
            }
        }
    }

    #[test]
    fn an_event_ends_a_wait_of_either_kind() {
        let (epoll, mut near, _far) = watched_pair(Interest::READABLE, Mode::Edge);
        let fine = A_MINUTE + Duration::from_nanos(1);
        for timeout in [None, Some(A_MINUTE), Some(fine), Some(Duration::MAX)] {
            let start = Instant::now();
            std::thread::scope(|scope| {
                let waiter =
                    scope.spawn(|| epoll.wait(&mut Events::with_capacity(4), timeout).unwrap());
                near.write_all(b"x").unwrap();
                assert_eq!(waiter.join().unwrap(), 1, "{timeout:?}");
            });
            assert!(start.elapsed() < A_MINUTE, "{timeout:?}");
        }
    }

    #[test]
    fn an_instance_watches_another() {
        let (inner, mut near, _far) = watched_pair(Interest::READABLE, Mode::Level);
        let outer = Epoll::new().unwrap();
        outer.add(&inner, Token(1), Interest::READABLE, Mode::Level).unwrap();
        assert_eq!(ready_within(&outer, Duration::from_micros(300)), []);
        near.write_all(b"x").unwrap();
        assert_eq!(ready_within(&outer, Duration::from_micros(300)), [(Token(1), Readiness::IN)]);
    }
}

mod signals {
    use super::*;

    /// Names the wait that a child of this test is to do, in microseconds.
    const CHILD_WAITS: &str = "EDGELOOP_TEST_CHILD_WAITS_US";

    #[test]
    fn c29_a_signal_does_not_shorten_a_wait() {
        if let Ok(micros) = std::env::var(CHILD_WAITS) {
            return wait_and_report(Duration::from_micros(micros.parse().unwrap()));
        }
        for timeout in [Duration::from_millis(400), Duration::from_micros(400_300)] {
            // Continued after a stop, epoll_wait says EINTR, handler or not (signal(7)). A child
            // that ended before it could be stopped shows nothing, and another is tried.
            while Waiter::start(timeout).stop_and_continue_until_it_ends() == 0 {}
        }
    }

    /// The child's part: waits where nothing will happen, and checks for how long.
    fn wait_and_report(timeout: Duration) {
        let epoll = Epoll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let start = Instant::now();
        println!("\nwaiting");
        assert_eq!(epoll.wait(&mut events, Some(timeout)).unwrap(), 0);
        let waited = start.elapsed();
        assert!(waited >= timeout, "{waited:?} instead of {timeout:?}");
        // One that began anew each time it is interrupted would never end, which the parent
        // notices.
    }

    /// This test, run again in a process of its own, which can be stopped.
    struct Waiter {
        child: Child,
    }

    impl Waiter {
        fn start(timeout: Duration) -> Self {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "signals::c29_a_signal_does_not_shorten_a_wait", "--nocapture"])
                .env(CHILD_WAITS, timeout.as_micros().to_string())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap() == "waiting"), "the child didn't wait");
            // Its later output has nowhere to go, and a closed pipe would fail it.
            std::thread::spawn(move || lines.for_each(drop));
            Self { child }
        }

        /// How often it was stopped. Fails unless it ends well.
        fn stop_and_continue_until_it_ends(&mut self) -> usize {
            let pid = Pid::from_child(&self.child);
            let deadline = Instant::now() + DEADLINE;
            for stops in 0.. {
                assert!(Instant::now() < deadline, "the child waits for ever");
                // Not yet reaped, so the pid is still the child's.
                if let Some(status) = self.child.try_wait().unwrap() {
                    let mut said = String::new();
                    let _ = self.child.stderr.take().unwrap().read_to_string(&mut said);
                    assert!(status.success(), "{status}: {said}");
                    return stops;
                }
                kill_process(pid, Signal::STOP).unwrap();
                let stopped = || matches!(self.state(), 'T' | 'Z');
                wait_until("the child is stopped", stopped);
                kill_process(pid, Signal::CONT).unwrap();
                let sleeps = || matches!(self.state(), 'S' | 'Z');
                wait_until("the child goes on", sleeps);
            }
            unreachable!()
        }

        /// The state of the child's first thread, as /proc says it.
        fn state(&self) -> char {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
            let (_, after_name) = stat.rsplit_once(") ").unwrap();
            after_name.chars().next().unwrap()
        }
    }

    impl Drop for Waiter {
        /// A failed test leaves no stopped child behind.
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for a condition, asking again and again, up to the deadline.
#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        std::thread::yield_now();
    }
}
