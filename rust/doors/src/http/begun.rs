//! The first bytes of a connection, which tell what is spoken on it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use crate::http::patience::End;

/// What a client begins with that knows beforehand that HTTP/2 is spoken.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose first bytes may have been looked at. They are read once more together with what came after them: in a buffer that
/// gets them alone, hyper makes room for a whole head a second time, and a long poll holds on to it.
pub(crate) struct Begun<S> {
    stream: S,
    first: [u8; PREFACE.len()],
    /// How many of the first bytes have come.
    came: usize,
    /// How many of them have been read once more.
    read: usize,
    /// Is told that something comes.
    end: Arc<End>,
}

impl<S: Read + Unpin> Begun<S> {
    /// A connection of which nothing has been looked at.
    pub(crate) fn new(stream: S, end: Arc<End>) -> Self {
        Self { stream, first: [0; PREFACE.len()], came: 0, read: 0, end }
    }

    /// Wait for the first bytes, or for the end of the connection.
    pub(crate) async fn begin(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_first(context)).await
    }

    /// Whether HTTP/2 is spoken. Anything else is HTTP/1, the end of the connection included.
    pub(crate) async fn is_http2(&mut self) -> io::Result<bool> {
        while self.first[..self.came] == PREFACE[..self.came] {
            if self.came == PREFACE.len() {
                return Ok(true);
            }
            let before = self.came;
            poll_fn(|context| self.poll_first(context)).await?;
            if self.came == before {
                break;
            }
        }
        Ok(false)
    }

    fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = ReadBuf::new(&mut self.first[self.came..]);
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer.unfilled()))?;
        self.came += buffer.filled().len();
        Poll::Ready(Ok(()))
    }
}

impl<S: Read + Unpin> Read for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let first = &this.first[this.read..this.came];
        if first.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            this.end.comes_in();
            return Poll::Ready(Ok(()));
        }
        this.end.comes_in();
        let count = first.len().min(buffer.remaining());
        buffer.put_slice(&first[..count]);
        this.read += count;
        if buffer.remaining() > 0 {
            // Nothing more may be there yet. A connection that has broken ends at the next read.
            let _more = Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Write + Unpin> Write for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper_util::rt::TokioIo;
    use tokio::io::{duplex, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::sync::watch;

    use super::*;

    fn end() -> Arc<End> {
        Arc::new(End::new(watch::channel(()).1, Duration::from_secs(1), Duration::from_secs(1)))
    }

    /// Whether HTTP/2 is spoken on a connection that brings these pieces and ends, and what is read then.
    async fn told(pieces: &[&[u8]]) -> (bool, Vec<u8>) {
        let (mut client, server): (DuplexStream, DuplexStream) = duplex(1024);
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let sent = tokio::spawn(async move {
            for piece in pieces {
                client.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut begun = Begun::new(TokioIo::new(server), end());
        let is_http2 = begun.is_http2().await.unwrap();
        let mut whole = Vec::new();
        TokioIo::new(begun).read_to_end(&mut whole).await.unwrap();
        sent.await.unwrap();
        (is_http2, whole)
    }

    #[tokio::test]
    async fn what_was_looked_at_is_read_once_more() {
        let preface = PREFACE.as_slice();
        for (pieces, is_http2) in [
            (vec![preface, b"frames"], true),
            (vec![&preface[..1], &preface[1..4], &preface[4..]], true),
            (vec![b"POST / HTTP/1.1\r\n".as_slice(), b"Host: a\r\n\r\n"], false),
            (vec![b"P".as_slice(), b"RI", b"NT / HTTP/1.1\r\n\r\n"], false),
            (vec![&preface[..20]], false),
            (vec![], false),
        ] {
            assert_eq!(told(&pieces).await, (is_http2, pieces.concat()), "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn a_head_that_is_there_is_read_in_one_piece() {
        let (mut client, server) = duplex(1024);
        let head = b"GET /an/orders/path HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.write_all(head).await.unwrap();
        let mut begun = Begun::new(TokioIo::new(server), end());
        assert!(!begun.is_http2().await.unwrap());
        let mut room = [0; 256];
        let read = TokioIo::new(begun).read(&mut room).await.unwrap();
        assert_eq!(&room[..read], head);
    }
}
