//! Secrets, held against what somebody has given for one.

/// Whether two secrets are the same, in a time that does not tell where they differ. Their length is no secret.
pub fn is_same(known: &[u8], given: &[u8]) -> bool {
    known.len() == given.len() && known.iter().zip(given).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn only_the_whole_secret_is_the_same() {
        assert!(is_same(b"word", b"word") && is_same(b"", b""));
        for given in ["", "wor", "words", "Word", "worD", "drow"] {
            assert!(!is_same(b"word", given.as_bytes()), "{given}");
        }
    }
}
