//! What a handler is shown that asks for every step of the loop.

use super::*;
use crate::api::id::ConnectionId;
use crate::api::notice::Trace;

/// Counts what is traced, where it is asked for.
#[derive(Default)]
struct Traced<const TRACE: bool> {
    events: usize,
    bytes: usize,
    registered: Vec<ConnectionId>,
    opened: Vec<ConnectionId>,
}

impl<const TRACE: bool> Handler for Traced<TRACE> {
    type Session = ();

    const TRACE: bool = TRACE;

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        self.opened.push(cx.id());
        Action::Continue
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        cx.send(input.take_all()).or_reset()
    }

    fn trace(&mut self, trace: &Trace<'_>) {
        match trace {
            Trace::Received { bytes, .. } => {
                assert!(!bytes.is_empty(), "nothing was received");
                self.bytes += bytes.len();
            }
            Trace::Event { id, .. } => {
                assert_ne!(
                    id.generation(),
                    0,
                    "the waker's, the alarm's and the listeners' are not"
                );
                self.events += 1;
            }
            Trace::Registered { id, descriptor } => {
                assert!(*descriptor > 0);
                self.registered.push(*id);
            }
        }
    }
}

#[test]
fn each_descriptor_that_is_registered_is_traced() {
    let [refuses, answers] = [1, 2].map(|number| SocketAddr::from(([10, 0, 0, number], 80)));
    let target = crate::api::target::Target::new(refuses).or(answers);
    let simulation = Simulation::new(1)
        .service(refuses, |_| Script::new().reset())
        .service(answers, |_| Script::new().close())
        .peer(caller("one"));
    let traced = simulation.run_with(Traced::<true>::default(), |start| {
        start.connect(answers, ());
        start.connect(target, ());
    });
    let traced = traced.expect("it ends").handler;
    let first: Vec<_> = traced
        .opened
        .iter()
        .map(|id| traced.registered.iter().filter(|one| *one == id).count())
        .collect();
    assert!(first.iter().all(|&count| count >= 1), "{:?}", traced.registered);
    assert_eq!(traced.opened.len(), 3);
}

#[test]
fn what_is_received_is_traced_to_the_byte_and_only_where_that_is_asked_for() {
    let simulation = |seed| Simulation::new(seed).peer(caller("one")).peer(caller("two"));
    for seed in 0..20 {
        let traced = simulation(seed).run(Traced::<true>::default());
        let traced = traced.expect("an echo").handler;
        assert_eq!(traced.bytes, 10);
        assert!(traced.events >= 4, "{} events", traced.events);
        let quiet = simulation(seed).run(Traced::<false>::default());
        let quiet = quiet.expect("an echo").handler;
        assert_eq!((quiet.events, quiet.bytes), (0, 0));
    }
}
