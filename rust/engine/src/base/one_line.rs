//! Text that others wrote, made safe to stand on one line of a log.

use std::io::Write as _;

/// Append text with every character escaped that could end the line, move a terminal's cursor or turn the direction of writing. Bytes
/// that are not UTF-8 are escaped, too: a terminal may take them for controls.
pub(crate) fn escape(text: &[u8], into: &mut Vec<u8>) {
    for piece in text.utf8_chunks() {
        let mut plain = piece.valid();
        while let Some(at) = plain.find(is_unsafe) {
            let (before, rest) = plain.split_at(at);
            into.extend_from_slice(before.as_bytes());
            let mut rest = rest.chars();
            push(rest.next().map_or(0, u32::from), into);
            plain = rest.as_str();
        }
        into.extend_from_slice(plain.as_bytes());
        piece.invalid().iter().for_each(|&byte| push(byte.into(), into));
    }
}

/// The same characters as `UNSAFE` of `forebay/_model/one_line.py`.
fn is_unsafe(character: char) -> bool {
    (character.is_control() && character != '\t')
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn push(code: u32, into: &mut Vec<u8>) {
    let _infallible = match code {
        0x0a => write!(into, "\\n"),
        0x0d => write!(into, "\\r"),
        0..=0xff => write!(into, "\\x{code:02x}"),
        _ => write!(into, "\\u{code:04x}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_text_is_escaped_and_everything_else_stays() {
        let plain = "a\tb \\n żółw 🐢 {\"a\": 1}";
        let cases: [(&[u8], &str); 5] = [
            (plain.as_bytes(), plain),
            (b"one\r\ntwo\x1b[2Kx\0\x7f", "one\\r\\ntwo\\x1b[2Kx\\x00\\x7f"),
            ("\u{85}\u{9b}\u{2028}\u{202e}\u{2066}".as_bytes(), "\\x85\\x9b\\u2028\\u202e\\u2066"),
            (b"\x9b31m and \xffend", "\\x9b31m and \\xffend"),
            (b"", ""),
        ];
        for (text, escaped) in cases {
            let mut into = Vec::new();
            escape(text, &mut into);
            assert_eq!(String::from_utf8(into).unwrap(), escaped);
        }
    }
}
