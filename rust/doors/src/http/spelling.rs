//! How the names of headers were spelled: hyper gives them in small letters, and REST APIs hand them on as they were sent.
//!
//! What comes over a connection is kept beside hyper until the head in it is asked for. The head that is found must be the one that
//! hyper has read, name for name; where it is not, there is no spelling, and nothing else changes.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::header::TRANSFER_ENCODING;
use hyper::http::request::Parts;
use hyper::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are kept: a head, and as much again of the body before it.
const KEPT_MAX: usize = 32 * 1024;
const HTTP2: &[u8] = b"PRI * HTTP/2";

/// What has come over a connection since its last head; `None` when nobody listens any more.
#[derive(Clone, Debug)]
pub(crate) struct Heard(Arc<Mutex<Option<Vec<u8>>>>);

impl Default for Heard {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        // The bytes are whole after every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hear(&self, bytes: &[u8]) {
        let mut heard = self.lock();
        let Some(kept) = heard.as_mut() else { return };
        kept.extend_from_slice(bytes);
        if kept.starts_with(HTTP2) {
            *heard = None;
        } else if kept.len() > 2 * KEPT_MAX {
            kept.drain(..kept.len() - KEPT_MAX);
        }
    }

    /// Listen no more: what follows is not HTTP/1.
    pub(crate) fn stop(&self) {
        *self.lock() = None;
    }

    /// The header lines of this request, as they came; what came before them is forgotten.
    pub(crate) fn lines(&self, parts: &Parts) -> Option<Vec<u8>> {
        if parts.version == Version::HTTP_2 {
            return None;
        }
        let mut heard = self.lock();
        let kept = heard.as_ref()?;
        let first = first_line(parts);
        let found = starts(kept, &first).find_map(|start| match written(kept, start + first.len()) {
            Written::Lines(lines, end) => Some((lines, end)),
            Written::InPart | Written::Otherwise => None,
        });
        let kept = heard.as_mut()?;
        let Some((lines, end)) = found else {
            kept.clear();
            return None;
        };
        let head = kept[lines..end].to_vec();
        kept.drain(..(end + 2).min(kept.len()));
        Some(head)
    }

    /// The same, of a head that everybody reads as hyper does; the error says why there may be another reading. `None`: nobody listens.
    pub(crate) fn head(&self, parts: &Parts) -> Result<Option<Vec<u8>>, &'static str> {
        if parts.version == Version::HTTP_2 || self.lock().is_none() {
            return Ok(None);
        }
        // hyper goes by the chunks and hides the length.
        if parts.headers.contains_key(TRANSFER_ENCODING) && self.may_be_framed_twice(parts) {
            return Err("a body has a length or is chunked");
        }
        let lines = self.lines(parts).filter(|lines| !has_bare_feed(lines));
        lines.map(Some).ok_or("the lines of a head end with CR and LF, and a path has no fragment")
    }

    /// Whether a head with this first line says twice how its body ends. What is written like it in a body counts, too: which of them
    /// is the head, nobody has said.
    fn may_be_framed_twice(&self, parts: &Parts) -> bool {
        let heard = self.lock();
        let Some(kept) = heard.as_ref() else { return false };
        let first = first_line(parts);
        let found = starts(kept, &first).any(|start| match written(kept, start + first.len()) {
            Written::Lines(lines, end) => is_framed_twice(&kept[lines..end]),
            Written::InPart => false,
            Written::Otherwise => true,
        });
        found
    }
}

/// A request's first line, up to the last digit of its version.
fn first_line(parts: &Parts) -> Vec<u8> {
    format!("{} {} HTTP/1.", parts.method, parts.uri).into_bytes()
}

/// Where a first line begins.
fn starts<'a>(kept: &'a [u8], first: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    kept.windows(first.len()).enumerate().filter(move |(_, window)| *window == first).map(|(at, _)| at)
}

/// What stands behind a first line.
enum Written {
    /// Header lines, from here to there.
    Lines(usize, usize),
    /// Some of them.
    InPart,
    /// Something that is none.
    Otherwise,
}

/// What stands behind a first line whose version's last digit is here.
fn written(kept: &[u8], digit: usize) -> Written {
    let lines = digit + 3;
    match kept.get(digit + 1..lines) {
        Some(b"\r\n") => {}
        Some(_) => return Written::Otherwise,
        None => return Written::InPart,
    }
    match position(&kept[lines - 2..], b"\r\n\r\n") {
        Some(at) => Written::Lines(lines, lines + at),
        None => Written::InPart,
    }
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
        let lines = heard.lines(parts).unwrap_or_default();
        names(&lines, parts).into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn each_head_of_a_connection_is_found_behind_the_body_before_it() {
        let heard = Heard::default();
        heard.hear(b"POST /a?b=%2F HTTP/1.1\r\nHost: x\r\ntEsT-HEADeR: 1\r\ntest-header: 2\r\n\r\nbody POST /c");
        let first = parts("/a?b=%2F", &[("host", "x"), ("test-header", "1"), ("test-header", "2")]);
        assert_eq!(spelled(&heard, &first), ["Host", "tEsT-HEADeR"]);
        heard.hear(b" more bodyPOST /c HTTP/1.1\r\nX-A: 1\r\n\r\n");
        assert_eq!(spelled(&heard, &parts("/c", &[("x-a", "1")])), ["X-A"]);
        assert_eq!(heard.lock().as_deref(), Some(&b""[..]));
    }

    #[test]
    fn a_head_in_a_body_is_not_taken_for_one_that_it_is_not() {
        let heard = Heard::default();
        heard.hear(b"POST / HTTP/1.1\r\nX-Other: 1\r\n\r\n");
        assert!(spelled(&heard, &parts("/", &[("x-a", "1")])).is_empty());
        heard.hear(b"nothing that is known");
        assert!(spelled(&heard, &parts("/", &[("x-a", "1")])).is_empty());
        assert_eq!(heard.lock().as_deref(), Some(&b""[..]), "it begins anew");
    }

    #[test]
    fn a_head_that_may_be_read_otherwise_is_told() {
        let chunked = [("transfer-encoding", "chunked")];
        let whole = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        let twice = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n";
        for (heard, is_good) in [
            (whole.to_vec(), true),
            ([&b"POST /a HTTP/1.1, said a body"[..9], whole].concat(), true),
            ([whole, &b"POST /a HTTP/1.1\r\ntransfer-"[..]].concat(), true),
            (twice.to_vec(), false),
            ([whole, &twice[..]].concat(), false),
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

    #[test]
    fn what_is_kept_has_a_bound_and_an_end() {
        let heard = Heard::default();
        for _ in 0..100 {
            heard.hear(&[b'x'; 4096]);
        }
        assert!(heard.lock().as_ref().unwrap().len() <= 2 * KEPT_MAX);
        heard.stop();
        heard.hear(b"more");
        assert!(heard.lock().is_none());
        let other = Heard::default();
        other.hear(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert!(other.lock().is_none());
    }
}
