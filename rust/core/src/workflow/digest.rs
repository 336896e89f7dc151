//! The digests that `States.Hash` and `$hash` know.

use std::fmt::Write as _;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A text's digest as hexadecimal digits; `None` if there is no such algorithm. The names' case counts.
pub(super) fn hex(text: &str, algorithm: &str) -> Option<String> {
    Some(match algorithm {
        "MD5" => digits(&Md5::digest(text)),
        "SHA-1" => digits(&Sha1::digest(text)),
        "SHA-256" => digits(&Sha256::digest(text)),
        "SHA-384" => digits(&Sha384::digest(text)),
        "SHA-512" => digits(&Sha512::digest(text)),
        _ => return None,
    })
}

/// Bytes as hexadecimal digits.
pub(super) fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of "abc", from RFC 1321 and FIPS 180-4.
    #[test]
    fn each_algorithm_gives_its_digest() {
        for (algorithm, digest) in [
            ("MD5", "900150983cd24fb0d6963f7d28e17f72"),
            ("SHA-1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("SHA-256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "SHA-384",
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            ),
            (
                "SHA-512",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
        ] {
            assert_eq!(hex("abc", algorithm).as_deref(), Some(digest), "{algorithm}");
        }
        assert_eq!(hex("abc", "sha-256"), None);
    }
}
