use edgeloop::sim::{self, Faults, Script};
use edgeloop::{Action, Context, Handler, Input, Origin};

/// Sends back the length of each line. The bug: it takes each read for a line.
struct Lengths;

impl Handler for Lengths {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
        let line = input.take_all();
        cx.send(format!("{}\n", line.len()).as_bytes()).or_reset()
    }
}

fn lengths() {
    sim::check(0..1000, |simulation| {
        simulation
            .faults(Faults::passing())
            .peer(Script::new().name("bob").send("hello\n").expect("6\n"))
            .run(Lengths)?;
        Ok(())
    });
}
