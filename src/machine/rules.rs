//! The numbers and names a session decides with: one value for the whole node, made from the configuration.

use std::sync::Arc;

use super::directory::Directory;
use super::profile::Switches;
use crate::csta::Features;

/// Immutable; a reload makes a new one.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Our Contact, e.g. `<sip:rccgw@rccgw.contoso.com:5065;transport=tls>`: the pair's one name, never a node's.
    pub contact: String,
    /// Via sent-by, e.g. `rccgw.contoso.com:5065`.
    pub sent_by: String,
    /// `TCP` or `TLS`, as written in our Via.
    pub via_transport: &'static str,
    /// Server and User-Agent.
    pub product: String,
    pub session_expires_s: u32,
    /// RFC 4028: a smaller Session-Expires is answered 422.
    pub min_se_s: u32,
    /// How long after Session-Expires a session is kept.
    pub session_grace_s: u32,
    /// With no Session-Expires agreed, a session lives this long without a refresh.
    pub idle_expires_s: u32,
    /// Keep-alive INFO on each session; 0 = off.
    pub keepalive_s: u32,
    /// How long an unanswered event INFO holds back the next one; pidgin-sipe never answers.
    pub event_wait_ms: u64,
    /// A service the PBX does not answer in this time fails.
    pub request_timeout_ms: u64,
    /// An INFO is answered before the client's Timer F (32 s), whatever the PBX does.
    pub info_timeout_ms: u64,
    /// Requests of one dialog that may be open at a time; the next is answered 503.
    pub open_max: usize,
    /// OutOfServiceEvent is reported when the link has been down this long.
    pub out_of_service_after_ms: u64,
    /// A refresh reports `partiallyDisabled` when the link has been down this long.
    pub status_grace_ms: u64,
    /// Accept a CSeq lower than the last one seen (pidgin-sipe restarts at 1; several connections reorder).
    pub cseq_tolerant: bool,
    /// For numbers that cannot be made global: `tel:3000;phone-context=…`.
    pub phone_context: String,
    /// What we offer when the PBX does not say.
    pub features: Arc<Features>,
    /// By the beginning of the User-Agent; the longest that fits wins.
    pub switches: Vec<(String, Switches)>,
    pub directory: Arc<Directory>,
}

impl Rules {
    pub fn switches(&self, user_agent: &str) -> Switches {
        let fitting = self.switches.iter().filter(|(prefix, _)| user_agent.starts_with(prefix.as_str()));
        fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, switches)| *switches).unwrap_or_default()
    }
}

/// OutOfServiceEvent is reported when a link has been down this long; a shorter loss is nobody's business.
pub const OUT_OF_SERVICE_AFTER_MS: u64 = 2_000;
/// A refresh reports `partiallyDisabled` when the link has been down this long: pidgin-sipe then drops its features.
pub const STATUS_GRACE_MS: u64 = 120_000;
/// An INFO is answered before the client's Timer F runs out.
pub const INFO_TIMEOUT_MS: u64 = 28_000;
/// A session without session timer lives this long without a refresh: the front end's route expires after 12 to 24 h.
pub const IDLE_EXPIRES_S: u32 = 25 * 3600;

/// RFC 3261 timers (§17.1.1.1), milliseconds.
pub const T1_MS: u64 = 500;
pub const T2_MS: u64 = 4_000;
/// 64 × T1: Timer B, F, H.
pub const TIMER_F_MS: u64 = 32_000;
