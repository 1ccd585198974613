//! Whether this node may act: it was heard by a quorum, or heard from the leader, within the lease.
//!
//! A leader counts from the moment at which it *sent* what a quorum acknowledged, a follower from the moment at which
//! it took what the leader sent. Both are earlier than the moment from which the others count before they elect or
//! fence, so a node stops before the others go on without it.
//!
//! A lease that ran out does not come back with the next word of a leader: that word may be followed by the news that this
//! node was fenced meanwhile. The node first catches up with what was committed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// When a leader was last heard from, and whether anything may have been missed before that.
#[derive(Debug)]
pub struct Contact {
    began: Instant,
    lease: Duration,
    /// Microseconds after `began`, plus one; 0: never.
    heard: AtomicU64,
    /// As `heard`: when this node last knew itself confirmed by a quorum.
    led: AtomicU64,
    /// How often a leader was heard after the lease had run out, and up to which of these the node has caught up.
    gaps: AtomicU64,
    closed: AtomicU64,
    /// Somebody asked for this node's vote with an older log than this node has.
    outdated: Notify,
}

impl Contact {
    pub fn new(lease: Duration) -> Self {
        Self {
            began: Instant::now(),
            lease,
            heard: AtomicU64::new(0),
            led: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            outdated: Notify::new(),
        }
    }

    /// A leader's append was taken. `Some`: the lease had run out before; it counts again when the node has caught up with
    /// what was committed and says so with [`Contact::closed`].
    pub fn heard_leader(&self) -> Option<u64> {
        let now = self.micros(Instant::now());
        let lease = u64::try_from(self.lease.as_micros()).unwrap_or(u64::MAX);
        let led = self.led.load(Ordering::Relaxed);
        let before = self.heard.fetch_max(now, Ordering::AcqRel).max(led);
        (before == 0 || now.saturating_sub(before) >= lease).then(|| self.gaps.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Everything that was committed before the end of this gap is applied here.
    pub fn closed(&self, gap: u64) {
        self.closed.fetch_max(gap, Ordering::AcqRel);
    }

    /// How long ago a leader was heard; `None`: never.
    pub fn silence(&self) -> Option<Duration> {
        let heard = self.heard.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.began.elapsed().saturating_sub(Duration::from_micros(heard)))
    }

    /// `since_quorum_ack`: of a leader, how long ago it sent what a quorum has acknowledged last.
    pub fn is_fresh(&self, since_quorum_ack: Option<Duration>) -> bool {
        if let Some(age) = since_quorum_ack.filter(|age| *age < self.lease) {
            let sent = Instant::now().checked_sub(age).unwrap_or(self.began);
            self.led.fetch_max(self.micros(sent), Ordering::AcqRel);
            return true;
        }
        // The last word first: a gap is counted after the word that ended it. A quorum's word to the leader that this node was
        // counts on after it handed over: nobody fences it before the lease has passed.
        let last = self.heard.load(Ordering::Acquire).max(self.led.load(Ordering::Acquire));
        let is_heard = last > 0 && self.began.elapsed().saturating_sub(Duration::from_micros(last - 1)) < self.lease;
        is_heard && self.closed.load(Ordering::Acquire) == self.gaps.load(Ordering::Acquire)
    }

    /// A candidate with an older log asked for this node's vote: it cannot win without what this node has.
    pub fn met_an_older_log(&self) {
        self.outdated.notify_one();
    }

    /// Resolves when [`Contact::met_an_older_log`] is said, or was since the last time.
    pub async fn older_log(&self) {
        self.outdated.notified().await;
    }

    fn micros(&self, at: Instant) -> u64 {
        let micros = at.saturating_duration_since(self.began).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX - 1) + 1
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
        assert_eq!(contact.heard_leader(), Some(1), "the first word of all");
        assert!(!contact.is_fresh(None), "it has not caught up");
        contact.closed(1);
        tokio::time::advance(Duration::from_millis(299)).await;
        assert!(contact.is_fresh(None));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!contact.is_fresh(None), "as a follower");
        assert!(!contact.is_fresh(Some(lease)), "as a leader");
        assert!(contact.is_fresh(Some(lease - Duration::from_micros(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_ran_out_counts_again_when_the_node_has_caught_up() {
        let lease = Duration::from_millis(300);
        let contact = Contact::new(lease);
        let first = contact.heard_leader().expect("a gap");
        contact.closed(first);
        tokio::time::advance(Duration::from_millis(299)).await;
        assert_eq!(contact.heard_leader(), None);
        // As after a freeze: the first word of the new leader comes before the news that this node was fenced.
        tokio::time::advance(Duration::from_millis(301)).await;
        let second = contact.heard_leader().expect("a gap");
        assert!(!contact.is_fresh(None));
        contact.closed(first);
        assert!(!contact.is_fresh(None), "caught up with too little");
        contact.closed(second);
        assert!(contact.is_fresh(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_hands_over_may_act_all_along() {
        let lease = Duration::from_millis(300);
        let contact = Contact::new(lease);
        tokio::time::advance(Duration::from_millis(1_000)).await;
        assert!(contact.is_fresh(Some(Duration::from_millis(20))));
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(contact.is_fresh(None), "before the next leader's first word");
        assert_eq!(contact.heard_leader(), None, "no longer than a lease after a quorum's word");
        assert!(contact.is_fresh(None));
    }
}
