//! Client certificates: what a stage shows to servers behind it.

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::Params;
use crate::gateway::rest::control::{page, seconds, Control, Row};
use crate::gateway::rest::model::{shown, ClientCertificate};

impl Control<'_> {
    fn certificate(&self, params: Params) -> Outcome<&ClientCertificate> {
        let no_certificate = || Fault::missing("Invalid Client Certificate identifier specified");
        self.account.certificates.get(params.named("clientCertificateId")?).ok_or_else(no_certificate)
    }

    pub(super) fn get_client_certificate(&mut self, params: Params) -> Outcome<Value> {
        Ok(seconds(shown(self.certificate(params)?)))
    }

    pub(super) fn get_client_certificates(&mut self, params: Params) -> Outcome<Value> {
        let list = self.account.certificates.iter().map(|(id, one)| (id.as_str(), one));
        page(params, list, |one| seconds(shown(one)))
    }

    pub(super) fn update_client_certificate(&mut self, params: Params) -> Outcome<Value> {
        let mut certificate = self.certificate(params)?.clone();
        for patch in params.patches()? {
            match (patch.op.as_str(), patch.path.as_deref()) {
                ("replace", Some("/description")) => certificate.description = patch.filled(),
                _ => return Err(patch.unsupported(&["/description"])),
            }
        }
        let (id, answer) = (certificate.client_certificate_id.clone(), seconds(shown(&certificate)));
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
