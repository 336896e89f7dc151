//! Where the body of a request ends, by its length or by its chunks. hyper reads the same bytes and refuses what is no body.

/// The rest of a body.
#[derive(Debug)]
pub(crate) struct Framing(State);

/// A body that is not framed as it should be.
#[derive(Debug)]
pub(crate) struct Broken;

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes, and the body has ended.
    Bytes(u64),
    /// The size of a chunk, as far as it has come.
    Size(u64),
    /// What stands behind the size of a chunk.
    Extension(u64),
    /// The line feed behind it.
    SizeFeed(u64),
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The end of a chunk's line.
    ChunkReturn,
    ChunkFeed,
    /// The beginning of a line behind the last chunk, the inside of one, and its line feed.
    Trailer,
    TrailerLine,
    TrailerFeed,
    /// The last line feed.
    LastFeed,
}

impl Default for Framing {
    fn default() -> Self {
        Self::of_length(0)
    }
}

impl Framing {
    pub(crate) fn of_length(bytes: u64) -> Self {
        Self(State::Bytes(bytes))
    }

    pub(crate) fn chunked() -> Self {
        Self(State::Size(0))
    }

    /// Take what has come; what stands behind the body, if it has ended.
    pub(crate) fn skip<'a>(&mut self, mut bytes: &'a [u8]) -> Result<Option<&'a [u8]>, Broken> {
        loop {
            if let State::Bytes(left) | State::Chunk(left) = &mut self.0 {
                let skipped = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= skipped as u64;
                let is_over = *left == 0;
                bytes = &bytes[skipped..];
                match self.0 {
                    State::Bytes(_) if is_over => return Ok(Some(bytes)),
                    State::Chunk(_) if is_over => self.0 = State::ChunkReturn,
                    _ => return Ok(None),
                }
            }
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(None) };
            bytes = rest;
            self.0 = match (self.0, byte) {
                (State::Size(size) | State::Extension(size), b'\r') => State::SizeFeed(size),
                (State::Size(size), b' ' | b'\t' | b';') => State::Extension(size),
                (State::Size(size), digit) => {
                    let digit = char::from(digit).to_digit(16).ok_or(Broken)?;
                    State::Size(size.checked_mul(16).and_then(|size| size.checked_add(digit.into())).ok_or(Broken)?)
                }
                (State::Extension(size), byte) if byte != b'\n' => State::Extension(size),
                (State::SizeFeed(0) | State::TrailerFeed, b'\n') => State::Trailer,
                (State::SizeFeed(size), b'\n') => State::Chunk(size),
                (State::ChunkReturn, b'\r') => State::ChunkFeed,
                (State::ChunkFeed, b'\n') => State::Size(0),
                (State::Trailer, b'\r') => State::LastFeed,
                (State::TrailerLine, b'\r') => State::TrailerFeed,
                (State::Trailer | State::TrailerLine, _) => State::TrailerLine,
                (State::LastFeed, b'\n') => return Ok(Some(bytes)),
                _ => return Err(Broken),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_where_it_says() {
        let chunks = b"4;a=\"b\"\r\n\r\n0\r\r\nA\r\n0123456789\r\n0\r\nx: 0\r\n\r\nrest";
        let behind = |mut framing: Framing, bytes: &[u8], step: usize| {
            let mut found: Option<Vec<u8>> = None;
            for piece in bytes.chunks(step) {
                match &mut found {
                    Some(found) => found.extend_from_slice(piece),
                    None => found = framing.skip(piece).unwrap().map(<[u8]>::to_vec),
                }
            }
            found
        };
        for step in 1..=chunks.len() {
            assert_eq!(behind(Framing::chunked(), chunks, step).as_deref(), Some(&b"rest"[..]), "{step}");
            assert_eq!(behind(Framing::of_length(3), b"abcdef", step).as_deref(), Some(&b"def"[..]), "{step}");
        }
        assert_eq!(behind(Framing::of_length(0), b"x", 1).as_deref(), Some(&b"x"[..]));
        assert_eq!(behind(Framing::of_length(9), b"x", 1), None);
        assert_eq!(behind(Framing::chunked(), b"0\r\n", 1), None);
    }

    #[test]
    fn what_is_no_chunk_is_told() {
        for text in ["x\r\n", "1\na", "1;a\nb\r\n", "1\r\nab", "1\r\na\n0\r\n", "11111111111111111\r\n", "0\r\n\rx"] {
            assert!(Framing::chunked().skip(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
