//! Who may be a voter: a certificate of the cluster's own authority that names the node.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::membership::seat;

/// The name a voter's certificate must hold as a DNS name: that of its seat.
pub fn node_name(id: u64) -> String {
    format!("node-{}.lyncpin.internal", seat(id))
}

/// A stream to another voter.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

#[derive(Clone)]
pub enum Security {
    /// Nothing: only where every voter is on this machine.
    Loopback,
    Mutual {
        connector: TlsConnector,
        acceptor: TlsAcceptor,
    },
}

impl Security {
    /// From PEM files: the certificate and its chain, its key, and the cluster's authority.
    pub fn from_files(certificate: &Path, key: &Path, authority: &Path) -> io::Result<Self> {
        let chain = |path: &Path| -> io::Result<Vec<CertificateDer<'static>>> {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            let chain: Vec<_> = read.map_err(|why| unreadable(path, &why.to_string()))?;
            if chain.is_empty() { Err(unreadable(path, "there is no certificate in it")) } else { Ok(chain) }
        };
        let mut roots = RootCertStore::empty();
        for root in chain(authority)? {
            roots.add(root).map_err(|why| unreadable(authority, &why.to_string()))?;
        }
        let roots = Arc::new(roots);
        let own = chain(certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|why| unreadable(key, &why.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let verifier = verifier.build().map_err(io::Error::other)?;
        let tls13: &[_] = &[&rustls::version::TLS13];
        let server = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(tls13);
        let server = server.map_err(io::Error::other)?.with_client_cert_verifier(verifier);
        let server = server.with_single_cert(own.clone(), key.clone_key()).map_err(io::Error::other)?;
        let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(tls13);
        let client = client.map_err(io::Error::other)?.with_root_certificates(roots);
        let client = client.with_client_auth_cert(own, key).map_err(io::Error::other)?;
        Ok(Self::Mutual { connector: Arc::new(client).into(), acceptor: Arc::new(server).into() })
    }

    /// Plain TCP is for voters that are all on this machine.
    pub fn is_enough_for(&self, voters: &[SocketAddr]) -> bool {
        match self {
            Self::Mutual { .. } => true,
            Self::Loopback => voters.iter().all(|address| is_loopback(address.ip())),
        }
    }

    /// Connects to voter `id`, whose certificate must say that it is.
    pub(super) async fn connect(&self, id: u64, socket: TcpStream) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Loopback => Ok(Box::new(socket)),
            Self::Mutual { connector, .. } => {
                let name = ServerName::try_from(node_name(id)).map_err(io::Error::other)?;
                Ok(Box::new(connector.connect(name, socket).await?))
            }
        }
    }

    /// The stream, and the ids its certificate speaks for; `None`: there is none to ask.
    pub(super) async fn accept(&self, socket: TcpStream) -> io::Result<(Box<dyn Stream>, Option<Vec<String>>)> {
        match self {
            Self::Loopback if !is_loopback(socket.peer_addr()?.ip()) => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, "without TLS only from this machine"))
            }
            Self::Loopback => Ok((Box::new(socket), None)),
            Self::Mutual { acceptor, .. } => {
                let stream = acceptor.accept(socket).await?;
                let names = stream.get_ref().1.peer_certificates().and_then(|chain| names_of(chain.first()?));
                Ok((Box::new(stream), Some(names.unwrap_or_default())))
            }
        }
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.is_loopback()
}

fn names_of(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    Some(names.value.general_names.iter().filter_map(name).collect())
}

fn unreadable(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {why}", path.display()))
}
