//! The checksums that clients of S3 send with the bytes of an object, or of a part of one, or with a list of objects.

use http::HeaderMap;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::aws::fault::Fault;
use crate::aws::protocol::text_of_bytes;
use crate::aws::value::Value;

/// Bytes that go into a CRC at once.
const STRIDE: usize = 8;
type Tables = [[u64; 256]; STRIDE];

/// What each byte adds to a CRC whose bits come in from the lowest one, by how many bytes stand behind it.
const fn tables(polynomial: u64) -> Tables {
    let mut tables = [[0; 256]; STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u64, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { polynomial } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < STRIDE {
        byte = 0;
        while byte < 256 {
            let crc = tables[behind - 1][byte];
            tables[behind][byte] = tables[0][(crc & 0xFF) as usize] ^ (crc >> 8);
            byte += 1;
        }
        behind += 1;
    }
    tables
}

/// By the generators of CRC-32C and CRC-64/NVME, as their bits come in.
static CRC32C: Tables = tables(0x82F6_3B78);
static CRC64NVME: Tables = tables(0x9A6C_9329_AC4B_C9B5);

/// The checksums that a request sends: of which kind, and what it says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sent(Vec<(String, String)>);

/// Those of an object, or of a part, by its operation's input.
pub(super) fn of_object(input: &Value) -> Sent {
    let Value::Map(fields) = input else { return Sent::default() };
    let sent = fields.iter().filter_map(|(name, value)| {
        let Value::Text(told) = value else { return None };
        let kind = if name == "ContentMD5" { "MD5" } else { name.strip_prefix("Checksum")? };
        (!["Algorithm", "Type", "Mode"].contains(&kind)).then(|| (kind.to_owned(), told.clone()))
    });
    Sent(sent.collect())
}

/// Refuse a list of objects that is not as it was sent. Nothing else of S3 is of that kind, and S3 demands a checksum of it.
pub(super) fn of_list(headers: &HeaderMap, body: &[u8]) -> Result<(), Fault> {
    const BEGIN: &str = "x-amz-checksum-";
    let sent = headers.iter().filter_map(|(name, told)| {
        let kind = if name == "content-md5" { "md5" } else { name.as_str().strip_prefix(BEGIN)? };
        let is_sum = !["algorithm", "type", "mode"].contains(&kind);
        is_sum.then(|| (kind.to_ascii_uppercase(), told.to_str().unwrap_or_default().to_owned()))
    });
    let sent = Sent(sent.collect());
    // One that comes behind the body has been compared with it.
    if sent.0.is_empty() && !headers.contains_key("x-amz-trailer") {
        let text = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*";
        return Err(Fault::new("InvalidRequest", text));
    }
    sent.check(body)
}

impl Sent {
    /// Refuse bytes that are not those of which the client took its checksums. This takes long: a door has one thread for all connections.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Fault> {
        for (kind, wanted) in &self.0 {
            let found = match kind.as_str() {
                "MD5" => text_of_bytes(&Md5::digest(bytes)),
                "SHA1" => text_of_bytes(&Sha1::digest(bytes)),
                "SHA256" => text_of_bytes(&Sha256::digest(bytes)),
                "SHA512" => text_of_bytes(&Sha512::digest(bytes)),
                "CRC32" => text_of_bytes(&crc32fast::hash(bytes).to_be_bytes()),
                "CRC32C" => text_of_bytes(&(crc(bytes, &CRC32C, u64::from(u32::MAX)) as u32).to_be_bytes()),
                "CRC64NVME" => text_of_bytes(&crc(bytes, &CRC64NVME, u64::MAX).to_be_bytes()),
                other => {
                    let text = format!("the checksum {other} is not compared here: let the client send CRC32");
                    return Err(Fault::new("NotImplemented", text).status(501));
                }
            };
            if found != *wanted {
                let text = format!("The {kind} you specified did not match what we received.");
                return Err(Fault::new("BadDigest", text));
            }
        }
        Ok(())
    }
}

/// A CRC whose bits come in from the lowest one, of so many ones.
fn crc(bytes: &[u8], tables: &Tables, ones: u64) -> u64 {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    let whole = strides.iter().fold(ones, |crc, stride| {
        let mixed = (crc ^ u64::from_le_bytes(*stride)).to_le_bytes();
        mixed.iter().zip(tables.iter().rev()).fold(0, |sum, (&byte, table)| sum ^ table[usize::from(byte)])
    });
    rest.iter().fold(whole, |crc, &byte| tables[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8)) ^ ones
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of the catalogue of CRCs, of nine digits.
    #[test]
    fn crcs_are_those_of_the_catalogue() {
        assert_eq!(crc(b"123456789", &CRC32C, u64::from(u32::MAX)), 0xE306_9283);
        assert_eq!(crc(b"123456789", &CRC64NVME, u64::MAX), 0xAE8B_1486_0A79_9888);
    }

    /// A damaged list was carried out: other objects were deleted than the client had named.
    #[test]
    fn a_list_of_objects_is_as_it_was_sent() {
        let body = b"<Delete/>";
        let of = |name: &'static str, told: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, told.parse().unwrap());
            of_list(&headers, body).map_err(|fault| fault.name)
        };
        let sum = text_of_bytes(&crc32fast::hash(body).to_be_bytes());
        assert_eq!(of("content-md5", &text_of_bytes(&Md5::digest(body))), Ok(()));
        assert_eq!(of("x-amz-checksum-crc32", &sum), Ok(()));
        assert_eq!(of("x-amz-trailer", "x-amz-checksum-crc32"), Ok(()));
        for (name, told, why) in [
            ("content-md5", "AAAA", "BadDigest"),
            ("x-amz-checksum-crc64nvme", "AAAA", "BadDigest"),
            ("x-amz-checksum-xxhash64", "AAAA", "NotImplemented"),
            ("x-amz-checksum-algorithm", "CRC32", "InvalidRequest"),
        ] {
            assert_eq!(of(name, told).unwrap_err(), why, "{name}");
        }
    }
}
