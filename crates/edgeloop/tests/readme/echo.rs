use edgeloop::{Action, Context, EventLoop, Handler, Input, Origin};

struct Echo;

impl Handler for Echo {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
        cx.send(input.take_all()).or_reset()
    }
}

fn main() -> Result<(), edgeloop::Error> {
    let mut server = EventLoop::new(Echo)?;
    server.listen("127.0.0.1:3000")?;
    server.run()?;
    Ok(())
}
