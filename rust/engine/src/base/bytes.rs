//! Numbers out of bytes, little-endian, and bytes as text.

pub(crate) use crate::store::bytes::{u16_at, u32_at, u64_at};

/// Bytes as lower-case hexadecimal text.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |digit: u8| char::from(b"0123456789abcdef"[usize::from(digit)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes that such a text stands for, in lower or upper case.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_bytes_only_if_all_of_it_is_pairs_of_digits() {
        assert_eq!(unhex(&hex(&[0, 15, 255])), Some(vec![0, 15, 255]));
        assert_eq!(unhex("0aFF"), Some(vec![10, 255]));
        for wrong in ["0", "0g", "+f", "-1", " 1", "0f0", "é"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
