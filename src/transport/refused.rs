//! Why a connection was turned away, by stable names, and how often.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

macro_rules! refused {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a connection never became a flow. The names appear in logs and counters and do not change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum Refused { $($(#[$doc])* #[error($name)] $variant,)* }

        impl Refused {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

refused! {
    /// The address (behind a balancer: the announced one) is on no allow-list.
    PeerNotTrusted = "peer_not_trusted",
    /// A balancer spoke without a PROXY header: switch `send-proxy-v2` on there.
    ProxyHeaderMissing = "proxy_header_missing",
    /// A balancer sent the text form: `send-proxy` where `send-proxy-v2` is needed.
    ProxyHeaderVersion1 = "proxy_header_version_1",
    /// The header is cut off, longer than its bound, or of an unknown kind.
    ProxyHeaderMalformed = "proxy_header_malformed",
    /// Somebody who is no balancer claimed to speak for another address.
    ProxyHeaderUnexpected = "proxy_header_unexpected",
    /// Not TLS, or no version, suite or signature in common.
    HandshakeFailed = "handshake_failed",
    /// Header and handshake did not end before the deadline.
    HandshakeTimedOut = "handshake_timed_out",
    /// Every handshake place was taken and this one had waited longest.
    HandshakeDisplaced = "handshake_displaced",
    /// The peer left before it had said enough; a balancer's TCP health check looks like this.
    ClosedEarly = "closed_early",
    CertificateMissing = "certificate_missing",
    CertificateExpired = "certificate_expired",
    CertificateNotYetValid = "certificate_not_yet_valid",
    CertificateUnknownIssuer = "certificate_unknown_issuer",
    /// No clientAuth in the extended key usage. Many Lync front ends carry serverAuth alone: see
    /// [`ClientPurpose`](super::ClientPurpose).
    CertificateWrongPurpose = "certificate_wrong_purpose",
    CertificateNameNotAllowed = "certificate_name_not_allowed",
    /// Any other fault of the certificate: encoding, signature, constraints.
    CertificateInvalid = "certificate_invalid",
    TooManyConnectionsOfPeer = "too_many_connections_of_peer",
    TooManyConnections = "too_many_connections",
}

/// What one listener has seen since its start.
#[derive(Debug)]
pub struct Counters {
    since: Instant,
    accepted: AtomicU64,
    accept_failed: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
    /// Milliseconds after `since` at which the reason last reached the log, plus one; 0 = never.
    logged_ms: [AtomicU64; Refused::ALL.len()],
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            accepted: AtomicU64::new(0),
            accept_failed: AtomicU64::new(0),
            refused: [const { AtomicU64::new(0) }; _],
            logged_ms: [const { AtomicU64::new(0) }; _],
        }
    }

    /// Connections handed to the application.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Times `accept` itself failed, mostly for want of file descriptors: raise the limit.
    pub fn accept_failed(&self) -> u64 {
        self.accept_failed.load(Ordering::Relaxed)
    }

    pub fn refused(&self, reason: Refused) -> u64 {
        self.refused[reason as usize].load(Ordering::Relaxed)
    }

    pub fn refused_total(&self) -> u64 {
        self.refused.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_accept_failed(&self) {
        self.accept_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts, and says whether this one may go to the log: one line a second and reason, so that a flood of intruders
    /// does not become a flood of lines.
    pub(super) fn count(&self, reason: Refused) -> bool {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let last = &self.logged_ms[reason as usize];
        let last_ms = last.load(Ordering::Relaxed);
        (last_ms == 0 || now_ms >= last_ms + 1000)
            && last.compare_exchange(last_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_a_counter() {
        let names: std::collections::BTreeSet<_> = Refused::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Refused::ALL.len());
        let counters = Counters::new();
        for reason in Refused::ALL {
            counters.count(*reason);
        }
        assert!(Refused::ALL.iter().all(|reason| counters.refused(*reason) == 1));
        assert_eq!(counters.refused_total(), Refused::ALL.len() as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_refusals_becomes_one_line_a_second() {
        let counters = Counters::new();
        let lines = (0..1000).filter(|_| counters.count(Refused::PeerNotTrusted)).count();
        assert_eq!(lines, 1);
        tokio::time::advance(std::time::Duration::from_millis(1000)).await;
        assert!(counters.count(Refused::PeerNotTrusted));
        assert!(!counters.count(Refused::PeerNotTrusted));
    }
}
