//! The certificate by which a client has made itself known, as events and logs tell of it.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use base64::prelude::{Engine as _, BASE64_STANDARD};
use serde::Serialize;

use crate::gateway::json::Json;

/// A certificate that was found good, in the texts that AWS has for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClientCert {
    /// PEM.
    #[serde(rename = "clientCertPem")]
    pub pem: String,
    /// Whose it is: `CN=till,O=Shop`.
    #[serde(rename = "subjectDN")]
    pub subject: String,
    /// Who has signed it.
    #[serde(rename = "issuerDN")]
    pub issuer: String,
    /// Pairs of hexadecimal digits with colons between.
    #[serde(rename = "serialNumber")]
    pub serial: String,
    /// From when until when it holds.
    pub validity: Validity,
}

/// A span of time, `Aug  5 09:36:04 2021 GMT`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Validity {
    /// Its beginning.
    pub not_before: String,
    /// Its end.
    pub not_after: String,
}

/// A moment as certificates tell of it; the day has two places.
pub fn moment(second: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_second(second).unwrap_or_default());
    let month = MONTHS[(at.month() - 1) as usize];
    format!("{month} {:>2} {:02}:{:02}:{:02} {} GMT", at.day(), at.hour(), at.minute(), at.second(), at.year())
}

/// Bytes as PEM has them, under a label such as `CERTIFICATE`.
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let (mut pem, mut rest) = (format!("-----BEGIN {label}-----\n"), text.as_str());
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem + &format!("-----END {label}-----\n")
}

impl ClientCert {
    /// Write it as an object.
    pub(super) fn write(&self, json: &mut Json) {
        json.raw(r#"{"clientCertPem":"#).string(&self.pem).raw(r#","subjectDN":"#).string(&self.subject);
        json.raw(r#","issuerDN":"#).string(&self.issuer).raw(r#","serialNumber":"#).string(&self.serial);
        json.raw(r#","validity":{"notBefore":"#).string(&self.validity.not_before);
        json.raw(r#","notAfter":"#).string(&self.validity.not_after).raw("}}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_the_form_of_certificates() {
        assert_eq!(moment(1_628_156_164), "Aug  5 09:36:04 2021 GMT");
        assert_eq!(moment(1_559_046_602), "May 28 12:30:02 2019 GMT");
    }

    #[test]
    fn both_ways_to_write_it_say_the_same() {
        let certificate = ClientCert {
            pem: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into(),
            subject: "CN=\"till\",O=Shop".into(),
            issuer: "CN=authority".into(),
            serial: "0a:ff".into(),
            validity: Validity { not_before: moment(0), not_after: moment(86_400) },
        };
        let mut json = Json::with_capacity(64);
        certificate.write(&mut json);
        let written: serde_json::Value = serde_json::from_slice(&json.done()).unwrap();
        assert_eq!(written, serde_json::to_value(&certificate).unwrap());
        assert_eq!(written["validity"]["notAfter"], "Jan  2 00:00:00 1970 GMT");
    }
}
