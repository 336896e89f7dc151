//! Encryption, as `sslmode` of the URL asks for it.

use std::sync::Arc;

use forebay_store::port::StoreError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What must be known of the server before anything is told to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Nothing, and nothing is encrypted.
    Disable,
    /// Nothing; encrypted if the server can.
    Prefer,
    /// Nothing, but it must be encrypted.
    Require,
    /// Who has issued its certificate: an authority of the file, or of the machine.
    Issuer(Option<String>),
    /// That, and the name in it.
    Full(Option<String>),
}

/// What makes the encrypted part of a connection.
pub(crate) fn connector(trust: &Trust) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Disable | Trust::Prefer | Trust::Require => Arc::new(Loose { provider: provider.clone(), issuer: None }),
        Trust::Issuer(roots) => {
            let issuer = Some(verifier(roots.as_deref(), &provider)?);
            Arc::new(Loose { provider: provider.clone(), issuer })
        }
        Trust::Full(roots) => verifier(roots.as_deref(), &provider)?,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn verifier(file: Option<&str>, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, StoreError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            let unread =
                |error: &dyn std::fmt::Display| refused(&format!("sslrootcert={file:?} cannot be read: {error}"));
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unread(&error))? {
                roots.add(certificate.map_err(|error| unread(&error))?).map_err(|error| unread(&error))?;
            }
        }
        None => {
            // One that is not understood keeps nobody from trusting the others.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(refused(
            "there is no certificate to trust. Next: name a file of them, sslrootcert=/path/to/root.pem",
        ));
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| refused(&error.to_string()))
}

fn refused(text: &str) -> StoreError {
    StoreError::Refused(format!("the store's URL: {text}"))
}

/// Looks at the issuer at most, and never at the name, as `sslmode` below `verify-full` asks for.
#[derive(Debug)]
struct Loose {
    provider: Arc<CryptoProvider>,
    issuer: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Loose {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(issuer) = &self.issuer else { return Ok(ServerCertVerified::assertion()) };
        match issuer.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            // The name is looked at last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
