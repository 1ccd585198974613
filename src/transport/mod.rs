//! Bytes in and out: listening, connecting, TLS, and who may speak at all. No SIP here.
//!
//! A way in: `listen` accepts → the address is looked up in the allow-list → behind a balancer `proxy` reads who is
//! really there → `tls` shakes hands and looks at the certificate → an [`Accepted`] is handed out. Everything up to
//! the hand-out stands under one deadline and costs a bounded number of tasks; whoever falls out on the way is counted
//! under a [`Refused`] name and nothing of it reaches the application.
//!
//! Two TLS engines stand behind one trait: rustls, and (feature `legacy-tls`) OpenSSL, because front ends on Windows
//! Server 2012 R2 offer no suite that rustls speaks.

mod certificate;
mod connect;
#[cfg(feature = "legacy-tls")]
mod legacy;
mod listen;
mod peer;
mod proxy;
mod refused;
mod rustls_engine;
mod slot;
mod stream;
mod tls;

#[cfg(test)]
mod tests;

pub use crate::config::Network;
pub use certificate::{CertificateFacts, ClientPurpose};
pub use connect::{ConnectOptions, Connector};
#[cfg(feature = "legacy-tls")]
pub use legacy::LegacyEngine;
pub use listen::{Accepted, ListenOptions, Listener};
pub use peer::{BadName, NamePattern, Peer};
pub use refused::{Counters, Refused};
pub use rustls_engine::RustlsEngine;
pub use stream::{Stream, poll_read_with, read_with};
pub use tls::{
    ClientCertificates, Reloaded, Secured, TlsEngine, TlsError, TlsFiles, TlsOptions, TlsRefused, TlsVersion, watch,
};
