//! A certificate that a gateway shows to servers behind it, signed by itself.

use std::time::Duration;

use forebay_core::gateway::client_cert::pem;
use forebay_core::gateway::rest::control::Made;
use forebay_core::gateway::rest::model::PrivateKey;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{EcdsaKeyPair, KeyPair as _, ECDSA_P256_SHA256_ASN1_SIGNING};
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::der::asn1::{Any, BitString, ObjectIdentifier, UtcTime};
use x509_cert::der::Encode as _;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

/// How long it holds, as on AWS.
const HOLDS: Duration = Duration::from_secs(365 * 24 * 3_600);
const NAME: &str = "CN=ApiGateway,O=forebay";
/// A public key on a curve, the curve P-256, and its signature over SHA-256.
const EC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// Make a certificate and its key; the error says what went wrong.
pub(super) fn make(now_ms: u64) -> Result<Made, String> {
    let random = SystemRandom::new();
    let no_key = |_| "no key could be made".to_owned();
    let written = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(no_key)?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, written.as_ref(), &random)
        .map_err(|error| error.to_string())?;
    let mut serial = [0; 16];
    random.fill(&mut serial).map_err(no_key)?;
    // A number that is positive, and has all its bytes.
    serial[0] = serial[0] & 0x7f | 0x40;
    let begins = Duration::from_secs(now_ms / 1_000);
    let unsigned = unsigned(&serial, begins, key.public_key().as_ref()).map_err(|error| error.to_string())?;
    let text = unsigned.to_der().map_err(|error| error.to_string())?;
    let signature = key.sign(&random, &text).map_err(no_key)?;
    let signature = BitString::from_bytes(signature.as_ref()).map_err(|error| error.to_string())?;
    let signed = Certificate { tbs_certificate: unsigned, signature_algorithm: signed_by(), signature };
    let whole = signed.to_der().map_err(|error| error.to_string())?;
    Ok(Made {
        certificate: pem("CERTIFICATE", &whole),
        key: PrivateKey(pem("PRIVATE KEY", written.as_ref())),
        ends_ms: (begins + HOLDS).as_millis() as u64,
    })
}

fn signed_by() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid: ECDSA_SHA256, parameters: None }
}

fn unsigned(serial: &[u8], begins: Duration, public: &[u8]) -> x509_cert::der::Result<TbsCertificate> {
    let name: Name = NAME.parse()?;
    let at = |since: Duration| UtcTime::from_unix_duration(since).map(Time::UtcTime);
    Ok(TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(serial)?,
        signature: signed_by(),
        issuer: name.clone(),
        validity: Validity { not_before: at(begins)?, not_after: at(begins + HOLDS)? },
        subject: name,
        subject_public_key_info: SubjectPublicKeyInfoOwned {
            algorithm: AlgorithmIdentifierOwned { oid: EC_KEY, parameters: Some(Any::encode_from(&P256)?) },
            subject_public_key: BitString::from_bytes(public)?,
        },
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_another_one_and_holds_a_year() {
        let now_ms = 1_795_867_200_000;
        let (one, two) = (make(now_ms).unwrap(), make(now_ms).unwrap());
        assert!(one.certificate != two.certificate && one.key != two.key);
        assert_eq!(one.ends_ms - now_ms, 365 * 24 * 3_600 * 1_000);
        assert!(one.certificate.starts_with("-----BEGIN CERTIFICATE-----\nMII"));
        assert!(one.certificate.lines().all(|line| line.len() <= 64));
        // What is beyond the form's years is refused, and not written wrongly.
        assert!(make(4_000_000_000_000).is_err());
    }
}
