//! TLS for a listener: certificate, key and the authorities of its clients from files, read anew when they change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ::ring::rsa::KeyPair;
use forebay_core::gateway::client_cert::ClientCert;
use tokio::time::sleep;
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
/// For how long files have to be wrong before that is told: half of a change may be there.
const SETTLED: Duration = Duration::from_millis(1_500);

/// The RSA keys that sign here.
const RSA: &str = "it needs 2,048 to 4,096 bits, and an exponent of at least 65,537";

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

/// When each of the files was changed.
type Changed = [Option<SystemTime>; 3];

/// What accepts connections.
pub(crate) struct Tls {
    files: Files,
    state: Mutex<State>,
    /// Tells the operator.
    tell: Box<dyn Fn(&str) + Send + Sync>,
}

struct State {
    looked: Instant,
    changed: Changed,
    acceptor: TlsAcceptor,
    /// The files as they were when they were last looked at, where they could not be taken, and since when they were so.
    wrong: Option<(Changed, Instant)>,
    /// Those of which the operator was told.
    told: Option<Changed>,
}

impl Tls {
    /// Read the files; the error names the one that is wrong. `tell` tells the operator of later ones.
    pub(crate) fn open(files: Files, tell: impl Fn(&str) + Send + Sync + 'static) -> Result<Self, String> {
        let (changed, acceptor) = (files.changed(), files.acceptor()?);
        let state = State { looked: Instant::now(), changed, acceptor, wrong: None, told: None };
        Ok(Self { files, state: Mutex::new(state), tell: Box::new(tell) })
    }

    /// What accepts the next connection. A session that began under other files is not taken up again.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.look();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).acceptor.clone()
    }

    /// Look at the files each second: a renewal that went wrong at night is told before the first client comes.
    pub(crate) async fn look_on(&self) {
        loop {
            sleep(LOOK).await;
            self.look();
        }
    }

    fn look(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let news = (state.looked.elapsed() >= LOOK).then(|| state.look(&self.files)).flatten();
        drop(state);
        if let Some(text) = news {
            (self.tell)(&text);
        }
    }
}

impl State {
    /// Take the files if they have changed; the answer is what the operator has to know.
    fn look(&mut self, files: &Files) -> Option<String> {
        self.looked = Instant::now();
        let changed = files.changed();
        if changed != self.changed {
            match files.acceptor() {
                Ok(acceptor) => (self.acceptor, self.changed) = (acceptor, changed),
                Err(error) => return self.refuse(changed, &error),
            }
        }
        self.wrong = None;
        self.told.take().map(|_| "the files of TLS are good again, and new connections have what they say".into())
    }

    /// Keep what was read before. What is wrong is told once, when it has stayed so.
    fn refuse(&mut self, changed: Changed, error: &str) -> Option<String> {
        let known = self.wrong.filter(|(known, _)| *known == changed);
        let (_, since) = *self.wrong.insert(known.unwrap_or((changed, self.looked)));
        if since.elapsed() < SETTLED || self.told == Some(changed) {
            return None;
        }
        self.told = Some(changed);
        Some(format!("the files of TLS have changed and cannot be used, what they said before is served on: {error}"))
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
        let key = ring::sign::any_supported_type(&key).map_err(|error| match rsa_size(&key) {
            Some(size) => wrong(&self.key, &format!("the RSA key is too {size}: {RSA}")),
            None => wrong(&self.key, &error),
        })?;
        let certified = CertifiedKey::new(certificates, key);
        let other = || format!("it is not the key of the certificate in {}", self.certificate.display());
        certified.keys_match().map_err(|error| match error {
            Error::InconsistentKeys(_) => wrong(&self.key, &other()),
            error => wrong(&self.certificate, &error),
        })?;
        Ok(certified)
    }

    fn changed(&self) -> Changed {
        let changed = |path: &PathBuf| path.metadata().and_then(|about| about.modified()).ok();
        [changed(&self.certificate), changed(&self.key), self.truststore.as_ref().and_then(changed)]
    }
}

fn wrong(path: &Path, error: &dyn fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

/// What is wrong with the size of an RSA key, of which rustls says only that it is none.
fn rsa_size(key: &PrivateKeyDer<'_>) -> Option<&'static str> {
    let read = match key {
        PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
        _ => return None,
    };
    match read.err()?.to_string().as_str() {
        "TooSmall" => Some("small"),
        "TooLarge" => Some("large"),
        _ => None,
    }
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
