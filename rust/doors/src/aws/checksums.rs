//! The checksums that clients of S3 send with the bytes of an object, or of a part of one.

use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::aws::fault::Fault;
use crate::aws::protocol::text_of_bytes;
use crate::aws::value::Value;

/// The generators of CRC-32C and CRC-64/NVME, as their bits come in.
const CRC32C: u64 = 0x82F6_3B78;
const CRC64NVME: u64 = 0x9A6C_9329_AC4B_C9B5;

/// Refuse bytes that are not those of which the client took its checksums.
pub(super) fn check(input: &Value, bytes: &[u8]) -> Result<(), Fault> {
    let Value::Map(fields) = input else { return Ok(()) };
    for (name, value) in fields {
        let Value::Text(wanted) = value else { continue };
        let kind = if name == "ContentMD5" { Some("MD5") } else { name.strip_prefix("Checksum") };
        let found = match kind {
            None | Some("Algorithm" | "Type") => continue,
            Some("MD5") => text_of_bytes(&Md5::digest(bytes)),
            Some("SHA1") => text_of_bytes(&Sha1::digest(bytes)),
            Some("SHA256") => text_of_bytes(&Sha256::digest(bytes)),
            Some("SHA512") => text_of_bytes(&Sha512::digest(bytes)),
            Some("CRC32") => text_of_bytes(&crc32fast::hash(bytes).to_be_bytes()),
            Some("CRC32C") => text_of_bytes(&(crc(bytes, CRC32C, u64::from(u32::MAX)) as u32).to_be_bytes()),
            Some("CRC64NVME") => text_of_bytes(&crc(bytes, CRC64NVME, u64::MAX).to_be_bytes()),
            Some(_) => {
                let text = format!("{name} is not compared here: let the client send ChecksumCRC32");
                return Err(Fault::new("NotImplemented", text).status(501));
            }
        };
        if found != *wanted {
            let text = format!("The {} you specified did not match what we received.", kind.unwrap_or_default());
            return Err(Fault::new("BadDigest", text));
        }
    }
    Ok(())
}

/// A CRC whose bits come in from the lowest one, of so many ones.
fn crc(bytes: &[u8], polynomial: u64, ones: u64) -> u64 {
    let mut table = [0_u64; 256];
    for (at, entry) in table.iter_mut().enumerate() {
        *entry = (0..8).fold(at as u64, |crc, _| (crc >> 1) ^ if crc & 1 == 1 { polynomial } else { 0 });
    }
    bytes.iter().fold(ones, |crc, &byte| table[usize::from(crc as u8 ^ byte)] ^ (crc >> 8)) ^ ones
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of the catalogue of CRCs, of nine digits.
    #[test]
    fn crcs_are_those_of_the_catalogue() {
        assert_eq!(crc(b"123456789", CRC32C, u64::from(u32::MAX)), 0xE306_9283);
        assert_eq!(crc(b"123456789", CRC64NVME, u64::MAX), 0xAE8B_1486_0A79_9888);
    }
}
