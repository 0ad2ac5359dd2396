//! Answers that are given for ever: none of them makes the loop spin (C22).

use super::*;
use crate::mailbox::Handle;

/// How often each call fails.
const OFTEN: u64 = 20_000;

/// How many calls may fail at first, and how many in each second. The most are those of waits, 64
/// between two pauses that grow to 100 ms.
const AT_FIRST: u64 = 1000;
const EACH_SECOND: u64 = 1000;

/// A simulation in which this call fails so from the `first` on, again and again.
fn endless(call: Call, first: u64, error: Errno) -> Simulation {
    let fault = |nth| Fault { call, nth, fate: Fate::Fails(error) };
    let faults = (first..first + OFTEN).map(fault).collect();
    Simulation::in_check(1, Some(faults), Rc::default())
}

/// What a listener takes, which is set up before the loop runs.
const SETTING_UP: [Call; 8] = [
    Call::Socket,
    Call::SetOption,
    Call::SetOption,
    Call::SetOption,
    Call::Bind,
    Call::Listen,
    Call::LocalAddress,
    Call::Register,
];

/// A server to which everything happens that takes calls: it accepts, connects, echoes and passes
/// on, is woken, waits for deadlines, and lingers.
fn all_calls(simulation: Simulation) -> Simulation {
    let service = SocketAddr::from(([10, 0, 0, 1], 80));
    let script = || Script::new().may_end().send(vec![b'x'; 3000]).wait(3 * SECOND);
    simulation
        .calm()
        .buffers(1000..=1000)
        .config(Config::new().read_buffer(100).idle_timeout(Some(SECOND)))
        .service(service, move |_| Script::new().may_end().send("hello").wait(3 * SECOND))
        .peer(script())
        .peer(script().connect_after(SECOND))
        .at(SECOND, Handle::notify)
        .at(2 * SECOND, Handle::notify)
}

fn handler(echoes: bool) -> Probe {
    let service = SocketAddr::from(([10, 0, 0, 1], 80));
    let mut left = 2;
    let probe = Probe::new().opened(move |cx| {
        if left > 0 {
            left -= 1;
            // Where this fails at once, there is nobody to be served.
            let _ = cx.connect(service.into(), ());
        }
        cx.set_timer(0, Some(SECOND / 2));
        Action::Continue
    });
    if echoes { probe.echoes() } else { probe }
}

#[test]
fn c22_no_error_of_any_call_makes_the_loop_spin() {
    let mut met = 0;
    for call in Call::ALL {
        for &error in call.errors() {
            for (nth, echoes) in [(1, false), (1, true), (3, true)] {
                let first = SETTING_UP.iter().filter(|&&of| of == call).count() as u64 + nth;
                let run = all_calls(endless(call, first, error)).run(handler(echoes));
                let (faults, elapsed) = match &run {
                    Ok(report) => (&report.faults, report.elapsed),
                    Err(failure) => (&failure.faults, failure.at),
                };
                let failed = faults.len() as u64;
                let allowed = AT_FIRST + EACH_SECOND * elapsed.as_secs();
                let name = fault_name(call, error);
                assert!(failed <= allowed, "{name} {failed} times in {elapsed:?}");
                met += u64::from(failed > 0);
            }
        }
    }
    assert!(met > 150, "only {met} runs met the error that they are about");
}

fn fault_name(call: Call, error: Errno) -> String {
    Fault { call, nth: 1, fate: Fate::Fails(error) }.kind()
}

#[test]
fn c22_an_error_of_accepting_that_stays_pauses_it_and_is_told_once() {
    for error in [Errno::PERM, Errno::INTR, Errno::CONNABORTED] {
        let fault = |nth| Fault { call: Call::Accept, nth, fate: Fate::Fails(error) };
        let simulation =
            Simulation::in_check(1, Some((1..=200).map(fault).collect()), Rc::default());
        let report = run(simulation.peer(caller("a caller")), Probe::new());
        assert_eq!(report.peers[0].received, b"hello", "it is accepted when that is over");
        assert_eq!(report.metrics.accept_errors, 200);
        assert_eq!(report.handler.told("accepting on"), 1, "{:?}", report.handler.notices);
        assert_eq!(report.metrics.accept_pauses, 1);
        // Six pauses from 100 ms on.
        let expected = Duration::from_millis(100 + 200 + 400 + 800 + 1000 + 1000);
        assert!((expected..2 * expected).contains(&report.elapsed), "{:?}", report.elapsed);
    }
}

#[test]
fn c22_a_wait_that_is_always_interrupted_is_told_once_and_the_server_serves_on() {
    let simulation = endless(Call::Wait, 1, Errno::INTR).peer(caller("a caller"));
    let report = run(simulation, Probe::new());
    assert_eq!(report.peers[0].received, b"hello");
    assert_eq!(report.handler.told("interrupted again and again"), 1);
}

#[test]
fn c22_a_transfer_that_is_always_interrupted_ends_its_connection() {
    for call in [Call::Receive, Call::Send] {
        let peer = Script::new().may_end().send("hello").wait(10 * SECOND);
        let report = run(endless(call, 1, Errno::INTR).peer(peer), Probe::new());
        let [closed] = &report.handler.closed[..] else { panic!("one end") };
        assert_eq!(closed.reason, Reason::Exhausted);
        assert_eq!(closed.errno, Some(Errno::INTR.raw_os_error()));
    }
}
