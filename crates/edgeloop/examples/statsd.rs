//! A collector of figures: programs send them as datagrams in the format of statsd, and whoever
//! connects by TCP reads their sums. One loop serves both, so the table needs no lock.
//!
//! `cargo run --release -p edgeloop --example statsd [UDP ADDRESS] [TCP ADDRESS]`, then
//! `echo logins:1|c | nc -u -w1 127.0.0.1 8125` and `nc 127.0.0.1 8126`.

use std::collections::BTreeMap;

use edgeloop::{Action, Context, Datagram, EventLoop, Handler, Input, LoopContext, Origin, Sent};

/// How many figures there may be. Anybody can send a datagram, so that names must not take memory
/// without end.
const MAX_FIGURES: usize = 10_000;

/// The longest name, in bytes.
const MAX_NAME: usize = 200;

#[derive(Default)]
struct Collector {
    figures: BTreeMap<String, f64>,
    /// Lines that say nothing, or nothing that there is room for.
    ignored: u64,
}

/// What a line asks for.
#[derive(Debug, PartialEq)]
enum Update<'a> {
    Add(&'a str, f64),
    Set(&'a str, f64),
}

/// Reads a line such as `logins:1|c` (a counter), `logins:1|c|@0.1` (a counter of which one in ten
/// was sent) or `load:0.7|g` (a gauge).
fn parse(line: &str) -> Option<Update<'_>> {
    let (name, rest) = line.split_once(':')?;
    let (value, kind) = rest.split_once('|')?;
    let value: f64 = value.parse().ok().filter(|value: &f64| value.is_finite())?;
    let is_name =
        (1..=MAX_NAME).contains(&name.len()) && name.chars().all(|c| c.is_ascii_graphic());
    match kind.split_once("|@") {
        _ if !is_name => None,
        None if kind == "c" => Some(Update::Add(name, value)),
        None if kind == "g" => Some(Update::Set(name, value)),
        Some(("c", rate)) => {
            let rate: f64 = rate.parse().ok().filter(|rate| (0.001..=1.0).contains(rate))?;
            Some(Update::Add(name, value / rate))
        }
        _ => None,
    }
}

impl Collector {
    fn take(&mut self, line: &str) {
        let Some(update) = parse(line) else {
            self.ignored += 1;
            return;
        };
        let (Update::Add(name, _) | Update::Set(name, _)) = update;
        if !self.figures.contains_key(name) {
            if self.figures.len() == MAX_FIGURES {
                self.ignored += 1;
                return;
            }
            self.figures.insert(name.to_owned(), 0.0);
        }
        let figure = self.figures.get_mut(name).expect("it was put there");
        match update {
            Update::Add(_, value) => *figure += value,
            Update::Set(_, value) => *figure = value,
        }
    }

    fn report(&self) -> String {
        let lines = self.figures.iter().map(|(name, value)| format!("{name} {value}\n"));
        lines.chain([format!("ignored {}\n", self.ignored)]).collect()
    }
}

impl Handler for Collector {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    /// Whoever connects gets the figures, and the end.
    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        match cx.send(self.report().as_bytes()) {
            Sent::Refused => Action::Reset,
            _ => Action::Close,
        }
    }

    fn data(&mut self, _: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        let _ = input.take_all();
        Action::Continue
    }

    /// Several lines may come in one datagram.
    fn datagram(&mut self, _: &mut impl LoopContext, datagram: &Datagram<'_>) {
        for line in String::from_utf8_lossy(datagram.bytes).lines() {
            self.take(line);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let figures = arguments.next().unwrap_or_else(|| "127.0.0.1:8125".to_owned());
    let readers = arguments.next().unwrap_or_else(|| "127.0.0.1:8126".to_owned());
    let mut server = EventLoop::new(Collector::default())?;
    eprintln!("receiving on udp://{}", server.bind_udp(&*figures)?.1);
    eprintln!("listening on {}", server.listen(&*readers)?);
    server.run()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgeloop::sim::{Act, TestContext};

    #[test]
    fn a_line_adds_or_sets_and_what_says_nothing_is_ignored() {
        assert_eq!(parse("logins:2|c"), Some(Update::Add("logins", 2.0)));
        assert_eq!(parse("logins:2|c|@0.5"), Some(Update::Add("logins", 4.0)));
        assert_eq!(parse("load:-0.5|g"), Some(Update::Set("load", -0.5)));
        let long = format!("{}:1|c", "n".repeat(MAX_NAME + 1));
        for line in [
            "", "logins", "logins:1", ":1|c", "a b:1|c", "a:x|c", "a:inf|c", "a:1|c|@0", "a:1|h",
            &long,
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn names_take_no_more_than_their_room() {
        let mut collector = Collector::default();
        for number in 0..MAX_FIGURES + 5 {
            collector.take(&format!("n{number}:1|c"));
        }
        collector.take("n0:1|c");
        assert_eq!((collector.figures.len(), collector.ignored), (MAX_FIGURES, 5));
        assert_eq!(collector.figures["n0"], 2.0);
    }

    #[test]
    fn a_datagram_of_several_lines_is_summed_and_never_answered() {
        let mut cx = TestContext::new();
        let mut collector = Collector::default();
        let from = ([127, 0, 0, 1], 4_000).into();
        let bytes = b"hits:1|c\nhits:2|c\nrubbish\nload:0.7|g\n";
        collector.datagram(&mut cx, &TestContext::<()>::datagram(from, bytes));
        assert!(!cx.take_acts().iter().any(|act| matches!(act, Act::SendDatagram { .. })));
        assert_eq!(collector.opened(&mut cx, &mut ()), Action::Close);
        assert_eq!(cx.take_sent(), b"hits 3\nload 0.7\nignored 1\n");
    }
}
