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

/// Send what answers the messages under way, and what their handlers post; no further one is read. They end with the grace of the app
/// at the latest. `leave` has nothing more sent to the connection. The code by which it is closed is given back.
pub(super) async fn answer_last(
    socket: &mut WebSocketStream<TokioIo<Upgraded>>,
    mailbox: &mut Mailbox,
    (at_once, leave): (&Semaphore, &(dyn Fn() + Sync)),
) -> u16 {
    let mut all = std::pin::pin!(at_once.acquire_many(AT_ONCE as u32));
    loop {
        // A mailbox that others fill all the time must not hide that all have ended.
        let outgoing = tokio::select! {
            biased;
            _ = &mut all => break,
            outgoing = mailbox.next() => outgoing,
        };
        if let Err(code) = passed_on(socket, outgoing).await {
            return code;
        }
    }
    // An answer is in the mailbox before its message gives its place back. What was taken for the client until now is sent.
    leave();
    let rest = async {
        loop {
            let outgoing = mailbox.next().await;
            if let Err(code) = passed_on(socket, outgoing).await {
                return code;
            }
        }
    };
    // A client that has not read it by then is cut off.
    timeout(SEND_TIMEOUT, rest).await.unwrap_or(1001)
}

/// Send one; or the code by which the connection is to be closed.
async fn passed_on(socket: &mut WebSocketStream<TokioIo<Upgraded>>, outgoing: Option<Outgoing>) -> Result<(), u16> {
    let message = sendable(outgoing)?;
    match timeout(SEND_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(1001),
    }
}
