//! The TLS engines of the listeners and of connections to front ends.

use std::sync::Arc;

use super::StartError;
use crate::config::{self, Config};
use crate::transport::{
    ClientCertificates, ClientPurpose, NamePattern, RustlsEngine, TlsEngine, TlsFiles, TlsOptions, TlsVersion,
};

/// TLS engines: `tls://` listeners ask for no client certificate, `mtls://` ones insist on one.
#[derive(Default)]
pub(super) struct Engines {
    plain: Option<Arc<dyn TlsEngine>>,
    mutual: Option<Arc<dyn TlsEngine>>,
}

impl Engines {
    pub(super) fn new(config: &Config) -> Result<Self, StartError> {
        let is_used = |security| config.sip.listen.iter().any(|address| address.security == security);
        let engine = |security, clients| match is_used(security) {
            true => tls_engine(config, clients),
            false => Ok(None),
        };
        let mutual = engine(config::Security::Mtls, ClientCertificates::Required)?;
        let plain = engine(config::Security::Tls, ClientCertificates::NotAsked)?;
        let has_none = mutual.is_none() && plain.is_none();
        // Front ends may be reached over TLS although we listen on TCP behind a balancer.
        let plain = if has_none { tls_engine(config, ClientCertificates::NotAsked)? } else { plain };
        Ok(Self { plain, mutual })
    }

    pub(super) fn of(&self, security: config::Security) -> Option<Arc<dyn TlsEngine>> {
        match security {
            config::Security::Tcp => None,
            config::Security::Tls => self.plain.clone(),
            config::Security::Mtls => self.mutual.clone(),
        }
    }

    /// For connections to front ends; both show our certificate when asked.
    pub(super) fn client(&self) -> Option<Arc<dyn TlsEngine>> {
        self.mutual.clone().or_else(|| self.plain.clone())
    }

    pub(super) fn all(self) -> impl Iterator<Item = (&'static str, Arc<dyn TlsEngine>)> {
        let mutual = self.mutual.map(|engine| ("certificates-mtls", engine));
        mutual.into_iter().chain(self.plain.map(|engine| ("certificates", engine)))
    }
}

/// `None` without a certificate.
fn tls_engine(config: &Config, clients: ClientCertificates) -> Result<Option<Arc<dyn TlsEngine>>, StartError> {
    let tls = &config.sip.tls;
    let (Some(certificate), Some(key)) = (&tls.cert, &tls.key) else { return Ok(None) };
    let authorities = tls.ca.clone().unwrap_or_else(|| certificate.clone());
    let mut options = TlsOptions::new(TlsFiles { certificate: certificate.clone(), key: key.clone(), authorities });
    options.clients = clients;
    options.client_purpose =
        if tls.require_client_eku { ClientPurpose::ClientAuth } else { ClientPurpose::ClientOrServerAuth };
    options.client_names_allowed =
        config.sip.peer_names.iter().filter_map(|name| name.as_str().parse::<NamePattern>().ok()).collect();
    options.version_min = match tls.min_version {
        config::TlsVersion::Tls10 => TlsVersion::Tls10,
        config::TlsVersion::Tls11 => TlsVersion::Tls11,
        config::TlsVersion::Tls12 => TlsVersion::Tls12,
        config::TlsVersion::Tls13 => TlsVersion::Tls13,
    };
    options.legacy_ciphers.clone_from(&tls.legacy_ciphers);
    if tls.legacy { legacy_engine(options).map(Some) } else { Ok(Some(Arc::new(RustlsEngine::new(options)?))) }
}

#[cfg(feature = "legacy-tls")]
fn legacy_engine(options: TlsOptions) -> Result<Arc<dyn TlsEngine>, StartError> {
    Ok(Arc::new(crate::transport::LegacyEngine::new(options)?))
}

#[cfg(not(feature = "legacy-tls"))]
fn legacy_engine(_: TlsOptions) -> Result<Arc<dyn TlsEngine>, StartError> {
    Err(StartError::NoLegacyTls)
}
