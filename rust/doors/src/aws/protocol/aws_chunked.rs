//! Bodies that a client of S3 sends in pieces of its own, inside of HTTP's: each has its length in a line before it, and behind the last
//! one stand checksums.

use crate::aws::protocol::{text_of_bytes, Malformed};

/// Most digits of a length.
const DIGITS_MAX: usize = 8;
const LINE_END: &[u8] = b"\r\n";

/// Put a body together. `announced` is the length that the client gives it.
pub fn read(body: &[u8], announced: Option<&str>) -> Result<Vec<u8>, Malformed> {
    let (mut whole, mut rest) = (Vec::with_capacity(body.len()), body);
    loop {
        let line = line(&mut rest)?;
        let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
        let length = std::str::from_utf8(digits).ok().filter(|text| (1..=DIGITS_MAX).contains(&text.len()));
        let length = length.and_then(|text| usize::from_str_radix(text, 16).ok());
        let length = length.ok_or_else(|| Malformed::new("aws-chunked: a chunk begins with its length"))?;
        if length == 0 {
            break;
        }
        let cut = || Malformed::new("aws-chunked: a chunk has fewer bytes than it says");
        let (chunk, behind) = rest.split_at_checked(length).ok_or_else(cut)?;
        whole.extend_from_slice(chunk);
        rest = behind.strip_prefix(LINE_END).ok_or_else(cut)?;
    }
    while !rest.is_empty() {
        let line = line(&mut rest)?;
        let sum = line.strip_prefix(b"x-amz-checksum-crc32:");
        let own = text_of_bytes(&crc32fast::hash(&whole).to_be_bytes());
        if sum.is_some_and(|sum| sum.trim_ascii() != own.as_bytes()) {
            return Err(Malformed::new("aws-chunked: the checksum is not that of the body"));
        }
    }
    if announced.is_some_and(|announced| announced.parse() != Ok(whole.len())) {
        return Err(Malformed::new("aws-chunked: the body has another length than x-amz-decoded-content-length"));
    }
    Ok(whole)
}

/// Take a line, without its end.
fn line<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], Malformed> {
    let end = rest.windows(2).position(|two| two == LINE_END);
    let end = end.ok_or_else(|| Malformed::new("aws-chunked: a line has no end"))?;
    let line = &rest[..end];
    *rest = &rest[end + 2..];
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_chunks_is_put_together() {
        let sum = text_of_bytes(&crc32fast::hash(b"hello you").to_be_bytes());
        let sent = format!("6\r\nhello \r\n3;chunk-signature=00\r\nyou\r\n0\r\nx-amz-checksum-crc32:{sum}\r\n\r\n");
        assert_eq!(read(sent.as_bytes(), Some("9")).unwrap(), b"hello you");
        assert_eq!(read(b"0\r\n\r\n", None).unwrap(), b"");
    }

    #[test]
    fn what_is_cut_short_or_altered_is_refused() {
        for (sent, announced) in [
            (&b"6\r\nhello"[..], None),
            (b"6\r\nhello \r\n", None),
            (b"5\r\nhello \r\n0\r\n\r\n", None),
            (b"\r\n", None),
            (b"-1\r\n", None),
            (b"fffffffff\r\n", None),
            (b"5\r\nhello\r\n0\r\n\r\n", Some("6")),
            (b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", None),
        ] {
            assert!(read(sent, announced).is_err(), "{sent:?}");
        }
    }
}
