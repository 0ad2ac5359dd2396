//! What a handler receives from other threads.

use crate::api::handler::{Action, Context, Handler, LoopContext};
use crate::api::id::ConnectionId;

/// A handler that receives messages of the type `M` from other threads, which send them with a
/// [`Sender`](crate::Sender) (C47): work is given to a pool of threads, and its answer comes back
/// to the session that waits for it.
///
/// # Examples
///
/// ```
/// use edgeloop::{Action, Context, EventLoop, Handler, Input, Origin, Receive};
///
/// /// What a worker has found out.
/// struct Answer(String);
///
/// struct Server;
///
/// impl Handler for Server {
///     type Session = ();
///
///     fn session(&mut self, _: &Origin) -> Option<()> {
///         Some(())
///     }
///
///     fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
///         // Here `cx.id()` and the question go to a worker, which has a `Sender<Answer>`.
///         let _ = (cx.id(), input.take_all());
///         Action::Continue
///     }
/// }
///
/// impl Receive<Answer> for Server {
///     fn message(&mut self, cx: &mut impl Context, _: &mut (), answer: Answer) -> Action {
///         cx.send(answer.0.as_bytes()).or_reset()
///     }
/// }
///
/// let mut server = EventLoop::new(Server)?;
/// let sender = server.sender::<Answer>();
/// std::thread::spawn(move || {
///     // For each question: sender.send_to(id, Answer(…))
///     # let _ = sender;
/// });
/// # Ok::<(), edgeloop::Error>(())
/// ```
pub trait Receive<M>: Handler {
    /// A message for a connection that is being made or is open. The default drops it.
    fn message(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut Self::Session,
        message: M,
    ) -> Action {
        let _ = (cx, session, message);
        Action::Continue
    }

    /// A message for a connection that has ended or is closing. The default drops it.
    fn undelivered(
        &mut self,
        cx: &mut impl LoopContext<Self::Session>,
        id: ConnectionId,
        message: M,
    ) {
        let _ = (cx, id, message);
    }

    /// A message for the loop, and for no connection of it. The default drops it.
    fn posted(&mut self, cx: &mut impl LoopContext<Self::Session>, message: M) {
        let _ = (cx, message);
    }
}
