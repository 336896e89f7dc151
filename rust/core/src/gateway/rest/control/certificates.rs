//! Client certificates: what a stage shows to servers behind it.

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::Params;
use crate::gateway::rest::control::{page, seconds, without, Control, Row, NEEDS_CERTIFICATE};
use crate::gateway::rest::model::{shown, ClientCertificate};

/// Most client certificates of an account.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html>
const CERTIFICATES_MAX: usize = 60;

/// A certificate as calls tell of it: without its key.
fn told(certificate: &ClientCertificate) -> Value {
    without(seconds(shown(certificate)), &["privateKey"])
}

impl Control<'_> {
    pub(super) fn generate_client_certificate(&mut self, params: Params) -> Outcome<Value> {
        let made = self.facts.certificate.ok_or_else(|| Fault::unsupported(NEEDS_CERTIFICATE))?;
        if self.account.certificates.len() >= CERTIFICATES_MAX {
            let text = format!("Maximum number of client certificates for this account reached: {CERTIFICATES_MAX}");
            return Err(Fault::limit(text));
        }
        let certificate = ClientCertificate {
            client_certificate_id: self.id(6),
            description: params.filled("description")?,
            pem_encoded_certificate: made.certificate.clone(),
            private_key: made.key.clone(),
            created_date: self.facts.now_ms,
            expiration_date: made.ends_ms,
            tags: params.texts("tags")?,
        };
        let (id, answer) = (certificate.client_certificate_id.clone(), told(&certificate));
        self.changed.insert(Row::Certificate(id.clone()));
        self.account.certificates.insert(id, certificate);
        Ok(answer)
    }

    fn certificate(&self, params: Params) -> Outcome<&ClientCertificate> {
        let no_certificate = || Fault::missing("Invalid Client Certificate identifier specified");
        self.account.certificates.get(params.named("clientCertificateId")?).ok_or_else(no_certificate)
    }

    pub(super) fn get_client_certificate(&mut self, params: Params) -> Outcome<Value> {
        Ok(told(self.certificate(params)?))
    }

    pub(super) fn get_client_certificates(&mut self, params: Params) -> Outcome<Value> {
        let list = self.account.certificates.iter().map(|(id, one)| (id.as_str(), one));
        page(params, list, told)
    }

    pub(super) fn update_client_certificate(&mut self, params: Params) -> Outcome<Value> {
        let mut certificate = self.certificate(params)?.clone();
        for patch in params.patches()? {
            match (patch.op.as_str(), patch.path.as_deref()) {
                ("replace", Some("/description")) => certificate.description = patch.filled(),
                _ => return Err(patch.unsupported(&["/description"])),
            }
        }
        let (id, answer) = (certificate.client_certificate_id.clone(), told(&certificate));
        self.changed.insert(Row::Certificate(id.clone()));
        self.account.certificates.insert(id, certificate);
        Ok(answer)
    }

    pub(super) fn delete_client_certificate(&mut self, params: Params) -> Outcome<Value> {
        let id = self.certificate(params)?.client_certificate_id.clone();
        if self.account.stages.values().any(|stage| stage.client_certificate_id.as_ref() == Some(&id)) {
            return Err(Fault::bad("Cannot delete a client certificate that a stage uses"));
        }
        self.account.certificates.remove(&id);
        self.changed.insert(Row::Certificate(id));
        Ok(json!({}))
    }
}
