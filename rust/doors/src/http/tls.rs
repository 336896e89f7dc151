//! TLS for a listener: certificate, key and the authorities of its clients from files, read anew when they change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use forebay_core::gateway::client_cert::ClientCert;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{Error, RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;

use crate::http::certificate;

/// How often it is looked whether the files have changed.
const LOOK: Duration = Duration::from_secs(1);

/// The files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, and those of the authorities between it and the client's; PEM.
    pub certificate: PathBuf,
    /// Its key; PEM.
    pub key: PathBuf,
    /// The authorities that sign the certificates of clients; PEM. Without it nobody is asked for one.
    pub truststore: Option<PathBuf>,
}

/// What accepts connections.
pub(crate) struct Tls {
    files: Files,
    state: Mutex<State>,
}

struct State {
    looked: Instant,
    changed: [Option<SystemTime>; 3],
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Read the files; the error names the one that is wrong.
    pub(crate) fn open(files: Files) -> Result<Self, String> {
        let (changed, acceptor) = (files.changed(), files.acceptor()?);
        Ok(Self { files, state: Mutex::new(State { looked: Instant::now(), changed, acceptor }) })
    }

    /// What accepts the next connection. A session that began under other files is not taken up again.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            let changed = self.files.changed();
            // Half of a change may be there: until the files fit each other, the old ones are good.
            if changed != state.changed {
                if let Ok(acceptor) = self.files.acceptor() {
                    (state.acceptor, state.changed) = (acceptor, changed);
                }
            }
        }
        state.acceptor.clone()
    }
}

impl Files {
    fn acceptor(&self) -> Result<TlsAcceptor, String> {
        let key = self.read().map_err(|error| format!("http_certificate: {error}"))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match &self.truststore {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = authorities(path).map_err(|error| format!("truststore: {error}"))?;
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| wrong(path, &error))?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn read(&self) -> Result<CertifiedKey, String> {
        let certificates = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(&self.key, &error))?;
        let key = ring::sign::any_supported_type(&key).map_err(|error| wrong(&self.key, &error))?;
        let certified = CertifiedKey::new(certificates, key);
        let other = || format!("it is not the key of the certificate in {}", self.certificate.display());
        certified.keys_match().map_err(|error| match error {
            Error::InconsistentKeys(_) => wrong(&self.key, &other()),
            error => wrong(&self.certificate, &error),
        })?;
        Ok(certified)
    }

    fn changed(&self) -> [Option<SystemTime>; 3] {
        let changed = |path: &PathBuf| path.metadata().and_then(|about| about.modified()).ok();
        [changed(&self.certificate), changed(&self.key), self.truststore.as_ref().and_then(changed)]
    }
}

fn wrong(path: &Path, error: &dyn fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

/// The certificates of a file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| wrong(path, &error))?;
    if found.is_empty() {
        return Err(wrong(path, &"there is no certificate in it"));
    }
    Ok(found)
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path)? {
        roots.add(authority).map_err(|error| wrong(path, &error))?;
    }
    Ok(roots)
}

/// Who the client of a connection is by its certificate, which TLS has verified; `None` if none was asked for.
///
/// # Errors
///
/// It cannot be read, so nobody can be told who that is.
pub(crate) fn client(connection: &ServerConnection) -> Result<Option<ClientCert>, ()> {
    match connection.peer_certificates().and_then(<[_]>::first) {
        None => Ok(None),
        Some(shown) => certificate::read(shown).map(Some).ok_or(()),
    }
}
