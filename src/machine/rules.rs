//! The numbers and names a session decides with: one value for the whole node, made from the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::directory::Directory;
use super::profile::{Profile, Switches};
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
    pub switches: BTreeMap<&'static str, Switches>,
    pub directory: Arc<Directory>,
}

impl Rules {
    pub fn switches(&self, profile: Profile) -> Switches {
        self.switches.get(profile.name()).copied().unwrap_or_default()
    }
}

/// RFC 3261 timers (§17.1.1.1), milliseconds.
pub const T1_MS: u64 = 500;
pub const T2_MS: u64 = 4_000;
/// 64 × T1: Timer B, F, H.
pub const TIMER_F_MS: u64 = 32_000;
