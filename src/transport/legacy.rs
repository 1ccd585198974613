//! TLS by OpenSSL, for front ends rustls has no suite in common with.
//!
//! Windows Server 2012 R2 with an RSA certificate offers CBC, static RSA and DHE suites only; the oldest front ends
//! speak TLS 1.0. Nothing here is chosen unless the operator builds with `legacy-tls` and configures it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;

pub use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    self, ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef, SslSessionCacheMode,
    SslVerifyMode, SslVersion,
};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{X509, X509PurposeId, X509VerifyResult};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::certificate::judge_client;
use super::rustls_engine::certificates;
use super::tls::{Material, Pem, Pending, Reloading};
use super::{
    CertificateFacts, ClientCertificates, Refused, Reloaded, Secured, Stream, TlsEngine, TlsError, TlsOptions,
    TlsRefused, TlsVersion,
};

/// What [`Stream`] carries.
pub type LegacyStream = SslStream<TcpStream>;

/// The engine for old front ends. Sessions are never resumed, as with [`RustlsEngine`](super::RustlsEngine).
pub struct LegacyEngine(Reloading<Contexts>);

struct Contexts {
    server: SslContext,
    client: SslContext,
    certificate: Vec<u8>,
}

impl LegacyEngine {
    pub fn new(options: TlsOptions) -> Result<Self, TlsError> {
        Ok(Self(Reloading::new(options)?))
    }

    /// The client's certificate, once OpenSSL has found its chain and dates good.
    fn judge(&self, ssl: &SslRef) -> Result<Vec<String>, Refused> {
        let options = &self.0.options;
        if options.clients == ClientCertificates::NotAsked {
            return Ok(Vec::new());
        }
        let Some(certificate) = ssl.peer_certificate() else {
            // OpenSSL has insisted on one if it is required.
            return Ok(Vec::new());
        };
        let der = certificate.to_der().map_err(|_| Refused::CertificateInvalid)?;
        let names = judge_client(&der, options.client_purpose, &options.client_names_allowed)?;
        let chain = ssl.verified_chain().ok_or(Refused::CertificateInvalid)?;
        let between = chain.len().saturating_sub(2);
        for intermediate in chain.iter().skip(1).take(between) {
            let der = intermediate.to_der().map_err(|_| Refused::CertificateInvalid)?;
            let purposes = CertificateFacts::parse(&der).ok_or(Refused::CertificateInvalid)?.purposes;
            if purposes.is_present && !purposes.allow_client(options.client_purpose) {
                return Err(Refused::CertificateWrongPurpose);
            }
        }
        Ok(names)
    }
}

impl fmt::Debug for LegacyEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegacyEngine").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl TlsEngine for LegacyEngine {
    fn accept(&self, socket: TcpStream) -> Pending<'_, Result<Secured, TlsRefused>> {
        Box::pin(async move {
            let broken =
                |error: ErrorStack| TlsRefused { reason: Refused::HandshakeFailed, detail: Some(error.into()) };
            let ssl = Ssl::new(&self.0.current().server).map_err(broken)?;
            let mut tls = SslStream::new(ssl, socket).map_err(broken)?;
            if let Err(error) = Pin::new(&mut tls).accept().await {
                let reason = reason_of(&error, tls.ssl().verify_result());
                return Err(TlsRefused { reason, detail: Some(into_io(error)) });
            }
            let names = self.judge(tls.ssl())?;
            Ok(Secured { stream: Stream::legacy(tls), names })
        })
    }

    fn connect<'a>(&'a self, host: &'a str, socket: TcpStream) -> Pending<'a, io::Result<Secured>> {
        Box::pin(async move {
            let mut ssl = Ssl::new(&self.0.current().client)?;
            let rule = ssl.param_mut();
            rule.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
            match host.parse::<IpAddr>() {
                Ok(address) => rule.set_ip(address)?,
                Err(_) if host.is_empty() => return Err(io::ErrorKind::InvalidInput.into()),
                Err(_) => {
                    rule.set_host(host)?;
                    ssl.set_hostname(host)?;
                }
            }
            let mut tls = SslStream::new(ssl, socket)?;
            if let Err(error) = Pin::new(&mut tls).connect().await {
                let verified = tls.ssl().verify_result();
                return Err(match verified {
                    X509VerifyResult::OK => into_io(error),
                    bad => io::Error::new(io::ErrorKind::InvalidData, bad),
                });
            }
            let der = tls.ssl().peer_certificate().and_then(|certificate| certificate.to_der().ok());
            let names = der.and_then(|der| CertificateFacts::parse(&der)).map_or(Vec::new(), |facts| facts.names);
            Ok(Secured { stream: Stream::legacy(tls), names })
        })
    }

    fn reload(&self) -> Result<Reloaded, TlsError> {
        self.0.reload()
    }

    fn certificate(&self) -> CertificateFacts {
        self.0.certificate()
    }
}

fn into_io(error: ssl::Error) -> io::Error {
    error.into_io_error().unwrap_or_else(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// `X509_V_ERR_*` and `SSL_R_*` by number; the crate has no names for them.
fn reason_of(error: &ssl::Error, verified: X509VerifyResult) -> Refused {
    const NO_CERTIFICATE: i32 = 199;
    const UNEXPECTED_EOF: i32 = 294;
    match verified.as_raw() {
        0 => {}
        9 => return Refused::CertificateNotYetValid,
        10 => return Refused::CertificateExpired,
        // No issuer, self-signed, no signature by the issuer of that name (7: another key under a known name).
        2 | 7 | 18..=21 => return Refused::CertificateUnknownIssuer,
        26 => return Refused::CertificateWrongPurpose,
        _ => return Refused::CertificateInvalid,
    }
    let says = |code| error.ssl_error().is_some_and(|stack| stack.errors().iter().any(|one| one.reason_code() == code));
    if says(NO_CERTIFICATE) {
        Refused::CertificateMissing
    } else if error.code() == ErrorCode::SYSCALL || error.io_error().is_some() || says(UNEXPECTED_EOF) {
        Refused::ClosedEarly
    } else {
        Refused::HandshakeFailed
    }
}

impl Material for Contexts {
    fn build(pem: &Pem, options: &TlsOptions) -> Result<Self, TlsError> {
        let chain = certificates(&pem.certificate, &options.files.certificate)?;
        let certificate = chain[0].to_vec();
        let chain = parsed(&chain, &options.files.certificate)?;
        let authorities = certificates(&pem.authorities, &options.files.authorities)?;
        let authorities = parsed(&authorities, &options.files.authorities)?;
        // The callback keeps OpenSSL from asking the terminal for a passphrase.
        let key = PKey::private_key_from_pem_callback(&pem.key, |_| Ok(0))
            .map_err(|_| TlsError::NoKey { path: options.files.key.clone() })?;

        let context = || -> Result<SslContextBuilder, TlsError> {
            let mut context = SslContext::builder(SslMethod::tls())?;
            context.set_certificate(&chain[0])?;
            for intermediate in &chain[1..] {
                context.add_extra_chain_cert(intermediate.clone())?;
            }
            context
                .set_private_key(&key)
                .and_then(|()| context.check_private_key())
                .map_err(|_| TlsError::KeyMismatch)?;
            let mut store = X509StoreBuilder::new()?;
            for authority in &authorities {
                store.add_cert(authority.clone())?;
            }
            context.set_cert_store(store.build());
            if let Some(ciphers) = &options.legacy_ciphers {
                context.set_cipher_list(ciphers)?;
            }
            if options.version_min < TlsVersion::Tls12 {
                // TLS 1.0 and 1.1 sign with SHA-1, which OpenSSL 3 takes at level 0 only.
                context.set_security_level(0);
            }
            context.set_min_proto_version(Some(match options.version_min {
                TlsVersion::Tls10 => SslVersion::TLS1,
                TlsVersion::Tls11 => SslVersion::TLS1_1,
                TlsVersion::Tls12 => SslVersion::TLS1_2,
                TlsVersion::Tls13 => SslVersion::TLS1_3,
            }))?;
            context.set_session_cache_mode(SslSessionCacheMode::OFF);
            context.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION);
            context.set_num_tickets(0)?;
            // An idle flow gives its record buffers back.
            context.set_mode(SslMode::RELEASE_BUFFERS);
            Ok(context)
        };

        let mut server = context()?;
        for authority in &authorities {
            server.add_client_ca(authority)?;
        }
        server.set_verify(match options.clients {
            ClientCertificates::NotAsked => SslVerifyMode::NONE,
            ClientCertificates::Optional => SslVerifyMode::PEER,
            ClientCertificates::Required => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        });
        // Purposes are `LegacyEngine::judge`'s business: OpenSSL's own check knows no serverAuth-only clients.
        server.verify_param_mut().set_purpose(X509PurposeId::ANY)?;
        let mut client = context()?;
        client.set_verify(SslVerifyMode::PEER);
        Ok(Self { server: server.build(), client: client.build(), certificate })
    }

    fn certificate(&self) -> &[u8] {
        &self.certificate
    }
}

fn parsed(chain: &[impl AsRef<[u8]>], path: &Path) -> Result<Vec<X509>, TlsError> {
    let bad = |_| TlsError::BadCertificate { path: path.to_owned() };
    chain.iter().map(|der| X509::from_der(der.as_ref()).map_err(bad)).collect()
}
