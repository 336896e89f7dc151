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

pub(super) fn generate_client_certificate(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let made = control.facts.certificate.ok_or_else(|| Fault::unsupported(NEEDS_CERTIFICATE))?;
    if control.account.certificates.len() >= CERTIFICATES_MAX {
        let text = format!("Maximum number of client certificates for this account reached: {CERTIFICATES_MAX}");
        return Err(Fault::limit(text));
    }
    let certificate = ClientCertificate {
        client_certificate_id: control.id(6),
        description: params.filled("description")?,
        pem_encoded_certificate: made.certificate.clone(),
        private_key: made.key.clone(),
        created_date: control.facts.now_ms,
        expiration_date: made.ends_ms,
        tags: params.texts("tags")?,
    };
    let (id, answer) = (certificate.client_certificate_id.clone(), told(&certificate));
    control.changed.insert(Row::Certificate(id.clone()));
    control.account.certificates.insert(id, certificate);
    Ok(answer)
}

fn certificate<'a>(control: &'a Control<'_>, params: Params) -> Outcome<&'a ClientCertificate> {
    let no_certificate = || Fault::missing("Invalid Client Certificate identifier specified");
    control.account.certificates.get(params.named("clientCertificateId")?).ok_or_else(no_certificate)
}

pub(super) fn get_client_certificate(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    Ok(told(certificate(control, params)?))
}

pub(super) fn get_client_certificates(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let list = control.account.certificates.iter().map(|(id, one)| (id.as_str(), one));
    page(params, list, told)
}

pub(super) fn update_client_certificate(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut certificate = certificate(control, params)?.clone();
    for patch in params.patches()? {
        match (patch.op.as_str(), patch.path.as_deref()) {
            ("replace", Some("/description")) => certificate.description = patch.filled(),
            _ => return Err(patch.unsupported(&["/description"])),
        }
    }
    let (id, answer) = (certificate.client_certificate_id.clone(), told(&certificate));
    control.changed.insert(Row::Certificate(id.clone()));
    control.account.certificates.insert(id, certificate);
    Ok(answer)
}

pub(super) fn delete_client_certificate(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let id = certificate(control, params)?.client_certificate_id.clone();
    if control.account.stages.values().any(|stage| stage.client_certificate_id.as_ref() == Some(&id)) {
        return Err(Fault::bad("Cannot delete a client certificate that a stage uses"));
    }
    control.account.certificates.remove(&id);
    control.changed.insert(Row::Certificate(id));
    Ok(json!({}))
}
