//! Whether this node may act: it was heard by a quorum, or heard from the leader, within the lease.
//!
//! A leader counts from the moment at which it *sent* what a quorum acknowledged, a follower from the moment at which
//! it took what the leader sent. Both are earlier than the moment from which the others count before they elect or
//! fence, so a node stops before the others go on without it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When a leader was last heard from.
#[derive(Debug)]
pub struct Contact {
    began: Instant,
    lease: Duration,
    /// Microseconds after `began`, plus one; 0: never.
    heard: AtomicU64,
}

impl Contact {
    pub fn new(lease: Duration) -> Self {
        Self { began: Instant::now(), lease, heard: AtomicU64::new(0) }
    }

    /// A leader's append was taken.
    pub fn heard_leader(&self) {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX - 1) + 1;
        self.heard.fetch_max(now, Ordering::Relaxed);
    }

    /// How long ago a leader was heard; `None`: never.
    pub fn silence(&self) -> Option<Duration> {
        let heard = self.heard.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.began.elapsed().saturating_sub(Duration::from_micros(heard)))
    }

    /// `since_quorum_ack`: of a leader, how long ago it sent what a quorum has acknowledged last.
    pub fn is_fresh(&self, since_quorum_ack: Option<Duration>) -> bool {
        since_quorum_ack.is_some_and(|age| age < self.lease)
            || self.silence().is_some_and(|silence| silence < self.lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_may_act_for_one_lease_after_the_last_contact_and_no_longer() {
        let lease = Duration::from_millis(300);
        let contact = Contact::new(lease);
        assert!(!contact.is_fresh(None), "never heard");
        contact.heard_leader();
        tokio::time::advance(Duration::from_millis(299)).await;
        assert!(contact.is_fresh(None));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!contact.is_fresh(None), "as a follower");
        assert!(contact.is_fresh(Some(lease - Duration::from_micros(1))));
        assert!(!contact.is_fresh(Some(lease)), "as a leader");
    }
}
