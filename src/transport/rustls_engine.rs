//! TLS 1.2 and 1.3 by rustls.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, InconsistentKeys, OtherError,
    RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter};

use super::certificate::judge_client;
use super::tls::{Material, Pem, Pending, Reloading};
use super::{
    CertificateFacts, ClientCertificates, ClientPurpose, NamePattern, Refused, Reloaded, Secured, Stream, TlsEngine,
    TlsError, TlsOptions, TlsRefused, TlsVersion,
};

/// The engine of choice: TLS 1.2 and 1.3, forward secrecy only.
///
/// Sessions are never resumed: a resumed one would be believed on a certificate that was checked earlier, perhaps
/// against authorities that have been withdrawn since, and flows here live for days.
pub struct RustlsEngine(Reloading<Configs>);

struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    certificate: CertificateDer<'static>,
}

impl RustlsEngine {
    pub fn new(options: TlsOptions) -> Result<Self, TlsError> {
        Ok(Self(Reloading::new(options)?))
    }
}

impl fmt::Debug for RustlsEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RustlsEngine").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl TlsEngine for RustlsEngine {
    fn accept(&self, socket: TcpStream) -> Pending<'_, Result<Secured, TlsRefused>> {
        Box::pin(async move {
            let acceptor = TlsAcceptor::from(Arc::clone(&self.0.current().server));
            let tls = acceptor
                .accept(socket)
                .await
                .map_err(|error| TlsRefused { reason: reason_of(&error), detail: Some(error) })?;
            let names = names_of(tls.get_ref().1.peer_certificates());
            Ok(Secured { stream: Stream::tls(tls), names })
        })
    }

    fn connect<'a>(&'a self, host: &'a str, socket: TcpStream) -> Pending<'a, io::Result<Secured>> {
        Box::pin(async move {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            let tls = TlsConnector::from(Arc::clone(&self.0.current().client)).connect(name, socket).await?;
            let names = names_of(tls.get_ref().1.peer_certificates());
            Ok(Secured { stream: Stream::tls(tls), names })
        })
    }

    fn reload(&self) -> Result<Reloaded, TlsError> {
        self.0.reload()
    }

    fn certificate(&self) -> CertificateFacts {
        self.0.certificate()
    }
}

fn names_of(chain: Option<&[CertificateDer<'_>]>) -> Vec<String> {
    chain.and_then(<[_]>::first).and_then(|der| CertificateFacts::parse(der)).map_or(Vec::new(), |facts| facts.names)
}

fn reason_of(error: &io::Error) -> Refused {
    use CertificateError as Bad;
    if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) {
        return Refused::ClosedEarly;
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::NoCertificatesPresented) => Refused::CertificateMissing,
        Some(rustls::Error::InvalidCertificate(bad)) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => Refused::CertificateExpired,
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => Refused::CertificateNotYetValid,
            Bad::UnknownIssuer => Refused::CertificateUnknownIssuer,
            Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => Refused::CertificateWrongPurpose,
            Bad::Other(OtherError(other)) => {
                other.downcast_ref::<Refused>().copied().unwrap_or(Refused::CertificateInvalid)
            }
            _ => Refused::CertificateInvalid,
        },
        _ => Refused::HandshakeFailed,
    }
}

impl Material for Configs {
    fn build(pem: &Pem, options: &TlsOptions) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let versions: &[&SupportedProtocolVersion] = match options.version_min {
            TlsVersion::Tls10 | TlsVersion::Tls11 => return Err(TlsError::VersionNeedsLegacy),
            TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let chain = certificates(&pem.certificate, &options.files.certificate)?;
        let certificate = chain[0].clone();
        let mut roots = RootCertStore::empty();
        for authority in certificates(&pem.authorities, &options.files.authorities)? {
            roots.add(authority).map_err(|_| TlsError::BadCertificate { path: options.files.authorities.clone() })?;
        }
        let roots = Arc::new(roots);
        let key = || {
            PrivateKeyDer::from_pem_slice(&pem.key)
                .map_err(|source| TlsError::Pem { path: options.files.key.clone(), source })
        };

        let verifier: Arc<dyn ClientCertVerifier> = match options.clients {
            ClientCertificates::NotAsked => WebPkiClientVerifier::no_client_auth(),
            ClientCertificates::Optional | ClientCertificates::Required => Arc::new(ClientJudge {
                hints: roots.subjects(),
                roots: Arc::clone(&roots),
                algorithms: provider.signature_verification_algorithms,
                purpose: options.client_purpose,
                names_allowed: options.client_names_allowed.clone(),
                is_mandatory: options.clients == ClientCertificates::Required,
            }),
        };
        let mut server = ServerConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider))
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key()?)
            .map_err(key_error)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key()?)
            .map_err(key_error)?;
        client.resumption = Resumption::disabled();
        Ok(Self { server: Arc::new(server), client: Arc::new(client), certificate })
    }

    fn certificate(&self) -> &[u8] {
        &self.certificate
    }
}

fn key_error(error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch,
        other => TlsError::Rustls(other),
    }
}

/// At least one.
pub(super) fn certificates(bytes: &[u8], path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, pem::Error>>()
        .map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if all.is_empty() { Err(TlsError::NoCertificate { path: path.to_owned() }) } else { Ok(all) }
}

/// webpki's path building with our say on purpose and name.
///
/// rustls' own verifier wants clientAuth wherever an extended key usage stands, which the certificates of most Lync
/// front ends do not have, and takes a certificate that names no purpose for any.
#[derive(Debug)]
struct ClientJudge {
    roots: Arc<RootCertStore>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    purpose: ClientPurpose,
    names_allowed: Vec<NamePattern>,
    is_mandatory: bool,
}

impl ClientCertVerifier for ClientJudge {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        EndEntityCert::try_from(end_entity)
            .and_then(|certificate| {
                certificate
                    .verify_for_usage(
                        self.algorithms.all,
                        &self.roots.roots,
                        intermediates,
                        now,
                        PathPurpose(self.purpose),
                        None,
                        None,
                    )
                    .map(drop)
            })
            .map_err(certificate_error)?;
        match judge_client(end_entity, self.purpose, &self.names_allowed) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(reason) => Err(CertificateError::Other(OtherError(Arc::new(reason))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Purpose along the path: an intermediate that names purposes narrows those below it. Silence passes here;
/// [`judge_client`] looks at the client's own certificate.
struct PathPurpose(ClientPurpose);

const SERVER_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]);
const CLIENT_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);
const ANY: KeyPurposeId<'static> = KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]);

impl ExtendedKeyUsageValidator for PathPurpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            let server_will_do = self.0 == ClientPurpose::ClientOrServerAuth && purpose == SERVER_AUTH;
            if purpose == CLIENT_AUTH || purpose == ANY || server_will_do {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        let required = webpki::KeyUsage::client_auth();
        Err(webpki::Error::RequiredEkuNotFoundContext(webpki::RequiredEkuNotFoundContext { required, present }))
    }
}

/// Keeps what the counters and the TLS alert tell apart.
fn certificate_error(error: webpki::Error) -> rustls::Error {
    use webpki::Error as Bad;
    rustls::Error::InvalidCertificate(match error {
        Bad::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        Bad::InvalidCertValidity => CertificateError::Expired,
        Bad::CertNotValidYet { time, not_before } => CertificateError::NotValidYetContext { time, not_before },
        // An authority of a known name and another key is not the known one.
        Bad::UnknownIssuer | Bad::InvalidSignatureForPublicKey => CertificateError::UnknownIssuer,
        Bad::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        Bad::BadDer | Bad::BadDerTime | Bad::TrailingData(_) => CertificateError::BadEncoding,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}
