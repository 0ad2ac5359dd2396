//! The read at once after accepting: what it serves, and what it costs where nobody speaks first.

use super::*;

/// What the loop does between an accept and the wait behind it, in a run of this, each time.
fn behind_accepts(simulation: Simulation, probe: Probe) -> (Vec<Vec<String>>, Report<Probe>) {
    let told: Rc<RefCell<Vec<String>>> = Rc::default();
    let tells = Rc::clone(&told);
    let report = run(simulation.trace(move |_, what| tells.borrow_mut().push(what.into())), probe);
    let told = told.take();
    let accepts = |line: &&String| line.starts_with("accept4:") && line.contains("connection");
    let parts = told.split_inclusive(|line| accepts(&line)).skip(1);
    let until_wait = |part: &[String]| {
        let ends = |line: &String| line.starts_with("epoll_wait:") || accepts(&line);
        part.iter().take_while(|&line| !ends(line)).cloned().collect()
    };
    (parts.map(until_wait).collect(), report)
}

fn position(lines: &[String], begins: &str) -> Option<usize> {
    lines.iter().position(|line| line.starts_with(begins))
}

#[test]
fn who_spoke_before_being_accepted_is_answered_before_the_next_wait() {
    let mut answered = 0;
    for seed in 0..20 {
        let simulation = Simulation::new(seed).calm().buffers(1000..=1000);
        let (accepts, report) = behind_accepts(simulation.peer(caller("it")), Probe::new());
        assert_eq!(report.metrics.accepted, 1);
        let [lines] = &accepts[..] else { panic!("seed {seed}: {accepts:?}") };
        let (opened, read) = (position(lines, "opened"), position(lines, "recv("));
        assert!(position(lines, "epoll_ctl") < opened && opened < read, "seed {seed}: {lines:?}");
        answered += usize::from(position(lines, "send(").is_some());
    }
    // In the other seeds it had not spoken yet.
    assert!((5..20).contains(&answered), "{answered} of 20 were answered");
}

#[test]
fn silent_clients_are_seldom_read_in_vain() {
    const PEERS: usize = 200;
    let silent = || Script::new().wait(SECOND).send("x").expect("x").finish().expect_end();
    let simulation = (0..PEERS).fold(Simulation::new(1), |run, _| run.peer(silent()));
    let (accepts, _) = behind_accepts(simulation, Probe::new());
    let read = accepts.iter().filter(|lines| position(lines, "recv(").is_some()).count();
    assert_eq!((accepts.len(), read), (PEERS, 9));
}

#[test]
fn a_connection_that_the_handler_pauses_or_closes_at_once_is_not_read() {
    for answer in [Action::Pause, Action::Close] {
        let shown = Rc::new(RefCell::new(0));
        let counts = Rc::clone(&shown);
        let mut probe = Probe::new().opened(move |cx| {
            cx.set_timer(0, Some(SECOND));
            answer
        });
        probe = probe.timer(|_, _| Action::Reset).data(move |_, input| {
            *counts.borrow_mut() += input.take_all().len();
            Action::Continue
        });
        let script = Script::new().may_end().send("hello").expect_end().finish();
        let simulation = Simulation::new(1).calm().buffers(1000..=1000);
        let report = run(simulation.peer(script), probe);
        assert_eq!((shown.take(), report.metrics.bytes_in), (0, 0), "{answer:?}");
    }
}
