//! `[admin]`: where the operator's tool, health checks and metrics reach this node.

use std::path::PathBuf;

use super::Config;
use super::address::{ListenAddress, Network, Security};
use super::problem::Problem;
use super::reader::settings;
use super::secret::SecretSource;

settings! {
    /// The operator's door: health, metrics, status, drain and switchover over HTTP.
    pub struct Admin {
        /// Where to listen: tcp:// on this machine alone, tls:// anywhere. [] turns it off.
        listen: Vec<ListenAddress> = vec!["tcp://127.0.0.1:8480".parse().expect("an address")];
        /// Who may connect: addresses and networks.
        trusted_peers: Vec<Network> = ["127.0.0.1", "::1"].map(|text| text.parse().expect("an address")).to_vec();
        /// A file with the token that opens the door, or with its Argon2 hash ("$argon2id$..."), which is better.
        secret_file: Option<PathBuf> = None;
        /// The same from an environment variable.
        secret_env: Option<String> = None;
        /// Certificate and chain for tls://, PEM.
        cert: Option<PathBuf> = None;
        /// Its private key, PEM.
        key: Option<PathBuf> = None;
        /// Connections at once.
        connections_max: usize = 256, 8 to 4096;
    }
}

impl Admin {
    /// Where the token is; `None`: whoever may connect may operate.
    pub fn secret(&self) -> Option<SecretSource> {
        let file = self.secret_file.clone().map(SecretSource::File);
        file.or_else(|| self.secret_env.clone().map(SecretSource::Environment))
    }
}

pub(super) fn check(config: &Config, found: &mut Vec<Problem>) {
    let admin = &config.admin;
    for (n, address) in admin.listen.iter().enumerate() {
        if address.security == Security::Mtls {
            found.push(
                Problem::fault("form", format!("admin.listen[{n}]"))
                    .value(format!("{:?}", address.to_string()))
                    .allowed("the operator shows a token and no certificate")
                    .remedy("write tls:// and name secret_file"),
            );
        }
    }
    let secure = admin.listen.iter().find(|address| address.security.is_secure());
    if let Some(address) = secure {
        for (name, _) in [("cert", &admin.cert), ("key", &admin.key)].into_iter().filter(|(_, path)| path.is_none()) {
            found.push(
                Problem::fault("no_certificate", format!("admin.{name}"))
                    .allowed(format!("{address} needs a certificate and its key"))
                    .remedy(format!("name the PEM file: {name} = \"{name}.pem\"")),
            );
        }
    }
    let exposed = admin.listen.iter().find(|address| !address.is_loopback());
    if let Some(address) = exposed {
        if !address.security.is_secure() {
            found.push(
                Problem::fault("admin_without_tls", "admin.listen")
                    .value(format!("{:?}", address.to_string()))
                    .allowed("beyond this machine the operator's door speaks TLS")
                    .remedy("write tls:// and name cert and key, or listen on 127.0.0.1"),
            );
        }
        if admin.secret().is_none() {
            found.push(
                Problem::fault("admin_without_secret", "admin.secret_file")
                    .allowed(format!("{address} can be reached from outside, and there is no default token"))
                    .remedy("write a long random token into a file that only the service can read, and name it"),
            );
        }
    }
    if admin.secret_file.is_some() && admin.secret_env.is_some() {
        found.push(
            Problem::fault("two_secrets", "admin.secret_env")
                .value(format!("{:?}", admin.secret_env.as_deref().unwrap_or_default()))
                .allowed("the token is in a file or in the environment, not both")
                .remedy("remove secret_file or secret_env"),
        );
    }
}
