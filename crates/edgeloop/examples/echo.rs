//! The smallest server: whatever comes in goes out again, without a copy.
//!
//! `cargo run --release -p edgeloop --example echo [ADDRESS]`

use edgeloop::{Action, Context, EventLoop, Handler, Input, Origin};

struct Echo;

impl Handler for Echo {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    // Compiled into the loop itself, for speed.
    #[inline(always)]
    fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
        cx.send(input.take_all()).or_reset()
    }
}

fn main() -> Result<(), edgeloop::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "0.0.0.0:3000".to_owned());
    let mut server = EventLoop::new(Echo)?;
    eprintln!("listening on {}", server.listen(address.as_str())?);
    server.run()?;
    Ok(())
}
