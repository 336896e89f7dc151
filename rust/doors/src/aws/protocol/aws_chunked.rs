//! Bodies that a client of S3 sends in pieces of its own, inside of HTTP's: each has its length in a line before it, and behind the last
//! one stand checksums.

use crate::aws::protocol::{text_of_bytes, Malformed};

/// Most digits of a length.
const DIGITS_MAX: usize = 8;
/// Most lines behind the last chunk.
const TRAILERS_MAX: usize = 16;
const LINE_END: &[u8] = b"\r\n";
/// The checksum that is compared, which SDKs send if they are told of none.
const CRC32: &str = "x-amz-checksum-crc32";

/// Put a body together. `announced` is the length that the client gives it, `trailer` the checksum that it says comes behind it. That one
/// is given, too.
pub fn read(
    body: &[u8],
    announced: Option<&str>,
    trailer: Option<&str>,
) -> Result<(Vec<u8>, Option<String>), Malformed> {
    if let Some(other) = trailer.filter(|name| !name.trim().eq_ignore_ascii_case(CRC32)) {
        return Err(Malformed(format!("aws-chunked: {other} is not compared here; let the client send {CRC32}")));
    }
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
    let mut sum = None;
    for number in 0.. {
        if rest.is_empty() {
            break;
        }
        if number == TRAILERS_MAX {
            return Err(Malformed::new("aws-chunked: there are too many lines behind the last chunk"));
        }
        let line = line(&mut rest)?;
        sum = line.strip_prefix(CRC32.as_bytes()).and_then(|rest| rest.strip_prefix(b":")).or(sum);
    }
    if sum.is_none() && trailer.is_some() {
        return Err(Malformed::new("aws-chunked: the checksum behind the body is missing"));
    }
    let found = sum.map(|_| text_of_bytes(&crc32fast::hash(&whole).to_be_bytes()));
    if found.as_deref().map(str::as_bytes) != sum.map(<[u8]>::trim_ascii) {
        return Err(Malformed::new("aws-chunked: the checksum is not that of the body"));
    }
    if announced.is_some_and(|announced| announced.parse() != Ok(whole.len())) {
        return Err(Malformed::new("aws-chunked: the body has another length than x-amz-decoded-content-length"));
    }
    Ok((whole, found))
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
        assert_eq!(read(sent.as_bytes(), Some("9"), Some(CRC32)).unwrap(), (b"hello you".to_vec(), Some(sum)));
        assert_eq!(read(b"0\r\n\r\n", None, None).unwrap(), (Vec::new(), None));
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
            assert!(read(sent, announced, None).is_err(), "{sent:?}");
        }
    }

    /// The sum of the whole body was computed for each line behind it: millions of lines held the thread for minutes.
    #[test]
    fn lines_behind_the_body_are_few_and_hold_what_was_announced() {
        let lines = format!("0\r\n{}", "\r\n".repeat(TRAILERS_MAX + 1));
        assert!(read(lines.as_bytes(), None, None).is_err());
        assert!(read(b"5\r\nhello\r\n0\r\n\r\n", None, Some(CRC32)).is_err(), "the sum that was announced is missing");
        assert!(
            read(b"5\r\nhello\r\n0\r\n\r\n", None, Some("x-amz-checksum-sha256")).is_err(),
            "nobody would compare it"
        );
    }
}
