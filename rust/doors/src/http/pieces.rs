//! A body that is sent piece by piece, as the pieces come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use hyper::body::{Body as HyperBody, Bytes, Frame};
use tokio::sync::mpsc;

use crate::http::listener::Body;

struct Pieces(mpsc::Receiver<Bytes>);

impl HyperBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// A body, and what gives it its pieces, of which at most `most` wait. It ends when the sender is dropped.
pub(crate) fn pieces(most: usize) -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel(most);
    (sender, Pieces(receiver).boxed())
}
