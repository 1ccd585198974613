//! The witness leads only when it alone has the newest log: after a long silence it campaigns, brings a data node up to
//! date, and hands over. (A witness that never leads deadlocks when the newest log is nowhere else.)

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::time::Instant;

use super::Node;
use crate::raft::Role;

/// Data nodes have had several elections' time by then.
const SILENCE_MS: u64 = 1_500;
const TICK_MS: u64 = 50;

pub async fn watch(node: Node) {
    if node.0.options.role != Role::Witness {
        return;
    }
    let raft = node.replica().raft().clone();
    let began = Instant::now();
    let mut campaigns = false;
    loop {
        tokio::time::sleep(Duration::from_millis(TICK_MS)).await;
        if node.replica().is_leader() {
            if let Some(heir) = up_to_date(&node) {
                // Err: the voter has stopped.
                let _ = raft.trigger().transfer_leader(heir).await;
            }
            continue;
        }
        let silence = node.replica().contact().silence().unwrap_or_else(|| began.elapsed());
        let is_silent = silence > Duration::from_millis(SILENCE_MS);
        if is_silent != campaigns {
            campaigns = is_silent;
            raft.runtime_config().elect(is_silent);
        }
        if is_silent {
            let _ = raft.trigger().elect(true).await;
            tokio::time::sleep(node.0.options.timers.lease()).await;
        }
    }
}

/// A data node that has all of our log.
fn up_to_date(node: &Node) -> Option<u64> {
    let metrics = node.replica().raft().metrics();
    let metrics = metrics.borrow_watched();
    let matched = metrics.replication.as_ref()?;
    let voters = metrics.membership_config.nodes();
    voters
        .filter(|(id, voter)| **id != node.id() && voter.role == Role::Data)
        .find(|(id, _)| matched.get(id).copied().flatten().map(|id| id.index()) == metrics.last_log_index)
        .map(|(id, _)| *id)
}
