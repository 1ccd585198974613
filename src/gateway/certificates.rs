//! Which certificates are in use, and for how long.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::transport::{CertificateFacts, TlsEngine};

/// The certificates of one process, each under what it is for: `sip`, `cluster`, `admin`.
pub(super) struct Certificates {
    /// Taken anew when its files change.
    sip: Option<Arc<dyn TlsEngine>>,
    /// In use as they were at the start: what for, and when they expire, in seconds since 1970.
    fixed: Vec<(&'static str, i64)>,
}

impl Certificates {
    /// Those the configuration names. One that cannot be read is left out: whoever uses it has told that.
    pub(super) fn of(config: &Config, sip: Option<Arc<dyn TlsEngine>>) -> Self {
        let is_read = |(what_for, path): (&'static str, &Option<PathBuf>)| {
            let facts = CertificateFacts::of_file(path.as_ref()?).ok()?;
            Some((what_for, facts.not_after_unix_s))
        };
        let files = [("cluster", &config.cluster.tls.cert), ("admin", &config.admin.cert)];
        Self { sip, fixed: files.into_iter().filter_map(is_read).collect() }
    }

    /// What for, and seconds from now until it expires.
    pub(super) fn expiries(&self) -> Vec<(&'static str, i64)> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let sip = self.sip.iter().map(|engine| ("sip", engine.certificate().not_after_unix_s));
        sip.chain(self.fixed.iter().copied()).map(|(what_for, at)| (what_for, at.saturating_sub(now))).collect()
    }
}
