//! The checksums that clients of S3 send with the bytes of an object, or of a part of one, or with a list of objects.

use http::{HeaderMap, HeaderValue};
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::aws::fault::Fault;
use crate::aws::protocol::base64_text;

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

/// The checksums that a request sends, as AWS names their kinds, with their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    sums: Vec<(String, Vec<u8>)>,
    /// The bytes that they are of, where no member of the input has them.
    pub(super) list: Vec<u8>,
}

const BEGIN: &str = "x-amz-checksum-";
/// The kinds that are compared, and how many bytes they have.
const KINDS: [(&str, usize); 7] =
    [("MD5", 16), ("SHA1", 20), ("SHA256", 32), ("SHA512", 64), ("CRC32", 4), ("CRC32C", 4), ("CRC64NVME", 8)];
const LIST: &str = "DeleteObjects";

/// Those of an object, of a part, or of a list of objects. Of a list S3 demands one.
pub(super) fn of_request(operation: &str, headers: &HeaderMap) -> Result<Sent, Fault> {
    if !["PutObject", "UploadPart", LIST].contains(&operation) {
        return Ok(Sent::default());
    }
    let invalid = |text: String| Fault::new("InvalidRequest", text);
    let mut sums = Vec::new();
    for told in headers.get_all("content-md5") {
        let sum = bytes_of(told).filter(|sum| sum.len() == 16 && sums.is_empty());
        let sum = sum.ok_or_else(|| Fault::new("InvalidDigest", "The Content-MD5 you specified is not valid."))?;
        sums.push(("MD5".to_owned(), sum));
    }
    let others = sums.len();
    for (name, told) in headers {
        let Some(kind) = name.as_str().strip_prefix(BEGIN) else { continue };
        if ["algorithm", "type", "mode"].contains(&kind) {
            continue;
        }
        let kind = kind.to_ascii_uppercase();
        let Some((_, length)) = KINDS.iter().find(|(known, _)| *known == kind) else {
            let text = format!("the checksum {kind} is not compared here: let the client send CRC32");
            return Err(Fault::new("NotImplemented", text).status(501));
        };
        if sums.len() > others {
            let text = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
            return Err(invalid(text.to_owned()));
        }
        let sum = bytes_of(told).filter(|sum| sum.len() == *length);
        let sum = sum.ok_or_else(|| invalid(format!("Value for {name} header is invalid.")))?;
        sums.push((kind, sum));
    }
    // One that comes behind the body has been compared with it.
    let is_behind = headers.get("x-amz-content-sha256").is_some_and(|told| told == TRAILER)
        && headers.contains_key("x-amz-trailer");
    if operation == LIST && sums.is_empty() && !is_behind {
        return Err(invalid("Missing required header for this request: Content-MD5 OR x-amz-checksum-*".to_owned()));
    }
    Ok(Sent { sums, list: Vec::new() })
}

/// What `x-amz-content-sha256` says where a checksum stands behind the body.
pub(super) const TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

fn bytes_of(told: &HeaderValue) -> Option<Vec<u8>> {
    base64_text(told.to_str().ok()?).ok()
}

impl Sent {
    /// Whether there are any of a list of objects, which no member of the input has as it was sent.
    pub(super) fn is_of_list(&self, operation: &str) -> bool {
        operation == LIST && !self.sums.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Refuse bytes that are not those of which the client took its checksums. This takes long: a door has one thread for all connections.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Fault> {
        for (kind, wanted) in &self.sums {
            let found = match kind.as_str() {
                "MD5" => Md5::digest(bytes).to_vec(),
                "SHA1" => Sha1::digest(bytes).to_vec(),
                "SHA256" => Sha256::digest(bytes).to_vec(),
                "SHA512" => Sha512::digest(bytes).to_vec(),
                "CRC32" => crc32fast::hash(bytes).to_be_bytes().to_vec(),
                "CRC32C" => (crc(bytes, &CRC32C, u64::from(u32::MAX)) as u32).to_be_bytes().to_vec(),
                _ => crc(bytes, &CRC64NVME, u64::MAX).to_be_bytes().to_vec(),
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
    use crate::aws::protocol::text_of_bytes;

    /// The values of the catalogue of CRCs, of nine digits.
    #[test]
    fn crcs_are_those_of_the_catalogue() {
        assert_eq!(crc(b"123456789", &CRC32C, u64::from(u32::MAX)), 0xE306_9283);
        assert_eq!(crc(b"123456789", &CRC64NVME, u64::MAX), 0xAE8B_1486_0A79_9888);
    }

    /// A damaged list was carried out: other objects were deleted than the client had named. One header that was sent ninety times was
    /// computed ninety times.
    #[test]
    fn a_list_of_objects_is_as_it_was_sent() {
        let body = b"<Delete/>";
        let all = |headers: &[(&'static str, &str)]| {
            let mut sent = HeaderMap::new();
            for (name, told) in headers {
                sent.append(*name, told.parse().unwrap());
            }
            of_request(LIST, &sent).and_then(|sums| sums.check(body)).map_err(|fault| fault.name)
        };
        let of = |name: &'static str, told: &str| all(&[(name, told)]);
        let (crc, md5) = (text_of_bytes(&crc32fast::hash(body).to_be_bytes()), text_of_bytes(&Md5::digest(body)));
        let one = ("x-amz-checksum-crc32", crc.as_str());
        assert_eq!(all(&[("content-md5", &md5), one]), Ok(()));
        assert_eq!(all(&[("x-amz-content-sha256", TRAILER), ("x-amz-trailer", one.0)]), Ok(()));
        for (name, told, why) in [
            ("content-md5", "AAAA", "InvalidDigest"),
            ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest"),
            ("x-amz-checksum-crc64nvme", "AAAA", "InvalidRequest"),
            ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=", "BadDigest"),
            ("x-amz-checksum-xxhash64", "AAAA", "NotImplemented"),
            ("x-amz-checksum-algorithm", "CRC32", "InvalidRequest"),
            ("x-amz-trailer", "x-amz-checksum-crc32", "InvalidRequest"),
        ] {
            assert_eq!(of(name, told).unwrap_err(), why, "{name}");
        }
        for two in [[one, one], [one, ("x-amz-checksum-crc32c", "AAAAAA==")]] {
            assert_eq!(all(&two).unwrap_err(), "InvalidRequest");
        }
        assert_eq!(all(&[("content-md5", md5.as_str()); 2]).unwrap_err(), "InvalidDigest");
    }
}
