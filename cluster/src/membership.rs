//! Who votes: taking a voter in, letting one go, and ids that no node has had.
//!
//! A node's place in the configuration is its seat; the id it votes under is `n * 65,536 + seat`, with `n` 0 at first. A
//! node that lost its store comes back under a fresh `n`: what its former id promised, it does not know any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::apply::Raft;
use crate::peer::Links;
use crate::raft::Voter;
use crate::replica::Replica;
use crate::wire::{self, Kind};

const SEAT_BITS: u32 = 16;
/// Catching up may mean a whole snapshot.
const CHANGE_MS: u64 = 120_000;
const UNDER_WAY_MS: u64 = 5_000;
/// Whoever lives has answered by then.
const ALIVE_MS: u64 = 1_000;

/// The place in the configuration of the node that votes under this id.
pub fn seat(id: u64) -> u64 {
    id & ((1 << SEAT_BITS) - 1)
}

/// An id for this seat that no node has had; below 2^48, so that every JSON reader takes it.
pub fn fresh_id(seat: u64) -> io::Result<u64> {
    let bits = getrandom::u32().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u64::from(bits.max(1)) << SEAT_BITS | seat)
}

/// What openraft is asked for, one after the other.
#[derive(Clone)]
enum Step {
    Learn(u64, Voter),
    Vote(ChangeMembers<u64, Voter>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Takes a voter in; another one of the same seat is let go with the same entry. Refused while that one lives.
    Admit {
        id: u64,
        voter: Voter,
    },
    Remove {
        id: u64,
    },
}

/// Has a change made, by this node if it leads, else by the one that does.
pub async fn change(replica: &Replica, links: &Links, change: Change) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match replica.leader() {
            Some(leader) if leader == replica.id() => return lead(replica, links, change).await,
            Some(leader) => return ask(links, leader, change).await,
            None if began.elapsed() < Duration::from_millis(UNDER_WAY_MS) => sleep(Duration::from_millis(10)).await,
            None => return Err(io::Error::new(io::ErrorKind::NotConnected, "nobody leads: a quorum is missing")),
        }
    }
}

async fn ask(links: &Links, leader: u64, change: Change) -> io::Result<()> {
    let link = links.to(leader).ok_or_else(|| io::Error::other(format!("the leader, {leader}, is not known here")))?;
    let asked = link.ask(Kind::Membership, &wire::encode(&change), Duration::from_millis(CHANGE_MS)).await;
    asked.map(drop).map_err(io::Error::other)
}

/// The leader's part.
pub(crate) async fn lead(replica: &Replica, links: &Links, change: Change) -> io::Result<()> {
    let raft = replica.raft();
    match change {
        Change::Admit { id, voter } => {
            if voters_of(replica).contains(&id) {
                return Ok(());
            }
            refuse_if_taken(replica, links, id).await?;
            links.know(id, &voter.address);
            commit(raft, Step::Learn(id, voter)).await?;
            has_caught_up(raft, id).await?;
            // Catching up took its time: who votes, and who has this seat, is asked anew, and changed by nobody else.
            let _alone = replica.one_change().await;
            let former = refuse_if_taken(replica, links, id).await?;
            let swap = [ChangeMembers::AddVoterIds([id].into()), ChangeMembers::RemoveVoters(former.clone())];
            commit(raft, Step::Vote(ChangeMembers::Batch(swap.into()))).await?;
            tracing::info!(node = id, replaces = ?former, "a voter was taken in");
        }
        Change::Remove { id } => {
            let _alone = replica.one_change().await;
            commit(raft, Step::Vote(ChangeMembers::RemoveVoters([id].into()))).await?;
            tracing::info!(node = id, "a voter was let go");
        }
    }
    Ok(())
}

/// The voters that had this seat before; refused while one of them lives.
async fn refuse_if_taken(replica: &Replica, links: &Links, id: u64) -> io::Result<BTreeSet<u64>> {
    let is_former = |other: &u64| *other != id && seat(*other) == seat(id);
    let former: BTreeSet<u64> = voters_of(replica).into_iter().filter(is_former).collect();
    for former in &former {
        if is_alive(replica, links, *former).await {
            let why = format!("node {former} has this seat and lives");
            return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
        }
    }
    Ok(former)
}

/// openraft takes a short log for caught up, although nothing of it has arrived: a voter that cannot be reached would then be
/// asked for every commit.
async fn has_caught_up(raft: &Raft, id: u64) -> io::Result<()> {
    let began = Instant::now();
    let mut goal = None;
    loop {
        {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            let Some(matched) = &metrics.replication else {
                return Err(io::Error::new(io::ErrorKind::NotConnected, "this node leads no longer"));
            };
            let goal = *goal.get_or_insert(metrics.last_log_index);
            let matched = matched.get(&id).and_then(|matched| Some(matched.as_ref()?.index));
            if matched >= goal {
                return Ok(());
            }
        }
        if began.elapsed() > Duration::from_millis(CHANGE_MS) {
            let why = format!("node {id} has not caught up in {} s: can this node reach it?", CHANGE_MS / 1_000);
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for a change that is under way: the first one of a cluster may be.
async fn commit(raft: &Raft, change: Step) -> io::Result<()> {
    let began = Instant::now();
    loop {
        let done = match change.clone() {
            Step::Learn(id, voter) => raft.add_learner(id, voter, false).await,
            Step::Vote(change) => raft.change_membership(change, false).await,
        };
        let refused = match done {
            Ok(_) => return Ok(()),
            Err(refused) => refused,
        };
        let is_busy = matches!(
            &refused,
            RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)))
        );
        if !is_busy || began.elapsed() > Duration::from_millis(UNDER_WAY_MS) {
            return Err(io::Error::other(refused));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn voters_of(replica: &Replica) -> BTreeSet<u64> {
    let metrics = replica.raft().metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.voter_ids().collect()
}

/// Voters and learners.
pub(crate) fn nodes_of(replica: &Replica) -> BTreeMap<u64, Voter> {
    let metrics = replica.raft().metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.nodes().map(|(id, voter)| (*id, voter.clone())).collect()
}

/// Asks it: a process that has the same address under another id refuses the question.
async fn is_alive(replica: &Replica, links: &Links, id: u64) -> bool {
    let Some(link) = links.to(id) else { return id == replica.id() };
    link.ask(Kind::Status, &[], Duration::from_millis(ALIVE_MS)).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_id_keeps_its_seat_and_is_another_one_each_time() {
        let ids: BTreeSet<u64> = (0..100).map(|_| fresh_id(255).unwrap()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| seat(*id) == 255 && *id > 65_535 && *id < 1 << 53));
        assert_eq!(seat(3), 3);
    }
}
