//! `[[cti]]`: the links to call managers, in order of priority.

use std::path::PathBuf;

use super::address::CtiAddress;
use super::reader::settings;
use super::secret::SecretSource;

/// CTI links a node holds.
pub const LINKS_MAX: usize = 8;

settings! {
    /// A link to one call-manager node. Up to eight, in order of priority; new sessions go round robin over those up.
    pub struct Cti {
        /// How logs, counters and commands name the link.
        name: String;
        /// Where the call manager listens, and which dialect it speaks.
        address: CtiAddress;
        /// User to log in with (dmcc only).
        user: Option<String> = None;
        /// The switch whose phones are controlled, as the AES names it (dmcc only).
        switch_name: Option<String> = None;
        /// A file whose first line is the password.
        password_file: Option<PathBuf> = None;
        /// An environment variable that holds the password.
        password_env: Option<String> = None;
        /// How long a link may be silent before it is asked whether it lives.
        heartbeat_s: u32 = 10, 1 to 600;
        /// Heartbeats without an answer after which the link is down.
        heartbeat_misses_max: u32 = 3, 1 to 10;
        /// Time for connecting.
        connect_timeout_ms: u64 = 5_000, 100 to 120000;
        /// Time for the answer to a service.
        request_timeout_ms: u64 = 5_000, 100 to 60000;
        /// First pause before connecting again; it doubles each time, with jitter.
        backoff_min_ms: u64 = 250, 10 to 60000;
        /// Longest pause before connecting again.
        backoff_max_ms: u64 = 15_000, 10 to 600000;
        /// Services unanswered at once; the next is refused.
        outstanding_max: usize = 1_000, 1 to 5000;
        /// Sessions that monitor and take their snapshot again at once after the link came up.
        recovery_window: usize = 64, 1 to 1000;
        /// Life of the application session asked for; it is renewed at half of it.
        session_duration_s: u32 = 180, 10 to 86400;
        /// How long the call manager keeps a lost session's monitors (dmcc only).
        cleanup_delay_s: u32 = 60, 0 to 7200;
    }
}

impl Cti {
    /// Where the password is; `None` when the link has none.
    pub fn password(&self) -> Option<SecretSource> {
        let file = self.password_file.clone().map(SecretSource::File);
        file.or_else(|| self.password_env.clone().map(SecretSource::Environment))
    }
}
