//! An echo with moods: it takes what it is shown in other pieces, pauses, closes and resets.

use std::time::Duration;

use edgeloop::{Action, Closed, Context, Handler, Input, Origin, Sent};

/// The byte upon which the server closes, once it has echoed it.
pub(super) const CLOSE: u8 = b'C';
/// The byte upon which it resets, and echoes nothing from there on.
pub(super) const RESET: u8 = b'R';
/// The byte upon which it reads no more, once it has echoed it.
pub(super) const PAUSE: u8 = b'P';

/// How much of its input the handler takes at a time. What it leaves is shown again with more.
#[derive(Debug, Clone, Copy)]
pub(super) enum Taking {
    All,
    /// Line by line; half a line is left.
    Lines,
    /// So many bytes together; fewer are left.
    Frames(usize),
    /// At most so many bytes in a callback, even if more are there.
    Sips(usize),
}

impl Taking {
    /// How much of a stream is sure to be echoed before it ends.
    pub(super) fn echoed(self, stream: &[u8]) -> usize {
        match self {
            Self::All => stream.len(),
            Self::Lines => stream.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1),
            Self::Frames(size) => stream.len() / size * size,
            Self::Sips(_) => 0,
        }
    }
}

/// How it treats its connections, and how many there are.
#[derive(Debug)]
pub(crate) struct Echo {
    pub(super) greeting: Vec<u8>,
    pub(super) taking: Taking,
    /// It pauses after each so many callbacks that took something, for so long.
    pub(super) pauses: Option<(usize, Duration)>,
    pub(super) open: usize,
}

impl Echo {
    fn take(&self, cx: &mut impl Context<usize>, input: &mut Input<'_>) -> Action {
        if let Some(at) = input.iter().position(|byte| [CLOSE, RESET, PAUSE].contains(byte)) {
            let command = input[at];
            let sent = cx.send(input.take(at + usize::from(command != RESET)));
            return match (command, sent.or_reset()) {
                (CLOSE, Action::Continue) => Action::Close,
                (PAUSE, Action::Continue) => Action::Pause,
                _ => Action::Reset,
            };
        }
        match self.taking {
            Taking::All => cx.send(input.take_all()).or_reset(),
            Taking::Lines => take_each(cx, || input.take_until(b"\n", usize::MAX).ok().flatten()),
            Taking::Frames(size) => {
                take_each(cx, || (input.len() >= size).then(|| input.take(size)))
            }
            Taking::Sips(most) => cx.send(input.take(input.len().min(most))).or_reset(),
        }
    }
}

/// Echoes message by message, until the queue is full: the rest is shown again when it has drained.
fn take_each<'a>(
    cx: &mut impl Context<usize>,
    mut next: impl FnMut() -> Option<&'a [u8]>,
) -> Action {
    while let Some(message) = next() {
        match cx.send(message) {
            Sent::AboveMark => break,
            sent if sent.or_reset() == Action::Reset => return Action::Reset,
            _ => {}
        }
    }
    Action::Continue
}

impl Handler for Echo {
    /// How many data callbacks took something.
    type Session = usize;

    fn session(&mut self, _: &Origin) -> Option<usize> {
        self.open += 1;
        Some(0)
    }

    fn opened(&mut self, cx: &mut impl Context<Self::Session>, _: &mut usize) -> Action {
        if self.greeting.is_empty() { Action::Continue } else { cx.send(&self.greeting).or_reset() }
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        count: &mut usize,
        input: &mut Input<'_>,
    ) -> Action {
        let before = input.len();
        let action = self.take(cx, input);
        // What is left is shown again after a pause: one that took nothing would pause for ever.
        *count += usize::from(input.len() < before);
        match (action, self.pauses) {
            (Action::Continue, Some((every, pause)))
                if input.len() < before && count.is_multiple_of(every) =>
            {
                cx.set_timer(0, Some(pause));
                Action::Pause
            }
            (action, _) => action,
        }
    }

    fn end(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        _: &mut usize,
        input: &mut Input<'_>,
    ) -> Action {
        match cx.send(input.take_all()).or_reset() {
            Action::Continue => Action::Close,
            refused => refused,
        }
    }

    fn timer(&mut self, cx: &mut impl Context<Self::Session>, _: &mut usize, _: u32) -> Action {
        cx.resume(cx.id());
        Action::Continue
    }

    fn closed(&mut self, _: &mut impl Context<Self::Session>, _: usize, _: &Closed) {
        self.open -= 1;
    }
}
