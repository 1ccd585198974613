//! Intruders: everybody who has no right, at every door. Nothing may come back that the application said.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::notes::Notes;
use crate::history::What;
use crate::seed::Chance;

/// How long an intruder listens.
const LISTENS: Duration = Duration::from_millis(400);
const AT_ONCE: usize = 8;

const INVITE: &str = "INVITE sip:rccgw@localhost SIP/2.0\r\nVia: SIP/2.0/TCP 10.77.0.66;branch=z9hG4bKintruder\r\n\
    Max-Forwards: 70\r\nFrom: <sip:user10001@contoso.com>;tag=1;epid=00\r\nTo: <sip:rccgw@localhost>\r\nCall-ID: intruder\r\n\
    CSeq: 1 INVITE\r\nContact: <sip:user10001@contoso.com>\r\nContent-Length: 0\r\n\r\n";
const OPTIONS: &str = "OPTIONS sip:rccgw@localhost SIP/2.0\r\nVia: SIP/2.0/TCP 10.77.0.66;branch=z9hG4bKintruder\r\n\
    Max-Forwards: 70\r\nFrom: <sip:x@localhost>;tag=1\r\nTo: <sip:rccgw@localhost>\r\nCall-ID: intruder\r\nCSeq: 1 OPTIONS\r\n\
    Content-Length: 0\r\n\r\n";

/// What an intruder brings.
#[derive(Clone, Copy, Debug)]
enum Manner {
    SipInvite,
    SipOptions,
    SipNoise,
    VoterPlain,
    VoterNoise,
    VoterTlsWithoutCertificate,
    VoterTlsOfStrangers,
}

const MANNERS: [Manner; 7] = [
    Manner::SipInvite,
    Manner::SipOptions,
    Manner::SipNoise,
    Manner::VoterPlain,
    Manner::VoterNoise,
    Manner::VoterTlsWithoutCertificate,
    Manner::VoterTlsOfStrangers,
];

pub struct Doors {
    pub sip: Vec<SocketAddr>,
    pub voters: Vec<SocketAddr>,
    pub comes_from: IpAddr,
    bare: Arc<ClientConfig>,
    strangers: Arc<ClientConfig>,
}

impl Doors {
    pub fn new(
        folder: &Path,
        sip: Vec<SocketAddr>,
        voters: Vec<SocketAddr>,
        comes_from: IpAddr,
    ) -> std::io::Result<Self> {
        let other = std::io::Error::other::<Box<dyn std::error::Error + Send + Sync>>;
        let mut roots = RootCertStore::empty();
        // They know whom to trust; it is they who are not trusted.
        for certificate in CertificateDer::pem_file_iter(folder.join("voters-ca.pem")).map_err(|e| other(e.into()))? {
            roots.add(certificate.map_err(|e| other(e.into()))?).map_err(|e| other(e.into()))?;
        }
        let bare = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        let chain = CertificateDer::pem_file_iter(folder.join("strangers-1.pem")).map_err(|e| other(e.into()))?;
        let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|e| other(e.into()))?;
        let key = PrivateKeyDer::from_pem_file(folder.join("strangers-1.key")).map_err(|e| other(e.into()))?;
        let strangers = ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key);
        let strangers = strangers.map_err(|e| other(e.into()))?;
        Ok(Self { sip, voters, comes_from, bare: Arc::new(bare), strangers: Arc::new(strangers) })
    }

    /// Tries every door in every manner, so many times in all.
    pub async fn try_all(self: Arc<Self>, attempts: usize, seed: u64, notes: Arc<Notes>) {
        let mut tasks = tokio::task::JoinSet::new();
        for attempt in 0..attempts {
            while tasks.len() >= AT_ONCE {
                tasks.join_next().await;
            }
            let (doors, notes) = (self.clone(), notes.clone());
            let mut chance = Chance::new(seed ^ attempt as u64);
            tasks.spawn(async move {
                let manner = MANNERS[attempt % MANNERS.len()];
                let place = attempt / MANNERS.len();
                let (name, bytes_back) = doors.attempt(manner, place, &mut chance).await;
                notes.add(What::Intruder { manner: name, bytes_back, got_in: false });
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn attempt(&self, manner: Manner, place: usize, chance: &mut Chance) -> (String, u64) {
        let is_sip = matches!(manner, Manner::SipInvite | Manner::SipOptions | Manner::SipNoise);
        let doors = if is_sip { &self.sip } else { &self.voters };
        let address = doors[place % doors.len()];
        let name = format!("{manner:?} at {address}");
        let Some(stream) = self.connect(address).await else { return (name, 0) };
        let noise: Vec<u8> = (0..512).map(|_| chance.draw() as u8).collect();
        let back = match manner {
            Manner::SipInvite => say(stream, INVITE.as_bytes()).await,
            Manner::SipOptions => say(stream, OPTIONS.as_bytes()).await,
            Manner::SipNoise | Manner::VoterNoise => without_alert(say(stream, &noise).await),
            Manner::VoterPlain => without_alert(say(stream, b"\0\0\0\x10{\"from\":1,\"to\":2}").await),
            Manner::VoterTlsWithoutCertificate => tls(stream, &self.bare, place).await,
            Manner::VoterTlsOfStrangers => tls(stream, &self.strangers, place).await,
        };
        (name, back.len() as u64)
    }

    async fn connect(&self, address: SocketAddr) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind(SocketAddr::new(self.comes_from, 0)).ok()?;
        timeout(LISTENS, socket.connect(address)).await.ok()?.ok()
    }
}

/// Says something and listens; what came back.
async fn say<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S, words: &[u8]) -> Vec<u8> {
    let mut back = Vec::new();
    let talk = async {
        stream.write_all(words).await?;
        stream.read_to_end(&mut back).await
    };
    // Err: closed, which is the best answer; or silence.
    let _ = timeout(LISTENS, talk).await;
    back
}

/// A TLS alert is said by the door, not by who lives behind it.
fn without_alert(back: Vec<u8>) -> Vec<u8> {
    if back.first() == Some(&0x15) && back.len() <= 64 { Vec::new() } else { back }
}

/// A handshake may seem to succeed (TLS 1.3); what counts is that nothing is said behind it.
async fn tls(stream: TcpStream, config: &Arc<ClientConfig>, place: usize) -> Vec<u8> {
    let name = format!("node-{}.lyncpin.internal", place % 3 + 1);
    let Ok(name) = ServerName::try_from(name) else { return Vec::new() };
    match timeout(LISTENS, TlsConnector::from(config.clone()).connect(name, stream)).await {
        Ok(Ok(stream)) => say(stream, b"\0\0\0\x10{\"from\":1,\"to\":2}").await,
        _ => Vec::new(),
    }
}
