//! What an environment writes to its standard output and error: passed on line by line, with function and request id. A line that is
//! a JSON object is passed on as it is: it is a log line that names its request itself, and whoever collects it reads JSON.
//!
//! The handler is never held up by what it writes: beyond a bound its output is read and left out.

use std::io::{Read, Write};

use serde::de::IgnoredAny;

use crate::base::ids::uuid_text;
use crate::base::one_line;
use crate::environments::tails::Tails;

/// Most bytes passed on for one invocation, the names before the lines among them.
const BYTES_MAX: usize = 1 << 20;
/// A line that is longer is passed on in pieces.
const LINE_MAX: usize = 16 << 10;
/// Bytes read at once.
const READ: usize = 64 << 10;

/// One of the two outputs of an environment.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The line that has not ended yet.
    open: Vec<u8>,
    passed: usize,
    left_out: usize,
    /// Nobody has it open any more.
    pub(crate) ended: bool,
}

impl Output {
    /// Read once and pass on the lines that are whole.
    pub(crate) fn read(&mut self, from: &mut impl Read, who: &Speaker<'_>, to: &mut impl Write) {
        let mut buffer = vec![0u8; READ];
        match from.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(read) => self.take(&buffer[..read], who, to),
            Err(error) => self.ended = error.kind() != std::io::ErrorKind::Interrupted,
        }
    }

    fn take(&mut self, bytes: &[u8], who: &Speaker<'_>, to: &mut impl Write) {
        who.keep(bytes);
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            if self.passed >= BYTES_MAX {
                self.left_out += piece.len();
                continue;
            }
            self.open.extend_from_slice(piece);
            if self.open.ends_with(b"\n") || self.open.len() >= LINE_MAX {
                let before = lines.len();
                who.line(&self.open, &mut lines);
                self.passed += lines.len() - before;
                self.open.clear();
            }
        }
        // Whoever reads the runtime's output may have gone; the handler is not to suffer for it.
        let _unread = to.write_all(&lines);
    }

    /// The invocation has ended: pass on what is left of it, and allow the next one as much.
    pub(crate) fn close(&mut self, who: &Speaker<'_>, to: &mut impl Write) {
        if self.open.is_empty() && self.left_out == 0 {
            self.passed = 0;
            return;
        }
        let mut lines = Vec::new();
        if !self.open.is_empty() {
            who.line(&self.open, &mut lines);
            who.keep(b"\n");
        }
        if self.left_out > 0 {
            let text = format!("(forebay: {} more bytes of output left out)", self.left_out);
            who.line(text.as_bytes(), &mut lines);
        }
        *self = Self { ended: self.ended, ..Self::default() };
        let _unread = to.write_all(&lines);
    }
}

/// Whose lines they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speaker<'a> {
    pub(crate) function: &'a str,
    /// `None` before the first and between invocations.
    pub(crate) request: Option<u128>,
    /// Where the lines go, too, that somebody wants with their invocation.
    pub(crate) tails: Option<&'a Tails>,
}

impl Speaker<'_> {
    /// Keep what was written for whoever wants the last of it.
    fn keep(&self, bytes: &[u8]) {
        if let (Some(tails), Some(request)) = (self.tails, self.request) {
            tails.add(request, bytes);
        }
    }

    fn line(&self, line: &[u8], lines: &mut Vec<u8>) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if is_json_object(line) {
            lines.extend_from_slice(line);
        } else {
            lines.extend_from_slice(self.function.as_bytes());
            lines.push(b' ');
            match self.request {
                Some(request) => lines.extend_from_slice(uuid_text(request).as_bytes()),
                None => lines.push(b'-'),
            }
            lines.push(b' ');
            one_line::escape(line, lines);
        }
        lines.push(b'\n');
    }

    /// Pass on whole lines of the engine's own.
    pub(crate) fn say(&self, text: &str, to: &mut impl Write) {
        let mut lines = Vec::new();
        text.lines().for_each(|line| self.line(line.as_bytes(), &mut lines));
        let _unread = to.write_all(&lines);
    }
}

fn is_json_object(line: &[u8]) -> bool {
    line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Speaker<'static> = Speaker { function: "f", request: None, tails: None };

    #[test]
    fn lines_are_passed_on_whole_and_named() {
        let (mut output, mut to) = (Output::default(), Vec::new());
        output.take(b"one\ntw", &WHO, &mut to);
        assert_eq!(to, b"f - one\n");
        output.take(b"o\n", &WHO, &mut to);
        output.take(b"no end", &WHO, &mut to);
        let who = Speaker { request: Some(1), ..WHO };
        output.close(&who, &mut to);
        assert_eq!(to, b"f - one\nf - two\nf 00000000-0000-0000-0000-000000000001 no end\n");
    }

    #[test]
    fn what_an_invocation_writes_is_kept_for_whoever_wants_it_without_names_and_bounds() {
        let tails = std::sync::Arc::<Tails>::default();
        let tail = tails.of(1);
        let who = Speaker { function: "f", request: Some(1), tails: Some(&tails) };
        let (mut output, mut to) = (Output::default(), Vec::new());
        output.take(&vec![b'\n'; BYTES_MAX], &who, &mut to);
        output.take(b"one\ntwo", &who, &mut to);
        output.take(b"next", &WHO, &mut to);
        output.close(&who, &mut to);
        assert!(tail.written().text.ends_with(b"\none\ntwo"));
        output.take(b"more", &who, &mut to);
        output.close(&who, &mut to);
        assert!(tail.written().text.ends_with(b"\none\ntwomore\n"));
    }

    /// A payload that a handler prints could go back to the line's beginning, and stand there as another function's line.
    #[test]
    fn what_a_handler_prints_stays_behind_its_name() {
        let (mut output, mut to) = (Output::default(), Vec::new());
        output.take(b"paid\rbank - paid twice\x1b[1A\r\n", &WHO, &mut to);
        assert_eq!(String::from_utf8(to).unwrap(), "f - paid\\rbank - paid twice\\x1b[1A\\r\n");
    }

    /// The name before a handler's JSON log line made it unreadable for whoever collects the log.
    #[test]
    fn a_json_object_is_passed_on_as_it_is() {
        let (mut output, mut to) = (Output::default(), Vec::new());
        output.take(b"{\"level\":\"INFO\"}\n{not json}\n[1]\n", &WHO, &mut to);
        assert_eq!(to, b"{\"level\":\"INFO\"}\nf - {not json}\nf - [1]\n");
    }

    /// A mebibyte of empty lines came out as forty: only what the handler wrote was counted, not the name before each line.
    #[test]
    fn empty_lines_count_with_their_names() {
        let (mut output, mut to) = (Output::default(), Vec::new());
        for _ in 0..20 {
            output.take(&[b'\n'; 10_000], &WHO, &mut to);
        }
        output.take(&[b'\n'; 10_000].repeat(60), &WHO, &mut to);
        output.close(&WHO, &mut to);
        assert!((BYTES_MAX..BYTES_MAX + 200).contains(&to.len()), "{}", to.len());
    }

    #[test]
    fn a_flood_is_cut_and_said_to_be() {
        let (mut output, mut to) = (Output::default(), Vec::new());
        let flood = vec![b'x'; 100_000];
        for _ in 0..100 {
            output.take(&flood, &WHO, &mut to);
        }
        assert!(to.len() < BYTES_MAX + 200_000, "{}", to.len());
        assert!(output.open.len() <= LINE_MAX + flood.len());
        output.close(&WHO, &mut to);
        let text = String::from_utf8(to.split_off(to.len() - 70)).unwrap();
        assert!(text.ends_with("more bytes of output left out)\n"), "{text}");
        output.take(b"next\n", &WHO, &mut to);
        assert!(to.ends_with(b"f - next\n"), "the next invocation may write again");
    }
}
