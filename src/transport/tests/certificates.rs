//! Authorities and certificates for tests, made when they are needed.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::super::*;

pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a test wants in a certificate.
#[derive(Clone)]
pub struct Wanted {
    pub names: Vec<String>,
    pub purposes: Vec<ExtendedKeyUsagePurpose>,
    pub not_after_year: i32,
    pub not_before_year: i32,
}

impl Wanted {
    pub fn named(name: &str) -> Self {
        Self {
            names: vec![name.to_owned()],
            purposes: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            not_before_year: 2020,
            not_after_year: 2090,
        }
    }

    pub fn purposes(self, purposes: &[ExtendedKeyUsagePurpose]) -> Self {
        Self { purposes: purposes.to_vec(), ..self }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.names.clone()).unwrap();
        params.extended_key_usages = self.purposes.clone();
        params.not_before = rcgen::date_time_ymd(self.not_before_year, 1, 1);
        params.not_after = rcgen::date_time_ymd(self.not_after_year, 1, 1);
        params
    }
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key, PEM.
    pub fn issue(&self, wanted: &Wanted) -> (String, String) {
        self.issue_for(wanted, &KeyPair::generate().unwrap())
    }

    pub fn issue_for(&self, wanted: &Wanted, key: &KeyPair) -> (String, String) {
        (wanted.params().signed_by(key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A second authority under this one that may only issue for these purposes.
    pub fn intermediate(&self, purposes: &[ExtendedKeyUsagePurpose]) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "intermediate");
        params.extended_key_usages = purposes.to_vec();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }
}

/// Files in a directory that goes away with it.
pub struct Files {
    directory: TempDir,
}

impl Files {
    pub fn new((certificate, key): (String, String), authorities: &str) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.write("certificate.pem", &certificate);
        files.write("key.pem", &key);
        files.write("authorities.pem", authorities);
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.path("certificate.pem"),
            key: self.path("key.pem"),
            authorities: self.path("authorities.pem"),
        }
    }

    /// Mutual TLS, open to the names.
    pub fn options(&self, names: &[&str]) -> TlsOptions {
        TlsOptions {
            client_names_allowed: names.iter().map(|name| name.parse().unwrap()).collect(),
            ..TlsOptions::new(self.files())
        }
    }
}

/// The gateway's side: certificate for localhost, mutual TLS, front ends under contoso.com admitted.
pub fn gateway(authority: &Authority) -> (Files, TlsOptions) {
    let files = Files::new(authority.issue(&Wanted::named("localhost")), authority.pem());
    let options = files.options(&["*.contoso.com"]);
    (files, options)
}

pub fn rustls(options: TlsOptions) -> Arc<dyn TlsEngine> {
    Arc::new(RustlsEngine::new(options).unwrap())
}

/// Every engine that is built in; what is asserted of one holds for all.
pub fn engines(options: &TlsOptions) -> Vec<Arc<dyn TlsEngine>> {
    vec![
        rustls(options.clone()),
        #[cfg(feature = "legacy-tls")]
        Arc::new(LegacyEngine::new(options.clone()).unwrap()),
    ]
}

/// A client that believes `trusted` and shows a certificate of `issuer`.
pub fn client(trusted: &Authority, issuer: &Authority, wanted: &Wanted) -> Connector {
    client_showing(trusted, issuer.issue(wanted))
}

pub fn client_showing(trusted: &Authority, shown: (String, String)) -> Connector {
    let files = Files::new(shown, trusted.pem());
    Connector::new(ConnectOptions { timeout_ms: 60_000, ..ConnectOptions::default() }, Some(rustls(files.options(&[]))))
}

/// A good front end.
pub fn front_end(authority: &Authority) -> Connector {
    client(authority, authority, &Wanted::named("fe01.contoso.com"))
}

/// A plain rustls client configuration: for what a well-behaved connector would not do.
pub fn raw_client(
    authority: &Authority,
    shown: Option<(String, String)>,
    version: TlsVersion,
) -> tokio_rustls::TlsConnector {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let versions: &[_] =
        if version == TlsVersion::Tls13 { &[&rustls::version::TLS13] } else { &[&rustls::version::TLS12] };
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some((certificates, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificates.as_bytes()).map(Result::unwrap).collect();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    };
    tokio_rustls::TlsConnector::from(Arc::new(config))
}
