//! TLS for a listener: the certificate and the key of two files, read anew when they change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

/// How often it is looked whether the files have changed.
const LOOK: Duration = Duration::from_secs(1);

/// The files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, and those of the authorities between it and the client's; PEM.
    pub certificate: PathBuf,
    /// Its key; PEM.
    pub key: PathBuf,
}

/// The certificate that is shown to clients.
struct Certificates {
    files: Files,
    state: Mutex<State>,
}

struct State {
    looked: Instant,
    changed: [Option<SystemTime>; 2],
    key: Arc<CertifiedKey>,
}

impl Files {
    /// What accepts connections with them; the error names the file.
    pub(crate) fn acceptor(self) -> Result<TlsAcceptor, String> {
        let (changed, key) = (self.changed(), self.read()?);
        let state = Mutex::new(State { looked: Instant::now(), changed, key });
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Certificates { files: self, state }));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn read(&self) -> Result<Arc<CertifiedKey>, String> {
        let wrong = |path: &Path, error: &dyn fmt::Display| format!("{}: {error}", path.display());
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| wrong(&self.certificate, &error))?;
        if certificates.is_empty() {
            return Err(wrong(&self.certificate, &"there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(&self.key, &error))?;
        let key = ring::sign::any_supported_type(&key).map_err(|error| wrong(&self.key, &error))?;
        let certified = CertifiedKey::new(certificates, key);
        certified.keys_match().map_err(|error| wrong(&self.key, &error))?;
        Ok(Arc::new(certified))
    }

    fn changed(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|path| path.metadata().and_then(|about| about.modified()).ok())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            let changed = self.files.changed();
            // Half of a change may be there: until both files fit, the old ones are good.
            if changed != state.changed {
                if let Ok(key) = self.files.read() {
                    (state.key, state.changed) = (key, changed);
                }
            }
        }
        Some(state.key.clone())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Certificates({})", self.files.certificate.display())
    }
}
