//! How the names of headers were spelled: hyper gives them in small letters, and REST APIs hand them on as they were sent.
//!
//! What comes over a connection is kept beside hyper until the head in it is asked for. From then on nothing is kept until the body of
//! that head has ended: a head begins where the body before it has ended, and nowhere else.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Uri, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::framing::Framing;

/// Most bytes that are kept: more than hyper reads of a head and of what stands behind it.
const KEPT_MAX: usize = 64 * 1024;
const HTTP2: &[u8] = b"PRI * HTTP/2";

/// What comes over a connection.
#[derive(Debug)]
enum Hearing {
    /// Heads: what has come since the last body has ended.
    Head(Vec<u8>),
    /// A body that nobody keeps.
    Body(Framing),
    /// Nobody knows any more where a head begins.
    Lost,
    /// Nobody listens any more.
    Stopped,
}

/// What is heard of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Heard(Arc<Mutex<Hearing>>);

impl Default for Heard {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Hearing::Head(Vec::new()))))
    }
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Hearing> {
        // It is whole after every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hear(&self, bytes: &[u8]) {
        let mut hearing = self.lock();
        let hearing = &mut *hearing;
        match hearing {
            Hearing::Head(kept) => {
                kept.extend_from_slice(bytes);
                if kept.starts_with(HTTP2) {
                    *hearing = Hearing::Stopped;
                } else if kept.len() > KEPT_MAX {
                    *hearing = Hearing::Lost;
                }
            }
            Hearing::Body(framing) => {
                let framing = std::mem::take(framing);
                *hearing = behind(framing, bytes);
            }
            Hearing::Lost | Hearing::Stopped => {}
        }
    }

    /// Listen no more: what follows is not HTTP/1.
    pub(crate) fn stop(&self) {
        *self.lock() = Hearing::Stopped;
    }

    /// The header lines of this request, which hyper has read just now, as they came. The error says why others may read them otherwise.
    /// `None`: nobody listens.
    pub(crate) fn head(&self, parts: &Parts) -> Result<Option<Vec<u8>>, &'static str> {
        const NO_HEAD: &str = "the lines of a head end with CR and LF, and a path has no fragment";
        if parts.version == Version::HTTP_2 {
            return Ok(None);
        }
        let mut hearing = self.lock();
        let mut kept = match std::mem::replace(&mut *hearing, Hearing::Lost) {
            Hearing::Head(kept) => kept,
            Hearing::Stopped => {
                *hearing = Hearing::Stopped;
                return Ok(None);
            }
            Hearing::Body(_) | Hearing::Lost => return Err(NO_HEAD),
        };
        let (lines, end) = lines(&kept, parts).ok_or(NO_HEAD)?;
        let rest = kept.split_off(end);
        let lines = kept[lines..end - 2].to_vec();
        if has_bare_feed(&lines) {
            return Err(NO_HEAD);
        }
        // hyper goes by the chunks and hides the length.
        if is_framed_twice(&lines) {
            return Err("a body has a length or is chunked");
        }
        let framing = if parts.headers.contains_key(TRANSFER_ENCODING) {
            Framing::chunked()
        } else {
            let length = parts.headers.get(CONTENT_LENGTH).map(|value| value.to_str().ok()?.trim().parse().ok());
            Framing::of_length(length.unwrap_or(Some(0)).ok_or("the length of a body is a number")?)
        };
        *hearing = behind(framing, &rest);
        Ok(Some(lines))
    }
}

/// What is heard next, when these bytes of a body and of what follows it have come.
fn behind(mut framing: Framing, bytes: &[u8]) -> Hearing {
    match framing.skip(bytes) {
        Ok(Some(rest)) => Hearing::Head(rest.to_vec()),
        Ok(None) => Hearing::Body(framing),
        Err(_) => Hearing::Lost,
    }
}

/// Where the header lines of this request begin, and where its head ends, if these bytes begin with it.
fn lines(kept: &[u8], parts: &Parts) -> Option<(usize, usize)> {
    // Empty lines before a head are nobody's.
    let start = kept.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let first = format!("{} {} HTTP/1.", parts.method, parts.uri);
    let version = kept[start..].strip_prefix(first.as_bytes()).or_else(|| written_otherwise(&kept[start..], parts))?;
    let behind = version.get(1..).filter(|behind| behind.starts_with(b"\r\n"))?;
    let lines = kept.len() - behind.len() + 2;
    Some((lines, lines + position(&kept[lines - 2..], b"\r\n\r\n")? + 2))
}

/// What stands behind `HTTP/1.`, where the request's line names the same as `parts`, written otherwise: a URI without a path has the root's, and
/// its scheme may stand in large letters.
fn written_otherwise<'a>(kept: &'a [u8], parts: &Parts) -> Option<&'a [u8]> {
    let target = kept.strip_prefix(parts.method.as_str().as_bytes())?.strip_prefix(b" ")?;
    let length = target.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n'))?;
    let (target, behind) = target.split_at(length);
    let is_same = !target.contains(&b'#') && Uri::try_from(target).is_ok_and(|uri| uri == parts.uri);
    behind.strip_prefix(b" HTTP/1.").filter(|_| is_same)
}

/// Whether a line ends otherwise than with CR and LF.
fn has_bare_feed(lines: &[u8]) -> bool {
    lines.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || lines[at - 1] != b'\r'))
}

/// The names of a head's lines, each in small letters and as it was spelled first; empty if the lines are another head's.
pub(crate) fn names(lines: &[u8], parts: &Parts) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut count = 0;
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let Ok(name) = std::str::from_utf8(&line[..at]) else { return Vec::new() };
        let lower = name.to_ascii_lowercase();
        if !parts.headers.contains_key(&lower) {
            return Vec::new();
        }
        count += 1;
        if !found.iter().any(|(known, _)| *known == lower) {
            found.push((lower, name.to_owned()));
        }
    }
    if count == parts.headers.len() {
        found
    } else {
        Vec::new()
    }
}

/// Whether a head says twice how its body ends.
fn is_framed_twice(lines: &[u8]) -> bool {
    let has = |wanted: &[u8]| {
        lines.split(|byte| *byte == b'\n').any(|line| {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            name.len() < line.len() && name.eq_ignore_ascii_case(wanted)
        })
    };
    has(b"content-length") && has(b"transfer-encoding")
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// A stream that lets somebody hear what is read from it.
#[derive(Debug)]
pub(crate) struct Listened<S> {
    stream: S,
    heard: Heard,
}

impl<S> Listened<S> {
    pub(crate) fn new(stream: S, heard: Heard) -> Self {
        Self { stream, heard }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let new = &buffer.filled()[before..];
        if !new.is_empty() {
            self.heard.hear(new);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listened<S> {
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
    use hyper::Request;

    use super::*;

    fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut builder = Request::builder().method("POST").uri(target);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn spelled(heard: &Heard, parts: &Parts) -> Vec<String> {
        let lines = heard.head(parts).ok().flatten().unwrap_or_default();
        names(&lines, parts).into_iter().map(|(_, name)| name).collect()
    }

    fn kept(heard: &Heard) -> Option<Vec<u8>> {
        match &*heard.lock() {
            Hearing::Head(kept) => Some(kept.clone()),
            _ => None,
        }
    }

    #[test]
    fn each_head_of_a_connection_is_found_behind_the_body_before_it() {
        let heard = Heard::default();
        let body = "body POST /c HTTP/1.1";
        heard.hear(
            b"POST /a?b=%2F HTTP/1.1\r\nHost: x\r\ntEsT-HEADeR: 1\r\ntest-header: 2\r\nContent-Length: 21\r\n\r\n",
        );
        heard.hear(&body.as_bytes()[..10]);
        let first = [("host", "x"), ("test-header", "1"), ("test-header", "2"), ("content-length", "21")];
        assert_eq!(spelled(&heard, &parts("/a?b=%2F", &first)), ["Host", "tEsT-HEADeR", "Content-Length"]);
        assert_eq!(kept(&heard), None, "nothing is kept of a body");
        heard.hear(&body.as_bytes()[10..]);
        assert_eq!(kept(&heard).map(|kept| kept.capacity()), Some(0), "nothing is kept of a connection that rests");
        heard.hear(b"\r\nPOST /c HTTP/1.1\r\nX-A: 1\r\n\r\nPOST /d");
        assert_eq!(spelled(&heard, &parts("/c", &[("x-a", "1")])), ["X-A"]);
        assert_eq!(kept(&heard).as_deref(), Some(&b"POST /d"[..]));
    }

    #[test]
    fn a_head_behind_chunks_is_found() {
        let chunked = [("transfer-encoding", "chunked")];
        let whole = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n0\r\n\r\n0\r\nX-A: 1\r\n\r\nPOST /b HTTP/1.1\r\nX-B: 1\r\n\r\n";
        for step in [1, 7, whole.len()] {
            let heard = Heard::default();
            let head = whole.len() - 40;
            whole[..head].chunks(step).for_each(|piece| heard.hear(piece));
            assert_eq!(spelled(&heard, &parts("/a", &chunked)), ["Transfer-Encoding"]);
            whole[head..].chunks(step).for_each(|piece| heard.hear(piece));
            assert_eq!(spelled(&heard, &parts("/b", &[("x-b", "1")])), ["X-B"]);
        }
    }

    /// It was looked for in all that had come: one in the body before it was taken for it, and was all that was looked at.
    #[test]
    fn a_head_is_not_looked_for_in_the_body_before_it() {
        let heard = Heard::default();
        let (good, bad) = ("POST /b HTTP/1.1\r\nx-a: 1\r\n\r\n", "POST /b HTTP/1.1\r\nx-a: 1\n\r\n");
        heard.hear(format!("POST /a HTTP/1.1\r\ncontent-length: {}\r\n\r\n{good}{bad}", good.len()).as_bytes());
        assert!(heard.head(&parts("/a", &[("content-length", &good.len().to_string())])).is_ok());
        assert!(heard.head(&parts("/b", &[("x-a", "1")])).is_err());
        assert!(heard.head(&parts("/b", &[("x-a", "1")])).is_err(), "what follows cannot be told either");
    }

    #[test]
    fn a_head_that_may_be_read_otherwise_is_told() {
        let chunked = [("transfer-encoding", "chunked")];
        let whole = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        let twice = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n";
        for (heard, is_good) in [
            (whole.to_vec(), true),
            ([&b"\r\n"[..], whole].concat(), true),
            ([whole, &b"1\r\nx"[..]].concat(), true),
            (twice.to_vec(), false),
            ([&b"POST /b"[..], whole].concat(), false),
            (b"POST /a HTTP/1.1\ntransfer-encoding: chunked\n\n".to_vec(), false),
            (b"POST /a HTTP/1.1\r\nx: y\ntransfer-encoding: chunked\r\n\r\n".to_vec(), false),
            (b"POST /a#b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(), false),
        ] {
            let connection = Heard::default();
            connection.hear(&heard);
            let told = connection.head(&parts("/a", &chunked));
            assert_eq!(told.is_ok_and(|lines| lines.is_some()), is_good, "{}", String::from_utf8_lossy(&heard));
        }
        let connection = Heard::default();
        connection.stop();
        assert_eq!(connection.head(&parts("/a", &chunked)), Ok(None));
    }

    /// They were refused as if a line had ended wrongly.
    #[test]
    fn a_whole_uri_may_be_written_without_a_path_and_in_large_letters() {
        for (sent, read, is_good) in [
            ("http://example.com:1", "http://example.com:1", true),
            ("http://example.com:1?z=1", "http://example.com:1?z=1", true),
            ("HTTP://EXAMPLE.COM:1/q", "http://example.com:1/q", true),
            ("http://other.example.com", "http://example.com:1", false),
            ("http://example.com:1/q", "http://example.com:1/Q", false),
            ("http://example.com:1#f", "http://example.com:1", false),
        ] {
            let heard = Heard::default();
            heard.hear(format!("POST {sent} HTTP/1.1\r\nx-a: 1\r\n\r\n").as_bytes());
            assert_eq!(heard.head(&parts(read, &[("x-a", "1")])).is_ok(), is_good, "{sent} {read}");
        }
    }

    #[test]
    fn what_is_kept_has_a_bound_and_an_end() {
        let heard = Heard::default();
        for _ in 0..100 {
            heard.hear(&[b'x'; 4096]);
        }
        assert!(kept(&heard).is_none() && heard.head(&parts("/", &[])).is_err());
        heard.stop();
        heard.hear(b"more");
        assert_eq!(heard.head(&parts("/", &[])), Ok(None));
        let other = Heard::default();
        other.hear(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert!(kept(&other).is_none());
    }
}
