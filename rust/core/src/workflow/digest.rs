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
