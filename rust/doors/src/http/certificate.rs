//! What a certificate says, in the texts that AWS has for it.

use forebay_core::gateway::client_cert::{moment, pem, ClientCert, Validity};
use x509_cert::der::Decode as _;
use x509_cert::time::Time;
use x509_cert::Certificate;

/// Read a certificate, DER; `None` if it is none.
pub(crate) fn read(der: &[u8]) -> Option<ClientCert> {
    let certificate = Certificate::from_der(der).ok()?.tbs_certificate;
    let at = |time: Time| moment(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX));
    let serial = certificate.serial_number.as_bytes().iter().map(|byte| format!("{byte:02x}"));
    Some(ClientCert {
        pem: pem("CERTIFICATE", der),
        subject: certificate.subject.to_string(),
        issuer: certificate.issuer.to_string(),
        serial: serial.collect::<Vec<_>>().join(":"),
        validity: Validity {
            not_before: at(certificate.validity.not_before),
            not_after: at(certificate.validity.not_after),
        },
    })
}
