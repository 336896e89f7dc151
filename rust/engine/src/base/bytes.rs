//! Numbers out of bytes, little-endian, and bytes as text.

pub(crate) use crate::store::bytes::{u16_at, u32_at, u64_at};

/// Bytes as lower-case hexadecimal text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _never_fails = write!(text, "{byte:02x}");
        text
    })
}
