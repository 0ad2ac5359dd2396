//! What a handler is shown that asks for every step of the loop.

use super::*;
use crate::notice::Trace;

/// Counts what is traced, where it is asked for.
struct Traced<const TRACE: bool> {
    events: usize,
    bytes: usize,
}

impl<const TRACE: bool> Handler for Traced<TRACE> {
    type Session = ();

    const TRACE: bool = TRACE;

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
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
                assert_ne!(id.generation, 0, "the waker's, the alarm's and the listeners' are not");
                self.events += 1;
            }
            _ => {}
        }
    }
}

#[test]
fn what_is_received_is_traced_to_the_byte_and_only_where_that_is_asked_for() {
    let simulation = |seed| Simulation::new(seed).peer(caller("one")).peer(caller("two"));
    for seed in 0..20 {
        let traced = simulation(seed).run(Traced::<true> { events: 0, bytes: 0 });
        let traced = traced.expect("an echo").handler;
        assert_eq!(traced.bytes, 10);
        assert!(traced.events >= 4, "{} events", traced.events);
        let quiet = simulation(seed).run(Traced::<false> { events: 0, bytes: 0 });
        let quiet = quiet.expect("an echo").handler;
        assert_eq!((quiet.events, quiet.bytes), (0, 0));
    }
}
