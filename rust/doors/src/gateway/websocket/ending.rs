//! The end of a connection: what still goes to its client.

use forebay_engine::gateways::connections::{Mailbox, Outgoing};
use futures_util::{FutureExt as _, SinkExt as _};
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

/// Send what answers the messages under way, and what their handlers post; no further one is read. They end with the grace of the app
/// at the latest.
pub(super) async fn answer_last(
    socket: &mut WebSocketStream<TokioIo<Upgraded>>,
    mailbox: &mut Mailbox,
    at_once: &Semaphore,
) {
    let mut all = std::pin::pin!(at_once.acquire_many(AT_ONCE as u32));
    loop {
        // A mailbox that others fill all the time must not hide that all have ended.
        let outgoing = tokio::select! {
            biased;
            _ = &mut all => break,
            outgoing = mailbox.next() => outgoing,
        };
        if !passed_on(socket, outgoing).await {
            return;
        }
    }
    // An answer is in the mailbox before its message gives its place back.
    let rest = async {
        while let Some(outgoing) = mailbox.next().now_or_never() {
            if !passed_on(socket, outgoing).await {
                return;
            }
        }
    };
    // A client that has not read them by then is cut off.
    let _ = timeout(SEND_TIMEOUT, rest).await;
}

/// Send one; false: nothing more can be sent.
async fn passed_on(socket: &mut WebSocketStream<TokioIo<Upgraded>>, outgoing: Option<Outgoing>) -> bool {
    let Ok(message) = sendable(outgoing) else { return false };
    matches!(timeout(SEND_TIMEOUT, socket.send(message)).await, Ok(Ok(())))
}
