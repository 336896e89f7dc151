//! A walk over a JSON text, byte by byte, without making anything of it.
//!
//! `serde_json` says whether a text is JSON. What stands here takes that as given: of another text it says something or
//! nothing, and never panics.

use super::names;
use super::node::kind;

/// Go on to the first quote or backslash, eight bytes at a time as far as there are as many.
fn before_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*eight);
        let ends = found(word, b'"') | found(word, b'\\');
        if ends != 0 {
            return at + (ends.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at
}

/// The highest bit of each byte that is this one. Only the first of them is sure.
fn found(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let differs = word ^ ONES.wrapping_mul(u64::from(byte));
    differs.wrapping_sub(ONES) & !differs & ONES << 7
}

/// A place in a text.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }

    /// The next byte that is not white space; 0 at the end.
    pub(super) fn peek(&mut self) -> u8 {
        while let Some(&byte) = self.bytes.get(self.at) {
            if byte > b' ' {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    /// Go over one byte, which was peeked.
    pub(super) fn pass(&mut self) {
        self.at += 1;
    }

    /// Whether another element or field follows; goes over the comma or the closing bracket.
    pub(super) fn goes_on(&mut self, close: u8) -> Option<bool> {
        match self.peek() {
            b',' => self.at += 1,
            byte if byte == close => {
                self.at += 1;
                return Some(false);
            }
            _ => return None,
        }
        Some(true)
    }

    /// What stands between the quotes of a string, escapes as they are.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let from = self.at + 1;
        let mut at = from;
        loop {
            at = before_end(self.bytes, at);
            match *self.bytes.get(at)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        self.bytes.get(from..at)
    }

    /// The key of a field, and over its colon.
    pub(super) fn key(&mut self) -> Option<&'a [u8]> {
        if self.peek() != b'"' {
            return None;
        }
        let key = self.string()?;
        (self.peek() == b':').then(|| self.at += 1)?;
        Some(key)
    }

    /// The kind of a string, a number, `true`, `false` or `null`, and over it.
    pub(super) fn leaf(&mut self) -> Option<u16> {
        match self.peek() {
            b'"' => {
                let text = self.string()?;
                Some(if names::is_date_time(text) { kind::DATE_TIME } else { kind::TEXT })
            }
            b'n' => Some(self.word(4, kind::NULL)),
            b't' => Some(self.word(4, kind::BOOLEAN)),
            b'f' => Some(self.word(5, kind::BOOLEAN)),
            b'-' | b'0'..=b'9' => Some(self.number()),
            _ => None,
        }
    }

    fn word(&mut self, length: usize, kind: u16) -> u16 {
        self.at += length;
        kind
    }

    /// Whole numbers of 64 bits are integers; what has a point, an exponent or more digits is none.
    fn number(&mut self) -> u16 {
        let from = self.at;
        let mut is_whole = true;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'0'..=b'9' | b'-' => {}
                b'.' | b'e' | b'E' | b'+' => is_whole = false,
                _ => break,
            }
            self.at += 1;
        }
        let digits = &self.bytes[from..self.at];
        let fits = || digits.len() < 19 || std::str::from_utf8(digits).is_ok_and(|text| text.parse::<i64>().is_ok());
        if is_whole && fits() {
            kind::INTEGER
        } else {
            kind::NUMBER
        }
    }

    /// Over a value of any depth.
    pub(super) fn skip(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                _ => drop(self.leaf()?),
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are like a quote or a backslash but for one bit, alone and behind one.
    #[test]
    fn the_first_quote_or_backslash_is_found_wherever_it_stands() {
        for other in [b'a', b' ', b'!', b'#', b']', b'T', 0, 1, 0x80, 0xa2, 0xdc, 0xff] {
            for end in [b'"', b'\\'] {
                for (from, at) in (0..8).flat_map(|from| (from..from + 16).map(move |at| (from, at))) {
                    let mut bytes = vec![other; 24];
                    bytes[..from].fill(b'"');
                    bytes[at] = end;
                    assert_eq!(before_end(&bytes, from), at, "{end} among {other} from {from}");
                    bytes[at..].fill(end);
                    assert_eq!(before_end(&bytes, from), at, "{end} behind {other} from {from}");
                }
            }
            assert_eq!(before_end(&[other; 24], 1), 17, "fewer than eight are left");
        }
    }
}
