//! Writes JSON text piece by piece: an event is built once and never as a tree.

/// JSON that is being written.
#[derive(Debug, Default)]
pub(crate) struct Json {
    bytes: Vec<u8>,
}

impl Json {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// Text that is JSON already.
    pub(crate) fn raw(&mut self, json: &str) -> &mut Self {
        self.bytes.extend_from_slice(json.as_bytes());
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.raw(&number.to_string())
    }

    pub(crate) fn string(&mut self, text: &str) -> &mut Self {
        self.bytes.push(b'"');
        self.inside(text);
        self.bytes.push(b'"');
        self
    }

    /// Characters of a string, without its quotes.
    pub(crate) fn inside(&mut self, text: &str) -> &mut Self {
        let mut rest = text.as_bytes();
        while let Some(at) = first_escaped(rest) {
            let byte = rest[at];
            let escape = match byte {
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0..=0x1f => b'u',
                other => other,
            };
            self.bytes.extend_from_slice(&rest[..at]);
            self.bytes.extend_from_slice(&[b'\\', escape]);
            if escape == b'u' {
                self.raw(&format!("{byte:04x}"));
            }
            rest = &rest[at + 1..];
        }
        self.bytes.extend_from_slice(rest);
        self
    }

    /// A string, or null.
    pub(crate) fn optional(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.string(text),
            None => self.raw("null"),
        }
    }

    /// An object of strings.
    pub(crate) fn pairs<'a>(&mut self, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> &mut Self {
        self.raw("{");
        for (at, (name, value)) in pairs.enumerate() {
            self.raw(if at > 0 { "," } else { "" }).string(name).raw(":").string(value);
        }
        self.raw("}")
    }

    /// A list of strings.
    pub(crate) fn list<'a>(&mut self, texts: impl Iterator<Item = &'a str>) -> &mut Self {
        self.raw("[");
        for (at, text) in texts.enumerate() {
            self.raw(if at > 0 { "," } else { "" }).string(text);
        }
        self.raw("]")
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.bytes
    }
}

/// Where the first byte stands that JSON writes in another way.
fn first_escaped(bytes: &[u8]) -> Option<usize> {
    const AT_ONCE: usize = 16;
    let is_escaped = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    // Without a branch for each byte: most texts have none, and a token is long.
    let is_plain = |chunk: &&[u8]| !chunk.iter().fold(false, |found, byte| found | is_escaped(byte));
    let plain: usize = bytes.chunks_exact(AT_ONCE).take_while(is_plain).map(<[u8]>::len).sum();
    bytes[plain..].iter().position(is_escaped).map(|at| plain + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_reads_back(text in ".{0,40}|[\\x00-\\x7f]{0,40}") {
            let mut json = Json::default();
            json.string(&text);
            let read: String = serde_json::from_slice(&json.done()).unwrap();
            proptest::prop_assert_eq!(read, text);
        }
    }
}
