//! What a data node does when another one dies: at once when the death is proven, after the lease when there is silence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Node;
use crate::machine::{Command, Reply};
use crate::raft::Role;
use crate::record::Incarnation;
use crate::replica::Proposed;
use crate::store::{FencedStore, Member};

const TICK_MS: u64 = 10;
/// Beyond the lease: clocks drift, and a stopped effect may be on its way.
const FENCE_MARGIN_MS: u64 = 100;

/// Deaths and silences by node id.
struct Guardian {
    node: Node,
    /// Lives that ended with a process: a node that is started anew has another one, and is not meant.
    dead: BTreeSet<Incarnation>,
    /// When each life was seen first: its silence counts from then.
    seen: BTreeMap<Incarnation, Instant>,
    leads_since: Option<Instant>,
}

pub async fn watch(node: Node, mut deaths: mpsc::Receiver<u64>) {
    let mut guardian = Guardian { node, dead: BTreeSet::new(), seen: BTreeMap::new(), leads_since: None };
    let mut tick = tokio::time::interval(Duration::from_millis(TICK_MS));
    loop {
        tokio::select! {
            Some(id) = deaths.recv() => guardian.died(id).await,
            _ = tick.tick() => {}
        }
        guardian.look().await;
    }
}

impl Guardian {
    /// The process is gone and its kernel lives. If it led, an election begins at once, although its lease runs: that lease
    /// guards against a leader who may still act, and this one cannot.
    async fn died(&mut self, id: u64) {
        let name = self.node.voters().get(&id).map(|voter| voter.name.clone());
        let lives = self.node.replica().members().into_iter().filter(|member| Some(&*member.node) == name.as_deref());
        self.dead.extend(lives.map(|member| member.incarnation));
        let raft = self.node.replica().raft();
        let (leader, vote) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.current_leader, metrics.vote)
        };
        if leader != Some(id) {
            return;
        }
        let voters = self.node.voters();
        let heir = match self.node.0.options.role {
            Role::Data => Some(self.node.id()),
            // A witness lets go of the dead leader's lease and leaves the election to the data node.
            Role::Witness => {
                voters.iter().find(|(other, voter)| **other != id && voter.role == Role::Data).map(|(other, _)| *other)
            }
        };
        if let Some(heir) = heir {
            tracing::warn!(dead = id, heir, "the leader is gone: election at once");
            // Err: the vote has changed meanwhile, or the voter has stopped.
            let _ = raft.handle_transfer_leader(TransferLeaderRequest::new(vote, heir, None)).await;
        }
    }

    async fn look(&mut self) {
        let replica = self.node.replica().clone();
        if !replica.is_leader() || self.node.0.options.role == Role::Witness {
            self.leads_since = None;
            return;
        }
        let leads_since = *self.leads_since.get_or_insert_with(Instant::now);
        let Some(heir) = self.node.incarnation() else { return };
        let voters = self.node.voters();
        let members = replica.members();
        if !members.iter().any(|member| member.incarnation == heir) {
            return;
        }
        self.seen.retain(|incarnation, _| members.iter().any(|member| member.incarnation == *incarnation));
        self.dead.retain(|incarnation| members.iter().any(|member| member.incarnation == *incarnation));
        let acks = {
            let metrics = replica.raft().metrics();
            let metrics = metrics.borrow_watched();
            let acks = metrics.heartbeat.clone().unwrap_or_default();
            acks.into_iter()
                .map(|(id, at)| (id, at.map(|at| at.elapsed())))
                .collect::<BTreeMap<u64, Option<Duration>>>()
        };
        let fence_after = self.node.0.options.timers.lease() + Duration::from_millis(FENCE_MARGIN_MS);
        for Member { incarnation, node } in members {
            if incarnation == heir {
                continue;
            }
            let id = voters.iter().find(|(_, voter)| *voter.name == *node).map(|(id, _)| *id);
            let silence = id.and_then(|id| acks.get(&id).copied().flatten());
            let known_for = self.seen.entry(incarnation).or_insert_with(Instant::now).elapsed();
            // No node has this name any more.
            let is_dead = id.is_none() || self.dead.contains(&incarnation);
            let silence = silence.unwrap_or(Duration::MAX).min(known_for).min(leads_since.elapsed());
            if is_dead || silence > fence_after {
                let command = Command::Fence { incarnation, heir };
                if let Proposed::Reply { reply: Reply::Fenced { moved }, .. } = replica.propose_here(command).await {
                    let why = if is_dead { "its process is gone" } else { "it is silent" };
                    tracing::warn!(%node, %incarnation, moved, why, "a node was fenced; its records are ours");
                }
            }
        }
    }
}
