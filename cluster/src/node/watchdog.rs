//! The witness leads only when it alone has the newest log: after a long silence it campaigns, brings a data node up to
//! date, and hands over. (A witness that never leads deadlocks when the newest log is nowhere else.)

use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tokio::time::Instant;

use super::Life;
use crate::mutant::{Mutant, mutant};
use crate::raft::Role;

/// Data nodes have had several elections' time by then.
const SILENCE_LEASES: u32 = 5;
const TICK_MS: u64 = 50;
/// While it leads: the pause of everybody lasts until it has handed over.
const HAND_OVER_TICK_MS: u64 = 2;
/// A data node was turned away because its log is older: tries to lead, while the old leader's lease may yet run.
const CALLED_TRIES: u32 = 20;
const CALLED_PAUSE_MS: u64 = 20;

/// Attends a witness until it is dropped; a data node needs no such attention.
pub async fn watch(life: Arc<Life>) {
    if life.replica().role() != Role::Witness {
        return;
    }
    let raft = life.replica().raft().clone();
    let began = Instant::now();
    let mut campaigns = false;
    loop {
        let pause = if life.replica().is_leader() { HAND_OVER_TICK_MS } else { TICK_MS };
        tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_millis(pause)) => {}
            () = life.replica().contact().older_log() => be_elected(&life).await,
        }
        if life.replica().is_leader() {
            let heir = up_to_date(&life).filter(|_| !mutant(Mutant::WitnessKeepsLeading));
            if let Some(heir) = heir {
                // Err: the voter has stopped.
                let _ = raft.trigger().transfer_leader(heir).await;
            }
            continue;
        }
        let silence = life.replica().contact().silence().unwrap_or_else(|| began.elapsed());
        let is_silent = silence > life.replica().timers().lease() * SILENCE_LEASES;
        if is_silent != campaigns {
            campaigns = is_silent;
            raft.runtime_config().elect(is_silent);
        }
        if is_silent {
            let _ = raft.trigger().elect(true).await;
            tokio::time::sleep(life.replica().timers().lease()).await;
        }
    }
}

/// Nobody but this witness has all of the log: it asks whether the others would elect it, which costs nothing while they hear
/// a leader.
async fn be_elected(life: &Life) {
    let called = Instant::now();
    for _ in 0..CALLED_TRIES {
        let is_led = life.replica().contact().silence().is_some_and(|silence| silence < called.elapsed());
        if life.replica().is_leader() || is_led {
            return;
        }
        let raft = life.replica().raft();
        let campaigns = raft.metrics().borrow_watched().state == ServerState::Candidate;
        if !campaigns {
            // Err: the voter has stopped.
            let _ = raft.trigger().elect(true).await;
        }
        tokio::time::sleep(Duration::from_millis(CALLED_PAUSE_MS)).await;
    }
}

/// A data node that has all of our log.
fn up_to_date(life: &Life) -> Option<u64> {
    let metrics = life.replica().raft().metrics();
    let metrics = metrics.borrow_watched();
    let matched = metrics.replication.as_ref()?;
    let voters = metrics.membership_config.nodes();
    voters
        .filter(|(id, voter)| **id != life.replica().id() && voter.role == Role::Data)
        .find(|(id, _)| matched.get(id).copied().flatten().map(|id| id.index()) == metrics.last_log_index)
        .map(|(id, _)| *id)
}
