//! Ask the engine from a door's thread, and await the answer.

use forebay_engine::api::Request;
use forebay_engine::base::error::{Answer, Client, EngineError, Waiter};
use forebay_engine::runtime::engine::Engine;
use tokio::sync::oneshot;

/// Have the engine carry out a request.
pub async fn ask(engine: &Engine, request: Request) -> Answer {
    answer(|waiter| engine.call(request, waiter)).await
}

/// Ask anything of an engine that is answered through a waiter.
pub async fn answer(ask: impl FnOnce(Waiter)) -> Answer {
    begin(ask).await.unwrap_or_else(|_| Err(gone()))
}

/// The same, where the answer may come as it is.
pub async fn typed(ask: impl FnOnce(Waiter)) -> Answer {
    let (sender, receiver) = oneshot::channel();
    ask(Waiter::Client(Box::new(Asker { sender, takes_typed: true })));
    receiver.await.unwrap_or_else(|_| Err(gone()))
}

/// What whoever waits is told if the engine went away meanwhile.
pub fn gone() -> EngineError {
    EngineError::Closed("this process closed the store before it answered".into())
}

/// Ask now, and await the answer later.
pub fn begin(ask: impl FnOnce(Waiter)) -> oneshot::Receiver<Answer> {
    let (sender, receiver) = oneshot::channel();
    ask(Waiter::Client(Box::new(Asker { sender, takes_typed: false })));
    receiver
}

/// A request of a door. Its future is dropped when the client hangs up, and with it the receiver.
struct Asker {
    sender: oneshot::Sender<Answer>,
    takes_typed: bool,
}

impl Client for Asker {
    fn answer(self: Box<Self>, answer: Answer) {
        // A client that went away hears nothing.
        let _unheard = self.sender.send(answer);
    }

    fn has_left(&self) -> bool {
        self.sender.is_closed()
    }

    fn takes_typed(&self) -> bool {
        self.takes_typed
    }
}
