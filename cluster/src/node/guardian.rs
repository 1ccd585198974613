//! What a data node does when another one dies: at once when the death is proven, after the lease when there is silence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use openraft::{Instant as _, ServerState};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Life;
use crate::machine::{Command, Reply};
use crate::mutant::{Mutant, mutant};
use crate::raft::Role;
use crate::record::Incarnation;
use crate::replica::Proposed;
use crate::store::{FencedStore, Member};

const TICK_MS: u64 = 10;
/// Beyond the lease, as a part of it: clocks drift, and a stopped effect may be on its way.
const FENCE_MARGIN: u32 = 6;
/// A life that owns nothing leaves nothing to inherit: it may just be loading, and is waited for as long as a start may take.
const LOADING_MS: u64 = 10_000;
/// Between two questions whether the others would elect this node: their leases run out a heartbeat later than its own.
const CAMPAIGN_PAUSE_MS: u64 = 25;
/// Data nodes do not campaign at the same moment.
const CAMPAIGN_TURN_MS: u64 = 20;

/// Deaths and silences by node id.
struct Guardian {
    life: Arc<Life>,
    /// Lives that ended with a process: a node that is started anew has another one, and is not meant.
    dead: BTreeSet<Incarnation>,
    /// When each life was heard last, or seen first: its silence counts from then, while this node leads.
    seen: BTreeMap<Incarnation, Instant>,
    leads_since: Option<Instant>,
    /// When each node that led was heard last, since this one led.
    led: BTreeMap<u64, Instant>,
    campaigned: Option<Instant>,
}

/// Attends a data node, or a witness as far as it is its business, until it is dropped.
pub async fn watch(life: Arc<Life>, mut deaths: mpsc::Receiver<u64>) {
    let mut guardian = Guardian {
        life,
        dead: BTreeSet::new(),
        seen: BTreeMap::new(),
        leads_since: None,
        led: BTreeMap::new(),
        campaigned: None,
    };
    let mut tick = tokio::time::interval(Duration::from_millis(TICK_MS));
    loop {
        tokio::select! {
            biased;
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
        let name = self.life.voters().get(&id).map(|voter| voter.name.clone());
        let lives = self.life.replica().members().into_iter().filter(|member| Some(&*member.node) == name.as_deref());
        self.dead.extend(lives.map(|member| member.incarnation));
        let raft = self.life.replica().raft();
        let (leader, vote) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.current_leader, metrics.vote)
        };
        if leader != Some(id) {
            return;
        }
        let voters = self.life.voters();
        let heir = match self.life.replica().role() {
            Role::Data => Some(self.life.replica().id()),
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

    /// Keeps in mind when the leader was heard, and campaigns when its lease has run out: openraft alone waits for another
    /// election's time after that, which is for clusters where many would campaign at once.
    async fn follow(&mut self) {
        let replica = self.life.replica();
        let Some(silence) = replica.contact().silence() else { return };
        let (leader, is_follower) = {
            let metrics = replica.raft().metrics();
            let metrics = metrics.borrow_watched();
            (metrics.current_leader, metrics.state == ServerState::Follower)
        };
        let now = Instant::now();
        if let (Some(leader), Some(heard)) = (leader, now.checked_sub(silence)) {
            self.led.insert(leader, heard);
        }
        if self.life.replica().role() == Role::Witness || !is_follower {
            return;
        }
        let voters = self.life.voters();
        let others = voters.iter().filter(|(id, voter)| Some(**id) != leader && voter.role == Role::Data);
        let before_us = others.take_while(|(id, _)| **id != self.life.replica().id()).count();
        let turn = Duration::from_millis(CAMPAIGN_TURN_MS) * u32::try_from(before_us).unwrap_or(u32::MAX);
        let pause = Duration::from_millis(CAMPAIGN_PAUSE_MS);
        if silence > self.life.replica().timers().lease() + turn
            && self.campaigned.is_none_or(|last| now.duration_since(last) >= pause)
        {
            self.campaigned = Some(now);
            // Err: the voter has stopped.
            let _ = replica.raft().trigger().elect(true).await;
        }
    }

    async fn look(&mut self) {
        let replica = self.life.replica().clone();
        if !replica.is_leader() || self.life.replica().role() == Role::Witness {
            self.leads_since = None;
            self.seen.clear();
            return self.follow().await;
        }
        let voters = self.life.voters();
        let members = replica.members();
        let id_of = |name: &str| voters.iter().find(|(_, voter)| voter.name == name).map(|(id, _)| *id);
        let leads_since = *self.leads_since.get_or_insert_with(|| {
            // Who led before has been silent for as long as an election takes, unless it handed over and is heard.
            let led = std::mem::take(&mut self.led);
            let heard = |member: &Member| Some((member.incarnation, *led.get(&id_of(&member.node)?)?));
            self.seen.extend(members.iter().filter_map(heard));
            Instant::now()
        });
        let Some(heir) = self.life.incarnation() else { return };
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
        let lease = self.life.replica().timers().lease();
        let margin = lease / FENCE_MARGIN;
        for Member { incarnation, node } in members {
            if incarnation == heir {
                continue;
            }
            let id = id_of(&node);
            let silence = id.and_then(|id| acks.get(&id).copied().flatten());
            let known_for = self.seen.entry(incarnation).or_insert_with(Instant::now).elapsed();
            // No node has this name any more.
            let is_dead = id.is_none() || self.dead.contains(&incarnation);
            let silence = silence.unwrap_or(Duration::MAX).min(known_for);
            // Whoever lives has had the time to answer this leader's first word.
            let is_loading =
                || silence < Duration::from_millis(LOADING_MS) && !replica.records().machine().owns(incarnation);
            let is_silent = silence > lease + margin && leads_since.elapsed() > margin && !is_loading();
            let is_hurried = mutant(Mutant::FenceWithoutLease) && silence * 4 > lease + margin;
            if is_dead || is_silent || is_hurried {
                self.life.lose(incarnation, Instant::now().checked_sub(silence).unwrap_or_else(Instant::now));
                let command = Command::Fence { incarnation, heir };
                if let Proposed::Reply { reply: Reply::Fenced { moved }, .. } = replica.propose_here(command).await {
                    let why = if is_dead { "its process is gone" } else { "it is silent" };
                    tracing::warn!(%node, %incarnation, moved, why, "a node was fenced; its records are ours");
                }
            }
        }
    }
}
