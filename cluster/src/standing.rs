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

    /// As a leader it was heard by a quorum, so long ago. It counts on after the leadership was handed over: nobody fences
    /// this node before the lease has passed.
    pub fn heard_by_quorum(&self, age: Duration) {
        let since = self.began.elapsed().saturating_sub(age);
        self.heard.fetch_max(u64::try_from(since.as_micros()).unwrap_or(u64::MAX - 1) + 1, Ordering::Relaxed);
    }

    /// How long ago a leader was heard; `None`: never.
    pub fn silence(&self) -> Option<Duration> {
        let heard = self.heard.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.began.elapsed().saturating_sub(Duration::from_micros(heard)))
    }

    pub fn is_fresh(&self) -> bool {
        self.silence().is_some_and(|silence| silence < self.lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_may_act_for_one_lease_after_the_last_contact_and_no_longer() {
        let lease = Duration::from_millis(300);
        let contact = Contact::new(lease);
        assert!(!contact.is_fresh(), "never heard");
        contact.heard_leader();
        tokio::time::advance(Duration::from_millis(299)).await;
        assert!(contact.is_fresh());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!contact.is_fresh(), "as a follower");
        contact.heard_by_quorum(lease);
        assert!(!contact.is_fresh(), "as a leader");
        contact.heard_by_quorum(lease - Duration::from_millis(5));
        contact.heard_by_quorum(lease);
        tokio::time::advance(Duration::from_millis(4)).await;
        assert!(contact.is_fresh(), "handed over meanwhile");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!contact.is_fresh());
    }
}
