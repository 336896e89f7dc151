//! The end of a connection: what still goes to its client.

use forebay_engine::gateways::connections::{Mailbox, Outgoing};
use futures_util::SinkExt as _;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::WebSocketStream;

use super::{AT_ONCE, SEND_TIMEOUT};

/// What goes to the client, or the code by which its connection is closed.
pub(super) fn sendable(outgoing: Option<Outgoing>) -> Result<Message, u16> {
    match outgoing {
        Some(Outgoing::Text(text)) => Ok(Message::text(text.as_ref())),
        Some(Outgoing::Binary(bytes)) => Ok(Message::binary(bytes.to_vec())),
        Some(Outgoing::Close(code)) => Err(code),
        None => Err(1001),
    }
}

/// Send what answers the messages under way; no further one is read. They end with the grace of the app at the latest.
pub(super) async fn answer_last(
    socket: &mut WebSocketStream<TokioIo<Upgraded>>,
    mailbox: &mut Mailbox,
    at_once: &Semaphore,
) {
    let mut all = std::pin::pin!(at_once.acquire_many(AT_ONCE as u32));
    loop {
        // An answer is in the mailbox before its message gives its place back.
        let outgoing = tokio::select! {
            biased;
            outgoing = mailbox.next() => outgoing,
            _ = &mut all => return,
        };
        let Ok(message) = sendable(outgoing) else { return };
        if !matches!(timeout(SEND_TIMEOUT, socket.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
}
