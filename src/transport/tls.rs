//! What the listener and the connector ask of TLS, and certificates that change under a running gateway.

use std::fmt;
use std::fs;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;

use super::{CertificateFacts, ClientPurpose, NamePattern, Refused, Stream};

/// How the TLS side of a listener and of outgoing connections behaves.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    pub files: TlsFiles,
    /// Whether clients must show a certificate. Default: required.
    pub clients: ClientCertificates,
    /// What the client's certificate must be made for. Default: clientAuth.
    pub client_purpose: ClientPurpose,
    /// Certificate names that may speak. Default: nobody; a lone `*` admits everyone the authorities vouch for.
    pub client_names_allowed: Vec<NamePattern>,
    /// Default: TLS 1.2. Anything older needs the legacy engine.
    pub version_min: TlsVersion,
    /// OpenSSL cipher list up to TLS 1.2, for the legacy engine; rustls does not look at it. Default: OpenSSL's own.
    pub legacy_ciphers: Option<String>,
}

/// PEM files. The certificate file holds our certificate first, then its intermediates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The authorities that vouch for clients and for the servers we connect to. Nobody else's are believed, the
    /// system's neither.
    pub authorities: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked for; the address allow-list alone decides.
    NotAsked,
    /// Asked for; whoever shows one must show a good one.
    Optional,
    #[default]
    Required,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls10,
    Tls11,
    #[default]
    Tls12,
    Tls13,
}

impl TlsOptions {
    pub fn new(files: TlsFiles) -> Self {
        Self {
            files,
            clients: ClientCertificates::default(),
            client_purpose: ClientPurpose::default(),
            client_names_allowed: Vec::new(),
            version_min: TlsVersion::default(),
            legacy_ciphers: None,
        }
    }
}

/// Our certificate, key or authorities cannot be used. At start: the listener does not start. At a reload: what was
/// there stays in use, and an operator must look at the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not PEM", path.display())]
    Pem { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("{} holds no certificate", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} holds a certificate that cannot be read", path.display())]
    BadCertificate { path: PathBuf },
    #[error("{} holds no key, or one under a passphrase", path.display())]
    NoKey { path: PathBuf },
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
    #[error("the new certificate has already expired; the one in use stays")]
    Expired { not_after_unix_s: i64 },
    #[error("TLS 1.0 and 1.1 need the legacy engine")]
    VersionNeedsLegacy,
    #[error("rustls does not take the configuration")]
    Rustls(#[from] rustls::Error),
    #[cfg(feature = "legacy-tls")]
    #[error("OpenSSL does not take the configuration")]
    OpenSsl(#[from] super::legacy::ErrorStack),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    Unchanged,
    /// Connections from now on use the new files; those that live keep what they have.
    Changed,
}

/// A handshake that succeeded.
#[derive(Debug)]
pub struct Secured {
    pub stream: Stream,
    /// See [`Peer::names`](super::Peer::names).
    pub names: Vec<String>,
}

/// A handshake that did not; the socket is closed.
#[derive(Debug)]
pub struct TlsRefused {
    pub reason: Refused,
    /// What the TLS library said, for the log.
    pub detail: Option<io::Error>,
}

pub(super) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// TLS, whoever does it. Deadlines are the caller's.
pub trait TlsEngine: fmt::Debug + Send + Sync {
    /// Shakes hands as the server, and judges the client's certificate.
    fn accept(&self, socket: TcpStream) -> Pending<'_, Result<Secured, TlsRefused>>;

    /// Shakes hands as the client: `host` must be in the server's certificate; ours is shown when asked for.
    fn connect<'a>(&'a self, host: &'a str, socket: TcpStream) -> Pending<'a, io::Result<Secured>>;

    /// Reads the files again. After an error the old ones stay in use. Blocks on the file system.
    fn reload(&self) -> Result<Reloaded, TlsError>;

    /// Our own certificate as it is in use.
    fn certificate(&self) -> CertificateFacts;
}

/// Reloads every `period` when the files' content has changed; runs until dropped. `report` hears of each change and
/// of each new error once (the same error at the next look is not repeated).
pub async fn watch(engine: Arc<dyn TlsEngine>, period: Duration, mut report: impl FnMut(Result<(), TlsError>)) {
    let mut last_error = None;
    loop {
        tokio::time::sleep(period).await;
        let looking = Arc::clone(&engine);
        match tokio::task::spawn_blocking(move || looking.reload()).await {
            Ok(Ok(Reloaded::Changed)) => {
                last_error = None;
                report(Ok(()));
            }
            Ok(Ok(Reloaded::Unchanged)) => last_error = None,
            Ok(Err(error)) => {
                let text = error.to_string();
                if last_error.as_ref() != Some(&text) {
                    last_error = Some(text);
                    report(Err(error));
                }
            }
            // The runtime is going down, or the reload panicked, which has been told by the panic hook.
            Err(_) => {}
        }
    }
}

/// The files' content, read together.
pub(super) struct Pem {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) authorities: Vec<u8>,
}

impl Pem {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            authorities: read(&files.authorities)?,
        })
    }

    /// Tells contents apart without keeping the key a second time.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.certificate, &self.key, &self.authorities).hash(&mut hasher);
        hasher.finish()
    }
}

/// What an engine makes of the files.
pub(super) trait Material: Sized + Send + Sync {
    fn build(pem: &Pem, options: &TlsOptions) -> Result<Self, TlsError>;

    /// Our certificate, DER.
    fn certificate(&self) -> &[u8];
}

/// Material that can be replaced while connections use it; one load an accept.
pub(super) struct Reloading<M> {
    pub(super) options: TlsOptions,
    current: ArcSwap<M>,
    fingerprint: Mutex<u64>,
}

impl<M: Material> Reloading<M> {
    pub(super) fn new(options: TlsOptions) -> Result<Self, TlsError> {
        let pem = Pem::read(&options.files)?;
        let material = M::build(&pem, &options)?;
        if CertificateFacts::parse(material.certificate()).is_none() {
            return Err(TlsError::BadCertificate { path: options.files.certificate });
        }
        Ok(Self { options, current: ArcSwap::from_pointee(material), fingerprint: Mutex::new(pem.fingerprint()) })
    }

    pub(super) fn current(&self) -> Arc<M> {
        self.current.load_full()
    }

    pub(super) fn certificate(&self) -> CertificateFacts {
        CertificateFacts::parse(self.current().certificate()).expect("it was parsed before it was put in use")
    }

    pub(super) fn reload(&self) -> Result<Reloaded, TlsError> {
        let mut fingerprint = self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner);
        let pem = Pem::read(&self.options.files)?;
        if pem.fingerprint() == *fingerprint {
            return Ok(Reloaded::Unchanged);
        }
        let material = M::build(&pem, &self.options)?;
        let facts = CertificateFacts::parse(material.certificate())
            .ok_or_else(|| TlsError::BadCertificate { path: self.options.files.certificate.clone() })?;
        let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if facts.not_after_unix_s < i64::try_from(now_unix_s).unwrap_or(i64::MAX) {
            return Err(TlsError::Expired { not_after_unix_s: facts.not_after_unix_s });
        }
        self.current.store(Arc::new(material));
        *fingerprint = pem.fingerprint();
        Ok(Reloaded::Changed)
    }
}
