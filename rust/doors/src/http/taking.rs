//! A connection whose client takes what is written for it: one that does not would keep its answers here for as long as it likes.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep_until, Instant, Sleep};

/// How much of what waits for it a client takes, and in which time.
#[derive(Clone, Copy, Debug)]
pub struct Least {
    /// Bytes.
    pub bytes: usize,
    /// In each span of this length.
    pub within: Duration,
}

/// A time in which something has waited to be taken.
#[derive(Clone, Copy, Debug)]
struct Span {
    ends: Instant,
    taken: usize,
    /// Whether something waits now.
    is_waiting: bool,
}

impl Least {
    /// What was written was taken.
    fn took(span: &mut Option<Span>, bytes: usize, now: Instant) {
        // A span that is over while nothing waits says nothing.
        *span = span.filter(|known| known.is_waiting || known.ends > now);
        if let Some(known) = span {
            known.taken += bytes;
            known.is_waiting = false;
        }
    }

    /// Something waits: until when; `None` where too little was taken for too long.
    fn waits(self, span: &mut Option<Span>, now: Instant) -> Option<Instant> {
        let fresh = Span { ends: now + self.within, taken: 0, is_waiting: true };
        let known = span.get_or_insert(fresh);
        known.is_waiting = true;
        if known.ends <= now {
            if known.taken < self.bytes {
                return None;
            }
            *known = fresh;
        }
        Some(known.ends)
    }
}

/// A stream that ends when less than that is taken of what waits to be written.
#[derive(Debug)]
pub(crate) struct Taking<S> {
    stream: S,
    least: Option<Least>,
    span: Option<Span>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Taking<S> {
    pub(crate) fn new(stream: S, least: Option<Least>) -> Self {
        Self { stream, least, span: None, timer: None }
    }

    /// Judge a write by what came of it.
    fn judge(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let Some(least) = self.least else { return written };
        match &written {
            Poll::Ready(Ok(bytes)) if self.span.is_some() => Least::took(&mut self.span, *bytes, Instant::now()),
            Poll::Ready(_) => {}
            Poll::Pending => loop {
                let Some(until) = least.waits(&mut self.span, Instant::now()) else {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                };
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
                if timer.deadline() != until {
                    timer.as_mut().reset(until);
                }
                ready!(timer.as_mut().poll(context));
            },
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taking<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taking<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.judge(context, written)
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
    use tokio::io::{duplex, AsyncWriteExt as _};

    use super::*;

    const LEAST: Least = Least { bytes: 1_000, within: Duration::from_secs(10) };

    /// The second in which a client is cut off that takes so many bytes each second of what waits for it.
    fn cut(a_second: usize) -> Option<u64> {
        let (begun, mut span) = (Instant::now(), None);
        (0..300).find(|&second| {
            let now = begun + Duration::from_secs(second);
            Least::took(&mut span, a_second, now);
            LEAST.waits(&mut span, now).is_none()
        })
    }

    #[test]
    fn who_takes_too_little_is_cut_off() {
        assert_eq!((cut(0), cut(90)), (Some(10), Some(10)));
        assert_eq!(cut(120), None, "slow, and not too slow");
    }

    #[test]
    fn a_pause_between_answers_is_nobodys_slowness() {
        let (begun, mut span) = (Instant::now(), None);
        for second in [0, 60, 120] {
            let now = begun + Duration::from_secs(second);
            Least::took(&mut span, 100, now);
            assert!(LEAST.waits(&mut span, now).is_some(), "{second}");
            Least::took(&mut span, 100, now + Duration::from_secs(1));
        }
    }

    #[tokio::test]
    async fn what_nobody_takes_ends_with_an_error() {
        let least = Least { bytes: 1, within: Duration::from_millis(20) };
        let (server, _client) = duplex(64);
        let written = Taking::new(server, Some(least)).write_all(&[7; 100]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
