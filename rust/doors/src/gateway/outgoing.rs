//! TLS towards a server that is shown a certificate, or whose own certificate may be of an authority that nobody knows.

use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use x509_cert::der::Decode as _;
use x509_cert::Certificate;

use crate::gateway::proxy::Manner;

/// What TLS is spoken with; the error says what cannot be used.
pub(super) fn config(manner: &Manner) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if manner.is_unverified {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyAuthority(provider)))
    } else {
        builder.with_native_roots().map_err(|error| format!("there are no certificates of authorities: {error}"))?
    };
    let Some((certificate, key)) = &manner.shown else { return Ok(builder.with_no_client_auth()) };
    let wrong = |error: &dyn std::fmt::Display| format!("the client certificate cannot be used: {error}");
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| wrong(&error))?;
    builder.with_client_auth_cert(certificates, key).map_err(|error| wrong(&error))
}

/// Looks at everything of a server's certificate but who has signed it, as `insecureSkipVerification` says on AWS.
#[derive(Debug)]
struct AnyAuthority(Arc<CryptoProvider>);

/// Whether a certificate holds at this moment.
fn holds(der: &[u8], now: UnixTime) -> bool {
    Certificate::from_der(der).is_ok_and(|certificate| {
        let validity = certificate.tbs_certificate.validity;
        let (first, last) = (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
        (first.as_secs()..=last.as_secs()).contains(&now.as_secs())
    })
}

impl ServerCertVerifier for AnyAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        if !holds(end_entity, now) {
            return Err(CertificateError::Expired.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
