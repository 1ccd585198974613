//! Whether a change whose answer is missing was made after all. The client's connection lives, and over TCP it asks only
//! once: an answer that belongs to a committed record must not be lost because the leader was, or because the lease ran out
//! before it left.

use std::sync::Arc;
use std::time::Duration;

use super::node::Node;
use super::session::SessionActor;
use crate::id::SessionId;
use crate::machine::session::Session;
use crate::store::CommitError;

/// Between two looks for a quorum, or for the lease.
const PAUSE_MS: u64 = 20;
/// An actor that waits longer is taken for hung; its session begins again when there is a quorum.
const PATIENCE_MS: u64 = 5_000;

/// Waits until it is known what the record is and whether this node may act. `wanted`: what was to be committed; `None`: the
/// record's end. Yields the record's version if it is as wanted and this node's: then its effects may be carried out.
pub async fn is_committed(node: Arc<Node>, id: SessionId, wanted: Option<Box<Session>>) -> Option<u64> {
    let key = SessionActor::key(&id);
    // As it is written: what an actor learned since and does not write makes no difference.
    let is_end = wanted.is_none();
    let wanted = wanted.and_then(|session| serde_json::to_vec(&session).ok());
    let own = node.records.incarnation();
    let deadline = tokio::time::Instant::now() + Duration::from_millis(PATIENCE_MS);
    while tokio::time::Instant::now() < deadline {
        match node.records.store().catch_up().await {
            Ok(()) => {
                // Fenced: another node has the record, or had it.
                node.records.node_of(own)?;
                let version = match (node.records.load::<Session>(&key), &wanted) {
                    (Ok(None), None) if is_end => 0,
                    (Ok(Some(found)), Some(wanted))
                        if found.owner == own && serde_json::to_vec(&found.value).ok().as_ref() == Some(wanted) =>
                    {
                        found.version
                    }
                    (found, _) => {
                        let found = found.map(|found| found.map(|found| (found.owner, found.version)));
                        tracing::debug!(session = %id, ?found, "not what was to be committed");
                        return None;
                    }
                };
                if node.may_act() {
                    return Some(version);
                }
            }
            Err(CommitError::Closed) => return None,
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
    }
    None
}
